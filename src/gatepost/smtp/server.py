"""The receiving role of SMTP (RFC 5321), sans-I/O: one `ServerSession` per connection, driven by the relay's shell.

The shell writes `greeting()`, then loops: feed what was read, take events until there is none, answer those that are
decisions, write `take_output()`, and close when `closed`. While `waiting` is DECISION it stops reading, so that a
session never holds more than one read. Nothing after a pending decision is interpreted before its answer: replies keep
the order of the commands, also in batches (RFC 2920).

Promises: no input raises; memory is bounded by what was fed last; only CRLF ends a command and only CRLF dot CRLF
ends content; every line put out is well-formed.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gatepost.model.envelope import Body
from gatepost.model.reply import Reply
from gatepost.smtp import replies
from gatepost.smtp.content import LineFeedPolicy
from gatepost.smtp.input import LineFault
from gatepost.smtp.requests import Request, parse_request
from gatepost.smtp.server_access import AccessSession
from gatepost.smtp.server_core import FRUITLESS_LIMIT, READY, START, Phase
from gatepost.smtp.server_events import (
    TEMPORARILY_UNKNOWN,
    Cause,
    ClientForwarded,
    ClientOverride,
    DataAborted,
    DataBegin,
    DataChunk,
    DataEnd,
    Event,
    Hello,
    MailFrom,
    Quit,
    RcptTo,
    Refused,
    SignIn,
    Stage,
    StartTls,
    Verify,
)
from gatepost.smtp.server_offer import Extension
from gatepost.smtp.settings import ServerSettings

__all__ = [
    "TEMPORARILY_UNKNOWN",
    "Cause",
    "ClientForwarded",
    "ClientOverride",
    "DataAborted",
    "DataBegin",
    "DataChunk",
    "DataEnd",
    "Event",
    "Hello",
    "LineFeedPolicy",
    "MailFrom",
    "Quit",
    "RcptTo",
    "Refused",
    "ServerSession",
    "ServerSettings",
    "SignIn",
    "Stage",
    "StartTls",
    "Verify",
    "Waiting",
]


class Waiting(enum.Enum):
    """What the session waits for, and so which timeout runs."""

    COMMAND = "command"
    """A command; the time starts anew with each."""
    DATA_INITIATION = "data-initiation"
    """DATA or more recipients; one time for all of it, from the first accepted recipient."""
    DATA = "data"
    """The end of the content, from the 354."""
    HANDSHAKE = "handshake"
    """The TLS handshake the shell makes; then `tls_started`."""
    DECISION = "decision"
    """The shell's own answer."""


# A member read through its class is a call (0.1 µs in Python 3.11): what is needed at every command is read here once.
_SENDER = Phase.SENDER
_RECIPIENTS = Phase.RECIPIENTS
_CHUNKS = Phase.CHUNKS
_BINARY = Body.BINARY
_AWAIT_COMMAND = Waiting.COMMAND
_AWAIT_DATA_INITIATION = Waiting.DATA_INITIATION
_AWAIT_DATA = Waiting.DATA
_AWAIT_HANDSHAKE = Waiting.HANDSHAKE
_AWAIT_DECISION = Waiting.DECISION

# The standard replies of every transaction, as they go out after HELO and after EHLO.
_SENDER_OK = replies.render_both(replies.SENDER_OK)
_RECIPIENT_OK = replies.render_both(replies.RECIPIENT_OK)


