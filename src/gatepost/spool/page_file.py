"""A SQLite database read page by page, without its trees: a damaged page costs what is on it and nothing behind it.

The format: https://sqlite.org/fileformat2.html. Called by `salvage`. Every page is in a tree, in a row's overflow, or
free; pages that are free still hold rows that were deleted, so these are left out. Where the list of free pages is
damaged itself, a page that no tree leads to is in doubt (`Page.sure`). Nothing is written and nothing is raised for
what a page holds: what cannot be right is no row.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatepost.spool.write_ahead_log import Log, read_log

Value = int | float | str | bytes | None
Values = tuple[Value, ...]

_LEAF_OF_TABLE, _LEAF_OF_INDEX, _INSIDE_TABLE, _INSIDE_INDEX = 0x0D, 0x0A, 0x05, 0x02
_WITH_ROWS = frozenset({_LEAF_OF_TABLE, _LEAF_OF_INDEX, _INSIDE_INDEX})
_MAGIC = b"SQLite format 3\0"
_FIRST_HEADER = 100
_COLUMNS = 64
"""Values in a row, at most: none of our tables has a third of them."""
_TABLE_COLUMNS = 5
"""Of the list of tables: the fourth is the page at which a table begins."""


class Page(msgspec.Struct):
    """The rows of one page."""

    of_table: bool
    """Of a table; else of an index or a table without row numbers."""
    sure: bool
    """False: the page may be one that was given up."""
    rows: list[tuple[int, Values]]
    """Row number (0 in an index) and values."""


class PageFile:
    """The pages of a database and its log, as of the last commit."""

    def __init__(self, database: Path, log: Path, page_bytes: int) -> None:
        """Open for reading; `page_bytes` holds where the file does not say. OSError: it cannot be read."""
        with database.open("rb") as file:
            size = file.seek(0, 2)
            self._raw: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if size else b""
        self.page_bytes = _page_bytes(self._raw[:_FIRST_HEADER]) or page_bytes
        self._log_raw = log.read_bytes() if log.exists() else b""
        self.log: Log = read_log(self._log_raw, self.page_bytes)
        self.count = self.log.pages or len(self._raw) // self.page_bytes
        first = self._page(1)
        self.header = first[:_FIRST_HEADER] if first.startswith(_MAGIC) else b""
        self.version = int.from_bytes(self.header[60:64], "big")
        """`user_version`; 0 when it cannot be read."""
        self._usable = self.page_bytes - (self.header[20] if self.header else 0)
        self._free, whole = self._find_free()
        self._reached: frozenset[int] | None = None if whole and not self.log.unknown else self._reach()

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self._raw, mmap.mmap):
            self._raw.close()

    def pages(self) -> Iterator[Page]:
        """Yield all pages with rows that are in use or may be, those that surely are first."""
        for doubtful in (False, True) if self._reached is not None else (False,):
            for number in range(2, self.count + 1):
                sure = self._is_sure(number)
                if sure is None or sure == doubtful:
                    continue
                if rows := list(self._rows(number)):
                    yield Page(self._page(number)[0] == _LEAF_OF_TABLE, sure, rows)

    def _is_sure(self, number: int) -> bool | None:
        """Return whether a page is in use for sure; None: it is free."""
        if self._reached is not None and number in self._reached:
            return True
        return None if number in self._free else self._reached is None

    def _page(self, number: int) -> bytes:
        at = self.log.frames.get(number)
        if at is not None:
            return self._log_raw[at : at + self.page_bytes]
        page = self._raw[(number - 1) * self.page_bytes : number * self.page_bytes]
        return page if len(page) == self.page_bytes else b""

    def _find_free(self) -> tuple[set[int], bool]:
        """Return the pages on the list of free ones, and whether that is all of the list."""
        if not self.header:
            return set(), False
        trunk, count = struct.unpack_from(">2I", self.header, 32)
        free: set[int] = set()
        while trunk and 1 < trunk <= self.count and trunk not in free:
            free.add(trunk)
            page = self._page(trunk)
            if not page:
                break
            trunk, leaves = struct.unpack_from(">2I", page)
            if leaves > self._usable // 4 - 2:
                break
            free.update(struct.unpack_from(f">{leaves}I", page, 8))
        return free, len(free) == count and not trunk

    def _reach(self) -> frozenset[int]:
        """Return the pages that the trees lead to."""
        reached = self._spread({1})
        tables = [row for number in reached for _, row in self._rows(number) if len(row) == _TABLE_COLUMNS]
        return frozenset(reached | self._spread({root for row in tables if isinstance(root := row[3], int)}))

    def _spread(self, level: set[int]) -> set[int]:
        """Return these pages and all below them."""
        reached: set[int] = set()
        while level := level - reached:
            reached |= level
            level = {child for number in level for child in self._children(number)}
        return reached

    def _children(self, number: int) -> Iterator[int]:
        page, start = self._page(number), _start(number)
        if not page or page[start] not in {_INSIDE_INDEX, _INSIDE_TABLE}:
            return
        yield int.from_bytes(page[start + 8 : start + 12], "big")
        for at in _cells(page, start, 12):
            yield int.from_bytes(page[at : at + 4], "big")

    def _rows(self, number: int) -> Iterator[tuple[int, Values]]:
        """Yield what can be a row of a page: its number (0 in an index) and values."""
        page, start = self._page(number), _start(number)
        if not page or (kind := page[start]) not in _WITH_ROWS:
            return
        for cell in _cells(page, start, 12 if kind == _INSIDE_INDEX else 8):
            try:
                at = cell + 4 if kind == _INSIDE_INDEX else cell
                size, at = _varint(page, at)
                row = 0
                if kind == _LEAF_OF_TABLE:
                    row, at = _varint(page, at)
                values = _values(self._payload(page, at, size, kind))
            except (ValueError, IndexError, struct.error):  # UnicodeDecodeError is a ValueError
                continue
            yield row, values

    def _payload(self, page: bytes, at: int, size: int, kind: int) -> bytes:
        """Return the bytes of a row, with those on pages of their own."""
        usable = self._usable
        most = usable - 35 if kind == _LEAF_OF_TABLE else (usable - 12) * 64 // 255 - 23
        if size > self.count * usable:
            raise ValueError("longer than the file")
        if size <= most:
            payload = page[at : at + size]
        else:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (size - least) % (usable - 4)
            local = local if local <= most else least
            payload = self._chain(page, at, local, size)
        if len(payload) != size:
            raise ValueError("cut off")
        return payload

    def _chain(self, page: bytes, at: int, local: int, size: int) -> bytes:
        parts, left = [page[at : at + local]], size - local
        number = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            overflow = self._page(number) if 1 < number <= self.count else b""
            if not overflow:
                raise ValueError("its chain breaks off")
            part = overflow[4 : 4 + min(left, self._usable - 4)]
            parts.append(part)
            left -= len(part)
            number = int.from_bytes(overflow[:4], "big")
        return b"".join(parts)


def _page_bytes(header: bytes) -> int:
    if not header.startswith(_MAGIC):
        return 0
    size = int.from_bytes(header[16:18], "big")
    size = 65536 if size == 1 else size
    return size if 512 <= size <= 65536 and size & (size - 1) == 0 else 0


def _start(number: int) -> int:
    """Return where a page's own header begins."""
    return _FIRST_HEADER if number == 1 else 0


