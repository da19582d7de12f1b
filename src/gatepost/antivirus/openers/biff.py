"""Workbooks of the older Excel ([MS-XLS]): macro sheets, what opens by itself, links that start programs.

Called by `ole` (the stream `Workbook` or `Book`) and by `ooxml` (formulas of binary macro sheets). Formulas are shown
in the order Excel computes them, arguments first: enough for rules to see what is called with which text.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final

_FORMULA, _NAME, _BOUND_SHEET, _FILE_PASS, _BOF, _SUPBOOK, _EXTERN_NAME, _STRING = (
    0x0006, 0x0018, 0x0085, 0x002F, 0x0809, 0x01AE, 0x0023, 0x0207,
)  # fmt: skip
_MACRO_SHEET: Final = 0x0040
RECORDS_LIMIT: Final = 500_000
FORMULAS_LIMIT: Final = 5_000
"""Of macro sheets."""
_BUILT_IN: Final = {0x01: "Auto_Open", 0x02: "Auto_Close", 0x0A: "Auto_Activate", 0x0B: "Auto_Deactivate"}
_HIDDEN: Final = {0: "visible", 1: "hidden", 2: "very hidden"}
_FUNCTIONS: Final[Mapping[int, str]] = {
    1: "IF", 31: "MID", 32: "LEN", 53: "GOTO", 54: "HALT", 55: "RETURN", 88: "SET.NAME", 108: "SET.VALUE",
    110: "EXEC", 111: "CHAR", 115: "LEFT", 116: "RIGHT", 119: "REPLACE", 120: "SUBSTITUTE", 121: "CODE",
    132: "FOPEN", 133: "FCLOSE", 136: "FREAD", 137: "FWRITELN", 138: "FWRITE", 148: "INDIRECT", 149: "REGISTER",
    150: "CALL", 185: "GET.CELL", 186: "GET.WORKSPACE", 187: "GET.WINDOW", 188: "GET.DOCUMENT",
    201: "UNREGISTER", 257: "EVALUATE", 267: "REGISTER.ID", 268: "GET.WORKBOOK", 336: "CONCATENATE",
    0x8011: "RUN", 0x8060: "FORMULA", 0x8061: "FORMULA.FILL", 0x8076: "ALERT",
}  # fmt: skip
"""Functions and, from 8000h, commands ([MS-XLS] 2.5.198.17, .4) that macros do harm or hide with."""
_SIGNS: Final = ("+", "-", "*", "/", "^", "&", "<", "<=", "=", ">=", ">", "<>", " ", ",", ":")
_BINARY: Final = dict(enumerate(_SIGNS, 3))
_SIZES: Final = {
    0x24: 4, 0x25: 8, 0x2A: 4, 0x2B: 8, 0x2C: 4, 0x2D: 8, 0x23: 4, 0x20: 7, 0x26: 6, 0x27: 6, 0x28: 6, 0x29: 2, 0x39: 6,
    0x3A: 6, 0x3B: 10, 0x3C: 6, 0x3D: 10, 0x01: 4, 0x02: 4,
}  # fmt: skip
"""Bytes behind the tokens of references."""


class Sheets:
    """What a workbook holds that a reader shall see."""

    def __init__(self) -> None:
        self.macros: list[str] = []
        """Macro sheets, names that run by themselves, formulas of macro sheets."""
        self.links: list[str] = []
        """Links to other programs (DDE) and files."""
        self.encrypted = False


def read_workbook(data: bytes) -> Sheets:
    """Read the records of a workbook. Never raises."""
    sheets = Sheets()
    names: list[str] = []
    in_macro = False
    formulas = 0
    link = ""
    for number, record in _records(data):
        if number == _FILE_PASS:
            sheets.encrypted = True
            break
        if number == _BOF:
            in_macro = int.from_bytes(record[2:4], "little") == _MACRO_SHEET
        elif number == _BOUND_SHEET and len(record) > 8 and record[5] == 1:
            state = _HIDDEN.get(record[4] & 3, "hidden")
            sheets.macros.append(f"macro sheet {_text(record, 6)!r}, {state}")
        elif number == _NAME and len(record) > 14:
            names += _read_name(record)
        elif number == _SUPBOOK:
            link = _read_link(record)
            if link:
                sheets.links.append(link)
        elif number == _EXTERN_NAME and link and len(record) > 7:
            sheets.links.append(f"{link} item {_text(record, 6)}")
        elif number == _FORMULA and in_macro and formulas < FORMULAS_LIMIT and len(record) > 22:
            formulas += 1
            row, column = struct.unpack_from("<HH", record)
            size = int.from_bytes(record[20:22], "little")
            sheets.macros.append(f"R{row + 1}C{column + 1} = {show_formula(record[22 : 22 + size])}")
    if sheets.macros or any(name.lower().startswith("auto_") for name in names):
        sheets.macros += [f"name {name}" for name in names]
    return sheets


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    for _ in range(RECORDS_LIMIT):
        if position + 4 > len(data):
            return
        number, size = struct.unpack_from("<HH", data, position)
        yield number, data[position + 4 : position + 4 + size]
        position += 4 + size


def _text(record: bytes, start: int) -> str:
    """Return a short text: one byte of length, one of flags ([MS-XLS] 2.5.240); BIFF 5 has no flags."""
    length = record[start]
    if start + 2 + length > len(record) or (record[start + 1] & 1 and start + 2 + 2 * length <= len(record)):
        wide = start + 2 + 2 * length <= len(record)
        raw = record[start + 2 : start + 2 + 2 * length] if wide else record[start + 1 : start + 1 + length]
        return raw.decode("utf-16-le", "replace") if wide else raw.decode("latin-1")
    return record[start + 2 : start + 2 + length].decode("latin-1")


def _read_name(record: bytes) -> list[str]:
    flags, _, length = struct.unpack_from("<HBB", record)
    raw = record[15 : 15 + length]
    if flags & 0x20:
        return [_BUILT_IN[raw[0]]] if raw and raw[0] in _BUILT_IN else []
    name = record[15 : 15 + 2 * length].decode("utf-16-le", "replace") if record[14] & 1 else raw.decode("latin-1")
    return [name] if flags & 0x0E or name.lower().startswith("auto_") else []


def _read_link(record: bytes) -> str:
    """Return a link to another program ([MS-XLS] 2.4.271, VirtualPath): `application|topic`."""
    if len(record) < 5 or int.from_bytes(record[2:4], "little") in (0x0401, 0x3A01):
        return ""
    length = int.from_bytes(record[2:4], "little")
    raw = record[5 : 5 + length * (2 if record[4] & 1 else 1)]
    path = raw.decode("utf-16-le", "replace") if record[4] & 1 else raw.decode("latin-1")
    application, separator, topic = path.partition("\x03")
    return f"DDE {application} {topic}" if separator and application[:1] not in ("\x01", "\x02") else ""


def show_formula(tokens: bytes, *, wide: bool = False) -> str:
    """Return the tokens of a formula in words, in the order they are computed. `wide`: as in .xlsb ([MS-XLSB])."""
    out: list[str] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        base = token & 0x1F | 0x20 if token & 0x60 else token
        if token in _BINARY:
            out.append(_BINARY[token])
        elif token == 0x17:
            text, position = _show_text(tokens, position, wide=wide)
            out.append(f'"{text}"')
        elif token == 0x1E:
            out.append(str(int.from_bytes(tokens[position : position + 2], "little")))
            position += 2
        elif token == 0x1F:
            raw = tokens[position : position + 8]
            out.append(f"{struct.unpack('<d', raw)[0]:g}" if len(raw) == 8 else "?")
            position += 8
        elif token == 0x19:
            position += _skip_attribute(tokens, position)
        elif token in (0x1C, 0x1D):
            position += 1
        elif base == 0x21:
            out.append(_show_function(int.from_bytes(tokens[position : position + 2], "little")))
            position += 2
        elif base == 0x22:
            out.append(_show_function(int.from_bytes(tokens[position + 1 : position + 3], "little")))
            position += 3
        elif base == 0x24 and not wide:
            row, column = int.from_bytes(tokens[position : position + 2], "little"), tokens[position + 2 : position + 3]
            out.append(f"R{row + 1}C{(column[0] if column else 0) + 1}")
            position += 4
        elif base in _SIZES and token & 0x60:
            out.append("ref")
            position += _SIZES[base] + (_WIDER.get(base, 0) if wide else 0)
        elif not 0x12 <= token <= 0x16:
            out.append("?")
            break
    return " ".join(out)


_WIDER: Final = {0x24: 2, 0x25: 4, 0x2A: 2, 0x2B: 4, 0x2C: 2, 0x2D: 4, 0x3A: 2, 0x3B: 4, 0x3C: 2, 0x3D: 4, 0x20: 7}
"""Bytes that rows of 32 bits add."""


def _show_text(tokens: bytes, position: int, *, wide: bool) -> tuple[str, int]:
    if wide:
        length = int.from_bytes(tokens[position : position + 2], "little") * 2
        return tokens[position + 2 : position + 2 + length].decode("utf-16-le", "replace"), position + 2 + length
    length = tokens[position] if position < len(tokens) else 0
    double = tokens[position + 1 : position + 2] == b"\x01"
    start = position + 2
    raw = tokens[start : start + length * (2 if double else 1)]
    return raw.decode("utf-16-le" if double else "latin-1", "replace"), start + length * (2 if double else 1)


def _show_function(number: int) -> str:
    return _FUNCTIONS.get(number) or ("(name)" if number & 0x7FFF == 0xFF else f"function-{number}")


def _skip_attribute(tokens: bytes, position: int) -> int:
    """Return the length of what follows an attribute token ([MS-XLS] 2.5.198.36 and next)."""
    if position < len(tokens) and tokens[position] & 0x04:
        return 3 + 2 * (int.from_bytes(tokens[position + 1 : position + 3], "little") + 1)
    return 3
