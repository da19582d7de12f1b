"""A message in work: what the relay holds in memory between acceptance (or re-reading) and settlement.

The spool stays the truth; a `Work` may vanish at any line with the process.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence

import msgspec

from gatepost.mime.edit import apply_splices, check_splices
from gatepost.model.record import Inspected, Record
from gatepost.model.verdict import Splice
from gatepost.spool.interface import ContentCorrupt, ContentRef, Pending, Spool, SpoolError, Stored

CHUNK = 256 * 1024  # bytes read from a content file at once: large enough for the disk, small beside a socket buffer

READ_ATTEMPTS = 3
"""Reads of a message's content that must fail before it is set aside ..."""
READ_PAUSE_S = 1.0
"""... and the pause between them."""


class SevenBitForm(msgspec.Struct, frozen=True):
    """A message for servers that take 7 bits only."""

    content: bytes
    """With the edits of its disposition."""
    splices: tuple[Splice, ...]


class Work:
    """One stored message with its content at hand, if it is small and fresh."""

    __slots__ = (
        "_changes",
        "content",
        "digest",
        "domains",
        "durable",
        "inspected",
        "jobs",
        "path",
        "plain",
        "records",
        "seven_bit",
        "stored",
        "suspect",
    )

    def __init__(
        self,
        stored: Stored,
        content: bytes | None,
        path: str | None = None,
        *,
        durable: bool = False,
        suspect: bool = False,
        plain: bool = False,
    ) -> None:
        self.stored = stored
        self.content = content
        """Received bytes, or None: they are in `path`, or to be read from the spool."""
        self.path = path
        self.digest = ""
        """Of what is sent (`own_mark.digest_of`), when it is to be marked as released and that is known."""
        self.plain = plain
        """The content as received can be sent by DATA as it is (`smtp.server_events.DataEnd.plain`)."""
        self.durable = durable
        """The spool already holds it READY as `stored` says."""
        self.suspect = suspect
        """It was unsettled when a relay stopped uncleanly: its work is counted (strikes)."""
        self.domains: frozenset[str] = frozenset()
        """Destinations it counts for while in delivery."""
        self.records: list[Record] = []
        """Records of changes that go into the next commit about this message."""
        self.inspected: Inspected | None = None
        """What the inspection of it leaves on record, with its disposition."""
        self.jobs = 0
        """Delivery jobs of it under way."""
        self.seven_bit: SevenBitForm | None = None
        """How it goes to servers that take 7 bits only, once one of them was met."""
        self._changes: dict[int, Pending | None] = {}

    def tell_inspection(self) -> None:
        """Have the record of its inspection go into the next commit."""
        if self.inspected is not None:
            self.records.append(self.inspected)

    def change(self, tried: Sequence[Pending], waiting: Sequence[Pending]) -> None:
        """Note that these were tried and of them those in `waiting` wait again; `stored` follows with `fold`."""
        for pending in tried:
            self._changes[pending.recipient] = None
        for pending in waiting:
            self._changes[pending.recipient] = pending

    def fold(self) -> None:
        """Bring `stored` up to date with what was noted: all at once, for it takes time for every recipient."""
        changes = self._changes
        if changes:
            kept = [pending for pending in self.stored.pending if pending.recipient not in changes]
            waiting = [pending for pending in changes.values() if pending is not None]
            self.stored = msgspec.structs.replace(self.stored, pending=(*kept, *waiting), strikes=0)
            self._changes = {}


async def read_content(spool: Spool, ref: ContentRef) -> bytes:
    """Return content from the spool. A read that fails for the moment (no descriptor, a bus reset) is repeated.

    ContentCorrupt at once, SpoolError after `READ_ATTEMPTS`: then the message is one for an operator.
    """
    for _ in range(READ_ATTEMPTS - 1):
        try:
            return await spool.content(ref)
        except ContentCorrupt:
            raise
        except SpoolError:
            await asyncio.sleep(READ_PAUSE_S)
    return await spool.content(ref)


def edited_size(size: int, splices: Sequence[Splice]) -> int:
    """Return the size of a content of `size` bytes with its splices applied."""
    return size + sum(len(splice.data) - (splice.end - splice.start) for splice in splices)


def needs_utf8_header(work: Work) -> bool:
    """Tell whether a message that came with SMTPUTF8 needs it for its header, or for that of a part."""
    content = work.content
    if content is None:
        return True  # not in memory: it is not read for this
    if content.isascii():
        return False
    header, _, _ = content.partition(b"\r\n\r\n")
    return not header.isascii() or b"multipart/" in header.lower() or b"message/" in header.lower()


def content_chunks(
    content: bytes | None, path: str | None, size: int, prefix: bytes, splices: Sequence[Splice]
) -> Iterator[bytes]:
    """Yield what is to be sent: prefix, then the content with its splices applied, from memory or from its file.

    Untouched ranges are passed on as they were received. `SpliceError`: the splices do not fit; OSError: the file.
    """
    if content is None:
        yield prefix
        yield from _file_chunks(path or "", size, splices)
    elif splices:
        yield prefix
        yield from apply_splices(content, splices)
    else:
        yield prefix + content


def _file_chunks(path: str, size: int, splices: Sequence[Splice]) -> Iterator[bytes]:
    check_splices(splices, size)
    at = 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for splice in (*splices, Splice(size, size, b"")):
            while at < splice.start:
                piece = os.pread(fd, min(CHUNK, splice.start - at), at)
                if not piece:
                    raise OSError(f"content file {path} ends at {at}, {size} bytes were accepted")
                yield piece
                at += len(piece)
            if splice.data:
                yield splice.data
            at = splice.end
    finally:
        os.close(fd)
