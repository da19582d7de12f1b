"""Allow and block lists, what anti-spam has learned, and samples of one's own."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gatepost.console.api.operation import Ask, Asked, Done, Missing, Operation, Text, Told, named, say
from gatepost.control.rights import Right

SAMPLE_BODY: Final = 6 * 1024 * 1024
"""A sample of 4 MiB, in base64."""
_SAMPLE_TEXT: Final = 5_600_000

Side = Literal["allow", "block"]


class ListChoice(Ask, frozen=True):
    """Which entries."""

    list: Side | Literal[""] = ""
    scope: Text | UnsetType = UNSET
    """For whom: "" all, `group:NAME`, a domain, an address."""
    text: Text = ""
    """Part of entry, scope, note or who made it."""
    cursor: Annotated[str, Meta(pattern="^[0-9]{0,9}$", description="`next` of the page before.")] = ""


class Listing(Told, frozen=True):
    """An entry."""

    id: int
    """0: one of the configuration."""
    side: str
    entry: str
    scope: str
    note: str
    by: str
    at: float
    until: str
    """Last day, "" for no end."""
    ended: bool
    free: bool
    """Of the allow list: nothing has to prove the sender."""
    origin: str
    """Where the configuration has it."""


class ListPage(Told, frozen=True):
    """A page of entries, newest first."""

    items: list[Listing]
    total: int
    next: str | None
    """The next page's `cursor`, null when there is none."""
    damage: str
    """Why entries do not count now, "" = they do."""


class ListOrder(Ask, frozen=True):
    """A new entry."""

    list: Side
    entry: Annotated[str, Meta(min_length=1, max_length=400)]
    """Address or mask, `@domain`, IP address or network."""
    scope: Text = ""
    """For whom: "" all, `group:NAME`, a domain, an address."""
    note: Annotated[str, Meta(max_length=300)] = ""
    expires: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | UnsetType = UNSET
    """Last day."""


class ListOrders(Ask, frozen=True):
    """New entries: all of them or, when one cannot be, none."""

    entries: Annotated[tuple[ListOrder, ...], Meta(min_length=1, max_length=500)]
    dry_run: bool = False
    """Only say whether they can be."""


class ListedMany(Told, frozen=True):
    """How many entries came of it."""

    added: int
    known: int
    """There were so many of them before."""


class Listed(Told, frozen=True):
    """The entry there is now."""

    id: int
    added: bool
    """It was not there before."""
    row: Listing


class Unlisted(Told, frozen=True):
    """What was taken off."""

    removed: list[Listing]


class LearningState(Told, frozen=True):
    """How much was learned."""

    spam: int
    ham: int
    trust: float
    journal: int
    domains: list[str]
    weights_used: float
    recent: int
    recent_disagreed: int
    recent_disagreed_ham: int
    teachers: dict[str, int]


class LessonLimit(Ask, frozen=True):
    """How many."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Lesson(Told, frozen=True):
    """One lesson."""

    id: int
    at: float
    digest: str
    spam: bool
    who: str
    source: str
    domain: str
    opinion: float
    """What anti-spam thought before: above 0 spam."""


class Lessons(Told, frozen=True):
    """The latest lessons, newest first."""

    items: list[Lesson]


class Undo(Ask, frozen=True):
    """Whose lessons are taken back."""

    who: Text
    hours: Annotated[float, Meta(gt=0, le=87_840)]


class Sample(Told, frozen=True):
    """A sample or an image."""

    name: str
    category: str
    size: int


class SampleLists(Told, frozen=True):
    """Samples and images of one's own."""

    counts: dict[str, int]
    samples: list[Sample]
    images: list[Sample]
    stale: bool
    """What filters use is older than they are: compile."""


Sort = Literal["samples", "images"]


class SampleOrder(Ask, frozen=True):
    """A new sample: `text`, or base64 `data`."""

    sort: Sort
    name: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[0-9A-Za-z]")]
    category: Annotated[str, Meta(max_length=100)] = ""
    text: Annotated[str, Meta(max_length=_SAMPLE_TEXT)] | UnsetType = UNSET
    data: Annotated[str, Meta(max_length=_SAMPLE_TEXT)] | UnsetType = UNSET
    replace: bool = False


