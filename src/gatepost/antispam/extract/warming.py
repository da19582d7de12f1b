"""Readers of pages, documents and pictures brought to working order: `warm`, called once in the filters' template.

What the libraries load at their first use they could not load behind the walls of a filter.
"""

import functools
import io
import zipfile
from importlib import import_module
from typing import Final

import pikepdf
import zxingcpp
from PIL import Image

from gatepost.antispam.extract.page import read_page
from gatepost.antispam.extract.pdf import read_pdf
from gatepost.antispam.extract.qr import FORMATS, read_codes
from gatepost.antispam.extract.rtf import read_rtf
from gatepost.antispam.extract.word import read_word
from gatepost.authn import psl

_PLUGINS: Final = ("Bmp", "Gif", "Jpeg", "Png", "WebP")


@functools.cache
def warm() -> None:
    """Take one sample of each kind through its reader."""
    psl.warm()
    for name in _PLUGINS:
        import_module(f"PIL.{name}ImagePlugin")
    code = Image.fromarray(zxingcpp.create_barcode("warm", zxingcpp.BarcodeFormat.QRCode).to_image(scale=3)).convert(
        "L"
    )
    for picture in (code, code.convert("P"), code.convert("RGBA")):
        for name in FORMATS:
            target = io.BytesIO()
            (picture.convert("RGB") if name == "JPEG" else picture).save(target, name)
            read_codes(target.getvalue())
    document = pikepdf.new()
    page = document.add_blank_page()
    page.obj.Contents = document.make_stream(b"BT /F1 1 Tf (warm) Tj ET")
    target = io.BytesIO()
    document.save(target)
    read_pdf(target.getvalue())
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("content.xml", "<text:p>warm</text:p>")
    read_word(target.getvalue())
    read_rtf(b"{\\rtf1 warm}")
    read_page("<p style='color:red'>warm")
