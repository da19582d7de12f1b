"""Texts of documents: RTF, Word of all ages, OpenDocument, PDF, and codes in pictures; damaged and hostile ones, too."""

# ruff: noqa: RUF001 - a text in Cyrillic letters

import io
import struct
import zipfile

import pikepdf
import pytest
import zxingcpp
from PIL import Image

from gatepost.antispam.extract.document import DOCUMENT_TEXT, Document
from gatepost.antispam.extract.pdf import read_pdf
from gatepost.antispam.extract.qr import PIXELS_LIMIT, read_codes
from gatepost.antispam.extract.rtf import read_rtf
from gatepost.antispam.extract.word import read_word

# -- RTF ---------------------------------------------------------------------------------------------------------------

RTF = [
    (rb"{\rtf1 Hello\par {\b wor}ld}", "Hello\nworld"),
    (rb"{\rtf1\ansicpg1251 \'cf\'f0\'e8}", "При"),
    (rb"{\rtf1{\fonttbl{\f0\fcharset204 Arial;}{\f1\fcharset0 X;}}\f0 \'cf\f1 \'e9}", "Пé"),
    (rb"{\rtf1 \u1055?\u1088\'3fx\uc2 \u1080ab!}", "Прxи!"),
    (rb"{\rtf1{\pict 00ff}{\*\generator w}{\info{\title t}}a{\stylesheet s}b}", "ab"),
    (rb"{\rtf1 a\bin3 {}\b}", "ab"),
    (rb"{\rtf1 a\~b\_c\-d\{e\}\\}", "a\xa0b-c\u00add{e}\\"),
    (rb"{\rtf1 a}}}}b", "ab"),
    (rb"{\rtf1 {{{{a", "a"),
    (rb"{\rtf1 \u-10179?\ansicpg99999 x}", "\ufffdx"),
]


@pytest.mark.parametrize(("data", "text"), RTF)
def test_rtf_is_read_as_a_word_processor_shows_it(data: bytes, text: str) -> None:
    assert read_rtf(data).visible.strip() == text


def test_rtf_tells_hidden_text_and_links_apart() -> None:
    link = rb'{\rtf1 a{\v secret}{\fs2 tiny}{\field{\*\fldinst HYPERLINK "http://x.example/y"}{\fldrslt click}}}'
    assert read_rtf(link) == Document("aclick", "secrettiny", ["http://x.example/y"])


# -- Word --------------------------------------------------------------------------------------------------------------


