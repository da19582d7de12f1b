"""Answers to questions about what became of mail. Read beside the recorder, on any thread; the master forwards them.

`Answers.answer` takes a call's name and arguments as the desk got them, with `domains` among them where the caller sees
only some. The command line uses it, too, on the files of a gateway that does not run.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from gatepost.model.address import domain_of
from gatepost.model.ids import format_queue_id, parse_queue_id
from gatepost.model.record import DECODER, Record
from gatepost.recorder.books import HISTORY_FILE
from gatepost.recorder.masking import Masking
from gatepost.recorder.telling import tell_record, tell_summary
from gatepost.storage.tracking.fields import Field
from gatepost.storage.tracking.history import read_series
from gatepost.storage.tracking.query import Clause, Query, is_from, narrow_summary, parse_query
from gatepost.storage.tracking.readers import Readers
from gatepost.storage.tracking.reports import Report, read_report
from gatepost.storage.tracking.search import find_mail, read_life, search
from gatepost.storage.tracking.summary import Summary

LIMIT: Final = 50
"""Mails of one page unless asked otherwise ..."""
PAGE_LIMIT: Final = 1000
"""... and at most."""
RELATED_LIMIT: Final = 50
COUNTED_LIMIT: Final = 20_000
"""Mails that are looked at one by one for the counts of callers who see only some domains."""
TOPS: Final = 10
"""Commonest values of each field unless asked otherwise ..."""
TOP_LIMIT: Final = 100
"""... and at most."""
RECORDS_LIMIT: Final = 5000
"""Records of one life that are shown: a mail to thousands has more."""
DAY_S: Final = 86400.0


class Answers:
    """Answers from one directory of tracking files."""

    def __init__(self, directory: Path, masking: Callable[[], Masking]) -> None:
        """`masking` gives what the configuration hides: values that are looked for are hidden in the same way."""
        self._directory = directory
        self._readers = Readers(directory)
        self._masking = masking

    def rest(self) -> None:
        """Let go of files that no answer is made of just now: they are opened again when somebody asks."""
        self._readers.close()

    def answer(self, call: str, arguments: Mapping[str, Any]) -> Any:
        """Answer `tracking.search`, `.mail`, `.counts` or `.series`. ValueError says what is wrong with the question,
        apsw.Error that the files cannot be read.
        """
        match call:
            case "tracking.search":
                return self._search(arguments)
            case "tracking.mail":
                return self._mail(arguments)
            case "tracking.counts":
                return self._counts(arguments)
            case "tracking.series":
                return self._series(arguments)
        raise ValueError(f"unknown call {call!r}")

    def _search(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return {"mails": [summary], "cursor": "" when there are no more, "back_until": moment back to which was
        looked, 0 = to the beginning}.
        """
        query = parse_query(_hide(arguments, self._masking()), _domains(arguments))
        cursor = str(arguments.get("cursor") or "")
        page = search(
            self._readers,
            query,
            min(int(arguments.get("limit") or LIMIT), PAGE_LIMIT),
            parse_queue_id(cursor) if cursor else 0,
        )
        return {
            "mails": _tell_all(page.mails, query.domains),
            "cursor": format_queue_id(page.before) if page.before else "",
            "back_until": page.back_until,
        }

    def _mail(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return {"mail": summary, "records": [record], "cut": whether there are more, "related": [summary]}; "mail" is
        None when there is nothing of it, or nothing the caller may see.
        """
        number = parse_queue_id(str(arguments["id"]))
        domains = _domains(arguments)
        whole = find_mail(self._readers, number)
        summary = narrow_summary(whole, domains) if whole is not None else None
        if summary is None:
            return {"mail": None, "records": [], "cut": False, "related": []}
        records: list[Record] = []
        for batch in read_life(self._readers, summary.id):
            records += DECODER.decode(batch)
        records.sort(key=lambda record: record.at)
        related = Query((Clause((Field.SOURCE,), str(summary.id)),), since=summary.at - 1, domains=tuple(domains))
        found = search(self._readers, related, RELATED_LIMIT).mails
        origin = find_mail(self._readers, summary.source) if summary.source else None
        if origin is not None:
            found.append(origin)
        told = [tell_record(record) for record in records[:RECORDS_LIMIT]]
        if whole is not None and domains and not is_from(summary, domains):
            others = _other_people(whole, told, domains)
            shown = {address.lower() for address in (summary.sender, *summary.recipients)}
            told = [_narrow(record, others, shown) for record in told if _is_for(record, domains)]
        return {
            "mail": tell_summary(summary),
            "records": told,
            "cut": len(records) > RECORDS_LIMIT,
            "related": _tell_all(sorted(found, key=lambda each: each.id), domains),
        }

    def _counts(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return {"counts": {"outcome/delivered": mails}, "tops": {"senders": [[value, mails]]}, "exact": whether no
        rare value may be missing from the tops, "back_until"} of mail accepted in a span of time. `top`: how many of
        the commonest values, which are most of the work; 0 = none.
        """
        until = float(arguments.get("until") or time.time())
        since = float(arguments.get("since") or until - DAY_S)
        given = arguments.get("top")
        top = TOPS if given is None else max(0, min(TOP_LIMIT, int(given)))
        domains = _domains(arguments)
        if domains:
            report = self._count_each(Query((), 0, since, until, domains))
        else:
            report = read_report(self._readers, since, until, tops=top > 0)
        return {
            "since": since,
            "until": until,
            "counts": dict(sorted(report.counts.items())),
            "tops": {name: Counter(found).most_common(top) for name, found in report.named_tops().items()},
            "exact": report.exact,
            "back_until": report.back_until,
        }

    def _count_each(self, query: Query) -> Report:
        """Count the mails of a query, the newest `COUNTED_LIMIT` at most, as its domains see them."""
        page = search(self._readers, query, COUNTED_LIMIT)
        report = Report()
        for summary in page.mails:
            report.add(narrow_summary(summary, query.domains) or summary)
        report.exact = not page.before
        report.back_until = page.back_until
        return report

    def _series(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return {"step", "at", "columns"} (`history.read_series`) of a span of time, the last hour by default."""
        until = float(arguments.get("until") or time.time())
        since = float(arguments.get("since") or until - 3600)
        return read_series(self._directory / HISTORY_FILE, since, until, int(arguments.get("step") or 0))


def answer_safely(answers: Answers, call: str, arguments: Mapping[str, Any]) -> Any:
    """Answer; ValueError says why there is no answer, whatever it is."""
    try:
        return answers.answer(call, arguments)
    except apsw.Error as error:
        raise ValueError(f"the tracking files cannot be read: {error}") from error


def _tell_all(summaries: Iterable[Summary], domains: Sequence[str]) -> list[dict[str, Any]]:
    """Return what of some mails is for who sees only some domains."""
    seen = (narrow_summary(each, domains) for each in summaries)
    return [tell_summary(each) for each in seen if each is not None]


def _other_people(whole: Summary, told: Iterable[dict[str, Any]], domains: Sequence[str]) -> frozenset[str]:
    """Return the recipients of a mail outside of some domains, in lower case; its sender is no secret."""
    known = set(whole.recipients)
    for record in told:
        for value in (record.get(name) for name in _ADDRESSES):
            known.update(value if isinstance(value, list | tuple) else ())
        known.add(record.get("recipient", ""))
    return frozenset(address.lower() for address in known - {"", whole.sender} if domain_of(address) not in domains)


def _narrow(told: Any, others: Collection[str], shown: Collection[str]) -> Any:
    """Return what is told of a step of a mail from elsewhere without the addresses of other people: lists leave them
    out, texts, such as the evidence of a sign, hide them. Those of `shown`, in lower case, stay whatever is in them.
    """
    match told:
        case dict():
            return {name: _narrow(value, others, shown) for name, value in told.items()}
        case list() | tuple():
            kept = (each for each in told if not (isinstance(each, str) and each.lower() in others))
            return [_narrow(each, others, shown) for each in kept]
        case str() if told.lower() not in shown and any(mark in told for mark in "@=%"):
            return _hide_people(told, others)
    return told


def _hide_people(text: str, others: Collection[str]) -> str:
    """Return a text without some addresses, also as lists write them into a sender (`list+anna=b.example@…`, VERP) and
    relays into a recipient (`anna%b.example@…`).
    """
    folded = text.lower()
    for address in others:
        local, at, domain = address.rpartition("@")
        if domain not in folded or local not in folded:
            continue
        forms = rf"(?<![\w.+-]){re.escape(address)}"
        if at:
            forms += rf"|(?<![\w.]){re.escape(local)}[=%]{re.escape(domain)}"
        text = re.sub(rf"(?:{forms})(?![\w.-]*\w)", _HIDDEN, text, flags=re.IGNORECASE)
    return text


def _is_for(record: dict[str, Any], domains: Sequence[str]) -> bool:
    """Tell whether a step is about somebody in these domains, or about nobody in particular."""
    return "recipient" not in record or domain_of(record["recipient"]) in domains


_ADDRESSES: Final = ("recipients", "addresses", "to")
_HIDDEN: Final = "…"
"""In place of the address of somebody else."""


def _domains(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(domain).lower() for domain in arguments.get("domains") or ())


def _hide(arguments: Mapping[str, Any], masking: Masking) -> dict[str, Any]:
    """Return arguments with their values masked as those in the files are: whole ones are still found."""
    hidden = dict(arguments)
    if not masking.needed:
        return hidden
    for name in ("sender", "recipient", "text"):
        value = hidden.get(name)
        if isinstance(value, str) and "@" in value and not value.startswith("@") and "*" not in value:
            hidden[name] = masking.address(value.strip().strip("<>"))
    if isinstance(hidden.get("subject"), str):
        hidden["subject"] = masking.subject(hidden["subject"])
    return hidden
