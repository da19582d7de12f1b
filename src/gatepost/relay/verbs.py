"""Acts on queued messages by name, as the command line, the control socket and `relay.queue_acts` know them."""

import enum

from gatepost.config.items import parse_next_hop


class Verb(enum.StrEnum):
    """An act on one message."""

    REMOVE = "remove"
    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    BOUNCE = "bounce"
    REROUTE = "reroute"
    RESCAN = "rescan"
    SCAN_FIRST = "scan-first"
    SEND_FIRST = "send-first"


def check_text(verb: Verb, text: str) -> None:
    """Raise ValueError when the text that goes with an act (reason, next hop) makes no sense."""
    if verb is Verb.REROUTE and text:
        parse_next_hop(text)
