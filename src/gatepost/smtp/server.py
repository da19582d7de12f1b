"""The receiving role of SMTP (RFC 5321), sans-I/O: one `ServerSession` per connection, driven by the relay's shell.

The shell writes `greeting()`, then loops: feed what was read, take events until there is none, answer those that are
decisions, write `take_output()`, and close when `closed`. While `waiting` is DECISION it stops reading, so that a
session never holds more than one read. Nothing after a pending decision is interpreted before its answer: replies keep
the order of the commands, also in batches (RFC 2920).

Promises: no input raises; memory is bounded by what was fed last; only CRLF ends a command and only CRLF dot CRLF
ends content; every line put out is well-formed.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gatepost.model.reply import Reply, reply
from gatepost.smtp import address, parameters, replies
from gatepost.smtp.data import DataLimits, DataReader, LineFeedPolicy
from gatepost.smtp.errors import ArgumentError
from gatepost.smtp.server_events import (
    Cause,
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
    Stage,
    Verify,
)
from gatepost.smtp.settings import ServerSettings

__all__ = [
    "Cause",
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
    "Stage",
    "Verify",
    "Waiting",
]
from gatepost.smtp.input import InputBuffer, LineFault

ERROR_LIMIT: Final = 20
"""Wrong commands since the last accepted message: more than a mistaken client sends, fewer than a prober wants."""
SWALLOW_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of refused content read on for the sake of a proper reply; beyond, the reply closes the session."""
HELLO_LIMIT: Final = 255
"""Octets of a HELO argument: those of a domain (RFC 5321 §4.5.3.1.2)."""


class Waiting(enum.Enum):
    """What the session waits for, and so which timeout runs."""

    COMMAND = "command"
    """A command; the time starts anew with each."""
    DATA_INITIATION = "data-initiation"
    """DATA or more recipients; one time for all of it, from the first accepted recipient."""
    DATA = "data"
    """The end of the content, from the 354."""
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


