"""What data is, told by its content: `detect_kind`, and how that disagrees with what it is called: `conflicts`.

Called by the stage for every object, so the usual text costs a microsecond or two: one look at the first byte says
which table of marks can apply. Content alone decides, but for text whose beginning says nothing: there a name or a
declared type makes it the page that a reader's program will take it for.
"""

import enum
import re
from typing import Final

from gatepost.antivirus.appended import appended_kind
from gatepost.antivirus.mac_binary import is_mac_binary
from gatepost.antivirus.page_archives import find_page_archive
from gatepost.antivirus.zip_ends import find_directories


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
    SZDD = "szdd"
    """Microsoft's COMPRESS.EXE: `setup.ex_`."""
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
    OTHER_ARCHIVE = "other-archive"
    """Packed by a program whose files nothing here opens, mail folders of Outlook among them (PST, DBX); or called an
    archive and none that is known.
    """
    TNEF = "tnef"
    UUENCODE = "uuencode"
    YENC = "yenc"
    BINHEX = "binhex"
    MBOX = "mbox"
    MAIL = "mail"
    OLE = "ole"
    """Compound file: older Office documents, MSI."""
    MSG = "msg"
    """Compound file that holds an Outlook message."""
    ACTIVE_MIME = "activemime"
    """Compressed compound file inside Office documents saved as web pages or XML."""
    OOXML = "ooxml"
    ODF = "odf"
    ONENOTE = "onenote"
    RTF = "rtf"
    PDF = "pdf"
    HTML = "html"
    SVG = "svg"
    XML = "xml"
    CALENDAR = "calendar"
    """iCalendar and vCard: content lines that may carry files."""
    CMS = "cms"
    """Signed, compressed and encrypted files of S/MIME."""
    PGP = "pgp"
    APPLE = "apple"
    """AppleSingle, AppleDouble, MacBinary."""
    ENCODED_TEXT = "encoded-text"
    """A text file of no other kind that holds long base64."""
    LNK = "lnk"
    SCRIPT = "script"
    EXECUTABLE = "executable"
    """Windows, DOS, ELF, Mach-O or Java programs."""
    PICTURE = "picture"
    FONT = "font"
    SOUND = "sound"


