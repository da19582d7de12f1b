"""What goes into `client.ClientSession` and what it tells its shell. Frozen values."""

import enum

import msgspec

from gatepost.model.envelope import Body, Recipient, Ret
from gatepost.model.reply import Reply
from gatepost.smtp.extensions import Extensions


class Forwarded(msgspec.Struct, frozen=True, gc=False):
    """Facts of the client that a message came from, for peers that take XFORWARD; "" or 0 are not available."""

    name: str = ""
    address: str = ""
    port: int = 0
    protocol: str = ""
    helo: str = ""
    ident: str = ""
    """Our id of the message."""
    source: str = ""
    """`LOCAL` or `REMOTE`."""


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """One message for some recipients at this peer."""

    sender: str
    recipients: tuple[Recipient, ...]
    size: int
    """Bytes of content as it will be given to `send_data`; 0 when unknown. It is what SIZE= declares, and small
    content is offered to the peer in one flight with the commands; what is sent is counted anew, so that a wrong
    figure here harms nothing."""
    body: Body = Body.SEVEN_BIT
    """EIGHT_BIT when the content has bytes above 127, BINARY when it also has NUL or line ends other than CRLF that
    must arrive as they are."""
    ret: Ret | None = None
    envid: str = ""
    """As written (xtext)."""
    smtputf8: bool = False
    """Declared when the message came (RFC 6531). A peer without SMTPUTF8 gets it all the same where neither header nor
    addresses need it."""
    header_utf8: bool = False
    """The header, or that of a part, has bytes above 127. Counts only together with `smtputf8`: other mail with such a
    header is 8-bit content like any other."""
    plain: bool = False
    """All lines of the content end with CRLF and none begins with a dot, as the receiving side has seen for itself
    (`server_events.DataEnd.plain`): nothing is looked for and stuffed. False whenever anything was changed since."""
    forwarded: Forwarded | None = None
    """Told to a peer that offers XFORWARD; what it says to that changes nothing."""


class RecipientOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one recipient: `reply.positive` delivered, `reply.permanent` failed, else to be tried again."""

    index: int
    """Index into `Transaction.recipients`."""
    reply: Reply
    again: bool = False
    """Only the number of recipients was too large: the rest may be sent at once in another transaction."""


class LocalCause(enum.StrEnum):
    """Why a transaction failed without a word of the peer's."""

    SIZE = "message-size"
    """The peer's SIZE is smaller."""
    EIGHT_BIT = "8bitmime"
    """The content is 8-bit and the peer takes 7-bit only."""
    BINARY = "binarymime"
    """The content is binary and the peer does not take BINARYMIME by BDAT."""
    UTF8 = "smtputf8"
    """The sender's address, or the header, needs SMTPUTF8, which the peer does not offer."""
    SENDER = "sender"
    """The sender's address cannot stand in a command."""


class TlsState(enum.StrEnum):
    """What came of TLS on a session; version, cipher and certificate are known to the shell alone."""

    UNWANTED = "unwanted"
    ABSENT = "absent"
    """Wanted, but the peer does not offer it."""
    REFUSED = "refused"
    """Wanted and offered, but the peer refused the command."""
    ACTIVE = "active"


class Ready(msgspec.Struct, frozen=True, gc=False):
    """The session can take a transaction: after EHLO, LHLO or HELO (the last of them, with TLS), and after `reset`."""

    extensions: Extensions
    tls: TlsState = TlsState.UNWANTED


class Refused(msgspec.Struct, frozen=True, gc=False):
    """No session: the peer refused greeting or HELO, or would not give the TLS we must have (then the reply is ours,
    temporary). No transaction was begun.
    """

    reply: Reply


class StartTls(msgspec.Struct, frozen=True, gc=False):
    """The peer is ready for TLS: do the handshake now, then call `tls_started`.

    Bytes that are fed before that call came in clear and end the session. When the handshake fails, the connection is
    lost and so is the session: whether another is tried without TLS is the shell's decision.
    """


class SendData(msgspec.Struct, frozen=True, gc=False):
    """Give the content now (`send_data`, `finish_data`), as long as `sending` is true.

    It comes when at least one recipient was accepted; by BDAT and with little content already at `start`, so that
    commands and content leave in one flight.
    """


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The transaction is over for all recipients, in their order."""

    recipients: tuple[RecipientOutcome, ...]
    reusable: bool
    """Another transaction may be started; False: the session is closed or closing."""
    cause: LocalCause | None = None


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The connection ended unexpectedly."""

    reason: str
    """In words for log and DSN."""
    recipients: tuple[RecipientOutcome, ...] = ()
    """Of the transaction under way; what had no final reply is temporary. Empty when there was none. By LMTP some may
    be delivered: those that were answered before the connection was lost."""
    data_ended: bool = False
    """The whole content with its end had been given out for writing: the peer may have taken the message, and trying
    again may make a duplicate. False all the same when the peer closed the connection without a word about the
    transaction, as it does with one that has idled too long."""


class Stepped(msgspec.Struct, frozen=True, gc=False):
    """What the peer, or we in its place, say to MAIL or RCPT of a transaction that goes by steps (`client_steps`)."""

    reply: Reply


Event = Ready | Refused | StartTls | SendData | Outcome | Closed | Stepped
