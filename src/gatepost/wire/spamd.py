"""The protocol between spamc and spamd (SPAMC 1.2 to 1.5), server side, and its older sister that rspamd still serves.

Called by `service.spamd_door` (spamc, Exim, content filters) and `wire.rspamd` (Exim's variant `rspamd`: the same form
with `RSPAMC/1.3` and the envelope in fields). Bytes in, a whole request out; one request a connection. Promises:
memory is bounded by the limit a session is made with, also that of what is packed; a length the client states is never
believed beyond it; what is no request raises `SpamdError`, whose code and text are the answer.
"""

import enum
import re
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec

HEAD_LIMIT: Final = 512 * 1024
"""Octets of a request's head: a thousand recipients, with room."""
FIELDS_LIMIT: Final = 2_000
LINE_LIMIT: Final = 2_000
"""Octets of the first line, and of a field: addresses have at most a few hundred."""
LENGTH_DIGITS: Final = 12
UNPACKED_FREE: Final = 1024 * 1024
UNPACKED_TIMES: Final = 100
"""So much, and so many times what came, a packed mail may have: text has five times, more is a trap."""

_FIRST: Final = re.compile(rb"([A-Z_]{1,20}) (SPAMC|RSPAMC)/([0-9])\.([0-9])[ \t]*\Z")
_FIELD: Final = re.compile(rb"([A-Za-z][A-Za-z0-9-]{0,60}):([^\r\n\0]*)\Z")


class Exit(enum.IntEnum):
    """Codes of answers (sysexits.h)."""

    OK = 0
    DATAERR = 65
    UNAVAILABLE = 69
    TEMPFAIL = 75
    PROTOCOL = 76
    TIMEOUT = 79


_WORDS: Final = {
    Exit.PROTOCOL: "Bad header line",
    Exit.TIMEOUT: "Timeout",
}
_SERVICE: Final = "Service Unavailable"


