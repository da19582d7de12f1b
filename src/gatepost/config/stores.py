"""How long and how much the stores keep. Struct fields are the parameters (see `gatepost.config.parameter`)."""

from typing import Annotated

import msgspec

from gatepost.config.parameter import OWN, count, size
from gatepost.config.units import Unit

_DAYS_LIMIT = 36_500
_MB_LIMIT = 1 << 30
_MONTH = 30
_ROOM = 10 * 1024**3
"""What the stores of originals may take by default: an outbreak must not fill the disk they share with the queue."""


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """How long stored messages are kept, and how much of them: the oldest go first."""

    quarantine_days: Annotated[
        int, count("", 0, _DAYS_LIMIT, "days a message stays in quarantine; 0 = no limit", generations=OWN)
    ] = _MONTH
    quarantine_size: Annotated[
        int,
        size("", 0, _MB_LIMIT, "most bytes of messages in a quarantine; 0 = no limit", unit=Unit.MB, generations=OWN),
    ] = _ROOM
    backup_days: Annotated[
        int, count("", 0, _DAYS_LIMIT, "days a message stays in backup; 0 = no limit", generations=OWN)
    ] = _MONTH
    backup_size: Annotated[
        int,
        size("", 0, _MB_LIMIT, "most bytes of messages in a backup; 0 = no limit", unit=Unit.MB, generations=OWN),
    ] = _ROOM
    spam_quarantine_days: Annotated[
        int, count("", 0, _DAYS_LIMIT, "days a message stays in the spam quarantine; 0 = no limit", generations=OWN)
    ] = _MONTH
    spam_quarantine_size: Annotated[
        int,
        size(
            "", 0, _MB_LIMIT, "most bytes of messages in a spam quarantine; 0 = no limit", unit=Unit.MB, generations=OWN
        ),
    ] = _ROOM
    incoming_archive_days: Annotated[
        int, count("", 0, _DAYS_LIMIT, "days a message stays in the incoming archive; 0 = no limit", generations=OWN)
    ] = 0
    incoming_archive_size: Annotated[
        int,
        size(
            "",
            0,
            _MB_LIMIT,
            "most bytes of messages in the incoming archive; 0 = no limit",
            unit=Unit.MB,
            generations=OWN,
        ),
    ] = 0
    outgoing_archive_days: Annotated[
        int, count("", 0, _DAYS_LIMIT, "days a message stays in the outgoing archive; 0 = no limit", generations=OWN)
    ] = 0
    outgoing_archive_size: Annotated[
        int,
        size(
            "",
            0,
            _MB_LIMIT,
            "most bytes of messages in the outgoing archive; 0 = no limit",
            unit=Unit.MB,
            generations=OWN,
        ),
    ] = 0
