"""Sections of the gateway: paths, locale, access, anti-virus, routing, limits, network, options.

Struct fields are the parameters (see `gatepost.config.parameter`); defaults are the documented ones.
"""

from typing import Annotated

import msgspec

from gatepost.config.parameter import (
    LATER,
    MIDDLE,
    OWN,
    WIDE_COUNT,
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


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """Directories."""

    bases_path: Annotated[
        str,
        path("BasesPath", "anti-virus database directory", required=Required.INI, derived="{state}/bases"),
    ] = ""
    license_path: Annotated[
        str,
        path("LicensePath", "licence-key directory", required=Required.INI, derived="{state}/licence"),
    ] = ""
    as_bases_path: Annotated[
        str,
        path(
            "ASBasesPath",
            "anti-spam database directory",
            generations="M55 M56",
            derived="{state}/as-bases",
        ),
    ] = ""
    queue_path: Annotated[str, path("QueuePath", "working queue", required=Required.INI, derived="{state}/queue")] = ""
    control_path: Annotated[
        str,
        path(
            "ControlPath",
            "directory polled for control files",
            required=Required.INI,
            derived="{state}/control",
        ),
    ] = ""
    incoming_archive_path: Annotated[str, path("IncomingArchivePath", "archive of accepted messages; empty = off")] = ""
    outgoing_archive_path: Annotated[
        str,
        path("OutgoingArchivePath", "archive of sent, blocked and generated messages; empty = off"),
    ] = ""


class Locale(msgspec.Struct, frozen=True, kw_only=True):
    """How dates and times look in logs and reports."""

    date_format: Annotated[str, text("DateFormat", "date, strftime form")] = "%d/%m/%y"
    time_format: Annotated[str, text("TimeFormat", "time, strftime form")] = "%H:%M:%S"


class Ave(msgspec.Struct, frozen=True, kw_only=True):
    """The anti-virus module."""

    cure: Annotated[bool, flag("Cure", "disinfect infected objects", generations=MIDDLE)] = False
    scan_archives: Annotated[bool, flag("ScanArchives", "look inside archives", generations=MIDDLE)] = True
    scan_mail_bases: Annotated[bool, flag("ScanMailBases", "look inside mail databases", generations=MIDDLE)] = True
    scan_packed: Annotated[bool, flag("ScanPacked", "unpack packed executables", built=False)] = True
    scan_timeout: Annotated[
        float,
        duration(
            "ScanTimeout",
            0,
            3600,
            "time for one object, then status error; 0 = no limit",
            generations="G50 G55 M55 M56",
        ),
    ] = 0.0
    max_archive_depth: Annotated[int, count("MaxArchiveDepth", 1, 64, "nesting limit; beyond it status error")] = 16
    max_unpacked_size: Annotated[
        int, size("MaxUnpackedSize", 1, 4096, "most bytes unpacked from one object; beyond it error", unit=Unit.MB)
    ] = 512 * 1024**2
    archive_passwords: Annotated[
        Texts,
        listing(
            "",
            Item.TEXT,
            "passwords tried on encrypted archives and documents, after those that the mail itself names",
            generations=OWN,
            secret=True,
        ),
    ] = ()
    trusted_keys: Annotated[
        Texts,
        listing(
            "",
            Item.TEXT,
            "public keys (base64) whose databases are used besides those signed with the product's key",
            generations=OWN,
        ),
    ] = ()
    use_clean_cache: Annotated[
        bool,
        flag(
            "UseCleanCache",
            "remember objects already found clean",
            generations=MIDDLE,
            aliases=("UseIChecker",),
        ),
    ] = True


class Forward(msgspec.Struct, frozen=True, kw_only=True):
    """Routing. In TOML, `[[route]]` says the same with room for more."""

    forward_route: Annotated[
        Texts,
        listing(
            "ForwardRoute",
            Item.ROUTE,
            "recipient mask and next hop; first match decides, none = the MX of the recipient's domain",
            shown=False,
        ),
    ] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on what comes in and goes out."""

    antiviral_sessions: Annotated[
        int,
        count(
            "AntiviralSessions",
            10,
            1024,
            "objects scanned at the same time, over all relays; so many filters at most",
            generations=MIDDLE,
            wide_high=WIDE_COUNT,
        ),
    ] = 10
    incoming_sessions: Annotated[
        int,
        count("IncomingSessions", 1, 1024, "open incoming sessions", generations=MIDDLE, wide_high=WIDE_COUNT),
    ] = 100
    outgoing_sessions: Annotated[
        int,
        count("OutgoingSessions", 1, 1024, "open outgoing sessions", generations=MIDDLE, wide_high=WIDE_COUNT),
    ] = 20
    maximal_incoming_hops: Annotated[
        int,
        count("MaximalIncomingHops", 1, 100, "Received fields allowed in a message (loop guard)", generations=MIDDLE),
    ] = 20
    maximal_incoming_message_size: Annotated[
        int,
        size(
            "MaximalIncomingMessageSize",
            64,
            204800,
            "size of one message, announced in SIZE",
            unit=Unit.KB,
            wide=(1, 2097152),
            generations=MIDDLE,
        ),
    ] = 10240 * 1024
    maximal_incoming_messages_per_session: Annotated[
        int,
        count(
            "MaximalIncomingMessagesPerSession",
            1,
            1024,
            "messages in one session",
            generations=MIDDLE,
            wide_high=WIDE_COUNT,
        ),
    ] = 100
    maximal_incoming_rcpts_per_message: Annotated[
        int,
        count(
            "MaximalIncomingRcptsPerMessage",
            1,
            1024,
            "recipients of one message",
            generations=MIDDLE,
            wide_high=WIDE_COUNT,
        ),
    ] = 100
    maximal_incoming_session_size: Annotated[
        int,
        size(
            "MaximalIncomingSessionSize",
            64,
            2048000,
            "message bytes in one session",
            unit=Unit.KB,
            wide=(1, 1073741824),
            generations=MIDDLE,
        ),
    ] = 10240 * 1024
    maximal_incoming_sessions_per_ip: Annotated[
        int,
        count(
            "MaximalIncomingSessionsPerIP",
            1,
            1024,
            "open sessions from one address",
            generations=MIDDLE,
            wide_high=WIDE_COUNT,
        ),
    ] = 4
    maximal_outgoing_sessions_per_host: Annotated[
        int,
        count(
            "MaximalOutgoingSessionsPerHost",
            1,
            1024,
            "open sessions to one host",
            generations=MIDDLE,
            wide_high=WIDE_COUNT,
        ),
    ] = 4
    shed_load_at: Annotated[
        int,
        count(
            "",
            0,
            100,
            "percent of incoming_sessions from which the busiest addresses get no new session; 0 = off",
            generations=OWN,
        ),
    ] = 90
    minimal_queue_free_space_size: Annotated[
        int,
        size(
            "MinimalQueueFreeSpaceSize",
            0,
            1000000,
            "reception pauses while the queue's file system has less free; 0 = off",
            unit=Unit.MB,
            wide=(0, 1073741824),
            generations=LATER,
        ),
    ] = 0


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Names and addresses of the gateway itself. Named networks are `[[network.zone]]`."""

    listen_on: Annotated[
        Texts,
        listing(
            "ListenOn",
            Item.ENDPOINT,
            "endpoints that receive mail; in TOML better `[[listener]]`, which has room for more",
            shown=False,
        ),
    ] = ("0.0.0.0:25",)
    hostname: Annotated[
        str,
        text(
            "Hostname",
            "name used in greeting, HELO, Received, DSN and notifications",
            item=Item.HOSTNAME,
            required=Required.ALWAYS,
        ),
    ] = ""
    postmaster: Annotated[
        str,
        text(
            "Postmaster",
            "where mail for `<postmaster>` goes",
            item=Item.ADDRESS,
            required=Required.INI,
            derived="postmaster@{hostname}",
        ),
    ] = ""
    protected_domains: Annotated[
        Texts,
        listing(
            "ProtectedDomains",
            Item.DOMAIN_MASK,
            "our own domains: `@protected` in relay rules, and what the licence counts",
            required=Required.INI,
        ),
    ] = ()
    incoming_bcc: Annotated[
        Texts,
        listing("IncomingBCC", Item.ADDRESS, "blind copy of every accepted message", generations="M56"),
    ] = ()
    trusted_networks: Annotated[
        Texts,
        listing(
            "",
            Item.NETWORK,
            "our own networks: mail from there is outbound or internal; none = loopback and what relay_rule lets "
            "relay to everybody",
            generations=OWN,
        ),
    ] = ()
    front_relays: Annotated[
        Texts,
        listing(
            "",
            Item.NETWORK,
            "our own relays in front of this one: for mail they hand on, checks look at the client before them",
            generations=OWN,
        ),
    ] = ()
    tls_cert: Annotated[str, path("TLSCert", "certificate chain; with tls_key enables STARTTLS")] = ""
    tls_key: Annotated[str, path("TLSKey", "private key of tls_cert")] = ""


SYSLOG_FACILITIES = (
    "mail",
    "user",
    "daemon",
    "auth",
    "authpriv",
    "syslog",
    *(f"local{number}" for number in range(8)),
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Logs, statistics and message handling."""

    log_filename: Annotated[
        str, text("LogFilename", "path of the log, or `syslog`; empty = no log", guard=Guard.STATE)
    ] = ""
    log_level: Annotated[int, count("LogLevel", 1, 9, "how much is logged")] = 4
    log_facility: Annotated[str, choice("LogFacility", SYSLOG_FACILITIES, "facility with `log_filename = syslog`")] = (
        "mail"
    )
    stat_filename: Annotated[
        str,
        path(
            "StatFilename",
            "statistics dump, written on request",
            derived="{state}/stat/mailgw.stat",
        ),
    ] = ""
    clean_cache_db_filename: Annotated[
        str,
        path(
            "CleanCacheDBFilename",
            "database of objects already found clean",
            generations=MIDDLE,
            aliases=("ICheckerDBFilename",),
            derived="{state}/cache/clean.db",
        ),
    ] = ""
    prepend_received: Annotated[bool, flag("PrependReceived", "add a Received field", generations=MIDDLE)] = True
    dsn_template: Annotated[
        str,
        path(
            "DSNTemplate",
            "text of delivery status notifications; empty = the built-in one",
            required=Required.INI,
            generations=MIDDLE,
        ),
    ] = ""
    dsn_entire_message: Annotated[
        bool, flag("DSNEntireMessage", "a DSN returns the whole message, not its header only", generations=MIDDLE)
    ] = False
    dsn_on_relaying: Annotated[
        bool, flag("DSNOnRelaying", "write a `relayed` DSN on every hand-over", generations=MIDDLE)
    ] = False
    reencode_eight_bit: Annotated[
        bool,
        flag(
            "",
            "8-bit mail for a server that takes 7 bits: true = re-encode it where no signature breaks, false = fail",
            generations=OWN,
        ),
    ] = False
    av_statistics: Annotated[
        str,
        text(
            "AVStatistics",
            "one line per scanned message to this path or host:port",
            generations=MIDDLE,
            guard=Guard.STATE,
        ),
    ] = ""
    drop_mailformed_mail: Annotated[
        bool,
        flag(
            "DropMailformedMail",
            "malformed mail: true = do not deliver, false = repair",
            generations="G50 G55",
            aliases=("DropMalformedMail",),
        ),
    ] = False
