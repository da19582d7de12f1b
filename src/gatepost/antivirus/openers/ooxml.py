"""Office documents of the newer form and OpenDocument: a zip archive, and what its parts refer to, fetch and start.

Called by `unpack`. The archive's own opener gives every part; here the parts are looked at once more as they pass:
relationships that lead outside, fields, links to programs, macro sheets. Part names prove nothing, a document says
itself what is where, so text parts are told by their content.
"""

import re
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.biff import show_formula
from gatepost.antivirus.openers.fields import OFFICE_FIELD, RELATIONSHIP, VBA, XLM
from gatepost.antivirus.openers.taking import take_text
from gatepost.antivirus.openers.xmltext import attributes, find_fields, is_xml, tags, to_utf8, unescape
from gatepost.antivirus.openers.zip import open_zip
from gatepost.antivirus.opening import Member, Opening

_HARMLESS_LINKS: Final = ("http://", "https://", "mailto:", "tel:", "#")
"""Targets of hyperlinks that are a reader's daily bread; others are shown, as are all references of other types."""
_HEAD: Final = 2000
_PART = re.compile(r"(?:word|xl|ppt|visio)/|(?:.*/)?_rels/", re.IGNORECASE)
_MACRO_SHEET = re.compile(rb"<(?:[\w.-]{1,40}:)?macrosheet[\s>]")
_CALL = re.compile(rb"\bon[A-Za-z]{3,30}\s{0,9}=\s{0,9}(?:\"([^\"]{1,2000})\"|'([^']{1,2000})')")
FORMULAS_LIMIT: Final = 5_000
CELLS_LIMIT: Final = 200_000
"""Records of one binary macro sheet."""
_BINARY_FORMULAS: Final = {8: -1, 9: 8, 10: 1, 11: 1}
"""Formula records of [MS-XLSB] 2.4 by number: how long the value in front of the formula is, -1 for a text."""
_SUPBOOK: Final = 360


