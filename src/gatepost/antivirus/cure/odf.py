"""OpenDocument files without scripts and what else runs: `cure_odf`.

Called by `plan`. Basic and other scripts go with their entries in the manifest, so do bindings of events, applets,
plug-ins and signatures; DDE links and links to scripts lead nowhere; embedded files are disarmed.
"""

from collections.abc import Sequence
from typing import Final

from lxml import etree
from lxml.etree import _Element

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure.cured import BadMember, Cured, Uncurable, build_cured
from gatepost.antivirus.cure.package import Package
from gatepost.antivirus.cure.packages import index_bad
from gatepost.antivirus.cure.xml import drop, local_name

MANIFEST: Final = "meta-inf/manifest.xml"
TYPE_MARK: Final = b"application/vnd.oasis.opendocument."
"""Start of the content of the part `mimetype`."""
_SCRIPTS: Final = ("basic/", "scripts/", "dialogs/")
_SIGNATURES: Final = ("meta-inf/documentsignatures.xml", "meta-inf/macrosignatures.xml")
_CONTENTS: Final = ("content.xml", "styles.xml")
_DROPPED: Final = {
    "scripts": "scripts",
    "event-listeners": "script on an event",
    "event-listener": "script on an event",
    "applet": "applet",
    "plugin": "plug-in",
    "floating-frame": "frame",
    "dde-links": "DDE link",
    "dde-link": "DDE link",
    "dde-source": "DDE link",
    "dde-connection-decls": "DDE link",
    "section-source": "linked text",
    "script": "script",
}
"""Elements that go, by local name."""
_SCRIPT_LINKS: Final = ("vnd.sun.star.script:", "macro:", "javascript:", "vbscript:", "service:", "slot:", ".uno:")
_NOWHERE: Final = "#"


def cure_odf(data: bytes, bad: Sequence[BadMember], budget: Budget) -> Cured | None:
    """Return the file without what runs in it, None when it cannot be done or there is nothing. OverBudget."""
    try:
        return _cure(Package(data, index_bad(list(bad)), budget))
    except Uncurable:
        return None


def _cure(package: Package) -> Cured:
    if MANIFEST not in package or b"encryption-data" in package.content(MANIFEST):
        raise Uncurable("no OpenDocument file, or an encrypted one")
    package.disarm_embedded()
    _drop_scripts(package)
    for key in package.names():
        if key.rpartition("/")[2] in _CONTENTS:
            _edit_content(package, key)
    package.check_known()
    for key in _SIGNATURES:
        if package.removed and key in package:
            package.drop(key)
            package.removed.append("digital signature")
    _edit_manifest(package)
    return build_cured(package.build(), package.removed)


def _drop_scripts(package: Package) -> None:
    for key in package.names():
        if key.startswith(_SCRIPTS):
            if not key.endswith("/"):
                package.removed.append("Basic macros" if key.startswith("basic/") else "scripts")
            package.drop(key)


def _edit_content(package: Package, key: str) -> None:
    root = package.xml(key)
    removed: list[str] = []
    for node in list(root.iter()):
        words = _DROPPED.get(local_name(node))
        if words is not None and node.getparent() is not None:
            if len(node) or node.attrib or (node.text or "").strip():  # empty ones are in every document
                removed.append(words)
            drop(node)
        else:
            removed += _edit_links(node)
    if removed:
        package.put_xml(key, root)
        package.removed += removed


def _edit_links(node: _Element) -> list[str]:
    removed: list[str] = []
    for name, value in node.attrib.items():
        local = etree.QName(name).localname
        if local == "href" and value.strip().lower().startswith(_SCRIPT_LINKS):
            node.set(name, _NOWHERE)
            removed.append("link to a script")
        elif local in ("dde-application", "dde-topic", "dde-item") and value != "removed":
            node.set(name, "removed")
            removed.append("DDE link")
    return removed


def _edit_manifest(package: Package) -> None:
    """Take the entries of parts that are gone out of the manifest."""
    root = package.xml(MANIFEST)
    for node in list(root.iter("{*}file-entry")):
        path = next((value for name, value in node.attrib.items() if etree.QName(name).localname == "full-path"), "")
        key = path.lstrip("/").lower()
        if key.startswith(_SCRIPTS) or (key in _SIGNATURES and key not in package):
            drop(node)
    package.put_xml(MANIFEST, root)
