"""Doors of the filtering server: `[[door]]`, an endpoint at which other mail systems ask for a judgement.

Struct fields are the parameters (see `gatepost.config.parameter`). All doors share the filters, policy, records and
stores of the gateway.
"""

import enum
import re
from typing import Annotated

import msgspec

from gatepost.config.engines import PORT_LIMIT, UNIX_PATH_LIMIT
from gatepost.config.parameter import (
    OWN,
    Guard,
    Item,
    Required,
    choice,
    count,
    duration,
    flag,
    listing,
    path,
    size,
    text,
)
from gatepost.config.units import Unit

Texts = tuple[str, ...]

DOORS_LIMIT = 32
"""Doors in one configuration."""
SOCKET_MODE = re.compile(r"[0-7]{3}\Z")
"""Permissions as they are written."""
_TCP = re.compile(r"tcp:(\[[0-9A-Fa-f:.]+\]|[0-9.]+):([0-9]{1,5})\Z")
_UNIX = re.compile(r"unix:(/\S+)\Z")


class DoorKind(enum.StrEnum):
    """What is spoken at a door."""

    FILTER = "filter"
    """The product's own protocol, for its clients (docs/manual/filter-protocol.md)."""
    MILTER = "milter"
    SPAMD = "spamd"
    CLAMD = "clamd"
    RSPAMD = "rspamd"
    ICAP = "icap"
    PROXY = "proxy"
    """SMTP or LMTP in, and on to the next hop."""


class OnError(enum.StrEnum):
    """What becomes of a message that cannot be judged now (row F-CLI-08)."""

    TEMPFAIL = "tempfail"
    """4xx: its sender comes again."""
    ACCEPT = "accept"
    """It passes as it is, not inspected."""
    REJECT = "reject"
    """5xx."""


class DoorTls(enum.StrEnum):
    """How a door encrypts."""

    OFF = "off"
    ON = "on"
    """From the first byte, with network.tls_cert."""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint of the filtering server, at which other mail systems ask."""

    name: Annotated[str, text("", "name in records, status and log; empty = kind and address", generations=OWN)] = ""
    kind: Annotated[
        DoorKind, choice("", tuple(DoorKind), "what is spoken there", required=Required.ALWAYS, generations=OWN)
    ] = DoorKind.FILTER
    address: Annotated[
        str,
        text(
            "",
            "tcp:ip:port (IPv6 in brackets) or unix:/path",
            required=Required.ALWAYS,
            generations=OWN,
            guard=Guard.FILE,
        ),
    ] = ""
    allow: Annotated[
        Texts, listing("", Item.NETWORK, "who may connect over TCP; others are closed at once", generations=OWN)
    ] = ("127.0.0.0/8", "::1")
    tls: Annotated[DoorTls, choice("", tuple(DoorTls), "encryption, with network.tls_cert", generations=OWN)] = (
        DoorTls.OFF
    )
    client_ca: Annotated[
        str,
        path("", "PEM file of authorities; with it a client shows a certificate of theirs", generations=OWN),
    ] = ""
    socket_mode: Annotated[
        str, text("", "permissions of a local socket, octal; 666 lets every local user ask", generations=OWN)
    ] = "666"
    connections: Annotated[
        int, count("", 1, 10_000, "connections at once, in each relay; others wait", generations=OWN)
    ] = 500
    data_timeout: Annotated[float, duration("", 1, 3600, "wait for the next bytes of a client", generations=OWN)] = (
        300.0
    )
    deadline: Annotated[
        float, duration("", 1, 600, "time for one judgement, then `on_error` holds", generations=OWN)
    ] = 100.0
    on_error: Annotated[
        OnError,
        choice(
            "",
            tuple(OnError),
            "what becomes of mail that cannot be judged",
            generations=OWN,
        ),
    ] = OnError.TEMPFAIL
    size_limit: Annotated[
        int, size("", 0, 4 * 1024 * 1024, "larger messages pass unfiltered; 0 = none do", unit=Unit.KB, generations=OWN)
    ] = 0
    default_domain: Annotated[str, text("", "goes behind recipients that have no domain", generations=OWN)] = ""
    group: Annotated[
        str,
        text("", "group whose settings hold when no recipients are told; empty = the policy's", generations=OWN),
    ] = ""
    hold: Annotated[
        bool,
        flag(
            "", "kind milter: what nobody is to get waits in the mail system's hold queue, not dropped", generations=OWN
        ),
    ] = False
    learning: Annotated[
        bool, flag("", "clients may teach it what is spam and what is not (kind spamd, rspamd)", generations=OWN)
    ] = False
    scan_paths: Annotated[
        Texts,
        listing(
            "",
            Item.TEXT,
            "directories whose files clients may have scanned by name (kind clamd); empty = none",
            generations=OWN,
            guard=Guard.FILE,
        ),
    ] = ()
    lmtp: Annotated[bool, flag("", "clients speak LMTP (kind proxy)", generations=OWN)] = False
    next_hop: Annotated[
        str,
        text("", "kind proxy: where mail goes: tcp:ip:port or unix:/path", generations=OWN, guard=Guard.STATE),
    ] = ""
    next_hop_lmtp: Annotated[bool, flag("", "and LMTP is spoken there", generations=OWN)] = False
    next_hop_timeout: Annotated[
        float, duration("PipeOutDataTimeout", 5, 600, "wait for the next hop", generations="A30")
    ] = 60.0
    before_queue: Annotated[
        bool,
        flag("", "kind proxy: refuse in the session; else rejected mail goes back as a bounce", generations=OWN),
    ] = True
    multiple_messages: Annotated[
        bool,
        flag("PipeMultipleMessagesAllowed", "kind proxy: a copy for each differing verdict", generations="A30"),
    ] = True
    xforward: Annotated[
        bool, flag("PipeUseXForward", "kind proxy: take the client's address from XFORWARD", generations="A30")
    ] = True
    host: str = ""
    """Of a TCP door; "" for a local socket ..."""
    port: int = 0
    socket: str = ""
    """... whose path this is."""


def parse_door_address(text: str) -> tuple[str, int, str]:
    """Return (host, port, socket path) of `tcp:ip:port` or `unix:/path`. ValueError."""
    if match := _UNIX.fullmatch(text):
        if len(match[1].encode()) > UNIX_PATH_LIMIT:
            raise ValueError(f"{match[1]!r} is longer than the {UNIX_PATH_LIMIT} bytes of a socket's path")
        return "", 0, match[1]
    match = _TCP.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= PORT_LIMIT:
        raise ValueError(f"{text!r} is neither tcp:ip:port nor unix:/path")
    return match[1].strip("[]"), int(match[2]), ""
