"""What can be searched by: fields of a summary, their values as they are compared, and the terms of the index. Pure.

A term is a field's letter and a value; two mails with the same value have the same term.
"""

import enum
import functools
import re
from collections.abc import Callable, Iterable
from typing import Final

from gatepost.storage.tracking.summary import Summary

TERM_LIMIT = 100
"""Characters of a value in the index; a longer one is found by its beginning, then compared in full."""
WORDS_LIMIT = 20
"""Words of a subject that are indexed: the first ones."""
SHARED_KEPT = 512
"""Sets of terms that many mails have alike which are remembered: some hundred KB."""


class Field(enum.StrEnum):
    """The letter before a field's values in the index."""

    SENDER = "s"
    SENDER_DOMAIN = "S"
    RECIPIENT = "r"
    RECIPIENT_DOMAIN = "R"
    SUBJECT = "w"
    """Its words."""
    CLIENT = "a"
    """Its address ..."""
    CLIENT_NAME = "h"
    """... and its names: in DNS, in HELO, and who had signed in."""
    MESSAGE_ID = "m"
    """Also the queue id of the mail system that asked about it."""
    FINDING = "f"
    """Signs, threats, what is odd, causes of refusals."""
    THREAT = "v"
    HOP = "n"
    """Servers it was offered to, names and addresses."""
    STATUS = "t"
    """What became of it, statuses of anti-virus and anti-spam."""
    GROUP = "g"
    SOURCE = "p"
    """Queue id (as a number) of the mail it is about."""


_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are compared."""
    return _WORD.findall(text.lower())


def fold_value(text: str) -> str:
    """Return a value as it is compared."""
    return text.lower()


def _domain(address: str) -> str:
    return address.rpartition("@")[2] if "@" in address else ""


def _senders(s: Summary) -> Iterable[str]:
    return (s.sender.lower(),) if s.sender else ("<>",)


def _sender_domains(s: Summary) -> Iterable[str]:
    return (_domain(s.sender).lower(),)


def _recipients(s: Summary) -> Iterable[str]:
    return [address.lower() for address in s.recipients]


def _recipient_domains(s: Summary) -> Iterable[str]:
    return {_domain(address).lower() for address in s.recipients}


def _subject(s: Summary) -> Iterable[str]:
    return words_of(s.subject)[:WORDS_LIMIT] if s.subject else ()


def _clients(s: Summary) -> Iterable[str]:
    return (s.ip, s.asker) if s.asker else (s.ip,)


def _client_names(s: Summary) -> Iterable[str]:
    return {s.client.lower(), s.helo.lower(), s.user.lower()}


def _message_ids(s: Summary) -> Iterable[str]:
    return (s.message_id.strip("<>").lower(), s.reference.lower())


def _findings(s: Summary) -> Iterable[str]:
    found = [*s.findings, *s.threats, *s.what.split()] if s.what else s.findings + s.threats
    return {name.lower() for name in found}


def _threats(s: Summary) -> Iterable[str]:
    return [threat.lower() for threat in s.threats]


def _hops(s: Summary) -> Iterable[str]:
    return [hop.lower() for hop in s.hops]


def _statuses(s: Summary) -> Iterable[str]:
    return {s.outcome, s.spam, *s.statuses, s.kind}


def _groups(s: Summary) -> Iterable[str]:
    return [group.lower() for group in s.groups]


def _sources(s: Summary) -> Iterable[str]:
    return (str(s.source),) if s.source else ()


VALUES: Final[dict[Field, Callable[[Summary], Iterable[str]]]] = {
    Field.SENDER: _senders,
    Field.SENDER_DOMAIN: _sender_domains,
    Field.RECIPIENT: _recipients,
    Field.RECIPIENT_DOMAIN: _recipient_domains,
    Field.SUBJECT: _subject,
    Field.CLIENT: _clients,
    Field.CLIENT_NAME: _client_names,
    Field.MESSAGE_ID: _message_ids,
    Field.FINDING: _findings,
    Field.THREAT: _threats,
    Field.HOP: _hops,
    Field.STATUS: _statuses,
    Field.GROUP: _groups,
    Field.SOURCE: _sources,
}


def terms_of(summary: Summary) -> set[str]:
    """Return the terms a summary is found by: every value of `VALUES` behind its field's letter.

    Written out, for it is done for each mail. A test compares it with `VALUES`.
    """
    terms = own_terms(summary)
    for shared in shared_terms(summary):
        terms |= shared
    return terms


def own_terms(s: Summary) -> set[str]:
    """Return the terms of what is a mail's own: who, whence, about what."""
    sender = s.sender.lower()
    terms = {"s" + (sender or "<>"), "a" + s.ip, "h" + s.helo.lower(), "m" + s.message_id.strip("<>").lower()}
    terms.add("S" + sender.rpartition("@")[2] if "@" in sender else "S")
    for address in s.recipients:
        recipient = address.lower()
        terms.add("r" + recipient)
        terms.add("R" + recipient.rpartition("@")[2] if "@" in recipient else "R")
    if s.subject:
        terms.update(["w" + word for word in _WORD.findall(s.subject.lower())[:WORDS_LIMIT]])
    if s.client:
        terms.add("h" + s.client.lower())
    if s.user:
        terms.add("h" + s.user.lower())
    if s.source:
        terms.add(f"p{s.source}")
    if s.asker:
        terms.add("a" + s.asker)
    if s.reference:
        terms.add("m" + s.reference.lower())
    return _bounded(terms)


