"""Content on its way in: in memory up to a threshold, beyond it in a file that is written as the bytes arrive.

The reception writes it on the event loop; the writer thread seals it (file synced, checksum known) before the
commit that makes it part of a message. Until that commit it is nobody's: `discard`, or the next start, removes it.
"""

import zlib

from gatepost.model.ids import format_queue_id, parse_queue_id
from gatepost.spool.files import FileLayer
from gatepost.spool.interface import ContentCorrupt, ContentRef, SpoolError

DEFAULT_THRESHOLD = 128 * 1024
"""Larger content costs less as a file of its own than as pages that pass through the write-ahead log (ADR 0001)."""


def read_content_file(files: FileLayer, path: str, crc: int) -> bytes:
    """Return the bytes of a content file; `ContentCorrupt` when they are not those accepted, else SpoolError."""
    try:
        data = files.read(path)
    except FileNotFoundError as error:
        raise ContentCorrupt(f"the content file {path} is missing") from error
    except OSError as error:
        raise SpoolError(f"the content file {path} cannot be read: {error.strerror}") from error
    if zlib.crc32(data) != crc:
        raise ContentCorrupt(f"the content file {path} does not have the checksum it was accepted with")
    return data


def content_path(directory: str, content_id: int) -> str:
    """Return the path of a content file below the content directory of a shard."""
    return f"{directory}/{format_queue_id(content_id)}"


def parse_content_name(name: str) -> int | None:
    """Return the content id of a file name, None when the file is not one of ours."""
    try:
        return parse_queue_id(name)
    except ValueError:
        return None


class Staged:
    """Implements `StagedContent`. One owner at a time: the loop until `accept`, then the writer thread."""

    def __init__(self, content_id: int, directory: str, threshold: int, files: FileLayer) -> None:
        self.id = content_id
        self.size = 0
        self._threshold = threshold
        self._files = files
        self._path = content_path(directory, content_id)
        self._chunks: list[bytes] = []
        self._descriptor = -1
        self._in_file = False
        self._sealed = False
        self._kept = False
        self._crc = 0
        self._spoiled: OSError | None = None

    @property
    def ref(self) -> ContentRef:
        """Where the content lies once accepted; final when everything has been written."""
        return ContentRef(self.id, self.size, self._in_file)

    def write(self, chunk: bytes) -> None:
        """Add received bytes. OSError when the disk refuses; the content can then only be discarded."""
        if self._in_file:
            self._files.write(self._descriptor, chunk)
            self._crc = zlib.crc32(chunk, self._crc)
            self.size += len(chunk)
            return
        self._chunks.append(chunk)
        self.size += len(chunk)
        if self.size > self._threshold:
            self._descriptor = self._files.create(self._path)
            self._in_file = True
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._files.write(self._descriptor, data)
            self._crc = zlib.crc32(data)

    def read(self) -> bytes:
        """Return everything written so far."""
        if self._in_file:
            return self._files.read(self._path)
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0] if self._chunks else b""

    def seal(self) -> bool:
        """Make a content file durable but for its name; return whether the directory has to be synced for it.

        OSError when the disk refuses, and then always. Harmless when repeated; not on the event loop.
        """
        if not self._in_file:
            return False
        if self._spoiled is not None:
            raise self._spoiled
        if not self._sealed:
            try:
                self._files.sync(self._descriptor)
            except OSError as error:
                # A second fsync may succeed without having written anything: this content is never tried again.
                self._spoiled = error
                raise
            self._files.close(self._descriptor)
            self._descriptor = -1
            self._sealed = True
        return True

    def row(self) -> tuple[int, int, bytes | None]:
        """Return (id, checksum, bytes or None when in a file) for the content table."""
        if self._in_file:
            return self.id, self._crc, None
        data = self.read()
        return self.id, zlib.crc32(data), data

    def keep(self) -> None:
        """Make `discard` harmless after the commit: the content belongs to a message now, and can still be read."""
        self._kept = True

    def discard(self) -> None:
        """Forget it; leaves nothing behind. Harmless when repeated or after the commit."""
        if self._kept:
            return
        self._chunks.clear()
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1
        if self._in_file:
            self._files.unlink(self._path)
