"""Pictures of strangers: `may_decode` tells whether one is sane enough to be decoded at all. Pure.

Called by whoever decodes pictures (`grey`, `images.looks`), when Pillow has read the head of the file and nothing else.
A few kilobytes can ask for minutes of work and for all memory of a filter: by their size, and in JPEG by scans, each of
which goes over the whole picture once more.
"""

from typing import Final

from PIL import Image

SCANS_LIMIT: Final = 50
"""Scans of a JPEG file: progressive ones have about ten; a scan of nothing takes a few dozen bytes."""
PIXELS_LIMIT: Final = 9_000_000
"""Pixels of a picture that cannot be decoded small, which JPEG can: a screen of the largest kind has 8.3 million."""
_SCAN: Final = b"\xff\xda"
_JPEG: Final = ("JPEG", "MPO")
"""MPO: several JPEG pictures in one file, as cameras with two lenses write it."""


def may_decode(picture: Image.Image, data: bytes, pixels: int) -> bool:
    """Tell whether a picture that was opened, not loaded, may be decoded; `pixels`: as many as the caller bears."""
    width, height = picture.size
    if picture.format not in _JPEG:
        return width * height <= min(pixels, PIXELS_LIMIT)
    # In coded data 0xFF is never followed by 0xDA; a small picture inside for previews has a scan or two of its own.
    return width * height <= pixels and data.count(_SCAN) <= SCANS_LIMIT
