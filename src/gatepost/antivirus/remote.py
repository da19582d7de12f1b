"""A remote engine in the filter: objects over a connection that the relay has made, one at a time.

Made in the template from the configuration, used in forked filters by the anti-virus stage (`begin`, local engines,
`finish`). What is said is the business of a `Dialogue`: `antivirus.clamd`, `antivirus.icap`, `antivirus.command`.
Promises: opens no socket of its own; never waits beyond the engine's time for one object and the caller's deadline; a
connection that breaks is replaced once for each object; a connection that was left in the middle of anything is never
used again; only a whole, sound answer to the whole object is an answer, everything else is trouble.
"""

import hashlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from gatepost.antivirus.engine import Connection, Connector, Outcome, Report, ScanObject
from gatepost.antivirus.kinds import Kind
from gatepost.config.engines import EngineTable, OnFailure
from gatepost.config.units import format_size

RECEIVE_SIZE = 64 * 1024
BUFFERS_AT_ONCE = 16
"""Pieces given to the kernel in one call: an object has three or four."""
REFUSAL_HOLDS_S = 0.2
"""How long a refusal of the relay counts: a message of a hundred objects asks once, not a hundred times."""
PAUSE_MS = 60_000
"""Longest single wait for the socket; the deadline is looked at after each."""
REASON_LIMIT = 300

Buffers = Sequence[bytes | memoryview]


_TEXTS = frozenset({None, Kind.HTML})
"""What a text without a file name is by its content: anything else is a file, whatever it is declared as."""


class Broken(Exception):  # noqa: N818 - what has happened to the connection
    """The other side closed, or said something that it cannot say here. The text says what."""


class Dialogue(Protocol):
    """What is said on one connection."""

    def ask(self, subject: ScanObject) -> Buffers:
        """Return what to send so that the object is scanned. Called when the last one has its report."""

    def take(self, data: bytes) -> Report | Buffers | None:
        """Take what came: the report, more to send, or None when the answer is not whole yet. Broken."""

    @property
    def closing(self) -> bool:
        """Nothing more can be asked on this connection."""


