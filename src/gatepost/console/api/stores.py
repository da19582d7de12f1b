"""Stored mail: quarantines, backups and archives."""

import base64
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from gatepost.console.api.lists import Listed
from gatepost.console.api.operation import (
    Ask,
    Asked,
    Bytes,
    Cursor,
    ItemId,
    Missing,
    Moment,
    Operation,
    Text,
    Texts,
    Told,
    named,
    queue_number,
)
from gatepost.console.api.queue import Preview
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError, Unfit
from gatepost.storage.item import parse_item_id

LIST_LIMIT: Final = 200
NAMED_LIMIT: Final = 200
TAUGHT_LIMIT: Final = 20

Kind = Literal["incoming", "outgoing", "quarantine", "backup", "spam-quarantine"]
Kinds = Annotated[tuple[Kind, ...], Meta(max_length=10)]


class StoreFacts(Told, frozen=True):
    """A kind of store."""

    kind: str
    configured: bool
    items: int
    bytes: int
    keep_days: float
    keep_bytes: int


class StoreList(Told, frozen=True):
    """All kinds of store."""

    items: list[StoreFacts]


class StoredChoice(Ask, frozen=True):
    """Which stored mails: everything given must hold; of several values for one thing one must."""

    codes: Texts = ()
    """Status codes: INF, SPM …"""
    senders: Texts = ()
    """Address masks; without `@` a domain; `<>` is the null sender."""
    recipients: Texts = ()
    groups: Texts = ()
    subjects: Texts = ()
    """Parts of the subject."""
    threats: Texts = ()
    states: Annotated[tuple[Literal["stored", "releasing", "released"], ...], Meta(max_length=10)] = ()
    text: Text = ""
    """Words, or beginnings of words, of subject, addresses, file and threat names."""
    older_than_s: Annotated[float, Meta(ge=0, le=1e10)] = 0.0
    younger_than_s: Annotated[float, Meta(ge=0, le=1e10)] = 0.0
    since: Moment = 0.0
    until: Moment = 0.0
    rate: Annotated[int, Meta(ge=0, le=100)] = 0
    """Spam rating at least this."""


class StoredPlace(StoredChoice, frozen=True):
    """Which stored mails, in which stores, and from where on."""

    kinds: Kinds = ()
    cursor: Cursor = ""
    limit: Annotated[int, Meta(ge=1, le=LIST_LIMIT)] = 50
    totals: bool = False
    """Also say how many they are in all."""


class StoredRow(Told, frozen=True):
    """A stored mail in a list."""

    id: str
    store: str
    saved_at: float
    received_at: float
    code: str
    size: int
    state: str
    sender: str
    recipients: list[str]
    recipient_count: int
    client: str
    group: str
    subject: str
    threats: str
    rate: int
    event: dict[str, Any] | None = None
    """The release that is under way, or the last one."""


class Totals(Told, frozen=True):
    """How much there is."""

    items: int
    bytes: int


class StoredPage(Told, frozen=True):
    """A page of stored mails, newest first."""

    items: list[StoredRow]
    next: str | None
    """The next page's `cursor`, null when there is none."""
    totals: Totals | None = None


class FoundObject(Told, frozen=True):
    """What was found in one object of a mail."""

    name: str
    status: str
    threat: str = ""
    action: str = ""


class StoredMail(Told, frozen=True):
    """Everything known of a stored mail, its content aside."""

    id: str
    store: str
    queue_id: str
    source: str
    saved_at: float
    received_at: float
    size: int
    code: str
    group: str
    statuses: list[str]
    objects: list[FoundObject]
    object_count: int
    reason: str
    rate: int
    methods: list[str]
    blocked: bool
    kind: str
    subject: str
    author: str
    message_id: str
    sender: str
    recipients: list[str]
    recipient_count: int
    direction: str
    client: dict[str, Any]
    unsafe: bool
    """It may do harm to who opens it."""
    releasing: bool
    released: bool
    events: list[dict[str, Any]]
    may_release: bool | None = None
    """Whether you may."""


class StoredMails(Told, frozen=True):
    """Stored mails."""

    items: list[StoredMail]


