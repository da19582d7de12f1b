"""Compression methods of zip that programs of today only read: Implode, and Deflate64 of Windows' own archiver.

Called by `openers.zip`. `unpack_old` gives what it could unpack and what is wrong with it; it raises only OverBudget.
Implode is undone here bit by bit (APPNOTE 5.3): slow, so the clock is looked at all the time.
"""

from typing import Final

import inflate64

from gatepost.antivirus.budget import Budget, Content

IMPLODED: Final = 6
DEFLATED_64: Final = 9
OLD_METHODS: Final = frozenset({IMPLODED, DEFLATED_64})

_INPUT_64: Final = 4096
"""Bytes given to Deflate64 at once: the library bounds no output, and packs up to a thousandfold."""
_CLOCK_STEPS: Final = 4096
"""Symbols between two looks at the clock."""
_CUT_OFF: Final = "packed data is damaged or cut off"


class _End(Exception):  # noqa: N818 - what happens
    """The packed data ends or makes no sense."""


class _Bits:
    """Reads packed data bit by bit, the lowest first."""

    __slots__ = ("_data", "_held", "_position", "_waiting")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._held = 0
        self._waiting = 0

    def take(self, count: int) -> int:
        while self._waiting < count:
            if self._position >= len(self._data):
                raise _End
            self._held |= self._data[self._position] << self._waiting
            self._position += 1
            self._waiting += 8
        value = self._held & ((1 << count) - 1)
        self._held >>= count
        self._waiting -= count
        return value


def unpack_old(method: int, flags: int, raw: bytes, size: int, budget: Budget) -> tuple[bytes, str]:
    """Return (unpacked bytes, what is wrong with them). `size`: as stated, below 0 when it is not. OverBudget."""
    if method == DEFLATED_64:
        return _inflate_64(raw, budget)
    if size < 0:
        return b"", "size of the unpacked data is not stated"
    if size > budget.allowance(len(raw)):
        raise budget.refuse(len(raw))
    out = bytearray()
    trouble = ""
    try:
        _explode(raw, flags, size, out, budget)
    except _End:
        trouble = _CUT_OFF
    del out[size:]
    budget.take_bytes(len(out))
    return bytes(out), trouble


def _inflate_64(raw: bytes, budget: Budget) -> tuple[bytes, str]:
    stream = inflate64.Inflater()
    content = Content(budget, len(raw))
    try:
        for position in range(0, len(raw), _INPUT_64):
            content.write(stream.inflate(raw[position : position + _INPUT_64]))
            budget.take_time()
    except (ValueError, OSError, RuntimeError, EOFError):
        return content.take(), _CUT_OFF
    return content.take(), "" if stream.eof else _CUT_OFF


def _read_tree(bits: _Bits, count: int) -> dict[tuple[int, int], int]:
    """Read a Shannon-Fano tree of `count` symbols: (length, code with its first bit lowest) -> symbol."""
    lengths: list[int] = []
    for _ in range(bits.take(8) + 1):
        length = bits.take(4) + 1
        lengths += [length] * (bits.take(4) + 1)
    if len(lengths) != count:
        raise _End
    tree: dict[tuple[int, int], int] = {}
    code = step = last = 0
    for symbol in sorted(range(count), key=lambda each: (lengths[each], each), reverse=True):
        code += step
        if lengths[symbol] != last:
            last = lengths[symbol]
            step = 1 << (16 - last)
        tree[last, (code & 0xFFFF) >> (16 - last)] = symbol
    return tree


def _read_symbol(bits: _Bits, tree: dict[tuple[int, int], int]) -> int:
    code = 0
    for length in range(1, 17):
        code = code << 1 | bits.take(1)
        symbol = tree.get((length, code))
        if symbol is not None:
            return symbol
    raise _End


def _explode(raw: bytes, flags: int, size: int, out: bytearray, budget: Budget) -> None:
    """Undo Implode (APPNOTE 5.3) until `out` has `size` bytes."""
    bits = _Bits(raw)
    low_bits = 7 if flags & 2 else 6
    literals = _read_tree(bits, 256) if flags & 4 else None
    shortest = 3 if literals is not None else 2
    lengths, distances = _read_tree(bits, 64), _read_tree(bits, 64)
    steps = 0
    while len(out) < size:
        steps += 1
        if steps % _CLOCK_STEPS == 0:
            budget.take_time()
        if bits.take(1):
            out.append(bits.take(8) if literals is None else _read_symbol(bits, literals))
            continue
        distance = bits.take(low_bits)
        distance = (_read_symbol(bits, distances) << low_bits | distance) + 1
        length = _read_symbol(bits, lengths)
        if length == 63:
            length += bits.take(8)
        length += shortest
        for _ in range(length):  # it may read what it has just written; before the beginning there are zeros
            out.append(out[-distance] if distance <= len(out) else 0)
