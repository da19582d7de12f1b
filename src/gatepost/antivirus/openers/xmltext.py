"""XML of documents, read by its marks: no tree is built, so entities, depth and size cost nothing and open nothing.

Called by `ooxml` and `xml`. Names match in any namespace prefix, values with character references resolved. Pure.
"""

import html
import re
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.fields import is_telling

_BOMS: Final = (
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"),
)  # fmt: skip
_ATTRIBUTE = re.compile(rb"(?<![\w.:-])([\w.:-]{1,100}+)\s*+=\s*+(?:\"([^\"]*)\"|'([^']*)')")
_INSTRUCTION = re.compile(
    rb"<(?:[\w.-]{1,40}:)?(?:(?P<run>instrText)\b[^<]*?>(?P<text>[^<]*)<"
    rb"|fldSimple\b[^<]*?instr\s{0,20}=\s{0,20}(?:\"(?P<double>[^\"]*)|'(?P<single>[^']*))"
    rb"|fldChar\b[^<]*?fldCharType\s{0,20}=\s{0,20}[\"'](?P<mark>begin|end)[\"'])"
)
"""What stands between a tag's name and what is looked for holds no `<`, so no search goes twice over the same bytes."""
TAG_LIMIT: Final = 16 * 1024
"""Longest tag that is read for its attributes."""


def to_utf8(data: bytes) -> bytes:
    """Return XML in an encoding that is a superset of ASCII: UTF-16 is turned into UTF-8, CDATA marks go."""
    for mark, charset in _BOMS:
        if data.startswith(mark):
            data = data.decode(charset, "replace").encode("utf-8", "replace")
            break
    if b"[" not in data or b"<![CDATA[" not in data:  # one character first: it costs a tenth
        return data
    return data.replace(b"<![CDATA[", b"").replace(b"]]>", b"")


def is_xml(data: bytes) -> bool:
    """Whether data may be XML: it starts with a tag, as bytes or 16-bit units."""
    return data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0")[:1] == b"<"


def tags(data: bytes, name: bytes) -> Iterator[dict[str, str]]:
    """Yield the attributes of every tag of that local name; names without prefix, in lower case."""
    position = data.find(name)
    while position >= 0:
        start = data.rfind(b"<", max(0, position - 64), position)
        end = data.find(b">", position, position + TAG_LIMIT)
        is_tag = start >= 0 and (start + 1 == position or data[position - 1] == 0x3A)
        if is_tag and end >= 0 and data[position + len(name)] in b" \t\r\n/>":
            yield attributes(data[position + len(name) : end])
        position = data.find(name, max(end, position + len(name)))


def attributes(raw: bytes) -> dict[str, str]:
    """Return the attributes in the inside of a tag."""
    return {
        found[1].decode("latin-1").rpartition(":")[2].lower(): unescape(found[2] if found[2] is not None else found[3])
        for found in _ATTRIBUTE.finditer(raw)
    }


def unescape(raw: bytes) -> str:
    """Return text with its character references resolved."""
    text = raw.decode("utf-8", "replace")
    return html.unescape(text) if "&" in text else text


def find_fields(data: bytes) -> list[str]:
    """Return the telling instructions of Word fields ([ECMA-376] 17.16), runs of one field joined."""
    if b"instr" not in data:
        return []
    fields: list[str] = []
    runs: list[str] = []
    depth = 0
    for found in _INSTRUCTION.finditer(data):
        if found["mark"] == b"begin":
            depth += 1
        elif found["mark"] == b"end":
            depth = max(0, depth - 1)
            if depth == 0:
                fields.append("".join(runs).strip())
                runs.clear()
        elif found["run"]:
            runs.append(unescape(found["text"]))
        else:
            fields.append(unescape(found["double"] or found["single"] or b"").strip())
    fields.append("".join(runs).strip())
    return [field for field in fields if is_telling(field)]
