"""The description of the interface as it is served: the file that `tools/api_description.py` makes of the table.

Made beforehand, so that a console need not work for it; a test compares it with the table.
"""

import functools
import importlib.resources
from typing import Final

FILE: Final = "openapi.json"


@functools.cache
def read_description() -> bytes:
    """Return the file."""
    return importlib.resources.files("gatepost.console.api").joinpath(FILE).read_bytes()