def open_office(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield every part, and texts of what parts do. OverBudget."""
    for member in open_zip(data, name, opening):
        yield member
        if member.data:
            yield from look_into(member.name, member.data, opening)


def open_packed(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the members of a zip archive, and what those do that Office would take for parts of a document: it finds
    them whatever the case of their names ([ECMA-376] part 2, 7.3), and wherever in the directory. OverBudget.
    """
    for member in open_zip(data, name, opening):
        yield member
        if member.data and _PART.match(member.name):
            yield from look_into(member.name, member.data, opening)


def look_into(name: str, data: bytes, opening: Opening) -> Iterator[Member]:
    """Yield texts of what one part does. OverBudget."""
    if is_xml(data):
        text = to_utf8(data)
        yield from _read_part(name, text, opening)
    elif (lower := name.lower()).endswith(".bin"):
        if "macrosheet" in lower:
            yield take_text(opening, f"{name} macros", "\n".join(_read_binary_sheet(name, data)), XLM)
        elif "externallink" in lower:
            lines = [line for number, record in _records(data) if number == _SUPBOOK for line in _read_supbook(record)]
            if lines:
                yield take_text(opening, f"{name} links", "\n".join(lines), OFFICE_FIELD)


def _read_part(name: str, data: bytes, opening: Opening) -> Iterator[Member]:
    fields = find_fields(data)
    if fields:
        yield take_text(opening, f"{name} fields", "\n".join(fields), OFFICE_FIELD)
    head = data[:_HEAD]
    if name.endswith(".rels") or b"<Relationships" in head:
        lines = list(_read_relationships(data))
        if lines:
            yield take_text(opening, f"{name} references", "\n".join(lines), RELATIONSHIP)
    elif b"customUI" in head:
        calls = [f"customui {value}" for value in _read_calls(data)]
        if calls:
            yield take_text(opening, f"{name} references", "\n".join(calls), RELATIONSHIP)
    elif b"<connections" in head or b":connections" in head:
        queries = [f"webquery {url}" for url in _read_queries(data)]
        if queries:
            yield take_text(opening, f"{name} references", "\n".join(queries), RELATIONSHIP)
    elif b"ddeLink" in head:
        links = [f"DDE {each.get('ddeservice', '')} {each.get('ddetopic', '')}" for each in tags(data, b"ddeLink")]
        yield take_text(opening, f"{name} links", "\n".join(links), OFFICE_FIELD)
    elif b"macrosheet" in head and _MACRO_SHEET.search(head):
        yield take_text(opening, f"{name} macros", "\n".join(_read_macro_sheet(name, data)), XLM)
    elif b"<workbook" in head or b":workbook" in head:
        names = list(_read_names(data))
        if names:
            yield take_text(opening, f"{name} names", "\n".join(names), XLM)
    elif b"opendocument" in head or b"openoffice.org" in head:
        yield from read_open_document(name, data, opening)


def _read_relationships(data: bytes) -> Iterator[str]:
    """Yield `type target` of the relationships that lead outside ([ECMA-376] part 2, 9.3)."""
    for each in tags(data, b"Relationship"):
        target = each.get("target", "").strip()
        kind = each.get("type", "").rpartition("/")[2]
        outside = each.get("targetmode", "").lower() == "external" or "://" in target
        if outside and not (kind == "hyperlink" and target.lower().startswith(_HARMLESS_LINKS)):
            yield f"{kind} {target}"


def _read_calls(data: bytes) -> Iterator[str]:
    """Yield the macros in other files that a ribbon calls ([MS-CUSTOMUI] 2.2): `file!macro`."""
    for found in _CALL.finditer(data):
        value = unescape(found[1] or found[2])
        if "!" in value and ("://" in value or value.startswith("\\\\")):
            yield value


def _read_queries(data: bytes) -> Iterator[str]:
    """Yield the pages that a workbook fetches as soon as it is opened ([ECMA-376] 18.13)."""
    if b"refreshOnLoad" in data and any(
        each.get("refreshonload", "") in ("1", "true") for each in tags(data, b"connection")
    ):
        for each in tags(data, b"webPr"):
            yield each.get("url", "")


def _read_macro_sheet(name: str, data: bytes) -> list[str]:
    lines = [f"macro sheet {name}"]
    position = data.find(b"<f")
    while position >= 0 and len(lines) < FORMULAS_LIMIT:
        start = data.find(b">", position)
        end = data.find(b"<", start)
        if start < 0 or end < 0:
            break
        if data[position + 2 : position + 3] in (b">", b" ") and end > start + 1:
            lines.append("=" + unescape(data[start + 1 : end]))
        position = data.find(b"<f", end)
    return lines


def _read_names(data: bytes) -> Iterator[str]:
    """Yield the defined names of a workbook that run something by themselves."""
    position = data.find(b"definedName ")
    while position >= 0:
        end = data.find(b">", position)
        stop = data.find(b"<", end)
        if end < 0 or stop < 0:
            return
        name = attributes(data[position:end]).get("name", "")
        if name.lower().replace("_xlnm.", "").startswith("auto_"):
            yield f"name {name} = {unescape(data[end + 1 : stop])}"
        position = data.find(b"definedName ", stop)


def read_open_document(name: str, data: bytes, opening: Opening) -> Iterator[Member]:
    """Yield what an OpenDocument part runs or fetches: Basic, event listeners, DDE, objects elsewhere."""
    if b"script:module" in data or b"ooo:module" in data:
        yield take_text(opening, f"{name} Basic", unescape(data), VBA)
    links: list[str] = []
    for mark in (b"dde-connection-decl", b"dde-source"):
        for each in tags(data, mark):
            words = [each.get(key, "") for key in ("dde-application", "dde-topic", "dde-item")]
            links.append(f"DDE {' '.join(words)}")
    links += [f"event {each.get('event-name', '')} {each.get('href', '')}" for each in tags(data, b"event-listener")]
    if links:
        yield take_text(opening, f"{name} links", "\n".join(links), OFFICE_FIELD)
    objects = [
        f"{mark.decode('ascii')} {target}"
        for mark in (b"object", b"object-ole", b"plugin", b"applet", b"floating-frame", b"section-source")
        for each in tags(data, mark)
        if "://" in (target := each.get("href", ""))
    ]
    if objects:
        yield take_text(opening, f"{name} references", "\n".join(objects), RELATIONSHIP)


# -- parts in binary form ([MS-XLSB]) --------------------------------------------------------------------------------


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, content) of the records of a binary part ([MS-XLSB] 2.1.4)."""
    position = 0
    for _ in range(CELLS_LIMIT):
        if position + 2 > len(data):
            return
        number = data[position]
        position += 1
        if number & 0x80:
            number = number & 0x7F | (data[position] & 0x7F) << 7
            position += 1
        size = shift = 0
        while position < len(data) and shift < 28:
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        yield number, data[position : position + size]
        position += size


def _read_binary_sheet(name: str, data: bytes) -> list[str]:
    lines = [f"macro sheet {name}"]
    for number, record in _records(data):
        length = _BINARY_FORMULAS.get(number)
        if length is None or len(lines) >= FORMULAS_LIMIT:
            continue
        value = 4 + 2 * int.from_bytes(record[8:12], "little") if length < 0 else length
        start = 8 + value + 2
        size = int.from_bytes(record[start : start + 4], "little")
        lines.append("= " + show_formula(record[start + 4 : start + 4 + size], wide=True))
    return lines


def _read_supbook(record: bytes) -> list[str]:
    """Return a link to another program, [] when it is one to a workbook."""
    if int.from_bytes(record[:2], "little") != 1:
        return []
    texts: list[str] = []
    position = 2
    for _ in range(2):
        length = int.from_bytes(record[position : position + 4], "little") * 2
        texts.append(record[position + 4 : position + 4 + length].decode("utf-16-le", "replace"))
        position += 4 + length
    return [f"DDE {' '.join(texts)}"]
