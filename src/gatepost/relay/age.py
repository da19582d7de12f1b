"""How long a message has waited, and whether that is too long.

Called by the stages that give up what has waited too long. A clock that was wrong, or may be, ends nothing.
"""

from gatepost.model.ids import received_ms
from gatepost.relay.retry import RetryRules
from gatepost.spool import clock
from gatepost.spool.interface import Stored

_MISDATED_S = 86400.0


def waits_since(stored: Stored, now: float) -> float:
    """Return when a message came: as it is dated, or by its id when that is far later. Ids go on rising under a clock
    that was put back, so mail of those hours is not old when the clock is right again.
    """
    by_id = received_ms(stored.id) / 1000
    return by_id if stored.received_at + _MISDATED_S < by_id <= now else stored.received_at


def is_delayed(stored: Stored, rules: RetryRules) -> bool:
    """Tell whether it is time to tell the sender, once, that a message still waits."""
    return (
        bool(rules.delay_report_s) and not stored.told and not stored.kind and is_outlived(stored, rules.delay_report_s)
    )


def is_outlived(stored: Stored, lifetime_s: float) -> bool:
    """Tell whether a message has waited for so long, by a clock that is believed."""
    now = clock.now()
    return now - waits_since(stored, now) >= lifetime_s and clock.is_believed()
