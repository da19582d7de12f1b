"""SQLite's write-ahead log, read without SQLite, which takes everything behind a damaged frame for never written.

The format: https://sqlite.org/fileformat2.html#the_write_ahead_log. A frame's checksum goes on from that of the frame
before it, and that one stands in the log: so frames behind a damaged one can be proven, too. `synchronous=FULL` syncs
each commit before the next begins. Hence a frame that is not whole, with a further proven commit behind the end of its
own, is damage; without one it is what a power failure leaves of a commit that was never confirmed, and is left out.
Called by `database` before a shard is opened, and by `page_file`.
"""

import struct
import sys
from array import array
from collections.abc import Iterator

import msgspec

_HEADER_BYTES, _FRAME_BYTES = 32, 24
_LITTLE, _BIG = 0x377F0682, 0x377F0683
_FRAME = struct.Struct(">6I")

Sums = tuple[int, int]


class Log(msgspec.Struct, kw_only=True):
    """What a log adds to its database."""

    frames: dict[int, int] = {}
    """Offset in the log of the newest committed image of each page."""
    pages: int = 0
    """Pages of the database after the last commit; 0: the log says nothing."""
    damaged_at: int = -1
    """Offset of the first frame (0: of the header) that is damaged; -1: none."""
    behind: int = 0
    """Commits that SQLite would leave out for it."""
    unknown: int = 0
    """Damaged frames of which not even the page can be told."""


class _Frame(msgspec.Struct):
    at: int
    page: int
    size: int
    """Pages of the database, in the last frame of a commit; else 0."""
    salts: tuple[int, int]
    sums: Sums
    proven: bool = False


def read_log(raw: bytes, page_bytes: int) -> Log:
    """Read a log of pages of `page_bytes`; an empty or new one says nothing."""
    if len(raw) < _HEADER_BYTES + _FRAME_BYTES + page_bytes:
        return Log()
    magic, *words = struct.unpack_from(">8I", raw)  # version, page size, number, two salts, two sums
    known = magic in {_LITTLE, _BIG}
    order = {_LITTLE: "little", _BIG: "big"}.get(magic, sys.byteorder)
    start = _add(raw[: _HEADER_BYTES - 8], (0, 0), order)
    whole = known and start == (words[5], words[6])
    frames = list(_frames(raw, page_bytes, start if whole else (words[5], words[6]), order))
    salts = (words[3], words[4]) if whole else next((each.salts for each in frames if each.proven), None)
    if salts is None:  # not even two frames that belong together: no log at all
        return Log()
    for each in frames:
        each.proven = each.proven and each.salts == salts
    return _judge(frames, salts, header=whole)


def _frames(raw: bytes, page_bytes: int, sums: Sums, order: str) -> Iterator[_Frame]:
    for at in range(_HEADER_BYTES, len(raw) - _FRAME_BYTES - page_bytes + 1, _FRAME_BYTES + page_bytes):
        page, size, *rest = _FRAME.unpack_from(raw, at)
        frame = _Frame(at, page, size, (rest[0], rest[1]), (rest[2], rest[3]))
        body = raw[at : at + 8] + raw[at + _FRAME_BYTES : at + _FRAME_BYTES + page_bytes]
        frame.proven = bool(page) and _add(body, sums, order) == frame.sums
        sums = frame.sums
        yield frame


def _add(data: bytes, sums: Sums, order: str) -> Sums:
    """Return the checksum of `data`, a multiple of 8 bytes, behind what has the checksum `sums`."""
    words = array("I", data)
    if order != sys.byteorder:
        words.byteswap()
    first, second = sums
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second


def _judge(frames: list[_Frame], salts: tuple[int, int], *, header: bool) -> Log:
    """Find the end of what was committed, and what is damaged before it."""
    commits = [at for at, each in enumerate(frames) if each.size and each.salts == salts]
    proven = [at for at in commits if frames[at].proven]
    sound = next((at for at, each in enumerate(frames) if not each.proven), len(frames)) if header else 0
    torn = next((at for at in commits if at >= sound), len(frames))  # the end of the commit that is not whole
    log = Log()
    if proven and (not header or proven[-1] > torn):
        log.damaged_at = frames[sound].at if header else 0
        log.behind = sum(at >= sound for at in commits if at <= proven[-1])
        end = proven[-1]
    else:
        end = max((at for at in proven if at < sound), default=-1)
    log.pages = frames[end].size if end >= 0 else 0
    for each in frames[: end + 1]:
        if each.salts == salts and each.page <= log.pages:
            log.frames[each.page] = each.at + _FRAME_BYTES
        elif each.salts != salts:
            log.unknown += 1
    return log
