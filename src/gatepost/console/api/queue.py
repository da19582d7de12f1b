"""The queue: what waits, and acts on it."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gatepost.console.api.operation import (
    Ask,
    Asked,
    Bytes,
    Done,
    Operation,
    QueueCursor,
    QueueId,
    Text,
    Texts,
    Told,
    queue_cursor,
    queue_number,
    say,
)
from gatepost.control.rights import Right
from gatepost.control.socket import Unfit

LIST_LIMIT: Final = 500
IDS_LIMIT: Final = 200

State = Literal["WFC", "CHK", "WFS", "SPL", "QUE", "SND", "HLD"]


class QueueChoice(Ask, frozen=True):
    """Which mails: one mask of every kind given must fit. Nothing given: all."""

    states: Annotated[tuple[State, ...], Meta(max_length=10)] = ()
    senders: Texts = ()
    """Address masks; without `@` a domain; `<>` is the null sender."""
    recipients: Texts = ()
    domains: Texts = ()
    """Masks of recipient domains that still wait."""
    next_hops: Texts = ()
    """Masks of `host:port`."""
    users: Texts = ()
    """Masks of who signed in to send it."""
    reasons: Texts = ()
    older_than_s: Annotated[float, Meta(ge=0, le=1e10)] = 0.0
    younger_than_s: Annotated[float, Meta(ge=0, le=1e10)] = 0.0


class QueuePlace(QueueChoice, frozen=True):
    """Which mails, and from where on."""

    cursor: QueueCursor = ""
    limit: Annotated[int, Meta(ge=1, le=LIST_LIMIT)] = 100


class QueuedMail(Told, frozen=True):
    """A waiting mail."""

    queue_id: str
    state: str
    """WFC waits for inspection, CHK in inspection, QUE waits for delivery, SND being delivered, HLD held; corrupt."""
    reason: str
    """Why it waits, "" when it merely has not been tried."""
    size: int = 0
    received_at: float = 0.0
    client: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    """The first of them ..."""
    recipient_count: int = 0
    next_attempt: float | None = None
    attempts: int = 0


class QueuePage(Told, frozen=True):
    """A page of waiting mails, oldest first."""

    items: list[QueuedMail]
    next: str | None
    """The next page's `cursor`, null when there is none. A page may be empty and yet have one."""
    seen: int
    """Mails looked at."""


class WaitingRecipient(Told, frozen=True):
    """A recipient that still waits."""

    address: str
    next_hop: str
    attempts: int
    last_reply: str
    next_attempt: float | None
    paused: bool


class QueuedMailDetails(QueuedMail, frozen=True):
    """Everything known of a waiting mail, its content aside."""

    copy_of: str = ""
    kind: str = ""
    group: str = ""
    route: str = ""
    held_reason: str = ""
    direction: str = ""
    size_to_send: int = 0
    client_facts: dict[str, Any] = msgspec.field(default_factory=dict)
    settled_recipients: int = 0
    waiting: tuple[WaitingRecipient, ...] = ()


class Destination(Told, frozen=True):
    """A domain mail waits for."""

    domain: str
    waiting: int
    paused: bool
    rests_until: float
    reason: str


class QueueSummary(Told, frozen=True):
    """The queue in numbers."""

    bytes: int
    states: dict[str, int]
    destinations: list[Destination]
    """Those with most mail ..."""
    destination_count: int
    """... of so many."""
    reasons: dict[str, int]
    held: dict[str, int]
    """Reasons of held mail."""


class QueueAct(Ask, frozen=True):
    """An act on mails named by `ids`, or, a step at a time, on those a filter chooses."""

    verb: Literal["remove", "hold", "release", "retry", "bounce", "reroute", "rescan", "scan-first", "send-first"]
    ids: Annotated[tuple[QueueId, ...], Meta(min_length=1, max_length=IDS_LIMIT)] | UnsetType = UNSET
    filter: QueueChoice | UnsetType = UNSET
    """`{}` = all."""
    text: Text = ""
    """hold, bounce: the reason; reroute: the next hop, "" = the routing table's."""
    cursor: QueueCursor = ""
    dry_run: bool = False
    """Only count."""


class QueueActed(Told, frozen=True):
    """What came of an act, or of a step of it."""

    found: int
    done: int
    refused: int
    why: dict[str, str]
    """By queue id, of the first that were refused."""
    next: str | None
    """The next step's `cursor`, null when all is done."""


class Pause(Ask, frozen=True):
    """What is to hold for a destination."""

    paused: bool


class PreviewObject(Told, frozen=True):
    """What was found in a part."""

    name: str = ""
    status: str = ""
    threat: str = ""
    action: str = ""


