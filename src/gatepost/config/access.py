"""Sections that say who may use the gateway for what, and how much of it.

Struct fields are the parameters (see `gatepost.config.parameter`); defaults are the documented ones.
"""

from typing import Annotated

import msgspec

from gatepost.config.parameter import LATER, OWN, Item, choice, count, duration, flag, listing, path, size
from gatepost.config.units import Unit

Texts = tuple[str, ...]

VERIFICATIONS = ("off", "list", "call_ahead")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may use the gateway for what."""

    relay_rule: Annotated[
        Texts,
        listing(
            "RelayRule",
            Item.RELAY_RULE,
            "who may send to whom; first match decides, none = deny when there is any rule",
            generations="G50 G55 M55 M56",
            aliases=("Rule",),
        ),
    ] = ()
    connect_rule: Annotated[
        Texts,
        listing("ConnectRule", Item.CONNECT_RULE, "rules on facts of the connection", generations=LATER),
    ] = ()
    helo_rule: Annotated[Texts, listing("HeloRule", Item.HELO_RULE, "rules on the HELO name", generations=LATER)] = ()
    mailfrom_rule: Annotated[
        Texts,
        listing("MailfromRule", Item.MAILFROM_RULE, "rules on the sender's domain", generations=LATER),
    ] = ()
    dns_black_list: Annotated[
        Texts,
        listing(
            "DNSBlackList",
            Item.HOSTNAME,
            "DNSBL zones that `in_dnsbl` and `out_dnsbl` ask",
            generations=LATER,
        ),
    ] = ()
    deny_unresolved_connect: Annotated[
        bool,
        flag(
            "DenyUnresolvedConnect",
            "refuse clients without a name in DNS; read as connect_rule `deny from no_name to *`",
            generations="G50",
            shown=False,
        ),
    ] = False
    deny_unresolved_mailfrom: Annotated[
        bool,
        flag(
            "DenyUnresolvedMailfrom",
            "refuse sender domains without an address; read as mailfrom_rule `allow from has_mx to *`, "
            "`deny from no_ip to *`",
            generations="G50",
            shown=False,
        ),
    ] = False
    allow_clients: Annotated[
        Texts,
        listing(
            "",
            Item.NETWORK,
            "addresses and networks that deny_clients, connect_rule and rates spare",
            generations=OWN,
        ),
    ] = ()
    deny_clients: Annotated[
        Texts,
        listing("", Item.NETWORK, "addresses and networks refused at first contact", generations=OWN),
    ] = ()
    greeting_pause: Annotated[
        float,
        duration("", 0, 60, "pause before the greeting; who talks earlier is refused; 0 = off", generations=OWN),
    ] = 0.0
    recipient_verification: Annotated[
        str,
        choice(
            "",
            VERIFICATIONS,
            "recipients in protected_domains must exist: in known_recipients, or at the next hop, which is asked",
            generations=OWN,
        ),
    ] = "off"
    known_recipients: Annotated[Texts, listing("", Item.ADDRESS_MASK, "recipients that exist", generations=OWN)] = ()
    known_recipients_file: Annotated[
        str,
        path("", "more of them, one address mask a line; read anew when the file changes", generations=OWN),
    ] = ""
    verification_ttl: Annotated[
        float,
        duration("", 60, 604800, "how long the next hop's yes is remembered", generations=OWN),
    ] = 86400.0
    verification_refused_ttl: Annotated[
        float,
        duration("", 60, 86400, "how long the next hop's no is remembered", generations=OWN),
    ] = 3600.0
    password_file: Annotated[
        str,
        path(
            "",
            "users that may sign in: `name:argon2 hash` lines; `gatepost password` writes them",
            generations=OWN,
        ),
    ] = ""
    xclient_networks: Annotated[
        Texts,
        listing("", Item.NETWORK, "peers whose XCLIENT and XFORWARD are believed", generations=OWN),
    ] = ()
    proxy_networks: Annotated[
        Texts,
        listing("", Item.NETWORK, "load balancers whose PROXY header is believed", generations=OWN),
    ] = ()


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How much one client, sender or user may send in an interval; 0 = no limit. Client rates count strangers only,
    IPv6 ones by their /64.
    """

    interval: Annotated[float, duration("", 1, 86400, "length of the interval all rates count in", generations=OWN)] = (
        60.0
    )
    client_connections: Annotated[int, count("", 0, 1_000_000, "sessions of one client address", generations=OWN)] = 0
    client_mails: Annotated[int, count("", 0, 1_000_000, "messages of one client address", generations=OWN)] = 0
    client_recipients: Annotated[int, count("", 0, 10_000_000, "recipients of one client address", generations=OWN)] = 0
    client_bytes: Annotated[
        int,
        size("", 0, 1_000_000_000, "message bytes of one client address", unit=Unit.KB, generations=OWN),
    ] = 0
    sender_mails: Annotated[
        int, count("", 0, 1_000_000, "outbound messages of one sender address", generations=OWN)
    ] = 0
    sender_recipients: Annotated[
        int, count("", 0, 10_000_000, "outbound recipients of one sender address", generations=OWN)
    ] = 0
    user_mails: Annotated[int, count("", 0, 1_000_000, "messages of one signed-in user", generations=OWN)] = 0
    user_recipients: Annotated[int, count("", 0, 10_000_000, "recipients of one signed-in user", generations=OWN)] = 0
