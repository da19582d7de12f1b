"""Samples as text files: `parse_sample`, `build_sample`.

The first line says the category, `= spam/fraud/lottery`, the rest is the text. Shipped ones lie in the set, the
administrator's own in a directory (`gatepost spam sample`).
"""

import re
from pathlib import PurePosixPath
from typing import Final

from gatepost.antispam.extract.fold import fold
from gatepost.antispam.samples.base import Sample

SUFFIX: Final = ".sample"
CATEGORY: Final = re.compile(r"[a-z0-9-]{1,30}(/[a-z0-9-]{1,30}){0,2}\Z")


def parse_sample(path: str, data: bytes) -> Sample:
    """Read a sample file. ValueError names it."""
    try:
        first, _, text = data.decode().partition("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
    category = first.removeprefix("=").strip()
    if not first.startswith("=") or CATEGORY.match(category) is None:
        raise ValueError(f"{path}: the first line is to be `= CATEGORY`, up to three names with slashes")
    return Sample(PurePosixPath(path).name.removesuffix(SUFFIX), category, fold(text).text)


def build_sample(category: str, text: str) -> bytes:
    """Return the file of a sample. ValueError: no category."""
    if CATEGORY.match(category) is None:
        raise ValueError(f"{category!r} is no category: up to three names of small letters, digits and -, with slashes")
    return f"= {category}\n{text.strip()}\n".encode("utf-8", "replace")
