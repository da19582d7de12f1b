"""The answer to another mail system, made of what the relay's stages decided (`relay.disposal`, `Disposition.shares`).
Pure.

Called by `service.desk_judge`. Bounded whatever a message holds.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gatepost.mime.field_edits import plan_field_edits
from gatepost.model.filtering import Deed, Mark, Part, Request, Ruling, Threat
from gatepost.model.record import ADDRESSES_TOLD, SIGNS_TOLD, TEXT_TOLD, Answered
from gatepost.model.verdict import SpamVerdict, Verdict
from gatepost.notices.scan_field import header_end
from gatepost.policy.spam import NOT_PROCESSED, NOT_PROTECTED
from gatepost.relay.disposal import Disposition, Share
from gatepost.relay.editing import Edited
from gatepost.service.undivided import join_parts

THREATS_TOLD: Final = 50
"""Threats of one part."""
_NOBODY: Final = dict.fromkeys(Deed, 0)
UNJUDGED: Final = "unjudged"
"""Deed on record of a message that could not be judged."""


def build_ruling(names: Mapping[str, str], disposition: Disposition, head: bytes, queue_id: str) -> Ruling:
    """Return the answer. `names`: recipients as the asker wrote them, by their address; `head`: the content, at least
    its header.
    """
    end = header_end(head) if head else 0
    parts = tuple(_build_part(share, names, head, end) for share in disposition.shares)
    whole = join_parts(parts)
    gets = [part for part in parts if part.deed is Deed.DELIVER] or parts
    if len(parts) > 1:
        edited = disposition.whole
        whole = _with_edits(whole, head, end, edited) if edited is not None else _with_copy(whole, gets[0])
    policies = [share.subject.group.spam for share in disposition.shares]
    info = ""
    if not any(policy.protected and policy.processed for policy in policies):
        info = NOT_PROCESSED if any(policy.protected for policy in policies) else NOT_PROTECTED
    return Ruling(parts=parts, whole=whole, queue_id=queue_id, info=info)


def _build_part(share: Share, names: Mapping[str, str], head: bytes, end: int) -> Part:
    subject, copy = share.subject, share.copy
    verdict = subject.verdict
    spam = verdict.spam
    checked = spam is not None and spam.checked
    part = Part(
        recipients=tuple([names.get(address, address) for address in subject.recipients]),
        group=subject.group.name,
        deed=_deed(share),
        reply=share.refusal,
        status=spam.status.value if spam is not None and checked else "",
        extended=spam.info if spam is not None else "",
        rate=spam.rate if spam is not None else 0,
        methods=tuple([method.value for method in spam.methods]) if spam is not None else (),
        categories=spam.categories if spam is not None else (),
        marks=_marks(spam) if spam is not None and spam.signs else (),
        objects=tuple([status.value for status in verdict.statuses]),
        threats=_threats(verdict) if verdict.decisions else (),
        reason=verdict.explanation,
        subject_label=" ".join(spam.labels) if spam is not None and spam.labels else "",
        copies=share.copies,
        redirect=share.redirect,
    )
    return _with_edits(part, head, end, Edited(copy.prefix, copy.splices))


def _deed(share: Share) -> Deed:
    if share.refusal is not None:
        return Deed.REJECT
    return Deed.DISCARD if share.subject.verdict.withheld else Deed.DELIVER


def _marks(spam: SpamVerdict) -> tuple[Mark, ...]:
    ranked = sorted(spam.signs, key=lambda sign: -abs(sign.weight))[:SIGNS_TOLD]
    return tuple([Mark(sign.name, round(sign.weight, 2), sign.evidence[:TEXT_TOLD]) for sign in ranked])


def _threats(verdict: Verdict) -> tuple[Threat, ...]:
    return tuple(
        [
            Threat((each.threat or each.status.value)[:TEXT_TOLD], each.status.value, each.name[:TEXT_TOLD])
            for each in verdict.decisions[:THREATS_TOLD]
        ]
    )


def _with_edits(part: Part, head: bytes, end: int, edited: Edited) -> Part:
    edits, body = plan_field_edits(head, end, edited.prefix, edited.splices)
    return msgspec.structs.replace(
        part, prefix=edited.prefix, splices=edited.splices, field_edits=edits, body_changed=body
    )


def _with_copy(part: Part, copy: Part) -> Part:
    return msgspec.structs.replace(
        part,
        prefix=copy.prefix,
        splices=copy.splices,
        field_edits=copy.field_edits,
        body_changed=copy.body_changed,
    )


def build_passing(request: Request, prefix: bytes, info: str, reason: str, queue_id: str) -> Ruling:
    """Return the answer about a message that was not looked at, and passes: `info` says which documented case it is."""
    edits, _ = plan_field_edits(b"", 0, prefix, ())
    part = Part(recipients=request.recipients, extended=info, prefix=prefix, field_edits=edits, reason=reason)
    return Ruling(parts=(part,), whole=part, queue_id=queue_id, info=info)


def build_answered(
    message_id: int, request: Request, ruling: Ruling, size: int, now: float, elapsed_s: float
) -> Answered:
    """Return the record of an answer. `now` in Unix seconds."""
    counts = _NOBODY.copy()
    without: list[str] = []
    for part in ruling.parts:
        counts[part.deed] += len(part.recipients)
        if part.deed is not Deed.DELIVER:
            without += part.recipients[: ADDRESSES_TOLD - len(without)]
    whole = ruling.whole
    return Answered(
        message_id,
        now,
        whole.deed.value,
        counts[Deed.DELIVER],
        counts[Deed.REJECT],
        counts[Deed.DISCARD],
        tuple(without),
        size,
        ruling.info,
        f"{whole.reply.code} {whole.reply.enhanced} {whole.reply.text}"[:TEXT_TOLD] if whole.reply is not None else "",
        whole.reason[:TEXT_TOLD],
        request.purpose.value,
        elapsed_s * 1000,
    )


def build_unjudged(message_id: int, request: Request, why: str, size: int, now: float, elapsed_s: float) -> Answered:
    """Return the record of a message that could not be judged."""
    return Answered(
        message_id,
        now,
        UNJUDGED,
        size=size,
        reason=why[:TEXT_TOLD],
        purpose=request.purpose.value,
        elapsed_ms=elapsed_s * 1000,
    )
