"""What somebody looks for: clauses that all hold, each about one value in one of some fields. Pure.

Used by `search`, which finds candidates by the index, and asks `Query.matches` of each.
"""

import contextlib
import enum
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gatepost.model.address import domain_of
from gatepost.model.envelope import Direction
from gatepost.model.finding import ObjectStatus
from gatepost.model.ids import parse_queue_id
from gatepost.model.spam import SpamStatus
from gatepost.storage.item import parse_item_id
from gatepost.storage.tracking.fields import VALUES, Field, fold_value, words_of
from gatepost.storage.tracking.summary import Kind, Outcome, Summary

CLAUSES_LIMIT = 24
VALUE_LIMIT = 400
"""Characters of one value."""


class QueryError(ValueError):
    """What is looked for cannot be; says why."""


class Mode(enum.Enum):
    """How a value is compared."""

    EXACT = enum.auto()
    PREFIX = enum.auto()
    INSIDE = enum.auto()
    """Anywhere in it: no index helps."""


class Clause(msgspec.Struct, frozen=True):
    """One value of one of these fields."""

    fields: tuple[Field, ...]
    value: str
    mode: Mode = Mode.EXACT
    phrase: tuple[str, ...] = ()
    """The words of the value: a subject that has it as it stands, such as the number of an invoice, will do, too."""

    def matches(self, summary: Summary) -> bool:
        """Tell whether it holds."""
        wanted = self.value
        if self.phrase and wanted in summary.subject.lower() and self._has_phrase(VALUES[Field.SUBJECT](summary)):
            return True
        for field in self.fields:
            values = VALUES[field](summary)
            if self.mode is Mode.EXACT:
                if wanted in values:
                    return True
            elif self.mode is Mode.PREFIX:
                if any(value.startswith(wanted) for value in values):
                    return True
            elif field is Field.SUBJECT:
                if wanted in summary.subject.lower():
                    return True
            elif any(wanted in value for value in values):
                return True
        return False

    def _has_phrase(self, words: Iterable[str]) -> bool:
        """Tell whether a subject's indexed words are such as the index finds."""
        found = set(words)
        *whole, last = self.phrase
        if not found.issuperset(whole):
            return False
        return last in found if self.mode is Mode.EXACT else any(word.startswith(last) for word in found)


class Query(msgspec.Struct, frozen=True):
    """What is looked for. Moments in Unix seconds."""

    clauses: tuple[Clause, ...] = ()
    id: int = 0
    """One message; 0 = any."""
    since: float = 0.0
    until: float = float("inf")
    domains: tuple[str, ...] = ()
    """Only mail that these sent, or to these; () = all."""

    @property
    def indexed(self) -> tuple[Clause, ...]:
        """The clauses an index can answer, those that single out most first."""
        return tuple(
            sorted((clause for clause in self.clauses if clause.mode is not Mode.INSIDE), key=lambda c: c.mode.value)
        )

    def matches(self, summary: Summary) -> bool:
        """Tell whether a mail is wanted."""
        if not self.since <= summary.at < self.until:
            return False
        seen = narrow_summary(summary, self.domains)  # other people's addresses are not found by guessing, either
        return seen is not None and all(clause.matches(seen) for clause in self.clauses)


def is_from(summary: Summary, domains: Sequence[str]) -> bool:
    """Tell whether somebody of some domains sent it: out of our own network, or signed in. A stranger may claim any
    sender, which makes the mail nobody's here.
    """
    ours = summary.direction in _FROM_US or bool(summary.user)
    return ours and any(domain in domains for domain in VALUES[Field.SENDER_DOMAIN](summary))


def narrow_summary(summary: Summary, domains: Sequence[str]) -> Summary | None:
    """Return a mail as those see it who see only some domains: of what these did not send, only who of them got it.
    None when it is neither from nor to them. Without domains: all of it.
    """
    if not domains or is_from(summary, domains):
        return summary
    own = [address for address in summary.recipients if domain_of(address) in domains]
    if not own:
        return None
    return summary if len(own) == len(summary.recipients) else msgspec.structs.replace(summary, recipients=own)


