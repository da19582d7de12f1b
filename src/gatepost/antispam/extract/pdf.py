"""PDF files: `read_pdf` gives the text of their first pages and the addresses of their links.

Called by `parts` when the text of documents is wished for, and for the addresses alone where a message says little
else. Pages are read by the operators that show text (ISO 32000-1 §9.4), letters by the font's `ToUnicode` table
(§9.10.3); fonts without one are read as Windows Latin. What a font draws in other ways is not guessed.
"""

import io
import re
import warnings
from typing import Any, Final

import pikepdf
from pikepdf.settings import set_qpdf_limits

from gatepost.antispam.extract.document import DOCUMENT_TEXT, URLS_LIMIT, Document

PAGES_LIMIT: Final = 10
"""Pages that are read: what a spammer has to say stands on the first."""
CONTENT_LIMIT: Final = 512 * 1024
"""Bytes of operators of all pages: those behind are not read. A few kilobytes of a file may become many megabytes."""
OPERATORS_LIMIT: Final = 50_000
"""Of all pages, a tenth of a second."""
TABLE_LIMIT: Final = 256 * 1024
"""Bytes of one table of letters."""
TABLES_LIMIT: Final = 512 * 1024
"""Bytes of the tables of one file."""
RANGE_LIMIT: Final = 20_000
"""Letters of the ranges of one table: fonts hold those that the file uses."""
FONTS_LIMIT: Final = 30
"""Fonts of one file whose table of letters is read; further ones are read as if they had none."""
STREAM_LIMIT: Final = 8 * 1024 * 1024
"""What one stream may become inside the library."""
GAP: Final = -200.0
"""Thousandths of the font's size by which letters stand apart where a blank is meant."""
_SHOWING: Final = "Tf Tj TJ ' \" Td TD Tm T*"
_CHAR = re.compile(rb"<([0-9A-Fa-f]{2,8})>\s*<([0-9A-Fa-f]{2,64})>")
_RANGE = re.compile(rb"<([0-9A-Fa-f]{2,8})>\s*<([0-9A-Fa-f]{2,8})>\s*(?:<([0-9A-Fa-f]{2,64})>|\[([^\[\]]{0,100000})\])")
_HEX = re.compile(rb"<([0-9A-Fa-f]{2,64})>")
_FAULTS: Final = (
    pikepdf.PdfError,
    pikepdf.PasswordError,
    ValueError,
    TypeError,
    RuntimeError,
    KeyError,
    AttributeError,
    OverflowError,
    IndexError,
    MemoryError,
)
"""What the library makes of damaged files."""


class _Font:
    """How the codes of one font are read."""

    __slots__ = ("table", "width")

    def __init__(self, table: dict[int, str], width: int) -> None:
        self.table = table
        self.width = width

    def decode(self, raw: bytes) -> str:
        if not self.table:
            return raw.decode("cp1252", "replace") if self.width == 1 else ""
        width = self.width
        get = self.table.get
        return "".join([get(int.from_bytes(raw[at : at + width], "big"), "") for at in range(0, len(raw), width)])


def read_pdf(data: bytes, *, words: bool = True) -> Document:
    """Return what a PDF file says, or (without `words`) where its links lead only; nothing when it cannot be opened."""
    set_qpdf_limits(
        flate_max_memory=STREAM_LIMIT, run_length_max_memory=STREAM_LIMIT, png_max_memory=STREAM_LIMIT,
        tiff_max_memory=STREAM_LIMIT, dct_max_memory=STREAM_LIMIT, doc_max_warnings=100,
    )  # fmt: skip
    reader = _Reader()
    try:
        with warnings.catch_warnings(action="ignore"), pikepdf.open(io.BytesIO(data)) as document:
            for number, page in enumerate(document.pages):
                if number >= PAGES_LIMIT or reader.left <= 0 or reader.bytes_left <= 0:
                    break
                reader.read_links(page)
                if words:
                    reader.read_words(document, page)
    except _FAULTS:
        pass  # what was read so far counts
    lines = [line for each in "".join(reader.pieces).split("\n") if (line := " ".join(each.split()))]
    return Document("\n".join(lines)[:DOCUMENT_TEXT], urls=reader.urls)


