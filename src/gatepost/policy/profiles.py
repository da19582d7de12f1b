"""Profiles and rules: facts and verdicts of a message to what becomes of it (rows F-ASP-01 to F-ASP-11). Pure.

Called by `relay.ruling` once for each message whose groups have given their verdicts, and by whoever explains. Common
profiles in their order, the hidden one first, then for each recipient the first active personal profile that is his.
A fact that nobody could tell (DNS did not answer, no filter has looked) makes neither a condition nor its negation
hold: a rule never acts on what is not known.

Each group's share of a message is decided by itself, since its status and its header are its own; where there is one
group, as a rule, that is the whole message.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from gatepost.config.masks import MaskSet
from gatepost.config.profiles_check import CATEGORY_MACRO, SENDER_MACRO
from gatepost.model.profile import (
    ENDS_PROFILE,
    SEVERE,
    Act,
    Action,
    FieldEdit,
    RuleEnd,
    RuleHit,
    RuleOutcome,
)
from gatepost.policy.profile_header import HeaderView
from gatepost.policy.profile_table import Case, CompiledProfile, MailFacts, RuleTable, ShareFacts, build_mask

EDITS_LIMIT: Final = 200
"""Changes of one header: more are the work of a set that repeats itself."""
ADDED_LIMIT: Final = 100
"""Recipients added to one message."""
HITS_LIMIT: Final = 50
LOGS_LIMIT: Final = 20
"""Hits, and log lines, told of one message."""

Shares = list[tuple[tuple[int, ...], RuleOutcome]]
"""Recipients with what becomes of the message for them. Without recipients: a copy for those added."""


def decide_rules(table: RuleTable, mail: MailFacts, shares: Sequence[ShareFacts]) -> list[Shares]:
    """Return for each share how the rules divide it; a message that no rule touches stays as it is."""
    places = [table.personal_of(each) for each in mail.recipients] if table.personal else []
    scopes: dict[int | None, list[str]] = {}
    for place, recipient in zip(places, mail.recipients, strict=False):
        scopes.setdefault(place, []).append(recipient)
    taken: set[str] = set()
    return [_Share(table, mail, share, places, scopes, taken).decide() for share in shares]


class _State:
    """What rules have done so far."""

    __slots__ = ("added", "bounce", "edits", "header", "hits", "logs", "removed")

    def __init__(self, header: HeaderView | None) -> None:
        self.header = header
        self.edits: list[FieldEdit] = []
        self.removed: set[int] = set()
        self.added: list[str] = []
        self.bounce = False
        self.hits: list[RuleHit] = []
        self.logs: list[str] = []

    def copy(self) -> "_State":
        state = _State(self.header.copy() if self.header is not None else None)
        state.edits = list(self.edits)
        state.removed = set(self.removed)
        state.added = list(self.added)
        state.bounce = self.bounce
        state.hits = list(self.hits)
        state.logs = list(self.logs)
        return state


class _Share:
    """The decision about one group's share."""

    def __init__(
        self,
        table: RuleTable,
        mail: MailFacts,
        share: ShareFacts,
        places: Sequence[int | None],
        scopes: Mapping[int | None, Sequence[str]],
        taken: set[str],
    ) -> None:
        """`places`: personal profile of each recipient, `scopes`: the recipients of each. `taken`: whom an earlier
        share's common rules have added.
        """
        self._table = table
        self._mail = mail
        self._share = share
        self._places = places
        self._scopes = scopes
        self._taken = taken
        self._known = {each.lower(): index for index, each in enumerate(mail.recipients)}

    def decide(self) -> Shares:
        table, indices = self._table, tuple(self._share.indices)
        header = self._share.header() if table.fields else None
        common = _State(header)
        end = None
        for profile in table.common:
            end = self._run(profile, common, indices, self._mail.recipients)
            if end in SEVERE:
                break
        common.added = [each for each in common.added if each.lower() not in self._taken]
        self._taken.update(each.lower() for each in common.added)
        if end in SEVERE or not table.personal:
            return self._finish(end, common, indices, common=True)
        return self._decide_personal(common, indices)

    def _decide_personal(self, common: _State, indices: tuple[int, ...]) -> Shares:
        left = [index for index in indices if index not in common.removed]
        owners: dict[int | None, list[int]] = {}
        for index in left:
            owners.setdefault(self._places[index], []).append(index)
        if not left or all(place is None for place in owners):
            return self._finish(None, common, indices, common=True)
        found: Shares = []
        apart = bool(common.added) and len(owners) > 1
        for place, own in owners.items():
            state = common.copy()
            if apart:
                state.added.clear()
            end = None
            if place is not None:
                end = self._run(self._table.personal[place], state, own, self._scopes[place])
            found += self._finish(end, state, own, common=False)
        gone = tuple(index for index in indices if index in common.removed)
        if gone or apart:
            outcome = msgspec.structs.replace(self._outcome(common), kept=False)
            found.append((gone, outcome if apart else msgspec.structs.replace(outcome, added=())))
        return _join(found)

    def _run(self, profile: CompiledProfile, state: _State, indices: Sequence[int], scope: Sequence[str]) -> Act | None:
        """Run a profile; return the action that has ended it, None when it was its end."""
        case = Case(self._table, self._mail, self._share.spam, state.header, scope)
        for number, rule in enumerate(profile.rules, 1):
            if not rule.holds(case):
                continue
            done: list[Act] = []
            for action in rule.actions:
                done.append(action.do)
                if action.do in ENDS_PROFILE:
                    break
                self._carry_out(action, state, case, indices)
            if len(state.hits) < HITS_LIMIT:
                state.hits.append(RuleHit(profile.name, number, tuple(done)))
            if done and done[-1] in ENDS_PROFILE:
                return done[-1]
        return None

    def _carry_out(self, action: Action, state: _State, case: Case, indices: Sequence[int]) -> None:
        do = action.do
        if do is Act.BOUNCE:
            state.bounce = True
        elif do is Act.LOG:
            if len(state.logs) < LOGS_LIMIT:
                state.logs.append(self._fill(action.value))
        elif do is Act.RECIPIENT_DELETE:
            masks = MaskSet(map(build_mask, action.addresses))
            state.removed.update(index for index in indices if masks.matches(self._mail.recipients[index]))
            state.added = [each for each in state.added if not masks.matches(each)]
        elif do is Act.RECIPIENT_ADD or do is Act.RECIPIENT_REPLACE:
            if do is Act.RECIPIENT_REPLACE:
                state.removed.update(indices)
                state.added.clear()
            for address in action.addresses:
                self._add(self._mail.sender if address == SENDER_MACRO else address, state, indices)
        elif len(state.edits) < EDITS_LIMIT:
            edit = FieldEdit(do, action.header, self._fill(action.value))
            state.edits.append(edit)
            if state.header is not None:
                state.header.apply(edit)
                case.forget(edit.name.lower())

    def _add(self, address: str, state: _State, indices: Sequence[int]) -> None:
        """Add a recipient, who may be one already; the null sender is nobody."""
        folded = address.lower()
        index = self._known.get(folded)
        if index is not None:
            if index in indices:
                state.removed.discard(index)
        elif address and len(state.added) < ADDED_LIMIT and folded not in map(str.lower, state.added):
            state.added.append(address)

    def _fill(self, value: str) -> str:
        return value.replace(CATEGORY_MACRO, ", ".join(self._mail.categories or ()))

    def _finish(self, end: Act | None, state: _State, indices: Sequence[int], *, common: bool) -> Shares:
        """Return what becomes of these recipients when processing has come to its end."""
        outcome = self._outcome(state)
        everyone = tuple(indices)
        if end is Act.REJECT:
            texts = self._table.settings
            return [
                (
                    everyone,
                    RuleOutcome(
                        RuleEnd.REJECT,
                        in_session=common,
                        log=outcome.log,
                        hits=outcome.hits,
                        reply_text=texts.reject_text,
                        bounce_text=texts.bounce_text,
                    ),
                )
            ]
        if end is Act.BLACK_HOLE:
            dropped = msgspec.structs.replace(outcome, end=RuleEnd.DISCARD, added=(), fields=())
            return [(everyone, dropped)]
        kept = tuple(index for index in everyone if index not in state.removed)
        gone = tuple(index for index in everyone if index in state.removed)
        if not gone:
            return [(kept, outcome)]
        if not kept:
            return [(gone, msgspec.structs.replace(outcome, kept=False))]
        return [(kept, outcome), (gone, msgspec.structs.replace(outcome, kept=False, added=()))]

    def _outcome(self, state: _State) -> RuleOutcome:
        return RuleOutcome(
            bounce=state.bounce,
            added=tuple(state.added),
            fields=tuple(state.edits),
            log=tuple(state.logs),
            hits=tuple(state.hits),
            bounce_text=self._table.settings.bounce_text if state.bounce else "",
        )