def shared_terms(s: Summary) -> tuple[frozenset[str], frozenset[str]]:
    """Return the terms of what many mails have alike: what was found, and what became of them."""
    return (
        _found_terms(s.what, tuple(s.findings), tuple(s.threats)),
        _fate_terms(s.outcome, s.spam, s.kind, tuple(s.statuses), tuple(s.groups), tuple(s.hops)),
    )


@functools.lru_cache(SHARED_KEPT)  # a quarter of what it takes to make them
def _found_terms(what: str, findings: tuple[str, ...], threats: tuple[str, ...]) -> frozenset[str]:
    terms = {"f" + name.lower() for name in findings + threats}
    terms.update(["v" + threat.lower() for threat in threats])
    if what:
        terms.update(["f" + word for word in what.lower().split()])
    return frozenset(_bounded(terms))


@functools.lru_cache(SHARED_KEPT)
def _fate_terms(
    outcome: str, spam: str, kind: str, statuses: tuple[str, ...], groups: tuple[str, ...], hops: tuple[str, ...]
) -> frozenset[str]:
    terms = {"t" + status for status in (outcome, spam, kind, *statuses)}
    terms.update(["g" + group.lower() for group in groups])
    terms.update(["n" + hop.lower() for hop in hops])
    return frozenset(_bounded(terms))


def _bounded(terms: set[str]) -> set[str]:
    terms -= _EMPTY
    if terms and max(map(len, terms)) > TERM_LIMIT + 1:
        return {term[: TERM_LIMIT + 1] for term in terms}
    return terms


_EMPTY: Final = frozenset(field.value for field in Field)


def tally_keys(summary: Summary) -> frozenset[str]:
    """Return what a mail is counted under in reports, `kind/value` each."""
    cause = summary.what.rpartition(" ")[2] if summary.code else ""
    return _tally_keys(summary.outcome, summary.kind, summary.spam, tuple(summary.statuses), cause)


@functools.lru_cache(maxsize=256)  # the same few for nearly all mails
def _tally_keys(outcome: str, kind: str, spam: str, av_statuses: tuple[str, ...], cause: str) -> frozenset[str]:
    keys = {f"outcome/{outcome}", f"kind/{kind or 'mail'}", *(f"virus/{av_status}" for av_status in av_statuses)}
    if spam:
        keys.add(f"spam/{spam}")
    if cause:
        keys.add(f"cause/{cause}")
    return frozenset(keys)
