"""Codes in pictures: `read_codes` gives the texts of QR codes. Called by `parts` for pictures of a message.

Large pictures are made smaller first, for a code that people photograph with a telephone is large in its picture.
"""

from typing import Final

import zxingcpp

from gatepost.antispam.extract.grey import FORMATS, PIXELS_LIMIT, read_grey

__all__ = ["FORMATS", "PIXELS_LIMIT", "read_codes"]

SIDE: Final = 900
"""Pixels to which the longer side is made smaller."""
LEAST: Final = 40
"""Pixels of the shorter side of a picture that may hold a code: the smallest has 21 modules and its margin."""
CODES_LIMIT: Final = 10
TEXT_LIMIT: Final = 2_000
"""Characters of one code: a few hundred are what a telephone can read."""
_QR: Final = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode])


def read_codes(data: bytes) -> list[str]:
    """Return the texts of the QR codes in a picture, none when it cannot be read."""
    try:
        grey = read_grey(data, LEAST, SIDE)
        found = [] if grey is None else zxingcpp.read_barcodes(grey, formats=_QR, try_downscale=False)
    except Exception:  # noqa: BLE001 - Pillow tells of damaged pictures in a dozen ways
        return []
    return [code.text[:TEXT_LIMIT] for code in found[:CODES_LIMIT] if code.valid and code.text]
