"""What configuration lays down for the sessions of both roles. Sizes in bytes, times in seconds."""

import enum

import msgspec

from gatepost.smtp.content import LineFeedPolicy


class ServerSettings(msgspec.Struct, frozen=True, cache_hash=True):
    """What a listener lays down for its sessions, or for those of some peers. Sizes in bytes, times in seconds.

    Make one value for all sessions of a kind, not one for each: what follows from it is kept.
    """

    hostname: str
    size_limit: int = 10240 * 1024
    session_bytes_limit: int = 10240 * 1024
    """Content of all messages of a session together."""
    messages_limit: int = 100
    recipients_limit: int = 100
    hops_limit: int = 20
    bare_line_feed: LineFeedPolicy = LineFeedPolicy.FIX
    command_s: float = 300.0
    data_initiation_s: float = 600.0
    data_termination_s: float = 300.0
    read_s: float = 120.0
    """For the shell: longest silence on the socket in the middle of content."""
    greeting_pause_s: float = 0.0
    """For the shell: silence expected of the client before the greeting."""
    starttls: bool = False
    require_tls: bool = False
    """No mail before TLS."""
    auth: tuple[str, ...] = ()
    """Mechanisms of AUTH, of `PLAIN` and `LOGIN`; offered over TLS only."""
    require_auth: bool = False
    """No mail before a sign-in."""
    chunking: bool = False
    binarymime: bool = False
    """Needs `chunking`."""
    smtputf8: bool = False
    xclient: bool = False
    """The peer is trusted to speak for its clients (XCLIENT)."""
    xforward: bool = False
    """The peer is trusted to tell about its clients (XFORWARD)."""
    eight_bit: bool = True
    """8BITMIME is offered; a proxy offers it only where its next hop does."""
    dsn: bool = True
    """DSN is offered."""
    bare_local_parts: bool = False
    """Addresses without a domain are taken: the peer is a mail system of our own, which may leave out its domain."""
    unbracketed_addresses: bool = False
    """`MAIL FROM:a@example.net` is taken for `MAIL FROM:<a@example.net>`, as most servers do."""
    lmtp: bool = False
    """Speak LMTP (RFC 2033): LHLO, and a reply for each accepted recipient behind the content."""


class TlsUse(enum.StrEnum):
    """Whether a session of ours goes over TLS; what a certificate must prove is the shell's matter."""

    NONE = "none"
    """Never STARTTLS."""
    MAY = "may"
    """When the peer offers it."""
    ENCRYPT = "encrypt"
    """Always: without it no transaction."""


class ClientSettings(msgspec.Struct, frozen=True):
    """How we present ourselves, and how long we wait for a reply in each phase (seconds)."""

    hostname: str
    """Argument of EHLO and HELO."""
    initial_s: float = 300.0
    hello_s: float = 300.0
    mail_s: float = 300.0
    rcpt_s: float = 300.0
    data_initiation_s: float = 600.0
    data_termination_s: float = 300.0
    quit_s: float = 300.0
    write_s: float = 120.0
    """For the shell: longest time a write may make no progress."""
    pipelining: bool = True
    """False: never use it (nor CHUNKING), for peers that offer it and cannot do it."""
    chunking: bool = False
    """Send content by BDAT (RFC 3030) to peers that offer CHUNKING and PIPELINING."""
    tls: TlsUse = TlsUse.NONE
    lmtp: bool = False
    """Speak LMTP (RFC 2033): LHLO, and a reply for each recipient behind the content."""
