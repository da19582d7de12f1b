"""What a ruling means for a proxy: whom which copy goes to, what becomes of everybody else, and what the client hears.

Called by `service.proxy_door`. Pure. Promises: every recipient has one fate; who is not in the ruling makes it a
`PlanError`, never a lost message; a positive answer is given only when nobody's mail has failed.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gatepost.mime.edit import SpliceError, check_splices
from gatepost.model.envelope import Notify, Recipient
from gatepost.model.filtering import Deed, Part, Ruling
from gatepost.model.reply import Reply, reply
from gatepost.model.verdict import Splice

REFUSED: Final = reply(550, "5.7.1", "Message refused")
"""For a ruling that says no words of its own."""
DONE: Final = reply(250, "2.0.0", "OK")
SOME_FAILED: Final = reply(554, "5.3.0", "Message not delivered to some of its recipients")
"""By SMTP one answer holds for all: those who have it are named by nobody, so that the failure at least is told."""


class PlanError(ValueError):
    """The ruling does not fit the message; the text says how."""


class Kind(enum.Enum):
    """What became of a recipient."""

    DELIVERED = "delivered"
    """The next hop has the message, or another took it by rule."""
    DISCARDED = "discarded"
    REFUSED = "refused"
    """By verdict."""
    FAILED = "failed"
    """The next hop has not taken it."""


class Fate(msgspec.Struct, frozen=True):
    """What became of a recipient, and the words for it."""

    kind: Kind
    reply: Reply


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction at the next hop."""

    members: tuple[int, ...]
    """Recipients, as numbered in the session, whose fate it decides ..."""
    recipients: tuple[Recipient, ...]
    """... and to whom it goes. ..."""
    deciding: int
    """... The first so many of them decide; who stands behind them gets a copy besides, and may fail."""
    prefix: bytes = b""
    splices: tuple[Splice, ...] = ()

    @property
    def edited(self) -> bool:
        """Whether the content differs from what came."""
        return bool(self.prefix or self.splices)


class Plan(msgspec.Struct, frozen=True):
    """What is to be done with one message."""

    fates: Mapping[int, Fate]
    """Of those who are in no copy's `members`."""
    copies: tuple[Copy, ...]


def plan_unedited(recipients: Sequence[Recipient]) -> Plan:
    """Return the plan of a message that passes as it came."""
    return Plan(
        {}, (Copy(members=tuple(range(len(recipients))), recipients=tuple(recipients), deciding=len(recipients)),)
    )


def plan_copies(ruling: Ruling, recipients: Sequence[Recipient], *, divide: bool, size: int) -> Plan:
    """Return what a ruling asks for; `size` is that of the content. PlanError.

    Parts with the same edits share a transaction. Without `divide` there is one copy, with the edits of all.
    """
    part_of = {address: part for part in ruling.parts for address in part.recipients}
    missing = [each.address for each in recipients if each.address not in part_of]
    if missing:
        raise PlanError(f"a ruling without a word about {missing[0]}")
    for part in (*ruling.parts, ruling.whole):
        try:
            check_splices(part.splices, size)
        except SpliceError as error:
            raise PlanError(str(error)) from error
    fates: dict[int, Fate] = {}
    members: dict[int, list[int]] = {}
    for number, each in enumerate(recipients):
        part = part_of[each.address]
        if part.deed is Deed.REJECT:
            fates[number] = Fate(Kind.REFUSED, part.reply or REFUSED)
        elif part.deed is Deed.DISCARD and not part.copies and not part.redirect:
            fates[number] = Fate(Kind.DISCARDED, DONE)
        else:
            members.setdefault(id(part) if divide else 0, []).append(number)
    groups = [(part_of[recipients[numbers[0]].address], numbers) for numbers in members.values()]
    if divide:
        copies = [_copy(part, part, numbers, recipients) for part, numbers in _joined(groups)]
        copies += [_besides(part) for part in ruling.parts if part.deed is Deed.REJECT and part.copies]
    elif groups:
        copies = [_undivided(ruling.whole, part_of, groups[0][1], recipients)]
    else:
        copies = [_besides(ruling.whole)] if ruling.whole.copies else []
    return Plan(fates, tuple(copies))


