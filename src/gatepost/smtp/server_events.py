"""What `server.ServerSession` tells its shell. Frozen values; those marked *decision* wait for `answer()`."""

import enum

import msgspec

from gatepost.model.envelope import Body, Recipient, Ret
from gatepost.model.reply import Reply


class Cause(enum.StrEnum):
    """Why the session itself refused something: tokens of `gatepost.model.record.Refused.cause`."""

    MESSAGE_SIZE = "message-size"
    SESSION_SIZE = "session-size"
    HOPS = "hops"
    MESSAGES_PER_SESSION = "messages-per-session"
    RECIPIENTS = "recipients"
    MALFORMED = "malformed"
    SYNTAX = "syntax"


class Stage(enum.StrEnum):
    """Where in the dialogue: tokens of `gatepost.model.record.Refused.stage`."""

    HELO = "helo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


class Hello(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* HELO or EHLO with a well-formed argument; any transaction is forgotten when it is accepted."""

    name: str
    esmtp: bool


class MailFrom(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* A transaction begins."""

    address: str
    """"" for the null sender."""
    size: int
    """Declared by SIZE=, 0 when not."""
    body: Body
    ret: Ret | None
    envid: str
    """As written (xtext), "" when absent."""
    dsn: bool
    """RET or ENVID was given. NOTIFY and ORCPT come with the recipients."""


class RcptTo(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* One recipient with its DSN parameters as written."""

    recipient: Recipient


class DataBegin(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* DATA with at least one accepted recipient; the positive reply is 354."""


class DataChunk(msgspec.Struct, frozen=True, gc=False):
    """Content as it is to be kept: dots un-stuffed, every line end CRLF."""

    data: bytes


class DataEnd(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* The content is complete and within the limits; the reply takes responsibility or refuses it."""

    size: int
    """Bytes given out as chunks."""
    received_fields: int
    """Received fields in the header."""
    fixed: bool
    """Bare CR or LF was turned into CRLF (policy FIX)."""
    nul: bool
    """NUL bytes occur."""
    long_line: bool
    """A line of more than 998 octets occurs (RFC 5322 §2.1.1)."""
    eight_bit: bool
    """Bytes above 127 occur."""


class DataAborted(msgspec.Struct, frozen=True, gc=False):
    """Forget the content: a limit was broken or the connection ends. What still comes is swallowed, then `reply` is
    given by the session itself; None when the connection is lost.
    """

    reply: Reply | None


class Verify(msgspec.Struct, frozen=True, gc=False):
    """VRFY was answered with 252."""

    argument: str


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The session itself refused something: for counters and record."""

    stage: Stage
    cause: Cause
    reply: Reply


class Quit(msgspec.Struct, frozen=True, gc=False):
    """QUIT was answered; the session is closed."""


Event = Hello | MailFrom | RcptTo | DataBegin | DataChunk | DataEnd | DataAborted | Verify | Refused | Quit
