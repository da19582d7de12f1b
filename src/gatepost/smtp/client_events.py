"""What goes into `client.ClientSession` and what it tells its shell. Frozen values."""

import enum

import msgspec

from gatepost.model.envelope import Body, Recipient, Ret
from gatepost.model.reply import Reply
from gatepost.smtp.extensions import Extensions


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """One message for some recipients at this peer."""

    sender: str
    recipients: tuple[Recipient, ...]
    size: int
    """Bytes of content as it will be given to `send_data`; 0 when unknown."""
    body: Body = Body.SEVEN_BIT
    """EIGHT_BIT when the content has bytes above 127."""
    ret: Ret | None = None
    envid: str = ""
    """As written (xtext)."""


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
    SENDER = "sender"
    """The sender's address cannot stand in a command."""


class Ready(msgspec.Struct, frozen=True, gc=False):
    """The session can take a transaction: after EHLO or HELO, and after `reset`."""

    extensions: Extensions


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The peer does not want us: greeting or HELO refused. No transaction was begun."""

    reply: Reply


class SendData(msgspec.Struct, frozen=True, gc=False):
    """354 came and at least one recipient was accepted: give the content now."""


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
    """Of the transaction under way; what had no final reply is temporary. Empty when there was none."""
    data_ended: bool = False
    """The whole content with its end had been given out for writing: the peer may have taken the message, and trying
    again may make a duplicate."""


Event = Ready | Refused | SendData | Outcome | Closed