_FROM_US: Final = frozenset({Direction.OUTBOUND, Direction.INTERNAL})


_FIELDS: Final[dict[str, tuple[Field, ...]]] = {
    "sender": (Field.SENDER,),
    "recipient": (Field.RECIPIENT,),
    "address": (Field.SENDER, Field.RECIPIENT),
    "client": (Field.CLIENT, Field.CLIENT_NAME),
    "message_id": (Field.MESSAGE_ID,),
    "finding": (Field.FINDING,),
    "threat": (Field.THREAT,),
    "hop": (Field.HOP,),
    "status": (Field.STATUS,),
    "group": (Field.GROUP,),
}
_DOMAINS: Final = {Field.SENDER: Field.SENDER_DOMAIN, Field.RECIPIENT: Field.RECIPIENT_DOMAIN}
_ANYWHERE: Final = (
    Field.SENDER, Field.RECIPIENT, Field.SUBJECT, Field.CLIENT, Field.CLIENT_NAME, Field.MESSAGE_ID,
)  # fmt: skip
_STATUSES: Final = (
    *Outcome, *ObjectStatus, "bypassed", "not_checked", *SpamStatus, *(kind.value for kind in Kind if kind.value),
)  # fmt: skip
NAMES: Final = (*_FIELDS, "subject", "id", "text", "since", "until")
"""Arguments of a search besides those about pages."""


def parse_query(arguments: Mapping[str, Any], domains: Sequence[str] = ()) -> Query:
    """Return the query of a call's arguments (`NAMES`; others are not looked at). QueryError says what is wrong.

    A value may end in `*` (begins with), or stand between two `*` (anywhere in it). Senders and recipients may be whole
    addresses, `@domain` or a domain; `<>` is the null sender. A subject is words, all of which occur; `*…*` is a part
    of it. `text` is whatever somebody has at hand: a queue id, an address or two, a client, a message id, words, number
    of an invoice. A status must be one there is.
    """
    clauses: list[Clause] = []
    number = 0
    for name in NAMES:
        given = arguments.get(name)
        if given is None or given == "":
            continue
        if name in {"since", "until"}:
            continue
        for value in given if isinstance(given, list | tuple) else (given,):
            text = _checked(name, value)
            if name == "id":
                number = _parse_id(text)
            elif name == "subject":
                clauses += _words(text)
            elif name == "text":
                found = _free(text)
                if isinstance(found, int):
                    number = found
                else:
                    clauses += found
            else:
                clauses.append(_clause(_FIELDS[name], text))
                if name == "status":
                    _check_status(clauses[-1])
    if len(clauses) > CLAUSES_LIMIT:
        raise QueryError(f"{len(clauses)} conditions: {CLAUSES_LIMIT} are enough")
    return Query(
        tuple(clauses),
        number,
        _moment(arguments, "since", 0.0),
        _moment(arguments, "until", float("inf")),
        tuple(domain.lower() for domain in domains),
    )


