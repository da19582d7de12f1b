"""Reports: counts by status, top senders and recipients, viruses over a period (row F-WEB-07); as a file, too.

Listed in `console.pages`. The figures come from the tracking store, so they are those of the tracking pages.
"""

import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from gatepost.console import render, tables
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right

AREA: Final = "reports"
TOP: Final = 20
"""Rows of a list of the most frequent."""
TOP_FILE: Final = 100
"""The same in a file."""
DAY_LENGTH: Final = 10
LONGEST: Final = timedelta(days=3660)
"""Longer than any mail is kept."""
PERIODS: Final = (("1", "Today"), ("7", "7 days"), ("30", "30 days"))

Day = Annotated[str, QueryParameter(max_length=DAY_LENGTH)]


class Section(msgspec.Struct, frozen=True):
    """One table of the report."""

    name: str
    """A list of `tracking.counts`; or, with `kind`, only ours."""
    heading: str
    column: str
    kind: str = ""
    """What its counts are called before the stroke: `outcome/delivered`."""
    find: str = ""
    """Field of the search for the mail of a row, "" = none."""


SECTIONS: Final = (
    Section("outcomes", "What became of mail", "Outcome", "outcome", "status"),
    Section("viruses", "Virus scan", "Status", "virus", "status"),
    Section("spam", "Spam check", "Status", "spam", "status"),
    Section("causes", "Refused, by reason", "Reason", "cause"),
    Section("threats", "Viruses", "Name", find="threat"),
    Section("senders", "Top senders", "Sender", find="sender"),
    Section("sender_domains", "Top domains of senders", "Domain", find="sender"),
    Section("recipients", "Top recipients", "Recipient", find="recipient"),
    Section("recipient_domains", "Top domains of recipients", "Domain", find="recipient"),
    Section("clients", "Top clients", "Client", find="client"),
)


_FIRST_DAY: Final = date(1970, 1, 2)
_LAST_DAY: Final = date(9999, 1, 1)
"""Days outside cannot be told as Unix times in every zone."""


class Period(msgspec.Struct, frozen=True):
    """Whole days of the gateway's zone."""

    first: date
    last: date

    @property
    def since(self) -> float:
        """Unix time of its beginning."""
        return _midnight(self.first)

    @property
    def until(self) -> float:
        """Unix time of its end."""
        return _midnight(self.last + timedelta(days=1))


@get("/reports", guards=[needs(Right.TRACK)])
async def show_reports(
    visitor: Visitor, gateway: Gateway, days: Day = "7", since: Day = "", until: Day = ""
) -> Response[str]:
    """Show the report of a period."""
    period, trouble = parse_period(days, since, until, datetime.now().astimezone().date())
    counts = await gateway.call(visitor, "tracking.counts", since=period.since, until=period.until, top=TOP)
    return render.page(
        visitor,
        "reports/index.html",
        area=AREA,
        trouble=trouble,
        period=period,
        periods=PERIODS,
        days="" if since or until else days,
        sections=[(section, rows_of(counts, section)) for section in SECTIONS],
        counts=counts,
    )


@get("/reports/file/{name:str}", guards=[needs(Right.TRACK)])
async def download_report(
    visitor: Visitor, gateway: Gateway, name: str, days: Day = "7", since: Day = "", until: Day = ""
) -> Response[str]:
    """Give one table of the report as a file."""
    section = next((each for each in SECTIONS if each.name == name), SECTIONS[0])
    period, _ = parse_period(days, since, until, datetime.now().astimezone().date())
    counts = await gateway.call(visitor, "tracking.counts", since=period.since, until=period.until, top=TOP_FILE)
    return tables.download(
        f"gatepost-{section.name}-{period.first}-{period.last}.csv",
        (section.column, "Mails"),
        rows_of(counts, section),
    )


def rows_of(answer: Mapping[str, Any], section: Section) -> list[tuple[str, int]]:
    """Return a table of the answer, the most frequent first."""
    if section.kind:
        prefix = f"{section.kind}/"
        pairs = [(key.removeprefix(prefix), n) for key, n in answer["counts"].items() if key.startswith(prefix)]
    else:
        pairs = [(name, n) for name, n in answer["tops"].get(section.name, ())]
    return sorted(pairs, key=lambda row: (-row[1], row[0]))


def parse_period(days: str, since: str, until: str, today: date) -> tuple[Period, str]:
    """Return the period asked for, and what was wrong with the question: then it is the last seven days."""
    try:
        if since or until:
            first, last = date.fromisoformat(since or until), date.fromisoformat(until or today.isoformat())
        else:
            first, last = today - timedelta(days=int(days) - 1), today
    except (ValueError, OverflowError):
        first, last = today, date.min
    if not timedelta(0) <= last - first <= LONGEST or not _FIRST_DAY <= first <= last <= _LAST_DAY:
        return Period(today - timedelta(days=6), today), "Give two days, the earlier one first."
    return Period(first, last), ""


def _midnight(day: date) -> float:
    return time.mktime(day.timetuple())


ROUTES: Final = (show_reports, download_report)
