"""Session limits that hold across relays exactly: one shared table, each relay its own column.

The master creates the table (a memory file, which also carries the counts of `relay.rates`) and gives it to every
relay; a relay changes only its own column, under a short POSIX lock that the kernel releases when the holder dies; the
master clears the column of a dead relay. Counts: open incoming sessions, open outgoing sessions, and both per address
(client or next hop).

Called by `relay.reception` and `relay.delivery`; makes no decision but "one more, or not".
"""

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct

from gatepost.model.ids import RELAY_LIMIT

SLOTS = 16_384
"""Addresses with open sessions at once; a power of two. Beyond it new addresses are refused (fail safe)."""
PROBES = 64
"""Slots looked at before the table counts as full for an address."""

_COLUMN = struct.Struct(f"<{RELAY_LIMIT}H")
_TOTALS = struct.Struct(f"<{RELAY_LIMIT}I")
_KEY = 8
_SLOT = _KEY + _COLUMN.size
_INCOMING_AT = 0
_OUTGOING_AT = _TOTALS.size
_SLOTS_AT = 2 * _TOTALS.size
RATES_AT = _SLOTS_AT + SLOTS * _SLOT
"""Where the counts of `relay.rates` begin: one memory file carries both tables."""
RATES_BYTES = 2 * 1024 * 1024
"""Memory is taken only as far as counts are kept."""
TABLE_BYTES = RATES_AT + RATES_BYTES
_EMPTY = bytes(_KEY)
_COUNT_LIMIT = 0xFFFF
_NO_LIMIT = 1 << 30


def create_table() -> int:
    """Return the file descriptor of a new, empty table (inheritable memory file)."""
    fd = os.memfd_create("gatepost-sessions")
    os.ftruncate(fd, TABLE_BYTES)
    return fd


def _key(kind: bytes, address: str) -> bytes:
    digest = hashlib.blake2b(kind + address.encode(), digest_size=_KEY).digest()
    return digest if digest != _EMPTY else b"\1" + digest[1:]


class TableLock(contextlib.AbstractContextManager[None]):
    """The lock of one table, held for the length of a `with`; the kernel takes it from a process that dies.

    `at`: a byte of the memory file that stands for the table.
    """

    def __init__(self, fd: int, at: int) -> None:
        self._fd = fd
        self._at = at

    def __enter__(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, self._at)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self._at)


spared_lock = contextlib.nullcontext()
"""Instead of it, where only one process uses the table."""


class SessionTable:
    """One process's view of the shared table. `column` is the relay's number (0…31)."""

    def __init__(self, fd: int, column: int, *, alone: bool = False) -> None:
        """`alone`: no other relay counts before `share`, so this one counts in memory of its own."""
        self._table_lock = TableLock(fd, _INCOMING_AT)
        self._column = column
        self._map = mmap.mmap(fd, TABLE_BYTES)
        self._counts: tuple[dict[str, int], dict[str, int]] | None = None
        """Outgoing and incoming sessions by address while this relay is alone: 1 µs instead of 12 for a session."""
        self._open = [0, 0]
        if alone and self.totals() == (0, 0):  # a relay that was dismissed may still be counted
            self._counts = ({}, {})

    def share(self) -> None:
        """From now on other relays count too: what was counted alone goes into the table."""
        counts, self._counts = self._counts, None
        if counts is not None:
            for incoming in (False, True):
                for address, count in counts[incoming].items():
                    for _ in range(count):
                        self.enter(address, incoming=incoming, total_limit=_NO_LIMIT, address_limit=_NO_LIMIT)

    def enter(self, address: str, *, incoming: bool, total_limit: int, address_limit: int) -> str:
        """Count one more session. Return "" when it fits, else the limit it would break: `total`, `address`."""
        if self._counts is not None:
            mine = self._counts[incoming]
            count = mine.get(address, 0)
            if self._open[incoming] >= total_limit:
                return "total"
            if count >= address_limit:
                return "address"
            mine[address] = count + 1
            self._open[incoming] += 1
            return ""
        total_at = _INCOMING_AT if incoming else _OUTGOING_AT
        key = _key(b"i" if incoming else b"o", address)
        with self._table_lock:
            totals = _TOTALS.unpack_from(self._map, total_at)
            if sum(totals) >= total_limit:
                return "total"
            at = self._find(key)
            if at is None:
                return "address"
            counts = _COLUMN.unpack_from(self._map, at + _KEY)
            if sum(counts) >= min(address_limit, _COUNT_LIMIT):
                return "address"
            self._map[at : at + _KEY] = key
            self._add(total_at, "<I", 4, 1)
            self._add(at + _KEY, "<H", 2, 1)
            return ""

    def leave(self, address: str, *, incoming: bool) -> None:
        """Count one session less: the mirror of a successful `enter`."""
        if self._counts is not None:
            mine = self._counts[incoming]
            count = mine.pop(address, 0)
            if count > 1:
                mine[address] = count - 1
            self._open[incoming] = max(0, self._open[incoming] - 1)
            return
        key = _key(b"i" if incoming else b"o", address)
        with self._table_lock:
            at = self._find(key)
            if at is not None and self._map[at : at + _KEY] == key:
                self._add(at + _KEY, "<H", 2, -1)
                self._tidy(at)
            self._add(_INCOMING_AT if incoming else _OUTGOING_AT, "<I", 4, -1)

    def clear_column(self, column: int) -> None:
        """Forget everything a dead relay had counted. Called by the master."""
        with self._table_lock:
            for at in (_INCOMING_AT, _OUTGOING_AT):
                struct.pack_into("<I", self._map, at + 4 * column, 0)
            for slot in range(SLOTS):
                at = _SLOTS_AT + slot * _SLOT
                if self._map[at : at + _KEY] != _EMPTY:
                    struct.pack_into("<H", self._map, at + _KEY + 2 * column, 0)

    def totals(self) -> tuple[int, int]:
        """Return (incoming, outgoing) sessions open now, over all relays."""
        if self._counts is not None:
            outgoing, incoming = self._open
            return incoming, outgoing
        return (
            sum(_TOTALS.unpack_from(self._map, _INCOMING_AT)),
            sum(_TOTALS.unpack_from(self._map, _OUTGOING_AT)),
        )

    def _add(self, base: int, kind: str, width: int, change: int) -> None:
        at = base + width * self._column
        (count,) = struct.unpack_from(kind, self._map, at)
        struct.pack_into(kind, self._map, at, max(0, count + change))

    def _find(self, key: bytes) -> int | None:
        """Return the offset of the key's slot, else of a slot it may take, None when the table is full here.

        A slot whose counts are all zero may be taken over, but only after the whole probe run was searched: the key
        may stand behind it.
        """
        start = int.from_bytes(key, "little")
        free: int | None = None
        for probe in range(PROBES):
            at = _SLOTS_AT + ((start + probe) & (SLOTS - 1)) * _SLOT
            stored = self._map[at : at + _KEY]
            if stored == key:
                return at
            if stored == _EMPTY:
                return at if free is None else free
            if free is None and not any(self._map[at + _KEY : at + _SLOT]):
                free = at
        return free

    def _tidy(self, at: int) -> None:
        """Empty a slot without counts when nothing can stand behind it, so that probe runs stay short."""
        if any(self._map[at + _KEY : at + _SLOT]):
            return
        behind = _SLOTS_AT + (((at - _SLOTS_AT) // _SLOT + 1) & (SLOTS - 1)) * _SLOT
        if self._map[behind : behind + _KEY] == _EMPTY:
            self._map[at : at + _KEY] = _EMPTY