class Remote:
    """One engine of `[[engine]]`. Satisfies `antivirus.engine.RemoteEngine`."""

    def __init__(self, settings: EngineTable, dialogue: Callable[[EngineTable], Dialogue]) -> None:
        self._settings = settings
        self._make_dialogue = dialogue
        self._wait = settings.on_failure is OnFailure.DEFER
        # What of the settings can change an answer: where it is, what it is shown.
        shown = (settings.kind, settings.address, settings.command, settings.members, settings.texts, settings.max_size)
        self._digest = hashlib.sha256(msgspec.msgpack.encode(shown)).hexdigest()[:16]
        self._connector: Connector | None = None
        self._sock: socket.socket | None = None
        self._version = ""
        self._dialogue: Dialogue
        self._refused: Connection | None = None
        self._refused_until = 0.0
        self._subject: ScanObject | None = None
        self._outgoing: deque[memoryview] = deque()
        self._cut_short = False
        """The kernel took no more of it."""
        self._deadline = 0.0
        self._patience = 0.0
        """When the engine's own time for the object is over."""
        self._retried = False
        self._report: Report | None = None
        self._under_way = False
        """An object has been begun and has no report: whatever interrupted that, the connection is lost."""

    @property
    def name(self) -> str:
        """Return its name in the configuration."""
        return self._settings.name

    def attach(self, connector: Connector) -> None:
        """Take the way to connections."""
        self._connector = connector

    def version(self, deadline: float) -> str:
        """Return name, version as the engine states it, a digest of the settings and a number that changes every so
        often (signatures of the engine's administrator do not show in its version); "" when it states none now.
        """
        remember_s = self._settings.remember
        if not remember_s or time.monotonic() >= deadline or not self._connected() or not self._version:
            return ""
        return f"{self.name} {self._version} {self._digest} {int(time.time() // remember_s)}"

    def wants(self, subject: ScanObject) -> bool:
        """Tell whether it is to see the object: by `members` and `texts`, and there must be something to see."""
        settings = self._settings
        return (
            bool(subject.data)
            and (subject.inside is None or subject.secret or settings.members)
            and (settings.texts or not _is_own_text(subject))
        )

    def begin(self, subject: ScanObject, deadline: float) -> None:
        """Send the object off, as far as that goes without waiting."""
        self._report = None
        if len(subject.data) > self._settings.max_size:
            limit = format_size(self._settings.max_size)
            # No trouble of the engine's: it would be the same tomorrow.
            self._report = Report(Outcome.ERROR, evidence=f"{self.name} is given no object of more than {limit}")
            return
        self._subject = subject
        self._patience = time.monotonic() + self._settings.timeout
        self._deadline = min(deadline, self._patience)
        self._retried = False
        try:
            self._send_off()
        except Broken as error:
            self._again(error)

    def finish(self, deadline: float) -> Report:
        """Wait for the answer to what `begin` sent."""
        self._deadline = min(deadline, self._deadline)
        while self._report is None:
            try:
                self._step()
            except Broken as error:
                self._again(error)
        report, self._report, self._subject = self._report, None, None
        return report

    def abandon(self) -> None:
        """Forget what `begin` sent, and the connection it went over."""
        self._drop()
        self._report = self._subject = None

    # --- one object

    def _send_off(self) -> None:
        """Start the dialogue about the object on a sound connection, or make the report that there is none."""
        subject = self._subject
        assert subject is not None
        if self._under_way:
            self._drop()
        if not self._connected():
            refused = self._refused
            reason = refused.reason if refused is not None else "no connection"
            self._report = self._trouble(reason, wait=self._wait or (refused is not None and refused.wait))
            return
        self._under_way = True
        self._cut_short = False
        self._queue(self._dialogue.ask(subject))
        self._write()

    def _again(self, error: Broken) -> None:
        """Try once more on a new connection; the second time it is trouble."""
        self._drop()
        while not self._retried:
            self._retried = True
            try:
                self._send_off()
            except Broken as again:
                error = again
                self._drop()
            else:
                return
        self._report = self._trouble(str(error)[:REASON_LIMIT], wait=self._wait)

    def _step(self) -> None:
        """Wait for the socket and do what it lets us do."""
        sock = self._sock
        assert sock is not None
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            self._drop()
            # When it was the mail that had no more time, waiting would end in the same way.
            waited = self._deadline >= self._patience
            reason = (
                f"no answer within {self._settings.timeout:g} s" if waited else "no answer in the time for the mail"
            )
            self._report = self._trouble(reason, wait=self._wait and waited)
            return
        poller = select.poll()
        poller.register(sock, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        events = poller.poll(min(PAUSE_MS, left_s * 1000 + 1))
        if not events:
            return
        if events[0][1] & ~select.POLLOUT:
            self._read(sock)
        elif self._outgoing:
            self._write()

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise Broken(f"the connection is lost: {error.strerror}") from error
        if not data:
            raise Broken("the connection was closed before the answer")
        said = self._dialogue.take(data)
        if said is None:
            return
        if not isinstance(said, Report):
            self._queue(said)
            self._write()
            return
        unsent = bool(self._outgoing) or self._cut_short
        if said.outcome is Outcome.CLEAN and unsent:
            raise Broken("an answer before the whole object was sent")
        closing = self._dialogue.closing or unsent
        self._under_way = False
        self._report = said
        if closing:
            self._drop()

    def _queue(self, buffers: Buffers) -> None:
        self._outgoing += (memoryview(piece) for piece in buffers if len(piece))

    def _write(self) -> None:
        sock = self._sock
        assert sock is not None
        outgoing = self._outgoing
        while outgoing:
            try:
                pieces = [outgoing[number] for number in range(min(len(outgoing), BUFFERS_AT_ONCE))]
                sent = sock.sendmsg(pieces, (), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # It may have said why before it closed: the reader finds that, or the end.
                outgoing.clear()
                self._cut_short = True
                return
            while sent:
                if sent < len(outgoing[0]):
                    outgoing[0] = outgoing[0][sent:]
                    break
                sent -= len(outgoing.popleft())

    def _trouble(self, reason: str, *, wait: bool) -> Report:
        return Report(Outcome.ERROR, evidence=f"{self.name}: {reason}", trouble=reason, wait=wait)

    # --- the connection

    def _connected(self) -> bool:
        """Have a sound connection: the one at hand, or a new one. False: the relay says there is none."""
        if self._under_way:
            self._drop()
        if self._sock is not None:
            if _is_quiet(self._sock):
                return True
            self._drop()
        if self._refused is not None and time.monotonic() < self._refused_until:
            return False
        if self._connector is None:
            self._refused = Connection(None, reason="there is no way to a connection")
            return False
        got = self._connector.connect(self.name)
        if got.sock is None:
            self._refused, self._refused_until = got, time.monotonic() + REFUSAL_HOLDS_S
            return False
        self._refused = None
        self._sock = got.sock
        self._version = got.version
        self._dialogue = self._make_dialogue(self._settings)
        return True

    def _drop(self) -> None:
        self._under_way = False
        self._outgoing.clear()
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()


def _is_quiet(sock: socket.socket) -> bool:
    """Tell whether a connection at rest is as it should be: open, with nothing to read."""
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except (BlockingIOError, InterruptedError):
        return True
    except OSError:
        return False
    return False


def _is_own_text(subject: ScanObject) -> bool:
    """Tell whether an object is what a mail shows by itself, by content and not only by what it is called."""
    if subject.secret:
        return False
    if subject.header:
        return True
    return subject.content_type.startswith("text/") and not subject.name and subject.kind in _TEXTS