def _joined(groups: Sequence[tuple[Part, list[int]]]) -> list[tuple[Part, list[int]]]:
    """Return the groups with those together whose copies are the same."""
    joined: list[tuple[Part, list[int]]] = []
    for part, numbers in groups:
        same = next((others for other, others in joined if _same_copy(part, other)), None)
        if same is None:
            joined.append((part, list(numbers)))
        else:
            same.extend(numbers)
    return joined


def _same_copy(part: Part, other: Part) -> bool:
    plain = part.deed is other.deed and not (part.redirect or part.copies or other.redirect or other.copies)
    return plain and part.prefix == other.prefix and part.splices == other.splices


def _copy(edits: Part, part: Part, numbers: Sequence[int], recipients: Sequence[Recipient]) -> Copy:
    """Return the transaction of one part."""
    if part.redirect:
        deciding = _silent(part.redirect)
        besides = part.copies
    elif part.deed is Deed.DISCARD:
        deciding, besides = _silent(part.copies), ()
    else:
        deciding, besides = [recipients[number] for number in numbers], part.copies
    return _with_besides(edits, numbers, deciding, besides)


def _undivided(
    whole: Part, part_of: Mapping[str, Part], numbers: Sequence[int], recipients: Sequence[Recipient]
) -> Copy:
    """Return the one transaction for all who get anything."""
    direct = [
        recipients[number]
        for number in numbers
        if part_of[recipients[number].address].deed is Deed.DELIVER and not part_of[recipients[number].address].redirect
    ]
    deciding = [*direct, *_silent(whole.redirect)]
    if not deciding:
        return _with_besides(whole, numbers, _silent(whole.copies), ())
    return _with_besides(whole, numbers, deciding, whole.copies)


def _besides(part: Part) -> Copy:
    """Return a copy that goes out beside a rejection."""
    return _with_besides(part, (), [], part.copies)


def _with_besides(edits: Part, numbers: Sequence[int], deciding: Sequence[Recipient], besides: Sequence[str]) -> Copy:
    unique = {each.address: each for each in deciding}
    more = [each for each in _silent(besides) if each.address not in unique]
    return Copy(
        members=tuple(numbers),
        recipients=(*deciding, *more),
        deciding=len(deciding),
        prefix=edits.prefix,
        splices=edits.splices,
    )


def _silent(addresses: Sequence[str]) -> list[Recipient]:
    """Return recipients of whom the sender knows nothing, and so hears nothing."""
    return [Recipient(address, (Notify.NEVER,)) for address in dict.fromkeys(addresses)]


def resolve_fates(copy: Copy, replies: Sequence[Reply], recipients: Sequence[Recipient]) -> dict[int, Fate]:
    """Return what became of a copy's members, given what the next hop said of each of its recipients."""
    said = {each.address: answer for each, answer in zip(copy.recipients[: copy.deciding], replies, strict=False)}
    worst = worst_reply(list(said.values()))
    fates = {}
    for number in copy.members:
        answer = said.get(recipients[number].address, worst)
        fates[number] = Fate(Kind.DELIVERED if answer.positive else Kind.FAILED, _open_ended(answer))
    return fates


def worst_reply(replies: Sequence[Reply]) -> Reply:
    """Return the reply that decides over several: the first temporary failure, else a permanent one, else success."""
    ordered = sorted(replies, key=_severity)
    return ordered[0] if ordered else DONE


def _severity(answer: Reply) -> int:
    if answer.positive:
        return 2
    return 1 if answer.permanent else 0


def _open_ended(answer: Reply) -> Reply:
    """Return a reply that does not end our own session: a next hop that closes its session says nothing about ours."""
    if answer.code != 421:
        return answer
    return reply(451, answer.enhanced or "4.3.2", *answer.lines)


def join_fates(fates: Sequence[Fate]) -> Reply:
    """Return the one answer SMTP has for all recipients.

    A failure is told even when others have the message: a duplicate is better than a loss. Who was refused by verdict
    beside others who were not is not told of.
    """
    by_kind = {kind: [fate.reply for fate in fates if fate.kind is kind] for kind in Kind}
    if failed := by_kind[Kind.FAILED]:
        worst = worst_reply(failed)
        return SOME_FAILED if worst.permanent and len(failed) < len(fates) else worst
    if delivered := by_kind[Kind.DELIVERED]:
        return delivered[0]
    return DONE if by_kind[Kind.DISCARDED] else by_kind[Kind.REFUSED][0]
