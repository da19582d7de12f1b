"""Whether a rule set is sound: every fault, with its place and how to mend it (specification antispam.md §10). Pure.

Called by `config.profiles_files` for every set that is read, so at start, reload and `gatepost rules check`, and by the
console before anything is saved. A set with an error is never in force.
"""

import functools
import re
from collections.abc import Container, Iterator, Sequence
from typing import Final

from gatepost.config.masks import parse_network
from gatepost.config.problem import Problem, Severity
from gatepost.config.profiles_patterns import PATTERN_LIMIT, PatternError, Patterns, check_pattern
from gatepost.config.profiles_samples import find_useless
from gatepost.config.profiles_trial import COMPILE_S, count_in_time, is_dear
from gatepost.model.profile import (
    ENDS_PROFILE,
    Act,
    Action,
    Condition,
    ConditionKind,
    Profile,
    ProfileRef,
    Rule,
    RuleSet,
)
from gatepost.model.spam import SpamStatus

PROFILES_LIMIT: Final = 5_000
LISTS_LIMIT: Final = 1_000
"""Lists of one kind."""
ENTRIES_LIMIT: Final = 100_000
"""Entries of one list."""
RULES_LIMIT: Final = 1_000
"""Rules of one profile."""
PARTS_LIMIT: Final = 100
"""Conditions, or actions, of one rule; addresses of one action; services of one list of DNSBL services."""
SIZE_LIMIT: Final = 10**9
"""KB: a terabyte. Larger numbers have no room in a snapshot of the configuration."""
VALUE_LIMIT: Final = 500
"""Characters of a text that is put into a header or the log: with its name it fits a line (RFC 5322 §2.1.1)."""
LABEL_LIMIT: Final = 100
"""Bytes of a label: more would leave nothing of the subject on a screen."""
TEXT_LIMIT: Final = 4_000
"""Characters of the texts of rejection."""
SENDER_MACRO: Final = "${SMTP_FROM}"
CATEGORY_MACRO: Final = "${CATEGORY}"

FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")
_HEADER: Final = re.compile(r"[!-9;-~]{1,76}\Z")
_FIXED: Final = re.compile(r"content-.*|mime-version|received\Z", re.IGNORECASE)
_MASK: Final = re.compile(r"[^\s<>,;:]{0,256}\Z")
_ADDRESS: Final = re.compile(r"[^\s<>,;:@*?]{1,128}@[^\s<>,;:@*?]{1,255}\Z")
_CATEGORY: Final = re.compile(r"[A-Za-z0-9_-]{1,30}(/[A-Za-z0-9_-]{1,30}){0,2}\Z")
_ZONE: Final = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+\Z")
_MACRO: Final = re.compile(r"\$\{[^}]*\}")
_BREAKS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_MEMBERS: Final = {
    ConditionKind.CLIENT_IP: {"value"},
    ConditionKind.CLIENT_LIST: {"value"},
    ConditionKind.CLIENT_DNSBL: {"value"},
    ConditionKind.CLIENT_NOT_IN_DNS: set[str](),
    ConditionKind.SENDER: {"value"},
    ConditionKind.SENDER_LIST: {"value"},
    ConditionKind.RECIPIENT: {"value"},
    ConditionKind.RECIPIENT_LIST: {"value"},
    ConditionKind.HEADER_EXISTS: {"header"},
    ConditionKind.HEADER_MATCHES: {"header", "value"},
    ConditionKind.SIZE_OVER: {"number"},
    ConditionKind.CATEGORY: {"value"},
    ConditionKind.STATUS: {"value"},
    ConditionKind.RATE_OVER: {"number"},
    ConditionKind.METHOD: {"value"},
    ConditionKind.OBSCENE: set[str](),
}
"""What each kind of condition is told."""
_ACTION_MEMBERS: Final = {
    Act.ACCEPT: set[str](),
    Act.REJECT: set[str](),
    Act.BLACK_HOLE: set[str](),
    Act.SKIP: set[str](),
    Act.BOUNCE: set[str](),
    Act.RECIPIENT_DELETE: {"addresses"},
    Act.RECIPIENT_ADD: {"addresses"},
    Act.RECIPIENT_REPLACE: {"addresses"},
    Act.HEADER_DELETE: {"header"},
    Act.HEADER_REPLACE: {"header", "value"},
    Act.HEADER_ADD: {"header", "value"},
    Act.HEADER_NEW: {"header", "value"},
    Act.HEADER_LABEL: {"header", "value"},
    Act.LOG: {"value"},
}
"""What each action is told."""

