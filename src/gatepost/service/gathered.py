"""Content that a client of a door sends piece by piece: in memory while it is small, then in a temporary file.

Used by doors whose protocols stream. The file has no access for others and is gone when the content is closed; with the
process it is left to the system's cleaning of its directory for temporary files.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MEMORY_BYTES: Final = 1024 * 1024
"""Above these a content goes to a file: many clients at once must not fill the memory."""
READ_BYTES: Final = 64 * 1024


class Gathered:
    """One content, while it comes and until it is judged."""

    __slots__ = ("_data", "_descriptor", "_memory_bytes", "_path", "_prefix", "size")

    def __init__(self, prefix: bytes = b"", memory_bytes: int = MEMORY_BYTES) -> None:
        """`prefix` goes in front of what the client sends, for the judge alone."""
        self._data = bytearray(prefix)
        self._descriptor = -1
        self._memory_bytes = memory_bytes
        self._path = ""
        self._prefix = len(prefix)
        self.size = 0
        """Bytes the client has sent."""

    def add(self, data: bytes) -> None:
        """Take the next piece. OSError: the disk refuses."""
        self.size += len(data)
        if self._descriptor >= 0:
            self._write(data)
            return
        self._data += data
        if len(self._data) > self._memory_bytes:
            self.spill()

    @property
    def in_memory(self) -> bool:
        """Whether it is, so far."""
        return self._descriptor < 0

    def spill(self) -> None:
        """Have it in a file from now on. OSError: the disk refuses."""
        if self._descriptor < 0:
            self._descriptor, self._path = tempfile.mkstemp(prefix="gatepost-door-")
            data, self._data = bytes(self._data), bytearray()
            self._write(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    @property
    def content(self) -> bytes | Path:
        """All of it, as `Judge.judge` takes it."""
        return bytes(self._data) if self._descriptor < 0 else Path(self._path)

    def pieces(self) -> Iterator[bytes]:
        """Return what the client sent in pieces of at most READ_BYTES. OSError."""
        if self._descriptor < 0:
            for at in range(self._prefix, len(self._data), READ_BYTES):
                yield bytes(self._data[at : at + READ_BYTES])
            return
        at = self._prefix
        while data := os.pread(self._descriptor, READ_BYTES, at):
            yield data
            at += len(data)

    def close(self) -> None:
        """Forget it, and remove its file."""
        self._data = bytearray()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with contextlib.suppress(OSError):
                Path(self._path).unlink()
