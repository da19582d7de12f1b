"""Rules on facts: ConnectRule, HeloRule and MailfromRule, compiled (rows F-ACL-03 to F-ACL-09). Pure.

Built by `relay.access` for each configuration. A rule says `allow|deny from <condition> to <recipient mask>`; the first
whose condition and mask both match decides, none = allow. What DNS could not tell is neither true nor false: then the
answer is "not now" unless it is the same either way.
"""

import enum
from collections.abc import Iterable, Mapping

import msgspec

from gatepost.config.items import parse_rule
from gatepost.config.masks import MaskSet


class Fact(enum.Enum):
    """What a condition asks; each is true, false, or not to be had now."""

    LISTED = enum.auto()
    """One of the DNSBL zones lists the client."""
    NAMED = enum.auto()
    """The client's address has a name."""
    HELLO_ADDRESS = enum.auto()
    """The name given at HELO has an address."""
    HELLO_SAME = enum.auto()
    """One of its addresses is the client's."""
    SENDER_ADDRESS = enum.auto()
    """The sender's domain has an address."""
    SENDER_HOSTS = enum.auto()
    """The sender's domain has MX records."""


class Answer(enum.Enum):
    """What a list of rules says."""

    ALLOW = enum.auto()
    DENY = enum.auto()
    UNKNOWN = enum.auto()
    """It hangs on a fact that is not to be had now."""


Known = Mapping[Fact, bool | None]
"""Facts by name; None or absent: not to be had."""

_CONNECT: dict[str, tuple[Fact, bool]] = {
    "in_dnsbl": (Fact.LISTED, True),
    "out_dnsbl": (Fact.LISTED, False),
    "has_name": (Fact.NAMED, True),
    "no_name": (Fact.NAMED, False),
}
_HELLO: dict[str, tuple[Fact, bool]] = {
    "has_ip": (Fact.HELLO_ADDRESS, True),
    "no_ip": (Fact.HELLO_ADDRESS, False),
    "same_ip": (Fact.HELLO_SAME, True),
    "diff_ip": (Fact.HELLO_SAME, False),
}
_SENDER: dict[str, tuple[Fact, bool]] = {
    "has_ip": (Fact.SENDER_ADDRESS, True),
    "no_ip": (Fact.SENDER_ADDRESS, False),
    "has_mx": (Fact.SENDER_HOSTS, True),
    "no_mx": (Fact.SENDER_HOSTS, False),
}


class _Rule(msgspec.Struct, frozen=True):
    answer: Answer
    fact: Fact | None
    """None: the condition `any`."""
    wanted: bool
    cause: str
    """Of a refusal by this rule, as counters and log name it; "" where it allows."""
    recipients: MaskSet


class Rules:
    """One list of rules."""

    __slots__ = ("_rules", "may_refuse_everybody")

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self._rules = tuple(rules)
        self.may_refuse_everybody = any(
            rule.answer is Answer.DENY and rule.recipients.matches_everything for rule in self._rules
        )
        """Whether `refuses_everybody` can ever give a cause."""

    def __bool__(self) -> bool:
        return bool(self._rules)

    def unconditional(self) -> "Rules":
        """Return the rules with condition `any` alone."""
        return Rules(rule for rule in self._rules if rule.fact is None)

    def needed(self, recipient: str) -> list[Fact]:
        """Return the facts that may be needed to decide about a recipient."""
        facts: list[Fact] = []
        for rule in self._rules:
            if rule.recipients.matches(recipient):
                if rule.fact is None:
                    break
                facts.append(rule.fact)
        return facts

    def needed_by_all(self) -> list[Fact]:
        """Return the facts needed whoever the recipient is: they may be asked for before it is known."""
        facts: list[Fact] = []
        for rule in self._rules:
            if rule.recipients.matches_everything:
                if rule.fact is None:
                    break
                facts.append(rule.fact)
        return facts

    def decide(self, known: Known, recipient: str) -> tuple[Answer, str]:
        """Return the answer for a recipient, with the cause of a refusal."""
        doubts: set[Answer] = set()
        answer, cause = Answer.ALLOW, ""
        for rule in self._rules:
            if not rule.recipients.matches(recipient):
                continue
            holds = _holds(rule, known)
            if holds is None:
                doubts.add(rule.answer)
            elif holds:
                answer, cause = rule.answer, rule.cause
                break
        return (Answer.UNKNOWN, "dns") if doubts - {answer} else (answer, cause)

    def refuses_everybody(self, known: Known) -> str:
        """Return the cause when no recipient at all can be allowed, else ""."""
        for rule in self._rules:
            holds = _holds(rule, known)
            if holds is False:
                continue
            if rule.answer is Answer.ALLOW or holds is None:
                return ""  # somebody may be allowed, or it cannot be told yet
            if rule.recipients.matches_everything:
                return rule.cause
        return ""


def connect_rules(texts: Iterable[str]) -> Rules:
    """Compile `access.connect_rule`."""
    return _compile("connect", _CONNECT, texts)


def hello_rules(texts: Iterable[str]) -> Rules:
    """Compile `access.helo_rule`."""
    return _compile("helo", _HELLO, texts)


def sender_rules(texts: Iterable[str]) -> Rules:
    """Compile `access.mailfrom_rule`."""
    return _compile("mailfrom", _SENDER, texts)


def _compile(name: str, conditions: Mapping[str, tuple[Fact, bool]], texts: Iterable[str]) -> Rules:
    rules = []
    for text in texts:
        rule = parse_rule(text)
        fact, wanted = conditions.get(rule.source.lower(), (None, True))
        answer = Answer.ALLOW if rule.allow else Answer.DENY
        cause = "" if rule.allow else _cause(name, fact, wanted)
        rules.append(_Rule(answer, fact, wanted, cause, MaskSet((rule.recipient,))))
    return Rules(rules)


def _holds(rule: _Rule, known: Known) -> bool | None:
    if rule.fact is None:
        return True
    value = known.get(rule.fact)
    return None if value is None else value is rule.wanted


def _cause(name: str, fact: Fact | None, wanted: bool) -> str:
    """Return the token: what people look for by name has one of its own, everything else is its list's."""
    if fact is Fact.LISTED and wanted:
        return "dnsbl"
    if fact is Fact.NAMED and not wanted:
        return "no-name"
    return name
