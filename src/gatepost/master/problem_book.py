"""What is wrong now, since when, and what of it administrators are to be told. Pure; `master.problems` is its shell.

A problem counts when two looks in a row have seen it. An error is mailed once, with others that are new; one that goes
and comes again within a day is not mailed again but stands in the daily summary, as do warnings and what has mended
itself. A day on which nothing was wrong has no summary.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from gatepost.doctor.finding import SEVERITY, Finding, State

DAY_S: Final = 86400.0
ENDED_LIMIT: Final = 200
"""Problems that are over and remembered until the summary."""
TOLD_LIMIT: Final = 200
"""Problems named in one mail."""


Date = Callable[[float], str]
"""Writes a moment, in Unix time, for people."""


class Problem(msgspec.Struct, frozen=True):
    """One that stands."""

    finding: Finding
    since: float
    """Unix time."""
    counts: bool = False
    """Two looks have seen it."""


class Ended(msgspec.Struct, frozen=True):
    """One that is over."""

    finding: Finding
    since: float
    until: float


class Book(msgspec.Struct):
    """All of it, as it is kept over restarts."""

    problems: dict[str, Problem] = {}
    ended: list[Ended] = []
    told: dict[str, float] = {}
    """When an error was last mailed, by key."""
    summed_at: float = 0.0
    """Of the last summary, or of the first look."""

    def look(self, findings: Iterable[Finding], now: float) -> bool:
        """Take what one look has found; tell whether anything changed."""
        found = {each.key: each for each in findings if each.state is not State.OK}
        before, ended = dict(self.problems), list(self.ended)
        for key in before.keys() - found.keys():
            gone = self.problems.pop(key)
            if gone.counts:
                self.ended.append(Ended(gone.finding, gone.since, now))
        del self.ended[:-ENDED_LIMIT]
        for key, finding in found.items():
            known = self.problems.get(key)
            self.problems[key] = Problem(finding, known.since if known else now, counts=known is not None)
        self.told = {key: at for key, at in self.told.items() if key in self.problems or now - at < DAY_S}
        self.summed_at = self.summed_at or now
        return before != self.problems or ended != self.ended

    def standing(self) -> list[Problem]:
        """Return the problems that count, the worst and then the oldest first."""
        counting = [problem for problem in self.problems.values() if problem.counts]
        return sorted(counting, key=lambda each: (-SEVERITY[each.finding.state], each.since, each.finding.key))

    def untold(self) -> list[Problem]:
        """Return the errors to be mailed now."""
        return [
            each for each in self.standing() if each.finding.state is State.ERROR and each.finding.key not in self.told
        ]

    def note_told(self, problems: Sequence[Problem], now: float) -> None:
        """Take down that these have been mailed."""
        self.told |= {each.finding.key: now for each in problems}

    def summary_due(self, now: float) -> bool:
        """Tell whether a day is over, and there is something to tell of it."""
        if now - self.summed_at < DAY_S:
            return False
        if self.standing() or self.ended:
            return True
        self.summed_at = now
        return False

    def note_summed(self, now: float) -> None:
        """Take down that the summary has gone out."""
        self.summed_at = now
        self.ended.clear()


def describe_new(problems: Sequence[Problem], hostname: str, date: Date) -> tuple[str, str]:
    """Return subject and text of a mail about new errors."""
    first = problems[0].finding.text
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    lines = [
        f"The mail gateway {hostname} has a problem:" if not more else f"The mail gateway {hostname} has problems:"
    ]
    lines += _lines(problems, date)
    lines += ["", "What stands now: gatepost doctor. It is mailed once; a summary tells what comes of it."]
    return f"[{hostname}] {first}{more}", "\n".join(lines) + "\n"


def describe_day(book: Book, hostname: str, date: Date) -> tuple[str, str]:
    """Return subject and text of the daily summary."""
    standing = book.standing()
    errors = sum(each.finding.state is State.ERROR for each in standing)
    lines = [f"Problems of the mail gateway {hostname} in the last day."]
    if standing:
        lines += ["", "They stand:", *_lines(standing, date)]
    if book.ended:
        lines += ["", "They are over:"]
        lines += [
            f"- {date(each.since)} to {date(each.until)}: {each.finding.text}" for each in book.ended[:TOLD_LIMIT]
        ]
    subject = f"[{hostname}] {errors} error(s), {len(standing) - errors} warning(s), {len(book.ended)} mended"
    return subject, "\n".join(lines) + "\n"


def _lines(problems: Sequence[Problem], date: Date) -> list[str]:
    lines = []
    for each in problems[:TOLD_LIMIT]:
        finding = each.finding
        lines += ["", f"- {finding.state.value}, since {date(each.since)}: {finding.text}"]
        if finding.mend:
            lines.append(f"  To mend it: {finding.mend}")
    if len(problems) > TOLD_LIMIT:
        lines += ["", f"… and {len(problems) - TOLD_LIMIT} more"]
    return lines
