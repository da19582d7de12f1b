"""What was learned: tables of weights in one file that the learner writes and filters have mapped read-only.

The file has a fixed size: a page of state, the gateway's tables, then `DOMAINS` smaller ones for recipient domains. The
learner writes in place; a filter that reads meanwhile sees some weights before and some after one small step, which is
as good as either. What stands in the file is made anew from snapshot and journal whenever the learner starts, so it
does not matter after a fall of power. A file that is broken or gone gets a successor of another inode: the master
brings the filters to it.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from gatepost.model.learned_weights import (
    DOMAIN_SHIFT,
    DOMAIN_SLOTS,
    DOMAINS,
    FILE_SIZE,
    GATEWAY_SLOTS,
    HEADER_BITS,
    MAGIC,
    PAGE,
    STATE,
    TEXT_BITS,
    pack_blank_state,
)

Weights = npt.NDArray[np.float32]

DOMAIN_NAME_LIMIT: Final = 255
WEIGHT_LIMIT: Final = 3.0
"""Bound of one weight as it is read, a few steps: no run of characters decides alone, however often it was taught."""
_NAME: Final = struct.Struct("<256s")
_TRUST_HALF: Final = 10.0
"""Messages of each kind after which what was learned counts as much as the base model."""


class LearnedState(msgspec.Struct, frozen=True):
    """Numbers beside the weights."""

    spam: int = 0
    ham: int = 0
    """Messages learned."""
    text_slope: float = 1.0
    header_slope: float = 1.0
    bias: float = 0.0
    """From scores to log-odds, learned with the rest."""

    @property
    def trust(self) -> float:
        """0 to 1: how far what was learned counts. Nothing, as long as only one kind was taught."""
        if not self.spam or not self.ham:
            return 0.0
        both = 2.0 * self.spam * self.ham / (self.spam + self.ham)
        return both / (both + _TRUST_HALF)


class Scope(msgspec.Struct, frozen=True):
    """Tables of the gateway or of one recipient domain."""

    text: Weights
    header: Weights
    shift: int = 0
    """Bits by which slots are smaller than those of the gateway."""


class Learned:
    """The mapped file. Attributes read at every message, so that what the learner writes is seen at once."""

    def __init__(self, buffer: "mmap.mmap | bytearray") -> None:
        if len(buffer) != FILE_SIZE or bytes(buffer[: len(MAGIC)]) != MAGIC:
            raise ValueError("not a file of learned weights of this version")
        self._buffer = buffer
        self._names: tuple[bytes, dict[str, int]] = (b"", {})
        self.gateway = self._scope(PAGE, 0)
        self._domains = [
            self._scope(PAGE + 4 * (GATEWAY_SLOTS + number * DOMAIN_SLOTS), DOMAIN_SHIFT) for number in range(DOMAINS)
        ]

    def _scope(self, offset: int, shift: int) -> Scope:
        text, header = (1 << TEXT_BITS) >> shift, (1 << HEADER_BITS) >> shift
        tables = np.frombuffer(self._buffer, np.float32, text + header, offset)
        return Scope(tables[:text], tables[text:], shift)

    @property
    def state(self) -> LearnedState:
        _, spam, ham, text_slope, header_slope, bias = STATE.unpack_from(self._buffer, 0)
        return LearnedState(spam, ham, text_slope, header_slope, bias)

    @state.setter
    def state(self, state: LearnedState) -> None:
        packed = STATE.pack(MAGIC, state.spam, state.ham, state.text_slope, state.header_slope, state.bias)
        self._buffer[: STATE.size] = packed

    @property
    def domains(self) -> dict[str, int]:
        """Names of the recipient domains that have tables, with their numbers."""
        raw = bytes(self._buffer[STATE.size : STATE.size + DOMAINS * _NAME.size])
        if raw != self._names[0]:
            names = (
                raw[at : at + _NAME.size].rstrip(b"\0").decode("utf-8", "replace")
                for at in range(0, len(raw), _NAME.size)
            )
            self._names = (raw, {name: number for number, name in enumerate(names) if name})
        return self._names[1]

    def add_domain(self, name: str) -> int | None:
        """Return the number of the domain's tables, taking free ones; None when there are none left."""
        known = self.domains
        if name in known or len(known) >= DOMAINS or len(name.encode()) > DOMAIN_NAME_LIMIT:
            return known.get(name)
        number = len(known)
        at = STATE.size + number * _NAME.size
        self._buffer[at : at + _NAME.size] = _NAME.pack(name.encode())
        return number

    @property
    def orderly(self) -> bool:
        """Tell whether names and tables fit together, as the learner leaves them: tables without a name are empty."""
        known = self.domains
        free = self._domains[len(known) :]
        return list(known.values()) == list(range(len(known))) and not any(
            scope.text.any() or scope.header.any() for scope in free
        )

    def domain(self, number: int) -> Scope:
        """Return the tables with this number."""
        return self._domains[number]

    def scopes(self, domain: str) -> Iterator[Scope]:
        """Yield the tables that count for a recipient domain, the gateway's first."""
        if self.state.spam or self.state.ham:
            yield self.gateway
            number = self.domains.get(domain) if domain else None
            if number is not None:
                yield self._domains[number]


def blank() -> bytearray:
    """Return the content of a file in which nothing was learned."""
    data = bytearray(FILE_SIZE)
    data[: STATE.size] = pack_blank_state()
    return data


def map_file(path: Path, writable: bool = False) -> Learned:
    """Map the file. Raises OSError, and ValueError for a file that is not of this version."""
    # Not to wait for a writer where a pipe lies in its place.
    descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return Learned(mmap.mmap(descriptor, 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ))
    finally:
        os.close(descriptor)
