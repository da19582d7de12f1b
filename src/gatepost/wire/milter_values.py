"""Values of the milter protocol: what may be agreed, and what a mail system tells a filter.

Used by `wire.milter`, which makes them, and `service.milter_door`.
"""

import enum

import msgspec


class Actions(enum.IntFlag):
    """What a filter may do to a message (SMFIF_*)."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENTS = 0x04
    DELETE_RECIPIENTS = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    ASK_MACROS = 0x100


class Steps(enum.IntFlag):
    """What a mail system leaves out, does not wait for, or does otherwise (SMFIP_*)."""

    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    NO_END_OF_HEADER = 0x40
    SKIP = 0x400
    """The rest of a body may be skipped."""
    SILENT_HEADER = 0x80
    SILENT_CONNECT = 0x1000
    SILENT_HELO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RCPT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_END_OF_HEADER = 0x40000
    SILENT_BODY = 0x80000
    EXACT_VALUES = 0x100000
    """Header values are told, and taken, with the blank behind the colon (SMFIP_HDR_LEADSPC)."""


class MilterError(ValueError):
    """The mail system broke the protocol or a limit; the text says how. The connection is of no more use."""


class Family(enum.Enum):
    """What kind of address a client has."""

    UNKNOWN = ord("U")
    LOCAL = ord("L")
    IPV4 = ord("4")
    IPV6 = ord("6")


class MilterClient(msgspec.Struct, frozen=True):
    """Who talks to the mail system, in its words. Texts are raw: nothing has been checked."""

    name: bytes = b""
    family: Family = Family.UNKNOWN
    address: bytes = b""
    port: int = 0


class Piece(msgspec.Struct, frozen=True):
    """A part of a message's content; more follows, or a `Dropped`."""

    content: bytes


class Dropped(msgspec.Struct, frozen=True):
    """The message of which pieces came goes no further: the mail system has given it up."""


class Ended(msgspec.Struct, frozen=True):
    """The mail system has said good-bye: the connection is to be closed."""


class MilterMessage(msgspec.Struct, frozen=True):
    """A message is complete, and the mail system waits: `MilterSession.finish` answers it."""

    client: MilterClient
    helo: bytes
    sender: bytes
    """As MAIL has it, with the angle brackets ..."""
    recipients: tuple[bytes, ...]
    """... and as RCPT has them."""
    macros: dict[bytes, bytes]
    """Those of `_KEPT` that were told."""
    content: bytes
    """The rest of the content behind the pieces; with CRLF line ends."""
    size: int
    """Octets of the whole content."""
    header_size: int
    """Octets of the content in front of the body, with the empty line."""
    too_large: bool = False
    """The content is over the limit and was not kept."""


Event = Piece | Dropped | Ended | MilterMessage
