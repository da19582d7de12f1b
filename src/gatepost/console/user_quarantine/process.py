"""The process of recipients' pages: `python -m gatepost.console.user_quarantine.process`, as `console.process` is.

Started by `master.user_front`, with a link that leads to the desk of recipients' calls and to no other.
"""

from typing import Final

from gatepost.console.process import Kind, serve
from gatepost.console.user_quarantine.app import TEMPLATES, build_user_app

KIND: Final = Kind("user_quarantine", build_user_app, TEMPLATES)

if __name__ == "__main__":
    serve(KIND)
