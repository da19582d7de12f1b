"""How the gateway watches itself, and whom it tells. Fields are the parameters (see `gatepost.config.parameter`)."""

from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Item, duration, flag, listing


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Problems of the gateway and its host."""

    mail: Annotated[
        bool, flag("", "mail new problems once, and a summary a day while there is something to tell", generations=OWN)
    ] = True
    addresses: Annotated[
        tuple[str, ...],
        listing("", Item.ADDRESS, "who gets these mails; none = the policy's administrators", generations=OWN),
    ] = ()
    interval: Annotated[
        float, duration("", 1, 3600, "pause between two looks; a problem counts when two see it", generations=OWN)
    ] = 30.0
