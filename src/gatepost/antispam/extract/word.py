"""Word documents of all ages and OpenDocument texts: `read_word` gives what they say.

Called by `parts` when the text of documents is wished for. Files of Word 97 and later keep their text in pieces
([MS-DOC] 2.4.1), older ones in one run, newer ones and OpenDocument as XML in a zip archive. Damaged files give what
can be read, or nothing.
"""

import html
import io
import re
import struct
import zipfile
import zlib
from typing import Final

from gatepost.antispam.extract.document import DOCUMENT_TEXT, URLS_LIMIT, Document
from gatepost.antivirus.budget import Damaged
from gatepost.antivirus.compound import MAGIC, CompoundFile

XML_LIMIT: Final = 2 * 1024 * 1024
"""Bytes of one part of a document that are read: marks take ten times the text."""
MEMBERS_LIMIT: Final = 5_000
"""Members of an archive: a document with many pictures has hundreds."""
PIECES_LIMIT: Final = 20_000
"""Pieces of text of one document: each save of an edited one may leave some."""
_ZIP: Final = b"PK\x03\x04"
_MEMBER = b"PK\x01\x02"
_TEXT_PARTS = re.compile(
    r"word/(?:document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml|content\.xml", re.IGNORECASE
)
_RELATIONS: Final = "word/_rels/document.xml.rels"
_RELATION = re.compile(r"(?:Target|xlink:href)\s*=\s*\"((?:https?|ftp):[^\"<]{1,2000})\"")
_PARAGRAPH = re.compile(r"</(?:w:p|text:p|text:h|w:tr)>|<(?:w:br|w:cr|text:line-break)\b[^<>]*>")
_TAB = re.compile(r"<(?:w:tab|text:tab|text:s)\b[^<>]*>|</w:tc>")
_UNSAID = re.compile(r"<w:(instrText|delText)\b[^<>]*>[^<]*</w:\1>|<!--[^<>]*>|<\?[^<>]*>")
_VANISHED = re.compile(r"<w:r[ >](?:[^<]++|<(?!/?w:r[ >]))*+</w:r>")
_TAG = re.compile(r"<[^<>]*>")
_FIELD = re.compile("\x13([^\x13\x14\x15]*)(?:\x14([^\x13\x14\x15]*))?\x15")
_HYPERLINK = re.compile(r"HYPERLINK\s+\"([^\"\s]{4,2000})")
_CONTROLS: Final = str.maketrans(
    "\x07\x0b\x0c\r\x0e\x1e", "\t\n\n\n\n-", "\x00\x01\x02\x03\x04\x05\x06\x08\x13\x14\x15\x1f"
)
_WORD_97: Final = 0x00C1
_WORD_6: Final = (101, 105)
_TABLE_1: Final = 0x0200
_ENCRYPTED: Final = 0x0100
_CYRILLIC: Final = frozenset({0x0419, 0x0422, 0x0423, 0x0402})
"""Languages of Word 6 and 95 whose bytes are in code page 1251: Russian, Ukrainian, Belarusian, Bulgarian."""
_FAULTS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    struct.error,
    LookupError,
    OverflowError,
)
"""What the reader of archives makes of damaged, encrypted or strange ones."""


def read_word(data: bytes) -> Document:
    """Return what a document says; nothing when it is no document."""
    if data.startswith(MAGIC):
        return _read_compound(data)
    if data.startswith(_ZIP):
        return _read_archive(data)
    return Document()


# -- Word 6 to 2003 --------------------------------------------------------------------------------------------------


def _read_compound(data: bytes) -> Document:
    try:
        compound = CompoundFile(data)
    except Damaged:
        return Document()
    streams = {stream.name.lower(): stream for stream in compound.streams}
    main = streams.get("worddocument")
    if main is None:
        return Document()
    content = compound.read(main)
    if len(content) < 0x1AA:
        return Document()
    version, flags = struct.unpack_from("<H", content, 2)[0], struct.unpack_from("<H", content, 10)[0]
    if flags & _ENCRYPTED:
        return Document()
    if _WORD_6[0] <= version <= _WORD_6[1]:
        start, end = struct.unpack_from("<2L", content, 0x18)
        language = struct.unpack_from("<H", content, 6)[0]
        charset = "cp1251" if language in _CYRILLIC else "cp1252"
        return _lay_out(content[start : min(end, start + DOCUMENT_TEXT)].decode(charset, "replace"))
    table = streams.get("1table" if flags & _TABLE_1 else "0table")
    if version < _WORD_97 or table is None:
        return Document()
    return _lay_out("".join(_read_pieces(content, compound.read(table))))


