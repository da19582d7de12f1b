"""Verdict and disposition: what policy decided for one group, and what is to be done."""

import enum

import msgspec

from gatepost.model.finding import ObjectStatus


class ObjectAction(enum.StrEnum):
    """Basic actions on one object (spec antivirus.md §5)."""

    PASS = "pass"
    CURE = "cure"
    REMOVE = "remove"
    PLACEHOLDER = "placeholder"


class SignedEdits(enum.StrEnum):
    """What is added to a message that is signed (DKIM) by somebody. What is malware goes all the same."""

    HEADER = "header"
    """Header fields of ours in front: the signature still holds."""
    EDIT = "edit"
    """As to any other message: the signature breaks, which the record says."""
    SKIP = "skip"
    """Nothing."""


class ObjectDecision(msgspec.Struct, frozen=True, array_like=True):
    """What happens to one object, and why."""

    index: int
    """Index in `Analysis.objects`."""
    status: ObjectStatus
    """Status as this group sees it (its filters and its Cure setting applied)."""
    action: ObjectAction
    name: str = ""
    threat: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """The decision for one group: statuses that occurred, decisions on the objects that are not clean, blocking."""

    group: str
    statuses: tuple[ObjectStatus, ...]
    """Worst first; (clean,) when nothing was found; () when the group does not scan."""
    decisions: tuple[ObjectDecision, ...] = ()
    """Only objects whose status is not clean."""
    blocked: bool = False
    reason: str = ""
    """In one sentence, for log and trace."""


class Splice(msgspec.Struct, frozen=True, array_like=True):
    """Replace bytes [start, end) of the received content by `data`. Insertions have start == end."""

    start: int
    end: int
    data: bytes