_ARCHIVES = re.compile(
    rb"(?P<ZIP>PK(?:\x03\x04|\x05\x06|\x30\x30PK\x03\x04|\x07\x08PK\x03\x04))|(?P<GZIP>\x1f\x8b\x08)|(?P<RAR>Rar!\x1a\x07)"
    rb"|(?P<SEVEN_ZIP>7z\xbc\xaf\x27\x1c)|(?P<BZIP2>BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90))|(?P<XZ>\xfd7zXZ\x00)"
    rb"|(?P<CAB>MSCF\x00\x00\x00\x00)|(?P<ARJ>\x60\xea.[\x00-\x0a][\x1e-\x30][\x01-\x0d])"
    rb"|(?P<ZSTD>[\x22-\x28]\xb5\x2f\xfd)|(?P<LZ4>\x04\x22\x4d\x18|\x02\x21\x4c\x18)|(?P<COMPRESS>\x1f[\x9d\xa0])"
    rb"|(?P<LZIP>LZIP[\x00\x01])|(?P<SZDD>SZDD\x88\xf0\x27\x33A)|(?P<XAR>xar!\x00\x1c)|(?P<AR>!<arch>\n)|(?P<CPIO>07070[127]|\xc7\x71|\x71\xc7)"
    rb"|(?P<RPM>\xed\xab\xee\xdb)|(?P<DISK_IMAGE>MSWIM\0\0\0|vhdxfile|KDMV[\x01-\x03]\0\0\0|QED\0|QFI\xfb)|(?P<CHM>ITSF[\x02-\x04]\x00)|(?P<LZMA>\x5d\x00\x00(?=.{2}(?:\xff{8}|.{5}\x00{3})))",
    re.DOTALL,
)
_OTHERS = re.compile(
    rb"(?P<PDF>%[PF]DF-)|(?P<OLE>\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1)|(?P<TNEF>\x78\x9f\x3e\x22)|(?P<RTF>\{\\rt)"
    rb"|(?P<ONENOTE>\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3|\xa1\x2f\xff\x43\xd9\xef\x76\x4c\x9e\xe2\x10\xea\x57\x22\x76\x5f)"
    rb"|(?P<LNK>L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F)|(?P<ACTIVE_MIME>ActiveMime\0\0)"
    rb"|(?P<EXECUTABLE>\x7fELF|\xca\xfe\xba\xbe|\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|dex\n03|\0asm)"
    rb"|(?P<PICTURE>\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|II\*\0|MM\0\*|\0\0[\x01\x02]\0[^\0]\0|BM.{4}\0{4}.{2}\0\0[\x0c-\x7c]\0\0\0"
    rb"|8BPS|\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF|.{4}ftyp(?:heic|heix|mif1|avif))"
    rb"|(?P<FONT>\0\x01\0\0\0[\x04-\x3f]..|OTTO\0|ttcf\0|wOF[F2])"
    rb"|(?P<SOUND>RIFF.{4}WAVE|ID3[\x02-\x04]\0|OggS\0|fLaC\0|MThd\0|\xff[\xfb\xf3\xf2][\x10-\xe8])"
    rb"|(?P<CMS>0(?:[\x0d-\x80]|\x81.|\x82..|\x83.{3}|\x84.{4})\x06(?:\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07[\x02-\x04\x06]|\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01[\x09\x17])"
    rb"|-----BEGIN (?:PKCS7|CMS|PKCS #7 SIGNED DATA)-----)"
    rb"|(?P<PGP>(?:\x84.|\x85..|\xc1[\x10-\xbf]|\xc1[\xc0-\xdf].)(?:\x03.{8}[\x01\x02\x10\x12\x19\x1a]|\x06[\0\x15\x21][\x04\x06]))"
    rb"|(?P<APPLE>\0\x05\x16[\0\x07]\0\x02)"
    rb"|(?P<CALENDAR>BEGIN:V(?:CALENDAR|CARD)\s)"
    rb"|(?P<OTHER_ARCHIVE>\x89LZO\0\r\n|LRZI\0|RZIP\x02|7kSt\xa0\x31|zPQ[\x01\x02]|ZOO [0-9]\.|ALZ\x01\n|EGGA\0|ArC\x01"
    rb"|hsqs|sqsh\0|SIT!\0|StuffIt \(c\)1997|!BDN.{4}SM|\xcf\xad\x12\xfe.{4}\x66\xe3\xd1\x11)"
    rb"|(?P<SCRIPT>#!|<\?php|<%@|@echo[ \t]|<job[ >]|<package[ >])"
    rb"|(?P<UUENCODE>begin(?:-base64)?[ \t]+[0-9]{1,7}[ \t][^\r\n]*\r?\n)|(?P<YENC>=ybegin[ \t])"
    rb"|(?P<BINHEX>\(This file must be converted with BinHex)"
    rb"|(?P<MBOX>From [^\r\n]{1,200}\d\d:\d\d[^\r\n]{0,40}\r?\n[!-9;-~]+:)",
    re.DOTALL,
)
_BINARY_START: Final = frozenset(range(0x20)) - frozenset(b"\t\n\r") | frozenset(range(0x7F, 0x100))
_MARK_LETTERS: Final = frozenset(b"!\"#$%&'(-078<=@ABEFGIKLMOPQRSZ]`bdfhqstvwxz{")
_FIRST: Final = bytes(1 if byte in _BINARY_START or byte in _MARK_LETTERS else 0 for byte in range(256))
"""For each first byte: whether the marks above may stand there; of text that is one letter in three."""

