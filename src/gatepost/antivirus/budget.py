"""What unpacking may cost: one `Budget` per message, shared by everything that is opened in it.

Used by the stage and by every opener. Every limit reached raises `OverBudget` with words for the administrator; the
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
KEY_ROUNDS = 8 * 1024 * 1024
"""Rounds of hashing spent on passwords in one message, some three seconds: 16 keys of 7z, 256 of rar, 2,000 of zip."""
OUTPUT_CHUNK = 1024 * 1024
"""Bytes taken from a decompressor at once: it may hold as much twice, whatever the member holds."""


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
        self._rounds_left = KEY_ROUNDS

    def take_member(self) -> None:
        """Count one archive member."""
        self._members += 1
        if self._members > self._members_limit:
            raise OverBudget(f"more than {self._members_limit} archive members")
        self.take_time()

    def take_time(self) -> None:
        """Look at the clock: whoever computes for long does it every few milliseconds."""
        if time.monotonic() >= self._deadline:
            raise OverBudget("unpacking did not end in time")

    def may_derive(self, rounds: int) -> bool:
        """Count the rounds of making a key from a password, and tell whether that may still be done."""
        self._rounds_left -= rounds
        return self._rounds_left >= 0

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


class Content:
    """An object's bytes in the making, within what `packed` bytes may become; `given` of that are spent already."""

    __slots__ = ("_allowed", "_budget", "_out", "_packed")

    def __init__(self, budget: Budget, packed: int, given: int = 0) -> None:
        self._budget = budget
        self._packed = packed
        self._allowed = min(budget.allowance(packed), max(RATIO_FREE_BYTES, RATIO * packed) - given)
        self._out = io.BytesIO()  # grows in place, and gives its bytes without a copy

    def write(self, block: bytes) -> None:
        """Add a block. OverBudget: it would be too much."""
        self.write_at(self._out.tell(), block)

    def write_at(self, offset: int, block: bytes) -> None:
        """Put a block at `offset`; what was left out before it are zeros. OverBudget: it would be too much."""
        out = self._out
        if offset + len(block) > self._allowed:
            refusal = self._budget.refuse(self._packed)
            self._budget.take_bytes(out.tell())  # what it cost to find out counts as well
            out.close()  # an exception keeps its frames alive, and they this
            raise refusal
        if offset != out.tell():
            out.seek(offset)
        out.write(block)

    def extend(self, size: int) -> None:
        """Fill up with zeros to `size` bytes, if there are fewer. OverBudget."""
        if size > self._out.tell():
            self.write_at(size - 1, b"\0")

    def is_empty(self) -> bool:
        """Tell whether nothing was written yet."""
        return self._out.tell() == 0

    def take(self) -> bytes:
        """Return the bytes, counted in the budget; the end."""
        data = self._out.getvalue()
        self._out.close()
        self._budget.take_bytes(len(data))
        return data


def inflate(raw: memoryview, wbits: int, budget: Budget) -> tuple[bytes, int, bool]:
    """Inflate one stream: return (bytes, consumed input, whether it ended). OverBudget; Damaged: no deflate data.

    Damage in the middle gives what came before it, as a stream that did not end: that much can be scanned.
    """
    content = Content(budget, len(raw))
    position, ended = inflate_into(content, raw, wbits)
    return content.take(), position, ended


def inflate_into(content: Content, raw: memoryview, wbits: int) -> tuple[int, bool]:
    """Inflate one stream to the end of `content`: return (consumed input, whether it ended). As `inflate`."""
    stream = zlib.decompressobj(wbits)
    position = 0
    packed: memoryview | bytes
    while position < len(raw) and not stream.eof:
        packed = raw[position : position + INPUT_CHUNK]
        position += len(packed)
        try:
            while packed and not stream.eof:
                content.write(stream.decompress(packed, OUTPUT_CHUNK))
                packed = stream.unconsumed_tail
        except zlib.error:
            if position <= INPUT_CHUNK and content.is_empty():
                raise Damaged("packed data is damaged from its first byte") from None
            return position, False
    return position - len(stream.unused_data), stream.eof