class Part(Told, frozen=True):
    """A part of a mail."""

    name: str
    content_type: str
    size: int
    found: str
    """Kind by content."""
    shown: bool
    nested: bool


class Preview(Told, frozen=True):
    """A mail as it may be shown. Its texts are strangers'; `html` loads and runs nothing."""

    fields: list[tuple[str, str]]
    html: str
    text: str
    source: str
    parts: list[Part]
    links: list[str]
    remote: int
    """Outside pictures that were left out."""
    cut: bool
    trouble: str
    objects: list[PreviewObject]
    scanned: bool


class Version(Ask, frozen=True):
    """Which version of a mail."""

    edited: bool = False
    """As it would be sent."""


def _chosen(choice: QueueChoice) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(choice)
    for name in ("cursor", "limit"):
        found.pop(name, None)
    return found


def _list(asked: Asked) -> dict[str, Any]:
    place: QueuePlace = asked.query
    after = queue_number(place.cursor) if place.cursor else 0
    return {"filter": _chosen(place), "after": after, "limit": place.limit}


def _page(found: Any, _: Asked) -> dict[str, Any]:
    following = None if found["ended"] else queue_cursor(found["upto"])
    return {"items": found["items"], "next": following, "seen": found["seen"]}


def _number(asked: Asked) -> dict[str, Any]:
    return {"id": queue_number(asked.path["id"])}


def _one(asked: Asked) -> dict[str, Any]:
    queue_number(asked.path["id"])
    return asked.arguments


def _act(asked: Asked) -> dict[str, Any]:
    act: QueueAct = asked.body
    arguments: dict[str, Any] = {"verb": act.verb, "text": act.text, "dry_run": act.dry_run}
    if isinstance(act.ids, tuple) == isinstance(act.filter, QueueChoice):
        raise Unfit("name mails by `ids`, or choose them by `filter`; one of the two")
    if isinstance(act.ids, tuple):
        return {**arguments, "ids": [queue_number(each) for each in act.ids]}
    assert isinstance(act.filter, QueueChoice)
    after = queue_number(act.cursor) if act.cursor else 0
    return {**arguments, "filter": _chosen(act.filter), "after": after}


def _acted(found: Any, _: Asked) -> dict[str, Any]:
    return {
        "found": found["found"],
        "done": found.get("done", 0),
        "refused": found.get("refused", 0),
        "why": {queue_cursor(int(number)): why for number, why in found.get("why", {}).items()},
        "next": None if found["ended"] else queue_cursor(found["upto"]),
    }


OPERATIONS: Final = (
    Operation(
        name="listQueue",
        method="GET",
        path="/queue",
        call="queue",
        right=Right.TRACK,
        summary="List waiting mails",
        query=QueuePlace,
        answer=QueuePage,
        build=_list,
        shape=_page,
    ),
    Operation(
        name="summariseQueue",
        method="GET",
        path="/queue/summary",
        call="summary",
        right=Right.VIEW,
        summary="Show the queue in numbers",
        answer=QueueSummary,
    ),
    Operation(
        name="getQueuedMail",
        method="GET",
        path="/queue/mails/{id}",
        call="show",
        right=Right.TRACK,
        summary="Show a waiting mail",
        answer=QueuedMailDetails,
        build=_number,
        names_one=True,
    ),
    Operation(
        name="previewQueuedMail",
        method="GET",
        path="/queue/mails/{id}/preview",
        call="queue.preview",
        right=Right.CONTENT,
        summary="Show the content of a waiting mail, made harmless",
        detail="Written to the audit log.",
        answer=Preview,
        build=_one,
        names_one=True,
    ),
    Operation(
        name="downloadQueuedMail",
        method="GET",
        path="/queue/mails/{id}/content",
        call="queue.content",
        right=Right.CONTENT,
        summary="Download a waiting mail",
        detail="Written to the audit log. It may do harm.",
        query=Version,
        answer=Bytes,
        build=_one,
        names_one=True,
    ),
    Operation(
        name="actOnQueue",
        method="POST",
        path="/queue/actions",
        call="act",
        right=Right.QUEUE,
        summary="Act on waiting mails",
        detail="With a filter each request does a step; go on with `cursor` until `next` is null.",
        body=QueueAct,
        answer=QueueActed,
        build=_act,
        shape=_acted,
        example={"verb": "hold", "filter": {"domains": ["example.org"]}, "text": "their server is being moved"},
    ),
    Operation(
        name="pauseDestination",
        method="PUT",
        path="/queue/destinations/{domain}",
        call="pause",
        right=Right.QUEUE,
        summary="Pause or resume deliveries to a domain",
        body=Pause,
        answer=Done,
        shape=say,
        example={"paused": True},
    ),
)
