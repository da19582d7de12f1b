"""Known images compiled: `ImageBase`, which finds the one a picture is a copy of."""

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np

from gatepost.antispam.images.looks import WINDOWS, WORDS, Bits, build_looks

FORMAT: Final = 1
IMAGES_LIMIT: Final = 20_000
"""Known images: a look-up compares with all of them, 5 ms at this number."""
NAME_LIMIT: Final = 100
UNLIKE_LIMIT: Final = 0.4
"""Differing bits, as a share of the bits set in the one that has more: chance pictures differ in 1.0 of them, copies in
0.1 to 0.3."""


class _Row(msgspec.Struct, frozen=True, array_like=True):
    name: str
    category: str
    windows: bytes
    """Bits of the windows, 64 bytes each."""


class _Compiled(msgspec.Struct, frozen=True):
    format: int
    rows: list[_Row]


class KnownImage(msgspec.Struct, frozen=True):
    """An image and the bits of its windows."""

    name: str
    category: str
    windows: list[Bits]


class Resemblance(msgspec.Struct, frozen=True):
    """A known image that a picture looks like."""

    name: str
    category: str
    unlike: float
    """0 for the same, `UNLIKE_LIMIT` at most."""


def read_image(name: str, category: str, data: bytes) -> KnownImage:
    """Return a picture as a known image. ValueError: it cannot be one."""
    windows = build_looks(data, WINDOWS)
    if not windows:
        raise ValueError(f"{name}: no picture that can be known again: unreadable, too small, too large or too plain")
    return KnownImage(name[:NAME_LIMIT], category, windows)


def compile_images(images: Iterable[KnownImage]) -> bytes:
    """Return images in the form of a `.pictures` file."""
    rows = [_Row(image.name, image.category, b"".join(each.tobytes() for each in image.windows)) for image in images]
    return msgspec.msgpack.encode(_Compiled(FORMAT, rows))


def parse_images(path: str, data: bytes) -> list[KnownImage]:
    """Return the images of a compiled file. ValueError."""
    try:
        compiled = msgspec.msgpack.decode(data, type=_Compiled)
    except ValueError as error:  # DecodeError is one
        raise ValueError(f"{path}: no compiled images: {error}") from None
    if compiled.format != FORMAT:
        raise ValueError(f"{path}: format {compiled.format}; this version reads {FORMAT}")
    found = []
    for row in compiled.rows:
        if not row.windows or len(row.windows) % (WORDS * 8):
            raise ValueError(f"{path}: {row.name}: {len(row.windows)} bytes are no windows")
        found.append(KnownImage(row.name, row.category, list(np.frombuffer(row.windows, np.uint64).reshape(-1, WORDS))))
    return found


class ImageBase:
    """Known images ready for look-ups."""

    def __init__(self, images: Iterable[KnownImage]) -> None:
        """ValueError: too many."""
        known = list(images)
        if len(known) > IMAGES_LIMIT:
            raise ValueError(f"{len(known)} images; {IMAGES_LIMIT} at most")
        self._names = [(image.name, image.category) for image in known]
        self._owners = np.repeat(np.arange(len(known)), [len(image.windows) for image in known])
        windows = [window for image in known for window in image.windows]
        self._windows = np.array(windows, dtype=np.uint64).reshape(-1, WORDS)
        self._ones = np.bitwise_count(self._windows).sum(axis=1).astype(np.int32)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, looks: Iterable[Bits]) -> Resemblance | None:
        """Return the known image that one of these windows is likest to, None when none is like enough."""
        best: Resemblance | None = None
        if not self._names:
            return None
        for bits in looks:
            ones = np.maximum(self._ones, np.int32(np.bitwise_count(bits).sum()))
            unlike = np.bitwise_count(self._windows ^ bits).sum(axis=1) / ones
            place = int(unlike.argmin())
            share = float(unlike[place])
            if share <= UNLIKE_LIMIT and (best is None or share < best.unlike):
                best = Resemblance(*self._names[int(self._owners[place])], share)
        return best
