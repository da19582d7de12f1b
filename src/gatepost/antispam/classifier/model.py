"""The base model that is shipped: `BaseModel`, a table of small weights for runs of text, and its file form.

Built by `tools/build_model.py`, loaded once by the template, shared by all filters. Knows only text: headers tell where
mail was collected, not what it is, so their weights are learned where they are used.
"""

import zlib
from math import sqrt
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from gatepost.antispam.classifier.features import Indices
from gatepost.model.learned_weights import TEXT_BITS

VERSION: Final = 1
"""Of features and file: a model of another version is refused, its weights would mean other runs."""
UNPACKED_LIMIT: Final = 1 << TEXT_BITS
_STEPS: Final = 127


class ModelError(ValueError):
    """The file is no model of this version; the text says what is wrong."""


class _File(msgspec.Struct, frozen=True):
    """What stands in the file, as MessagePack."""

    version: int
    text_bits: int
    scale: float
    """Weight of one step of the table."""
    slope: float
    intercept: float
    sources: tuple[str, ...]
    table: bytes
    """int8 for each slot, deflated."""


class BaseModel(msgspec.Struct, frozen=True):
    """Weights for runs of text, and how to make log-odds of their sum."""

    table: npt.NDArray[np.int8]
    scale: float
    slope: float
    intercept: float
    sources: tuple[str, ...] = ()

    def log_odds(self, text: Indices) -> float:
        """Return log-odds for the runs of a text."""
        return self._odds(int(self.table.take(text).sum(dtype=np.int64)), len(text)) if len(text) else 0.0

    def stronger(self, slots: Indices, second: npt.NDArray[np.bool_]) -> float:
        """Return the log-odds of that half of a text which looks more like spam: of the slots of both halves, neither
        empty, those of the second are marked.
        """
        weights = self.table.take(slots).astype(np.float32)  # faster than by the mask, and exact: sums stay below 2**24
        behind = int(weights @ second.astype(np.float32))
        count = int(np.count_nonzero(second))
        return max(self._odds(int(weights.sum()) - behind, len(slots) - count), self._odds(behind, count))

    def _odds(self, steps: int, count: int) -> float:
        return self.slope * (steps * self.scale / sqrt(count)) + self.intercept


def parse_model(data: bytes) -> BaseModel:
    """Read a model's file. Raises ModelError."""
    try:
        stored = msgspec.msgpack.decode(data, type=_File)
    except msgspec.MsgspecError as error:
        raise ModelError(f"no model: {error}") from None
    if stored.version != VERSION or stored.text_bits != TEXT_BITS:
        raise ModelError(
            f"model of version {stored.version} with {stored.text_bits} bits, {VERSION} with {TEXT_BITS} is read"
        )
    try:
        table = zlib.decompressobj().decompress(stored.table, UNPACKED_LIMIT + 1)
    except zlib.error as error:
        raise ModelError(f"damaged model: {error}") from None
    if len(table) != 1 << TEXT_BITS:
        raise ModelError(f"model with {len(table)} weights")
    return BaseModel(np.frombuffer(table, np.int8), stored.scale, stored.slope, stored.intercept, stored.sources)


def build_model(weights: npt.NDArray[np.float32], slope: float, intercept: float, sources: tuple[str, ...]) -> bytes:
    """Return the file of a model with these weights, rounded to 127 steps; the largest in size sets the step."""
    bound = float(np.abs(weights).max()) or 1.0
    table = np.rint(weights * (_STEPS / bound)).astype(np.int8)
    stored = _File(VERSION, TEXT_BITS, bound / _STEPS, slope, intercept, sources, zlib.compress(table.tobytes(), 9))
    return msgspec.msgpack.encode(stored)
