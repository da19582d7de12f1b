"""The form of categories, `L1/L2/L3`: what terms, samples and images are filed under. Pure."""

import re
from typing import Final

_FORM: Final = re.compile(r"[a-z0-9-]{1,30}(/[a-z0-9-]{1,30}){0,2}\Z")


def check_category(path: str) -> str:
    """Return the path of a category. ValueError: it is none."""
    if _FORM.match(path) is None:
        raise ValueError(f"{path!r} is no category: up to three names of small letters, digits and -, with slashes")
    return path
