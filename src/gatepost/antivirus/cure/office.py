"""Older Office files (compound files) without macros and what else runs: `cure_office`.

Called by `plan`, and by `ooxml` for compound files inside newer ones. Word, Excel and PowerPoint files lose their VBA
projects with what refers to them, macro sheets, DDE, and embedded programs; others only what is embedded.
"""

import re
import struct
from collections.abc import Sequence
from typing import Final

from gatepost.antivirus.cure.biff import disarm_workbook
from gatepost.antivirus.cure.compound import Node, read_compound, write_compound
from gatepost.antivirus.cure.cured import BadMember, Cured, Uncurable, build_cured
from gatepost.antivirus.cure.packages import Bad, disarm_tree, index_bad
from gatepost.antivirus.cure.slides import disarm_slides

_REFUSED: Final = frozenset({"encryptedpackage", "encryptedsummary", "__properties_version1.0"})
"""Streams of what is no document to be read here: encrypted ones, and mails."""
_INSTALLER: Final = bytes.fromhex("84100c0000000000c000000000000046")
"""Class of Windows installers: their code is all they are."""
_WORD97: Final = 0xA5EC
_FIB_FLAGS_AT, _FIB_TABLES_AT = 0x0A, 0x9A
_ENCRYPTED, _SECOND_TABLE = 0x0100, 0x0200
_COMMANDS: Final = (24, 25, 26)
"""Pairs of the FIB (MS-DOC §2.5.6) that say where key, menu and macro assignments are."""
_FIELDS: Final = (16, 17, 18, 19, 20, 48, 57, 59)
"""Pairs that say where the fields of each text are."""
_DDE, _DDE_AUTO, _QUOTE = 0x2D, 0x2E, 0x23
_DDE_TEXT: Final = re.compile(rb"(?i)\x13[\t ]{0,20}(DDE(?:AUTO)?[\t \"][^\x13-\x15]{0,4096})(?=[\x13-\x15])")
_DDE_WIDE: Final = re.compile(
    rb"(?is)\x13\0(?:[\t ]\0){0,20}"
    rb"(D\0D\0E\0(?:A\0U\0T\0O\0)?[\t \"]\0(?:(?![\x13-\x15]\0)..){0,4000})(?=[\x13-\x15]\0)"
)


def cure_office(data: bytes, bad: Sequence[BadMember] = ()) -> Cured | None:
    """Return the file without what runs in it, None when it cannot be done or there is nothing."""
    try:
        tree = read_compound(data)
        removed = disarm_office(tree, index_bad(list(bad)))
        return build_cured(write_compound(tree), removed)
    except Uncurable:
        return None


def disarm_office(tree: Node, bad: Bad) -> list[str]:
    """Take what runs out of the tree of any compound file, and return what that was. Uncurable."""
    if tree.clsid == _INSTALLER or any(node.name.lower() in _REFUSED for node in tree.children):
        raise Uncurable("encrypted, a mail, or an installer")
    removed = disarm_tree(tree, bad)
    for storage in list(tree.walk()):
        if storage.is_stream:
            continue
        if storage.child("WordDocument") is not None:
            removed += _disarm_word(storage)
        for name in ("Workbook", "Book"):
            stream = storage.child(name)
            if stream is not None and stream.is_stream:
                stream.data, words = disarm_workbook(stream.data)
                removed += words
        slides = storage.child("PowerPoint Document")
        if slides is not None and slides.is_stream:
            slides.data, words = disarm_slides(slides.data, lambda node: disarm_tree(node, bad))
            removed += words
    return removed


def _disarm_word(storage: Node) -> list[str]:
    """Clear the FIB of macro assignments and the texts of DDE fields."""
    document = storage.child("WordDocument")
    if document is None or not document.is_stream or len(document.data) < _FIB_TABLES_AT + 8 * (_FIELDS[-1] + 1):
        raise Uncurable("a Word document without its start")
    out = bytearray(document.data)
    magic, flags = struct.unpack_from("<H", out)[0], struct.unpack_from("<H", out, _FIB_FLAGS_AT)[0]
    if magic != _WORD97 or flags & _ENCRYPTED:
        raise Uncurable("an encrypted or very old Word document")
    for pair in _COMMANDS:
        struct.pack_into("<L", out, _FIB_TABLES_AT + 8 * pair + 4, 0)
    removed: list[str] = []
    for pattern, blank in ((_DDE_TEXT, b" "), (_DDE_WIDE, b" \0")):
        for found in pattern.finditer(bytes(out)):
            start, end = found.span(1)
            out[start:end] = (blank * (end - start))[: end - start]
            removed.append("DDE field")
    document.data = bytes(out)
    table = storage.child("1Table" if flags & _SECOND_TABLE else "0Table")
    if table is not None and table.is_stream:
        removed += _disarm_fields(document.data, table)
    return removed


def _disarm_fields(fib: bytes, table: Node) -> list[str]:
    """Make DDE fields in the field tables quotations (MS-DOC §2.8.25: positions, then two bytes for each)."""
    out = bytearray(table.data)
    removed: list[str] = []
    for pair in _FIELDS:
        start, length = struct.unpack_from("<2L", fib, _FIB_TABLES_AT + 8 * pair)
        count = (length - 4) // 6
        first = start + 4 * (count + 1)
        if length < 10 or first + 2 * count > len(out):
            continue
        for at in range(first, first + 2 * count, 2):
            if out[at] & 0x1F == 0x13 and out[at + 1] in (_DDE, _DDE_AUTO):
                out[at + 1] = _QUOTE
                removed.append("DDE field")
    table.data = bytes(out)
    return removed
