"""What was learned: tables of weights in one file that the learner writes and filters have mapped read-only.

The file has a fixed size and never changes its inode: a page of state, the gateway's tables, then `DOMAINS` smaller
ones for recipient domains. The learner writes in place; a filter that reads meanwhile sees some weights before and some
after one small step, which is as good as either. The file is made anew from snapshot and journal whenever the learner
starts, so what stands in it after a fall of power does not matter.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from gatepost.antispam.classifier.features import HEADER_BITS, TEXT_BITS

Weights = npt.NDArray[np.float32]

MAGIC: Final = b"GPLEARN1"
DOMAINS: Final = 32
"""Recipient domains with weights of their own; further ones learn with the gateway."""
DOMAIN_SHIFT: Final = 2
"""A domain's tables have a quarter of the slots: it learns from fewer messages."""
DOMAIN_NAME_LIMIT: Final = 255
WEIGHT_LIMIT: Final = 3.0
"""Bound of one weight as it is read, a few steps: no run of characters decides alone, however often it was taught."""
_STATE: Final = struct.Struct("<8sIIddd")
_NAME: Final = struct.Struct("<256s")
_PAGE: Final = 16 * 1024
_GATEWAY_SLOTS: Final = (1 << TEXT_BITS) + (1 << HEADER_BITS)
_DOMAIN_SLOTS: Final = _GATEWAY_SLOTS >> DOMAIN_SHIFT
FILE_SIZE: Final = _PAGE + 4 * (_GATEWAY_SLOTS + DOMAINS * _DOMAIN_SLOTS)
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
        self.gateway = self._scope(_PAGE, 0)
        self._domains = [
            self._scope(_PAGE + 4 * (_GATEWAY_SLOTS + number * _DOMAIN_SLOTS), DOMAIN_SHIFT)
            for number in range(DOMAINS)
        ]

    def _scope(self, offset: int, shift: int) -> Scope:
        text, header = (1 << TEXT_BITS) >> shift, (1 << HEADER_BITS) >> shift
        tables = np.frombuffer(self._buffer, np.float32, text + header, offset)
        return Scope(tables[:text], tables[text:], shift)

    @property
    def state(self) -> LearnedState:
        _, spam, ham, text_slope, header_slope, bias = _STATE.unpack_from(self._buffer, 0)
        return LearnedState(spam, ham, text_slope, header_slope, bias)

    @state.setter
    def state(self, state: LearnedState) -> None:
        packed = _STATE.pack(MAGIC, state.spam, state.ham, state.text_slope, state.header_slope, state.bias)
        self._buffer[: _STATE.size] = packed

    @property
    def domains(self) -> dict[str, int]:
        """Names of the recipient domains that have tables, with their numbers."""
        raw = bytes(self._buffer[_STATE.size : _STATE.size + DOMAINS * _NAME.size])
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
        at = _STATE.size + number * _NAME.size
        self._buffer[at : at + _NAME.size] = _NAME.pack(name.encode())
        return number

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
    data[: _STATE.size] = _STATE.pack(MAGIC, 0, 0, 1.0, 1.0, 0.0)
    return data


def map_file(path: Path, writable: bool = False) -> Learned:
    """Map the file. Raises OSError, and ValueError for a file that is not of this version."""
    with path.open("r+b" if writable else "rb") as stream:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return Learned(mmap.mmap(stream.fileno(), 0, access=access))


def open_file(path: Path) -> Learned:
    """Map the file for reading; make it unless there is one of this version. Most of it is a hole. OSError."""
    try:
        return map_file(path)
    except (FileNotFoundError, ValueError):
        temporary = path.with_name(f"{path.name}.new")
        with temporary.open("wb") as stream:
            stream.write(_STATE.pack(MAGIC, 0, 0, 1.0, 1.0, 0.0))
            stream.truncate(FILE_SIZE)
        temporary.rename(path)
        return map_file(path)
