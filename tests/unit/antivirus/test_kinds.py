"""What content is, and how that disagrees with what it is called."""

import struct

import pytest
from tests.unit.antivirus import document_samples as samples

from gatepost.antivirus.kind_names import conflicts
from gatepost.antivirus.kinds import Kind, detect_kind

MAIL = b"Received: from a\r\nFrom: a@example.org\r\nSubject: x\r\n\r\nthe text of a mail\r\n"

KINDS = {
    "pdf": (b"%PDF-1.4\n", Kind.PDF),
    "pdf behind junk": (b"junk\n" * 100 + b"%PDF-1.4", Kind.PDF),
    "pdf mark too late": (b"junk\n" * 300 + b"%PDF-1.4", None),
    "ole": (samples.compound({("WordDocument",): b"x"}), Kind.OLE),
    "msg": (samples.compound({("x",): b"x"}, bytes.fromhex("0b0d020000000000c000000000000046")), Kind.MSG),
    "docx": (samples.word(), Kind.OOXML),
    "docx, types last": (samples.zipped([("a" * 300, b""), ("[Content_Types].xml", b"")]), Kind.OOXML),
    "odt": (samples.zipped([("mimetype", b"application/vnd.oasis.opendocument.text")]), Kind.ZIP),
    "odt by manifest": (samples.zipped([("content.xml", b""), ("META-INF/manifest.xml", b"")]), Kind.ODF),
    "document stored in a zip": (samples.stored([("a.docx", samples.word())]), Kind.ZIP),
    "documents stored in a zip": (samples.stored([("b.txt", bytes(900)), ("a.docx", samples.word())]), Kind.ZIP),
    "odt stored in a zip": (samples.stored([("a.odt", samples.stored([("META-INF/manifest.xml", b"")]))]), Kind.ZIP),
    "docx in its comment": (samples.stored([("a.docx", samples.word())], samples.word()), Kind.OOXML),
    "docx behind junk": (samples.stored([("a.docx", samples.word())]) + samples.word(), Kind.OOXML),
    "docx cut off": (samples.stored([("a", bytes(300)), ("[Content_Types].xml", b"")])[:-22], Kind.OOXML),
    "jar": (samples.zipped([("META-INF/MANIFEST.MF", b"")]), Kind.ZIP),
    "program": (samples.PROGRAM, Kind.EXECUTABLE),
    "text MZ": (b"MZ is where some programs begin, and so do some sentences of this kind.", None),
    "elf": (b"\x7fELF\x02\x01\x01", Kind.EXECUTABLE),
    "class": (b"\xca\xfe\xba\xbe\0\0\0\x34", Kind.EXECUTABLE),
    "script": (b"#!/bin/sh\nexit\n", Kind.SCRIPT),
    "html": (b"<!DOCTYPE html><html>", Kind.HTML),
    "html behind text": (b"Hello <b>you</b>", Kind.HTML),
    "html in UTF-16": ("\ufeff<html><body>x".encode("utf-16-le"), Kind.HTML),
    "html in UTF-16 without mark": ("<html><body>x".encode("utf-16-be"), Kind.HTML),
    "xhtml": (b"<?xml version='1.0'?><!DOCTYPE html><html xmlns='x'>", Kind.HTML),
    "svg": (b"<svg xmlns='x'>", Kind.SVG),
    "svg as xml": (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg:svg>", Kind.SVG),
    "svg with prolog": (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg>", Kind.SVG),
    "xml": (b"<?xml version='1.0'?><w:wordDocument>", Kind.XML),
    "text with brackets": (b"if a < b and c > d, <see@example.org>", None),
    "rtf": (b"{\\rtf1 x}", Kind.RTF),
    "rtf cut": (b"{\\rt x}", Kind.RTF),
    "lnk": (samples.shortcut("x"), Kind.LNK),
    "onenote": (samples.notebook(), Kind.ONENOTE),
    "tnef": (samples.tnef(b"x"), Kind.TNEF),
    "mail": (MAIL, Kind.MAIL),
    "mail header alone": (MAIL[: MAIL.index(b"\r\n\r\n") + 4], None),
    "one field": (b"Subject: x\n\ntext of it\n", None),
    "mbox": (b"From a@example.org Thu Jan  1 00:00:00 1970\n" + MAIL, Kind.MBOX),
    "From in a text": (b"From here on it is 12:30 o'clock.\nAnd more.", None),
    "uuencode": (b"begin 644 x\n#86)C\n`\nend\n", Kind.UUENCODE),
    "yenc": (b"=ybegin line=128 size=3 name=x\nxxx\n=yend size=3\n", Kind.YENC),
    "binhex": (b"(This file must be converted with BinHex 4.0)\n:x:", Kind.BINHEX),
    "activemime": (b"ActiveMime\0\0" + bytes(50), Kind.ACTIVE_MIME),
    "png": (b"\x89PNG\r\n\x1a\n", Kind.PICTURE),
    "webp": (b"RIFF\0\0\0\0WEBPVP8 ", Kind.PICTURE),
    "bmp": (b"BM" + struct.pack("<LLLL", 100, 0, 54, 40), Kind.PICTURE),
    "text BM": (b"BM is short for something else entirely", None),
    "wave": (b"RIFF\0\0\0\0WAVEfmt ", Kind.SOUND),
    "font": (b"\0\x01\0\0\0\x0f\0\x80\0\x03", Kind.FONT),
    "text": (b"Dear all,\r\nplease find the figures attached, 100% as agreed.\r\n", None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize("name", KINDS)
def test_kind_of_content(name: str) -> None:
    data, kind = KINDS[name]
    assert detect_kind(data) is kind


def test_a_name_tells_only_where_the_content_does_not() -> None:
    page = b"Hello, " * 400 + b"<div>late</div>"
    assert detect_kind(page) is None
    assert detect_kind(page, "page.html") is Kind.HTML
    assert detect_kind(page, "", "text/html") is Kind.HTML
    assert detect_kind(page, "page.txt", "text/plain") is None
    assert detect_kind(samples.PROGRAM, "page.html", "text/html") is Kind.EXECUTABLE
    assert detect_kind(b"no brackets", "page.html", "text/html") is None


AGREEING = [
    (Kind.OOXML, "a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (Kind.RTF, "a.doc", "application/msword"),
    (Kind.HTML, "a.xls", "application/vnd.ms-excel"),
    (Kind.OOXML, "a.zip", "application/zip"),
    (Kind.EXECUTABLE, "setup.exe", "application/octet-stream"),
    (Kind.EXECUTABLE, "", ""),
    (Kind.PICTURE, "a.JPG", "image/png"),
    (Kind.HTML, "", "text/plain"),
    (Kind.MAIL, "notes.txt", "text/plain"),
    (None, "a.pdf", "application/pdf"),
]


@pytest.mark.parametrize(("kind", "name", "declared"), AGREEING)
def test_what_agrees_is_no_conflict(kind: Kind | None, name: str, declared: str) -> None:
    assert conflicts(kind, name, declared) == ""


CONFLICTING = [
    (Kind.EXECUTABLE, "invoice.pdf", "application/octet-stream", "a program", ".pdf"),
    (Kind.EXECUTABLE, "invoice.pdf . ", "", "a program", ".pdf"),
    (Kind.EXECUTABLE, "x.bin", "image/jpeg", "a program", "image/jpeg"),
    (Kind.EXECUTABLE, "", "text/plain", "a program", "text/plain"),
    (Kind.HTML, "bill.pdf", "application/pdf", "a web page", ".pdf"),
    (Kind.LNK, "photo.jpg", "", "a Windows shortcut", ".jpg"),
    (Kind.ZIP, "photo.png", "", "zip", ".png"),
    (Kind.RAR, "letter.docx", "", "rar", ".docx"),
]


@pytest.mark.parametrize(("kind", "name", "declared", "what", "called"), CONFLICTING)
def test_conflicts_are_told_in_words(kind: Kind, name: str, declared: str, what: str, called: str) -> None:
    words = conflicts(kind, name, declared)
    assert what in words
    assert called in words