_TAG = re.compile(
    rb"<(?:(?P<SVG>svg(?=[\s>:/]))|(?P<HTML>!doctype\s+html|(?:html|head|body|script|iframe|style|title|table|div|span|center|font|meta"
    rb"|link|base|form|img|object|embed|input|frameset|h[1-6]|br|p|a|b|i|u|ul|ol|td|tr|pre|hr)(?=[\s/>]|\Z)))"
)
_XML_START = re.compile(
    rb"(?:<\?xml[\s?]|<!doctype\s|<!entity\s|<[a-z][a-z0-9_.-]{0,40}:[a-z]|<[a-z][a-z0-9_.-]{0,60}\s+xmlns)"
)
_BOMS: Final = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_MAIL_INSIDE = re.compile(rb"^(?:mime-version|content-type|content-transfer-encoding)[ \t]*+:", re.MULTILINE)
_MAIL_FIELD = re.compile(
    rb"(?:received|return-path|from|to|cc|subject|date|message-id|mime-version|content-type|reply-to|sender|delivered-to"
    rb"|dkim-signature|x-[a-z0-9-]{1,60}):[ \t]*",
    re.IGNORECASE,
)
_FIELD_START: Final = frozenset(b"RrFfTtCcSsDdMmXx")
_MAIL_MORE = re.compile(
    rb"^(?:received|return-path|from|to|subject|date|message-id|mime-version|content-type|content-transfer-encoding):",
    re.IGNORECASE | re.MULTILINE,
)

PDF_SEARCH: Final = 1024
"""Readers take a file as PDF when its mark stands within so many bytes (PDF 1.7, implementation note 13)."""
PAGE_SEARCH: Final = 1024
"""Programs that guess the type of a page look at 512 bytes to 1445; text in front of its first tag hides none here."""
SVG_SEARCH: Final = 4096
"""Comments and declarations in front of the root element of an XML file."""
DISK_SEARCH: Final = 2048
"""Every header of a disk or file system has zeros so far in front."""
MAIL_SEARCH: Final = 4096
"""A header that is one shows its second field within so many bytes."""
SHORTEST_BODY: Final = 8
"""An empty line and a word behind the header."""
DIRECTORY_SEARCH: Final = 256 * 1024
"""End of a zip archive in which the directory of an Office document (some thousand members) is looked for."""
_FIRST_NAME: Final = 30
"""Of the first member of a zip archive."""
_ISO_OFFSET: Final = 32_769
_UDF_OFFSETS: Final = (32_769, 34_817, 36_865, 38_913)
_MSG_CLASS: Final = bytes.fromhex("0b0d020000000000c000000000000046")
_HEADER_KINDS: Final = frozenset({Kind.PICTURE, Kind.FONT, Kind.SOUND, Kind.EXECUTABLE})
"""Kinds that unpackers see a zip archive behind, and that no opener of their own looks behind."""
FRONTS: Final = _HEADER_KINDS | {Kind.PDF, Kind.ZIP, Kind.RAR, Kind.SEVEN_ZIP, Kind.CAB}
"""Kinds that Office, given another name, sees a page saved as mail behind; of archives, where they begin further on."""
_ZIP, _OLE = Kind.ZIP, Kind.OLE
OLE_STREAM: Final = "application/x-ole-stream"
"""Declared type of the streams of a compound file. Office keeps themes as zip archives in the middle of some: unlike
a file, a stream is not looked through for archives behind its beginning.
"""
_SHOWN: Final = frozenset({"text/plain", "text/html"})
"""Types of the texts of a mail: without a file name they are shown, and given to no program for a header they quote."""
_FIELD_FIRST: Final = re.compile(rb"\s*+(?!--)[!-9;-~]{1,100}+:")
ENCODED_BLOCKS: Final = frozenset({Kind.UUENCODE, Kind.YENC, Kind.BINHEX})
"""Encodings older than MIME: where a text of the mail holds them, the walk through the mail finds them itself."""
_BY_GROUP: Final = {kind.name: kind for kind in Kind}


