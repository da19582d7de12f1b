"""What a filter and the helper that runs the administrator's commands say to each other, over one local connection.

Called by `antivirus.command` (filter) and `master.command_helper`. Bytes in, values out. First the relay that made the
connection writes the engine's name; then the filter sends objects, one at a time, and for each gets one outcome.
Promises: a length over its limit is refused before anything is kept.
"""

import struct
from typing import Final

import msgspec

GREETING: Final = struct.Struct("!32s")
"""The engine's name, filled with NULs: names have at most 32 characters."""
OBJECT: Final = struct.Struct("!Q")
"""Length of the object that follows."""
_OUTCOME: Final = struct.Struct("!I")
OUTCOME_LIMIT: Final = 8 * 1024
"""Octets of an outcome: OUTPUT_LIMIT characters and a few numbers."""
OUTPUT_LIMIT: Final = 500
"""Characters kept of what a command writes."""


class CommandError(ValueError):
    """What came is not what belongs here; the connection is of no more use."""


class CommandOutcome(msgspec.Struct, frozen=True, array_like=True):
    """How a run of the command ended."""

    code: int = 0
    """Exit status."""
    output: str = ""
    """Last line of what it wrote: the name of what it found."""
    trouble: str = ""
    """Why there is no exit status: it could not be started, took too long, was killed."""


_DECODER = msgspec.msgpack.Decoder(CommandOutcome)
_ENCODER = msgspec.msgpack.Encoder()


def build_greeting(engine: str) -> bytes:
    """Return what the relay says first."""
    return GREETING.pack(engine.encode("ascii"))


def parse_greeting(raw: bytes) -> str:
    """Return the engine's name of `GREETING.size` bytes. CommandError."""
    try:
        return str(GREETING.unpack(raw)[0].rstrip(b"\0").decode("ascii"))
    except (struct.error, UnicodeDecodeError) as error:
        raise CommandError("no greeting") from error


def build_outcome(outcome: CommandOutcome) -> bytes:
    """Return the frame of an outcome."""
    body = _ENCODER.encode(outcome)
    return _OUTCOME.pack(len(body)) + body


class OutcomeReader:
    """Reads outcomes, in whatever pieces they come."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> CommandOutcome | None:
        """Take received bytes; return the outcome when it is whole. CommandError."""
        pending = self._pending
        pending += data
        if len(pending) < _OUTCOME.size:
            return None
        size = _OUTCOME.unpack_from(pending)[0]
        if size > OUTCOME_LIMIT or len(pending) > _OUTCOME.size + size:
            raise CommandError("an outcome over its limit")
        if len(pending) < _OUTCOME.size + size:
            return None
        body = bytes(pending[_OUTCOME.size :])
        pending.clear()
        try:
            outcome = _DECODER.decode(body)
        except ValueError as error:  # DecodeError is one, text that is no UTF-8 another
            raise CommandError("not an outcome") from error
        if len(outcome.output) > OUTPUT_LIMIT or len(outcome.trouble) > OUTPUT_LIMIT:
            raise CommandError("an outcome over its limit")
        return outcome
