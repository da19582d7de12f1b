r"""RTF documents: `read_rtf` gives their text as a word processor shows it.

Called by `parts`. One step for each control word, group or run of text; groups that are no text (fonts, pictures,
objects, `\*`) are passed over. Bytes are in the code page of the document or of the font (`\fcharset`), `\uN` stands
for itself and what follows for older readers is skipped (RTF specification 1.9.1, "Unicode RTF").
"""

import codecs
import re
from typing import Final

from gatepost.antispam.extract.document import DOCUMENT_TEXT, URLS_LIMIT, Document

TOKENS_LIMIT: Final = 200_000
"""Steps of one document, a third of a second; a letter of some pages takes ten thousand."""
DEPTH_LIMIT: Final = 1_000
"""Groups inside each other: what lies deeper is not told apart from what is around it."""
TINY: Final = 3
"""Half points up to which nobody sees a letter."""
_TOKEN = re.compile(
    rb"\\'([0-9a-fA-F]{2})|\\([a-zA-Z]{1,32})(-?\d{1,9})? ?|\\([^a-zA-Z'])|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\'?",
    re.DOTALL,
)
_FONT = re.compile(rb"\\f(\d{1,5})[^;{}]{0,100}?\\fcharset(\d{1,3})")
_ADDRESS = re.compile(rb"HYPERLINK\s{1,5}\"?([^\"{}\\\s]{4,2000})")
_NO_TEXT: Final = frozenset(
    {
        b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pict", b"objdata", b"themedata", b"datastore", b"listtable",
        b"listoverridetable", b"rsidtbl", b"generator", b"latentstyles", b"fldinst", b"bkmkstart", b"bkmkend",
        b"xmlnstbl", b"nonshppict", b"colorschememapping", b"filetbl", b"revtbl", b"mmathPr", b"pgptbl",
        b"wgrffmtfilter", b"object",
    }
)  # fmt: skip
"""Destinations that hold no text; what `\\*` marks is none either, but for the text in fields and shapes."""
_TEXT_STARRED: Final = frozenset({b"shptxt", b"fldrslt", b"shpinst", b"pn", b"pntext", b"htmltag"})
_SIGNS: Final[dict[bytes, str]] = {
    b"par": "\n", b"line": "\n", b"page": "\n", b"sect": "\n", b"row": "\n", b"tab": "\t", b"cell": "\t",
    b"lquote": "\u2018", b"rquote": "\u2019",
    b"ldblquote": "\u201c", b"rdblquote": "\u201d", b"endash": "\u2013", b"emdash": "\u2014",
    b"bullet": "\u2022", b"emspace": " ", b"enspace": " ", b"nestcell": "\t", b"nestrow": "\n",
}  # fmt: skip
_ESCAPED: Final = {b"~": "\xa0", b"_": "-", b"-": "\u00ad", b"\n": "\n", b"\r": "\n", b"\\": "\\", b"{": "{", b"}": "}"}
_CHARSETS: Final = {
    128: "cp932", 129: "cp949", 134: "cp936", 136: "cp950", 161: "cp1253", 162: "cp1254", 163: "cp1258", 177: "cp1255",
    178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250", 77: "mac-roman",
}  # fmt: skip


class _State:
    """What holds in a group."""

    __slots__ = ("charset", "hidden", "skipped", "unicode_skip")

    def __init__(self, charset: str, unicode_skip: int, *, hidden: bool, skipped: bool) -> None:
        self.charset = charset
        self.unicode_skip = unicode_skip
        self.hidden = hidden
        self.skipped = skipped

    def copy(self) -> "_State":
        return _State(self.charset, self.unicode_skip, hidden=self.hidden, skipped=self.skipped)