def detect_kind(data: bytes, name: str = "", declared: str = "") -> Kind | None:
    """Return the kind of `data`, None when it is none of those known.

    `name` and `declared` (type/subtype) are asked of text without a mark at its beginning only: it is HTML or SVG to a
    reader when it is called so.
    """
    if not data:
        return None
    if _FIRST[data[0]]:
        kind = _detect_marked(data)
        if kind is not None:
            return kind
    kind = _detect_inside(data, is_file=declared != OLE_STREAM)
    if kind is None and (name or declared):
        kind = _detect_called(data, name, declared)
    if kind is None and data.find(ARMOUR) >= 0:
        return Kind.PGP
    if kind is None and _is_file_name(name) and _is_text(data[:TEXT_SEARCH]) and _holds_base64(data):
        return Kind.ENCODED_TEXT
    return kind


def ends_as_apple_image(data: bytes) -> bool:
    """Whether a disk image of macOS ends here: its mark stands in a trailer."""
    return data[-512:-508] == b"koly"


def _holds_base64(text: bytes) -> bool:
    # Relays, too, know kinds by name, and have no need of the search and its library of five megabytes.
    from gatepost.antivirus.long_base64 import holds_long_base64  # noqa: PLC0415

    return holds_long_base64(text)


def other_kinds(data: bytes, kind: Kind, name: str, declared: str) -> tuple[Kind, ...]:
    """Return what else programs take an object of a known kind for, by its name, its declared type, or marks further
    on: each is opened as well. Archives inside what is opened are `openers.polyglot`'s business.
    """
    if kind in _PAGES:
        mail = _is_called_mail(name, declared) or _detect_mail(data) is not None
        if not mail and ("." in name or declared not in _SHOWN or _FIELD_FIRST.match(data) is not None):
            mail = _holds_header(data)
        kinds = (Kind.MAIL,) if mail else ()
        return kinds if data.find(ARMOUR) < 0 else (*kinds, Kind.PGP)
    page = _called_page(data, name, declared)
    behind = kind in FRONTS and _ARCHIVES.match(data) is None and find_page_archive(data) >= 0
    if kind in _MAILS or not (behind or _is_called_mail(name, declared)):
        return () if page is None else (page,)
    return (Kind.MAIL,) if page is None else (page, Kind.MAIL)


def find_behind(data: bytes, kind: Kind) -> Kind | None:
    """Return the kind of archive in data whose own kind is not opened, and hides it."""
    return None if kind in _HEADER_KINDS else _find_appended(data)  # for those `detect_kind` has looked


def _is_called_mail(name: str, declared: str) -> bool:
    return declared in _CALLED_MAIL_TYPES or extension_of(name) in _CALLED_MAIL


def _holds_header(data: bytes) -> bool:
    """Whether fields of MIME stand at the beginning: Office opens a page saved as mail under any name."""
    head = b"\n" + data[:MAIL_SEARCH].lower()
    if b"\nmime-version" not in head and b"\ncontent-t" not in head:
        return False
    return _MAIL_INSIDE.search(head) is not None and _end_of_header(data) >= 0


def _detect_marked(data: bytes) -> Kind | None:
    """Kinds with a mark at the first byte."""
    found = _ARCHIVES.match(data)
    if found is not None:
        kind = _BY_GROUP[found.lastgroup or ""]
        return _detect_zip(data) if kind is _ZIP else kind
    found = _OTHERS.match(data)
    if found is not None:
        kind = _BY_GROUP[found.lastgroup or ""]
        if kind is _OLE:
            return _detect_compound(data)
        return _find_appended(data) or kind if kind in _HEADER_KINDS else kind
    if data.startswith((b"MZ", b"ZM")) and _is_program(data):
        return _find_appended(data) or Kind.EXECUTABLE
    return None


