"""Pictures of strangers as the check of images decodes them."""

import functools
import io
from typing import Final

from PIL import Image, ImageDraw

from gatepost.antispam.images.looks import FORMATS, PLAIN_WINDOWS, WINDOWS, build_looks
from gatepost.antispam.images.looks import WORDS as BITS_WORDS

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 4_000
WORDS: Final = (b"GIF89a", b"IHDR", b"IDAT", b"acTL", b"\xff\xd8", b"RIFF", b"VP8L", b"BM")


def execute(data: bytes) -> None:
    """Whatever it is, there are looks of it or none."""
    for windows in (PLAIN_WINDOWS, WINDOWS[:2]):
        for bits in build_looks(data, windows):
            assert bits.shape == (BITS_WORDS,)


@functools.cache
def _picture() -> Image.Image:
    picture = Image.new("L", (64, 56), 255)
    pen = ImageDraw.Draw(picture)
    for number in range(12):
        pen.rectangle((number * 5, number * 31 % 50, number * 5 + 6, number * 31 % 50 + 9), number * 20)
    return picture


def seeds() -> list[bytes]:
    """Return a small picture in each format, and an animation."""
    found = []
    for form in FORMATS:
        stream = io.BytesIO()
        _picture().save(stream, form)
        found.append(stream.getvalue())
    stream = io.BytesIO()
    _picture().save(stream, "GIF", save_all=True, append_images=[_picture().rotate(180)])
    return [*found, stream.getvalue()]
