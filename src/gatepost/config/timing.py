"""Sections of time: SMTP timeouts and back-off, and the resolver with its caches."""

from typing import Annotated

import msgspec

from gatepost.config.parameter import LATER, OWN, Item, choice, count, duration, flag, listing
from gatepost.config.units import Unit

Texts = tuple[str, ...]


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Waiting for peers, and between attempts."""

    maximal_backoff_time: Annotated[
        float, duration("MaximalBackoffTime", 60, 64800, "longest pause between delivery attempts")
    ] = 21600.0
    minimal_backoff_time: Annotated[
        float, duration("MinimalBackoffTime", 64, 64800, "first and shortest pause between delivery attempts")
    ] = 1800.0
    maximal_queue_lifetime: Annotated[
        float,
        duration("MaximalQueueLifetime", 1, 14, "age at which a message is given up with a DSN", unit=Unit.DAYS),
    ] = 5 * 86400.0
    delay_report_after: Annotated[
        float,
        duration(
            "",
            0,
            604800,
            "age at which the sender is told, once, that a message waits; 0 = never",
            generations=OWN,
        ),
    ] = 4 * 3600.0
    backoff_jitter: Annotated[
        int,
        count("", 0, 50, "percent by which pauses are spread at random, within their bounds", generations=OWN),
    ] = 10
    read_timeout: Annotated[float, duration("ReadTimeout", 1, 1200, "receiver: one network read")] = 120.0
    write_timeout: Annotated[float, duration("WriteTimeout", 1, 1200, "sender: one network write")] = 120.0
    receiving_command_timeout: Annotated[
        float,
        duration("ReceivingCommandTimeout", 1, 1200, "receiver: wait for HELO, MAIL, the first RCPT, QUIT"),
    ] = 300.0
    receiving_data_initiation_timeout: Annotated[
        float,
        duration(
            "ReceivingDataInitiationTimeout", 1, 2400, "receiver: wait for DATA, all RCPT after the first included"
        ),
    ] = 600.0
    receiving_data_termination_timeout: Annotated[
        float, duration("ReceivingDataTerminationTimeout", 1, 7200, "receiver: wait for the end of data")
    ] = 300.0
    sending_initial_timeout: Annotated[
        float, duration("SendingInitialTimeout", 1, 1200, "sender: wait for the peer's greeting")
    ] = 300.0
    sending_hello_timeout: Annotated[
        float, duration("SendingHelloTimeout", 1, 1200, "sender: reply to HELO or EHLO")
    ] = 300.0
    sending_mail_timeout: Annotated[float, duration("SendingMailTimeout", 1, 1200, "sender: reply to MAIL")] = 300.0
    sending_rcpt_timeout: Annotated[float, duration("SendingRcptTimeout", 1, 1200, "sender: reply to RCPT")] = 300.0
    sending_data_initiation_timeout: Annotated[
        float, duration("SendingDataInitiationTimeout", 1, 2400, "sender: reply to DATA")
    ] = 600.0
    sending_data_termination_timeout: Annotated[
        float, duration("SendingDataTerminationTimeout", 1, 7200, "sender: reply to the end of data")
    ] = 300.0
    sending_quit_timeout: Annotated[float, duration("SendingQuitTimeout", 1, 1200, "sender: reply to QUIT")] = 300.0
    mx_cache_refresh_period: Annotated[
        float,
        duration(
            "MXCacheRefreshPeriod",
            60,
            64800,
            "MX answers that live longer than this are kept for their life",
            generations="G50",
        ),
    ] = 1200.0
    unreachable_cache_refresh_period: Annotated[
        float,
        duration(
            "UnreachableCacheRefreshPeriod",
            60,
            64800,
            "how long a host counts as unreachable; must be below minimal_backoff_time",
            generations="G50",
        ),
    ] = 1200.0
    unresolved_cache_refresh_period: Annotated[
        float,
        duration(
            "UnresolvedCacheRefreshPeriod",
            60,
            64800,
            "how long a name counts as not in DNS",
            generations="G50",
        ),
    ] = 1200.0


class Resolve(msgspec.Struct, frozen=True, kw_only=True):
    """The resolver and its caches."""

    internal_recursion_enabled: Annotated[
        bool,
        flag("InternalRecursionEnabled", "follow delegations ourselves, from the root", generations=LATER),
    ] = False
    internal_recursions_limit: Annotated[
        int, count("InternalRecursionsLimit", 1, 100, "steps of one question", generations=LATER)
    ] = 32
    io_network_timeout: Annotated[
        float, duration("IONetworkTimeout", 1, 1200, "network timeout of the resolver", generations=LATER)
    ] = 30.0
    ip_cache_refresh_period: Annotated[
        float,
        duration(
            "IPCacheRefreshPeriod",
            60,
            259200,
            "pause between purges of expired addresses",
            generations=LATER,
        ),
    ] = 43200.0
    mx_cache_refresh_period: Annotated[
        float,
        duration(
            "MXCacheRefreshPeriod",
            60,
            259200,
            "pause between purges of expired MX records",
            generations=LATER,
        ),
    ] = 43200.0
    unreachable_cache_refresh_period: Annotated[
        float,
        duration(
            "UnreachableCacheRefreshPeriod",
            60,
            259200,
            "pause between purges of expired `unreachable` entries",
            generations=LATER,
        ),
    ] = 43200.0
    unresolved_cache_refresh_period: Annotated[
        float,
        duration(
            "UnresolvedCacheRefreshPeriod",
            60,
            259200,
            "pause between purges of expired `unresolved` entries",
            generations=LATER,
        ),
    ] = 43200.0
    unresolved_ttl: Annotated[
        float,
        duration("UnresolvedTTL", 0, 3600, "how long a name counts as not in DNS", generations=LATER),
    ] = 600.0
    unreachable_ttl: Annotated[
        float,
        duration(
            "UnreachableTTL",
            0,
            3600,
            "how long a host counts as unreachable; must be below minimal_backoff_time",
            generations=LATER,
        ),
    ] = 600.0
    mx_cache_threshold: Annotated[
        float,
        duration(
            "",
            0,
            64800,
            "MX answers that do not live longer than this are not kept; 0 = all are",
            generations=OWN,
        ),
    ] = 0.0
    prefer: Annotated[
        str,
        choice(
            "",
            ("ipv6", "ipv4", "ipv6_only", "ipv4_only"),
            "which addresses of a host are tried first, or at all",
            generations=OWN,
        ),
    ] = "ipv6"
    name_servers: Annotated[
        Texts,
        listing(
            "NameServers",
            Item.NAME_SERVER,
            "servers to ask; none = those of the system",
            generations=LATER,
        ),
    ] = ()
