"""A rule set made ready: the profiles in force, their conditions compiled, recipients led to their profile at once.

Made when a configuration is taken into use; asked by `policy.profiles` for every message. A message's recipients cost
one look-up each, whatever the number of profiles; all expressions about a field are one automaton.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from gatepost.config.masks import FirstMatch, MaskSet, NetworkSet
from gatepost.config.profiles_patterns import Patterns
from gatepost.model.profile import (
    Action,
    Condition,
    ConditionKind,
    Profile,
    RuleSet,
    RuleSettings,
)
from gatepost.model.spam import SpamStatus
from gatepost.model.verdict import SpamVerdict
from gatepost.policy.profile_header import HeaderView

KB: Final = 1024


class MailFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a message, the same for all of its recipients."""

    client_ip: str = ""
    """"" when nobody knows it."""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    size: int = 0
    """Bytes."""
    listed: Mapping[str, bool] = {}
    """Zones of DNSBL services that have answered: whether they list the client."""
    in_dns: bool | None = None
    """Whether the client has a name; None: nobody could tell."""
    categories: tuple[str, ...] | None = None
    """None: the content was not looked at."""
    obscene: bool | None = None


class ShareFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a message for the recipients of one group."""

    indices: Sequence[int]
    """Of these in `MailFacts.recipients`."""
    spam: SpamVerdict | None = None
    header: Callable[[], HeaderView | None] = lambda: None
    """Gives the header as this group's copy has it; None: nobody has read it."""


class Case:
    """What one rule is tried on."""

    __slots__ = ("_matched", "_table", "header", "mail", "scope", "spam")

    def __init__(
        self,
        table: "RuleTable",
        mail: MailFacts,
        spam: SpamVerdict | None,
        header: HeaderView | None,
        scope: Sequence[str],
    ) -> None:
        """`scope`: recipients that conditions test."""
        self._table = table
        self.mail = mail
        self.spam = spam
        self.header = header
        self.scope = scope
        self._matched: dict[str, frozenset[int]] = {}

    def matched(self, name: str) -> frozenset[int]:
        """Return the expressions that a field of this name matches now."""
        found = self._matched.get(name)
        if found is None:
            patterns = self._table.patterns(name)
            values = self.header.values(name) if self.header is not None else []
            found = self._matched[name] = frozenset[int]().union(*map(patterns.match, values))
        return found

    def forget(self, name: str) -> None:
        """A field of this name has changed."""
        self._matched.pop(name, None)


Predicate = Callable[[Case], bool | None]
"""Whether a condition holds; None: it cannot be told, and then neither it nor its negation holds."""


class CompiledRule(msgspec.Struct, frozen=True):
    """A rule made ready."""

    conditions: tuple[tuple[Predicate, bool], ...]
    """With whether it is negated."""
    actions: tuple[Action, ...]

    def holds(self, case: Case) -> bool:
        """Tell whether all conditions hold."""
        return all(predicate(case) is (not negated) for predicate, negated in self.conditions)


class CompiledProfile(msgspec.Struct, frozen=True):
    """A profile made ready."""

    name: str
    rules: tuple[CompiledRule, ...]


class RuleTable:
    """A rule set in force."""

    def __init__(self, rules: RuleSet) -> None:
        """Compile a set that `config.profiles_check` has found sound."""
        self.settings: RuleSettings = rules.settings
        self._rules = rules
        self._expressions: dict[str, dict[str, int]] = {}
        self._patterns: dict[str, Patterns] = {}
        hidden = () if rules.hidden is None else (rules.hidden,)
        common = (*hidden, *(rules.profiles[ref.file] for ref in rules.common if ref.active))
        personal = tuple(rules.profiles[ref.file] for ref in rules.personal if ref.active)
        self.common = tuple(map(self._compile, common))
        self.personal = tuple(map(self._compile, personal))
        self._by_recipient: FirstMatch[int] = FirstMatch(
            (mask, place) for place, profile in enumerate(personal) for mask in self._owners(profile)
        )
        active = (*common, *personal)
        conditions = [each for profile in active for rule in profile.rules for each in rule.conditions]
        actions = [each for profile in active for rule in profile.rules for each in rule.actions]
        self.fields = tuple(sorted({each.header.lower() for each in (*conditions, *actions) if each.header}))
        """Names of fields that rules ask for or change, in lower case."""
        self.zones = tuple(
            dict.fromkeys(
                service.zone.lower()
                for each in conditions
                if each.test is ConditionKind.CLIENT_DNSBL
                for service in rules.dnsbl[each.value].services
            )
        )
        """Zones of DNSBL services that rules ask."""
        self.asks_name = any(each.test is ConditionKind.CLIENT_NOT_IN_DNS for each in conditions)

    @property
    def active(self) -> bool:
        """Whether there is any profile in force."""
        return bool(self.common or self.personal)

    def patterns(self, name: str) -> Patterns:
        """Return the expressions about a field, compiled when they are first asked for."""
        patterns = self._patterns.get(name)
        if patterns is None:
            numbers = self._expressions.get(name, {})
            patterns = self._patterns[name] = Patterns({number: text for text, number in numbers.items()})
        return patterns

    def warm_up(self) -> None:
        """Compile all expressions: before mail comes, so that none waits for it."""
        for name in self._expressions:
            self.patterns(name)

    def personal_of(self, recipient: str) -> int | None:
        """Return the place of the first active personal profile of a recipient."""
        return self._by_recipient.find(recipient)

    def _owners(self, profile: Profile) -> Iterable[str]:
        if profile.recipient_list:
            return map(build_mask, self._rules.emails[profile.recipient_list].addresses)
        return map(build_mask, profile.recipients) if profile.recipients else ("*",)

    def _compile(self, profile: Profile) -> CompiledProfile:
        rules = tuple(
            CompiledRule(
                tuple((self._predicate(condition), condition.negated) for condition in rule.conditions), rule.actions
            )
            for rule in profile.rules
        )
        return CompiledProfile(profile.name, rules)

    def _predicate(self, condition: Condition) -> Predicate:
        if condition.test is ConditionKind.HEADER_MATCHES:
            return self._matches(condition)
        return _MAKERS[condition.test](condition, self._rules)

    def _matches(self, condition: Condition) -> Predicate:
        name = condition.header.lower()
        numbers = self._expressions.setdefault(name, {})
        number = numbers.setdefault(condition.value, len(numbers))

        def matches(case: Case) -> bool | None:
            return None if case.header is None else number in case.matched(name)

        return matches