def _read_pieces(content: bytes, table: bytes) -> list[str]:
    """Return the text of the pieces that the table names, in order."""
    start, size = struct.unpack_from("<2L", content, 0x1A2)
    clx = table[start : start + size]
    at = 0
    while at + 3 <= len(clx) and clx[at] == 1:  # formatting in front of the pieces
        at += 3 + struct.unpack_from("<H", clx, at + 1)[0]
    if at + 5 > len(clx) or clx[at] != 2:
        return []
    body = clx[at + 5 : at + 5 + struct.unpack_from("<L", clx, at + 1)[0]]
    count = min((len(body) - 4) // 12, PIECES_LIMIT)
    if count < 1:
        return []
    ends = struct.unpack_from(f"<{count + 1}L", body)
    found: list[str] = []
    left = DOCUMENT_TEXT
    for number in range(count):
        length = min(ends[number + 1] - ends[number], left)
        if length <= 0:
            continue
        place = struct.unpack_from("<L", body, 4 * ((len(body) - 4) // 12 + 1) + 8 * number + 2)[0]
        offset = place & 0x3FFF_FFFF
        if place & 0x4000_0000:
            found.append(content[offset // 2 : offset // 2 + length].decode("cp1252", "replace"))
        else:
            found.append(content[offset : offset + 2 * length].decode("utf-16-le", "replace"))
        left -= length
        if left <= 0:
            break
    return found


def _lay_out(text: str) -> Document:
    """Return text with its marks of paragraphs, cells and fields turned into what is shown."""
    urls: list[str] = []

    def show(field: re.Match[str]) -> str:
        address = _HYPERLINK.search(field[1])
        if address is not None and len(urls) < URLS_LIMIT:
            urls.append(address[1])
        return field[2] or ""

    return Document(_FIELD.sub(show, text).translate(_CONTROLS).strip(), urls=urls)


# -- Word 2007 and later, OpenDocument -------------------------------------------------------------------------------


def _read_archive(data: bytes) -> Document:
    if data.count(_MEMBER) > MEMBERS_LIMIT:
        return Document()
    visible: list[str] = []
    hidden: list[str] = []
    urls: list[str] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.lower() == _RELATIONS or _TEXT_PARTS.fullmatch(name):
                    with archive.open(name) as member:
                        xml = member.read(XML_LIMIT).decode("utf-8", "replace")
                    urls += [html.unescape(each) for each in _RELATION.findall(xml)]
                    if name.lower() != _RELATIONS:
                        seen, unseen = _read_xml(xml)
                        visible.append(seen)
                        hidden.append(unseen)
    except _FAULTS:
        pass  # what was read so far counts
    return Document("\n".join(visible)[:DOCUMENT_TEXT], "\n".join(hidden)[:DOCUMENT_TEXT], urls[:URLS_LIMIT])


def _read_xml(xml: str) -> tuple[str, str]:
    """Return (visible, hidden) text of a part."""
    hidden: list[str] = []
    if "<w:vanish" in xml:

        def part(run: re.Match[str]) -> str:
            if "<w:vanish/>" not in run[0] and "<w:vanish />" not in run[0]:
                return run[0]
            hidden.append(_strip(run[0]))
            return ""

        xml = _VANISHED.sub(part, xml)
    return _strip(xml), " ".join(hidden)


def _strip(xml: str) -> str:
    xml = _TAG.sub("", _TAB.sub("\t", _PARAGRAPH.sub("\n", _UNSAID.sub("", xml))))
    return html.unescape(xml).strip()
