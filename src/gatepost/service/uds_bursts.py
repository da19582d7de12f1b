"""How many gateways ask for the same fingerprint within minutes: a table of fixed size.

Used by `service.uds`. Sans-I/O: moments are passed in. Promises: 24 MB, whatever comes; an answer may be too low (two
gateways that share a bit, a fingerprint that was pushed out), never too high.
"""

from array import array
from typing import Final

SLOTS_BITS: Final = 20
WINDOW_S: Final = 600.0
_BITS: Final = 64
_SAMPLE: Final = 7
"""Only fingerprints whose last bits are zero are counted: the same ones by all gateways, 4 of a text's 32."""


class BurstTable:
    """Each slot belongs to one fingerprint for a window, then to the next one that comes."""

    def __init__(self) -> None:
        size = 1 << SLOTS_BITS
        self._values = array("Q", bytes(8 * size))
        self._gateways = array("Q", bytes(8 * size))
        self._started = array("L", bytes(array("L").itemsize * size))

    def count(self, value: bytes, gateway: int, now: float) -> int:
        """Note that a gateway (any number) asked for a value; return how many have within the window, 0 when it is not
        one of those that are counted.
        """
        number = int.from_bytes(value)
        if number & _SAMPLE:
            return 0
        slot = number >> (64 - SLOTS_BITS)
        moment = int(now)
        bit = 1 << gateway % _BITS
        if moment - self._started[slot] > WINDOW_S:
            self._values[slot] = number
            self._started[slot] = moment
            self._gateways[slot] = 0
        elif self._values[slot] != number:
            return 0
        self._gateways[slot] |= bit
        return self._gateways[slot].bit_count()
