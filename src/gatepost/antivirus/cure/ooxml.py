"""Newer Office files (ECMA-376 packages) without macros and what else runs: `cure_ooxml`.

Called by `plan`. Out go VBA projects, key and ribbon assignments and signatures, with their relationships and content
types; macro sheets become worksheets without formulas; fields and links that fetch or start something lead nowhere;
embedded files are disarmed. All other parts keep their bytes.
"""

import posixpath
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from lxml import etree
from lxml.etree import _Element

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure.cured import BadMember, Cured, Uncurable, build_cured
from gatepost.antivirus.cure.package import Package
from gatepost.antivirus.cure.packages import Bad, index_bad
from gatepost.antivirus.cure.spreadsheet import (
    disarm_links,
    disarm_macro_sheet,
    disarm_names,
    drop_calculation_chain,
)
from gatepost.antivirus.cure.xml import drop, local_name

TYPES_PART: Final = "[content_types].xml"
"""What makes a zip archive such a package."""
_NESTED: Final = 3
"""Office files embedded in each other that are cured."""
_NOWHERE: Final = "removed"
"""Target of what led out of the document: a file that does not exist."""
_VBA_PART: Final = re.compile(r"(?:^|/)(?:vbaproject\w*\.bin|vbadata\.xml)$")
_DROPPED_RELATIONS: Final = {
    "vbaproject": "VBA macros",
    "wordvbadata": "VBA macros",
    "vbaprojectsignature": "VBA macros",
    "vbaprojectsignatureagile": "VBA macros",
    "vbaprojectsignaturev3": "VBA macros",
    "keymapcustomizations": "key assignments",
    "attachedtoolbars": "toolbars",
    "extensibility": "ribbon",
}
"""Last part of a relationship's type, in lower case."""
_MACRO_SHEETS: Final = frozenset({"xlmacrosheet", "xlintlmacrosheet"})
_WORKSHEET_RELATION: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
_SIGNATURE: Final = "_xmlsignatures/"
_SIGNATURE_RELATION: Final = "/digital-signature/"
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_PLAIN_TYPES: Final = {
    "application/vnd.ms-word.document.macroenabled.main+xml": _OFFICE + "wordprocessingml.document.main+xml",
    "application/vnd.ms-word.template.macroenabledtemplate.main+xml": _OFFICE + "wordprocessingml.template.main+xml",
    "application/vnd.ms-excel.sheet.macroenabled.main+xml": _OFFICE + "spreadsheetml.sheet.main+xml",
    "application/vnd.ms-excel.template.macroenabled.main+xml": _OFFICE + "spreadsheetml.template.main+xml",
    "application/vnd.ms-powerpoint.presentation.macroenabled.main+xml": _OFFICE
    + "presentationml.presentation.main+xml",
    "application/vnd.ms-powerpoint.slideshow.macroenabled.main+xml": _OFFICE + "presentationml.slideshow.main+xml",
    "application/vnd.ms-powerpoint.template.macroenabled.main+xml": _OFFICE + "presentationml.template.main+xml",
}
"""Type of the main part with macros: the one without."""
_MACRO_NAME: Final = re.compile(r"\.(?:doc|dot|xls|xlt|xla|ppt|pot|pps|ppa)m$", re.IGNORECASE)
"""Names that go with main parts with macros: Office opens no file whose name and main part disagree, and opens one
that may have macros and has none without a word."""
_HEAD: Final = 4096
"""Of a part, in which its root element stands."""
_SHEET_TYPE: Final = re.compile(r"^application/vnd\.ms-excel\.(?:intl)?macrosheet(\+xml)?$", re.IGNORECASE)
_VBA_TYPE: Final = "application/vnd.ms-office.vbaproject"
_OBJECT_TYPE: Final = _OFFICE + "oleObject"
_FIELD: Final = re.compile(
    r"^[\s\"\\]*(?:DDE|DDEAUTO|LINK|INCLUDE|INCLUDETEXT|INCLUDEPICTURE|IMPORT|RD|DATABASE|AUTOTEXT)\b"
    r"|\bDDE(?:AUTO)?\b|\bQUOTE\s+\d+(?:\s+\d+)+",
    re.IGNORECASE,
)
"""Fields that start or fetch something; numbers in a quotation spell such a field."""


def cure_ooxml(data: bytes, name: str, bad: Sequence[BadMember], budget: Budget) -> Cured | None:
    """Return the file without what runs in it, None when it cannot be done or there is nothing. OverBudget."""
    try:
        return _cure(data, name, index_bad(list(bad)), budget, 0)
    except Uncurable:
        return None


def _cure(data: bytes, name: str, bad: Bad, budget: Budget, depth: int) -> Cured:
    package = Package(data, bad, budget)
    if TYPES_PART not in package:
        raise Uncurable("no Office package")
    sheets = _edit_relations(package)
    for key in package.names():
        if _VBA_PART.search(key):
            package.drop(key)
            package.removed.append("VBA macros")
    _cure_nested(package, depth)
    package.disarm_embedded()
    for key in package.names():
        if key != TYPES_PART and not key.endswith(".rels"):
            _edit_part(package, key, sheets)
    disarm_links(package)
    package.check_known()
    if package.removed:
        drop_calculation_chain(package)
        _drop_signatures(package)
    _edit_types(package, sheets, keep_macro_type=_MACRO_NAME.search(name) is not None)
    return build_cured(package.build(), package.removed)


