"""The receiving role of SMTP (RFC 5321), sans-I/O: one `ServerSession` per connection, driven by the relay's shell.

The shell writes `greeting()`, then loops: feed what was read, take events until there is none, answer those that are
decisions, write `take_output()`, and close when `closed`. While `waiting` is DECISION it stops reading, so that a
session never holds more than one read. Nothing after a pending decision is interpreted before its answer: replies keep
the order of the commands, also in batches (RFC 2920).

Promises: no input raises; memory is bounded by what was fed last; only CRLF ends a command and only CRLF dot CRLF
ends content; every line put out is well-formed.
"""

import enum
import functools
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gatepost.model.reply import Reply, reply
from gatepost.smtp import replies
from gatepost.smtp.data import DataLimits, DataReader, LineFeedPolicy
from gatepost.smtp.input import InputBuffer, LineFault
from gatepost.smtp.requests import parse_request
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

ERROR_LIMIT: Final = 20
"""Wrong commands since the last accepted message: more than a mistaken client sends, fewer than a prober wants."""
SWALLOW_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of refused content read on for the sake of a proper reply; beyond, the reply closes the session."""


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


class _Phase(enum.Enum):
    """Where the dialogue stands; `_COMMANDS` says what is legal in which."""

    START = "start"
    """No HELO or EHLO yet."""
    READY = "ready"
    """No transaction."""
    SENDER = "sender"
    """MAIL accepted, no recipient yet."""
    RECIPIENTS = "recipients"
    """At least one recipient accepted."""


# A member read through its class is a call (0.1 µs in Python 3.11): what is needed at every command is read here once.
_START = _Phase.START
_READY = _Phase.READY
_SENDER = _Phase.SENDER
_RECIPIENTS = _Phase.RECIPIENTS
_AWAIT_COMMAND = Waiting.COMMAND
_AWAIT_DATA_INITIATION = Waiting.DATA_INITIATION
_AWAIT_DATA = Waiting.DATA
_AWAIT_DECISION = Waiting.DECISION

# The standard replies of every transaction, as they go out after HELO and after EHLO.
_SENDER_OK = replies.render_both(replies.SENDER_OK)
_RECIPIENT_OK = replies.render_both(replies.RECIPIENT_OK)
_START_INPUT = replies.render_both(replies.START_INPUT)
_MESSAGE_OK = replies.render_both(replies.MESSAGE_OK)


class ServerSession:
    """Protocol state of one connection. `answer` decides the event given out last."""

    def __init__(self, settings: ServerSettings, client_ip: str, tls: tuple[str, str] | None = None) -> None:
        """`tls` is (version, cipher) when the connection began with a handshake."""
        self._settings = settings
        self.tls = " ".join(tls) if tls is not None else ""
        """Version and cipher, "" in clear."""
        self.client_subject = ""
        """Subject of the client's certificate, when it showed a good one."""
        self.user = ""
        """Who signed in, "" for nobody."""
        self.talked_early = False
        """Bytes came before the greeting was put out."""
        self._client_ip = client_ip
        self._input = InputBuffer()
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self._pending: Callable[[Reply | None], None] | None = None
        self._phase = _START
        self._reader: DataReader | None = None
        self._abort_reply: Reply | None = None
        self._esmtp = False
        self._recipients = 0
        self._refused_transaction = False
        self._messages = 0
        self._content_bytes = 0
        self._errors = 0
        self._stopping = False
        self._ended = False
        self.closed = False
        """Nothing more will be said: write what `take_output` gives, then close the connection."""
        self.period = 0
        """Changes whenever a new timeout begins to run: the shell keeps its timer while it stays the same."""

    # -- what the shell calls ------------------------------------------------------------------------------------

    def greeting(self) -> bytes:
        """Return the banner; what was fed before shows in `talked_early`."""
        return b"220 " + self._settings.hostname.encode("ascii", "replace") + b" ESMTP\r\n"

    def refuse(self, answer: Reply) -> None:
        """Close with `answer`: in place of the greeting, or when the shell has had enough between two commands."""
        self._send(msgspec.structs.replace(answer, closes=True))

    def tls_started(self, version: str, cipher: str, client_subject: str = "") -> None:
        """Go on encrypted, as if the client had just connected: nothing it said before counts any more."""
        self.tls = f"{version} {cipher}"
        self.client_subject = client_subject
        self._phase = _START

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; what comes after the session has closed is dropped."""
        if not self.closed:
            self._input.feed(data)

    def next_event(self) -> Event | None:
        """Return the next event; None when bytes or an answer are needed, or the session is closed."""
        while not self._events and self._pending is None and not self.closed:
            reader = self._reader
            if not (self._read_command() if reader is None else self._read_data(reader)):
                if self._ended:
                    self._abandon_data(None)
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

    def take_output(self) -> bytes:
        """Return and forget everything to be written, replies in order."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def eof(self) -> None:
        """Note that the peer sends nothing more: what it sent is still worked off, then the session closes."""
        self._ended = True

    def timeout(self) -> None:
        """Say 421 4.4.2 and close; content that was coming in is aborted."""
        self._abandon_data(replies.TIMED_OUT)
        self._send(replies.TIMED_OUT)

    def shutdown(self) -> None:
        """Say 421 4.3.2 and close at the next boundary between commands: at once when idle."""
        self._stopping = True
        if self._reader is None and self._pending is None and not self._events:
            self._send(replies.SHUTTING_DOWN)

    @property
    def waiting(self) -> Waiting:
        """What the session waits for; DECISION from the moment the event to be decided has been given out."""
        if self._pending is not None and not self._events:
            return _AWAIT_DECISION
        if self._reader is not None:
            return _AWAIT_DATA
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

    # -- commands ------------------------------------------------------------------------------------------------

    def _read_command(self) -> bool:
        """Interpret one command line; False when none is complete."""
        if self._stopping:
            self._send(replies.SHUTTING_DOWN)
            return True
        raw_line = self._input.next_line()
        if raw_line is None:
            return False
        if self._phase is not _RECIPIENTS:
            self.period += 1
        if isinstance(raw_line, LineFault):
            self._reject(Stage.HELO if self._phase is _START else Stage.MAIL, _LINE_REPLIES[raw_line])
            return True
        request = parse_request(raw_line)
        if request.fault is not None:
            if request.fault.closes:
                self._refuse(request.stage, Cause.SYNTAX, request.fault)
            else:
                self._reject(request.stage, request.fault)
            return True
        take, phases = _COMMANDS[request.verb]
        if self._phase not in phases:
            self._refuse_sequence(request.verb, request.stage)
        elif request.argument_fault is not None:
            self._reject(request.stage, request.argument_fault)
        else:
            take(self, request.argument)
        return True

    def _refuse_sequence(self, verb: str, stage: Stage) -> None:
        """Answer a command out of order; what was pipelined behind a refused MAIL or RCPT is no fault of the peer's."""
        if self._refused_transaction and verb in {"RCPT", "DATA"}:
            self._send(replies.NO_RECIPIENTS if self._phase is _SENDER else replies.BAD_SEQUENCE)
        else:
            self._reject(stage, replies.BAD_SEQUENCE)

    def _reject(self, stage: Stage, answer: Reply) -> None:
        """Answer a wrong command; close after too many."""
        self._errors += 1
        if self._errors > ERROR_LIMIT:
            answer = replies.TOO_MANY_ERRORS
        self._refuse(stage, Cause.SYNTAX, answer)

    def _refuse(self, stage: Stage, cause: Cause, answer: Reply) -> None:
        if stage in {Stage.MAIL, Stage.RCPT}:
            self._refused_transaction = True
        self._send(answer)
        self._events.append(Refused(stage, cause, answer))

    def _ask(self, event: Event, decide: Callable[[Reply | None], None]) -> None:
        """Give out an event whose answer `decide` carries out."""
        self._pending = decide
        self._events.append(event)

    def _hello(self, hello: Hello) -> None:
        def decide(decision: Reply | None) -> None:
            if decision is None or decision.positive:
                self._esmtp = hello.esmtp
                self._reset(_READY)
            if decision is None:
                settings = self._settings
                text = f"{settings.hostname} hello {hello.name} [{self._client_ip}]"
                keywords = _build_keywords(settings.size_limit) if hello.esmtp else b""
                self._output.append(replies.render_hello(text, keywords))
            else:
                self._send(decision)

        self._ask(hello, decide)

    def _mail(self, mail: MailFrom) -> None:
        settings = self._settings
        if self._messages >= settings.messages_limit:
            self._refuse(Stage.MAIL, Cause.MESSAGES_PER_SESSION, replies.TOO_MANY_MESSAGES)
        elif mail.size > settings.size_limit:
            self._refuse(Stage.MAIL, Cause.MESSAGE_SIZE, replies.MESSAGE_TOO_LARGE)
        elif self._content_bytes + (mail.size or 1) > settings.session_bytes_limit:
            self._refuse(Stage.MAIL, Cause.SESSION_SIZE, replies.SESSION_TOO_LARGE)
        else:
            self._ask(mail, self._decide_mail)

    def _decide_mail(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            self._phase = _SENDER
            self._refused_transaction = False
            self._messages += 1
        else:
            self._refused_transaction = True
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
        if decision is None:
            self._output.append(_RECIPIENT_OK[self._esmtp])
        else:
            self._send(decision)

    def _rset(self, _nothing: object) -> None:
        self._reset(_START if self._phase is _START else _READY)
        self._send(replies.RESET_OK)

    def _noop(self, _nothing: object) -> None:
        self._send(replies.NOTHING_DONE)

    def _help(self, _nothing: object) -> None:
        self._send(_HELP)

    def _vrfy(self, argument: str) -> None:
        self._send(replies.CANNOT_VERIFY)
        self._events.append(Verify(argument))

    def _quit(self, _nothing: object) -> None:
        self._send(replies.GOODBYE)
        self._events.append(Quit())

    def _reset(self, phase: _Phase) -> None:
        """Forget the transaction."""
        self._phase = phase
        self._recipients = 0
        self._refused_transaction = False
        self.period += 1

    # -- content -------------------------------------------------------------------------------------------------

    def _data(self, _nothing: object) -> None:
        self._ask(DataBegin(), self._decide_data)

    def _decide_data(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            settings = self._settings
            left = settings.session_bytes_limit - self._content_bytes
            limits = DataLimits(settings.size_limit, left, settings.hops_limit)
            self._reader = DataReader(settings.bare_line_feed, limits)
            self._abort_reply = None
            self.period += 1
        if decision is None:
            self._output.append(_START_INPUT[self._esmtp])
        else:
            self._send(decision)

    def _read_data(self, reader: DataReader) -> bool:
        """Pass content on; False when everything there has been read."""
        data = self._input.take()
        if not data:
            return False
        content, rest = reader.read(data)
        if rest:
            self._input.put_back(rest)
        if content:
            self._events.append(DataChunk(content))
        if reader.fault is not None and self._abort_reply is None:
            self._abort_reply = _FAULT_REPLIES[reader.fault]
            self._events.append(DataAborted(self._abort_reply))
            self._events.append(Refused(Stage.DATA, reader.fault, self._abort_reply))
        if rest is not None or reader.swallowed > SWALLOW_LIMIT:
            self._end_data(reader)
        return rest is not None

    def _end_data(self, reader: DataReader) -> None:
        self._reader = None
        self._content_bytes += reader.size
        if self._abort_reply is not None:
            self._reset(_READY)
            self._send(self._abort_reply)
            self.closed = self.closed or reader.swallowed > SWALLOW_LIMIT
            return
        end = DataEnd(reader.size, reader.received_fields, reader.fixed, reader.nul, reader.long_line, reader.eight_bit)
        self._ask(end, self._decide_end)

    def _decide_end(self, decision: Reply | None) -> None:
        self._reset(_READY)
        if decision is None or decision.positive:
            self._errors = 0
        if decision is None:
            self._output.append(_MESSAGE_OK[self._esmtp])
        else:
            self._send(decision)

    def _abandon_data(self, answer: Reply | None) -> None:
        """Tell the shell to forget content that will not come to its end."""
        if self._reader is not None and self._abort_reply is None and not self.closed:
            self._events.append(DataAborted(answer))
        self._reader = None

    # -- output --------------------------------------------------------------------------------------------------

    def _send(self, answer: Reply) -> None:
        if self.closed:
            return
        self._output.append(replies.render(answer, enhanced=self._esmtp))
        if answer.closes or answer.code == 421:
            self.closed = True
            self._pending = None
            self._reader = None
            self._input.put_back(b"")


_ANY = tuple(_Phase)

_COMMANDS: Final[dict[str, tuple[Callable[[ServerSession, Any], None], tuple[_Phase, ...]]]] = {
    "HELO": (ServerSession._hello, _ANY),
    "EHLO": (ServerSession._hello, _ANY),
    "MAIL": (ServerSession._mail, (_READY,)),
    "RCPT": (ServerSession._rcpt, (_SENDER, _RECIPIENTS)),
    "DATA": (ServerSession._data, (_RECIPIENTS,)),
    "RSET": (ServerSession._rset, _ANY),
    "NOOP": (ServerSession._noop, _ANY),
    "HELP": (ServerSession._help, _ANY),
    "VRFY": (ServerSession._vrfy, _ANY),
    "QUIT": (ServerSession._quit, _ANY),
}
"""What carries a command out, and where it is legal; elsewhere 503."""


@functools.lru_cache(maxsize=16)  # as good as one value for each listener
def _build_keywords(size_limit: int) -> bytes:
    """Return the lines of the EHLO reply after the first, in the documented order."""
    keywords = ("ENHANCEDSTATUSCODES", "PIPELINING", "8BITMIME", f"SIZE {size_limit}", "DSN")
    return replies.render(reply(250, "", *keywords), enhanced=True)


_LINE_REPLIES: Final = {
    LineFault.TOO_LONG: replies.LINE_TOO_LONG,
    LineFault.BARE_LINE_FEED: replies.BARE_LINE_END,
}

_HELP: Final = reply(214, "2.0.0", "HELO EHLO MAIL RCPT DATA RSET NOOP HELP VRFY QUIT")

_FAULT_REPLIES: Final = {
    Cause.MESSAGE_SIZE: replies.MESSAGE_TOO_LARGE,
    Cause.SESSION_SIZE: replies.SESSION_TOO_LARGE,
    Cause.HOPS: replies.TOO_MANY_HOPS,
    Cause.MALFORMED: replies.BARE_LINE_END_IN_DATA,
}
