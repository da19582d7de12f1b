"""The sending role of SMTP (RFC 5321) and LMTP (RFC 2033), sans-I/O: one `ClientSession` per connection, driven by
the relay's shell.

The shell loops: feed what was read, take events until there is none, write `take_output()`, close when `closed`;
`timeout_s`, where it is not 0, bounds the wait for the next reply. After `StartTls` it negotiates TLS and calls
`tls_started`. After `Ready` or a reusable `Outcome` it may `start` a transaction; after `SendData` it calls `send_data`
and `finish_data`, while `sending`. Every transaction that was started ends with exactly one `Outcome` or `Closed`, and
each tells about all of its recipients.

Promises: no reply raises; memory is bounded; nothing leaves but well-formed commands and content that cannot end
itself: CRLF lines with stuffed dots, or octets behind their number. Unknown trouble is temporary: only a 5xx of the
peer, or content it cannot take, is permanent.
"""

from collections import deque
from typing import ClassVar, Final

from gatepost.model.envelope import Body
from gatepost.model.reply import Reply, reply
from gatepost.smtp.capability import plan_transaction
from gatepost.smtp.chunk_writer import ChunkWriter
from gatepost.smtp.client_events import (
    Closed,
    Event,
    Forwarded,
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
from gatepost.smtp.client_opening import OpeningSession, Take
from gatepost.smtp.client_phase import Phase
from gatepost.smtp.commands import build_mail, build_rcpt, build_xforward
from gatepost.smtp.extensions import Extensions
from gatepost.smtp.recipient_replies import RecipientReplies
from gatepost.smtp.settings import ClientSettings, TlsUse
from gatepost.smtp.stuffing import DotStuffer

__all__ = [
    "ClientSession",
    "ClientSettings",
    "Closed",
    "Event",
    "Extensions",
    "Forwarded",
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

FLIGHT_LIMIT: Final = 64 * 1024
"""Bytes of content that leave by BDAT together with the commands, before a recipient is accepted: most mail, and no
loss when the peer refuses all; of more than that the peer must first want some."""

# A member read through its class is a call (0.1 µs in Python 3.11): what every transaction needs is read here once.
_IDLE = Phase.IDLE
_RESET = Phase.RESET
_XFORWARD = Phase.XFORWARD
_MAIL = Phase.MAIL
_RCPT = Phase.RCPT
_DATA_INITIATION = Phase.DATA_INITIATION
_CHUNK = Phase.CHUNK
_DATA_TERMINATION = Phase.DATA_TERMINATION
_SENDING = Phase.SENDING
_BINARY = Body.BINARY

_SEND_DATA: Final = SendData()
DATA: Final = (b"DATA\r\n", _DATA_INITIATION, 0)
"""A command with what its reply is and for whom."""
_ALL: Final = -1
"""Index of a reply to the end of the content that is for all recipients; LMTP has one for each."""


class ClientSession(OpeningSession):
    """Protocol state of one connection to a peer. With `tls_active` the shell has negotiated TLS before."""

    def __init__(self, settings: ClientSettings, *, tls_active: bool = False) -> None:
        super().__init__(settings, tls_active=tls_active)
        self._script: deque[tuple[bytes, Phase, int]] = deque()
        """Commands of the transaction still to be sent."""
        self._pipelining = False
        self._chunking = False
        """Content goes by BDAT."""
        self._needs_reset = False
        self._transaction: Transaction | None = None
        self._replies = RecipientReplies([])
        self._chunk_refusal: Reply | None = None
        self._stuffer: DotStuffer | None = None
        self._chunk_writer: ChunkWriter | None = None
        self._end_given = False
        self._end_taken = False
        self._answered = False
        """The peer has answered something of the transaction."""

    # -- what the shell calls ------------------------------------------------------------------------------------

    def start(self, transaction: Transaction) -> None:
        """Begin a transaction; allowed while `waiting` is IDLE."""
        self._require(_IDLE)
        transaction, own, obstacle = plan_transaction(transaction, self.extensions, self._chunking)
        self._take_up(transaction, own)
        if obstacle is not None:
            self._replies.common = obstacle.reply
            self._settle(None, obstacle.cause)
        elif None not in own:
            self._settle(None)
        else:
            self._write_script(transaction)
            self._proceed()
            # By LMTP the peer must have accepted somebody: how many replies a BDAT for nobody brings is not laid down.
            if self._chunking and 0 < transaction.size <= FLIGHT_LIMIT and not self._settings.lmtp:
                self._begin_chunks(transaction)

    def _take_up(self, transaction: Transaction, own: list[Reply | None]) -> None:
        self._transaction = transaction
        self._replies = RecipientReplies(own)
        self._chunk_refusal = None
        self._end_given = self._end_taken = self._answered = False

    def send_data(self, chunk: bytes) -> None:
        """Give content after `SendData`, in pieces of any size. Ignored once the peer has ended the transaction."""
        if self._stuffer is not None:
            self._output.append(self._stuffer.stuff(chunk))
        elif self._chunk_writer is not None:
            written = self._chunk_writer.add(chunk)
            if written:
                self._output += written
                self._expected.append((_CHUNK, _ALL))

    def finish_data(self) -> None:
        """End the content. Ignored once the peer has ended the transaction."""
        if self._stuffer is not None:
            self._output.append(self._stuffer.finish())
            self._stuffer = None
        elif self._chunk_writer is not None:
            self._output += self._chunk_writer.finish()
            self._chunk_writer = None
        else:
            return
        self._end_given = True
        if self._settings.lmtp:
            self._replies.finals = {}
            self._expected += [(_DATA_TERMINATION, index) for index in self._replies.accepted_indices()]
        else:
            self._expected.append((_DATA_TERMINATION, _ALL))

    def reset(self) -> None:
        """Send RSET, for example to learn whether an idle session still lives; `Ready` follows."""
        self._require(_IDLE)
        self._command(b"RSET\r\n", _RESET)

    def quit(self) -> None:
        """Send QUIT and wait for its reply; in the middle of anything else the session just closes."""
        if self.waiting is _IDLE:
            self._command(b"QUIT\r\n", Phase.QUIT)
        else:
            self._close()

    def take_output(self) -> bytes:
        """Return and forget everything to be written."""
        output = self._output[0] if len(self._output) == 1 else b"".join(self._output)
        self._output.clear()
        self._end_taken = self._end_given
        return output

    @property
    def sending(self) -> bool:
        """Whether content may be given now."""
        return self._stuffer is not None or self._chunk_writer is not None

    # -- commands ------------------------------------------------------------------------------------------------

    def _unasked_phase(self) -> Phase:
        return _IDLE if self._transaction is None else _SENDING

    def _require(self, phase: Phase) -> None:
        if self.waiting is not phase:
            raise RuntimeError(f"not possible while {self.waiting.value}")

    def _ready(self) -> None:
        self._pipelining = self.extensions.pipelining and self._settings.pipelining
        # Without pipelining every piece would cost a round trip (RFC 3030 §4.2): then DATA is better.
        self._chunking = self._pipelining and self.extensions.chunking and self._settings.chunking
        super()._ready()

    def _write_script(self, transaction: Transaction) -> None:
        """Lay down the commands of a transaction in front of its content."""
        self._write_opening(transaction)
        script = self._script
        dsn = self.extensions.dsn
        utf8 = transaction.smtputf8 and self.extensions.smtputf8
        own = self._replies.own
        for index, recipient in enumerate(transaction.recipients):
            if own[index] is None:
                script.append((build_rcpt(recipient, dsn=dsn, utf8=utf8), _RCPT, index))
        if not self._chunking:
            script.append(DATA)

    def _write_opening(self, transaction: Transaction) -> None:
        script = self._script
        extensions = self.extensions
        if self._needs_reset:
            self._needs_reset = False
            script.append((b"RSET\r\n", _RESET, 0))
        if transaction.forwarded is not None and extensions.xforward:
            script += [(line, _XFORWARD, 0) for line in build_xforward(transaction.forwarded, extensions.xforward)]
        script.append((build_mail(transaction, extensions), _MAIL, 0))

    def _proceed(self) -> None:
        """Send what may be sent now: everything when pipelining, else one command at a time."""
        script = self._script
        if not script:
            return
        if self._pipelining:
            self._output += [line for line, _, _ in script]
            self._expected += [(phase, index) for _, phase, index in script]
            script.clear()
        elif not self._expected:
            self._command(*script.popleft())

    def _begin_chunks(self, transaction: Transaction) -> None:
        self._chunk_writer = ChunkWriter(binary=transaction.body is _BINARY)
        self._events.append(_SEND_DATA)

    # -- replies -------------------------------------------------------------------------------------------------

    def _take_service_closing(self, answer: Reply) -> None:
        if self._transaction is None:
            super()._take_service_closing(answer)
        else:
            self._settle(answer, reusable=False)
            self._close()

    def _take_unasked(self, answer: Reply) -> None:
        """Handle a reply to nothing: a refusal in the middle of the content is the peer's answer to it."""
        if self._transaction is not None and answer.code >= 400:
            self._settle(answer, reusable=False)
            self._close()
        else:
            super()._take_unasked(answer)

    def _take_reset(self, answer: Reply, _index: int) -> None:
        self._answered = True
        if answer.code != 250:
            self._fail(f"protocol error: {answer.code} to RSET", "4.5.0")
        elif self._transaction is None:
            super()._ready()
        else:
            self._proceed()

    def _take_xforward(self, _answer: Reply, _index: int) -> None:
        self._answered = True
        self._proceed()

    def _take_mail(self, answer: Reply, _index: int) -> None:
        self._answered = True
        if 300 <= answer.code < 400:
            self._fail(f"protocol error: {answer.code} to MAIL", "4.5.0")
        elif answer.code < 400:
            self._proceed()
        else:
            self._replies.common = answer
            self._script.clear()
            self._settle_if_done()

    def _take_rcpt(self, answer: Reply, index: int) -> None:
        if 300 <= answer.code < 400:
            self._fail(f"protocol error: {answer.code} to RCPT", "4.5.0")
            return
        replies = self._replies
        if replies.common is None:
            self._needs_reset = True
            if answer.code < 400:
                replies.accepted += 1
            else:
                replies.own[index] = answer
        if not replies.accepted and len(self._script) == 1:
            self._script.clear()  # only DATA is left, for nobody
        self._proceed()
        self._settle_if_done()

    def _take_data(self, answer: Reply, _index: int) -> None:
        if answer.code == 354:
            self._needs_reset = False
            if self._replies.accepted:
                self._stuffer = DotStuffer(plain=self._transaction is not None and self._transaction.plain)
                self._events.append(_SEND_DATA)
            elif self._settings.lmtp:
                # How many replies an empty message for nobody brings is not laid down (RFC 2033 §4.2 wants a 503 here).
                self._fail("protocol error: 354 without a recipient", "4.5.0")
            else:
                # The peer wants content though it took no recipient: an empty message for nobody ends this.
                self._command(b".\r\n", _DATA_TERMINATION, _ALL)
        elif answer.code < 400:
            self._fail(f"protocol error: {answer.code} to DATA", "4.5.0")
        else:
            self._needs_reset = self._replies.common is None
            self._settle(answer)

    def _take_chunk(self, answer: Reply, _index: int) -> None:
        """A piece was refused: no more is sent, and what the peer says of pieces already on their way is no news."""
        if 300 <= answer.code < 400:
            self._fail(f"protocol error: {answer.code} to BDAT", "4.5.0")
        elif answer.code >= 400:
            self._chunk_refusal = self._chunk_refusal or answer
            self._chunk_writer = None
        if self._chunk_refusal is not None and not self._expected and not self.closed:
            self._settle(self._chunk_refusal)

    def _take_end(self, answer: Reply, index: int) -> None:
        if 300 <= answer.code < 400:
            self._fail(f"protocol error: {answer.code} to the end of data", "4.5.0")
        elif answer.code < 400 and self._end_given and not self._end_taken:
            self._fail(f"protocol error: {answer.code} before the end of data", "4.5.0")
        elif index == _ALL:
            # After a BDAT that failed the state is unknown (RFC 3030 §2); after content by DATA it is not.
            final = self._chunk_refusal or answer
            self._needs_reset = self._chunking and final.code >= 400
            self._settle(final if self._replies.accepted else None)
        else:
            self._take_lmtp_end(answer, index)

    def _take_lmtp_end(self, answer: Reply, index: int) -> None:
        """One reply for each accepted recipient, in their order (RFC 2033 §4.2)."""
        finals = self._replies.finals
        if finals is not None:
            finals[index] = self._chunk_refusal or answer
        if not self._expected:
            self._needs_reset = self._chunking and self._chunk_refusal is not None
            self._settle(None)

    _TAKE: ClassVar[dict[Phase, Take]] = {
        **OpeningSession._TAKE,
        Phase.RESET: _take_reset,
        Phase.XFORWARD: _take_xforward,
        Phase.MAIL: _take_mail,
        Phase.RCPT: _take_rcpt,
        Phase.DATA_INITIATION: _take_data,
        Phase.CHUNK: _take_chunk,
        Phase.DATA_TERMINATION: _take_end,
    }

    # -- outcomes ------------------------------------------------------------------------------------------------

    def _settle_if_done(self) -> None:
        """All replies to the commands in front of the content are there: end, or go on by BDAT."""
        if self._script or self._expected:
            return
        if not self._replies.accepted:
            self._settle(None)
        elif self._chunk_writer is None and self._transaction is not None:
            self._begin_chunks(self._transaction)

    def _settle(self, final: Reply | None, cause: LocalCause | None = None, *, reusable: bool = True) -> None:
        """End the transaction; `final` is for the recipients that have no reply of their own."""
        self._events.append(Outcome(self._replies.outcomes(final), reusable, cause))
        self._forget()

    def _lost(self, reason: str, enhanced: str) -> Closed:
        if self._transaction is None:
            return super()._lost(reason, enhanced)
        # A peer that took content which flew with its commands has answered those before it closes the connection; one
        # that falls silent may have it and hold its replies back.
        data_ended = self._end_taken and (self._answered or not self._ended)
        return Closed(reason, self._replies.outcomes(reply(451, enhanced, reason)), data_ended)

    def _forget(self) -> None:
        self._transaction = None
        self._stuffer = None
        self._chunk_writer = None
        self._script.clear()

    def _close(self) -> None:
        self._forget()
        super()._close()
