"""A table of keys of fixed size: the newest and most used are kept. Used by `relay.clean_cache` only. Pure.

Rows of `WAYS` keys, the row given by the key itself; within a row a key that is used or added goes to the front and the
last one falls out. So it never takes more than 32 bytes a key, and can be written as it is.
"""

import hashlib
import mmap
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final

KEY_SIZE: Final = 32
WAYS: Final = 16
"""Keys of a row: enough that rows fill evenly, few enough to be searched at once."""
ROWS: Final = 12_500
"""Rows: 200,000 keys, 6.4 MB when all of them are in use."""
_ROW_SIZE: Final = WAYS * KEY_SIZE
_MARK: Final = b"GPclean1"
_HEADER: Final = struct.Struct(">8sII32s")
_EMPTY: Final = bytes(KEY_SIZE)


class Damaged(ValueError):  # noqa: N818 - what the file is
    """The stored form is not one, or not whole."""


class CleanTable:
    """Keys, each of `KEY_SIZE` bytes, evenly distributed (digests)."""

    def __init__(self, rows: int = ROWS) -> None:
        self._rows = rows
        # Pages nobody has written to take no memory: with little mail, most of them.
        self._data = mmap.mmap(-1, rows * _ROW_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def known(self, keys: Sequence[bytes]) -> bytes:
        """Return a byte for each key, 1 for those in the table; they count as used."""
        return bytes(map(self._use, keys))

    def add(self, keys: Iterable[bytes]) -> None:
        """Put keys into the table."""
        data = self._data
        for key in keys:
            if not self._use(key) and key != _EMPTY:
                start = self._row_of(key)
                end = start + _ROW_SIZE
                data[start:end] = key + data[start : end - KEY_SIZE]

    def store(self) -> Callable[[], bytes]:
        """Return what makes the stored form of the table as it is now (mark, measures and digest, then the keys): on
        any thread, for the digest takes tens of milliseconds.
        """
        data = bytes(self._data)
        return lambda: _HEADER.pack(_MARK, self._rows, WAYS, hashlib.sha256(data).digest()) + data

    def load(self, stored: bytes) -> None:
        """Take over what `store` returned. Damaged; then nothing has changed."""
        if len(stored) < _HEADER.size:
            raise Damaged("it is too short")
        mark, rows, ways, digest = _HEADER.unpack_from(stored)
        data = stored[_HEADER.size :]
        if (mark, rows, ways) != (_MARK, self._rows, WAYS) or len(data) != len(self._data):
            raise Damaged("it is of another form or size")
        if hashlib.sha256(data).digest() != digest:
            raise Damaged("its digest does not fit")
        own = self._data
        for start in range(0, len(data), mmap.PAGESIZE):
            page = data[start : start + mmap.PAGESIZE]
            if own[start : start + mmap.PAGESIZE] != page:
                own[start : start + mmap.PAGESIZE] = page

    def _row_of(self, key: bytes) -> int:
        return int.from_bytes(key[:4], "big") % self._rows * _ROW_SIZE

    def _use(self, key: bytes) -> bool:
        data = self._data
        start = self._row_of(key)
        at = data.find(key, start, start + _ROW_SIZE)
        if at < 0 or (at - start) % KEY_SIZE or key == _EMPTY:
            return False
        if at > start:
            data[start : at + KEY_SIZE] = key + data[start:at]
        return True
