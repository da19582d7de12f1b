"""Which stored messages are meant: a filter as the command line gives it, and the SQL it becomes. Pure."""

import json
from typing import Any, Final

import msgspec

from gatepost.storage.item import CODES

STATES: Final = ("stored", "releasing", "released")
"""What has become of an item, by the number in its row."""
STORED, RELEASING, RELEASED = range(3)


class ItemFilter(msgspec.Struct, frozen=True):
    """Everything given must hold; of several values for one thing one must."""

    codes: tuple[str, ...] = ()
    """Status codes."""
    senders: tuple[str, ...] = ()
    """Address masks; without @ a domain. `<>` is the null sender."""
    recipients: tuple[str, ...] = ()
    """Address masks, of any recipient."""
    groups: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    """Parts of the subject, in any case of letters."""
    threats: tuple[str, ...] = ()
    """Parts of a threat's name."""
    states: tuple[str, ...] = ()
    text: str = ""
    """Words, or beginnings of words, of subject, addresses, file and threat names: all of them must occur."""
    older_than_s: float = 0.0
    younger_than_s: float = 0.0
    stores: tuple[str, ...] = ()
    """Kinds of store, where several share a directory."""
    since: float = 0.0
    """Stored at or after this moment ..."""
    until: float = 0.0
    """... and before that one; 0 = no bound."""
    rate: int = 0
    """Spam rating at least this."""
    domains: tuple[str, ...] = ()
    """Only mail to these domains, or from them out of our own network: whoever administers no more sees no more."""

    def check(self) -> None:
        """ValueError with a sentence when it cannot mean anything."""
        for code in self.codes:
            if code not in CODES:
                raise ValueError(f"no status {code!r}: one of {', '.join(CODES)}")
        for state in self.states:
            if state not in STATES:
                raise ValueError(f"no state {state!r}: one of {', '.join(STATES)}")
        if self.text and not _words(self.text):
            raise ValueError(f"there is no word in {self.text!r}")


def build_where(chosen: ItemFilter, now: float) -> tuple[str, list[Any]]:
    """Return the condition on table `item` and its arguments; "1" when everything is meant."""
    terms: list[str] = []
    values: list[Any] = []

    def any_of(term: str, arguments: tuple[Any, ...]) -> None:
        if arguments:
            terms.append("(" + " OR ".join([term] * len(arguments)) + ")")
            values.extend(arguments)

    domains = json.dumps([f"*@{_literal(domain.lower())}" for domain in chosen.domains])
    any_of("code = ?", chosen.codes)
    any_of("sender GLOB ?", tuple(map(address_pattern, chosen.senders)))
    if chosen.recipients:
        terms.append(f"({' OR '.join([_recipient('lower(r.value) GLOB ?', chosen)] * len(chosen.recipients))})")
        for pattern in map(address_pattern, chosen.recipients):
            values += [pattern, domains] if chosen.domains else [pattern]
    any_of("grp = ?", chosen.groups)
    any_of("instr(lower(subject), ?)", tuple(subject.lower() for subject in chosen.subjects))
    any_of("instr(lower(threats), ?)", tuple(threat.lower() for threat in chosen.threats))
    any_of("state = ?", tuple(STATES.index(state) for state in chosen.states))
    any_of("store = ?", chosen.stores)
    if chosen.text and not chosen.domains:
        terms.append(_MATCH)
        values.append(" ".join(f'"{word}"*' for word in _words(chosen.text)))
    elif chosen.text:  # who else got a mail is not found by guessing, either
        for word in _words(chosen.text):
            own = _recipient("instr(lower(r.value), ?)", chosen)
            terms.append(f"({_MATCH} OR instr(sender, ?) OR {own})")
            values += [f'{{subject names threats}} : "{word}"*', word.lower(), word.lower(), domains]
    if chosen.older_than_s:
        terms.append("saved_at < ?")
        values.append(now - chosen.older_than_s)
    if chosen.younger_than_s:
        terms.append("saved_at > ?")
        values.append(now - chosen.younger_than_s)
    if chosen.since:
        terms.append("saved_at >= ?")
        values.append(chosen.since)
    if chosen.until:
        terms.append("saved_at < ?")
        values.append(chosen.until)
    if chosen.rate:
        terms.append("rate >= ?")
        values.append(chosen.rate)
    if chosen.domains:
        terms.append(f"({_recipient('1', chosen)} OR {_SENT})")
        values += [domains, domains]
    return " AND ".join(terms) or "1", values


_MATCH: Final = "number IN (SELECT rowid FROM words WHERE words MATCH ?)"
# The patterns of the filter's domains come all in one argument: an account may have a thousand.
_SENT: Final = "(outgoing AND EXISTS(SELECT 1 FROM json_each(?) AS d WHERE sender GLOB d.value))"
_RECIPIENT: Final = "EXISTS(SELECT 1 FROM json_each(recipients) AS r WHERE "
_OWN: Final = " AND EXISTS(SELECT 1 FROM json_each(?) AS d WHERE lower(r.value) GLOB d.value)"


def _recipient(condition: str, chosen: ItemFilter) -> str:
    """Return the condition that there is such a recipient `r`, within the filter's domains: its last argument."""
    return _RECIPIENT + condition + (_OWN if chosen.domains else "") + ")"


def _literal(text: str) -> str:
    """Return text as GLOB matches it letter for letter."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def address_pattern(mask: str) -> str:
    """Return an address mask as a pattern of GLOB, for addresses in lower case."""
    if mask == "<>":
        return ""
    literal = mask.lower().replace("[", "[[]")
    return literal if "@" in literal or literal == "*" else f"*@{literal}"


def _words(text: str) -> list[str]:
    return [
        word
        for word in text.replace('"', " ").replace("\0", " ").split()
        if any(character.isalnum() for character in word)
    ]