class _Reader:
    def __init__(self) -> None:
        self.left = OPERATORS_LIMIT
        self.bytes_left = CONTENT_LIMIT
        self.fonts_left = FONTS_LIMIT
        self.tables_left = TABLES_LIMIT
        self.pieces: list[str] = []
        self.urls: list[str] = []
        self.fonts: dict[tuple[int, int], _Font] = {}

    def read_words(self, document: pikepdf.Pdf, page: Any) -> None:
        try:
            content = page.obj.get("/Contents")
            if content is None:
                return
            operators = document.make_stream(self.read_content(content))
            fonts = page.resources.get("/Font")
            self.show(pikepdf.parse_content_stream(operators, _SHOWING), {} if fonts is None else fonts)
        except _FAULTS:
            return

    def read_content(self, content: Any) -> bytes:
        """Return the operators of a page, in one stream or in several, as far as they are read."""
        pieces: list[bytes] = []
        for each in content if isinstance(content, pikepdf.Array) else (content,):
            if self.bytes_left <= 0:
                break
            piece = each.read_bytes()[: self.bytes_left]
            self.bytes_left -= len(piece) + 1
            pieces.append(piece)
        return b"\n".join(pieces)

    def read_links(self, page: Any) -> None:
        try:
            for note in list(page.obj.get("/Annots", []))[:URLS_LIMIT]:
                action = note.get("/A")
                if action is not None and "/URI" in action and len(self.urls) < URLS_LIMIT:
                    self.urls.append(str(action["/URI"])[:2000])
        except _FAULTS:
            return

    def show(self, operators: Any, fonts: Any) -> None:
        """Take the text of the operators of one page."""
        font = _Font({}, 1)
        known: dict[str, _Font] = {}
        pieces = self.pieces
        for operands, operator in operators:
            self.left -= 1
            if self.left <= 0:
                return
            name = str(operator)
            if name == "Tf":
                wanted = str(operands[0])
                font = known[wanted] = known.get(wanted) or self.font(fonts, wanted)
            elif name == "TJ":
                for each in operands[0]:
                    if isinstance(each, pikepdf.String):
                        pieces.append(font.decode(bytes(each)))
                    elif float(each) < GAP:
                        pieces.append(" ")
            elif name in ("Tj", "'", '"'):
                if name != "Tj":
                    pieces.append("\n")
                pieces.append(font.decode(bytes(operands[-1])))
            elif name in ("Td", "TD"):
                pieces.append("\n" if float(operands[1]) else " ")
            else:
                pieces.append("\n")
        pieces.append("\n")

    def font(self, fonts: Any, name: str) -> _Font:
        try:
            found = fonts[name]
            key = found.objgen
            if key in self.fonts and key != (0, 0):
                return self.fonts[key]
            font = self.read_font(found)
            self.fonts[key] = font
        except _FAULTS:
            return _Font({}, 1)
        return font

    def read_font(self, found: Any) -> _Font:
        wide = str(found.get("/Subtype", "")) == "/Type0"
        table = found.get("/ToUnicode")
        self.fonts_left -= 1
        if not isinstance(table, pikepdf.Stream) or self.fonts_left < 0 or self.tables_left <= 0:
            return _Font({}, 2 if wide else 1)
        raw = bytes(table.read_bytes())[: min(TABLE_LIMIT, self.tables_left)]
        self.tables_left -= len(raw)
        return _Font(_read_table(raw), 2 if wide else 1)


def _read_table(raw: bytes) -> dict[int, str]:
    """Return the letters of a `ToUnicode` table by code."""
    letters: dict[int, str] = {}
    for section in raw.split(b"beginbf")[1:]:
        body = section.partition(b"endbf")[0]
        if body.startswith(b"char"):
            for code, text in _CHAR.findall(body):
                letters[int(code, 16)] = _read_letters(text)
            continue
        for first, last, text, several in _RANGE.findall(body):
            start, end = int(first, 16), int(last, 16)
            if several:
                for number, each in enumerate(_HEX.findall(several)):
                    letters[start + number] = _read_letters(each)
            elif text and start <= end and len(letters) + end - start < RANGE_LIMIT:
                base = _read_letters(text)
                if base:
                    for number in range(end - start + 1):
                        letters[start + number] = base[:-1] + chr(min(0x10FFFF, ord(base[-1]) + number))
    return letters


def _read_letters(text: bytes) -> str:
    return bytes.fromhex((text if len(text) % 2 == 0 else text + b"0").decode("ascii")).decode("utf-16-be", "ignore")
