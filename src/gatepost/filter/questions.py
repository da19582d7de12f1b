"""The relay's end of a filter's questions: what was found clean before, connections to remote engines, and whether
anybody gets a message that anti-spam has seen.

Used by `filter.pool`, one `Questions` for each filter. What a filter asks is as untrusted as what it answers: a
question out of turn, of another job, too many of them, or a claim that does not fit what it asked raises
`HostileAnswer`. A filter that lies about a clean object deceives later mail until an engine or its signatures change or
the object is forgotten; so only keys it asked about are taken, and only together with an answer that is sound.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from gatepost.antivirus.engine import Connection
from gatepost.filter.dialogue import (
    KEY_QUESTIONS,
    QUESTION_LIMIT,
    VERSION_LIMIT,
    Answer,
    ConnectionQuestion,
    ConnectionReply,
    KnownQuestion,
    KnownReply,
    Question,
    SpamQuestion,
    SpamReply,
    build_frame,
)
from gatepost.filter.hostile import HostileAnswer
from gatepost.filter.spam_bounds import check_spam
from gatepost.model.finding import EngineNote
from gatepost.model.spam import SpamFacts

SpamJudge = Callable[[SpamFacts], Awaitable[bool]]
"""Tells whether nobody gets a message of which this was found: then it need not be scanned."""

_REASON_LIMIT = 500
"""Characters of the reason why there is no connection."""


class CleanObjects(Protocol):
    """What was found clean before (`relay.clean_cache`)."""

    def known(self, keys: Sequence[bytes]) -> bytes:
        """Return a byte for each key: 1 when it is known, 0 when not."""

    def add(self, keys: Iterable[bytes]) -> None:
        """Remember these keys."""


class EngineConnections(Protocol):
    """Connections to remote engines (`relay.engine_connections`)."""

    async def connect(self, engine: str, holder: int) -> Connection:
        """Return a connected, non-blocking socket, or why there is none. `holder`: the filter that gets it; what it had
        to the same engine before is lost. The socket is closed here once it has been passed on. Cancelled when the
        filter does not wait for it any more.
        """

    def rest(self, holder: int, notes: Iterable[EngineNote]) -> None:
        """Note that the filter has no message in hand and may do without its connections, and what engines did in the
        last one.
        """

    def release(self, holder: int) -> None:
        """Note that the filter has gone, and its connections with it."""


class Services(msgspec.Struct, frozen=True):
    """Who answers the filters of a pool; None: nobody."""

    clean: CleanObjects | None = None
    connections: EngineConnections | None = None


NO_SERVICES = Services()


class Questions:
    """The questions of one filter."""

    def __init__(self, holder: int, services: Services, send: Callable[[bytes, socket.socket | None], None]) -> None:
        """`send` passes a frame, and a descriptor with it, to the filter."""
        self._holder = holder
        self._services = services
        self._send = send
        self._last = 0
        self._connected = False
        self._waiting: asyncio.Task[None] | None = None
        self._keys: tuple[bytes, ...] = ()
        self._known = b""
        self._asked_keys = 0
        self._count = 0
        self._size = 0
        self._judge: SpamJudge | None = None
        self._asked_spam = False
        self._spared = False

    def begin(self, size: int, judge: SpamJudge | None) -> None:
        """A new job of `size` bytes of content: nothing has been asked yet. `judge` None: everything is scanned."""
        self._size = size
        self._judge = judge
        self._asked_spam = self._spared = False
        self._count = 0
        self._keys = ()
        self._known = b""
        self._asked_keys = 0

    def take(self, question: Question) -> None:
        """Answer a question of the job in hand. HostileAnswer."""
        self._count += 1
        if self._waiting is not None or question.number <= self._last or self._count > QUESTION_LIMIT:
            raise HostileAnswer("a question out of turn")
        self._last = question.number
        if isinstance(question, KnownQuestion):
            self._tell_known(question)
        elif isinstance(question, SpamQuestion):
            self._take_spam(question)
        elif self._services.connections is None:
            self._send(build_frame(ConnectionReply(question.number, reason="there are no remote engines")), None)
        else:
            self._connected = True
            self._waiting = asyncio.ensure_future(self._connect(question, self._services.connections))

    def settle(self, answer: Answer) -> None:
        """Check what an otherwise sound answer says of the questions asked, and remember what it found clean."""
        self._abandon()
        analysis = answer.analysis
        if analysis.spared and not self._spared:
            raise HostileAnswer("not scanned, and nobody has said so")
        if not 0 <= analysis.cached <= sum(self._known):
            raise HostileAnswer(f"{analysis.cached} objects known before, of {sum(self._known)}")
        last = -1
        for index in answer.clean:
            if not last < index < len(self._keys) or self._known[index]:
                raise HostileAnswer("a clean object nobody asked about")
            last = index
        if self._connected and self._services.connections is not None:
            self._services.connections.rest(self._holder, analysis.engines)
        if answer.clean and self._services.clean is not None:
            self._services.clean.add(self._keys[index] for index in answer.clean)

    def close(self) -> None:
        """The filter has gone."""
        self._abandon()
        if self._connected and self._services.connections is not None:
            self._services.connections.release(self._holder)

    def _abandon(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _tell_known(self, question: KnownQuestion) -> None:
        self._asked_keys += 1
        if self._asked_keys > KEY_QUESTIONS:
            raise HostileAnswer("a question about keys too many")
        self._keys += question.keys
        clean = self._services.clean
        known = bytes(len(question.keys)) if clean is None else clean.known(question.keys)
        self._known += known
        self._send(build_frame(KnownReply(question.number, known)), None)

    def _take_spam(self, question: SpamQuestion) -> None:
        if self._asked_spam:
            raise HostileAnswer("a second question about spam")
        self._asked_spam = True
        check_spam(question.facts, self._size)
        if self._judge is None:
            self._send(build_frame(SpamReply(question.number, spare=False)), None)
        else:
            self._waiting = asyncio.ensure_future(self._judge_spam(question, self._judge))

    async def _judge_spam(self, question: SpamQuestion, judge: SpamJudge) -> None:
        try:
            self._spared = await judge(question.facts)
        except Exception:  # noqa: BLE001 - a fault of ours, met again when the verdict is due: it is scanned, to be safe
            self._spared = False
        self._waiting = None
        self._send(build_frame(SpamReply(question.number, self._spared)), None)

    async def _connect(self, question: ConnectionQuestion, connections: EngineConnections) -> None:
        try:
            got = await connections.connect(question.engine, self._holder)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not keep the filter waiting
            got = Connection(None, reason=f"internal error: {type(error).__name__}: {error}")
        self._waiting = None
        reason = "" if got.sock is not None else got.reason[:_REASON_LIMIT] or "no connection"
        reply = ConnectionReply(question.number, got.version[:VERSION_LIMIT], reason, got.wait)
        try:
            self._send(build_frame(reply), got.sock)
        finally:
            if got.sock is not None:
                got.sock.close()