def read_rtf(data: bytes) -> Document:
    """Return what an RTF document says."""
    reader = _Reader(data)
    reader.run()
    urls = [found.decode("latin-1") for found in _ADDRESS.findall(data)[:URLS_LIMIT]]
    return Document("".join(reader.visible)[:DOCUMENT_TEXT], "".join(reader.hidden)[:DOCUMENT_TEXT], urls)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.fonts = {int(number): _CHARSETS.get(int(charset), "") for number, charset in _FONT.findall(data[:200_000])}
        self.document_charset = "cp1252"
        self.states = [_State("cp1252", 1, hidden=False, skipped=False)]
        self.visible: list[str] = []
        self.hidden: list[str] = []
        self.raw = bytearray()
        """Bytes of one code page that were not decoded yet."""
        self.size = 0
        self.skip = 0
        """Characters for older readers still to be passed over."""
        self.starred = False

    def run(self) -> None:
        """Read the document."""
        data = self.data
        match = _TOKEN.match
        position = 0
        for _ in range(TOKENS_LIMIT):
            found = match(data, position)
            if found is None or self.size > DOCUMENT_TEXT:
                break
            position = found.end()
            code, word, number, sign, brace, text = found.groups()
            if text is not None:
                self.take(text)
            elif code is not None:
                self.take(bytes((int(code, 16),)))
            elif word is not None:
                if word == b"bin" and number:
                    position += max(0, int(number))
                self.control(word, None if number is None else int(number))
            elif brace == b"{":
                self.flush()
                if len(self.states) < DEPTH_LIMIT:
                    self.states.append(self.states[-1].copy())
                self.skip = 0
                self.starred = False
            elif brace == b"}":
                self.flush()
                if len(self.states) > 1:
                    self.states.pop()
                self.skip = 0
            elif sign == b"*":
                self.starred = True
            elif sign is not None and sign in _ESCAPED:
                self.put(_ESCAPED[sign])
        self.flush()

    def take(self, raw: bytes) -> None:
        """Take bytes of text."""
        if self.skip:
            passed = min(self.skip, len(raw))
            self.skip -= passed
            raw = raw[passed:]
        if raw and not self.states[-1].skipped:
            self.raw += raw

    def flush(self) -> None:
        """Decode the bytes gathered."""
        if self.raw:
            raw = bytes(self.raw)
            self.raw.clear()
            self.write(raw.decode(self.states[-1].charset, "replace"))

    def put(self, text: str) -> None:
        """Take a character that needs no decoding."""
        if not self.states[-1].skipped:
            self.flush()
            self.write(text)

    def write(self, text: str) -> None:
        (self.hidden if self.states[-1].hidden else self.visible).append(text)
        self.size += len(text)

    def control(self, word: bytes, number: int | None) -> None:
        """Obey a control word."""
        state = self.states[-1]
        starred, self.starred = self.starred, False
        if word in _SIGNS:
            self.put(_SIGNS[word])
        elif word == b"u" and number is not None:
            self.put(_character(number & 0xFFFF))
            self.skip = state.unicode_skip
        elif word == b"uc" and number is not None:
            state.unicode_skip = min(max(0, number), 10)
        elif word in _NO_TEXT or (starred and word not in _TEXT_STARRED):
            self.flush()
            state.skipped = True
        elif word == b"f" and number is not None:
            self.flush()
            state.charset = self.fonts.get(number) or self.document_charset
        elif word == b"ansicpg" and number:
            self.document_charset = state.charset = _code_page(number)
        elif word == b"v" or (word == b"fs" and number is not None):
            self.flush()
            state.hidden = number != 0 if word == b"v" else number is not None and number <= TINY
        elif word == b"plain":
            self.flush()
            state.hidden = False


def _character(unit: int) -> str:
    """Return a UTF-16 unit as a character; halves of pairs, which nothing may hold alone, as a mark."""
    return "\ufffd" if 0xD800 <= unit <= 0xDFFF else chr(unit)


def _code_page(number: int) -> str:
    name = {65001: "utf-8", 10000: "mac-roman"}.get(number, f"cp{number}")
    try:
        codecs.lookup(name)
    except LookupError:
        return "cp1252"
    return name