class ServerSession(AccessSession):
    """Protocol state of one connection. `answer` decides the event given out last."""

    __slots__ = (
        "_ended",
        "_greeted",
        "_messages",
        "_smtputf8",
        "_stopping",
        "_talked_early",
    )

    def __init__(self, settings: ServerSettings, client_ip: str, tls: tuple[str, str] | None = None) -> None:
        """`tls` is (version, cipher) when the connection began with a handshake."""
        super().__init__(settings, client_ip, tls)
        self._smtputf8 = False
        """The transaction declared SMTPUTF8."""
        self._messages = 0
        self._stopping = False
        self._ended = False
        self._greeted = False
        self._talked_early = False

    # -- what the shell calls ------------------------------------------------------------------------------------

    def greeting(self) -> bytes:
        """Return the banner; feed what came before it first, and ask `talked_early`."""
        self._talked_early = self.talked_early
        self._greeted = True
        return self._banner()

    @property
    def talked_early(self) -> bool:
        """Tell whether bytes were fed before the greeting (`replies.TALKED_EARLY` may be all the client is told)."""
        return self._talked_early if self._greeted else not self._input.empty

    def refuse(self, answer: Reply) -> None:
        """Close with `answer`: in place of the greeting, or when the shell has had enough between two commands."""
        self._say_last(msgspec.structs.replace(answer, closes=True))

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; what comes after the session has closed is dropped."""
        if not self.closed:
            self._input.feed(data)

    def next_event(self) -> Event | None:
        """Return the next event; None when bytes or an answer are needed, or the session is closed."""
        while not self._events and self._pending is None and not self.closed:
            step = self._step
            if not (self._read_command() if step is None else step(self)):
                if self._ended:
                    self._abandon_content(None)
                    self.closed = True
                break
        return self._events.popleft() if self._events else None

    def answer(self, decision: Reply | None = None) -> None:
        """Decide the pending event: None gives the standard positive reply. Ignored when the session has closed."""
        if self.closed:
            return
        decide = self._pending
        if decide is None or self._events:
            raise RuntimeError("the event given out last waits for no decision")
        self._pending = None
        decide(decision)

    def answer_each(self, decisions: Sequence[Reply]) -> None:
        """Decide the pending `DataEnd` of LMTP: a reply for each accepted recipient, in their order."""
        if self.closed:
            return
        if self._pending != self._decide_end or self._events or len(decisions) != self._replies_due:
            raise RuntimeError("no end of content waits for as many decisions")
        self._pending = None
        self._reset(READY)
        if any(decision.positive for decision in decisions):
            self._errors = self._fruitless = 0
        for decision in decisions:
            self._send(decision)

    def take_output(self) -> bytes:
        """Return and forget everything to be written, replies in order."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def eof(self) -> None:
        """Note that the peer sends nothing more: what it sent is still worked off, then the session closes."""
        self._ended = True

    def timeout(self) -> None:
        """Say 421 4.4.2 and close, without a word in a handshake; content that was coming in is aborted."""
        self._abandon_content(replies.TIMED_OUT)
        self._say_last(replies.TIMED_OUT)

    def shutdown(self) -> None:
        """Say 421 4.3.2 and close at the next boundary between commands: at once when idle."""
        self._stopping = True
        idle = (self._step is None and not self._in_content) or self._exchange is not None
        if idle and self._pending is None and not self._events:
            self._send(replies.SHUTTING_DOWN)

    @property
    def quits(self) -> bool:
        """Tell whether QUIT came behind what waits for its decision: a client that sends nothing more hears the reply.

        Exim pipelines it behind the content of its last message, and ends its side of the connection at once.
        """
        return self._pending is not None and self._input.begins_with(b"QUIT\r\n")

    @property
    def waiting(self) -> Waiting:
        """What the session waits for; DECISION from the moment the event to be decided has been given out."""
        if self._pending is not None and not self._events:
            return _AWAIT_DECISION
        if self._data is not None or self._chunks is not None:
            return _AWAIT_DATA
        if self._handshaking:
            return _AWAIT_HANDSHAKE
        return _AWAIT_DATA_INITIATION if self._phase is _RECIPIENTS else _AWAIT_COMMAND

    @property
    def timeout_s(self) -> float:
        """Seconds the present wait may last, from the moment `period` changed; 0 while a decision is pending."""
        match self.waiting:
            case Waiting.COMMAND:
                return self._settings.command_s
            case Waiting.DATA_INITIATION:
                return self._settings.data_initiation_s
            case Waiting.DATA:
                return self._settings.data_termination_s
            case Waiting.HANDSHAKE:
                return self._settings.command_s
            case Waiting.DECISION:
                return 0.0

    def _say_last(self, answer: Reply) -> None:
        """Put out a reply that closes; in a handshake plain text would only break it."""
        if self._handshaking:
            self._close()
        else:
            self._send(answer)

    # -- commands ------------------------------------------------------------------------------------------------

    def _read_command(self) -> bool:
        """Interpret one command line; False when none is complete."""
        if self._stopping and not self._in_content:
            self._send(replies.SHUTTING_DOWN)
            return True
        raw_line = self._input.next_line(self._offer.line_limit)
        if raw_line is None:
            return False
        if self._fruitless > FRUITLESS_LIMIT + self._settings.recipients_limit:
            self._refuse(Stage.HELO, Cause.FRUITLESS, replies.TOO_FRUITLESS)
            return True
        phase = self._phase
        if phase is not _RECIPIENTS and phase is not _CHUNKS:
            self.period += 1
        if isinstance(raw_line, LineFault):
            self._reject(Stage.HELO if phase is START else Stage.MAIL, _LINE_REPLIES[raw_line])
            return True
        request = parse_request(raw_line)
        if request.fault is not None:
            if request.fault.closes:
                self._refuse(request.stage, Cause.SYNTAX, request.fault)
            else:
                self._reject(request.stage, request.fault)
            return True
        take, phases, extension = _COMMANDS[request.verb]
        if extension is not None and extension not in self._offer.extensions:
            self._refuse_verb(extension, request.stage)
        elif phase not in phases:
            self._refuse_sequence(request.verb, request.stage)
        elif request.needs and (missing := self._find_missing(request)) is not None:
            self._reject(request.stage, missing)
        elif request.argument_fault is not None:
            self._reject(request.stage, request.argument_fault)
        else:
            take(self, request.argument)
        return True

    def _refuse_verb(self, extension: Extension, stage: Stage) -> None:
        if extension in {Extension.XCLIENT, Extension.XFORWARD}:
            self._reject(stage, replies.NOT_TRUSTED, Cause.NOT_TRUSTED)
        else:
            self._reject(stage, replies.NOT_IMPLEMENTED)

    def _refuse_sequence(self, verb: str, stage: Stage) -> None:
        """Answer a command out of order; what was pipelined behind a refused MAIL or RCPT is no fault of the peer's."""
        if self._refused_transaction and verb in {"RCPT", "DATA"}:
            self._fruitless += 1
            self._send(replies.NO_RECIPIENTS if self._phase is _SENDER else replies.BAD_SEQUENCE)
        else:
            self._reject(stage, replies.BAD_SEQUENCE)

    def _find_missing(self, request: Request) -> Reply | None:
        """Return what is said of an argument that uses what is not there, None when all of it is."""
        if not request.needs <= self._offer.extensions:
            return request.lacking
        if request.verb == "RCPT" and not self._smtputf8 and Extension.SMTPUTF8 in request.needs:
            return replies.NON_ASCII_ADDRESS
        return None

    def _hello(self, hello: Hello) -> None:
        if hello.lmtp is not self._settings.lmtp:
            self._reject(Stage.HELO, replies.NOT_RECOGNISED)  # RFC 2033 §4.1: of HELO, EHLO and LHLO only one side's
            return

        def decide(decision: Reply | None) -> None:
            self._fruitless += 1
            if decision is None or decision.positive:
                self._esmtp = hello.esmtp
                self._reset(READY)
            if decision is None:
                settings = self._settings
                text = f"{settings.hostname} hello {hello.name} [{self._client_ip}]"
                keywords = self._offer.keywords if hello.esmtp else b""
                self._output.append(replies.render_hello(text, keywords))
            else:
                self._send(decision)

        self._ask(hello, decide)

    def _mail(self, mail: MailFrom) -> None:
        settings = self._settings
        barrier = self._offer.barrier
        if barrier is not None:
            cause, answer = barrier
            self._reject(Stage.MAIL, answer, cause)
        elif self._messages >= settings.messages_limit:
            self._refuse(Stage.MAIL, Cause.MESSAGES_PER_SESSION, replies.TOO_MANY_MESSAGES)
        elif mail.size > settings.size_limit:
            self._refuse(Stage.MAIL, Cause.MESSAGE_SIZE, replies.MESSAGE_TOO_LARGE)
        elif self._content_bytes + (mail.size or 1) > settings.session_bytes_limit:
            self._refuse(Stage.MAIL, Cause.SESSION_SIZE, replies.SESSION_TOO_LARGE)
        else:
            self._smtputf8 = mail.smtputf8
            self._binary = mail.body is _BINARY
            self._ask(mail, self._decide_mail)

    def _decide_mail(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            self._phase = _SENDER
            self._refused_transaction = False
            self._messages += 1
        else:
            self._refused_transaction = True
            self._fruitless += 1
        if decision is None:
            self._output.append(_SENDER_OK[self._esmtp])
        else:
            self._send(decision)

    def _rcpt(self, rcpt: RcptTo) -> None:
        if self._recipients >= self._settings.recipients_limit:
            self._refuse(Stage.RCPT, Cause.RECIPIENTS, replies.TOO_MANY_RECIPIENTS)
        else:
            self._ask(rcpt, self._decide_rcpt)

    def _decide_rcpt(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            if self._phase is not _RECIPIENTS:
                self._phase = _RECIPIENTS
                self.period += 1
            self._recipients += 1
        else:
            self._refused_transaction = True
            self._fruitless += 1
        if decision is None:
            self._output.append(_RECIPIENT_OK[self._esmtp])
        else:
            self._send(decision)

    def _rset(self, _nothing: object) -> None:
        self._fruitless += 1
        self._reset(START if self._phase is START else READY)
        self._send(replies.RESET_OK)

    def _noop(self, _nothing: object) -> None:
        self._fruitless += 1
        self._send(replies.NOTHING_DONE)

    def _help(self, _nothing: object) -> None:
        self._fruitless += 1
        self._send(self._offer.help)

    def _vrfy(self, argument: str) -> None:
        self._fruitless += 1
        self._send(replies.CANNOT_VERIFY)
        self._events.append(Verify(argument))

    def _quit(self, _nothing: object) -> None:
        self._send(replies.GOODBYE)
        self._events.append(Quit())


_ANY = tuple(Phase)
_OUTSIDE = (START, READY)

_COMMANDS: Final[dict[str, tuple[Callable[[ServerSession, Any], None], tuple[Phase, ...], Extension | None]]] = {
    "HELO": (ServerSession._hello, _ANY, None),
    "LHLO": (ServerSession._hello, _ANY, None),
    "EHLO": (ServerSession._hello, _ANY, None),
    "MAIL": (ServerSession._mail, (READY,), None),
    "RCPT": (ServerSession._rcpt, (_SENDER, _RECIPIENTS), None),
    "DATA": (ServerSession._begin_data, (_RECIPIENTS,), None),
    "BDAT": (ServerSession._begin_chunk, _ANY, Extension.CHUNKING),
    "RSET": (ServerSession._rset, _ANY, None),
    "NOOP": (ServerSession._noop, _ANY, None),
    "HELP": (ServerSession._help, _ANY, None),
    "VRFY": (ServerSession._vrfy, _ANY, None),
    "QUIT": (ServerSession._quit, _ANY, None),
    "STARTTLS": (ServerSession._start_tls, _OUTSIDE, Extension.STARTTLS),
    "AUTH": (ServerSession._begin_sign_in, _OUTSIDE, Extension.AUTH),
    "XCLIENT": (ServerSession._override, _OUTSIDE, Extension.XCLIENT),
    "XFORWARD": (ServerSession._note_forwarded, _OUTSIDE, Extension.XFORWARD),
}
"""What carries a command out, where it is legal (elsewhere 503), and what must be offered for it."""

_LINE_REPLIES: Final = {
    LineFault.TOO_LONG: replies.LINE_TOO_LONG,
    LineFault.BARE_LINE_FEED: replies.BARE_LINE_END,
}
