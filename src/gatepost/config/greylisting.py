"""The section of greylisting: who is asked to come again, and for how long that is remembered."""

from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Item, count, duration, flag, listing

Texts = tuple[str, ...]


class Greylisting(msgspec.Struct, frozen=True, kw_only=True):
    """Greylisting: strangers that were never seen with a sender and a recipient are asked to come again."""

    enabled: Annotated[bool, flag("", "answer 451 to what was never seen", generations=OWN)] = False
    delay: Annotated[float, duration("", 1, 86400, "earliest retry that is taken", generations=OWN)] = 300.0
    retry_within: Annotated[
        float, duration("", 600, 30 * 86400, "latest retry that is taken; then it is new again", generations=OWN)
    ] = 2 * 86400.0
    lifetime: Annotated[
        float,
        duration("", 3600, 365 * 86400, "how long what has passed is remembered after its last mail", generations=OWN),
    ] = 35 * 86400.0
    known_good_after: Annotated[
        int,
        count("", 0, 10_000, "retries after which a client network is taken without; 0 = never", generations=OWN),
    ] = 5
    ipv4_prefix: Annotated[int, count("", 8, 32, "bits of an IPv4 address that make its network", generations=OWN)] = 24
    ipv6_prefix: Annotated[
        int, count("", 16, 128, "bits of an IPv6 address that make its network", generations=OWN)
    ] = 64
    skip_clients: Annotated[
        Texts, listing("", Item.NETWORK, "clients that are never asked to come again", generations=OWN)
    ] = ()
    skip_senders: Annotated[Texts, listing("", Item.ADDRESS_MASK, "senders that are never", generations=OWN)] = ()
    skip_recipients: Annotated[
        Texts, listing("", Item.ADDRESS_MASK, "recipients whose mail never waits", generations=OWN)
    ] = ()