def _join(shares: Shares) -> Shares:
    """Have recipients with equal outcomes share a copy, whichever profiles came to them."""
    joined: dict[RuleOutcome, tuple[list[int], list[RuleOutcome]]] = {}
    for indices, outcome in shares:
        key = msgspec.structs.replace(outcome, hits=(), log=())
        own, outcomes = joined.setdefault(key, ([], []))
        own += indices
        outcomes.append(outcome)
    return [(tuple(sorted(own)), _merge(outcomes)) for own, outcomes in joined.values()]


def _merge(outcomes: Sequence[RuleOutcome]) -> RuleOutcome:
    if len(outcomes) == 1:
        return outcomes[0]
    hits = dict.fromkeys(hit for each in outcomes for hit in each.hits)
    logs = dict.fromkeys(line for each in outcomes for line in each.log)
    return msgspec.structs.replace(outcomes[0], hits=tuple(hits)[:HITS_LIMIT], log=tuple(logs)[:LOGS_LIMIT])


def describe_hits(outcome: RuleOutcome) -> Iterator[str]:
    """Yield each rule that held, in words for log and tracking."""
    for hit in outcome.hits:
        did = ", ".join(act.value.replace("_", " ") for act in hit.did) or "nothing"
        yield f"rule {hit.rule} of profile {hit.profile}: {did}"
