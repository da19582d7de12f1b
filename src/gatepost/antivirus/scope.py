"""Which rules look at which objects: a `Scope` is a kind of object that dear rules are kept for.

Used where rules are compiled (one set of rules a scope) and by the built-in engine for every object. Rules of scope
`ANY` see everything; the others only what they are about, so that an ordinary text pays for none of them.
"""

import enum
from collections.abc import Mapping
from typing import Final

from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.kinds import Kind, extension_of


class Scope(enum.StrEnum):
    """What a rule or a pattern is about."""

    ANY = "any"
    """Every object. Dear: every text body pays for it."""
    EXECUTABLE = "executable"
    """Programs of any system."""
    OFFICE = "office"
    """Office documents, old and new, RTF and OneNote included, as files."""
    PDF = "pdf"
    PAGE = "page"
    """HTML and SVG."""
    SCRIPT = "script"
    """Scripts by content, by name or by declared type, JavaScript out of documents and pages included."""
    ACTIVE = "active"
    """What openers have made visible: macro source, fields, relationships, actions, a shortcut's command."""


_BY_KIND: Final[Mapping[Kind, tuple[Scope, ...]]] = {
    Kind.EXECUTABLE: (Scope.EXECUTABLE,),
    Kind.OLE: (Scope.OFFICE,),
    Kind.OOXML: (Scope.OFFICE,),
    Kind.ODF: (Scope.OFFICE,),
    Kind.RTF: (Scope.OFFICE,),
    Kind.ONENOTE: (Scope.OFFICE,),
    Kind.PDF: (Scope.PDF,),
    Kind.HTML: (Scope.PAGE,),
    Kind.SVG: (Scope.PAGE,),
    Kind.SCRIPT: (Scope.SCRIPT,),
    Kind.CALENDAR: (Scope.SCRIPT,),
}
_PAGES: Final = frozenset({Kind.HTML, Kind.SVG})
_TELLERS: Final = _PAGES | {Kind.SCRIPT, Kind.ONENOTE}
"""Containers whose texts are scripts until told otherwise: what scripts decode and run, what notebooks offer."""
_PAGE_NAMES: Final = frozenset({"html", "htm", "shtml", "xhtml", "xht", "svg"})
ACTIVE_TYPES = frozenset(
    {
        "text/x-vba",
        "text/x-vba-stomped",
        "text/x-xlm-macro",
        "text/x-office-field",
        "text/x-office-relationship",
        "text/x-pdf-action",
        "text/x-lnk-command",
        "text/x-outlook-reminder",
        "text/x-rtf-object",
    }
)
"""Types openers give to what they make visible; no mail's own declaration of them means anything."""
SCRIPT_TYPES = frozenset(
    {
        "text/javascript",
        "application/javascript",
        "application/x-javascript",
        "text/vbscript",
        "application/hta",
        "application/x-sh",
        "application/x-powershell",
    }
)
SCRIPT_EXTENSIONS = frozenset({
    "js", "jse", "vbs", "vbe", "wsf", "wsh", "wsc", "sct", "hta", "ps1", "psm1", "psd1", "bat", "cmd", "sh",
    "mjs", "xsl", "url", "iqy", "slk", "reg", "inf", "csv", "mht", "mhtml", "website", "scf", "library-ms", "search-ms",
    "searchconnector-ms", "settingcontent-ms", "rdp", "theme", "msc", "application", "appref-ms", "appinstaller",
    "jnlp", "desktop", "ini", "asx", "wax", "wvx", "m3u", "pls", "contact", "webloc", "inetloc", "fileloc", "terminal",
    "command", "applescript", "scpt", "py", "pyw", "csproj", "vbproj", "proj", "dif", "rqy", "oqy", "dqy", "ps", "eps",
    "au3", "ahk", "a3x", "service", "vsto", "osdx", "accdb", "accde", "accda", "accdr", "mdb", "mde", "mda", "ade",
    "ovpn", "xslt", "xbap", "ps1xml", "vcxproj", "fsproj", "targets", "props",
})  # fmt: skip
"""Names Windows hands to an interpreter at a click, and texts it takes commands from."""


def resolve_scopes(subject: ScanObject) -> tuple[Scope, ...]:
    """Return the scopes an object belongs to besides `ANY`."""
    kind, declared = subject.kind, subject.content_type
    if kind is None and not subject.name and declared in {"text/plain", ""}:
        return ()
    scopes = _BY_KIND.get(kind, ()) if kind is not None else ()
    if subject.inside is not None and declared in ACTIVE_TYPES:
        scopes += (Scope.ACTIVE,)
    if kind not in _PAGES and (declared == "text/html" or (subject.name and extension_of(subject.name) in _PAGE_NAMES)):
        scopes += (Scope.PAGE,)  # a browser asks the name, whatever stands in front of the page
    told = kind is None and subject.inside in _TELLERS and declared not in SCRIPT_TYPES
    if told and subject.inside in _PAGES:
        scopes += (Scope.PAGE,)  # code that the page decodes: the page itself does not show it
    if Scope.SCRIPT not in scopes and (
        told
        or declared in SCRIPT_TYPES
        or (subject.name and kind is not Kind.EXECUTABLE and _is_script_name(subject.name))
    ):
        scopes += (Scope.SCRIPT,)
    return scopes


def _is_script_name(name: str) -> bool:
    return extension_of(name) in SCRIPT_EXTENSIONS
