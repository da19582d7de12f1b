"""Names that deceive: what a file's name shows against what it is. Pure.

Called by the built-in engine for every object with a name. A program under its own name is none of these: name filters
decide about it.
"""

import re
from collections.abc import Mapping

from gatepost.antivirus.engine import Outcome, Report, ScanObject
from gatepost.antivirus.kinds import Kind, extension_of

RUNNABLE = frozenset({
    "exe", "scr", "com", "pif", "cpl", "bat", "cmd", "js", "jse", "vbs", "vbe", "wsf", "wsh", "hta", "lnk",
    "ps1", "jar", "msi", "msp", "iso", "img", "vhd", "vhdx", "one", "url", "scf", "dll", "reg", "application",
    "gadget", "msc", "chm",
})  # fmt: skip
"""Extensions that make Windows run something, or open something that runs."""
_FETCHED = RUNNABLE | {"zip", "rar", "7z", "cab", "ace", "gz", "docm", "xlsm", "pptm", "xll", "appx", "msix"}
DECOYS = frozenset({
    "pdf", "doc", "docx", "dot", "xls", "xlsx", "ppt", "pptx", "rtf", "odt", "ods", "odp", "txt", "csv", "jpg",
    "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "mp3", "mp4", "avi", "mov", "wav", "html", "htm", "eml",
    "msg",
})  # fmt: skip
"""Extensions people take for harmless documents, pictures and sounds."""
_DECOY_TYPES = ("image/", "audio/", "video/", "text/", "application/pdf", "application/msword", "application/vnd.")
_OVERRIDES = re.compile("[\u202d\u202e]")
_BIDI = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_CLIMBING = re.compile(r"(?:^|[\\/:])\.\.[\\/]")
_PADDING = re.compile(r"[\s\u00a0\u2000-\u200b\u2800\u3000_.\-]{12,}\.?[A-Za-z0-9]{2,5}\Z")
"""Space that moves the real extension out of the window a name is shown in."""


def judge_name(subject: ScanObject) -> Report | None:
    """Return what is wrong with an object's name, None when nothing is."""
    name = subject.name
    if not name.isascii():
        if _OVERRIDES.search(name) is not None:
            return _report(
                "BidiOverride", "the file name holds a control character that turns the order of its letters"
            )
        name = _BIDI.sub("", name)
        if name != subject.name and extension_of(name) in RUNNABLE:
            return _report("BidiOverride", "the name of a program holds invisible characters that change its looks")
    last = extension_of(name)
    if last in RUNNABLE:
        decoy = extension_of(name.rstrip(" .\t\0")[: -len(last) - 1].rstrip(" ._-\u00a0"))
        if decoy in DECOYS and _is_double(name, decoy):
            return _report("DoubleExtension", f"the name shows .{decoy}, but the file is run as .{last}")
        if _PADDING.search(name) is not None:
            return _report("HiddenExtension", f"the name hides its extension .{last} behind a row of blanks")
    elif subject.kind is Kind.EXECUTABLE and last in DECOYS:
        return _report("Executable", f"a program under the name of a document, picture or text (.{last})")
    return None


def judge_type(subject: ScanObject) -> Report | None:
    """Return what is wrong with the declared type of a program that has no name of its own to go by."""
    if subject.kind is Kind.EXECUTABLE and not subject.name and subject.content_type.startswith(_DECOY_TYPES):
        return _report("Executable", f"a program declared as {subject.content_type}")
    return None


def judge_reference(parameters: Mapping[str, str]) -> Report | None:
    """Return what is wrong with content that stands elsewhere (`message/external-body`, RFC 2046 §5.2.3), told by the
    names its parameters give; None when nothing is: texts are announced so.
    """
    for key in ("name", "url", "filename"):
        name = parameters.get(key, "").strip().partition("?")[0].rpartition("/")[2]
        if extension_of(name) in _FETCHED:
            evidence = f"its reader fetches .{extension_of(name)} from elsewhere"
            return Report(Outcome.SUSPICIOUS, threat="Heuristic.Carrier.ExternalBody", evidence=evidence)
    return None


def judge_path(path: str) -> Report | None:
    """Return what is wrong with where an archive puts a member; None when nothing is."""
    if _CLIMBING.search(path) is None:
        return None
    return _report("Path", "the archive puts this file outside of the folder it is unpacked in")


def _is_double(name: str, decoy: str) -> bool:
    """`decoy` is an extension, not the whole name ("pdf.exe" deceives nobody)."""
    return f".{decoy}" in name.lower()


def _report(what: str, evidence: str) -> Report:
    return Report(Outcome.SUSPICIOUS, threat=f"Heuristic.Disguised.{what}", evidence=evidence)