def pack(**members: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return target.getvalue()


DOCX = pack(
    **{
        "word/document.xml": "<?xml version='1.0'?><w:document><w:p><w:r><w:t>Via</w:t></w:r><w:r><w:t>gra &amp; more</w:t></w:r>"
        "</w:p><w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>gone</w:t></w:r><w:r><w:instrText>HYPERLINK</w:instrText>"
        "<w:t>cell</w:t></w:r></w:p></w:document>",
        "word/_rels/document.xml.rels": '<Relationship Target="http://x.example/?a=1&amp;b=2" TargetMode="External"/>',
        "word/media/image1.png": "x",
    }
)


def test_docx() -> None:
    assert read_word(DOCX) == Document("Viagra & more\ncell", "gone", ["http://x.example/?a=1&b=2"])


def test_odt() -> None:
    content = '<office:text><text:h>Title</text:h><text:p>a<text:tab/>b <text:a xlink:href="http://x.example/">c</text:a></text:p>'
    read = read_word(pack(**{"content.xml": content}))
    assert (read.visible, read.urls) == ("Title\na\tb c", ["http://x.example/"])


def word_97(text: str, *, wide: bool, flags: int = 0, version: int = 0x00C1) -> bytes:
    """Make a compound file with one document whose text is one piece."""
    encoded = text.encode("utf-16-le" if wide else "cp1252")
    place = 0x400 if wide else 0x400 * 2 | 0x4000_0000
    piece = struct.pack("<2L", 0, len(text)) + struct.pack("<HLH", 0, place, 0)
    table = b"\x01\x02\x00ab\x02" + struct.pack("<L", len(piece)) + piece
    head = bytearray(0x400)
    struct.pack_into("<2H", head, 0, 0xA5EC, version)
    struct.pack_into("<H", head, 6, 0x0419)
    struct.pack_into("<H", head, 10, flags)
    struct.pack_into("<2L", head, 0x18, 0x400, 0x400 + len(encoded))
    struct.pack_into("<2L", head, 0x1A2, 0, len(table))
    return compound({"WordDocument": bytes(head) + encoded, "0Table": table})


def compound(streams: dict[str, bytes]) -> bytes:
    """Make a compound file ([MS-CFB] version 3) whose streams all lie in sectors of 512 bytes."""
    sectors: list[bytes] = []
    fat: list[int] = []
    entries = [("Root Entry", 5, 1, 0xFFFF_FFFE, 0)]
    for number, (name, raw) in enumerate(streams.items()):
        content = raw.ljust(4096, b"\0")
        count = -(-len(content) // 512)
        start = len(sectors)
        sectors += [content[at : at + 512].ljust(512, b"\0") for at in range(0, len(content), 512)]
        fat += [*range(start + 1, start + count), 0xFFFF_FFFE]
        right = number + 2 if number + 1 < len(streams) else 0xFFFF_FFFF
        entries.append((name, 2, right, start, len(content)))
    folder = b""
    for name, kind, link, start, size in entries:
        raw = (name + "\0").encode("utf-16-le")
        left, right, child = (0xFFFF_FFFF, 0xFFFF_FFFF, link) if kind == 5 else (0xFFFF_FFFF, link, 0xFFFF_FFFF)
        folder += struct.pack(
            "<64sHBB3L16sLQQLQ", raw, len(raw), kind, 1, left, right, child, b"", 0, 0, 0, start, size
        )
    folder = folder.ljust(512, b"\0")
    fat += [0xFFFF_FFFE, 0xFFFF_FFFD]
    header = struct.pack("<8s16s5H6x9L", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, len(sectors), 0, 4096,
                         0xFFFF_FFFE, 0, 0xFFFF_FFFE, 0)  # fmt: skip
    header += struct.pack("<109L", len(sectors) + 1, *[0xFFFF_FFFF] * 108)
    table = struct.pack("<128L", *fat, *[0xFFFF_FFFF] * (128 - len(fat)))
    return header + b"".join(sectors) + folder + table


FIELD = 'see \x13 HYPERLINK "http://x.example/" \x14click\x15 now\rnext\x07cell'


@pytest.mark.parametrize("wide", [False, True])
def test_doc_of_word_97(wide: bool) -> None:
    read = read_word(word_97(FIELD, wide=wide))
    assert (read.visible, read.urls) == ("see click now\nnext\tcell", ["http://x.example/"])


def test_doc_of_word_6_in_the_code_page_of_its_language() -> None:
    data = bytearray(word_97("\xcf\xf0\xe8\xe2\xe5\xf2", wide=False, version=101))
    assert read_word(bytes(data)).visible == "Привет"


def test_encrypted_doc_says_nothing() -> None:
    assert read_word(word_97("text", wide=False, flags=0x0100)) == Document()


# -- PDF ---------------------------------------------------------------------------------------------------------------

TO_UNICODE = b"1 beginbfchar <0001> <0056> endbfchar 1 beginbfrange <0002> <0004> <0069> <0005> <0006> [<0067> <00720061>] endbfrange"


def make_pdf(content: bytes, *, font: str = "", pages: int = 1) -> bytes:
    document = pikepdf.new()
    for _ in range(pages):
        page = document.add_blank_page()
        fonts = pikepdf.Dictionary(F1=pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1))
        if font:
            fonts.F2 = pikepdf.Dictionary(
                Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type0, ToUnicode=document.make_stream(TO_UNICODE)
            )
        page.obj.Resources = pikepdf.Dictionary(Font=fonts)
        page.obj.Contents = document.make_stream(content)
        action = pikepdf.Dictionary(S=pikepdf.Name.URI, URI="http://x.example/pdf")
        page.obj.Annots = pikepdf.Array([pikepdf.Dictionary(Subtype=pikepdf.Name.Link, A=action)])
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def test_pdf_text_and_links() -> None:
    read = read_pdf(make_pdf(b"BT /F1 12 Tf (Buy) Tj 0 -14 Td [(no) -50 (w) -300 (or never)] TJ T* (end) ' ET"))
    assert (read.visible, read.urls) == ("Buy\nnow or never\nend", ["http://x.example/pdf"])


def test_pdf_letters_by_the_fonts_table() -> None:
    assert read_pdf(make_pdf(b"BT /F2 12 Tf <000100020005> Tj <0006> Tj ET", font="F2")).visible == "Vigra"


def test_pdf_reads_the_first_pages_only() -> None:
    assert read_pdf(make_pdf(b"BT /F1 12 Tf (x) Tj ET", pages=30)).visible.count("x") == 10


def test_locked_pdf_says_nothing() -> None:
    document = pikepdf.open(io.BytesIO(make_pdf(b"")))
    target = io.BytesIO()
    document.save(target, encryption=pikepdf.Encryption(owner="a", user="b"))
    assert read_pdf(target.getvalue()) == Document()


# -- codes -------------------------------------------------------------------------------------------------------------


def make_code(text: str = "https://evil.example/login") -> Image.Image:
    return Image.fromarray(zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode).to_image(scale=5)).convert("L")