def _cure_nested(package: Package, depth: int) -> None:
    """Cure Office packages that are embedded."""
    for key in package.names():
        content = package.content(key)
        if "/embeddings/" not in key or not content.startswith(b"PK") or depth >= _NESTED:
            continue
        try:
            cured = _cure(content, key, package.bad, package.budget, depth + 1)
        except Uncurable:  # nothing in it, or known to be bad by its digest: then the caller of the package sees to it
            continue
        package.put(key, cured.data)
        package.removed += cured.removed


def _edit_relations(package: Package) -> set[str]:
    """Take out relationships to what goes, and those parts; lead others nowhere. Return the keys of macro sheets."""
    sheets: set[str] = set()
    for key in package.names():
        if not key.endswith(".rels") or key not in package:
            continue
        root = package.xml(key)
        base = posixpath.dirname(posixpath.dirname(key))
        changed = False
        for relation in list(root.iter("{*}Relationship")):
            kind = relation.get("Type", "").rsplit("/", 1)[-1].lower()
            target = _resolve(base, relation.get("Target", ""))
            if relation.get("TargetMode", "").lower() == "external":
                if kind == "hyperlink" or relation.get("Target") == _NOWHERE:
                    continue
                relation.set("Target", _NOWHERE)
                package.removed.append(f"external {kind}")
            elif kind in _DROPPED_RELATIONS or _VBA_PART.search(target):
                package.removed.append(_DROPPED_RELATIONS.get(kind, "VBA macros"))
                drop(relation)
                _drop_with_relations(package, target)
            elif kind in _MACRO_SHEETS:
                relation.set("Type", _WORKSHEET_RELATION)
                sheets.add(target)
            else:
                continue
            changed = True
        if changed and key in package:
            package.put_xml(key, root)
    return sheets


def _resolve(base: str, target: str) -> str:
    """Return the key of the part a relationship of a part in folder `base` leads to."""
    path = unquote(target.partition("#")[0]).replace("\\", "/")
    return posixpath.normpath(posixpath.join("/" + base, path)).lstrip("/").lower()


def _drop_with_relations(package: Package, key: str) -> None:
    relations = posixpath.join(posixpath.dirname(key), "_rels", posixpath.basename(key) + ".rels")
    for each in (key, relations):
        if each in package:
            package.drop(each)


def _edit_part(package: Package, key: str, sheets: set[str]) -> None:
    """Make one part harmless, by what it is."""
    content = package.content(key)
    if key in sheets or b"macrosheet" in content[:_HEAD]:
        package.put(key, disarm_macro_sheet(content))
        package.removed.append("macro sheet")
        sheets.add(key)
    elif key.startswith("word/") and key.endswith(".xml") and b"instr" in content:
        root = package.xml(key)
        if _blank_fields(root):
            package.put_xml(key, root)
            package.removed.append("field that starts or fetches something")
    elif key.startswith("xl/") and b"definedName" in content:
        changed = disarm_names(content)
        if changed is not None:
            package.put(key, changed)
            package.removed.append("name that runs by itself")


def _blank_fields(root: _Element) -> bool:
    """Empty the instructions of harmful fields; what they show stays. Tell whether there were any."""
    changed = False
    open_fields: list[list[_Element]] = []
    done: list[list[_Element]] = []
    for node in root.iter("{*}fldChar", "{*}instrText", "{*}delInstrText", "{*}fldSimple"):
        kind = local_name(node)
        if kind == "fldSimple":
            attribute = next((each for each in node.attrib if etree.QName(each).localname == "instr"), None)
            if attribute is not None and _FIELD.search(str(node.get(attribute))):
                node.set(attribute, " ")
                changed = True
        elif kind == "fldChar":
            state = next((str(node.get(each)) for each in node.attrib if str(each).endswith("fldCharType")), "")
            if state == "begin":
                open_fields.append([])
            elif state == "end" and open_fields:
                done.append(open_fields.pop())
        else:
            for field in open_fields:
                field.append(node)
            if not open_fields:
                done.append([node])
    for field in (*done, *open_fields):
        if field and _FIELD.search("".join(each.text or "" for each in field)):
            for each in field:
                each.text = ""
            changed = True
    return changed


def _drop_signatures(package: Package) -> None:
    """A signature does not hold over what was changed: take it out."""
    signed = [key for key in package.names() if key.startswith(_SIGNATURE)]
    for key in signed:
        package.drop(key)
    if not signed:
        return
    package.removed.append("digital signature")
    root = package.xml("_rels/.rels")
    for relation in list(root.iter("{*}Relationship")):
        if _SIGNATURE_RELATION in relation.get("Type", ""):
            drop(relation)
    package.put_xml("_rels/.rels", root)


def _edit_types(package: Package, sheets: set[str], *, keep_macro_type: bool) -> None:
    """Take the types of parts that are gone out of the list, and give those that changed their own."""
    root = package.xml(TYPES_PART)
    for node in list(root):
        kind = node.get("ContentType", "") if local_name(node) else ""
        if local_name(node) == "Override":
            key = node.get("PartName", "").lstrip("/").lower()
            if key not in package:
                drop(node)
            elif key in sheets or _SHEET_TYPE.match(kind):
                xml = kind.endswith("+xml")
                node.set("ContentType", _OFFICE + "spreadsheetml.worksheet+xml" if xml else _BINARY_SHEET)
            elif not keep_macro_type:
                node.set("ContentType", _PLAIN_TYPES.get(kind.lower(), kind))
        elif local_name(node) == "Default" and kind.lower() == _VBA_TYPE:
            node.set("ContentType", _OBJECT_TYPE)
    package.put_xml(TYPES_PART, root)


_BINARY_SHEET: Final = "application/vnd.ms-excel.worksheet"
