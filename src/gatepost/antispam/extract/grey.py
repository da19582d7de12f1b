"""Pictures of a message as grey ones: `read_grey`, for what looks for codes and for words in them.

A picture is decoded only when its format is one that mail readers show and its size is sane; large ones are made
smaller first.
"""

import io
from typing import Final

from PIL import Image

from gatepost.antispam.extract.opening import may_decode

PIXELS_LIMIT: Final = 25_000_000
"""Pixels of a picture that is decoded: that of a good camera. It takes 25 MB in grey."""
FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
"""Those that mail readers show."""


def read_grey(data: bytes, least: int, side: int) -> Image.Image | None:
    """Return a picture in grey on white, its longer side at most `side` pixels; None when its shorter side has less
    than `least`, or it would take too long. Raises what Pillow does for damaged
    pictures, a dozen kinds of errors.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        if min(picture.size) < least or not may_decode(picture, data, PIXELS_LIMIT):
            return None
        picture.draft("L", (side, side))
        if picture.mode in ("P", "RGBA", "LA", "PA"):
            # A transparent ground is white to the reader.
            rgba = picture.convert("RGBA")
            ground = Image.new("RGBA", rgba.size, "white")
            ground.alpha_composite(rgba)
            grey = ground.convert("L")
        else:
            grey = picture.convert("L")
    if max(grey.size) > side:
        grey.thumbnail((side, side))
    return grey
