"""The envelope: who sends, who receives, and what is known of the client. Frozen values, spool-ready (msgspec)."""

import enum

import msgspec


class Body(enum.StrEnum):
    """What BODY= declared at MAIL (RFC 6152, RFC 3030)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    BINARY = "BINARYMIME"


class Direction(enum.StrEnum):
    """Which way a message goes, by the network it came from or by who signed in."""

    INBOUND = "inbound"
    """From a stranger."""
    OUTBOUND = "outbound"
    """From our own network, or signed in, to somebody elsewhere."""
    INTERNAL = "internal"
    """From our own network, or signed in, to our own domains."""


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
    """Of the first hop that is not ours: what checks look at. The connection's, unless a trusted peer told better."""
    port: int = 0
    helo: str = ""
    esmtp: bool = False
    listener: str = ""
    name: str = ""
    """Its name in DNS, confirmed by its address; "" when it has none or nobody asked."""
    tls: str = ""
    """Version and cipher, "" for a connection in clear."""
    user: str = ""
    """Who signed in, "" for nobody."""


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """Sender, recipients and client facts of one transaction."""

    sender: str
    recipients: tuple[Recipient, ...]
    client: Client
    body: Body = Body.SEVEN_BIT
    ret: Ret | None = None
    envid: str = ""
    dsn_requested: bool = False
    smtputf8: bool = False
    """Declared at MAIL (RFC 6531): addresses or header fields may hold UTF-8."""
    direction: Direction = Direction.INBOUND