class SpamdError(ValueError):
    """The request cannot be served: what the answer says."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code


class Dialect(enum.Enum):
    """Which of the two is spoken."""

    SPAMC = b"SPAMC"
    RSPAMC = b"RSPAMC"


class Command(enum.Enum):
    """What is wanted."""

    CHECK = "CHECK"
    """The score."""
    SYMBOLS = "SYMBOLS"
    """And the names of the signs."""
    REPORT = "REPORT"
    """And a report for people."""
    REPORT_IFSPAM = "REPORT_IFSPAM"
    PROCESS = "PROCESS"
    """The mail with its new fields."""
    HEADERS = "HEADERS"
    """Only its header."""
    PING = "PING"
    SKIP = "SKIP"
    """The client has changed its mind; it wants no answer."""
    TELL = "TELL"
    """Learn of it."""


_WITHOUT_CONTENT: Final = frozenset((Command.PING, Command.SKIP))


class SpamdRequest(msgspec.Struct, frozen=True):
    """A whole request."""

    command: Command
    dialect: Dialect
    version: tuple[int, int]
    fields: tuple[tuple[str, str], ...] = ()
    """Names in lower case, as they came."""
    content: bytes = b""

    def field(self, name: str) -> str:
        """Return the last value of a field, "" when it is absent."""
        return next((value for each, value in reversed(self.fields) if each == name), "")

    def values(self, name: str) -> list[str]:
        """Return all values of a field."""
        return [value for each, value in self.fields if each == name]


class Lesson(msgspec.Struct, frozen=True):
    """What TELL asks for. At least one of `learn` and `forget` is off."""

    spam: bool = False
    learn: bool = False
    forget: bool = False


class SpamdSession:
    """Reads one request, in whatever pieces it comes."""

    def __init__(self, limit: int, dialects: Sequence[Dialect] = (Dialect.SPAMC,)) -> None:
        """`limit`: octets of a mail, unpacked."""
        self._limit = limit
        self._dialects = dialects
        self._pending = bytearray()
        self._request: SpamdRequest | None = None
        self._length: int | None = None
        self._packed = False
        self._scanned = 0

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return self._request is not None or bool(self._pending)

    def feed(self, data: bytes) -> SpamdRequest | None:
        """Take received bytes; return the request when it is whole. What comes behind it is ignored. SpamdError."""
        self._pending += data
        if self._request is None:
            self._request = self._read_head()
            if self._request is None:
                return None
            if self._request.command in _WITHOUT_CONTENT:
                return self._request
        if self._length is not None:
            return self._finish() if len(self._pending) >= self._length else None
        if len(self._pending) > self._limit:
            raise self._too_large()
        return None

    def end(self) -> SpamdRequest:
        """The client sends nothing more: return the request that is whole with this. SpamdError."""
        if self._request is None:
            raise SpamdError(Exit.PROTOCOL, "(EOF during headers)" if self._pending else "(closed before headers)")
        if self._length is not None:
            raise SpamdError(
                Exit.PROTOCOL,
                f"(Content-Length mismatch: Expected {self._length} bytes, got {len(self._pending)} bytes)",
            )
        return self._finish()

    def _read_head(self) -> SpamdRequest | None:
        pending = self._pending
        line_end = pending.find(b"\n", 0, LINE_LIMIT)
        if line_end < 0:
            if len(pending) >= LINE_LIMIT:
                raise SpamdError(Exit.PROTOCOL, "(first line too long)")
            return None
        command, dialect, version = self._parse_first(bytes(pending[:line_end]).rstrip(b"\r"))
        if command in _WITHOUT_CONTENT:
            return SpamdRequest(command, dialect, version)
        end, width = self._find_end(line_end)
        if end < 0:
            if len(pending) > HEAD_LIMIT:
                raise SpamdError(Exit.PROTOCOL, "(too many headers)")
            return None
        lines = bytes(pending[line_end + 1 : end]).split(b"\n") if end > line_end else []
        del pending[: end + width]
        if len(lines) > FIELDS_LIMIT:
            raise SpamdError(Exit.PROTOCOL, "(too many headers)")
        request = SpamdRequest(command, dialect, version, tuple(map(_parse_field, lines)))
        self._take_length(request)
        return request

    def _find_end(self, line_end: int) -> tuple[int, int]:
        """Return where the head's last line ends and how wide the empty line behind it is; -1: not yet."""
        pending = self._pending
        start = max(line_end, self._scanned - 3)
        self._scanned = len(pending)
        strict = pending.find(b"\n\r\n", start, HEAD_LIMIT)
        bare = pending.find(b"\n\n", start, strict + 1 if strict >= 0 else HEAD_LIMIT)
        return (bare, 2) if bare >= 0 else (strict, 3)

    def _parse_first(self, line: bytes) -> tuple[Command, Dialect, tuple[int, int]]:
        match = _FIRST.match(line)
        if match is None or match[1].decode() not in Command.__members__:
            raise SpamdError(Exit.PROTOCOL, _readable(line))
        dialect = Dialect(match[2])
        if dialect not in self._dialects:
            raise SpamdError(Exit.PROTOCOL, _readable(line))
        return Command[match[1].decode()], dialect, (int(match[3]), int(match[4]))

    def _take_length(self, request: SpamdRequest) -> None:
        lengths = set(request.values("content-length")) - {""}
        for text in lengths:
            if not (text.isascii() and text.isdigit()):
                raise SpamdError(Exit.PROTOCOL, "(Content-Length contains non-numeric bytes)")
        if len(lengths) > 1:
            raise SpamdError(Exit.PROTOCOL, "(two lengths)")
        if lengths:
            text = lengths.pop()
            if len(text) > LENGTH_DIGITS or int(text) > self._limit:
                raise self._too_large()
            self._length = int(text)
        packing = request.field("compress")
        if packing and "zlib" not in packing.lower():
            raise SpamdError(Exit.PROTOCOL, f"(compression type not supported: {packing[:40]})")
        if packing and self._length is None:
            raise SpamdError(Exit.UNAVAILABLE, "Compress requires Content-length header")
        self._packed = bool(packing)

    def _finish(self) -> SpamdRequest:
        if self._request is None:
            raise TypeError("no head yet")
        pending = self._pending
        content = bytes(pending) if self._length is None else bytes(pending[: self._length])
        pending.clear()
        return msgspec.structs.replace(self._request, content=self._unpack(content) if self._packed else content)

    def _unpack(self, packed: bytes) -> bytes:
        unpacking = zlib.decompressobj()
        limit = min(self._limit, UNPACKED_FREE + UNPACKED_TIMES * len(packed))
        try:
            content = unpacking.decompress(packed, limit + 1)
        except zlib.error as error:
            raise SpamdError(Exit.DATAERR, "the content is no zlib stream") from error
        if len(content) > limit:
            raise self._too_large()
        if not unpacking.eof:
            raise SpamdError(Exit.DATAERR, "the zlib stream is cut off")
        return content

    def _too_large(self) -> SpamdError:
        return SpamdError(Exit.UNAVAILABLE, f"more than {self._limit} bytes")


