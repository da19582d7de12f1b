"""Words in pictures, read with Tesseract: `load_recogniser` makes a `Recogniser` in the filters' template, or none.

The view asks it for a message whose message is in its pictures (`extract.parts`). Promises: one thread; no file and no
network after loading; bounded in pictures, pixels and time; never raises for what a picture holds.
"""

import io
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from gatepost.antispam.extract.grey import read_grey
from gatepost.antispam.ocr.language_data import LIBRARY, find_data, find_lack, find_languages

PICTURES_LIMIT: Final = 3
"""Pictures of one message that are read, the largest first."""
PICTURE_S: Final = 1.5
"""For one picture: some forty lines. What was read until then counts."""
MESSAGE_S: Final = 3.0
"""After which no further picture of a message is begun."""
LEAST: Final = 24
"""Pixels of the shorter side of a picture that may hold words: a button has more."""
AREA_LEAST: Final = 10_000
"""Pixels of a picture that may hold a message: logos and icons have fewer."""
SIDE: Final = 2_400
PIXELS: Final = 1_800_000
"""Pixels that are looked at: a page of sixty lines with letters twice as large as on the screen."""
ENLARGED: Final = 2.0
"""Letters of the size of a screen are often read wrongly; twice as large they are not."""
EDGES_LIMIT: Final = 0.12
"""Share of neighbouring pixels of which one is dark and one is not. Text has half of it. Noise and patterns of a few
pixels have more: how their specks lie to each other takes the library seconds that it does not count."""
CONFIDENCE_LEAST: Final = 60.0
"""Percent, mean of the words of a picture: photographs, and other scripts, have less when they are read as words."""
TEXT_LIMIT: Final = 10_000
"""Characters of one picture."""
SAMPLE: Final = "A few words to be read"
_RESOLUTION: Final = 150
"""Dots an inch that are told, for without them the library guesses and says so."""


class Recogniser:
    """The library with its languages loaded; serves one process, and those forked from it."""

    def __init__(self, library: Any, directory: Path, clock: Callable[[], float], picture_s: float = PICTURE_S) -> None:
        """Load, and read once. `clock`: seconds that only rise. RuntimeError: the data cannot be read."""
        self._clock = clock
        self._picture_s = picture_s
        library.set_leptonica_log_level(library.LeptLogLevel.NONE)
        self._reader = library.PyTessBaseAPI(
            path=str(directory),
            lang="+".join(find_languages(directory)),
            psm=library.PSM.SINGLE_BLOCK,  # looking for columns takes longer than reading, and knows no deadline
            oem=library.OEM.LSTM_ONLY,
        )
        self.read([draw_sample()])

    def read(self, pictures: Sequence[bytes]) -> list[str]:
        """Return the lines of words in pictures, a text for each that has some."""
        end = self._clock() + MESSAGE_S
        largest = sorted(pictures, key=len, reverse=True)[:PICTURES_LIMIT]
        return [text for data in largest if self._clock() < end and (text := self._read(data))]

    def _read(self, data: bytes) -> str:
        try:
            canvas = _canvas(data)
            return "" if canvas is None else self._recognise(canvas)
        except Exception:  # noqa: BLE001 - Pillow tells of damaged pictures in a dozen ways
            return ""

    def _recognise(self, canvas: Image.Image) -> str:
        reader = self._reader
        width, height = canvas.size
        try:
            reader.SetImageBytes(canvas.tobytes(), width, height, 1, width)
            reader.SetSourceResolution(_RESOLUTION)
            reader.Recognize(int(self._picture_s * 1000))
            text: str = reader.GetUTF8Text()
            # Words that there was no time for are blank, come last and are said to be certain.
            certain = reader.AllWordConfidences()[: len(text.split())]
        finally:
            reader.Clear()
        if not certain or sum(certain) < CONFIDENCE_LEAST * len(certain):
            return ""
        lines = (" ".join(line.split()) for line in text[:TEXT_LIMIT].split("\n"))
        return "\n".join(line for line in lines if line)


def load_recogniser(directory: str, clock: Callable[[], float], picture_s: float = PICTURE_S) -> Recogniser | None:
    """Return a recogniser with the languages in `directory` ("": where Debian has them), or None when the library or
    the data is not there or of no use. `picture_s`: for one picture.
    """
    found = find_data(directory)
    if found is None or find_lack(directory):
        return None
    # Threads would be lost in a fork, and the library would start them with its first picture.
    os.environ["OMP_THREAD_LIMIT"] = "1"
    try:
        return Recogniser(import_module(LIBRARY), found, clock, picture_s)
    except (ImportError, RuntimeError):
        return None


def _canvas(data: bytes) -> Image.Image | None:
    """Return a picture of a size at which its words can be read; None: it has none, or would take too long."""
    grey = read_grey(data, LEAST, SIDE)
    if grey is None or grey.width * grey.height < AREA_LEAST:
        return None
    scale = min(ENLARGED, (PIXELS / (grey.width * grey.height)) ** 0.5)
    size = (max(1, int(grey.width * scale)), max(1, int(grey.height * scale)))
    grey = grey.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(grey)
    dark = pixels < (int(pixels.min()) + int(pixels.max())) // 2
    edges = max(np.mean(dark[:, 1:] != dark[:, :-1]), np.mean(dark[1:] != dark[:-1]))
    return grey if 0 < edges <= EDGES_LIMIT else None


def draw_sample() -> bytes:
    """Return a picture with a few words (`SAMPLE`), for the first reading."""
    picture = Image.new("L", (240, 60), "white")
    ImageDraw.Draw(picture).text((10, 20), SAMPLE, fill="black")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