def _cells(page: bytes, start: int, header: int) -> tuple[int, ...]:
    count = min(int.from_bytes(page[start + 3 : start + 5], "big"), (len(page) - start - header) // 2)
    return struct.unpack_from(f">{count}H", page, start + header)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a signed number of up to nine bytes, and where it ends."""
    value = 0
    for end in range(at, at + 8):
        byte = data[end]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, end + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >= 1 << 63 else value, at + 9


_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)


def _values(payload: bytes) -> Values:
    """Return the values of a record; ValueError, IndexError, struct.error: it is none."""
    end, at = _varint(payload, 0)
    types = []
    while at < end:
        kind, at = _varint(payload, at)
        types.append(kind)
    if at != end or len(types) > _COLUMNS:
        raise ValueError("no record")
    values: list[Value] = []
    for kind in types:
        length = _INTEGER_BYTES[kind] if 0 <= kind <= 6 else 8 if kind == 7 else max(0, (kind - 12) // 2)
        raw = payload[at : at + length]
        if len(raw) != length or kind in {10, 11} or kind < 0:
            raise ValueError("no record")
        at += length
        if kind == 0:
            values.append(None)
        elif kind <= 6:
            values.append(int.from_bytes(raw, "big", signed=True))
        elif kind == 7:
            values.append(struct.unpack(">d", raw)[0])
        elif kind <= 9:
            values.append(kind - 8)
        else:
            values.append(raw.decode() if kind % 2 else raw)
    if at != len(payload):
        raise ValueError("no record")
    return tuple(values)
