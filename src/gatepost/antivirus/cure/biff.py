"""Workbook streams of older Excel files (MS-XLS) made harmless in place: `disarm_workbook`.

Called by `office`. No record changes its length, so every offset in the file stays true: the mark of a VBA project
becomes a record that is ignored, macro sheets become worksheets whose formulas are constant texts, and names that run
by themselves lose that. Workbooks with DDE links are not cured.
"""

import struct
from typing import Final

from gatepost.antivirus.cure.cured import Uncurable

_HEADER: Final = struct.Struct("<2H")
_BOF, _EOF, _FILE_PASS, _FORMULA, _NAME = 0x0809, 0x000A, 0x002F, 0x0006, 0x0018
_BOUND_SHEET, _OB_PROJ, _SUP_BOOK, _ARRAY, _SHARED_FORMULA, _EXCEL9_FILE = (
    0x0085,
    0x00D3,
    0x01AE,
    0x0221,
    0x04BC,
    0x01C0,
)
_BIFF8: Final = 0x0600
_MACRO_SHEET, _WORKSHEET = 0x0040, 0x0010
_FORMULAS: Final = {_FORMULA: 20, _ARRAY: 12, _SHARED_FORMULA: 8}
"""Records that hold a formula: offset of its length, the formula follows."""
_TOKEN_SHARED, _TOKEN_TABLE, _TOKEN_TEXT, _TOKEN_JOIN = 0x01, 0x02, 0x17, 0x08
_TEXT_LIMIT: Final = 255
"""Characters of a text in a formula."""
_NAME_FIXED: Final = 14
_NAME_BUILTIN: Final = 0x20
_NAME_MACRO: Final = 0x0FCE
"""fFunc, fOB, fProc, and fGrp, the class of a macro function (MS-XLS §2.4.150)."""
_AUTO: Final = {1: "Auto_Open", 2: "Auto_Close", 0x0A: "Auto_Activate", 0x0B: "Auto_Deactivate"}
_FIRST_LETTER: Final = 0xC0
"""Built-in names become single letters from here on, which no other name uses."""
_OWN_BOOK, _ADD_INS = 0x0401, 0x3A01


def disarm_workbook(data: bytes) -> tuple[bytes, list[str]]:
    """Return (stream of the same length, what was made harmless). Uncurable: encrypted, damaged, or too old."""
    workbook = _Workbook(data)
    workbook.walk()
    return bytes(workbook.out), workbook.removed


class _Workbook:
    def __init__(self, data: bytes) -> None:
        self.out = bytearray(data)
        self.removed: list[str] = []
        self._streams: list[int] = []
        """Kinds of the substreams around the current record."""
        self._letter = _FIRST_LETTER
        self._version = 0

    def walk(self) -> None:
        position = 0
        out = self.out
        while position + _HEADER.size <= len(out):
            kind, length = _HEADER.unpack_from(out, position)
            start = position + _HEADER.size
            if start + length > len(out):
                raise Uncurable("a record that is cut off")
            if not self._streams and kind != _BOF:
                if any(out[position:]):
                    raise Uncurable("no records where some should be")
                break
            self._record(kind, start, length)
            position = start + length
        if self._streams:
            raise Uncurable("a workbook without an end")

    def _record(self, kind: int, start: int, length: int) -> None:
        out = self.out
        if kind == _BOF and length >= 4:
            self._version, sheet = _HEADER.unpack_from(out, start)
            self._streams.append(sheet)
            if sheet == _MACRO_SHEET:
                self._need_biff8()
                struct.pack_into("<H", out, start + 2, _WORKSHEET)
                self.removed.append("macro sheet")
        elif kind == _EOF:
            self._streams.pop()
        elif kind == _FILE_PASS:
            raise Uncurable("an encrypted workbook")
        elif kind == _OB_PROJ and not length:
            struct.pack_into("<H", out, start - _HEADER.size, _EXCEL9_FILE)
        elif kind == _BOUND_SHEET and length >= 6 and out[start + 5] == 1:
            out[start + 5] = 0
        elif kind == _NAME and length >= _NAME_FIXED + 2:
            self._name(start, length)
        elif kind in _FORMULAS and self._streams[-1] == _MACRO_SHEET:
            self._formula(start + _FORMULAS[kind], start + length)
        elif kind == _SUP_BOOK:
            self._refuse_dde(start, length)

    def _need_biff8(self) -> None:
        if self._version != _BIFF8:
            raise Uncurable("a macro sheet of an old Excel")

    def _formula(self, at: int, end: int) -> None:
        """Make the formula whose length stands at `at` a text of spaces."""
        out = self.out
        if at + 2 > end:
            raise Uncurable("a formula that is cut off")
        (length,) = struct.unpack_from("<H", out, at)
        start = at + 2
        if start + length > end:
            raise Uncurable("a formula that is cut off")
        # Cells of a shared formula only point at it; what has no room for a text calls nothing.
        if length >= 3 and out[start] not in (_TOKEN_SHARED, _TOKEN_TABLE):
            out[start : start + length] = _text_tokens(length)

    def _name(self, start: int, length: int) -> None:
        out = self.out
        flags, _, characters = struct.unpack_from("<HBB", out, start)
        first = start + _NAME_FIXED + 1
        wide = out[first - 1] & 1
        end = first + characters * (1 + wide)
        if end > start + length:
            raise Uncurable("a name that is cut off")
        name = out[first:end].decode("utf-16-le" if wide else "latin-1", "replace")
        if flags & _NAME_BUILTIN and characters == 1 and ord(name[:1] or "\0") in _AUTO:
            if self._version != _BIFF8 or self._letter > 0xFF:
                raise Uncurable("names that run by themselves in an old Excel, or hundreds of them")
            self.removed.append(f"name {_AUTO[ord(name)]}")
            out[first] = self._letter
            self._letter += 1
            flags &= ~_NAME_BUILTIN
        elif name.lower().startswith("auto_"):
            self.removed.append(f"name {name}")
            out[first:end] = ("was__" + name[5:]).encode("utf-16-le" if wide else "latin-1")
        elif not flags & _NAME_MACRO:
            return
        struct.pack_into("<H", out, start, flags & ~_NAME_MACRO)

    def _refuse_dde(self, start: int, length: int) -> None:
        """Raise Uncurable for a SUPBOOK record that is a DDE link: cells refer to it in ways that are not taken out."""
        out = self.out
        if length < 6:
            return
        _, characters = _HEADER.unpack_from(out, start)
        if characters in (_OWN_BOOK, _ADD_INS):
            return
        width = 1 + (out[start + 4] & 1)
        path = out[start + 5 : start + min(length, 5 + characters * width)][::width]
        if 3 in path and path[0] > 2:
            raise Uncurable("a DDE link in a binary workbook")


def _text_tokens(length: int) -> bytes:
    """Return a formula of exactly `length` (at least 3) bytes: a text of spaces, or several joined."""
    tokens = bytearray()
    joins = 0
    while length:
        fixed = 3 + (1 if tokens else 0)
        characters = min(length - fixed, _TEXT_LIMIT)
        rest = length - fixed - characters
        if 0 < rest < 4:  # not enough for another text and its join
            characters -= 4 - rest
        tokens += bytes((_TOKEN_TEXT, characters, 0)) + b" " * characters
        length -= fixed + characters
        joins += 1 if fixed > 3 else 0
        if fixed > 3:
            tokens.append(_TOKEN_JOIN)
    return bytes(tokens)