_Fault = tuple[str, str]
"""What is wrong, how to mend it."""


def check_rule_set(rules: RuleSet, root: str = "") -> tuple[Problem, ...]:
    """Return everything wrong with a set. `root`: directory in front of the files' names."""
    return tuple(_Checker(rules, root).run())


class _Checker:
    def __init__(self, rules: RuleSet, root: str) -> None:
        self._rules = rules
        self._root = f"{root}/" if root else ""
        self._slow: frozenset[tuple[str, ...]] = frozenset()
        """Expressions, or all those about a field, that cannot be compiled in time, or were not tried any more."""

    def run(self) -> Iterator[Problem]:
        rules = self._rules
        yield from self._check_time()
        yield from self._check_order()
        if rules.hidden is not None:
            yield from self._check_profile("hidden.toml", rules.hidden, common=True)
        common = {ref.file for ref in rules.common}
        for file, profile in rules.profiles.items():
            yield from self._check_profile(f"profiles/{file}.toml", profile, common=file in common)
        for kind, lists in (("emails", rules.emails), ("iplists", rules.iplists), ("dnsbl", rules.dnsbl)):
            if len(lists) > LISTS_LIMIT:
                yield self._note(f"{kind}/", "", f"{len(lists)} lists: there may be {LISTS_LIMIT}", "Remove some")
        for kind in ("profiles", "emails", "iplists", "dnsbl", "samples"):
            for file in getattr(rules, kind):
                if FILE_NAME.match(file) is None:
                    yield self._note(f"{kind}/{file[:100]}.toml", "", "the file's name is none", _NAME_MEND)
        for file, why in find_useless(rules.samples):
            mend = "Write at least some twenty words of a mail, or take it out"
            yield self._note(
                f"samples/{file[:100]}.toml", "", f"no mail is compared with it: {why}", mend, Severity.WARNING
            )
        yield from self._check_lists()
        yield from self._check_together()
        for name in ("reject_text", "bounce_text"):
            text = getattr(rules.settings, name)
            if not text.strip() or len(text) > TEXT_LIMIT:
                yield self._note(
                    "settings.toml", name, f"a text of 1 to {TEXT_LIMIT} characters is needed", "Write one"
                )

    def _note(self, file: str, place: str, what: str, mend: str, severity: Severity = Severity.ERROR) -> Problem:
        return Problem(severity, self._root + file, 0, "", place, what, mend=mend)

    def _expressions(self) -> dict[str, tuple[str, ...]]:
        """Return all expressions by field."""
        found: dict[str, dict[str, None]] = {}
        hidden = () if self._rules.hidden is None else (self._rules.hidden,)
        for profile in (*hidden, *self._rules.profiles.values()):
            for condition in (each for rule in profile.rules for each in rule.conditions):
                if condition.test is ConditionKind.HEADER_MATCHES and len(condition.value) <= PATTERN_LIMIT:
                    found.setdefault(condition.header.lower(), {})[condition.value] = None
        return {header: tuple(texts) for header, texts in found.items()}

    def _check_time(self) -> Iterator[Problem]:
        """Expressions that would take for ever are not even tried here."""
        fields = [texts for texts in self._expressions().values() if any(map(is_dear, texts))]
        alone = dict.fromkeys((text,) for texts in fields for text in texts if is_dear(text))
        groups = (*alone, *(texts for texts in fields if len(texts) > 1))
        try:
            known = count_in_time(groups)
        except OSError as error:
            yield self._note("profiles/", "", f"expressions cannot be tried: {error.strerror}", "Try again")
            known = 0
        else:
            if known < len(groups):
                text = groups[known][0]
                what = f"expressions take more than {COMPILE_S} s to compile: {text[:60]!r}"
                what += " and others about its field" if len(groups[known]) > 1 else ""
                yield self._note("profiles/", "", what, "Write fewer repetitions, such as {1,50}, or fewer expressions")
        self._slow = frozenset(groups[known:])

    def _check_together(self) -> Iterator[Problem]:
        """All expressions about one field are one automaton, which has limits of its own."""
        for header, every in self._expressions().items():
            if every in self._slow:
                continue
            texts = tuple(each for each in every if (each,) not in self._slow and not _pattern_fault(each))
            if why := _joint_fault(texts):
                what = f"the {len(texts)} expressions about {header} cannot be used together: {why}"
                yield self._note("profiles/", "", what, "Write fewer, or simpler ones")

    def _check_order(self) -> Iterator[Problem]:
        rules = self._rules
        if len(rules.profiles) > PROFILES_LIMIT:
            yield self._note(
                "profiles/", "", f"{len(rules.profiles)} profiles: there may be {PROFILES_LIMIT}", "Remove some"
            )
        seen: set[str] = set()
        for kind, refs in (("common", rules.common), ("personal", rules.personal)):
            for number, ref in enumerate(refs, 1):
                yield from self._check_ref(f"{kind} {number}", ref, seen)
                seen.add(ref.file)

    def _check_ref(self, place: str, ref: ProfileRef, seen: set[str]) -> Iterator[Problem]:
        if FILE_NAME.match(ref.file) is None:
            yield self._note("profiles.toml", place, f"{ref.file[:60]!r} is no name of a profile's file", _NAME_MEND)
        elif ref.file not in self._rules.profiles:
            what = f"there is no profile profiles/{ref.file}.toml"
            yield self._note("profiles.toml", place, what, "Take the line out, or write the profile")
        elif ref.file in seen:
            yield self._note("profiles.toml", place, f"{ref.file} has a place already", "Take one of them out")

    def _check_lists(self) -> Iterator[Problem]:
        rules = self._rules
        for file, emails in rules.emails.items():
            for address in emails.addresses:
                if not _is_mask(address):
                    what = f"{address[:60]!r} is no address"
                    yield self._note(f"emails/{file}.toml", "", what, "Write user@domain, @domain or a mask")
        for file, networks in rules.iplists.items():
            for network in networks.networks:
                if fault := _network_fault(network):
                    yield self._note(f"iplists/{file}.toml", "", *fault)
        for file, dnsbl in rules.dnsbl.items():
            if len(dnsbl.services) > PARTS_LIMIT:
                what = f"{len(dnsbl.services)} services: there may be {PARTS_LIMIT}"
                yield self._note(f"dnsbl/{file}.toml", "", what, "Remove some: each is a question for every message")
            for service in dnsbl.services:
                if _ZONE.match(service.zone) is None:
                    what = f"{service.zone[:60]!r} is no zone"
                    yield self._note(f"dnsbl/{file}.toml", "", what, "Write a domain name, such as list.example.org")
        for entries, where in (
            *((each.addresses, f"emails/{file}.toml") for file, each in rules.emails.items()),
            *((each.networks, f"iplists/{file}.toml") for file, each in rules.iplists.items()),
        ):
            if len(entries) > ENTRIES_LIMIT:
                yield self._note(
                    where, "", f"{len(entries)} entries: there may be {ENTRIES_LIMIT}", "Use @domain or /nn"
                )

    def _check_profile(self, file: str, profile: Profile, *, common: bool) -> Iterator[Problem]:
        name = f"profile {profile.name[:60]!r}"
        if not profile.name.strip():
            yield self._note(file, "", "the profile has no name", 'Write name = "..."')
        if profile.recipients and profile.recipient_list:
            yield self._note(file, name, "it has recipients and a list of them", "Keep one of the two")
        if common and (profile.recipients or profile.recipient_list):
            what = "a common profile is for the whole message, and has no recipients of its own"
            yield self._note(file, name, what, "Make it a personal one, or use a condition on the recipient")
        if profile.recipient_list and profile.recipient_list not in self._rules.emails:
            yield self._note(file, name, *_no_list("emails", profile.recipient_list))
        for address in profile.recipients:
            if not _is_mask(address):
                what = f"{address[:60]!r} is no address"
                yield self._note(file, name, what, "Write user@domain, @domain or a mask")
        if len(profile.rules) > RULES_LIMIT:
            yield self._note(file, name, f"{len(profile.rules)} rules: there may be {RULES_LIMIT}", "Divide it")
        for number, rule in enumerate(profile.rules, 1):
            yield from self._check_rule(file, f"{name}, rule {number}", rule)

    def _check_rule(self, file: str, place: str, rule: Rule) -> Iterator[Problem]:
        if max(len(rule.conditions), len(rule.actions)) > PARTS_LIMIT:
            yield self._note(file, place, f"more than {PARTS_LIMIT} conditions or actions", "Divide it")
        if not rule.actions:
            yield self._note(file, place, "it does nothing", "Give it an action", Severity.WARNING)
        for index, condition in enumerate(rule.conditions, 1):
            for fault in self._condition_faults(condition):
                yield self._note(file, f"{place}, condition {index}", *fault)
            if condition.test is ConditionKind.SIZE_OVER and not condition.number:
                what = "every message is larger than 0 KB"
                yield self._note(file, f"{place}, condition {index}", what, "Write number", Severity.WARNING)
        yield from self._check_actions(file, place, rule.actions)

    def _check_actions(self, file: str, place: str, actions: Sequence[Action]) -> Iterator[Problem]:
        ended: Act | None = None
        for index, action in enumerate(actions, 1):
            where = f"{place}, action {index}"
            for fault in _action_faults(action):
                yield self._note(file, where, *fault)
            if ended is not None:
                what = f"nothing is done behind {ended.value!r}"
                yield self._note(file, where, what, "Take it out, or move it in front", Severity.WARNING)
            elif action.do in ENDS_PROFILE:
                ended = action.do

    def _condition_faults(self, condition: Condition) -> Iterator[_Fault]:
        kind, value = condition.test, condition.value
        yield from _member_faults(condition, _MEMBERS[kind], ("value", "header", "number"), kind.value)
        lists: dict[ConditionKind, tuple[str, Container[str]]] = {
            ConditionKind.CLIENT_LIST: ("iplists", self._rules.iplists),
            ConditionKind.CLIENT_DNSBL: ("dnsbl", self._rules.dnsbl),
            ConditionKind.SENDER_LIST: ("emails", self._rules.emails),
            ConditionKind.RECIPIENT_LIST: ("emails", self._rules.emails),
        }
        if kind in lists:
            directory, known = lists[kind]
            if value not in known:
                yield _no_list(directory, value)
        elif kind is ConditionKind.CLIENT_IP:
            if fault := _network_fault(value):
                yield fault
        elif kind is ConditionKind.SENDER or kind is ConditionKind.RECIPIENT:
            if not _is_mask(value) and not (kind is ConditionKind.SENDER and not value):
                yield f"{value[:60]!r} is no address", "Write user@domain, @domain or a mask"
        elif kind is ConditionKind.CATEGORY:
            if _CATEGORY.match(value) is None:
                yield f"{value[:60]!r} is no category", "Write up to three names with slashes, such as spam/adult"
        elif kind is ConditionKind.STATUS:
            if value not in {each.value for each in SpamStatus}:
                yield f"{value[:60]!r} is no status", f"Write one of {', '.join(SpamStatus)}"
        elif kind is ConditionKind.RATE_OVER:
            if not 1 <= condition.number <= 100:
                yield f"{condition.number} is no rating", "Write 1 to 100"
        elif kind is ConditionKind.SIZE_OVER:
            if not 0 <= condition.number <= SIZE_LIMIT:
                yield f"{condition.number} KB is no size", f"Write 0 to {SIZE_LIMIT}"
        elif kind is ConditionKind.METHOD:
            if not value.strip():
                yield "it names no method", "Write the beginning of one, such as DNSBL"
        elif kind in (ConditionKind.HEADER_EXISTS, ConditionKind.HEADER_MATCHES):
            yield from _header_faults(condition.header)
            tried = kind is ConditionKind.HEADER_MATCHES and (value,) not in self._slow
            if tried and (why := _pattern_fault(value)):
                shown = value[:60] if value[:60].isprintable() else repr(value[:60])
                yield (
                    f"the expression {shown} cannot be used: {why.rstrip('.')}",
                    "Write one without look-around and back references",
                )


