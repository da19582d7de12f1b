"""What a spam verdict changes in a message: fields in front of it, labels, and fields taken out that only we may write.

Used by `relay.editing`. Fields in front leave every signature whole; a label breaks DKIM signatures, so a signed
message gets one only where it is against the message, or where the group says that signed mail is edited. Foreign
copies of our fields go in any case: who reads them must be able to believe them.

Where fields stand a filter says, which has read hostile bytes: only what is a whole field of the header, of a name that
may be changed, is believed to be one. So nobody else's field and nothing of the body can be lost.
"""

import re
from collections.abc import Callable, Sequence

import msgspec

from gatepost.authn.results import build_results_field
from gatepost.mime.signatures import DKIM
from gatepost.model.finding import Analysis
from gatepost.model.spam import FieldSpot, SpamFacts, SpamStatus
from gatepost.model.verdict import SignedEdits, SpamVerdict, Splice
from gatepost.notices.scan_field import header_end
from gatepost.notices.spam_fields import build_keywords, build_spam_fields, find_foreign
from gatepost.notices.spam_label import build_subject, find_subjects, label_subject
from gatepost.policy.group import GroupPolicy
from gatepost.relay.work import Work

_AGAINST = frozenset((SpamStatus.SPAM, SpamStatus.PROBABLE_SPAM, SpamStatus.BLACKLISTED))
"""Statuses that are worth a broken signature."""


class SpamEdits(msgspec.Struct, frozen=True):
    """Changes of one group's copy."""

    prefix: bytes = b""
    removed: tuple[Splice, ...] = ()
    """Fields that only we may write."""
    added: tuple[Splice, ...] = ()
    """Labels, and fields that give way to ours."""
    breaks_dkim: bool = False


def spam_prefix(
    work: Work, group: GroupPolicy, verdict: SpamVerdict, analysis: Analysis | None, hostname: str
) -> bytes | None:
    """Return the fields in front of a message where there is nothing else to be changed; None when there is.

    `hostname`: ours, under which results of authentication are stated.
    """
    facts = analysis.spam if analysis is not None else None
    if facts is None:
        # No filter has looked: the header is searched here.
        if verdict.shown and (work.content is None or find_foreign(work.content, group.spam.fields.prefix)):
            return None
    elif facts.foreign:
        return None
    if verdict.labels or verdict.actions.keywords:
        return None
    return build_own_fields(work, group, verdict, analysis, hostname)


def plan_spam_edits(
    content: bytes, work: Work, group: GroupPolicy, verdict: SpamVerdict, analysis: Analysis | None, hostname: str
) -> SpamEdits:
    """Return the changes of a message."""
    facts = analysis.spam if analysis is not None else None
    signed = is_signed(analysis)
    end = header_end(content)
    foreign = believe(content, facts.foreign, end, _is_ours(group)) if facts is not None else []
    removed = _removed(content, group, verdict, foreign if facts is not None else None)
    breaks = signed and facts is not None and _is_any_signed(content, foreign, facts)
    prefix = build_own_fields(work, group, verdict, analysis, hostname)
    added: list[Splice] = []
    if may_edit(group, verdict, analysis):
        stated = (facts.subject,) if facts is not None and facts.subject is not None else ()
        subject = believe(content, stated, end, b"subject".__eq__)
        if verdict.labels and subject:
            labels = [label_subject(content, spot, verdict.labels) for spot in find_subjects(content, subject[0])]
            added += [label for label in labels if label is not None]
        elif verdict.labels and facts is not None:
            prefix += build_subject(verdict.labels)
            breaks = breaks or signed
        if verdict.actions.keywords:
            keywords = believe(content, facts.keywords if facts is not None else (), end, b"keywords".__eq__)
            added += [Splice(spot.start, spot.end, b"") for spot in keywords]
            prefix += build_keywords(verdict)
    return SpamEdits(prefix, tuple(removed), tuple(added), breaks or (signed and bool(added)))


def may_edit(group: GroupPolicy, verdict: SpamVerdict, analysis: Analysis | None) -> bool:
    """Tell whether labels and keywords of the group may be put into a message: into a signed one only for a reason."""
    return verdict.status in _AGAINST or group.texts.edit_signed is SignedEdits.EDIT or not is_signed(analysis)


def is_signed(analysis: Analysis | None) -> bool:
    """Tell whether a message bears a DKIM signature."""
    if analysis is None:
        return False
    return DKIM in analysis.signatures or (analysis.spam is not None and bool(analysis.spam.authn.signatures))


def build_own_fields(
    work: Work, group: GroupPolicy, verdict: SpamVerdict, analysis: Analysis | None, hostname: str
) -> bytes:
    if group.texts.edit_signed is SignedEdits.SKIP and verdict.status not in _AGAINST and is_signed(analysis):
        return b""
    fields = b""
    if verdict.shown:
        fields = build_spam_fields(group.spam.fields, verdict, work.stored.envelope.sender)
    if group.spam.authentication_results and analysis is not None and analysis.network is not None:
        fields += build_results_field(hostname, analysis.network.authn)
    return fields


def _removed(
    content: bytes, group: GroupPolicy, verdict: SpamVerdict, foreign: Sequence[FieldSpot] | None
) -> list[Splice]:
    """`foreign` None: no filter has looked."""
    if foreign is not None:
        return [Splice(spot.start, spot.end, b"") for spot in foreign]
    return find_foreign(content, group.spam.fields.prefix) if verdict.shown else []


def _is_ours(group: GroupPolicy) -> Callable[[bytes], bool]:
    prefix = group.spam.fields.prefix.lower().encode() + b"-"
    return lambda name: name.startswith(prefix) or name == b"authentication-results"


def believe(
    content: bytes, spots: Sequence[FieldSpot], end: int, is_wanted: Callable[[bytes], bool]
) -> list[FieldSpot]:
    """Return the spots that are whole fields of the header, which ends at `end`, with a name that is wanted."""
    return [
        spot for spot in spots if spot.end <= end and _is_field(content, spot) and is_wanted(name_of(content, spot))
    ]


def _is_field(content: bytes, spot: FieldSpot) -> bool:
    whole = _FIELD.match(content, spot.start)
    begins = spot.start == 0 or content[spot.start - 1 : spot.start] == b"\n"
    return begins and whole is not None and whole.end() == spot.end and b":" in content[spot.start : spot.value]


_FIELD = re.compile(rb"[^\n]*+(?:\n|\Z)(?:[ \t][^\n]*+(?:\n|\Z))*+")
_UNSHOWN = bytes(range(33))
"""Around a name: some readers pass over them."""


def name_of(content: bytes, spot: FieldSpot) -> bytes:
    """Return the name of a field in lower case."""
    return content[spot.start : spot.value].partition(b":")[0].strip(_UNSHOWN).lower()


def _is_any_signed(content: bytes, spots: Sequence[FieldSpot], facts: SpamFacts) -> bool:
    """Tell whether a signature covers one of these fields."""
    names = {name_of(content, spot).decode("latin-1") for spot in spots}
    return any(not names.isdisjoint(signature.fields) for signature in facts.authn.signatures)