def _show(asked: Asked) -> dict[str, Any]:
    given = asked.arguments
    return {**given, "after": int(given.pop("cursor", "") or 0)}


def _page(found: Any, _: Asked) -> dict[str, Any]:
    following = None if found["next"] is None else str(found["next"])
    return {"items": found["rows"], "total": found["total"], "next": following, "damage": found["damage"]}


def _one(asked: Asked) -> dict[str, Any]:
    text = asked.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Missing
    return {"ids": [int(text)]}


def _removed(found: Any, _: Asked) -> Any:
    if not found["removed"]:
        raise Missing
    return found


def _undone(found: Any, _: Asked) -> Any:
    return {"answer": f"{found} lesson(s) taken back" if isinstance(found, int) else str(found)}


def _sample(asked: Asked) -> dict[str, Any]:
    return dict(msgspec.to_builtins(asked.body))


OPERATIONS: Final = (
    Operation(
        name="listEntries",
        method="GET",
        path="/lists",
        call="lists.show",
        right=Right.LISTS,
        summary="List allow and block entries, those of the configuration among them",
        query=ListChoice,
        answer=ListPage,
        build=_show,
        shape=_page,
    ),
    Operation(
        name="addEntry",
        method="POST",
        path="/lists",
        call="lists.add",
        right=Right.LISTS,
        summary="Add an entry; one that is there already is let alone",
        body=ListOrder,
        answer=Listed,
        example={"list": "block", "entry": "@spam.example", "note": "asked for by the help desk"},
    ),
    Operation(
        name="addEntries",
        method="POST",
        path="/lists/many",
        call="lists.add_many",
        right=Right.LISTS,
        summary="Add many entries at once",
        body=ListOrders,
        answer=ListedMany,
        example={"entries": [{"list": "block", "entry": "@spam.example"}, {"list": "allow", "entry": "192.0.2.7"}]},
    ),
    Operation(
        name="removeEntry",
        method="DELETE",
        path="/lists/{id}",
        call="lists.remove",
        right=Right.LISTS,
        summary="Remove an entry",
        answer=Unlisted,
        build=_one,
        shape=_removed,
        names_one=True,
    ),
    Operation(
        name="getLearning",
        method="GET",
        path="/learning",
        call="learning.status",
        right=Right.LEARN,
        summary="Show how much was learned",
        answer=LearningState,
    ),
    Operation(
        name="listLessons",
        method="GET",
        path="/learning/lessons",
        call="learning.recent",
        right=Right.LEARN,
        summary="List the latest lessons",
        query=LessonLimit,
        answer=Lessons,
        shape=named("items"),
    ),
    Operation(
        name="undoLessons",
        method="POST",
        path="/learning/undo",
        call="learning.undo",
        right=Right.LEARN,
        summary="Take back what somebody taught in the last hours",
        body=Undo,
        answer=Done,
        shape=_undone,
        example={"who": "ada", "hours": 24},
    ),
    Operation(
        name="listSamples",
        method="GET",
        path="/samples",
        call="samples.show",
        right=Right.CONFIGURATION,
        summary="List samples and images of one's own",
        answer=SampleLists,
    ),
    Operation(
        name="addSample",
        method="POST",
        path="/samples",
        call="samples.add",
        right=Right.CONFIGURE,
        summary="Add a sample or an image; it counts once compiled",
        body=SampleOrder,
        answer=Done,
        build=_sample,
        shape=say,
        body_limit=SAMPLE_BODY,
        example={"sort": "samples", "name": "prize", "text": "You have won a prize, claim it now"},
    ),
    Operation(
        name="removeSample",
        method="DELETE",
        path="/samples/{sort}/{name}",
        call="samples.remove",
        right=Right.CONFIGURE,
        summary="Remove a sample or an image",
        answer=Done,
        shape=say,
    ),
    Operation(
        name="compileSamples",
        method="POST",
        path="/samples/compile",
        call="samples.compile",
        right=Right.CONFIGURE,
        summary="Put samples and images as they are now in force",
        answer=Done,
        shape=say,
    ),
)
