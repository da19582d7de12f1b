"""The protocol of clamd, client side: one session (`IDSESSION`) with numbered commands, several under way at once.

Called by `antivirus.clamd` (scans) and `relay.engine_probe` (VERSION). Bytes in, replies out. Promises: memory is
bounded by the limits below; a reply that belongs to no command, comes twice or is none raises `ClamdError`, and the
connection is to be closed; nothing but the word for it makes an object clean.
"""

import enum
import struct
from typing import Final

import msgspec

from gatepost.model.foreign_text import printable

BEGIN: Final = b"zIDSESSION\0"
"""First bytes of a session: commands are numbered from 1, and end with a NUL as their replies do."""
PING: Final = b"zPING\0"
VERSION: Final = b"zVERSION\0"
INSTREAM: Final = b"zINSTREAM\0"
END_OF_STREAM: Final = bytes(4)
"""A piece of length 0 ends an object."""

REPLY_LIMIT: Final = 4096
"""Octets of one reply: a signature's name has at most a few hundred."""
OPEN_LIMIT: Final = 64
"""Commands under way in one session: clamd itself queues a hundred for all its clients."""
NUMBER_DIGITS: Final = 10
"""Of a reply's number: more commands than that no session has."""
TEXT_LIMIT: Final = 300
"""Characters kept of what a server says."""
PIECE_LIMIT: Final = 0xFFFFFFFF

_LENGTH: Final = struct.Struct("!I")
_CLEAN: Final = b"stream: OK"
_STREAM: Final = b"stream: "
_FOUND: Final = b" FOUND"
_ERROR: Final = b" ERROR"
_SIZE_LIMIT: Final = b"size limit exceeded"
_PROTECTED: Final = ("Heuristics.Encrypted.",)
_UNSCANNED: Final = ("Heuristics.Limits.Exceeded", "Heuristics.Broken.")
_DOUBTFUL: Final = ("Heuristics.", "PUA.")


class ClamdError(ValueError):
    """What came is nothing clamd says now; the session is of no more use."""


class Answer(enum.Enum):
    """What a reply says."""

    CLEAN = "clean"
    FOUND = "found"
    """`text` is the signature's name."""
    TOO_LARGE = "too large"
    """The object is over the server's limit, it was not scanned to the end. The server closes the session."""
    ERROR = "error"
    """`text` is what the server said."""
    PONG = "pong"
    VERSION = "version"
    """`text` is the version of program and databases."""


class ClamdReply(msgspec.Struct, frozen=True):
    """The reply to one command. `number` 0: the server says it of the session as a whole, which has ended."""

    number: int
    answer: Answer
    text: str = ""


class Judgement(enum.Enum):
    """What a signature's name tells of an object."""

    INFECTED = "infected"
    SUSPICIOUS = "suspicious"
    """A heuristic, or a program that somebody may want."""
    PROTECTED = "protected"
    """It is encrypted (`AlertEncrypted`)."""
    UNSCANNED = "unscanned"
    """It is broken, or over a limit of the server's (`AlertExceedsMax`, `AlertBroken*`)."""


class ClamdSession:
    """Numbers and replies of one session."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._count = 0
        self._open: dict[int, bytes] = {}

    @property
    def open(self) -> int:
        """Commands under way."""
        return len(self._open)

    def command(self, command: bytes) -> int:
        """Note that `PING`, `VERSION` or `INSTREAM` is sent now; return its number. ClamdError: too many under way."""
        if len(self._open) >= OPEN_LIMIT:
            raise ClamdError(f"more than {OPEN_LIMIT} commands under way")
        self._count += 1
        self._open[self._count] = command
        return self._count

    def feed(self, data: bytes) -> list[ClamdReply]:
        """Take received bytes, return the replies they complete. ClamdError."""
        pending = self._pending
        pending += data
        replies = []
        start = 0
        while (end := pending.find(0, start)) >= 0:
            if end - start > REPLY_LIMIT:
                raise ClamdError(f"a reply of more than {REPLY_LIMIT} bytes")
            replies.append(self._take(bytes(pending[start:end])))
            start = end + 1
        del pending[:start]
        if len(pending) > REPLY_LIMIT:
            raise ClamdError(f"a reply of more than {REPLY_LIMIT} bytes")
        return replies

    def _take(self, raw: bytes) -> ClamdReply:
        digits, colon, rest = raw.partition(b": ")
        if not colon or not digits.isdigit() or len(digits) > NUMBER_DIGITS:
            # Without a number: the server gives up on the session ("COMMAND READ TIMED OUT", limits).
            answer = Answer.TOO_LARGE if _SIZE_LIMIT in raw else Answer.ERROR
            if not raw.endswith((b"ERROR", b"TIMED OUT", b"UNKNOWN COMMAND")):
                raise ClamdError(f"not a reply: {readable(raw)!r}")
            return ClamdReply(0, answer, readable(raw.removesuffix(_ERROR)))
        number = int(digits)
        command = self._open.pop(number, None)
        if command is None:
            raise ClamdError(f"a reply to command {number}, which was not asked or has its reply")
        return _parse(number, command, rest)


def instream_head(size: int) -> bytes:
    """Return what goes before the object's `size` bytes, 0 to PIECE_LIMIT; behind them goes `END_OF_STREAM`."""
    return INSTREAM + _LENGTH.pack(size) if size else INSTREAM


def judge(name: str) -> Judgement:
    """Return what a signature's name tells of the object it was found in."""
    if name.startswith(_PROTECTED):
        return Judgement.PROTECTED
    if name.startswith(_UNSCANNED):
        return Judgement.UNSCANNED
    if name.startswith(_DOUBTFUL):
        return Judgement.SUSPICIOUS
    return Judgement.INFECTED


def readable(raw: bytes) -> str:
    """Return what a server said as one line of printable text, cut."""
    text = raw[: TEXT_LIMIT * 4].decode("utf-8", "replace")
    return printable(text[:TEXT_LIMIT])


def _parse(number: int, command: bytes, rest: bytes) -> ClamdReply:
    if rest.endswith(_ERROR):
        answer = Answer.TOO_LARGE if _SIZE_LIMIT in rest else Answer.ERROR
        return ClamdReply(number, answer, readable(rest.removesuffix(_ERROR)))
    if command == INSTREAM:
        if rest == _CLEAN:
            return ClamdReply(number, Answer.CLEAN)
        if rest.startswith(_STREAM) and rest.endswith(_FOUND) and len(rest) > len(_STREAM) + len(_FOUND):
            return ClamdReply(number, Answer.FOUND, readable(rest[len(_STREAM) : -len(_FOUND)]))
    elif command == PING and rest == b"PONG":
        return ClamdReply(number, Answer.PONG)
    elif command == VERSION and rest:
        return ClamdReply(number, Answer.VERSION, readable(rest))
    raise ClamdError(f"no reply to {command[1:-1].decode()}: {readable(rest)!r}")