def save(picture: Image.Image, name: str) -> bytes:
    target = io.BytesIO()
    picture.save(target, name)
    return target.getvalue()


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_codes_in_pictures_are_read(name: str) -> None:
    assert read_codes(save(make_code(), name)) == ["https://evil.example/login"]


def test_codes_in_scans_and_on_transparent_ground_are_read() -> None:
    scan = Image.new("L", (1700, 2200), "white")
    scan.paste(make_code().resize((500, 500)), (300, 900))
    assert read_codes(save(scan, "JPEG")) == ["https://evil.example/login"]
    code = make_code()
    black = Image.new("L", code.size)
    clear = Image.merge("RGBA", (black, black, black, code.point(lambda value: 255 - value)))
    assert read_codes(save(clear, "PNG")) == ["https://evil.example/login"]


def test_pictures_that_are_bombs_or_no_pictures_are_passed_over(cpu_seconds) -> None:
    bomb = save(Image.new("1", (8_000, 8_000)), "PNG")
    assert PIXELS_LIMIT < 8_000 * 8_000
    with cpu_seconds(1):
        assert [read_codes(each) for each in (bomb, b"", b"GIF89a", save(make_code(), "PNG")[:200])] == [[]] * 4


# -- damaged and hostile ------------------------------------------------------------------------------------------------

HOSTILE_RTF = [b"{" * 300_000, b"\\'41" * 150_000, b"\\u65?" * 200_000, b"{\\v a}" * 70_000, b"\\bin1 x" * 140_000,
               b"{\\f1\\fcharset" * 80_000, b"HYPERLINK " * 100_000, b"x" * 1_000_000, b"\\" * 1_000_000]  # fmt: skip
HOSTILE_XML = ["<w:r>" * 200_000, "<w:br " * 150_000, "<" * 1_000_000, "<w:instrText>" * 80_000, "<w:r><w:vanish/>" * 60_000,
               "<?" * 500_000, "<!--" * 250_000, 'Target="http:' * 70_000, "&#1" * 300_000]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE_RTF)))
def test_hostile_rtf_costs_what_its_bytes_cost(number: int, cpu_seconds) -> None:
    with cpu_seconds(2):
        assert len(read_rtf(b"{\\rtf1 " + HOSTILE_RTF[number]).visible) <= DOCUMENT_TEXT


@pytest.mark.parametrize("number", range(len(HOSTILE_XML)))
def test_hostile_xml_costs_what_its_bytes_cost(number: int, cpu_seconds) -> None:
    with cpu_seconds(2):
        read_word(pack(**{"word/document.xml": HOSTILE_XML[number] + "<w:vanish"}))


@pytest.mark.parametrize(
    "table",
    [b"beginbfrange" * 20_000, b"beginbfrange " + b"<00><00>[" * 25_000, b"beginbfrange <00000000><ffffffff><00>" * 50],
)
def test_hostile_tables_of_letters_cost_what_their_bytes_cost(table: bytes, cpu_seconds) -> None:
    document = pikepdf.open(io.BytesIO(make_pdf(b"BT /F2 1 Tf <0001> Tj ET", font="F2")))
    document.pages[0].obj.Resources.Font.F2.ToUnicode = document.make_stream(table)
    target = io.BytesIO()
    document.save(target)
    with cpu_seconds(2):
        read_pdf(target.getvalue())


def test_half_of_a_file_gives_what_can_be_read_or_nothing() -> None:
    for data, read in (
        (DOCX, read_word),
        (word_97(FIELD, wide=True), read_word),
        (make_pdf(b"BT /F1 12 Tf (Buy) Tj ET"), read_pdf),
    ):
        for cut in range(0, len(data), max(1, len(data) // 60)):
            assert isinstance(read(data[:cut]), Document)
