"""SVG pictures without what acts: `cure_svg`.

Called by `plan`. Scripts, handlers, foreign content, animations of links, and references that are neither inside the
picture nor plain pictures go, and comments, which a reader of web pages may end elsewhere. What is written is read
again; anything active left is no cure.
"""

import re
from typing import Final

from lxml import etree
from lxml.etree import _Element

from gatepost.antivirus.cure.cured import Cured, Uncurable, build_cured
from gatepost.antivirus.cure.xml import build_xml, drop, local_name, parse_xml

_SPACE: Final = "http://www.w3.org/2000/svg"
_KEPT_SPACES: Final = frozenset(
    {
        _SPACE,
        "http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd",
        "http://www.inkscape.org/namespaces/inkscape",
        "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "http://creativecommons.org/ns#",
        "http://purl.org/dc/elements/1.1/",
    }
)
_DROPPED: Final = frozenset(
    {"script", "foreignobject", "handler", "listener", "iframe", "embed", "object", "audio", "video", "use-script"}
)
_ANIMATIONS: Final = frozenset({"animate", "set", "animatetransform", "animatemotion", "animatecolor", "discard"})
_PICTURE: Final = re.compile(r"data:image/(?:png|gif|jpe?g|webp)[;,]", re.IGNORECASE)
_NOISE: Final = re.compile(r"[\x00-\x20\x7f-\xa0]+")
_LINK: Final = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
_ACTIVE_STYLE: Final = re.compile(
    r"expression|behaviou?r|-moz-binding|javascript|@import|url\((?!['\"]?#)", re.IGNORECASE
)
_DOCTYPE: Final = re.compile(
    rb"<!DOCTYPE\s+svg(?:\s+PUBLIC\s+\"[^\"<>]*\"\s*\"[^\"<>]*\"|\s+SYSTEM\s+\"[^\"<>]*\")?\s*>"
)
"""The usual ones: no entities. They go."""


def cure_svg(data: bytes) -> Cured | None:
    """Return the picture without what acts, None when it cannot be done or there is nothing."""
    try:
        root = parse_xml(_DOCTYPE.sub(b"", data, count=1))
        if etree.QName(root).namespace != _SPACE or local_name(root) != "svg":
            return None
        removed = _clean(root)
        written = build_xml(root, standalone=None)
        if _clean(parse_xml(written)):
            return None
        return build_cured(written, removed)
    except Uncurable:
        return None


def _clean(root: _Element) -> list[str]:
    removed: list[str] = []
    tree = root.getroottree()
    for node in tree.xpath("//processing-instruction()|//comment()"):
        removed.append("instruction to the reader" if node.tag is etree.ProcessingInstruction else "")
        parent = node.getparent()
        if parent is not None:
            drop(node)
        else:
            root.append(node)  # out of the prologue, then out of the picture
            root.remove(node)
    for node in list(root.iter(etree.Element)):
        words = _verdict(node)
        if words and node.getparent() is not None:
            removed.append(words)
            drop(node)
        else:
            removed += _clean_attributes(node)
    return [words for words in removed if words]


def _verdict(node: _Element) -> str:
    """Return what a node is that has to go, "" if it may stay."""
    name = local_name(node).lower()
    if name in _DROPPED or etree.QName(node).namespace not in _KEPT_SPACES:
        return name
    if name in _ANIMATIONS:
        target = str(node.get("attributeName", "")).rpartition(":")[2].lower()
        if target == "href" or target.startswith("on"):
            return "animation of a link"
    if name == "style" and _ACTIVE_STYLE.search(_NOISE.sub("", "".join(node.itertext()))):
        return "active style"
    return ""


def _clean_attributes(node: _Element) -> list[str]:
    removed: list[str] = []
    for key, raw in list(node.attrib.items()):
        name, value = etree.QName(key).localname.lower(), _NOISE.sub("", str(raw))
        if name.startswith("on"):
            removed.append(name)
        elif name in ("href", "src", "action", "formaction", "base", "data") and not _is_safe(node, value):
            removed.append("link that runs or fetches something")
        elif name == "style" and _ACTIVE_STYLE.search(value):
            removed.append("active style")
        else:
            continue
        del node.attrib[key]
    return removed


def _is_safe(node: _Element, value: str) -> bool:
    if value.startswith("#") or not value:
        return True
    if local_name(node) in ("image", "feImage"):
        return _PICTURE.match(value) is not None
    return local_name(node) == "a" and _LINK.match(value) is not None
