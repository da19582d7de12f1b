"""Texts of documents: RTF, Word, OpenDocument and PDF, changed copies of sound ones; pictures with codes."""

import functools
import io
import struct
import zipfile
from collections.abc import Iterator
from typing import Final

import pikepdf
import zxingcpp
from PIL import Image

from gatepost.antispam.extract.document import DOCUMENT_TEXT, URLS_LIMIT, Document
from gatepost.antispam.extract.pdf import read_pdf
from gatepost.antispam.extract.qr import CODES_LIMIT, read_codes
from gatepost.antispam.extract.rtf import read_rtf
from gatepost.antispam.extract.word import read_word

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500


def execute(data: bytes) -> None:
    """Take the first byte as the kind, the rest as RTF, as XML, as a table of letters, or as changes of a sound file."""
    if not data:
        return
    kind, rest = data[0] % 6, data[1:]
    if kind == 0:
        check(read_rtf(b"{\\rtf1 " + rest))
    elif kind == 1:
        check(read_word(_pack({"word/document.xml": rest, "word/_rels/document.xml.rels": rest})))
    elif kind == 2:
        check(read_pdf(_make_pdf(rest, b"beginbfchar <01> <0041> endbfchar")))
    elif kind == 3:
        check(read_pdf(_make_pdf(b"BT /F1 1 Tf <0102> Tj ET", rest)))
    elif kind == 4:
        document = _documents()[rest[0] % len(_documents())] if rest else b""
        changed = _change(document, rest[1:])
        check(read_word(changed))
        check(read_pdf(changed))
    else:
        codes = read_codes(_change(_pictures()[rest[0] % len(_pictures())], rest[1:]) if rest else b"")
        assert len(codes) <= CODES_LIMIT


def check(document: Document) -> None:
    """What every document promises."""
    assert len(document.visible) <= DOCUMENT_TEXT
    assert len(document.hidden) <= DOCUMENT_TEXT
    assert len(document.urls) <= URLS_LIMIT


def _change(data: bytes, changes: bytes) -> bytes:
    """Apply changes: place (2 bytes), length (1 byte; 0 cuts), bytes."""
    changed = bytearray(data)
    while len(changes) > 3:
        place, size = int.from_bytes(changes[:2], "big"), changes[2] % 16
        if size == 0:
            del changed[place:]
        else:
            changed[place : place + size] = changes[3 : 3 + size]
        changes = changes[3 + size :]
    return bytes(changed)


def _pack(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def _make_pdf(content: bytes, table: bytes) -> bytes:
    document = pikepdf.new()
    page = document.add_blank_page()
    font = pikepdf.Dictionary(Subtype=pikepdf.Name.Type0, ToUnicode=document.make_stream(table))
    page.obj.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    page.obj.Contents = document.make_stream(content)
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


@functools.cache
def _documents() -> tuple[bytes, ...]:
    return (
        _pack({"word/document.xml": b"<w:p><w:r><w:t>text</w:t></w:r></w:p>"}),
        _make_pdf(b"BT /F1 1 Tf (text) Tj ET", b"beginbfrange <00> <ff> <0000> endbfrange"),
        _make_doc(),
    )


def _make_doc() -> bytes:
    """Make the smallest compound file with a document of Word 97 in it."""
    text = 'text \x13 HYPERLINK "http://x.example/" \x14click\x15\r'.encode("utf-16-le")
    piece = struct.pack("<2L", 0, len(text) // 2) + struct.pack("<HLH", 0, 0x400, 0)
    table = b"\x02" + struct.pack("<L", len(piece)) + piece
    head = bytearray(0x400)
    struct.pack_into("<2H", head, 0, 0xA5EC, 0xC1)
    struct.pack_into("<2L", head, 0x1A2, 0, len(table))
    main, table = (bytes(head) + text).ljust(4096, b"\0"), table.ljust(4096, b"\0")
    none, end = 0xFFFF_FFFF, 0xFFFF_FFFE
    folder = b"".join(
        struct.pack(
            "<64sHBB3L16sLQQLQ",
            name.encode("utf-16-le"),
            2 * len(name) + 2,
            kind,
            1,
            none,
            right,
            child,
            b"",
            0,
            0,
            0,
            start,
            size,
        )
        for name, kind, right, child, start, size in (
            ("Root Entry", 5, none, 1, end, 0),
            ("WordDocument", 2, 2, none, 0, 4096),
            ("0Table", 2, none, none, 8, 4096),
        )
    )
    chain = [*range(1, 8), end, *range(9, 16), end, end, 0xFFFF_FFFD]
    header = struct.pack(
        "<8s16s5H6x9L",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"",
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        1,
        16,
        0,
        4096,
        end,
        0,
        end,
        0,
    )
    header += struct.pack("<109L", 17, *[none] * 108)
    return header + main + table + folder.ljust(512, b"\0") + struct.pack("<128L", *chain, *[none] * (128 - len(chain)))


@functools.cache
def _pictures() -> tuple[bytes, ...]:
    code = Image.fromarray(
        zxingcpp.create_barcode("http://x/", zxingcpp.BarcodeFormat.QRCode).to_image(scale=2)
    ).convert("L")
    made = []
    for name in ("PNG", "GIF", "BMP", "JPEG", "WEBP"):
        target = io.BytesIO()
        code.save(target, name)
        made.append(target.getvalue())
    return tuple(made)


WORDS: Final = (
    b"\0", b"\1", b"\2", b"\3", b"\4", b"\5", b"\\par ", b"\\'cf", b"\\u1055?", b"\\uc2", b"{\\*\\", b"{\\v ", b"\\fs2 ", b"\\bin4 ", b"{\\fonttbl{\\f0\\fcharset204",
    b"\\f0 ", b"\\ansicpg1251", b'HYPERLINK "http://', b"<w:p>", b"<w:t>", b"</w:t>", b"<w:r>", b"</w:r>", b"<w:vanish/>", b"<w:instrText>", b"&amp;",
    b'Target="http://', b"BT ", b" Tf", b" Tj", b" TJ", b"[(a) -300 (b)]", b" Td", b"beginbfchar", b"beginbfrange", b"endbf", b"<00>", b"<ffff>",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield one of each kind."""
    yield b'\0{\\fonttbl{\\f0\\fcharset204 A;}}\\f0 \\\'cf\\u1055?{\\v x}{\\*\\fldinst HYPERLINK "http://x.example"}'
    yield b'\1<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>a</w:t></w:r><w:t>b</w:t></w:p><R Target="http://x.example"/>'
    yield b"\2BT /F1 1 Tf [(a) -300 (b)] TJ 0 1 Td <01> ' ET"
    yield b"\3beginbfchar <01> <0041> endbfchar beginbfrange <01> <02> <0041> <03> <04> [<0041> <0042>] endbfrange"
    for number in range(3):
        yield bytes((4, number)) + b"\x00\x40\x02ab"
    for number in range(5):
        yield bytes((5, number)) + b"\x00\x30\x01\xff"
