"""XML parts of packages, parsed and written the careful way: `parse_xml`, `build_xml`.

Called by the cures of newer Office files, OpenDocument files and SVG. No entities, no document types, no network; what
does not parse is not cured.
"""

from typing import Final

from lxml import etree
from lxml.etree import _Element

from gatepost.antivirus.cure.cured import Uncurable

XML_BYTES: Final = 64 * 1024 * 1024
"""Of one part: its tree takes some ten times as much memory."""


def parse_xml(data: bytes) -> _Element:
    """Return the root. Uncurable: not well-formed, with a document type, or too large."""
    if len(data) > XML_BYTES:
        raise Uncurable("an XML part that is too large")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Uncurable(f"an XML part is damaged: {error}") from None
    if root.getroottree().docinfo.doctype:
        raise Uncurable("an XML part with a document type")
    return root


def build_xml(root: _Element, *, standalone: bool | None = True) -> bytes:
    """Return the document in UTF-8."""
    out: bytes = etree.tostring(root.getroottree(), xml_declaration=True, encoding="UTF-8", standalone=standalone)
    return out


def local_name(node: _Element) -> str:
    """Return the name without namespace, "" for comments and processing instructions."""
    return etree.QName(node).localname if isinstance(node.tag, str) else ""


def drop(node: _Element) -> None:
    """Take an element out and leave the text behind it."""
    parent = node.getparent()
    if parent is None:
        raise Uncurable("the whole document is bad")
    if node.tail:
        before = node.getprevious()
        if before is None:
            parent.text = (parent.text or "") + node.tail
        else:
            before.tail = (before.tail or "") + node.tail
    parent.remove(node)
