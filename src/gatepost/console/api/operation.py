"""What an operation of the interface is: a value from which its route, its checks and its description are made.

The areas (`mails`, `queue`, …) list theirs; `routes` serves them, `openapi` describes them. Requests and answers are
Structs: what is asked is decoded into them, what the gateway answers is cut to them, and their docstrings and bounds
are the description.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from gatepost.control.rights import Right
from gatepost.model.ids import format_queue_id, parse_queue_id

PREFIX: Final = "/api/v1"
BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a body, unless its operation says otherwise."""
_LARGEST: Final = 2**63 - 1
"""Queue id that stores can hold."""
TEXT_LIMIT: Final = 1000
"""Characters of a text that is asked with, unless its field says otherwise."""

Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_LIMIT)]
Texts: TypeAlias = Annotated[tuple[Text, ...], Meta(max_length=100)]
QueueId: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{12}$",
        description="Queue id: 13 letters and digits.",
        examples=["0AM21E9SR0000"],
    ),
]
QueueCursor: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^([0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{12})?$",
        description="`next` of the page, or the step, before; none for the first.",
    ),
]
ItemId: TypeAlias = Annotated[
    str,
    Meta(
        max_length=40,
        min_length=1,
        description="Id of a stored mail, or the queue id of a mail that is stored once.",
        examples=["0AM21E9SR0000-0A1B2C"],
    ),
]
Moment: TypeAlias = Annotated[float, Meta(ge=0, le=1e11, description="Unix time in seconds.")]
Cursor: TypeAlias = Annotated[str, Meta(max_length=500, description="`next` of the page before; none for the first.")]


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what is asked with: names that are not known are refused, defaults are the gateway's."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is answered."""


class Done(Told, frozen=True):
    """It is done."""

    answer: str
    """What the gateway says of it, for people."""


class Bytes(Told, frozen=True):
    """Stands for an answer that is a file."""


class Asked(msgspec.Struct, frozen=True):
    """One request, checked."""

    path: dict[str, str]
    """Parameters of the path, decoded."""
    query: Any = None
    body: Any = None
    version: str = ""
    """Of `If-Match`."""

    @property
    def arguments(self) -> dict[str, Any]:
        """All of it by name, as most calls take it."""
        found: dict[str, Any] = dict(self.path)
        for part in (self.query, self.body):
            if part is not None:
                found |= msgspec.to_builtins(part)
        return found


def take_all(asked: Asked) -> dict[str, Any]:
    """Return everything asked as arguments of the call."""
    return asked.arguments


class Missing(Exception):  # noqa: N818 - an answer
    """There is no such thing."""


def queue_number(text: str) -> int:
    """Return the number of a queue id of a path. Missing: there can be no such mail."""
    try:
        number = parse_queue_id(text)
    except ValueError:
        raise Missing from None
    if number > _LARGEST:
        raise Missing
    return number


def queue_cursor(number: int) -> str:
    """Return a place in the queue as a cursor."""
    return format_queue_id(number)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing programs can ask for."""

    name: str
    """`operationId`: unique."""
    method: str
    path: str
    """Below `PREFIX`, with `{name}` for parameters, which are texts."""
    call: str
    """At the desk."""
    right: Right
    summary: str
    answer: Any
    """Type of the answer; Bytes = a file, in pieces (`data`, `next`)."""
    detail: str = ""
    query: type[Ask] | None = None
    body: type[Ask] | None = None
    build: Callable[[Asked], dict[str, Any]] = take_all
    """Arguments of the call. Missing."""
    shape: Callable[[Any, Asked], Any] | None = None
    """What the call answers, as the type of the answer has it; None = as it is. Missing."""
    names_one: bool = False
    """It is about something named in the path that may not be there (404)."""
    body_limit: int = BODY_LIMIT
    """Bytes."""
    tags_version: bool = False
    """The answer's `digest` is its `ETag` ..."""
    takes_version: bool = False
    """... and this needs it in `If-Match`."""
    example: dict[str, Any] | None = None
    """A body that does."""

    @property
    def acts(self) -> bool:
        """Tell whether it changes something."""
        return self.method != "GET"

    @property
    def tag(self) -> str:
        """The area it belongs to."""
        return self.path.split("/")[1]


def named(key: str) -> Callable[[Any, Asked], Any]:
    """Return a shape that puts an answer that is no object under a name."""
    return lambda found, _: {key: found}


def say(found: Any, _: Asked) -> Any:
    """Shape: what the gateway says in words."""
    return {"answer": found if isinstance(found, str) else "done"}
