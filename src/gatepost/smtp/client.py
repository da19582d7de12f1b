"""The sending role of SMTP (RFC 5321), sans-I/O: one `ClientSession` per connection, driven by the relay's shell.

The shell loops: feed what was read, take events until there is none, write `take_output()`, close when `closed`;
`timeout_s` bounds the wait for the next reply while `awaiting_reply`. After `Ready` or a reusable `Outcome` it may
`start` a transaction; after `SendData` it calls `send_data` and `finish_data`. Every transaction that was started ends
with exactly one `Outcome` or `Closed`, and each tells about all of its recipients.

Promises: no reply raises; memory is bounded; nothing leaves but well-formed commands and CRLF content with stuffed
dots. Unknown trouble is temporary: only a 5xx of the peer, or content it cannot take, is permanent.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import Final

from gatepost.model.envelope import Body
from gatepost.model.reply import Reply, reply
from gatepost.smtp.client_events import (
    Closed,
    Event,
    LocalCause,
    Outcome,
    Ready,
    RecipientOutcome,
    Refused,
    SendData,
    StartTls,
    TlsState,
    Transaction,
)
from gatepost.smtp.commands import build_mail, build_rcpt
from gatepost.smtp.errors import ReplySyntaxError
from gatepost.smtp.extensions import Extensions, parse_extensions
from gatepost.smtp.reply_parser import ReplyParser
from gatepost.smtp.sendable import is_sendable
from gatepost.smtp.settings import ClientSettings, TlsUse
from gatepost.smtp.stuffing import DotStuffer

__all__ = [
    "ClientSession",
    "ClientSettings",
    "Closed",
    "Event",
    "Extensions",
    "LocalCause",
    "Outcome",
    "Phase",
    "Ready",
    "RecipientOutcome",
    "Refused",
    "SendData",
    "StartTls",
    "TlsState",
    "TlsUse",
    "Transaction",
]


class Phase(enum.Enum):
    """What the session is doing; all that wait for a reply have a timeout of their own."""

    GREETING = "greeting"
    HELLO = "hello"
    IDLE = "idle"
    """No transaction; `start`, `reset` and `quit` are allowed."""
    RESET = "reset"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA_INITIATION = "data-initiation"
    SENDING = "sending"
    """Content is being given by the shell."""
    DATA_TERMINATION = "data-termination"
    QUIT = "quit"
    CLOSED = "closed"

    # Members are keys of tables read at every reply: by identity, which is what `Enum` compares by, but without a call.
    __hash__ = object.__hash__


# A member read through its class is a call (0.1 µs in Python 3.11): what every transaction needs is read here once.
_GREETING = Phase.GREETING
_IDLE = Phase.IDLE
_MAIL = Phase.MAIL
_RCPT = Phase.RCPT
_DATA_INITIATION = Phase.DATA_INITIATION
_SENDING = Phase.SENDING
_DATA_TERMINATION = Phase.DATA_TERMINATION
_QUIT = Phase.QUIT
_EIGHT_BIT_BODY = Body.EIGHT_BIT

_TIMEOUTS: Final = {
    Phase.GREETING: "initial_s",
    Phase.HELLO: "hello_s",
    Phase.RESET: "mail_s",
    Phase.MAIL: "mail_s",
    Phase.RCPT: "rcpt_s",
    Phase.DATA_INITIATION: "data_initiation_s",
    Phase.DATA_TERMINATION: "data_termination_s",
    Phase.QUIT: "quit_s",
}

_TOO_LARGE: Final = reply(552, "5.3.4", "Message is larger than the next server takes")
_EIGHT_BIT: Final = reply(554, "5.6.3", "Message has 8-bit content and the next server takes 7-bit only")
_BAD_SENDER: Final = reply(553, "5.1.7", "The sender's address cannot be sent")
_BAD_RECIPIENT: Final = reply(553, "5.1.3", "The recipient's address cannot be sent")
_NOT_TRIED: Final = reply(451, "4.5.0", "The transaction was not completed")

_LOCAL_REPLIES: Final = {
    LocalCause.SIZE: _TOO_LARGE,
    LocalCause.EIGHT_BIT: _EIGHT_BIT,
    LocalCause.SENDER: _BAD_SENDER,
}


class ClientSession:
    """Protocol state of one connection to a peer."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._parser = ReplyParser()
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self._expected: deque[tuple[Phase, int]] = deque([(_GREETING, 0)])
        """Replies to come, oldest first; with RCPT goes the index of the recipient."""
        self._script: deque[tuple[bytes, Phase, int]] = deque()
        """Commands of the transaction still to be sent."""
        self._greeted_with_helo = False
        self._needs_reset = False
        self._transaction: Transaction | None = None
        self._replies: list[Reply | None] = []
        self._mail_reply: Reply | None = None
        self._accepted = 0
        self._stuffer: DotStuffer | None = None
        self._end_given = False
        self._end_taken = False
        self._ended = False
        self.extensions = Extensions()
        """What the peer offered; meaningful from `Ready` on."""
        self.closed = False
        """Nothing more will be said: write what `take_output` gives, then close the connection."""

    # -- what the shell calls ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; what comes after the session has closed is dropped."""
        if not self.closed:
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
                    self._fail(f"connection lost while {self.waiting.value}", "4.4.2")
                break
            self._take_reply(answer)
        return self._events.popleft() if self._events else None

    def start(self, transaction: Transaction) -> None:
        """Begin a transaction; allowed while `waiting` is IDLE."""
        self._require(_IDLE)
        self._transaction = transaction
        self._replies = [None if is_sendable(r.address) else _BAD_RECIPIENT for r in transaction.recipients]
        self._mail_reply = None
        self._accepted = 0
        self._end_given = self._end_taken = False
        cause = self._local_cause(transaction)
        if cause is not None:
            self._mail_reply = _LOCAL_REPLIES[cause]
            self._settle(None, cause)
        elif None not in self._replies:
            self._settle(None)
        else:
            self._write_script(transaction)
            self._proceed()

    def send_data(self, chunk: bytes) -> None:
        """Give content after `SendData`, in pieces of any size. Ignored once the peer has ended the transaction."""
        if self._stuffer is not None:
            self._output.append(self._stuffer.stuff(chunk))

    def finish_data(self) -> None:
        """End the content. Ignored once the peer has ended the transaction."""
        if self._stuffer is not None:
            self._output.append(self._stuffer.finish())
            self._stuffer = None
            self._end_given = True
            self._expected.append((_DATA_TERMINATION, 0))

    def reset(self) -> None:
        """Send RSET, for example to learn whether an idle session still lives; `Ready` follows."""
        self._require(_IDLE)
        self._command(b"RSET\r\n", Phase.RESET)

    def quit(self) -> None:
        """Send QUIT and wait for its reply; in the middle of anything else the session just closes."""
        if self.waiting is _IDLE:
            self._command(b"QUIT\r\n", _QUIT)
        else:
            self._close()

    def eof(self) -> None:
        """Note that the peer has closed the connection; replies that came before are still worked off."""
        self._ended = True

    def timeout(self) -> None:
        """Give up the wait for a reply or a write."""
        self._fail(f"timeout while {self.waiting.value}", "4.4.2")

    def take_output(self) -> bytes:
        """Return and forget everything to be written."""
        output = self._output[0] if len(self._output) == 1 else b"".join(self._output)
        self._output.clear()
        self._end_taken = self._end_given
        return output

    @property
    def waiting(self) -> Phase:
        """What the session is doing: the phase of the oldest reply to come, else SENDING, IDLE or CLOSED."""
        if self.closed:
            return Phase.CLOSED
        if self._expected:
            return self._expected[0][0]
        return _IDLE if self._transaction is None else _SENDING

    @property
    def sending(self) -> bool:
        """Whether content may be given now."""
        return self._stuffer is not None

    @property
    def timeout_s(self) -> float:
        """Seconds the next reply may take, 0 when none is awaited."""
        name = _TIMEOUTS.get(self.waiting)
        return 0.0 if name is None else float(getattr(self._settings, name))

    # -- commands ------------------------------------------------------------------------------------------------

    def _require(self, phase: Phase) -> None:
        if self.waiting is not phase:
            raise RuntimeError(f"not possible while {self.waiting.value}")

    def _command(self, line: bytes, phase: Phase, index: int = 0) -> None:
        self._output.append(line)
        self._expected.append((phase, index))

    def _local_cause(self, transaction: Transaction) -> LocalCause | None:
        """Return why the peer cannot take this transaction, as far as is known without asking it."""
        extensions = self.extensions
        if not is_sendable(transaction.sender):
            return LocalCause.SENDER
        if 0 < extensions.size_limit < transaction.size:
            return LocalCause.SIZE
        if transaction.body is _EIGHT_BIT_BODY and not extensions.eight_bit:
            return LocalCause.EIGHT_BIT
        return None

    def _write_script(self, transaction: Transaction) -> None:
        """Lay down the commands of a transaction up to DATA."""
        script = self._script
        if self._needs_reset:
            self._needs_reset = False
            script.append((b"RSET\r\n", Phase.RESET, 0))
        script.append((build_mail(transaction, self.extensions), _MAIL, 0))
        dsn = self.extensions.dsn
        for index, recipient in enumerate(transaction.recipients):
            if self._replies[index] is None:
                script.append((build_rcpt(recipient, dsn=dsn), _RCPT, index))
        script.append((b"DATA\r\n", _DATA_INITIATION, 0))

    def _proceed(self) -> None:
        """Send what may be sent now: everything when pipelining, else one command at a time."""
        script = self._script
        if not script:
            return
        if self.extensions.pipelining and self._settings.pipelining:
            self._output += [line for line, _, _ in script]
            self._expected += [(phase, index) for _, phase, index in script]
            script.clear()
        elif not self._expected:
            self._command(*script.popleft())

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
            _TAKE[phase](self, answer, index)

    def _take_service_closing(self, answer: Reply) -> None:
        """421 may come at any time (RFC 5321 §3.8): it ends whatever is under way."""
        if self._transaction is not None:
            self._settle(answer, reusable=False)
        elif self.waiting in {_GREETING, Phase.HELLO}:
            self._events.append(Refused(answer))
        else:
            self._events.append(Closed(f"peer closes: {answer.code} {answer.text}"))
        self._close()

    def _take_unasked(self, answer: Reply) -> None:
        """Handle a reply to nothing: a refusal in the middle of the content is the peer's answer to it."""
        if self._transaction is not None and answer.code >= 400:
            self._settle(answer, reusable=False)
            self._close()
        else:
            self._fail(f"protocol error: unexpected reply {answer.code}", "4.5.0")

    def _take_greeting(self, answer: Reply, _index: int) -> None:
        if answer.code == 220:
            self._command(b"EHLO " + self._settings.hostname.encode("ascii", "replace") + b"\r\n", Phase.HELLO)
        else:
            self._refuse(answer)

    def _take_hello(self, answer: Reply, _index: int) -> None:
        if answer.code == 250:
            if not self._greeted_with_helo:
                self.extensions = parse_extensions(answer)
            self._events.append(Ready(self.extensions))
        elif answer.permanent and not self._greeted_with_helo:
            self._greeted_with_helo = True
            self._command(b"HELO " + self._settings.hostname.encode("ascii", "replace") + b"\r\n", Phase.HELLO)
        else:
            self._refuse(answer)

    def _refuse(self, answer: Reply) -> None:
        """Leave politely a peer that does not want us (RFC 5321 §3.1)."""
        if answer.code < 400:
            self._fail(f"protocol error: unexpected reply {answer.code}", "4.5.0")
        else:
            self._events.append(Refused(answer))
            self._output.append(b"QUIT\r\n")
            self._close()

    def _take_reset(self, answer: Reply, _index: int) -> None:
        if answer.code != 250:
            self._fail(f"protocol error: {answer.code} to RSET", "4.5.0")
        elif self._transaction is None:
            self._events.append(Ready(self.extensions))
        else:
            self._proceed()

    def _take_mail(self, answer: Reply, _index: int) -> None:
        if 300 <= answer.code < 400:
            self._fail(f"protocol error: {answer.code} to MAIL", "4.5.0")
        elif answer.positive:
            self._proceed()
        else:
            self._mail_reply = answer
            self._script.clear()
            self._settle_if_done()

    def _take_rcpt(self, answer: Reply, index: int) -> None:
        if 300 <= answer.code < 400:
            self._fail(f"protocol error: {answer.code} to RCPT", "4.5.0")
            return
        if self._mail_reply is None:
            self._needs_reset = True
            if answer.positive:
                self._accepted += 1
            else:
                self._replies[index] = answer
        if not self._accepted and len(self._script) == 1:
            self._script.clear()  # only DATA is left, for nobody
        self._proceed()
        self._settle_if_done()

    def _take_data(self, answer: Reply, _index: int) -> None:
        if answer.code == 354:
            self._needs_reset = False
            if self._accepted:
                self._stuffer = DotStuffer()
                self._events.append(SendData())
            else:
                # The peer wants content though it took no recipient: an empty message for nobody ends this.
                self._command(b".\r\n", _DATA_TERMINATION)
        elif answer.positive:
            self._fail(f"protocol error: {answer.code} to DATA", "4.5.0")
        else:
            self._needs_reset = self._mail_reply is None
            self._settle(answer)

    def _take_end(self, answer: Reply, _index: int) -> None:
        if 300 <= answer.code < 400:
            self._fail(f"protocol error: {answer.code} to the end of data", "4.5.0")
        elif answer.positive and self._end_given and not self._end_taken:
            self._fail(f"protocol error: {answer.code} before the end of data", "4.5.0")
        else:
            self._settle(answer if self._accepted else None)

    # -- outcomes ------------------------------------------------------------------------------------------------

    def _settle_if_done(self) -> None:
        if not self._script and not self._expected:
            self._settle(None)

    def _settle(self, final: Reply | None, cause: LocalCause | None = None, *, reusable: bool = True) -> None:
        """End the transaction; `final` is for the recipients that have no reply of their own."""
        self._events.append(Outcome(self._outcomes(final), reusable, cause))
        self._forget()

    def _outcomes(self, final: Reply | None) -> tuple[RecipientOutcome, ...]:
        mail = self._mail_reply
        common = mail or final or _NOT_TRIED
        delivered = common.positive
        return tuple(
            [
                RecipientOutcome(index, own or common, again=delivered and own is not None and _is_surplus(own))
                for index, own in enumerate(self._replies)
            ]
        )

    def _fail(self, reason: str, enhanced: str) -> None:
        """End the session for a reason that is no reply; what is undecided becomes temporary."""
        if self.closed:
            return
        if self._transaction is not None:
            outcomes = self._outcomes(reply(451, enhanced, reason))
            self._events.append(Closed(reason, outcomes, self._end_taken))
        elif self.waiting is not _QUIT:
            self._events.append(Closed(reason))
        self._close()

    def _forget(self) -> None:
        self._transaction = None
        self._stuffer = None
        self._script.clear()

    def _close(self) -> None:
        self._forget()
        self._expected.clear()
        self.closed = True


def _is_surplus(answer: Reply) -> bool:
    """Tell whether a RCPT was refused only for the number of recipients (RFC 5321 §4.5.3.1.10: 452, of old 552)."""
    return answer.code == 452 or (answer.code == 552 and answer.enhanced in {"", "5.5.3"})


_TAKE: Final[dict[Phase, Callable[[ClientSession, Reply, int], None]]] = {
    Phase.GREETING: ClientSession._take_greeting,
    Phase.HELLO: ClientSession._take_hello,
    Phase.RESET: ClientSession._take_reset,
    Phase.MAIL: ClientSession._take_mail,
    Phase.RCPT: ClientSession._take_rcpt,
    Phase.DATA_INITIATION: ClientSession._take_data,
    Phase.DATA_TERMINATION: ClientSession._take_end,
}
"""What takes the reply to a command, with the index that goes with it; that to QUIT ends the session before."""
