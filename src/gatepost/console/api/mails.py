"""What became of mails: search, the life of one, counts and curves."""

from typing import Annotated, Any, Final

from msgspec import Meta

from gatepost.console.api.operation import (
    Ask,
    Asked,
    Cursor,
    Missing,
    Moment,
    Operation,
    Text,
    Texts,
    Told,
    queue_number,
)
from gatepost.control.rights import Right

SEARCH_LIMIT: Final = 500


class MailSearch(Ask, frozen=True):
    """What is looked for: all of it must hold. A value may end in `*` (begins with) or stand between two (anywhere)."""

    sender: Texts = ()
    """Address, `@domain`, domain, or `<>`."""
    recipient: Texts = ()
    address: Texts = ()
    """Sender or recipient."""
    client: Texts = ()
    """Address or name of the client."""
    message_id: Texts = ()
    finding: Texts = ()
    threat: Texts = ()
    hop: Texts = ()
    """Server it was offered to."""
    status: Texts = ()
    group: Texts = ()
    subject: Texts = ()
    id: Texts = ()
    text: Text = ""
    """Whatever is at hand: a queue id, an address, a client, words of the subject."""
    since: Moment = 0.0
    until: Moment = 0.0
    cursor: Cursor = ""
    limit: Annotated[int, Meta(ge=1, le=SEARCH_LIMIT)] = 50


class Mail(Told, frozen=True):
    """One mail, or one refused attempt."""

    id: str
    """Queue id."""
    at: float
    """Accepted, or refused; Unix time."""
    kind: str
    what: str
    """Of mail of the gateway's own: what it is. Of a refusal: stage and cause."""
    sender: str
    recipients: list[str]
    """The first of them ..."""
    expected: int
    """... of so many."""
    size: int
    ip: str
    helo: str
    client: str
    tls: str
    user: str
    listener: str
    direction: str
    message_id: str
    subject: str
    groups: list[str]
    statuses: list[str]
    """Of anti-virus."""
    spam: str
    rate: int
    """Spam rating; -1: not checked."""
    threats: list[str]
    findings: list[str]
    hops: list[str]
    stored: list[str]
    """`store/item`."""
    outcome: str
    last: float
    """Moment of what was recorded last."""
    sent: int
    failed: int
    blocked: int
    discarded: int
    deferrals: int
    held: bool
    removed: bool
    source: str
    """Queue id of the mail it is about, "" for none."""
    code: int
    """Of a refusal: the reply."""
    delay_s: float
    """From acceptance to the last delivery."""
    waited_ms: float
    elapsed_ms: float
    """The inspection."""
    door: str
    """Kind of the door at which another mail system asked about it; "" for mail of the gateway's own."""
    reference: str
    """Its queue id there."""
    asker: str
    """Address of that system, "" on a local socket."""


class MailPage(Told, frozen=True):
    """A page of mails, newest first."""

    items: list[Mail]
    next: str | None
    """The next page's `cursor`, null when there is none."""
    back_until: float
    """Back to which moment was looked; 0 = to the beginning."""


class MailLife(Told, frozen=True):
    """Everything known of a mail."""

    mail: Mail
    records: list[dict[str, Any]]
    """What happened, in order: `type`, `at`, and what belongs to that type."""
    cut: bool
    """There are more records."""
    related: list[Mail]


class Span(Ask, frozen=True):
    """A span of time; without it the last day."""

    since: Moment = 0.0
    until: Moment = 0.0
    top: Annotated[int, Meta(ge=1, le=100)] = 10


class Top(Told, frozen=True):
    """A value and how often it occurred."""

    value: str
    mails: int


class MailCounts(Told, frozen=True):
    """Counts of the mails accepted in a span of time."""

    since: float
    until: float
    counts: dict[str, int]
    """By `aspect/value`: `outcome/delivered`."""
    tops: dict[str, list[Top]]
    exact: bool
    """No rare value may be missing from the tops."""
    back_until: float


class SeriesSpan(Ask, frozen=True):
    """A span of time; without it the last hour."""

    since: Moment = 0.0
    until: Moment = 0.0
    step: Annotated[int, Meta(ge=0, le=31 * 86_400, description="Seconds, whole minutes or hours; 0 = what fits.")] = 0


class Series(Told, frozen=True):
    """Values over time."""

    step: int
    at: list[float]
    """Where each step begins."""
    columns: dict[str, list[float | None]]
    """By name, one value a step; null where nothing is known."""


def _one(asked: Asked) -> dict[str, Any]:
    queue_number(asked.path["id"])
    return asked.arguments


def _page(found: Any, _: Asked) -> dict[str, Any]:
    return {"items": found["mails"], "next": found["cursor"] or None, "back_until": found["back_until"]}


def _life(found: Any, _: Asked) -> Any:
    if found["mail"] is None:
        raise Missing
    return found


def _counts(found: Any, _: Asked) -> dict[str, Any]:
    tops = {name: [{"value": value, "mails": mails} for value, mails in rows] for name, rows in found["tops"].items()}
    return {**found, "tops": tops}


OPERATIONS: Final = (
    Operation(
        name="searchMails",
        method="GET",
        path="/mails",
        call="tracking.search",
        right=Right.TRACK,
        summary="Search for mails",
        detail="Also those that were refused. A search that would take too long ends at `back_until`; `next` goes on.",
        query=MailSearch,
        answer=MailPage,
        shape=_page,
    ),
    Operation(
        name="getMail",
        method="GET",
        path="/mails/{id}",
        call="tracking.mail",
        right=Right.TRACK,
        summary="Show the life of a mail",
        answer=MailLife,
        build=_one,
        shape=_life,
        names_one=True,
    ),
    Operation(
        name="countMails",
        method="GET",
        path="/reports/counts",
        call="tracking.counts",
        right=Right.TRACK,
        summary="Count mails by outcome, with the top senders, recipients and threats",
        query=Span,
        answer=MailCounts,
        shape=_counts,
    ),
    Operation(
        name="getSeries",
        method="GET",
        path="/reports/series",
        call="tracking.series",
        right=Right.VIEW,
        summary="Show counts, queue and delays over time",
        query=SeriesSpan,
        answer=Series,
    ),
)