class Named(Ask, frozen=True):
    """Stored mails by name."""

    items: Annotated[tuple[ItemId, ...], Meta(min_length=1, max_length=NAMED_LIMIT)]


class ReleaseOrder(Named, frozen=True):
    """How stored mails are released."""

    to: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()
    """Other recipients; none = their own."""
    checked: bool = True
    """They pass the checks again; otherwise they go as they are, which needs the right `queue`."""
    again: bool = False
    """Also those released before."""
    sure: bool = False
    """Also those that may do harm."""


class Outcome(Told, frozen=True):
    """What came of it for one mail."""

    queue_id: str = ""
    """The mail it is now."""
    before: bool = False
    """It had been released before, and was let alone."""
    who: str = ""
    at: float = 0.0
    deleted: bool = False
    lesson: str = ""
    uds: str = ""
    refused: str = ""
    """Why nothing was done."""


class Outcomes(Told, frozen=True):
    """What came of it, by the mails' ids."""

    outcomes: dict[str, Outcome]


class StoredAct(Ask, frozen=True):
    """An act on all stored mails that a filter chooses, a step at a time."""

    verb: Literal["release", "delete"]
    kinds: Kinds = ()
    """() = all."""
    filter: StoredChoice | UnsetType = UNSET
    """None = all."""
    cursor: Cursor = ""
    """`next` of the step before."""
    dry_run: bool = False
    """Only count, all at once."""
    checked: bool = True
    again: bool = False
    sure: bool = False


class StoredActed(Told, frozen=True):
    """What came of an act, or of a step of it."""

    found: int
    done: int
    refused: int
    why: dict[str, str]
    """By id, of the first that were refused."""
    next: str | None
    """The next step's `cursor`, null when all is done."""


class Report(Ask, frozen=True):
    """What stored mails teach."""

    items: Annotated[tuple[ItemId, ...], Meta(min_length=1, max_length=TAUGHT_LIMIT)]
    lesson: Literal["spam", "wanted", "forget"]
    uds: bool = False
    """Also tell the servers of urgent detection."""


class SenderOrder(Ask, frozen=True):
    """How the sender of a stored mail is put on a list."""

    whole_domain: bool = False
    scope: Text | UnsetType = UNSET
    """For whom: "" all, `group:NAME`, a domain, an address; without it for all, or for your domains."""
    expires: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | UnsetType = UNSET
    """Last day."""


def _list(asked: Asked) -> dict[str, Any]:
    given = asked.arguments
    about: dict[str, Any] = {name: given.pop(name) for name in ("kinds", "cursor", "limit", "totals") if name in given}
    return {**about, "cursor": _read_cursor(about.get("cursor", "")), "filter": given}


def _page(found: Any, _: Asked) -> dict[str, Any]:
    return {"items": found["rows"], "next": _write_cursor(found["cursor"]), "totals": found.get("totals")}


def _acted(found: Any, _: Asked) -> dict[str, Any]:
    told = {"done": 0, "refused": 0, "why": {}, **found}
    return {**told, "next": _write_cursor(found.get("cursor", ""))}


def _act(asked: Asked) -> dict[str, Any]:
    given = asked.arguments
    return {**given, "cursor": _read_cursor(given.get("cursor", ""))}


