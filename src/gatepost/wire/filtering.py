"""The filtering protocol, both sides: questions about messages and their answers over one connection.

Used by `service.filter_door` (server) and `client.remote` (client); docs/manual/filter-protocol.md is its description
for others (specification antispam.md §12, row F-ASD-08). Bytes in, events out. Promises: memory is bounded by the
limits below; what breaks a rule raises `FilteringError` and the connection is to be closed; an answer names every
recipient of its question once, and its edits lie within the message.

    frame = length of the payload (4 bytes, network order) | kind (1 byte) | payload
"""

import enum
import struct
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from gatepost.model.filtering import Request, Ruling
from gatepost.wire.filtering_values import (
    Hello,
    Trouble,
    build_json,
    build_question,
    build_ruling,
    parse_hello,
    parse_question,
    parse_ruling,
    parse_trouble,
    plain,
)

VERSION: Final = 1
PIECE_LIMIT: Final = 64 * 1024
"""Bytes of a DATA or EDITS frame (specification antispam.md §12)."""
HELLO_LIMIT: Final = 16 * 1024
"""Bytes of HELLO and ERROR."""
ENVELOPE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of ENVELOPE: a thousand recipients of any length that mail systems take, or ten thousand ordinary ones."""
RESULT_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of RESULT: as many recipients, some of them in groups with marks and fields of their own."""
EDITS_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of what replaces parts of a message: the client holds them in memory."""
CONTENT_LIMIT: Final = 1024 * 1024 * 1024
"""Bytes of a message when the server sets no limit of its own."""

_HEAD: Final = struct.Struct("!IB")
_Value = TypeVar("_Value")


class Frame(enum.IntEnum):
    """Kinds of frames."""

    HELLO = 1
    ENVELOPE = 2
    DATA = 3
    END = 4
    RESULT = 5
    ERROR = 6
    QUIT = 7
    EDITS = 8
    """Server: new bytes that the splices of the next RESULT point to."""


class ErrorCode(enum.StrEnum):
    """What ERROR says. After all but UNJUDGED the connection ends."""

    UNJUDGED = "unjudged"
    """This message could not be judged now."""
    BAD = "bad"
    """The client broke a rule."""
    VERSION = "version"
    """No version is known to both."""
    TOO_LARGE = "too-large"
    """More content than the server takes at all."""


class FilteringError(ValueError):
    """The peer broke a rule."""

    def __init__(self, text: str, code: ErrorCode = ErrorCode.BAD) -> None:
        super().__init__(text)
        self.code = code

    @property
    def frame(self) -> bytes:
        """What a server says of it before it closes."""
        return _trouble(self.code, str(self))


class Asked(msgspec.Struct, frozen=True):
    """ENVELOPE: a question begins."""

    request: Request
    size: int
    """Bytes of content that follow."""
    deadline_s: float
    """How long the client waits; 0: it does not say."""


class Ended(msgspec.Struct, frozen=True):
    """END: the question is complete; its answer is due."""


class Left(msgspec.Struct, frozen=True):
    """QUIT: the client has no more questions."""


class Refused(msgspec.Struct, frozen=True):
    """ERROR: there is no answer."""

    text: str
    closes: bool
    """The connection ends."""


ServerEvent = Hello | Asked | bytes | Ended | Left
"""`bytes`: a piece of content."""
ClientEvent = Hello | Ruling | Refused


class _State(enum.Enum):
    """Of one connection, seen by the server."""

    NEW = "new"
    READY = "ready"
    CONTENT = "content"
    JUDGING = "judging"
    """The answer is due; what comes meanwhile is kept until it is given."""
    ENDED = "ended"


_RESTS: Final = (_State.JUDGING, _State.ENDED)
"""States in which nothing is taken."""


class _Cutter:
    """Cuts what comes in into frames."""

    def __init__(self, limits: dict[int, int]) -> None:
        """`limits`: the longest payload of each kind that may come at all."""
        self._limits = limits
        self._pending = bytearray()
        self._at = 0

    def add(self, data: bytes) -> None:
        if self._at:
            del self._pending[: self._at]
            self._at = 0
        self._pending += data

    def next(self) -> tuple[int, bytes] | None:
        """Return kind and payload of the next whole frame. FilteringError."""
        pending, at = self._pending, self._at
        if len(pending) - at < _HEAD.size:
            return None
        length, kind = _HEAD.unpack_from(pending, at)
        limit = self._limits.get(kind)
        if limit is None:
            raise FilteringError(f"a frame of kind {kind}")
        if length > limit:
            raise FilteringError(f"a frame {Frame(kind).name} of {length} bytes, more than {limit}")
        end = at + _HEAD.size + length
        if len(pending) < end:
            return None
        self._at = end
        return kind, bytes(memoryview(pending)[at + _HEAD.size : end])


class FilterServerSession:
    """One connection, server's side. HELLO, then for each message ENVELOPE, DATA …, END; one answer each."""

    def __init__(self, software: str, size_limit: int = 0) -> None:
        """`size_limit`: bytes above which messages are not looked at, told to clients; 0: none."""
        self._hello = Hello(VERSION, software, size_limit=size_limit)
        self._cutter = _Cutter(
            {
                Frame.HELLO: HELLO_LIMIT,
                Frame.ENVELOPE: ENVELOPE_LIMIT,
                Frame.DATA: PIECE_LIMIT,
                Frame.END: 0,
                Frame.QUIT: 0,
            }
        )
        self._state = _State.NEW
        self._size = 0
        self._came = 0

    @property
    def asked(self) -> bool:
        """A question is under way: its content comes, or its answer is due."""
        return self._state in {_State.CONTENT, _State.JUDGING}

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take received bytes, return what they complete, up to the end of a question. FilteringError.

        After an answer call it once more, with b"" if nothing has come: the next question may be there already.
        """
        cutter = self._cutter
        if data:
            cutter.add(data)
        events: list[ServerEvent] = []
        while self._state not in _RESTS and (frame := cutter.next()) is not None:
            events.append(self._take(*frame))
        return events

    def hello(self) -> bytes:
        """Return the answer to the client's HELLO."""
        return _frame(Frame.HELLO, build_json(self._hello))

    def result(self, ruling: Ruling) -> bytes:
        """Return the answer to the question. ValueError: it is larger than a client takes; say `unjudged`."""
        told, edits = build_ruling(ruling)
        if len(told) > RESULT_LIMIT or len(edits) > EDITS_LIMIT:
            raise ValueError("the answer is larger than the protocol allows")
        self._state = _State.READY
        if not edits:
            return _frame(Frame.RESULT, told)
        return b"".join((*_pieces(Frame.EDITS, edits), _frame(Frame.RESULT, told)))

    def unjudged(self, why: str) -> bytes:
        """Return the answer that there is none."""
        self._state = _State.READY
        return _trouble(ErrorCode.UNJUDGED, why)

    def _take(self, kind: int, payload: bytes) -> ServerEvent:
        state = self._state
        if state is _State.CONTENT:
            if kind == Frame.DATA:
                self._came += len(payload)
                if self._came > self._size:
                    raise FilteringError("more content than announced")
                return payload
            if kind == Frame.END:
                if self._came != self._size:
                    raise FilteringError(f"{self._size} bytes of content announced, {self._came} came")
                self._state = _State.JUDGING
                return Ended()
        elif kind == Frame.QUIT:
            self._state = _State.ENDED
            return Left()
        elif state is _State.READY and kind == Frame.ENVELOPE:
            return self._begin(payload)
        elif state is _State.NEW and kind == Frame.HELLO:
            self._state = _State.READY
            return _parsed(parse_hello, payload)
        raise FilteringError(f"{Frame(kind).name} has no place here")

    def _begin(self, payload: bytes) -> Asked:
        request, size, deadline_s = _parsed(parse_question, payload)
        if size > CONTENT_LIMIT:
            raise FilteringError(f"a message of {size} bytes, more than {CONTENT_LIMIT}", ErrorCode.TOO_LARGE)
        self._state = _State.CONTENT
        self._size = size
        self._came = 0
        return Asked(request, size, deadline_s)