def _detect_inside(data: bytes, *, is_file: bool) -> Kind | None:
    """Kinds whose mark stands further on, and text forms."""
    size = len(data)
    if data[2:5] in (b"-lh", b"-lz", b"-pm") and data[6:7] == b"-":
        return Kind.LHA
    if data[1:4] == b"\x2a\x4d\x18" and 0x50 <= data[0] < 0x60:  # a frame to be skipped stands first (RFC 8878 §3.1.2)
        return Kind.ZSTD
    if not data[0] and is_mac_binary(data):
        return Kind.APPLE
    if data[7:14] == b"**ACE**":
        return Kind.ACE
    if data[257:262] == b"ustar" or (data[153:154].isdigit() and is_old_tar(data)):
        return Kind.TAR
    if data.find(b"\0", 0, DISK_SEARCH) >= 0 and _is_disk(data):  # text has no zeros, and goes on
        return Kind.DISK_IMAGE
    if ends_as_apple_image(data):
        return Kind.DISK_IMAGE
    if size > _ISO_OFFSET:
        kind = _detect_image(data)
        if kind is not None:
            return kind
    start = data.find(b"%", 0, PDF_SEARCH)  # one character first: a search for several costs ten times as much
    if start >= 0 and data.find(b"%PDF-", start, PDF_SEARCH) >= 0:
        return Kind.PDF
    start = data.find(b"<", 0, PAGE_SEARCH)
    if start >= 0:
        kind = _detect_page(data, start)
        if kind is not None:
            return kind
    kind = _find_appended(data) if is_file else None
    if kind is not None:
        return kind
    return _detect_mail(data) if data[0] in _FIELD_START else None


def _find_appended(data: bytes) -> Kind | None:
    """The archive that archivers find in data that begins with something else."""
    if data.find(b"\0") < 0:  # every archive has zeros, text has none
        return None
    found = appended_kind(data)
    return Kind(found) if found else None


def is_old_tar(data: bytes) -> bool:
    """Whether a tar archive from before POSIX begins here: a header is told by its checksum alone."""
    stated = data[148:156].strip(b" \0")
    if not stated.isdigit() or len(data) < 512 or b"8" in stated or b"9" in stated:
        return False
    return sum(data[:148]) + sum(data[156:512]) + 8 * 0x20 == int(stated, 8)


def _detect_mail(data: bytes) -> Kind | None:
    if data.find(b"\n", 0, MAIL_SEARCH) < 0:  # lines as computers of the last century ended them
        data = data.replace(b"\r", b"\n")
    found = _MAIL_FIELD.match(data)
    if found is None:
        return None
    if _MAIL_MORE.search(data, found.end(), MAIL_SEARCH) is None:
        return None
    end = _end_of_header(data)
    if end < 0:
        return None
    return Kind.MAIL if _MAIL_MORE.search(data, found.end(), min(MAIL_SEARCH, end + 1)) else None


def _end_of_header(data: bytes) -> int:
    """Return where the first empty line is, -1 when nothing follows it: a header alone is no message."""
    ends = [end for mark in (b"\n\r\n", b"\n\n") if (end := data.find(mark)) >= 0]
    return min(ends) if ends and len(data) - min(ends) >= SHORTEST_BODY else -1


def _detect_image(data: bytes) -> Kind | None:
    """File systems and images of disks."""
    if data.startswith(b"CD001", _ISO_OFFSET):
        return Kind.ISO
    if any(data[offset : offset + 5] in (b"BEA01", b"NSR02", b"NSR03") for offset in _UDF_OFFSETS):
        return Kind.UDF
    if data.startswith(b"conectix") or data[-512:].startswith(b"conectix"):
        return Kind.DISK_IMAGE
    if data[510:512] == b"\x55\xaa" and (data[0] in (0xEB, 0xE9) or not set(data[446:510:16]) - {0, 0x80}):
        return Kind.DISK_IMAGE
    return None


