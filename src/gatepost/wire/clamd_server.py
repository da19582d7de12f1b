"""The protocol of clamd, server side: commands with prefix `n` or `z` or none, one a connection or many in a session.

Called by `service.clamd_door`. Bytes in, events out. Promises: memory is bounded by the limits below, a stream is
passed on as it comes; what clamd would not understand raises `ClamdRequestError`, whose bytes are the answer, and the
connection is to be closed. The client side is `wire.clamd`.
"""

import enum
import struct
from typing import Final

import msgspec

LINE_LIMIT: Final = 8 * 1024
"""Octets of a command: a path has at most 4096."""

_LENGTH: Final = struct.Struct("!I")


class Command(enum.Enum):
    """What is wanted."""

    PING = b"PING"
    VERSION = b"VERSION"
    COMMANDS = b"VERSIONCOMMANDS"
    STATISTICS = b"STATS"
    STREAM = b"INSTREAM"
    DESCRIPTOR = b"FILDES"
    """A file, whose descriptor comes with the next byte on a local socket."""
    SCAN = b"SCAN"
    """Files by name, until something is found."""
    SCAN_ON = b"CONTSCAN"
    """All of them."""
    SCAN_PARALLEL = b"MULTISCAN"
    SCAN_ALL = b"ALLMATCHSCAN"
    """With every name that is found."""
    RELOAD = b"RELOAD"
    SHUTDOWN = b"SHUTDOWN"


_BEGIN: Final = b"IDSESSION"
_END: Final = b"END"
OF_PATHS: Final = frozenset((Command.SCAN, Command.SCAN_ON, Command.SCAN_PARALLEL, Command.SCAN_ALL))
_PREFIXED: Final = frozenset((Command.STREAM, Command.DESCRIPTOR, Command.STATISTICS, Command.COMMANDS))
"""Not known without a prefix."""
_UNKNOWN: Final = "UNKNOWN COMMAND"
_INVALID: Final = "Command invalid inside IDSESSION. ERROR"
TIMED_OUT: Final = "COMMAND READ TIMED OUT"
TOO_LARGE: Final = "INSTREAM size limit exceeded. ERROR"


class Ask(msgspec.Struct, frozen=True):
    """A command."""

    command: Command
    end: bytes
    """What its replies end with."""
    number: int = 0
    """In a session, from 1; else 0."""
    path: str = ""
    """`OF_PATHS`: as it came, undecodable bytes as surrogates."""

    def reply(self, text: str) -> bytes:
        """Return one reply to it; `text` without NUL."""
        number = f"{self.number}: " if self.number else ""
        return f"{number}{text}".encode("utf-8", "surrogateescape") + self.end


class Piece(msgspec.Struct, frozen=True):
    """Some of a stream."""

    data: bytes


class StreamEnd(msgspec.Struct, frozen=True):
    """All of it has come."""


class Passed(msgspec.Struct, frozen=True):
    """The byte that carries a descriptor has come, and with it the descriptor, if there is one."""


Event = Ask | Piece | StreamEnd | Passed


class ClamdRequestError(ValueError):
    """No command, or one that cannot be here: `answer` goes out, and the connection is closed."""

    def __init__(self, text: str, end: bytes, number: int = 0) -> None:
        super().__init__(text)
        self.answer = (f"{number}: " if number else "").encode() + text.encode("ascii") + end


class ClamdServerSession:
    """Reads what one client says, in whatever pieces it comes."""

    def __init__(self, limit: int) -> None:
        """`limit`: octets of a stream."""
        self._limit = limit
        self._pending = bytearray()
        self._end = b"\n"
        self._session = False
        self._number = 0
        self._streaming = False
        self._passing = False
        self._left = 0
        """Of the piece being read."""
        self._size = 0
        self.finished = False
        """Nothing more is asked on this connection."""

    @property
    def end(self) -> bytes:
        """What the latest command ended with, and so its replies."""
        return self._end

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        if not self.finished:
            self._pending += data

    def close(self) -> None:
        """The client sends nothing more: a command without prefix may end with this."""
        if not (self._streaming or self._passing or self._session) and bytes(self._pending[:1]) not in (
            b"",
            b"n",
            b"z",
        ):
            self._pending += b"\n"

    def next_event(self) -> Event | None:
        """Return what comes next, None when more is needed. ClamdRequestError."""
        if self.finished:
            return None
        if self._streaming:
            return self._read_stream()
        return self._read_passed() if self._passing else self._read_command()

    # --- commands

    def _read_command(self) -> Ask | None:
        pending = self._pending
        if not pending:
            return None
        prefix = bytes(pending[:1])
        prefixed = prefix in (b"z", b"n")
        self._end = b"\0" if prefix == b"z" else b"\n"
        found = pending.find(self._end, 0, LINE_LIMIT)
        if found < 0:
            if len(pending) >= LINE_LIMIT:
                raise ClamdRequestError(_UNKNOWN, self._end)
            return None
        line = bytes(pending[1 if prefixed else 0 : found])
        del pending[: found + 1]
        if self._end == b"\n":
            line = line.removesuffix(b"\r")
        return self._take(line, prefixed=prefixed)

    def _take(self, line: bytes, *, prefixed: bool) -> Ask | None:
        if self._session:
            self._number += 1
            if line == _END and prefixed:
                self.finished = True
                return None
        elif line == _BEGIN and prefixed:
            self._session = True
            return self._read_command()
        word, blank, rest = line.partition(b" ")
        command = Command(word) if word in _WORDS else None
        if command is None or (command in OF_PATHS) != bool(blank and rest) or bool(blank) != bool(rest):
            raise self._refuse()
        if not prefixed and (self._session or command in _PREFIXED):
            raise self._refuse()
        if command is Command.STREAM:
            self._streaming = True
            self._left = self._size = 0
        elif command is Command.DESCRIPTOR:
            self._passing = True
        elif not self._session:
            self.finished = True
        path = rest.decode("utf-8", "surrogateescape")
        return Ask(command, self._end, self._number if self._session else 0, path)

    def _refuse(self) -> ClamdRequestError:
        if self._session:
            return ClamdRequestError(_INVALID, self._end, self._number)
        return ClamdRequestError(_UNKNOWN, self._end)

    def _read_passed(self) -> Passed | None:
        if not self._pending:
            return None
        del self._pending[:1]
        self._passing = False
        self.finished = not self._session
        return Passed()

    # --- streams

    def _read_stream(self) -> Piece | StreamEnd | None:
        pending = self._pending
        if self._left:
            if not pending:
                return None
            data = bytes(pending[: self._left])
            del pending[: self._left]
            self._left -= len(data)
            return Piece(data)
        if len(pending) < _LENGTH.size:
            return None
        (self._left,) = _LENGTH.unpack_from(pending)
        del pending[: _LENGTH.size]
        if not self._left:
            self._streaming = False
            self.finished = not self._session
            return StreamEnd()
        self._size += self._left
        if self._size > self._limit:
            raise ClamdRequestError(TOO_LARGE, self._end, self._number if self._session else 0)
        return self._read_stream()


_WORDS: Final = frozenset(command.value for command in Command)
