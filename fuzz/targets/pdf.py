"""PDF files: damaged, encrypted, packed, escaped."""

import io
from collections.abc import Iterator
from typing import Final

import pikepdf

from gatepost.antivirus.openers.pdf import open_pdf

from .opened import check

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 4000


def execute(data: bytes) -> None:
    """Open the input as a PDF file."""
    check(open_pdf, b"%PDF-1.7\n" + data)


WORDS: Final = (
    b"/JS", b"/JavaScript", b"/S", b"/OpenAction", b"/AA", b"/EF", b"/F", b"/UF", b"/Type", b"/EmbeddedFile", b"/ObjStm", b"/FlateDecode",
    b"/XFA", b"/Launch", b"/URI (a.exe)", b"obj", b"endobj", b"stream\n", b"endstream", b"<<", b">>", b"trailer", b"xref", b"/J#53", b"1 0 R",
    b"/Encrypt", b"/Root", b"startxref", b"%%EOF", b"/Filter", b"/Length",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield documents that do everything, in the forms a writer can give them."""
    for packed in pikepdf.ObjectStreamMode.generate, pikepdf.ObjectStreamMode.disable:
        for encryption in (None, pikepdf.Encryption(owner="o", user=""), pikepdf.Encryption(owner="o", user="secret")):
            with pikepdf.new() as document:
                document.add_blank_page()
                document.Root.OpenAction = pikepdf.Dictionary(
                    S=pikepdf.Name.JavaScript, JS=document.make_stream(b"a()")
                )
                document.Root.AA = pikepdf.Dictionary(
                    WC=pikepdf.Dictionary(S=pikepdf.Name.Launch, F=pikepdf.String("a.exe"))
                )
                document.Root.AcroForm = pikepdf.Dictionary(XFA=document.make_stream(b"<xdp/>"))
                document.attachments["a.txt"] = b"content"
                out = io.BytesIO()
                document.save(out, object_stream_mode=packed, encryption=encryption or False)
            yield out.getvalue()[9:]
    yield b"1 0 obj<</OpenAction<</S/J#61vaScript/JS(app.alert\\(1\\))>>/URI(http://a/b.exe)>>endobj trailer<</Root 1 0 R>>"