class FilterClientSession:
    """One connection, client's side: one question at a time, each answered before the next."""

    def __init__(self, software: str) -> None:
        self._software = software
        self._cutter = _Cutter(
            {
                Frame.HELLO: HELLO_LIMIT,
                Frame.EDITS: PIECE_LIMIT,
                Frame.RESULT: RESULT_LIMIT,
                Frame.ERROR: HELLO_LIMIT,
            }
        )
        self._greeted = False
        self._open = False
        self._edits = bytearray()
        self._names: dict[str, str] = {}
        self._size = 0

    def hello(self) -> bytes:
        """Return the first bytes of a connection."""
        return _frame(Frame.HELLO, build_json(Hello(VERSION, self._software)))

    def ask(self, request: Request, size: int, deadline_s: float) -> bytes:
        """Begin a question about a message of `size` bytes, whose answer is awaited `deadline_s` seconds.

        Return the ENVELOPE; then send `build_data` of the content, and `END`. ValueError: it is over a limit.
        """
        if size > CONTENT_LIMIT:
            raise ValueError(f"a message of more than {CONTENT_LIMIT} bytes")
        payload = build_question(request, size, deadline_s)
        if len(payload) > ENVELOPE_LIMIT:
            raise ValueError("an envelope larger than the protocol allows")
        self._names = {plain(each): each for each in request.recipients}
        if len(self._names) != len(set(request.recipients)):
            raise ValueError("recipients that differ only in what cannot be sent")
        self._open = True
        self._size = size
        self._edits.clear()
        return _frame(Frame.ENVELOPE, payload)

    def feed(self, data: bytes) -> list[ClientEvent]:
        """Take received bytes, return what they complete. FilteringError."""
        self._cutter.add(data)
        events: list[ClientEvent] = []
        while (frame := self._cutter.next()) is not None:
            event = self._take(*frame)
            if event is not None:
                events.append(event)
        return events

    def _take(self, kind: int, payload: bytes) -> ClientEvent | None:
        if kind == Frame.ERROR:
            told = _parsed(parse_trouble, payload)
            self._open = False
            return Refused(told.text or told.code, closes=told.code != ErrorCode.UNJUDGED)
        if kind == Frame.HELLO and not self._greeted:
            hello = _parsed(parse_hello, payload)
            if hello.version != VERSION:
                raise FilteringError(f"version {hello.version} of the protocol", ErrorCode.VERSION)
            self._greeted = True
            return hello
        if not self._open or not self._greeted or kind == Frame.HELLO:
            raise FilteringError(f"{Frame(kind).name} has no place here")
        if kind == Frame.EDITS:
            if len(self._edits) + len(payload) > EDITS_LIMIT:
                raise FilteringError(f"more than {EDITS_LIMIT} bytes of edits")
            self._edits += payload
            return None
        self._open = False
        return self._result(payload)

    def _result(self, payload: bytes) -> Ruling:
        edits = bytes(self._edits)
        self._edits.clear()
        try:
            ruling = parse_ruling(payload, edits, self._size, self._names.get)
        except (ValueError, RecursionError) as error:
            raise FilteringError(f"RESULT: {error}") from None
        named: set[str] = set()
        for part in ruling.parts:
            mine = set(part.recipients)
            if not named.isdisjoint(mine):
                raise FilteringError("RESULT: a recipient in two parts")
            named |= mine
        if len(named) != len(self._names):
            raise FilteringError("RESULT: not every recipient has a part")
        return ruling


END: Final = _HEAD.pack(0, Frame.END)
QUIT: Final = _HEAD.pack(0, Frame.QUIT)


def build_data(content: bytes) -> list[bytes]:
    """Return the DATA frames of content, or of a piece of it."""
    return _pieces(Frame.DATA, content)


def _pieces(kind: Frame, data: bytes) -> list[bytes]:
    if len(data) <= PIECE_LIMIT:
        return [_HEAD.pack(len(data), kind), data] if data else []
    pieces: list[bytes] = []
    for start in range(0, len(data), PIECE_LIMIT):
        piece = data[start : start + PIECE_LIMIT]
        pieces += (_HEAD.pack(len(piece), kind), piece)
    return pieces


def _frame(kind: Frame, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), kind) + payload


def _trouble(code: ErrorCode, text: str) -> bytes:
    return _frame(Frame.ERROR, build_json(Trouble(code, plain(text)[:1000])))


def _parsed(parse: "Callable[[bytes], _Value]", payload: bytes) -> "_Value":
    try:
        return parse(payload)
    except (ValueError, RecursionError) as error:
        raise FilteringError(str(error)) from None
