"""Samples as text files: `parse_sample`, `build_sample`.

The first line says the category, `= spam/fraud/lottery`, the rest is the text. Shipped ones lie in the set, the
administrator's own in a directory (`gatepost spam sample`).
"""

from pathlib import PurePosixPath
from typing import Final

from gatepost.antispam.category import check_category
from gatepost.antispam.extract.fold import fold
from gatepost.antispam.samples.base import Sample

SUFFIX: Final = ".sample"


def parse_sample(path: str, data: bytes) -> Sample:
    """Read a sample file. ValueError names it."""
    try:
        first, _, text = data.decode().partition("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
    if not first.startswith("="):
        raise ValueError(f"{path}: the first line is to be `= CATEGORY`")
    try:
        category = check_category(first[1:].strip())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Sample(PurePosixPath(path).name.removesuffix(SUFFIX), category, fold(text).text)


def build_sample(category: str, text: str) -> bytes:
    """Return the file of a sample. ValueError: no category."""
    return f"= {check_category(category)}\n{text.strip()}\n".encode("utf-8", "replace")
