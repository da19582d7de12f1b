"""Tracking: how long what became of mails is kept, and what of it is hidden. Struct fields are the parameters (see
`gatepost.config.parameter`).
"""

import enum
from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, choice, count, flag, path


class Subjects(enum.StrEnum):
    """How subjects are kept."""

    FULL = "full"
    HASH = "hash"
    """As a keyed digest: a whole subject can still be searched for."""
    NONE = "none"


class Addresses(enum.StrEnum):
    """How addresses of senders and recipients are kept."""

    FULL = "full"
    HASH_LOCAL = "hash-local"
    """The part before the @ as a keyed digest: whole addresses and domains can still be searched for."""
    HASH = "hash"
    """All of it as a keyed digest: whole addresses can still be searched for."""


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every mail, to be searched."""

    enabled: Annotated[
        bool, flag("", "keep it, and the history that pictures show; takes effect at the next start", generations=OWN)
    ] = True
    retention: Annotated[int, count("", 1, 3660, "days it is kept, by the day of acceptance", generations=OWN)] = 30
    subjects: Annotated[
        Subjects, choice("", tuple(Subjects), "how subjects are written, now and from now on", generations=OWN)
    ] = Subjects.FULL
    addresses: Annotated[
        Addresses,
        choice(
            "",
            tuple(Addresses),
            "how addresses are written; hidden ones take replies of peers and evidence with them, which quote them",
            generations=OWN,
        ),
    ] = Addresses.FULL
    json_file: Annotated[
        str, path("", "every record as a line of JSON to this file, masked in the same way", generations=OWN)
    ] = ""
