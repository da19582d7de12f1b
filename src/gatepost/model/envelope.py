"""The envelope: who sends, who receives, and what is known of the client. Frozen values, spool-ready (msgspec)."""

import enum

import msgspec


class Body(enum.StrEnum):
    """What BODY= declared at MAIL (RFC 6152, RFC 3030)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


class Ret(enum.StrEnum):
    """How much of the message a DSN returns (RFC 3461 §4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


class Notify(enum.StrEnum):
    """When the sender wants a DSN for a recipient (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Recipient(msgspec.Struct, frozen=True, array_like=True):
    """One RCPT TO with its DSN parameters, kept as given so that they can be passed on."""

    address: str
    notify: tuple[Notify, ...] = ()
    orcpt: str = ""


class Client(msgspec.Struct, frozen=True, array_like=True):
    """What is known of the peer that handed the message over."""

    ip: str
    port: int = 0
    helo: str = ""
    esmtp: bool = False
    listener: str = ""


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """Sender, recipients and client facts of one transaction."""

    sender: str
    recipients: tuple[Recipient, ...]
    client: Client
    body: Body = Body.SEVEN_BIT
    ret: Ret | None = None
    envid: str = ""
    dsn_requested: bool = False
