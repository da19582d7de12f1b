"""The licence. Struct fields are the parameters (see `gatepost.config.parameter`)."""

import enum
from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, Guard, Item, choice, listing


class LicenceMode(enum.StrEnum):
    """What counts when no key is installed."""

    OPEN = "open"
    """The unlimited key that the program comes with."""
    KEY = "key"
    """Nothing: without a key the gateway does not start."""


class Licence(msgspec.Struct, frozen=True, kw_only=True):
    """Licence keys; they lie in `path.license_path`."""

    license_mode: Annotated[
        LicenceMode,
        choice("LicenseMode", tuple(LicenceMode), "without a key installed: the one we come with, or none"),
    ] = LicenceMode.OPEN
    issuers: Annotated[
        tuple[str, ...],
        listing(
            "",
            Item.TEXT,
            "public keys of issuers that are believed besides the program's own",
            generations=OWN,
            guard=Guard.FILE,
        ),
    ] = ()