def _checked(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise QueryError(f"{name}: {value!r} is no text")
    if len(value) > VALUE_LIMIT:
        raise QueryError(f"{name}: longer than {VALUE_LIMIT} characters")
    return value.strip()


def _moment(arguments: Mapping[str, Any], name: str, default: float) -> float:
    value = arguments.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QueryError(f"{name}: {value!r} is no moment (seconds since 1970)")
    return float(value)


def _parse_id(text: str) -> int:
    try:
        return parse_queue_id(text)
    except ValueError as error:
        raise QueryError(str(error)) from error


def _clause(fields: tuple[Field, ...], text: str) -> Clause:
    value, mode = _mode(text)
    if not value:
        raise QueryError("a `*` alone finds everything: leave the condition out")
    value = fold_value(value)
    if fields == (Field.MESSAGE_ID,):
        value = value.strip("<>")
    if fields[0] in _DOMAINS and mode is not Mode.INSIDE:
        if value.startswith("@"):
            return Clause(tuple(_DOMAINS[field] for field in fields), value[1:], mode)
        if mode is Mode.EXACT and "@" not in value and "." in value:
            return Clause(tuple(_DOMAINS[field] for field in fields), value)
        if mode is Mode.EXACT and value not in {"<>", ""} and value.startswith("<"):
            value = value.strip("<>")
    return Clause(fields, value, mode)


def _check_status(clause: Clause) -> None:
    """Refuse what no mail can have: "nothing matches" would pass for an answer. QueryError."""
    wanted = clause.value
    found = wanted in _STATUSES
    if clause.mode is not Mode.EXACT:
        found = any(name.startswith(wanted) or (clause.mode is Mode.INSIDE and wanted in name) for name in _STATUSES)
    if not found:
        raise QueryError(f"no status {wanted!r}: there are {', '.join(dict.fromkeys(_STATUSES))}")


def _mode(text: str) -> tuple[str, Mode]:
    if text.startswith("*"):
        return text.strip("*"), Mode.INSIDE
    if text.endswith("*"):
        return text.rstrip("*"), Mode.PREFIX
    return text, Mode.EXACT


def _words(text: str) -> list[Clause]:
    value, mode = _mode(text)
    if mode is Mode.INSIDE:
        return [Clause((Field.SUBJECT,), value.lower(), mode)]
    words = words_of(value)
    if not words:
        raise QueryError(f"no word in {text!r}: put a part of a subject between two *")
    last = Clause((Field.SUBJECT,), words[-1], mode)
    return [*(Clause((Field.SUBJECT,), word) for word in words[:-1]), last]


def _with_addresses(parts: Sequence[str]) -> list[Clause]:
    """Return the clauses of what is said with addresses in it: who wrote to whom, or that and words of the subject. A
    subject may hold an address, too.
    """
    found = []
    for part in parts:
        value, mode = _mode(part)
        if "@" in value:
            inner = fold_value(value.strip("<>"))
            fields = (Field.SENDER, Field.RECIPIENT, Field.MESSAGE_ID)
            found.append(Clause(fields, inner, mode, tuple(words_of(inner)) if len(parts) > 1 else ()))
    others = " ".join(part for part in parts if "@" not in part)
    return [*found, *_words(others)] if words_of(others) else found


def _free(text: str) -> int | list[Clause]:
    """Return the queue id, or the clauses, that somebody may mean by a text."""
    with contextlib.suppress(ValueError):
        return parse_queue_id(text)
    with contextlib.suppress(ValueError):  # a stored message's id begins with the one of its mail or copy
        return parse_queue_id(parse_item_id(text).partition("-")[0])
    value, mode = _mode(text)
    if mode is Mode.INSIDE:
        anywhere = (*_ANYWHERE, Field.MESSAGE_ID, Field.FINDING)
        return [Clause(anywhere, fold_value(value), mode)]
    if value.startswith("@"):
        return [_clause(_FIELDS["address"], text)]
    if "@" in value:
        return _with_addresses(text.split())
    try:
        return [Clause((Field.CLIENT, Field.HOP), str(ipaddress.ip_address(value)))]
    except ValueError:
        pass
    if " " not in value and ("." in value or "-" in value):
        domains = (Field.SENDER_DOMAIN, Field.RECIPIENT_DOMAIN, Field.CLIENT_NAME, Field.HOP, Field.FINDING)
        return [Clause(domains, fold_value(value), mode, tuple(words_of(value)))]
    if " " not in value and words_of(value) == [value.lower()]:
        everything = (*_ANYWHERE, Field.FINDING, Field.STATUS)
        return [Clause(everything, fold_value(value), mode)]
    return _words(text)