def build_mask(address: str) -> str:
    """Return an entry of a rule as a mask: `@domain` is everybody there."""
    return f"*{address}" if address.startswith("@") else address


def _client_in(networks: Iterable[str]) -> Predicate:
    known = NetworkSet(networks)

    def inside(case: Case) -> bool | None:
        return known.contains(case.mail.client_ip) if case.mail.client_ip else None

    return inside


def _sender_in(masks: Iterable[str]) -> Predicate:
    known = MaskSet(map(build_mask, masks))
    return lambda case: known.matches(case.mail.sender)


def _recipient_in(masks: Iterable[str]) -> Predicate:
    known = MaskSet(map(build_mask, masks))
    return lambda case: any(known.matches(each) for each in case.scope)


def _dnsbl(condition: Condition, rules: RuleSet) -> Predicate:
    zones = tuple(service.zone.lower() for service in rules.dnsbl[condition.value].services)

    def listed(case: Case) -> bool | None:
        answers = [case.mail.listed.get(zone) for zone in zones]
        if True in answers:
            return True
        return None if None in answers else False

    return listed


def _not_in_dns(case: Case) -> bool | None:
    return None if case.mail.in_dns is None else not case.mail.in_dns


def _header_exists(condition: Condition, _: RuleSet) -> Predicate:
    name = condition.header.lower()
    return lambda case: None if case.header is None else any(line.name == name for line in case.header.lines)


def _size_over(condition: Condition, _: RuleSet) -> Predicate:
    limit = condition.number * KB
    return lambda case: case.mail.size > limit


def normalise_category(category: str) -> str:
    """Return the form in which categories are compared: older sets write `_` where ours have `-`."""
    return category.lower().replace("_", "-")


def _category(condition: Condition, _: RuleSet) -> Predicate:
    wanted = normalise_category(condition.value)
    below = f"{wanted}/"

    def holds(case: Case) -> bool | None:
        categories = case.mail.categories
        if categories is None:
            return None
        return any(each == wanted or each.startswith(below) for each in map(normalise_category, categories))

    return holds


def _status(condition: Condition, _: RuleSet) -> Predicate:
    wanted = SpamStatus(condition.value)
    return lambda case: None if case.spam is None else case.spam.status is wanted


def _rate_over(condition: Condition, _: RuleSet) -> Predicate:
    limit = condition.number
    return lambda case: None if case.spam is None or not case.spam.checked else case.spam.rate >= limit


def _method(condition: Condition, _: RuleSet) -> Predicate:
    wanted = condition.value.lower()

    def holds(case: Case) -> bool | None:
        if case.spam is None or not case.spam.checked:
            return None
        return any(each.lower().startswith(wanted) for each in (*case.spam.methods, *case.spam.details))

    return holds


def _obscene(case: Case) -> bool | None:
    return case.mail.obscene


_MAKERS: Final[Mapping[ConditionKind, Callable[[Condition, RuleSet], Predicate]]] = {
    ConditionKind.CLIENT_IP: lambda condition, _: _client_in((condition.value,)),
    ConditionKind.CLIENT_LIST: lambda condition, rules: _client_in(rules.iplists[condition.value].networks),
    ConditionKind.CLIENT_DNSBL: _dnsbl,
    ConditionKind.CLIENT_NOT_IN_DNS: lambda _condition, _rules: _not_in_dns,
    ConditionKind.SENDER: lambda condition, _: _sender_in((condition.value,)),
    ConditionKind.SENDER_LIST: lambda condition, rules: _sender_in(rules.emails[condition.value].addresses),
    ConditionKind.RECIPIENT: lambda condition, _: _recipient_in((condition.value,)),
    ConditionKind.RECIPIENT_LIST: lambda condition, rules: _recipient_in(rules.emails[condition.value].addresses),
    ConditionKind.HEADER_EXISTS: _header_exists,
    ConditionKind.SIZE_OVER: _size_over,
    ConditionKind.CATEGORY: _category,
    ConditionKind.STATUS: _status,
    ConditionKind.RATE_OVER: _rate_over,
    ConditionKind.METHOD: _method,
    ConditionKind.OBSCENE: lambda _condition, _rules: _obscene,
}
