"""What a ruling means for a mail system that asks by milter: the packets that carry it out on its one copy.

Called by `service.milter_door`. Pure. Promises: whoever is not to get the message is taken off it, or `PlanError`: a
ruling that cannot be carried out as a whole is not carried out in part.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from gatepost.mime.edit import SpliceError, apply_splices
from gatepost.model.filtering import Deed, FieldEdit, FieldOp, Part, Ruling
from gatepost.model.reply import reply
from gatepost.wire.milter_answers import (
    CONTINUE,
    DISCARD,
    build_add_recipient,
    build_append,
    build_body,
    build_change,
    build_delete,
    build_delete_recipient,
    build_hold,
    build_insert,
    build_refusal,
)

REFUSED: Final = reply(550, "5.7.1", "Message refused")
"""For a ruling that says no words of its own."""
_BY_NUMBER: Final = frozenset((FieldOp.CHANGE, FieldOp.DELETE))
Recipients = Mapping[str, Sequence[bytes]]
"""Recipients as the judge was told them, and each as the mail system told it: twice, when it did so twice."""


class PlanError(ValueError):
    """The ruling does not fit the message; the text says how."""


def plan_answer(
    ruling: Ruling, recipients: Recipients, content: bytes, *, exact_values: bool, hold: bool
) -> list[bytes]:
    """Return the packets to send, the last of which ends the message. PlanError.

    `content` is looked at only when the ruling changes the body; b"" else does. `hold`: what nobody is to get waits in
    the mail system's queue instead of vanishing.
    """
    whole = ruling.whole
    if whole.deed is Deed.REJECT:
        return [build_refusal(whole.reply or REFUSED)]
    added = tuple(dict.fromkeys((*whole.redirect, *whole.copies)))
    if whole.deed is Deed.DISCARD and not added:
        return [build_hold(whole.reason or "discarded"), CONTINUE] if hold else [DISCARD]
    removed = _removed(ruling, recipients)
    packets = plan_fields(whole.field_edits, exact_values=exact_values)
    if whole.body_changed:
        packets += build_body(edited_body(whole, content))
    stays = recipients.keys() - removed.keys()
    packets += (build_add_recipient(f"<{one}>".encode()) for one in added if one not in stays)
    packets += (build_delete_recipient(raw) for raws in removed.values() for raw in raws)
    packets.append(CONTINUE)
    return packets


def _removed(ruling: Ruling, recipients: Recipients) -> Recipients:
    """Return those who do not get the one copy. PlanError."""
    if ruling.whole.deed is Deed.DISCARD:  # only those get it who were added
        return recipients
    removed: dict[str, Sequence[bytes]] = {}
    for part in ruling.parts:
        if part.deed is Deed.DELIVER and not part.redirect:
            continue
        for one in part.recipients:
            if one not in recipients:
                raise PlanError(f"a ruling about {one}, who is no recipient")
            removed[one] = recipients[one]
    return removed


def plan_fields(edits: Sequence[FieldEdit], *, exact_values: bool) -> list[bytes]:
    """Return the packets of header changes.

    Mail systems disagree on whether a deleted or inserted field changes the number of those behind it: with the last
    of a name first, and what is new at the end, it is the same to all of them.
    """
    by_number = sorted((edit for edit in edits if edit.op in _BY_NUMBER), key=lambda edit: -edit.index)
    new = [edit for edit in edits if edit.op not in _BY_NUMBER]
    return [_plan_field(edit, exact_values=exact_values) for edit in (*by_number, *new)]


def _plan_field(edit: FieldEdit, *, exact_values: bool) -> bytes:
    match edit.op:
        case FieldOp.CHANGE:
            return build_change(edit.name, edit.index, edit.value, exact_values=exact_values)
        case FieldOp.DELETE:
            return build_delete(edit.name, edit.index)
        case FieldOp.INSERT:
            return build_insert(edit.name, edit.value, exact_values=exact_values)
        case FieldOp.APPEND:
            return build_append(edit.name, edit.value, exact_values=exact_values)


def edited_body(part: Part, content: bytes) -> bytes:
    """Return the body of the copy that the part describes. PlanError."""
    try:
        edited = part.prefix + b"".join(apply_splices(content, part.splices))
    except SpliceError as error:
        raise PlanError(str(error)) from error
    if edited.startswith(b"\r\n"):
        return edited[2:]
    header_end = edited.find(b"\r\n\r\n")
    return edited[header_end + 4 :] if header_end >= 0 else b""