class ServerSession:
    """Protocol state of one connection. `answer` decides the event given out last."""

    def __init__(self, settings: ServerSettings, client_ip: str) -> None:
        self._settings = settings
        self._client_ip = client_ip
        self._input = InputBuffer()
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self._pending: Callable[[Reply | None], None] | None = None
        self._phase = _Phase.START
        self._reader: DataReader | None = None
        self._abort_reply: Reply | None = None
        self._esmtp = False
        self._name = ""
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
        """Return the banner."""
        return b"220 " + self._settings.hostname.encode("ascii", "replace") + b" ESMTP\r\n"

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; what comes after the session has closed is dropped."""
        if not self.closed:
            self._input.feed(data)

    def next_event(self) -> Event | None:
        """Return the next event; None when bytes or an answer are needed, or the session is closed."""
        while not self._events and self._pending is None and not self.closed:
            progress = self._read_command() if self._reader is None else self._read_data(self._reader)
            if not progress:
                if self._ended:
                    self._abandon_data(None)
                    self.closed = True
                break
        return self._events.popleft() if self._events else None

    def answer(self, decision: Reply | None = None) -> None:
        """Decide the pending event: None gives the standard positive reply. Ignored when the session has closed."""
        if self.closed:
            return
        if self._pending is None or self._events:
            raise RuntimeError("the event given out last waits for no decision")
        decide, self._pending = self._pending, None
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
            return Waiting.DECISION
        if self._reader is not None:
            return Waiting.DATA
        return Waiting.DATA_INITIATION if self._phase is _Phase.RECIPIENTS else Waiting.COMMAND

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
        if self._phase is not _Phase.RECIPIENTS:
            self.period += 1
        if isinstance(raw_line, LineFault):
            self._reject(Stage.HELO if self._phase is _Phase.START else Stage.MAIL, _LINE_REPLIES[raw_line])
        else:
            self._interpret(raw_line)
        return True

    def _interpret(self, raw_line: bytes) -> None:
        """Look the command up in the table and carry it out."""
        line = raw_line.decode("latin-1")
        verb, _, argument = line.rstrip(" ").partition(" ")
        verb = verb.upper()
        command = _COMMANDS.get(verb)
        if command is None:
            if verb in _OTHER_PROTOCOLS:
                self._refuse(Stage.HELO, Cause.SYNTAX, replies.NOT_SMTP)
            else:
                self._reject(Stage.HELO, replies.BARE_LINE_END if "\r" in line else replies.NOT_RECOGNISED)
        elif not (line.isascii() and line.isprintable()):
            self._reject(command.stage, replies.BARE_LINE_END if "\r" in line else replies.NOT_PRINTABLE)
        elif command.argument is False and argument:
            self._reject(command.stage, replies.BAD_ARGUMENT)
        elif self._phase not in command.phases:
            self._refuse_sequence(verb, command.stage)
        else:
            try:
                command.take(self, argument.lstrip(" "))
            except ArgumentError as error:
                self._reject(command.stage, error.reply)

    def _refuse_sequence(self, verb: str, stage: Stage) -> None:
        """Answer a command out of order; what was pipelined behind a refused MAIL or RCPT is no fault of the peer's."""
        if self._refused_transaction and verb in {"RCPT", "DATA"}:
            self._send(replies.NO_RECIPIENTS if self._phase is _Phase.SENDER else replies.BAD_SEQUENCE)
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

    def _helo(self, argument: str) -> None:
        self._hello(argument, esmtp=False)

    def _ehlo(self, argument: str) -> None:
        self._hello(argument, esmtp=True)

    def _hello(self, name: str, *, esmtp: bool) -> None:
        if not name or " " in name or len(name) > HELLO_LIMIT:
            raise ArgumentError(replies.BAD_ARGUMENT)

        def decide(decision: Reply | None) -> None:
            if decision is None or decision.positive:
                self._esmtp = esmtp
                self._name = name
                self._reset(_Phase.READY)
                decision = decision or self._hello_reply()
            self._send(decision)

        self._ask(Hello(name, esmtp), decide)

    def _hello_reply(self) -> Reply:
        settings = self._settings
        lines = [f"{settings.hostname} hello {self._name} [{self._client_ip}]"]
        if self._esmtp:
            lines += [keyword.format(settings) for keyword in _KEYWORDS]
        return reply(250, "", *lines)

    def _mail(self, argument: str) -> None:
        settings = self._settings
        sender, rest = address.parse_mail_argument(argument)
        given = parameters.parse_mail_parameters(rest)
        size = given.size
        if self._messages >= settings.messages_limit:
            self._refuse(Stage.MAIL, Cause.MESSAGES_PER_SESSION, replies.TOO_MANY_MESSAGES)
        elif size > settings.size_limit:
            self._refuse(Stage.MAIL, Cause.MESSAGE_SIZE, replies.MESSAGE_TOO_LARGE)
        elif self._content_bytes + max(size, 1) > settings.session_bytes_limit:
            self._refuse(Stage.MAIL, Cause.SESSION_SIZE, replies.SESSION_TOO_LARGE)
        else:
            dsn = given.ret is not None or given.envid != ""
            self._ask(MailFrom(sender, size, given.body, given.ret, given.envid, dsn), self._decide_mail)

    def _decide_mail(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            self._phase = _Phase.SENDER
            self._refused_transaction = False
            self._messages += 1
        else:
            self._refused_transaction = True
        self._send(decision or replies.SENDER_OK)

    def _rcpt(self, argument: str) -> None:
        recipient = parameters.parse_rcpt_parameters(*address.parse_rcpt_argument(argument))
        if self._recipients >= self._settings.recipients_limit:
            self._refuse(Stage.RCPT, Cause.RECIPIENTS, replies.TOO_MANY_RECIPIENTS)
        else:
            self._ask(RcptTo(recipient), self._decide_rcpt)

    def _decide_rcpt(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            if self._phase is not _Phase.RECIPIENTS:
                self._phase = _Phase.RECIPIENTS
                self.period += 1
            self._recipients += 1
        else:
            self._refused_transaction = True
        self._send(decision or replies.RECIPIENT_OK)

    def _rset(self, _argument: str) -> None:
        self._reset(_Phase.START if self._phase is _Phase.START else _Phase.READY)
        self._send(replies.RESET_OK)

    def _noop(self, _argument: str) -> None:
        self._send(replies.NOTHING_DONE)

    def _help(self, _argument: str) -> None:
        self._send(_HELP)

    def _vrfy(self, argument: str) -> None:
        if not argument:
            raise ArgumentError(replies.BAD_ARGUMENT)
        self._send(replies.CANNOT_VERIFY)
        self._events.append(Verify(argument))

    def _quit(self, _argument: str) -> None:
        self._send(replies.GOODBYE)
        self._events.append(Quit())

    def _not_implemented(self, _argument: str) -> None:
        raise ArgumentError(replies.NOT_IMPLEMENTED)

    def _reset(self, phase: _Phase) -> None:
        """Forget the transaction."""
        self._phase = phase
        self._recipients = 0
        self._refused_transaction = False
        self.period += 1

    # -- content -------------------------------------------------------------------------------------------------

    def _data(self, _argument: str) -> None:
        self._ask(DataBegin(), self._decide_data)

    def _decide_data(self, decision: Reply | None) -> None:
        if decision is None or decision.positive:
            settings = self._settings
            left = settings.session_bytes_limit - self._content_bytes
            limits = DataLimits(settings.size_limit, left, settings.hops_limit)
            self._reader = DataReader(settings.bare_line_feed, limits)
            self._abort_reply = None
            self.period += 1
        self._send(decision or replies.START_INPUT)

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
            self._reset(_Phase.READY)
            self._send(self._abort_reply)
            self.closed = self.closed or reader.swallowed > SWALLOW_LIMIT
            return
        end = DataEnd(reader.size, reader.received_fields, reader.fixed, reader.nul, reader.long_line, reader.eight_bit)
        self._ask(end, self._decide_end)

    def _decide_end(self, decision: Reply | None) -> None:
        self._reset(_Phase.READY)
        if decision is None or decision.positive:
            self._errors = 0
        self._send(decision or replies.MESSAGE_OK)

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


class _Command(NamedTuple):
    """A row of the command table."""

    take: Callable[[ServerSession, str], Any]
    phases: tuple[_Phase, ...]
    """Where it is legal; elsewhere 503."""
    stage: Stage
    argument: bool = True
    """False: an argument is a syntax error."""


_ANY = tuple(_Phase)

_COMMANDS: Final[dict[str, _Command]] = {
    "HELO": _Command(ServerSession._helo, _ANY, Stage.HELO),
    "EHLO": _Command(ServerSession._ehlo, _ANY, Stage.HELO),
    "MAIL": _Command(ServerSession._mail, (_Phase.READY,), Stage.MAIL),
    "RCPT": _Command(ServerSession._rcpt, (_Phase.SENDER, _Phase.RECIPIENTS), Stage.RCPT),
    "DATA": _Command(ServerSession._data, (_Phase.RECIPIENTS,), Stage.DATA, argument=False),
    "RSET": _Command(ServerSession._rset, _ANY, Stage.HELO, argument=False),
    "NOOP": _Command(ServerSession._noop, _ANY, Stage.HELO),
    "HELP": _Command(ServerSession._help, _ANY, Stage.HELO),
    "VRFY": _Command(ServerSession._vrfy, _ANY, Stage.HELO),
    "QUIT": _Command(ServerSession._quit, _ANY, Stage.HELO, argument=False),
} | dict.fromkeys(
    ("EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "STARTTLS", "AUTH", "BDAT"),
    _Command(ServerSession._not_implemented, _ANY, Stage.HELO),
)

_KEYWORDS: Final = ("ENHANCEDSTATUSCODES", "PIPELINING", "8BITMIME", "SIZE {0.size_limit}", "DSN")
"""Lines of the EHLO reply, in the documented order; a format field takes a setting."""

_OTHER_PROTOCOLS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "PRI"})
"""First words of HTTP: closed at once, so that a browser cannot be made to speak SMTP in a request body."""

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
