"""Which stores a message's original goes to, by its group's lists and verdict (rows F-STOR-03 to F-STOR-05, F-ASR-12).
Pure.

Used by `relay.saving`. Saving and delivering are independent of each other: a list says what is put away, whatever
becomes of the message.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gatepost.config.grouping import Group
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import SpamEnd, Verdict
from gatepost.storage.item import StoreKind

_INFECTED: Final = ObjectStatus.INFECTED


class SaveRules(msgspec.Struct, frozen=True):
    """What one group has saved, and where."""

    quarantine: str
    """Directory."""
    backup: str
    """Directory."""
    to_both: frozenset[ObjectStatus]
    """`save_in_qb`: infected to quarantine, the others to backup."""
    to_quarantine: frozenset[ObjectStatus]
    """`save_in_quarantine`."""
    keep_originals: bool
    """Of what was changed or blocked, to backup; of what was blocked as spam, to the spam quarantine."""
    spam_quarantine: str = ""
    """Directory."""


def save_rules(groups: Iterable[Group]) -> Mapping[str, SaveRules]:
    """Return the rules of every group by its name."""
    known = {status.value for status in ObjectStatus}
    return {
        group.name: SaveRules(
            quarantine=group.quarantine_path,
            backup=group.backup_path,
            to_both=frozenset(group.save_in_qb),
            to_quarantine=frozenset(ObjectStatus(each) for each in group.save_in_quarantine if each in known),
            keep_originals=group.keep_originals,
            spam_quarantine=group.spam_quarantine_path,
        )
        for group in groups
    }


class Place(msgspec.Struct, frozen=True):
    """A store a message goes to."""

    store: StoreKind
    directory: str
    listed: bool = False
    """A list of the group asks for it; else it follows from something else, such as the message's being accepted."""


def is_worth_saving(verdict: Verdict) -> bool:
    """Tell whether `plan_places` may give a place."""
    spam = verdict.spam
    return bool(verdict.decisions) or (spam is not None and (spam.actions.quarantine or spam.withheld))


def plan_places(rules: SaveRules, verdict: Verdict, *, changed: bool) -> tuple[Place, ...]:
    """Return where the original goes; `changed`: objects are cured, removed or replaced in what is delivered."""
    occurred = frozenset(verdict.statuses)
    both = occurred & rules.to_both
    places = []
    if _INFECTED in both or occurred & rules.to_quarantine:
        places.append(Place(StoreKind.QUARANTINE, rules.quarantine, listed=True))
    if both - {_INFECTED}:
        places.append(Place(StoreKind.BACKUP, rules.backup, listed=True))
    spam = verdict.spam
    if spam is not None and spam.actions.quarantine:
        places.append(Place(StoreKind.SPAM_QUARANTINE, rules.spam_quarantine, listed=True))
    if not places and rules.keep_originals and (changed or verdict.blocked):
        places.append(Place(StoreKind.BACKUP, rules.backup))
    elif not places and rules.keep_originals and spam is not None and spam.actions.end is SpamEnd.BLOCK:
        places.append(Place(StoreKind.SPAM_QUARANTINE, rules.spam_quarantine))
    return tuple(places)