def _is_disk(data: bytes) -> bool:
    """Whether a virtual disk of VirtualBox or older VMware begins here, or a file system of Linux or macOS (ext, HFS+,
    APFS), which unpackers elsewhere open.
    """
    if data.startswith(b"\x7f\x10\xda\xbe", 0x40) or data.startswith(b"COWD\x01\0\0\0"):
        return True
    if data[32:36] == b"NXSB" or data[1024:1028] in (b"H+\0\x04", b"HX\0\x05"):
        return True
    if data[1080:1082] != b"\x53\xef":
        return False
    return data[1048:1052] <= b"\x06\0\0\0" and data[1049:1052] == bytes(3) and data[1101:1104] == bytes(3)


def _detect_page(data: bytes, start: int) -> Kind | None:
    """HTML, SVG and other XML, in bytes or in 16-bit units, with or without a byte order mark."""
    head = data
    for mark, charset in _BOMS:
        if data.startswith(mark):
            head = data[:SVG_SEARCH].decode(charset, "ignore").encode("utf-8").removeprefix(b"\xef\xbb\xbf")
            start = head.find(b"<")
            break
    first = start >= 0 and (not start or head[:start].isspace())
    head = head[: SVG_SEARCH if first else PAGE_SEARCH].lower()
    xml = _XML_START.match(head, start) if first else None
    if xml is None:
        found = _TAG.search(head, start) if start >= 0 else None
        return _BY_GROUP[found.lastgroup or ""] if found is not None else None
    found = _TAG.search(head, start)
    if found is not None and (found.lastgroup == "SVG" or b"<html" in head or xml[0].startswith(b"<!doctype")):
        return _BY_GROUP[found.lastgroup or ""]
    return Kind.XML


def _detect_zip(data: bytes) -> Kind:
    """Office documents, which are zip archives with certain members, or the archive."""
    if data.startswith(b"mimetype", _FIRST_NAME) and data.find(b"application/vnd.", _FIRST_NAME, 256) >= 0:
        return Kind.ODF
    if data.startswith(b"[Content_Types].xml", _FIRST_NAME):
        return Kind.OOXML
    tail = max(0, len(data) - DIRECTORY_SEARCH)
    directories = find_directories(data)
    if len(directories) == 1 and directories[0].shift == 0:  # an archive with a document stored in it is none itself
        tail = max(tail, directories[0].start)
    if data.find(b"[Content_Types].xml", tail) >= 0:
        return Kind.OOXML
    return Kind.ODF if data.find(b"META-INF/manifest.xml", tail) >= 0 else _ZIP


def _detect_compound(data: bytes) -> Kind:
    """An Outlook message by the class of its root storage ([MS-OXMSG] 2.1), else any compound file."""
    shift = data[0x1E] if len(data) > 0x34 else 0
    if shift in (9, 12):
        root = (int.from_bytes(data[0x30:0x34], "little") + 1) << shift
        if data[root + 0x50 : root + 0x60] == _MSG_CLASS:
            return Kind.MSG
    return _OLE


def _is_program(data: bytes) -> bool:
    """Whether what starts with MZ is a program and not a text."""
    header = int.from_bytes(data[0x3C:0x40], "little")
    return data[header : header + 2] in (b"PE", b"NE", b"LE", b"LX") or b"\0" in data[:64]


def _detect_called(data: bytes, name: str, declared: str) -> Kind | None:
    """Text whose beginning says nothing. What is a file may be mail saved by Office, whatever stands in front of it."""
    if data.find(b":") >= 0 and (_is_called_mail(name, declared) or (name and _holds_header(data))):
        return Kind.MAIL
    return _called_page(data, name, declared) or _detect_named(data, extension_of(name), declared)