_NAME_MEND: Final = "Use letters, digits, '-', '_' and '.'"


def _member_faults(part: Condition | Action, used: set[str], members: tuple[str, ...], word: str) -> Iterator[_Fault]:
    for member in members:
        if getattr(part, member) and member not in used:
            yield f"{member} says nothing to {word!r}", f"Take {member} out"


def _action_faults(action: Action) -> Iterator[_Fault]:
    do, value = action.do, action.value
    used = _ACTION_MEMBERS[do]
    yield from _member_faults(action, used, ("addresses", "header", "value"), do.value)
    if "addresses" in used:
        if not 1 <= len(action.addresses) <= PARTS_LIMIT:
            yield f"1 to {PARTS_LIMIT} addresses are needed", "Write addresses"
        for address in action.addresses:
            if do is Act.RECIPIENT_DELETE:
                if not _is_mask(address):
                    yield f"{address[:60]!r} is no address", "Write user@domain, @domain or a mask"
            elif address != SENDER_MACRO and _ADDRESS.match(address) is None:
                yield f"{address[:60]!r} is no address", f"Write user@domain or {SENDER_MACRO}"
    if "header" in used:
        yield from _header_faults(action.header)
        if _FIXED.match(action.header):
            what = f"{action.header} says how the message is to be read, and it was inspected as it is"
            yield what, "Change another field"
    if "value" in used:
        if _BREAKS.search(value) or len(value) > VALUE_LIMIT:
            yield f"the text is not one line of at most {VALUE_LIMIT} characters", "Make it shorter"
        if not value.strip() and do in (Act.HEADER_LABEL, Act.LOG):
            yield "there is no text", "Write one"
        if do is Act.HEADER_LABEL and len(value.encode("utf-8", "replace")) > LABEL_LIMIT:
            yield f"the label is longer than {LABEL_LIMIT} bytes", "Make it shorter"
        unknown = [found for found in _MACRO.findall(value) if found != CATEGORY_MACRO]
        if unknown:
            yield f"{unknown[0][:60]} is no macro", f"{CATEGORY_MACRO} is the only one here"


def _header_faults(header: str) -> Iterator[_Fault]:
    if _HEADER.match(header) is None:
        yield f"{header[:60]!r} is no name of a header field", "Write a name without colon, such as Subject"


def _network_fault(text: str) -> _Fault | None:
    try:
        parse_network(text)
    except ValueError as error:
        return str(error), "Write a.b.c.d, a.b.c.d/nn or an IPv6 network"
    return None


def _is_mask(text: str) -> bool:
    return bool(text) and _MASK.match(text) is not None and ("@" in text or "*" in text)


def _no_list(directory: str, file: str) -> _Fault:
    return f"there is no list {directory}/{file[:100]}.toml", "Name one that is there, or write it"


def _joint_fault(texts: tuple[str, ...]) -> str:
    try:
        Patterns(dict(enumerate(texts)))
    except PatternError as error:
        return str(error)
    return ""


@functools.lru_cache(maxsize=4096)
def _pattern_fault(text: str) -> str:
    try:
        check_pattern(text)
    except PatternError as error:
        return str(error)
    return ""
