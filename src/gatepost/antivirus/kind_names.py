"""What content is called against what it is: `conflicts` tells a program that goes by the name of a picture.

Called by `stage` for each object. Pure: tables of names and types, and the kinds that content may have under them
without being a surprise.
"""

from collections.abc import Mapping
from typing import Final

from gatepost.antivirus.kinds import CALLED_HTML, Kind, extension_of

_WORDS: Final[Mapping[Kind, str]] = {
    Kind.EXECUTABLE: "a program",
    Kind.SCRIPT: "a script",
    Kind.HTML: "a web page",
    Kind.LNK: "a Windows shortcut",
    Kind.OLE: "an Office document or installer of the older form",
    Kind.OOXML: "an Office document",
    Kind.ODF: "an OpenDocument file",
    Kind.MSG: "an Outlook message",
    Kind.PICTURE: "a picture",
    Kind.FONT: "a font",
    Kind.SOUND: "a sound file",
    Kind.MAIL: "a mail message",
    Kind.MBOX: "a mail folder",
    Kind.ONENOTE: "a OneNote notebook",
}
_TEXT_KINDS: Final = frozenset(
    {
        Kind.HTML,
        Kind.XML,
        Kind.SVG,
        Kind.MAIL,
        Kind.MBOX,
        Kind.SCRIPT,
        Kind.RTF,
        Kind.UUENCODE,
        Kind.YENC,
        Kind.BINHEX,
        Kind.CALENDAR,
        Kind.CMS,
        Kind.PGP,
        Kind.ENCODED_TEXT,
    }
)
_WORD: Final = frozenset({Kind.OLE, Kind.OOXML, Kind.RTF, Kind.HTML, Kind.XML, Kind.MAIL, Kind.ZIP, Kind.ODF})
_PACKED: Final = frozenset(
    {
        Kind.ZIP, Kind.GZIP, Kind.BZIP2, Kind.XZ, Kind.LZMA, Kind.ZSTD, Kind.LZ4, Kind.LZIP, Kind.COMPRESS, Kind.TAR,
        Kind.SEVEN_ZIP, Kind.RAR, Kind.CAB, Kind.LHA, Kind.ARJ, Kind.ACE, Kind.AR, Kind.CPIO, Kind.XAR,
        Kind.OTHER_ARCHIVE, Kind.OOXML, Kind.ODF,
    }
)  # fmt: skip
_PICTURES: Final = frozenset({Kind.PICTURE, Kind.SVG})
_BY_EXTENSION: Final[Mapping[str, frozenset[Kind]]] = {
    **dict.fromkeys(("doc", "dot", "xls", "xlt", "ppt", "pps", "pot"), _WORD),
    **dict.fromkeys(
        ("docx", "xlsx", "pptx", "docm", "xlsm", "pptm", "xlsb", "dotx", "dotm", "ppsx"),
        frozenset({Kind.OOXML, Kind.ZIP, Kind.OLE}),
    ),
    **dict.fromkeys(("odt", "ods", "odp", "odg"), frozenset({Kind.ODF, Kind.ZIP})),
    "rtf": _WORD,
    "pdf": frozenset({Kind.PDF}),
    "xml": frozenset({Kind.XML, Kind.SVG, Kind.HTML}),
    "svg": frozenset({Kind.SVG, Kind.XML, Kind.HTML}),
    **dict.fromkeys(CALLED_HTML, frozenset({Kind.HTML, Kind.XML, Kind.SVG, Kind.MAIL, Kind.SCRIPT})),
    **dict.fromkeys(("jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "ico"), _PICTURES),
    **dict.fromkeys(("txt", "csv", "log", "ics", "vcf", "md", "ini"), _TEXT_KINDS),
    **dict.fromkeys(("eml", "mht", "mhtml"), frozenset({Kind.MAIL, Kind.MBOX, Kind.HTML})),
    **dict.fromkeys(("zip", "rar", "7z", "gz", "tgz", "bz2", "xz", "tar", "cab", "arj", "lzh", "zst", "ace"), _PACKED),
    **dict.fromkeys(("mp3", "wav", "ogg", "flac", "mid"), frozenset({Kind.SOUND})),
    **dict.fromkeys(("ttf", "otf", "woff", "woff2"), frozenset({Kind.FONT})),
    "msg": frozenset({Kind.MSG, Kind.OLE, Kind.MAIL}),
    "lnk": frozenset({Kind.LNK}),
    "one": frozenset({Kind.ONENOTE}),
}
"""Kinds that content may have under a name with this ending without being a surprise."""
_BY_TYPE: Final[Mapping[str, frozenset[Kind]]] = {
    "application/pdf": _BY_EXTENSION["pdf"],
    "application/msword": _WORD,
    "application/vnd.ms-excel": _WORD,
    "application/vnd.ms-powerpoint": _WORD,
    "application/rtf": _WORD,
    "application/zip": _PACKED,
    "application/x-zip-compressed": _PACKED,
    "text/html": _TEXT_KINDS,
    "text/plain": _TEXT_KINDS,
    "text/csv": _TEXT_KINDS,
    "text/calendar": _TEXT_KINDS,
}
_BY_FAMILY: Final[Mapping[str, frozenset[Kind]]] = {
    "image": _PICTURES | {Kind.PDF},
    "audio": frozenset({Kind.SOUND}),
    "application/vnd.openxmlformats-officedocument": frozenset({Kind.OOXML, Kind.ZIP, Kind.OLE}),
    "application/vnd.oasis.opendocument": frozenset({Kind.ODF, Kind.ZIP}),
}


def conflicts(kind: Kind | None, name: str, declared: str) -> str:
    """Return in words how content of a kind disagrees with its file name and declared type, "" when it does not."""
    if kind is None:
        return ""
    said: list[str] = []
    extension = extension_of(name)
    allowed = _BY_EXTENSION.get(extension)
    if allowed is not None and kind not in allowed:
        said.append(f"its name ends in .{extension}")
    allowed = _BY_TYPE.get(declared)
    if allowed is None:
        allowed = _BY_FAMILY.get(declared.partition("/")[0]) or _BY_FAMILY.get(declared.rpartition(".")[0])
    if allowed is not None and kind not in allowed:
        said.append(f"its declared type is {declared}")
    if not said:
        return ""
    return f"the content is {_WORDS.get(kind, f'of kind {kind}')}, but {' and '.join(said)}"
