"""How a picture looks, as bits: `build_looks`. Runs in the filter on what strangers send.

A window of the picture is made `GRID` squares wide and high, and each square says whether it is brighter than its
neighbour to the right and than the one below: that stays with noise, other sizes, other formats and other brightness.
Windows with the border cut off in several ways stand for cropped copies. A plain picture has no looks.

Promises: only formats that mail readers show, no picture of more than `PIXELS_LIMIT` pixels is decoded, large JPEG
files are decoded small; nothing is found in what cannot be read.
"""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gatepost.antispam.extract.opening import may_decode

Bits = NDArray[np.uint64]

GRID: Final = 16
WORDS: Final = GRID * GRID * 2 // 64
"""64-bit words of the bits of one window."""
PIXELS_LIMIT: Final = 16_000_000
"""Pixels of a picture that is decoded: 64 MB with transparency, far below a filter's memory."""
SIDE_LEAST: Final = 48
"""Pixels of the shorter side: smaller ones are icons."""
WORKING_SIDE: Final = 256
"""Pixels of the longer side that windows are cut from."""
FRAMES: Final = 3
"""Frames of an animation that are looked at: the message is in one of the first."""
STEP: Final = 4
"""Difference of brightness, of 255, that counts: noise of a flat ground does not."""
ONES_LEAST: Final = 48
"""Bits set in a window that says anything: a frame or a line of text has fewer."""
TURNS_LEAST: Final = 48
"""Times that bits change along their direction: a gradient is bright to dark all the way."""
FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_CUTS: Final = (0.0, 0.06, 0.12)


def _list_windows() -> tuple[tuple[float, float, float, float], ...]:
    """Return shares cut off left, top, right and below: both ways at once, then each side alone."""
    even = [(across, down, across, down) for across in _CUTS for down in _CUTS]
    sides = [tuple(cut if place == side else 0.0 for place in range(4)) for side in range(4) for cut in _CUTS[1:]]
    return (*even, *((left, top, right, below) for left, top, right, below in sides))


WINDOWS: Final = _list_windows()
"""Windows of a known picture: a copy looks like one of them."""
PLAIN_WINDOWS: Final = (WINDOWS[0], (0.03, 0.03, 0.03, 0.03))
"""Windows of a picture that is looked up."""


def build_looks(data: bytes, windows: tuple[tuple[float, float, float, float], ...]) -> list[Bits]:
    """Return the bits of these windows of a picture and of its first frames; none of a plain or unreadable one."""
    found: list[Bits] = []
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if min(picture.size) < SIDE_LEAST or not may_decode(picture, data, PIXELS_LIMIT):
                return []
            picture.draft("L", (WORKING_SIDE, WORKING_SIDE))
            for frame in range(min(FRAMES, getattr(picture, "n_frames", 1))):
                if frame:
                    picture.seek(frame)
                    if not may_decode(picture, data, PIXELS_LIMIT):  # a later frame may make it larger
                        break
                grey = _make_grey(picture)
                found += [bits for window in windows if (bits := _look(grey, window)) is not None]
    except Exception:  # noqa: BLE001 - Pillow tells of damaged pictures in a dozen ways
        return found
    return found


def _make_grey(picture: Image.Image) -> Image.Image:
    if picture.mode in {"P", "RGBA", "LA", "PA"}:
        rgba = picture.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")  # what is transparent is white to the reader
        ground.alpha_composite(rgba)
        grey = ground.convert("L")
    else:
        grey = picture.convert("L")
    grey.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    return grey


def _look(grey: Image.Image, window: tuple[float, float, float, float]) -> Bits | None:
    width, height = grey.size
    left, top, right, below = window
    box = (width * left, height * top, width * (1 - right), height * (1 - below))
    small = grey.resize((GRID + 1, GRID + 1), Image.Resampling.BOX, box)
    squares = np.asarray(small, dtype=np.int16)
    across = squares[:GRID, :GRID] > squares[:GRID, 1:] + STEP
    down = squares[:GRID, :GRID] > squares[1:, :GRID] + STEP
    turns = int((across[:, 1:] != across[:, :-1]).sum()) + int((down[1:] != down[:-1]).sum())
    bits = np.packbits(np.concatenate((across.ravel(), down.ravel()))).view(np.uint64)
    return bits if turns >= TURNS_LEAST and int(np.bitwise_count(bits).sum()) >= ONES_LEAST else None