def _detect_named(data: bytes, extension: str, declared: str) -> Kind | None:
    """What is called a script is one to Windows; what is called an archive, and no text, is one to somebody."""
    if extension in CALLED_SCRIPT:
        return Kind.SCRIPT
    if (extension == "pdf" or declared == "application/pdf") and _PDF_OBJECT.search(data) is not None:
        return Kind.PDF  # readers do without its mark
    if declared in _MAC_BINARY_TYPES and is_mac_binary(data, called=True):
        return Kind.APPLE
    if data[0] & 0x80 and (extension in _CALLED_PGP or declared in _PGP_TYPES):
        return Kind.PGP
    if extension in _CALLED_ARCHIVE and (data.find(b"\0") >= 0 or not _is_text(data[:TEXT_SEARCH])):
        return Kind.LZMA if extension in ("lzma", "tlz") else Kind.OTHER_ARCHIVE
    return None


def _is_file_name(name: str) -> bool:
    """Whether a name is one of a file: what openers call scripts ends in words, and they look into them."""
    return bool(name) and " " not in name.rpartition(".")[2]


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-UTF8_LONGEST].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\0" not in text


def _called_page(data: bytes, name: str, declared: str) -> Kind | None:
    extension = extension_of(name)
    is_picture = extension in ("svg", "svgz") or declared == "image/svg+xml"
    if not is_picture and extension not in CALLED_HTML and declared not in ("text/html", "application/xhtml+xml"):
        return None
    if data.find(b"<") < 0:  # in 16-bit units, too
        return None
    return Kind.SVG if is_picture else Kind.HTML


CALLED_HTML: Final = frozenset({"html", "htm", "shtml", "xhtml", "xht", "hta", "mht", "mhtml"})
CALLED_SCRIPT: Final = frozenset({
    "js", "jse", "mjs", "vbs", "vbe", "wsf", "wsc", "sct", "ps1", "psm1", "bat", "cmd", "sh", "command", "py", "pyw",
    "pl", "php",
})  # fmt: skip
"""Texts that something runs by their name alone."""
_CALLED_ARCHIVE: Final = frozenset({
    "zip", "zipx", "rar", "7z", "cab", "ace", "arj", "lzh", "lha", "gz", "tgz", "bz2", "tbz", "xz", "txz", "zst",
    "lz", "lz4", "tar", "iso", "jar", "wim", "swm", "esd", "dmg", "vhd", "vhdx", "lzma", "tlz", "br", "lzo", "zz",
    "zlib", "alz", "egg", "zpaq", "lrz", "zoo", "sit", "sitx", "chm",
})  # fmt: skip
_MAC_BINARY_TYPES: Final = frozenset({"application/macbinary", "application/x-macbinary"})
_CALLED_PGP: Final = frozenset({"gpg", "pgp", "asc", "sig"})
_PGP_TYPES: Final = frozenset({"application/pgp", "application/pgp-encrypted", "application/pgp-signature"})
ARMOUR: Final = b"-----BEGIN PGP MESSAGE"
_PDF_OBJECT = re.compile(rb"[0-9][ \t\r\n]{1,9}obj\b")
TEXT_SEARCH: Final = 512
"""Beginning of a file that shows whether it is a text."""
UTF8_LONGEST: Final = 3
"""Bytes at the end of it that may be a part of a character."""
_CALLED_MAIL: Final = frozenset({"eml", "mht", "mhtml"})
_CALLED_MAIL_TYPES: Final = frozenset({"message/rfc822", "message/global", "application/x-mimearchive"})
_PAGES: Final = frozenset({Kind.HTML, Kind.SVG, Kind.XML})
_MAILS: Final = frozenset({Kind.MAIL, Kind.MBOX, Kind.MSG})


def extension_of(name: str) -> str:
    """Return what stands behind the last dot, in lower case, as Windows reads it: blanks and dots at the end do not
    count.
    """
    return name.rstrip(" .\t\0").rpartition(".")[2].lower() if "." in name else ""
