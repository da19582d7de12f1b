"""The web console: where it listens, and how long somebody stays signed in. Struct fields are the parameters (see
`gatepost.config.parameter`).
"""

from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Item, count, duration, flag, listing, path


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """The web console and its interface for programs."""

    enabled: Annotated[bool, flag("", "there is a console", generations=OWN)] = True
    listen: Annotated[
        tuple[str, ...],
        listing(
            "",
            Item.ENDPOINT,
            "where it listens; an address other than this machine's own needs `tls_cert` or `proxies`",
            generations=OWN,
        ),
    ] = ("127.0.0.1:8025",)
    tls_cert: Annotated[
        str, path("", "certificate chain, PEM; with it the console speaks HTTPS only", generations=OWN)
    ] = ""
    tls_key: Annotated[str, path("", "its key, when it is not in the same file", generations=OWN)] = ""
    host_names: Annotated[
        tuple[str, ...],
        listing(
            "",
            Item.HOSTNAME,
            "names under which browsers reach the console, besides `localhost`, `network.hostname` and its addresses; "
            "requests for other names are refused",
            generations=OWN,
        ),
    ] = ()
    proxies: Annotated[
        tuple[str, ...],
        listing(
            "",
            Item.NETWORK,
            "proxies in front of the console that add encryption: who connects from there is taken from "
            "`X-Forwarded-For`",
            generations=OWN,
        ),
    ] = ()
    idle_time: Annotated[
        float, duration("", 60, 86_400, "who does nothing for so long is signed out", generations=OWN)
    ] = 3600.0
    session_time: Annotated[
        float, duration("", 60, 2_592_000, "who signed in so long ago signs in anew", generations=OWN)
    ] = 43_200.0
    api_rate: Annotated[
        int,
        count(
            "",
            1,
            10_000,
            "requests a second that a token may make of the interface for programs, and an address four times as many; "
            "ten seconds' worth of them at once",
            generations=OWN,
        ),
    ] = 50
    metrics_from: Annotated[
        tuple[str, ...],
        listing(
            "",
            Item.NETWORK,
            "who connects from there reads `/metrics` without a token",
            generations=OWN,
        ),
    ] = ()
    quarantine_releases_malware: Annotated[
        bool,
        flag(
            "",
            "accounts of the role `quarantine` and those of domains may release what anti-virus kept; otherwise only "
            "operators and administrators may, and the others release spam",
            generations=OWN,
        ),
    ] = False
