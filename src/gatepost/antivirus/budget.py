"""What unpacking may cost: one `Budget` per message, shared by everything that is opened in it.

Used by `unpack`, `zips` and `stage`. Every limit reached raises `OverBudget` with words for the administrator; the
object it happened in gets status `error`, because what was not unpacked was not scanned.
"""

import io
import time
import zlib

from gatepost.model.finding import ScanOptions

MEMBER_BYTES = 128 * 1024 * 1024
"""One unpacked object in memory: a filter has 512 MiB and may hold container, member and content at once."""
RATIO = 200
"""Bytes out per byte in. Text packs 20-fold, logs 100-fold; bombs start near 1000 (the maximum of deflate is 1032)."""
RATIO_FREE_BYTES = 16 * 1024 * 1024
"""Below this a high ratio is harmless and ordinary (blank pictures, empty tables)."""
INPUT_CHUNK = 256 * 1024
"""Bytes given to a decompressor at once: bounds what it copies when a stream ends early."""


class OverBudget(Exception):  # noqa: N818 - a limit of ours, not an error of the archive
    """Unpacking would cost more than the message may. The text is the evidence."""


class Damaged(Exception):  # noqa: N818 - what the data is
    """Packed data that cannot be read to its end. The text is the evidence."""


class Budget:
    """What is left for one message."""

    def __init__(self, options: ScanOptions, deadline: float) -> None:
        self.depth = options.archive_depth
        self._members_limit = options.archive_members
        self._members = 0
        self._bytes_limit = options.unpacked_bytes
        self._bytes_left = options.unpacked_bytes
        self._deadline = deadline

    def take_member(self) -> None:
        """Count one archive member."""
        self._members += 1
        if self._members > self._members_limit:
            raise OverBudget(f"more than {self._members_limit} archive members")
        if time.monotonic() >= self._deadline:
            raise OverBudget("unpacking did not end in time")

    def allowance(self, packed: int) -> int:
        """Return how many bytes `packed` bytes may become."""
        return min(MEMBER_BYTES, self._bytes_left, max(RATIO_FREE_BYTES, RATIO * packed))

    def take_bytes(self, count: int) -> None:
        """Count unpacked bytes."""
        self._bytes_left -= count

    def refuse(self, packed: int) -> OverBudget:
        """Return the error for `packed` bytes that became more than `allowance` says, with the limit that was met."""
        allowed = self.allowance(packed)
        if allowed == self._bytes_left:
            return OverBudget(f"more than {self._bytes_limit} unpacked bytes in one message")
        if allowed == MEMBER_BYTES:
            return OverBudget(f"one unpacked object over {MEMBER_BYTES} bytes")
        return OverBudget(f"unpacks more than {RATIO}-fold and over {RATIO_FREE_BYTES} bytes")


def inflate(raw: memoryview, wbits: int, budget: Budget) -> tuple[bytes, int, bool]:
    """Inflate one stream: return (bytes, consumed input, whether it ended). OverBudget; Damaged: no deflate data.

    Damage in the middle gives what came before it, as a stream that did not end: that much can be scanned.
    """
    allowed = budget.allowance(len(raw))
    stream = zlib.decompressobj(wbits)
    out = io.BytesIO()  # grows in place: a list of pieces would be held twice while it is joined
    size = position = 0
    while position < len(raw) and not stream.eof:
        chunk = raw[position : position + INPUT_CHUNK]
        try:
            piece = stream.decompress(chunk, allowed - size + 1)
        except zlib.error:
            break
        size += out.write(piece)
        if size > allowed:
            raise budget.refuse(len(raw))
        position += len(chunk) - len(stream.unused_data)
    if not position:
        raise Damaged("packed data is damaged from its first byte")
    budget.take_bytes(size)
    return out.getvalue(), position, stream.eof
