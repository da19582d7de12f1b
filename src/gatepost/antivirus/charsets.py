"""Texts in encodings that are no superset of ASCII: as a reader of mail shows them, a page looks like one.

Called by the stage for texts of the mail whose declared charset is one of those. UTF-16 with its mark and what looks
like it is read without being declared (`openers.xmltext`). Pure.
"""

import codecs
import re
from collections.abc import Mapping
from typing import Final

_EBCDIC: Final = ("037", "273", "424", "500", "875", "1026", "1140")
_UNITS: Final = {
    "utf-7": "utf-7", "unicode-1-1-utf-7": "utf-7", "x-unicode-2-0-utf-7": "utf-7",
    "utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be", "unicode": "utf-16-le", "ucs-2": "utf-16-le",
    "iso-10646-ucs-2": "utf-16-le", "utf-32": "utf-32", "utf-32le": "utf-32-le", "utf-32be": "utf-32-be",
    "hz-gb-2312": "hz",
}  # fmt: skip
_ODD: Final[Mapping[str, str]] = _UNITS | {
    f"{prefix}{number}": f"cp{number}" for number in _EBCDIC for prefix in ("cp", "ibm", "ibm-", "x-ebcdic-")
}
_ESCAPED: Final = frozenset({"iso-2022-jp", "iso-2022-kr", "iso-2022-cn", "csiso2022jp", "csiso2022kr"})
_SHIFT = re.compile(rb"\x1b[($]{1,2}[)A-Z@-]{1,2}|[\x0e\x0f]")
_SPLIT = re.compile(rb"[\x21-\x7e]\x1b\([BJ][\x21-\x7e]")
"""A word of ASCII with a shift to ASCII inside: nobody writes that."""
for _name in {*_ODD.values()}:  # behind the filter's walls nothing can be imported
    codecs.lookup(_name)


def read_oddly(data: bytes, charset: str) -> bytes | None:
    """Return what `data` in that charset is in UTF-8, None when its ASCII stands there as it is."""
    codec = _ODD.get(charset)
    if codec is not None:
        text = data.decode(codec, "replace").encode("utf-8", "replace")
        return None if text == data else text
    if charset in _ESCAPED and _SPLIT.search(data) is not None:
        return _SHIFT.sub(b"", data)
    return None
