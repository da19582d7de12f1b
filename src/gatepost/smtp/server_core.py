"""What every part of the receiving session stands on: input, output, events, decisions, refusals.

Base of `server_data.ContentSession`; `server.ServerSession` is the whole and says what is promised.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from gatepost.model.reply import Reply
from gatepost.smtp import replies
from gatepost.smtp.input import InputBuffer
from gatepost.smtp.server_events import Cause, Event, Refused, Stage
from gatepost.smtp.server_offer import build_offer
from gatepost.smtp.settings import ServerSettings

ERROR_LIMIT: Final = 20
"""Wrong commands since the last accepted message: more than a mistaken client sends, fewer than a prober wants."""
FRUITLESS_LIMIT: Final = 100
"""Commands since the last accepted message that were in order and brought mail no nearer: NOOP, another EHLO, a refused
recipient. A session that lives on them holds a place for ever, or harvests addresses. All recipients of one message may
be refused besides."""


class Phase(enum.Enum):
    """Where the dialogue stands; the command table says what is legal in which."""

    START = "start"
    """No HELO or EHLO yet."""
    READY = "ready"
    """No transaction."""
    SENDER = "sender"
    """MAIL accepted, no recipient yet."""
    RECIPIENTS = "recipients"
    """At least one recipient accepted."""
    CHUNKS = "chunks"
    """Content has begun by BDAT, its last chunk has not come."""


# A member read through its class is a call (0.1 µs in Python 3.11): what is needed at every command is read here once.
START = Phase.START
READY = Phase.READY


class SessionCore:
    """State that all commands share."""

    # More than 30 attributes without slots would make each of them slower to reach, in every command.
    __slots__ = (
        "_client_ip",
        "_errors",
        "_esmtp",
        "_events",
        "_fruitless",
        "_input",
        "_offer",
        "_output",
        "_pending",
        "_phase",
        "_recipients",
        "_refused_transaction",
        "_settings",
        "_step",
        "client_subject",
        "closed",
        "period",
        "tls",
        "user",
    )

    def __init__(self, settings: ServerSettings, client_ip: str, tls: tuple[str, str] | None = None) -> None:
        """`tls` is (version, cipher) when the connection began with a handshake."""
        self._settings = settings
        self._client_ip = client_ip
        self.tls = " ".join(tls) if tls is not None else ""
        """Version and cipher, "" in clear."""
        self.client_subject = ""
        """Subject of the client's certificate, when it showed a good one."""
        self.user = ""
        """Who signed in, "" for nobody."""
        self._offer = build_offer(settings, encrypted=tls is not None, signed_in=False)
        self._input = InputBuffer()
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self._pending: Callable[[Reply | None], None] | None = None
        self._step: Callable[[Any], bool] | None = None
        """What reads the input, given the session; False when there is not enough. None: a command is read."""
        self._phase = START
        self._esmtp = False
        self._recipients = 0
        self._refused_transaction = False
        self._errors = 0
        self._fruitless = 0
        self.closed = False
        """Nothing more will be said: write what `take_output` gives, then close the connection."""
        self.period = 0
        """Changes whenever a new timeout begins to run: the shell keeps its timer while it stays the same."""

    def _renew_offer(self) -> None:
        """Note that the security of the session has changed."""
        self._offer = build_offer(self._settings, encrypted=self.tls != "", signed_in=self.user != "")

    def _ask(self, event: Event, decide: Callable[[Reply | None], None]) -> None:
        """Give out an event whose answer `decide` carries out."""
        self._pending = decide
        self._events.append(event)

    def _reject(self, stage: Stage, answer: Reply, cause: Cause = Cause.SYNTAX) -> None:
        """Answer a wrong command; close after too many."""
        self._refuse(stage, cause, self._count_error(answer))

    def _count_error(self, answer: Reply) -> Reply:
        """Return what is to be said of a wrong command."""
        self._errors += 1
        return replies.TOO_MANY_ERRORS if self._errors > ERROR_LIMIT else answer

    def _refuse(self, stage: Stage, cause: Cause, answer: Reply) -> None:
        if stage in {Stage.MAIL, Stage.RCPT}:
            self._refused_transaction = True
        self._send(answer)
        self._events.append(Refused(stage, cause, answer))

    def _send(self, answer: Reply) -> None:
        if self.closed:
            return
        self._output.append(replies.render(answer, enhanced=self._esmtp))
        if answer.closes or answer.code == 421:
            self._close()

    def _close(self) -> None:
        self.closed = True
        self._pending = None
        self._step = None
        self._input.put_back(b"")
