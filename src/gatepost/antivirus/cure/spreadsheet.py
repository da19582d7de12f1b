"""Parts of newer Excel files made harmless: macro sheets, DDE links, names that run by themselves.

Called by `ooxml`, on parts and on the package that holds them.
"""

import posixpath
from typing import Final

from lxml import etree

from gatepost.antivirus.cure.cured import Uncurable
from gatepost.antivirus.cure.package import Package
from gatepost.antivirus.cure.xml import build_xml, drop, local_name, parse_xml

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_EMPTY_BINARY_SHEET: Final = b"\x81\x01\0\x91\x01\0\x92\x01\0\x82\x01\0"
"""BrtBeginSheet, BrtBeginSheetData, BrtEndSheetData, BrtEndSheet (MS-XLSB §2.1.7.62), without content."""
_BEGIN_LINK: Final = b"\xe8\x02"
"""BrtBeginSupBook; its length follows, then its kind."""
_DDE_LINK: Final = b"\x01\0"
_LINKS: Final = "xl/externallinks/"
_WORKBOOK: Final = "xl/workbook.xml"
_WORKBOOK_RELATIONS: Final = "xl/_rels/workbook.xml.rels"
_CALCULATION: Final = "xl/calcchain.xml"
_NOWHERE: Final = (
    b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" '
    b'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/externalLinkPath" '
    b'Target="removed" TargetMode="External"/></Relationships>'
)


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


def disarm_links(package: Package) -> None:
    """Make DDE links references to a workbook that does not exist, and what was asked of them constant values."""
    keys = [key for key in package.names() if key.startswith(_LINKS) and not key.endswith(".rels")]
    linked = {key for key in keys if b"ddeLink" in package.content(key)}
    if any(key.endswith(".bin") and _is_binary_dde(package.content(key)) for key in keys):
        raise Uncurable("a DDE link in a binary workbook")
    if not linked:
        return
    marks = [f"[{number}]!" for number, key in enumerate(_order_links(package), 1) if key in linked]
    for key in sorted(linked):
        root = package.xml(key)
        for node in list(root):
            drop(node)
        book = etree.SubElement(root, f"{{{_MAIN}}}externalBook", nsmap={"r": _OFFICE_RELATIONS})
        book.set(f"{{{_OFFICE_RELATIONS}}}id", "rId1")
        etree.SubElement(etree.SubElement(book, f"{{{_MAIN}}}sheetNames"), f"{{{_MAIN}}}sheetName").set("val", "Sheet1")
        package.put_xml(key, root)
        folder, _, file = package.name(key).rpartition("/")
        package.add(f"{folder}/_rels/{file}.rels", _NOWHERE)
        package.removed.append("DDE link")
    for key in package.names():
        if key.startswith("xl/") and key.endswith(".xml") and key not in linked:
            _drop_formulas(package, key, marks)


def _order_links(package: Package) -> list[str]:
    """Return the parts of external links in the order in which formulas number them."""
    targets = {
        str(each.get("Id")): posixpath.normpath(posixpath.join("/xl", str(each.get("Target")))).lstrip("/").lower()
        for each in package.xml(_WORKBOOK_RELATIONS).iter("{*}Relationship")
    }
    references = package.xml(_WORKBOOK).iter("{*}externalReference")
    return [targets.get(next((str(value) for value in each.attrib.values()), ""), "") for each in references]


def _drop_formulas(package: Package, key: str, marks: list[str]) -> None:
    content = package.content(key)
    if not any(mark.encode() in content for mark in marks):
        return
    root = package.xml(key)
    for node in list(root.iter("{*}f", "{*}definedName")):
        if any(mark in (node.text or "") for mark in marks):
            drop(node)
    package.put_xml(key, root)


def drop_calculation_chain(package: Package) -> None:
    """Take out the list of cells to calculate: it may name some that hold no formula now, and is made anew."""
    if _CALCULATION not in package:
        return
    package.drop(_CALCULATION)
    root = package.xml(_WORKBOOK_RELATIONS)
    for relation in list(root.iter("{*}Relationship")):
        if relation.get("Type", "").endswith("/calcChain"):
            drop(relation)
    package.put_xml(_WORKBOOK_RELATIONS, root)


def _is_binary_dde(data: bytes) -> bool:
    """Tell whether a binary part starts with a DDE link (MS-XLSB §2.4.48)."""
    start = 4 if data[2:3] >= b"\x80" else 3
    return data.startswith(_BEGIN_LINK) and data[start : start + 2] == _DDE_LINK


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
