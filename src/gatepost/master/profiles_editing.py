"""Changes of a rule set: one after another, each of a whole part. Pure; used by `master.profiles`.

A part is a profile, a list, a sample, the hidden profile, the texts or the order; the console makes what it changes in
one of them (a rule moved up, a line of a list) into the new part. What a change would make unsound is told afterwards
by `config.profiles_check`, with its place; here only what cannot be a rule set at all is refused.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from gatepost.config.profiles_check import FILE_NAME
from gatepost.model.profile import (
    AddressList,
    DnsList,
    NetworkList,
    Profile,
    ProfileRef,
    RuleSet,
    RuleSettings,
    Sample,
)

EDITS_LIMIT: Final = 100
"""Changes at once."""
DESCRIPTION_LIMIT: Final = 2000
"""Characters of names, descriptions and comments."""


_Value = TypeVar("_Value", bound=msgspec.Struct)


class Part(enum.StrEnum):
    """What a change is about."""

    PROFILE = "profiles"
    EMAILS = "emails"
    NETWORKS = "iplists"
    DNSBL = "dnsbl"
    SAMPLE = "samples"
    HIDDEN = "hidden"
    SETTINGS = "settings"
    ORDER = "order"


_KEPT: Final[dict[Part, type[msgspec.Struct]]] = {
    Part.PROFILE: Profile,
    Part.EMAILS: AddressList,
    Part.NETWORKS: NetworkList,
    Part.DNSBL: DnsList,
    Part.SAMPLE: Sample,
}
"""Parts of which there are several, by the names of their files."""


class Place(enum.StrEnum):
    """Where a new profile goes."""

    COMMON = "common"
    PERSONAL = "personal"


class _Order(msgspec.Struct, frozen=True):
    common: tuple[ProfileRef, ...] = ()
    personal: tuple[ProfileRef, ...] = ()


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """One change."""

    part: Part
    file: str = ""
    """Of the profile, list or sample."""
    value: Any = None
    """The new part, as `model.profile` has it; None = it is taken away."""
    new: bool = False
    """There must be none of this name yet."""
    place: Place | None = None
    """Of a profile that is in no order yet: at its end, not active."""


class UnfitError(Exception):
    """A change cannot be made; in words."""


def apply_edits(rules: RuleSet, edits: Sequence[Edit]) -> RuleSet:
    """Return the set with the changes. UnfitError."""
    if len(edits) > EDITS_LIMIT:
        raise UnfitError(f"{len(edits)} changes at once: {EDITS_LIMIT} are the most")
    for edit in edits:
        rules = _apply(rules, edit)
    return rules


def _apply(rules: RuleSet, edit: Edit) -> RuleSet:
    if edit.part is Part.ORDER:
        order = _convert(edit.value, _Order)
        return msgspec.structs.replace(rules, common=order.common, personal=order.personal)
    if edit.part is Part.SETTINGS:
        return msgspec.structs.replace(rules, settings=_convert(edit.value, RuleSettings))
    if edit.part is Part.HIDDEN:
        hidden = None if edit.value is None else _convert(edit.value, Profile)
        return msgspec.structs.replace(rules, hidden=hidden)
    return _replace(rules, edit)


def _replace(rules: RuleSet, edit: Edit) -> RuleSet:
    if FILE_NAME.match(edit.file) is None:
        raise UnfitError(f"{edit.file[:60]!r} is no name: letters, digits, - _ and . are")
    member = edit.part.value
    kept: Mapping[str, Any] = getattr(rules, member)
    if edit.new and edit.file in kept:
        raise UnfitError(f"{edit.file} is there already")
    if edit.value is None:
        rest = {file: value for file, value in kept.items() if file != edit.file}
        rules = msgspec.structs.replace(rules, **{member: rest})
        return _without(rules, edit.file) if edit.part is Part.PROFILE else rules
    value = _convert(edit.value, _KEPT[edit.part])
    rules = msgspec.structs.replace(rules, **{member: {**kept, edit.file: value}})
    if edit.place is not None and edit.file not in {ref.file for ref in (*rules.common, *rules.personal)}:
        refs = (*getattr(rules, edit.place.value), ProfileRef(file=edit.file, active=False))
        rules = msgspec.structs.replace(rules, **{edit.place.value: refs})
    return rules


def _without(rules: RuleSet, file: str) -> RuleSet:
    return msgspec.structs.replace(
        rules,
        common=tuple(ref for ref in rules.common if ref.file != file),
        personal=tuple(ref for ref in rules.personal if ref.file != file),
    )


def _convert(value: object, kind: type[_Value]) -> _Value:
    try:
        made = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UnfitError(str(error)) from error
    for name in ("name", "description", "comment"):
        if len(getattr(made, name, "")) > DESCRIPTION_LIMIT:
            raise UnfitError(f"the {name} has more than {DESCRIPTION_LIMIT} characters")
    return made
