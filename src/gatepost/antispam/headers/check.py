"""The check of headers and structure: every rule of the databases is asked of a message. A `check.Check`."""

import itertools
import re
from collections.abc import Iterable

from gatepost.antispam.check import Notes
from gatepost.antispam.headers.facts import FACTS
from gatepost.antispam.headers.picture import BLANKS, SAME_LIMIT, VALUE_LIMIT, VALUES, Picture
from gatepost.antispam.headers.reference import Reference, load_reference
from gatepost.antispam.headers.rules import Condition, Kind, Rule, again, parse_rules
from gatepost.antispam.headers.scanners import Scanner, build_scanners
from gatepost.antispam.knowledge import Knowledge
from gatepost.antispam.view import MailView
from gatepost.authn.psl import warm

SUFFIX = ".signs"
SEEN_LIMIT = 120
"""Characters of what was seen that an evidence quotes."""
_PLACE = re.compile(r"\{(@?[a-z0-9-]+)\}")
_UNSHOWN = re.compile(r"[\x00-\x20\x7f-\x9f]++")


class HeaderCheck:
    """Signs of the header and of the structure."""

    name = "headers"

    def __init__(self, rules: tuple[Rule, ...], scanners: dict[str, Scanner], reference: Reference) -> None:
        self._rules = rules
        self._free = [number for number, rule in enumerate(rules) if not rule.gates]
        """Places of the rules that may hold for any message."""
        self._gated: dict[int | str, list[int]] = {}
        """Places of the others, by what opens them."""
        for number, rule in enumerate(rules):
            for gate in rule.gates:
                self._gated.setdefault(gate, []).append(number)
        self._scanners = scanners
        self._derived = tuple(name for name in scanners if name[0] == "@")
        self._reference = reference

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Add the signs that hold."""
        if not view.options.headers:
            return
        picture = Picture(view, self._reference)
        asked = _Asked(picture, self._match(picture))
        signs: list[tuple[Rule, str]] = []
        covered: set[str] = set()
        held, fields, rules = asked.held, picture.fields, self._rules
        for number in self._find_open(asked.matched, fields, again(fields)):
            rule = rules[number]
            if (
                (rule.absent and rule.absent in fields)
                or (rule.base and rule.base not in held)
                or (rule.fact and not asked.fact(rule.fact))
            ):
                continue
            seen = asked.ask(rule)
            if seen is not None:
                held[rule.name] = seen
                if rule.says:
                    signs.append((rule, seen))
                    covered.update(rule.covers)
        for rule, seen in signs:
            if rule.name not in covered:
                notes.sign(rule.method, rule.name, asked.say(rule.says, seen), rule.weight, rule.detail)

    def _find_open(self, *gates: Iterable[int | str]) -> list[int]:
        """Return the places of the rules that may hold, in their order, when these gates are open."""
        opened: set[int] = set()
        gated = self._gated
        for gate in itertools.chain(*gates):
            if gate in gated:
                opened.update(gated[gate])
        return sorted([*self._free, *opened])

    def _match(self, picture: Picture) -> dict[int, str]:
        """Return the expressions that match, each with the value that it matched first."""
        found: dict[int, str] = {}
        scanners = self._scanners
        for name, fields in picture.fields.items():
            scanner = scanners.get(name)
            if scanner is not None:
                for place, field in enumerate(fields[:SAME_LIMIT]):
                    raw = field.raw
                    if b"=?" in raw or b"\n" in raw or not raw.isascii():
                        text = picture.texts(name)[place].encode("utf-8", "replace")
                    else:  # what decoding would give, without it
                        text = raw.strip(BLANKS)[:VALUE_LIMIT]
                    for number in scanner.scan(text):
                        found.setdefault(number, picture.texts(name)[place])
            scanner = scanners.get(f" {name}")
            if scanner is not None:
                for field in fields[:SAME_LIMIT]:
                    for number in scanner.scan(field.raw[:VALUE_LIMIT]):
                        found.setdefault(number, field.raw[:VALUE_LIMIT].decode("latin-1"))
        for name in self._derived:
            for value in picture.texts(name):
                for number in scanners[name].scan(value.encode("utf-8", "replace")):
                    found.setdefault(number, value)
        return found


class _Asked:
    """One message under question."""

    def __init__(self, picture: Picture, matched: dict[int, str]) -> None:
        self._picture = picture
        self.matched = matched
        self._facts: dict[str, str] = {}
        self.held: dict[str, str] = {}

    def ask(self, rule: Rule) -> str | None:
        """Return what was seen when a rule holds, None when it does not."""
        seen: str | None = None
        for condition in rule.conditions:
            found = self._holds(condition)
            if found is None:
                return None
            seen = found if seen is None else seen
        if rule.choices:
            found = next((each for choice in rule.choices if (each := self._holds(choice)) is not None), None)
            if found is None:
                return None
            seen = found if seen is None else seen
        if any(self._holds(exception) is not None for exception in rule.exceptions):
            return None
        return seen or ""

    def _holds(self, condition: Condition) -> str | None:
        kind, subject = condition.kind, condition.subject
        if kind is Kind.MATCHES:
            return self.matched.get(condition.pattern)
        if kind is Kind.IS:
            return self.held.get(subject)
        if kind is Kind.FACT:
            return self.fact(subject) or None
        return self._has(kind, subject)

    def fact(self, name: str) -> str:
        """Return what a fact saw, "" when it does not hold."""
        seen = self._facts.get(name)
        if seen is None:
            seen = self._facts[name] = FACTS[name](self._picture)
        return seen

    def _has(self, kind: Kind, name: str) -> str | None:
        texts = self._picture.texts(name) if name[0] == "@" else None
        count = len(self._picture.fields.get(name, ())) if texts is None else len(texts)
        if kind is Kind.MISSING:
            return None if count else ""
        if not count or (kind is Kind.MANY and count < 2):
            return None
        if kind is Kind.EMPTY:
            return "" if self._picture.is_blank(name) else None
        return self._picture.text(name)

    def say(self, sentence: str, seen: str) -> str:
        """Return an evidence with its places filled."""

        def fill(place: re.Match[str]) -> str:
            text = seen if place[1] == "seen" else self._picture.text(place[1])
            text = _UNSHOWN.sub(" ", text).strip()
            return text if len(text) <= SEEN_LIMIT else f"{text[:SEEN_LIMIT]}…"

        return _PLACE.sub(fill, sentence)


def build_header_check(knowledge: Knowledge) -> HeaderCheck:
    """Make the check from the databases. ValueError: a file of them is faulty; the text names it."""
    warm()
    book = parse_rules(knowledge.by_suffix(SUFFIX), frozenset(FACTS), frozenset(VALUES))
    return HeaderCheck(book.rules, build_scanners(book.expressions, knowledge), load_reference(knowledge))
