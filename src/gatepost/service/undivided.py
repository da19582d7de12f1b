"""One copy for all recipients of a message, for mail systems that cannot divide it: what its parts say, put together.
Pure (specification antispam.md §7, "Undivided delivery").

Called by `service.ruling`. The edits of that copy are made before (`relay.editing`, `edit_together`); here is decided
who gets it. Promises: whoever is refused or withheld from is not among its recipients; it is refused as a whole only
when every part is, and nobody is sent a bounce for the others.
"""

from collections.abc import Iterable, Sequence

from gatepost.model.filtering import Deed, Mark, Part, Threat
from gatepost.model.finding import SEVERITY
from gatepost.model.spam import SpamStatus

_GRAVITY = {
    status.value: gravity
    for gravity, status in enumerate(
        (
            SpamStatus.TRUSTED,
            SpamStatus.NOT_DETECTED,
            SpamStatus.FORMAL,
            SpamStatus.PROBABLE_SPAM,
            SpamStatus.SPAM,
            SpamStatus.BLACKLISTED,
        )
    )
}


def join_parts(parts: Sequence[Part]) -> Part:
    """Return what is told of all parts together, without edits: the deed, the gravest status, all that was found.

    Recipients are those who get it, those in whose place others do not among them; of a message that nobody gets, all.
    """
    if len(parts) == 1:
        return parts[0]
    gets = [part for part in parts if part.deed is Deed.DELIVER]
    refused = [part for part in parts if part.deed is Deed.REJECT]
    kept = [part for part in gets if not part.redirect]
    told = kept or gets or parts
    redirected = _all(part.redirect for part in gets)
    gravest = max(parts, key=lambda part: (_GRAVITY.get(part.status, -1), part.rate))
    return Part(
        recipients=_all(part.recipients for part in told),
        group=", ".join(_all((part.group,) for part in gets or parts)),
        deed=Deed.DELIVER if gets else Deed.REJECT if len(refused) == len(parts) else Deed.DISCARD,
        reply=refused[0].reply if len(refused) == len(parts) else None,
        status=gravest.status,
        extended=gravest.extended,
        rate=gravest.rate,
        methods=_all(part.methods for part in parts),
        categories=_all(part.categories for part in parts),
        marks=_marks(parts),
        objects=_worst_first(part.objects for part in parts),
        threats=_threats(parts),
        reason="; ".join(_all((part.reason,) for part in parts if part.reason)),
        subject_label=" ".join(_all((part.subject_label,) for part in gets if part.subject_label)),
        # Others keep theirs: who gets it in the place of some recipients gets it besides the rest.
        copies=_all([part.copies for part in parts] + ([redirected] if kept else [])),
        redirect=() if kept else redirected,
    )


def _all(several: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for some in several for each in some))


def _marks(parts: Sequence[Part]) -> tuple[Mark, ...]:
    return tuple(dict.fromkeys(mark for part in parts for mark in part.marks))


def _threats(parts: Sequence[Part]) -> tuple[Threat, ...]:
    return tuple(dict.fromkeys(threat for part in parts for threat in part.threats))


def _worst_first(several: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    found = {status for statuses in several for status in statuses}
    return tuple(status.value for status in SEVERITY if status.value in found)
