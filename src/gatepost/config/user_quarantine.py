"""The quarantine of the people who get the mail: where its pages listen, and how long links and sessions last. Struct
fields are the parameters (see `gatepost.config.parameter`).

Who has it, and when its mails come, is the policy's (`gatepost.config.grouping`).
"""

from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Item, count, duration, flag, listing, path, text


class UserQuarantine(msgspec.Struct, frozen=True, kw_only=True):
    """Pages on which recipients see and release their own spam, and the links that lead there."""

    enabled: Annotated[bool, flag("", "there are such pages; groups say for whom", generations=OWN)] = False
    listen: Annotated[
        tuple[str, ...],
        listing(
            "",
            Item.ENDPOINT,
            "where they listen; an address other than this machine's own needs `tls_cert` or `proxies`",
            generations=OWN,
        ),
    ] = ("127.0.0.1:8026",)
    url: Annotated[
        str,
        text(
            "",
            "how people reach them, the beginning of all links: `https://spam.example.org`; empty = made of "
            "`network.hostname` and the first port",
            generations=OWN,
        ),
    ] = ""
    tls_cert: Annotated[
        str, path("", "certificate chain, PEM; with it the pages speak HTTPS only", generations=OWN)
    ] = ""
    tls_key: Annotated[str, path("", "its key, when it is not in the same file", generations=OWN)] = ""
    proxies: Annotated[
        tuple[str, ...],
        listing(
            "",
            Item.NETWORK,
            "proxies in front of the pages that add encryption: who connects from there is taken from "
            "`X-Forwarded-For`",
            generations=OWN,
        ),
    ] = ()
    link_time: Annotated[
        float, duration("", 3600, 7_776_000, "how long the links of a digest count", generations=OWN)
    ] = 1_209_600.0
    asked_link_time: Annotated[
        float, duration("", 300, 86_400, "how long a link counts that somebody has asked for", generations=OWN)
    ] = 3600.0
    session_time: Annotated[
        float, duration("", 300, 86_400, "how long the pages stay open after a link was used", generations=OWN)
    ] = 3600.0
    entry_days: Annotated[
        int,
        count("", 0, 3660, "days that an allow or block entry of a recipient counts; 0 = no end", generations=OWN),
    ] = 365
    reports: Annotated[
        bool,
        flag("", "what recipients report is learned, for mail of their domain", generations=OWN),
    ] = False
