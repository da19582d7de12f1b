"""The first half of a sending session: from the greeting, over TLS if it is wanted, to the session that can take mail.

`client.ClientSession` adds the transactions. Here is what holds for both: replies are matched with the commands that
wait for one, oldest first; no reply raises; unknown trouble is temporary.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

from gatepost.model.reply import Reply, reply
from gatepost.smtp.client_events import Closed, Event, Ready, Refused, StartTls, TlsState
from gatepost.smtp.client_phase import MAYBE_TAKEN, TIMEOUTS, Phase
from gatepost.smtp.errors import ReplySyntaxError
from gatepost.smtp.extensions import Extensions, parse_extensions
from gatepost.smtp.reply_parser import ReplyParser
from gatepost.smtp.settings import ClientSettings, TlsUse

# A member read through its class is a call (0.1 µs in Python 3.11): what every transaction needs is read here once.
_QUIT = Phase.QUIT
_OPENING_PHASES: Final = frozenset({Phase.GREETING, Phase.HELLO, Phase.STARTTLS})

Take = Callable[[Any, Reply, int], None]
"""A method that takes the reply to a command, with the index that went with it."""


class OpeningSession:
    """A connection to a peer until it is `Ready`, and what every part of the session needs."""

    def __init__(self, settings: ClientSettings, *, tls_active: bool = False) -> None:
        self._settings = settings
        self._parser = ReplyParser()
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self._expected: deque[tuple[Phase, int]] = deque([(Phase.GREETING, 0)])
        """Replies to come, oldest first; with some goes the index of the recipient."""
        self._greeted_with_helo = False
        self._handshaking = False
        self._ended = False
        self.extensions = Extensions()
        """What the peer offered; meaningful from `Ready` on."""
        self.tls = TlsState.ACTIVE if tls_active else TlsState.UNWANTED
        """What came of TLS; meaningful from `Ready` or `Refused` on."""
        self.closed = False
        """Nothing more will be said: write what `take_output` gives, then close the connection."""

    # -- what the shell calls ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; what comes after the session has closed is dropped."""
        if self._handshaking and data:
            self._fail_injected()
        elif not self.closed:
            self._parser.feed(data)

    def next_event(self) -> Event | None:
        """Return the next event; None when bytes or a call are needed, or the session is closed."""
        while not self._events and not self.closed:
            try:
                answer = self._parser.next_reply()
            except ReplySyntaxError as error:
                self._fail(f"protocol error: {error}", "4.5.0")
                break
            if answer is None:
                if self._ended:
                    self._fail(f"connection lost while {self._wait}", "4.4.2")
                break
            self._take_reply(answer)
        return self._events.popleft() if self._events else None

    def tls_started(self) -> None:
        """Go on after the handshake that `StartTls` asked for: all that was said in clear is forgotten (RFC 3207 §4.2),
        and EHLO sent anew.
        """
        if not self._handshaking:
            if self.closed:
                return  # the peer sent something in clear meanwhile
            raise RuntimeError(f"not possible while {self.waiting.value}")
        self._handshaking = False
        self._expected.clear()
        self._parser = ReplyParser()
        self.extensions = Extensions()
        self.tls = TlsState.ACTIVE
        self._say_hello()

    def eof(self) -> None:
        """Note that the peer has closed the connection; replies that came before are still worked off."""
        self._ended = True

    def timeout(self) -> None:
        """Give up the wait for a reply or a write."""
        self._fail(f"timeout while {self._wait}", "4.4.2")

    @property
    def _wait(self) -> str:
        """What was waited for in vain, for the administrator."""
        waiting = self.waiting
        return waiting.value + (MAYBE_TAKEN if waiting is Phase.DATA_TERMINATION else "")

    @property
    def waiting(self) -> Phase:
        """What the session is doing: the phase of the oldest reply to come, else SENDING, IDLE or CLOSED."""
        if self.closed:
            return Phase.CLOSED
        return self._expected[0][0] if self._expected else self._unasked_phase()

    def _unasked_phase(self) -> Phase:
        """Return the phase while no reply is awaited."""
        return Phase.IDLE

    @property
    def timeout_s(self) -> float:
        """Seconds the next reply may take, 0 when none is awaited."""
        name = TIMEOUTS.get(self.waiting)
        return 0.0 if name is None else float(getattr(self._settings, name))

    # -- replies -------------------------------------------------------------------------------------------------

    def _take_reply(self, answer: Reply) -> None:
        """Match a reply with the oldest command that waits for one."""
        expected = self._expected
        if expected and expected[0][0] is _QUIT:
            self._close()
        elif answer.code == 421:
            self._take_service_closing(answer)
        elif not expected:
            self._take_unasked(answer)
        else:
            phase, index = expected.popleft()
            self._TAKE[phase](self, answer, index)

    def _take_service_closing(self, answer: Reply) -> None:
        """421 may come at any time (RFC 5321 §3.8): it ends whatever is under way."""
        if self.waiting in _OPENING_PHASES:
            self._events.append(Refused(answer))
        else:
            self._events.append(Closed(f"peer closes: {answer.code} {answer.text}"))
        self._close()

    def _take_unasked(self, answer: Reply) -> None:
        self._fail(f"protocol error: unexpected reply {answer.code}", "4.5.0")

    def _take_greeting(self, answer: Reply, _index: int) -> None:
        if answer.code == 220:
            self._say_hello()
        else:
            self._refuse(answer)

    def _say_hello(self) -> None:
        self._command(self._hello(b"LHLO " if self._settings.lmtp else b"EHLO "), Phase.HELLO)

    def _hello(self, verb: bytes) -> bytes:
        return verb + self._settings.hostname.encode("ascii", "replace") + b"\r\n"

    def _take_hello(self, answer: Reply, _index: int) -> None:
        if answer.code == 250:
            if not self._greeted_with_helo:
                self.extensions = parse_extensions(answer)
            self._greeted()
        elif answer.permanent and not self._greeted_with_helo and not self._settings.lmtp:
            self._greeted_with_helo = True
            self._command(self._hello(b"HELO "), Phase.HELLO)
        else:
            self._refuse(answer)

    def _greeted(self) -> None:
        """Begin TLS if it is wanted, else the session is ready."""
        wanted = self._settings.tls
        if wanted is TlsUse.NONE or self.tls is TlsState.ACTIVE:
            self._ready()
        elif self.extensions.starttls:
            self._command(b"STARTTLS\r\n", Phase.STARTTLS)
        else:
            self._go_without_tls(TlsState.ABSENT, "TLS is required, and the next server does not offer it")

    def _take_starttls(self, answer: Reply, _index: int) -> None:
        if answer.code == 220:
            if self._parser.pending:
                self._fail_injected()
                return
            self._handshaking = True
            self._expected.append((Phase.HANDSHAKE, 0))
            self._events.append(StartTls())
        elif answer.code < 400:
            self._fail(f"protocol error: {answer.code} to STARTTLS", "4.5.0")
        else:
            self._go_without_tls(
                TlsState.REFUSED, f"TLS is required, and the next server refused it: {answer.code} {answer.text}"
            )

    def _go_without_tls(self, state: TlsState, reason: str) -> None:
        self.tls = state
        if self._settings.tls is TlsUse.ENCRYPT:
            self._refuse(reply(451, "4.7.4", reason))
        else:
            self._ready()

    def _fail_injected(self) -> None:
        """End the session: what came in clear behind the reply to STARTTLS would be read as if said under TLS."""
        self._fail("protocol error: peer sent data behind STARTTLS", "4.5.0")

    def _ready(self) -> None:
        self._events.append(Ready(self.extensions, self.tls))

    def _refuse(self, answer: Reply) -> None:
        """Leave politely a peer that does not want us (RFC 5321 §3.1), or that we do not want."""
        if answer.code < 400:
            self._fail(f"protocol error: unexpected reply {answer.code}", "4.5.0")
        else:
            self._events.append(Refused(answer))
            self._output.append(b"QUIT\r\n")
            self._close()

    _TAKE: ClassVar[dict[Phase, Take]] = {
        Phase.GREETING: _take_greeting,
        Phase.HELLO: _take_hello,
        Phase.STARTTLS: _take_starttls,
    }
    """For each command what takes the reply to it; that to QUIT ends the session before."""

    # -- the session's end ---------------------------------------------------------------------------------------

    def _command(self, line: bytes, phase: Phase, index: int = 0) -> None:
        self._output.append(line)
        self._expected.append((phase, index))

    def _fail(self, reason: str, enhanced: str) -> None:
        """End the session for a reason that is no reply; what is undecided becomes temporary."""
        if self.closed:
            return
        if self.waiting is not _QUIT:
            self._events.append(self._lost(reason, enhanced))
        self._close()

    def _lost(self, reason: str, _enhanced: str) -> Closed:
        return Closed(reason)

    def _close(self) -> None:
        self._expected.clear()
        self._handshaking = False
        self.closed = True