def parse_lesson(request: SpamdRequest) -> Lesson:
    """Return what a TELL asks for. SpamdError."""
    learn = "local" in request.field("set").lower()
    forget = "local" in request.field("remove").lower()
    if learn and forget:
        raise SpamdError(Exit.PROTOCOL, "Unable to set local and remove local in the same operation.")
    label = request.field("message-class").lower()
    if label not in ("spam", "ham") and (label or learn):
        raise SpamdError(Exit.PROTOCOL, "(Message-class header contains invalid class)")
    return Lesson(spam=label == "spam", learn=learn, forget=forget)


def build_error(code: Exit, text: str) -> bytes:
    """Return the answer to what is not served; `text` in ASCII.

    One line and no more: spamc does not look at the code, and takes whatever has a length behind it for a success.
    """
    return f"SPAMD/1.0 {int(code)} {_WORDS.get(code, _SERVICE)}: {text}\r\n".encode("ascii", "replace")


def build_pong() -> bytes:
    """Return the answer to PING."""
    return b"SPAMD/1.5 0 PONG\r\n"


def build_told(lesson: Lesson | None) -> bytes:
    """Return the answer to TELL: what was done, None for nothing."""
    done = b""
    if lesson is not None:
        done = b"DidSet: local\r\n" if lesson.learn else b"DidRemove: local\r\n"
    return b"SPAMD/1.1 0 EX_OK\r\n" + done + b"\r\n"


def build_scored(request: SpamdRequest, score: float, threshold: float, body: bytes, *, spam: bool) -> bytes:
    """Return the answer to a mail; `body`: what the command asks for beside the score.

    Older clients do not know all fields: which are there follows from command and version, as with spamd itself.
    """
    command, version = request.command, request.version
    words = ("Yes", "No") if command is Command.REPORT_IFSPAM else ("True", "False")
    told = f"Spam: {words[0] if spam else words[1]} ; {score:.1f} / {threshold:.1f}\r\n".encode()
    if command is Command.CHECK:
        return b"SPAMD/1.1 0 EX_OK\r\n" + told + b"\r\n"
    if command is Command.SYMBOLS and version < (1, 3):
        body += b"\r\n"
    length = b"Content-length: %d\r\n" % len(body)
    if version >= (1, 3):
        return b"".join((b"SPAMD/1.1 0 EX_OK\r\n", length, told, b"\r\n", body))
    if command not in (Command.PROCESS, Command.HEADERS):
        return b"".join((b"SPAMD/1.1 0 EX_OK\r\n", told, b"\r\n", body))
    if version >= (1, 2):
        return b"".join((b"SPAMD/1.1 0 EX_OK\r\n", length, b"\r\n", body))
    return b"SPAMD/1.0 0 EX_OK\r\n" + body


def _parse_field(line: bytes) -> tuple[str, str]:
    line = line.rstrip(b"\r")
    match = _FIELD.match(line) if len(line) <= LINE_LIMIT else None
    if match is None:
        raise SpamdError(Exit.PROTOCOL, "(header not in 'Name: value' format)")
    return match[1].decode("ascii").lower(), match[2].strip(b" \t").decode("utf-8", "replace")


def _readable(raw: bytes) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in raw[:80].decode("latin-1"))
