"""Parts of newer Excel files made harmless: macro sheets, DDE links, names that run by themselves.

Called by `ooxml`. Functions take a part and return it changed; those that may find nothing return None then.
"""

import struct
from typing import Final

from lxml import etree

from gatepost.antivirus.cure.cured import Uncurable
from gatepost.antivirus.cure.xml import build_xml, drop, local_name, parse_xml

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_EMPTY_BINARY_SHEET: Final = b"\x81\x01\0\x91\x01\0\x92\x01\0\x82\x01\0"
"""BrtBeginSheet, BrtBeginSheetData, BrtEndSheetData, BrtEndSheet (MS-XLSB §2.1.7.62), without content."""
_BEGIN_LINK: Final = 360
_DDE_LINK: Final = 1


def disarm_macro_sheet(data: bytes) -> bytes:
    """Return the sheet as a worksheet without formulas: its values stay. A binary one becomes an empty sheet."""
    if not data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return _EMPTY_BINARY_SHEET
    root = parse_xml(data)
    for formula in list(root.iter("{*}f")):
        drop(formula)
    spaces = {prefix: uri for prefix, uri in root.nsmap.items() if prefix is not None}
    sheet = etree.Element(f"{{{_MAIN}}}worksheet", nsmap={None: _MAIN, **spaces})
    for attribute, value in root.attrib.items():
        sheet.set(attribute, value)
    sheet.extend(list(root))
    return build_xml(sheet)


def disarm_link(data: bytes) -> bytes | None:
    """Lead a DDE link of an external link part nowhere."""
    if b"ddeLink" not in data:
        return None
    root = parse_xml(data)
    found = False
    for node in root.iter("{*}ddeLink"):
        found = True
        node.set("ddeService", "removed")
        node.set("ddeTopic", "removed")
    for node in root.iter("{*}ddeItem"):
        node.set("advise", "0")
    return build_xml(root) if found else None


def disarm_binary_link(data: bytes) -> bytes | None:
    """The same for a binary part (MS-XLSB §2.4.48): the letters of service and topic are overwritten in place."""
    position = 0
    while position < len(data):
        kind, position = _number(data, position, 2)
        length, position = _number(data, position, 4)
        if kind == _BEGIN_LINK and data[position : position + 2] == struct.pack("<H", _DDE_LINK):
            out = bytearray(data)
            at = position + 2
            for _ in range(2):
                count = int.from_bytes(data[at : at + 4], "little")
                if at + 4 + 2 * count > min(position + length, len(data)):
                    raise Uncurable("a link that is cut off")
                out[at + 4 : at + 4 + 2 * count] = b"x\0" * count
                at += 4 + 2 * count
            return None if bytes(out) == data else bytes(out)
        position += length
    return None


def _number(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return (number of seven bits to a byte, where it ends)."""
    value = 0
    for index in range(limit):
        if position + index >= len(data):
            raise Uncurable("a binary part that is cut off")
        byte = data[position + index]
        if kind_bits := byte & 0x7F:
            value |= kind_bits << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return value, position + limit


def disarm_names(data: bytes) -> bytes | None:
    """Take names out of a workbook part that run by themselves or are macros."""
    root = parse_xml(data)
    names = [
        node
        for node in root.iter("{*}definedName")
        if node.get("name", "").lower().removeprefix("_xlnm.").startswith("auto_")
        or any(node.get(each) in ("1", "true") for each in ("function", "vbProcedure", "xlm"))
    ]
    for node in names:
        parent = node.getparent()
        drop(node)
        if parent is not None and local_name(parent) == "definedNames" and not len(parent):
            drop(parent)
    return build_xml(root) if names else None