def _write_cursor(place: str) -> str | None:
    """Return a place in a list as it stands in an address."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=") if place else None


def _read_cursor(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        raise Unfit("cursor: it is none of ours") from None


def _of(asked: Asked) -> dict[str, Any]:
    queue_number(asked.path["id"])
    return {"queue_id": asked.path["id"]}


def _item(asked: Asked) -> dict[str, Any]:
    """Return all arguments; Missing when there can be no such item."""
    name = asked.path["item"]
    try:
        parse_item_id(name) if "-" in name else queue_number(name)
    except ValueError:
        raise Missing from None
    return asked.arguments


def _one(asked: Asked) -> dict[str, Any]:
    return {"items": [_item(asked)["item"]]}


def _one_outcome(found: Any, _: Asked) -> Any:
    (outcome,) = found.values()
    if not outcome.get("deleted"):
        raise ControlError(outcome["refused"], outcome.get("kind", ""))
    return outcome


def _listing(name: str, word: str) -> Operation:
    return Operation(
        name=name,
        method="POST",
        path=f"/stored-mails/{{item}}/{word}",
        call=f"stores.{word}",
        right=Right.LISTS,
        summary=f"Put the sender of a stored mail on the {word} list",
        body=SenderOrder,
        answer=Listed,
        build=_item,
        names_one=True,
        example={"whole_domain": False},
    )


OPERATIONS: Final = (
    Operation(
        name="listStores",
        method="GET",
        path="/stores",
        call="stores.places",
        right=Right.TRACK,
        summary="List the kinds of store, how much is in them and how long it is kept",
        answer=StoreList,
        shape=named("items"),
    ),
    Operation(
        name="listStoredMails",
        method="GET",
        path="/stored-mails",
        call="stores.list",
        right=Right.TRACK,
        summary="List stored mails",
        query=StoredPlace,
        answer=StoredPage,
        build=_list,
        shape=_page,
    ),
    Operation(
        name="getStoredMail",
        method="GET",
        path="/stored-mails/{item}",
        call="stores.show",
        right=Right.TRACK,
        summary="Show a stored mail",
        answer=StoredMail,
        build=_item,
        names_one=True,
    ),
    Operation(
        name="deleteStoredMail",
        method="DELETE",
        path="/stored-mails/{item}",
        call="stores.delete",
        right=Right.QUARANTINE,
        summary="Delete a stored mail for good",
        answer=Outcome,
        build=_one,
        shape=_one_outcome,
        names_one=True,
    ),
    Operation(
        name="previewStoredMail",
        method="GET",
        path="/stored-mails/{item}/preview",
        call="stores.preview",
        right=Right.CONTENT,
        summary="Show the content of a stored mail, made harmless",
        detail="Written to the audit log.",
        answer=Preview,
        build=_item,
        names_one=True,
    ),
    Operation(
        name="downloadStoredMail",
        method="GET",
        path="/stored-mails/{item}/content",
        call="stores.export",
        right=Right.CONTENT,
        summary="Download a stored mail",
        detail="Written to the audit log. It may do harm.",
        answer=Bytes,
        build=_item,
        names_one=True,
    ),
    Operation(
        name="getStoredOfMail",
        method="GET",
        path="/mails/{id}/stored",
        call="stores.of",
        right=Right.TRACK,
        summary="List what is stored of a mail",
        answer=StoredMails,
        build=_of,
        shape=named("items"),
        names_one=True,
    ),
    Operation(
        name="releaseStoredMails",
        method="POST",
        path="/stored-mails/release",
        call="stores.release",
        right=Right.QUARANTINE,
        summary="Release stored mails to their recipients, or to others",
        body=ReleaseOrder,
        answer=Outcomes,
        shape=named("outcomes"),
        example={"items": ["0AM21E9SR0000-0A1B2C"]},
    ),
    Operation(
        name="deleteStoredMails",
        method="POST",
        path="/stored-mails/delete",
        call="stores.delete",
        right=Right.QUARANTINE,
        summary="Delete stored mails for good",
        body=Named,
        answer=Outcomes,
        shape=named("outcomes"),
        example={"items": ["0AM21E9SR0000-0A1B2C"]},
    ),
    Operation(
        name="actOnStoredMails",
        method="POST",
        path="/stored-mails/actions",
        call="stores.act",
        right=Right.QUARANTINE,
        summary="Release or delete all stored mails that a filter chooses",
        detail="Each request does a step; go on with `cursor` until `next` is null.",
        body=StoredAct,
        answer=StoredActed,
        build=_act,
        shape=_acted,
        example={"verb": "delete", "kinds": ["spam-quarantine"], "filter": {"older_than_s": 604800}, "dry_run": True},
    ),
    Operation(
        name="reportStoredMails",
        method="POST",
        path="/stored-mails/report",
        call="stores.report",
        right=Right.LEARN,
        summary="Teach stored mails as spam or as wanted, or forget what they taught",
        body=Report,
        answer=Outcomes,
        shape=named("outcomes"),
        example={"items": ["0AM21E9SR0000-0A1B2C"], "lesson": "spam"},
    ),
    _listing("allowSenderOfStoredMail", "allow"),
    _listing("blockSenderOfStoredMail", "block"),
)
