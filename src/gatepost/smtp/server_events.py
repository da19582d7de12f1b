"""What `server.ServerSession` tells its shell. Frozen values; those marked *decision* wait for `answer()`."""

import enum
from typing import Final

import msgspec

from gatepost.model.envelope import Body, Recipient, Ret
from gatepost.model.reply import Reply

TEMPORARILY_UNKNOWN: Final = "[TEMPUNAVAIL]"
"""Value of a client attribute whose look-up failed for the moment."""


class Cause(enum.StrEnum):
    """Why the session itself refused something: tokens of `gatepost.model.record.Refused.cause`."""

    MESSAGE_SIZE = "message-size"
    SESSION_SIZE = "session-size"
    HOPS = "hops"
    MESSAGES_PER_SESSION = "messages-per-session"
    RECIPIENTS = "recipients"
    MALFORMED = "malformed"
    SYNTAX = "syntax"
    TLS_REQUIRED = "tls-required"
    SIGN_IN_REQUIRED = "sign-in-required"
    SIGN_IN_FAILED = "sign-in-failed"
    """More failed sign-ins than a session may have."""
    NOT_TRUSTED = "not-trusted"
    """XCLIENT or XFORWARD from a peer that may not use it."""
    FRUITLESS = "fruitless"
    """Too many commands in a row that brought no mail."""


class Stage(enum.StrEnum):
    """Where in the dialogue: tokens of `gatepost.model.record.Refused.stage`."""

    HELO = "helo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


class Hello(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* HELO or EHLO with a well-formed argument; any transaction is forgotten when it is accepted."""

    name: str
    esmtp: bool
    lmtp: bool = False
    """It was LHLO (RFC 2033)."""


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
    smtputf8: bool = False
    """SMTPUTF8 was given (RFC 6531): addresses and header fields may hold UTF-8."""


class RcptTo(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* One recipient with its DSN parameters as written."""

    recipient: Recipient


class DataBegin(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* Content is about to come, by DATA or the first BDAT, for at least one accepted recipient.

    The positive reply is 354 for DATA, none for BDAT.
    """


class DataChunk(msgspec.Struct, frozen=True, gc=False):
    """Content as it is to be kept: dots un-stuffed, every line end CRLF; of binary content the very octets."""

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
    binary: bool = False
    """Declared BODY=BINARYMIME (RFC 3030): line ends and NUL mean nothing; it can go on by BDAT only."""
    plain: bool = False
    """All lines end with CRLF and none begins with a dot: it can go on by DATA as it is. False: not known."""


class DataAborted(msgspec.Struct, frozen=True, gc=False):
    """Forget the content: a limit was broken, the connection ends, or the client gave it up between two BDAT.

    What still comes is swallowed, then `reply` is given by the session itself; None when the content gets none.
    """

    reply: Reply | None


class StartTls(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* STARTTLS (RFC 3207).

    When it is accepted, 220 is put out, what the client sent behind it is dropped, and the session takes nothing until
    the shell has made the handshake and calls `tls_started`.
    """


class SignIn(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* AUTH (RFC 4954), over TLS only. The password stands in no text made of this value.

    None when the password is right (235), else `replies.SIGN_IN_FAILED` or `replies.SIGN_IN_UNAVAILABLE`.
    """

    user: str
    """As typed: at most 255 octets, no control characters."""
    password: str
    mechanism: str
    """`PLAIN` or `LOGIN`."""

    def __repr__(self) -> str:
        return f"SignIn(user={self.user!r}, mechanism={self.mechanism!r})"


class ClientOverride(msgspec.Struct, frozen=True, gc=False):
    """*Decision.* XCLIENT of a trusted peer: from a new greeting on it is as if this client had connected.

    None: not mentioned, so nothing changes; "" or 0: unknown ([UNAVAILABLE]); `TEMPORARILY_UNKNOWN` may stand for the
    name.
    """

    name: str | None = None
    address: str | None = None
    """Canonical IPv4 or IPv6 address."""
    port: int | None = None
    protocol: str | None = None
    """`SMTP` or `ESMTP`."""
    helo: str | None = None
    login: str | None = None
    """Who signed in there; the session counts as signed in."""
    destination: str | None = None
    destination_port: int | None = None


class ClientForwarded(msgspec.Struct, frozen=True, gc=False):
    """XFORWARD of a trusted peer was answered with 250: facts of the original client, for the next transaction only.

    Values as in `ClientOverride`; a later one before MAIL adds to it.
    """

    name: str | None = None
    address: str | None = None
    port: int | None = None
    protocol: str | None = None
    helo: str | None = None
    ident: str | None = None
    """The peer's own id of the message."""
    source: str | None = None
    """`LOCAL` or `REMOTE`."""


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


Event = (
    Hello
    | StartTls
    | SignIn
    | ClientOverride
    | ClientForwarded
    | MailFrom
    | RcptTo
    | DataBegin
    | DataChunk
    | DataEnd
    | DataAborted
    | Verify
    | Refused
    | Quit
)
