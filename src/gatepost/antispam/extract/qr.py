"""Codes in pictures: `read_codes` gives the texts of QR codes. Called by `parts` for pictures of a message.

The picture is decoded only when its format is one that mail readers show and its size is sane; large ones are made
smaller first, for a code that people photograph with a telephone is large in its picture.
"""

import io
from typing import Final

import zxingcpp
from PIL import Image

from gatepost.antispam.extract.opening import may_decode

PIXELS_LIMIT: Final = 25_000_000
"""Pixels of a picture that is decoded: that of a good camera. It takes 25 MB in grey."""
SIDE: Final = 900
"""Pixels to which the longer side is made smaller."""
LEAST: Final = 40
"""Pixels of the shorter side of a picture that may hold a code: the smallest has 21 modules and its margin."""
CODES_LIMIT: Final = 10
TEXT_LIMIT: Final = 2_000
"""Characters of one code: a few hundred are what a telephone can read."""
_QR: Final = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode])
FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
"""Those that mail readers show."""


def read_codes(data: bytes) -> list[str]:
    """Return the texts of the QR codes in a picture, none when it cannot be read."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if min(picture.size) < LEAST or not may_decode(picture, data, PIXELS_LIMIT):
                return []
            picture.draft("L", (SIDE, SIDE))
            if picture.mode in ("P", "RGBA", "LA", "PA"):
                # A transparent ground is white to the reader.
                rgba = picture.convert("RGBA")
                grey = Image.new("RGBA", rgba.size, "white")
                grey.alpha_composite(rgba)
                grey = grey.convert("L")
            else:
                grey = picture.convert("L")
        if max(grey.size) > SIDE:
            grey.thumbnail((SIDE, SIDE))
        found = zxingcpp.read_barcodes(grey, formats=_QR, try_downscale=False)
    except Exception:  # noqa: BLE001 - Pillow tells of damaged pictures in a dozen ways
        return []
    return [code.text[:TEXT_LIMIT] for code in found[:CODES_LIMIT] if code.valid and code.text]
