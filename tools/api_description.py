"""Make the description of the interface for programs (OpenAPI) anew: `python tools/api_description.py`.

Run it after a change to `gatepost.console.api`; a test says when it was forgotten.
"""

import json
from pathlib import Path

from gatepost import __version__
from gatepost.console.api import openapi
from gatepost.console.api.description import FILE


def render() -> str:
    """Return the file's text."""
    return json.dumps(openapi.build_description(__version__), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    Path(openapi.__file__).with_name(FILE).write_text(render(), encoding="utf-8")
