"""The header of MacBinary II and III: whether one begins here, and what it states.

Called by `kinds` and `openers.apple`. Pure.
"""

from typing import Final

HEADER: Final = 128
NAME_LIMIT: Final = 63
_CHECKED: Final = 124
"""Bytes that the checksum is about."""


def is_mac_binary(data: bytes, *, called: bool = False) -> bool:
    """Whether a file in MacBinary begins here: told by the lengths that its header states, and by its checksum unless
    the file is called one: the first version had none.
    """
    if len(data) <= HEADER or data[0] or not 0 < data[1] <= NAME_LIMIT or data[74] or data[82]:
        return False
    if not 0 < sum(read_lengths(data)) <= len(data) - HEADER:
        return False
    return called or _checksum(data[:_CHECKED]) == int.from_bytes(data[_CHECKED : _CHECKED + 2], "big")


def read_lengths(data: bytes) -> tuple[int, int]:
    """Return the bytes of (data fork, resource fork)."""
    return int.from_bytes(data[83:87], "big"), int.from_bytes(data[87:91], "big")


def _checksum(data: bytes) -> int:
    """Return the CRC of XMODEM."""
    rest = 0
    for byte in data:
        rest ^= byte << 8
        for _ in range(8):
            rest = rest << 1 ^ (0x1021 if rest & 0x8000 else 0)
    return rest & 0xFFFF
