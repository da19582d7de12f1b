"""What data is, told by its content alone: `detect_kind`.

Called by the stage for every object. Names and declared types are never asked here; where they say something else, that
is a finding of its own.
"""

import enum
import re

from gatepost.antivirus.openers.zip import is_appended


class Kind(enum.StrEnum):
    """Kinds of content the anti-virus stage treats in a way of their own."""

    ZIP = "zip"
    """A zip archive, also behind other data (self-extractors). Office files in the newer form are `OOXML` and such."""
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    LZMA = "lzma"
    ZSTD = "zstd"
    LZ4 = "lz4"
    LZIP = "lzip"
    COMPRESS = "compress"
    TAR = "tar"
    SEVEN_ZIP = "7z"
    RAR = "rar"
    CAB = "cab"
    ISO = "iso"
    UDF = "udf"
    DISK_IMAGE = "disk-image"
    LHA = "lha"
    ARJ = "arj"
    ACE = "ace"
    AR = "ar"
    CPIO = "cpio"
    XAR = "xar"
    RPM = "rpm"
    CHM = "chm"
    TNEF = "tnef"
    UUENCODE = "uuencode"
    YENC = "yenc"
    BINHEX = "binhex"
    MBOX = "mbox"
    MAIL = "mail"
    OLE = "ole"
    """Compound file: older Office documents, MSI, Outlook messages."""
    OOXML = "ooxml"
    ODF = "odf"
    ONENOTE = "onenote"
    RTF = "rtf"
    PDF = "pdf"
    HTML = "html"
    SVG = "svg"
    XML = "xml"
    LNK = "lnk"
    SCRIPT = "script"
    EXECUTABLE = "executable"
    """Windows, DOS, ELF, Mach-O or Java programs."""
    PICTURE = "picture"
    FONT = "font"
    SOUND = "sound"


_MAGIC = re.compile(
    rb"(?P<ZIP>PK(?:\x03\x04|\x05\x06|\x30\x30PK\x03\x04))|(?P<GZIP>\x1f\x8b\x08)|(?P<RAR>Rar!\x1a\x07)"
    rb"|(?P<SEVEN_ZIP>7z\xbc\xaf\x27\x1c)|(?P<BZIP2>BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90))|(?P<XZ>\xfd7zXZ\x00)"
    rb"|(?P<CAB>MSCF\x00\x00\x00\x00)|(?P<LHA>..-l(?:h[0-7dx]|z[s45])-)|(?P<ARJ>\x60\xea.[\x00-\x0a][\x1e-\x30][\x01-\x0d])"
    rb"|(?P<ZSTD>\x28\xb5\x2f\xfd)|(?P<LZ4>\x04\x22\x4d\x18)|(?P<COMPRESS>\x1f[\x9d\xa0])|(?P<ACE>.{7}\*\*ACE\*\*)"
    rb"|(?P<LZIP>LZIP\x01)|(?P<XAR>xar!\x00\x1c)|(?P<TAR>.{257}ustar)",
    re.DOTALL,
)
_ISO_MARK = b"CD001"
_ISO_OFFSET = 32_769


def detect_kind(data: bytes) -> Kind | None:
    """Return the kind of `data`, None when it is none of those known."""
    found = _MAGIC.match(data)
    if found is not None and found.lastgroup is not None:
        return Kind[found.lastgroup]
    if len(data) > _ISO_OFFSET and data.startswith(_ISO_MARK, _ISO_OFFSET):
        return Kind.ISO
    return Kind.ZIP if is_appended(data) else None
