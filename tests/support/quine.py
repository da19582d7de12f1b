"""A gzip file that unpacks to itself, made by the method of Russ Cox ("Zip Files All the Way Down").

The deflate stream is a program of instructions of five bytes: "put out the next n bytes" (a stored block) and "put out
the last n bytes again" (a block of two matches). The checksum in its trailer covers the trailer: its equation, linear
over single bits, is solved.
"""

import itertools
import struct
import zlib

_UNIT = 5
"""Bytes of an instruction."""
_HEAD = 13
"""Bytes of header and trailer each: 18 with an instruction, which two matches of 9 repeat in exactly 40 bits."""
_BITS = 32


def build_quine() -> bytes:
    """Return the file."""
    for time in itertools.count():
        checksum = _solve(time)
        if checksum is not None:
            return _build(checksum, time)
    raise AssertionError


def _literal(count: int) -> bytes:
    """Put out the next `count` bytes."""
    return b"\0" + struct.pack("<HH", count, count ^ 0xFFFF)


def _repeat(count: int) -> bytes:
    """Put out the last `count` bytes again, 18 or 20 of them: two matches of half the length (RFC 1951 §3.2.6)."""
    length, distance = count // 2 - 2, count - 17
    bits = [0, 1, 0]
    for _ in range(2):
        bits += [length >> shift & 1 for shift in reversed(range(7))]
        bits += [0, 1, 0, 0, 0]  # distance code 8: 17 ... 24, by three bits more
        bits += [distance >> shift & 1 for shift in range(3)]
    bits += [0] * 7
    return sum(bit << place for place, bit in enumerate(bits)).to_bytes(_UNIT, "little")


def _build(checksum: int, time: int) -> bytes:
    head = b"\x1f\x8b\x08\x08" + struct.pack("<L", time) + b"\0\x03" + b"qq\0"
    shift = _HEAD + _UNIT
    no, one, four, eighteen = (_literal(count) for count in (0, _UNIT, 4 * _UNIT, shift))
    again, row = _repeat(shift), _repeat(4 * _UNIT)
    before = [head, eighteen, head, eighteen, again, one, again, one, one, four, again, one, one, four, row, four, row]
    before += [four, row, four, row, four, row, no, no, eighteen, row, no, no, eighteen, again]
    size = sum(map(len, before)) + 2 * _HEAD + _UNIT
    tail = b"\x01\0\0\xff\xff" + struct.pack("<LL", checksum, size)
    return b"".join((*before, tail, again, tail))


def _solve(time: int) -> int | None:
    """Return the checksum that is its own, None if there is none at that time."""
    constant = zlib.crc32(_build(0, time))
    # One row of the matrix for each bit of the checksum, as an integer; bit 32 is the right side.
    columns = [zlib.crc32(_build(1 << bit, time)) ^ constant ^ (1 << bit) for bit in range(_BITS)]
    rows = [sum((columns[c] >> r & 1) << c for c in range(_BITS)) | (constant >> r & 1) << _BITS for r in range(_BITS)]
    for column in range(_BITS):
        pivot = next((r for r in range(column, _BITS) if rows[r] >> column & 1), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows = [row ^ rows[column] if r != column and row >> column & 1 else row for r, row in enumerate(rows)]
    return sum((row >> _BITS) << place for place, row in enumerate(rows))
