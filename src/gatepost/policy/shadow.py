"""Shadows: groups as they would be with other settings, and what they would have done with a message. Pure.

Compiled from `Config.shadows` with every configuration; asked by `relay.shadowing` for each message of their groups,
with the analysis that was made anyway. What a shadow decides is recorded and has no effect.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from gatepost.config.gateway import Ave
from gatepost.config.services import Antispam
from gatepost.config.shadow import Shadow
from gatepost.model.finding import Analysis
from gatepost.model.verdict import NOTABLE, ObjectAction, SpamActions, SpamEnd, Verdict
from gatepost.policy.decide import resolve_edits
from gatepost.policy.group import GroupPolicy
from gatepost.policy.spam_settings import SpamPolicy

_NO_ACTIONS = SpamActions()
_LISTS = frozenset(("white_list", "black_list", "use_lists"))
_ENDS = {
    SpamEnd.DELIVER: "deliver",
    SpamEnd.REDIRECT: "redirect",
    SpamEnd.BLOCK: "block as spam",
    SpamEnd.REJECT: "reject as spam",
    SpamEnd.DELETE: "delete as spam",
}


class Deed(msgspec.Struct, frozen=True):
    """What is done with one group's copy, as far as its settings decide it."""

    blocked: bool
    edits: tuple[ObjectAction, ...]
    """What is done to objects, in their order."""
    spam: str
    """Status, where it says something against the message."""
    actions: SpamActions

    def describe(self) -> str:
        """Return it in words."""
        words = ["block for its objects" if self.blocked else _ENDS[self.actions.end]]
        words += [f"{action.value} {self.edits.count(action)}" for action in dict.fromkeys(self.edits)]
        for name in ("mark", "keywords", "quarantine"):
            if getattr(self.actions, name):
                words.append(name)
        if self.actions.copies:
            words.append("copy")
        return ", ".join(words) + (f" ({self.spam})" if self.spam else "")


def tell_deed(verdict: Verdict, analysis: Analysis | None) -> Deed:
    """Return what a verdict comes to."""
    spam = verdict.spam
    edits = resolve_edits(analysis, verdict) if analysis is not None and not verdict.withheld else ()
    return Deed(
        verdict.blocked,
        tuple([edit.action for edit in edits]),
        spam.status.value if spam is not None and spam.status in NOTABLE else "",
        spam.actions if spam is not None else _NO_ACTIONS,
    )


class Shadowing(msgspec.Struct, frozen=True):
    """One group under one shadow."""

    name: str
    """Of the shadow."""
    group: GroupPolicy
    ends: float
    """Unix time, 0 = never."""
    own_lists: bool
    """It changes allow or block lists."""


class ShadowTable:
    """All shadows of one configuration, by group."""

    def __init__(self, by_group: Mapping[str, Sequence[Shadowing]]) -> None:
        self._by_group = by_group

    @classmethod
    def from_config(
        cls, shadows: Sequence[Shadow], ave: Ave, deadline_s: float, antispam: Antispam
    ) -> "ShadowTable | None":
        """Compile `Config.shadows`; None when there are none. TemplateError."""
        by_group: dict[str, list[Shadowing]] = {}
        for shadow in shadows:
            own_lists = any(name in _LISTS for name, _ in shadow.changes)
            for group in shadow.resolved:
                policy = GroupPolicy.from_config(group, ave, deadline_s, antispam=antispam)
                by_group.setdefault(group.name, []).append(Shadowing(shadow.name, policy, shadow.ends, own_lists))
        return cls(by_group) if by_group else None

    def shadows_of(self, group: GroupPolicy, now: float) -> Iterator[tuple[str, GroupPolicy]]:
        """Yield (shadow, group as it would be) for a group as it is for one message."""
        if group.bypass:
            return
        for each in self._by_group.get(group.name, ()):
            if not each.ends or now < each.ends:
                yield each.name, msgspec.structs.replace(each.group, spam=_alike(each, group.spam))


def _alike(shadowing: Shadowing, live: SpamPolicy) -> SpamPolicy:
    """Return the shadow's policy on spam for the recipients, and with the entries of lists, that the live one has."""
    spam = shadowing.group.spam
    if not live.protected:
        spam = spam.unprotected()
    if shadowing.own_lists:
        return spam
    return msgspec.structs.replace(spam, white=live.white, black=live.black, lists=live.lists)
