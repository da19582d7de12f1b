"""Texts for people: what ships and what is one's own, their check, their versions."""

from typing import Annotated, Final

from msgspec import Meta

from gatepost.console.api.operation import Ask, Operation, Text, Told, named
from gatepost.console.api.versioned import (
    ChangeReason,
    SavedVersion,
    SavedVersions,
    first,
    with_digest,
    with_number,
    with_number_and_digest,
)
from gatepost.control.rights import Right

TEXT_LIMIT: Final = 16_384
"""Characters: twice what may be saved, so that the check says of a long one what is wrong."""


class OwnTextRow(Told, frozen=True):
    """A text as it is listed."""

    name: str
    language: str
    group: str
    """"" = what all groups say that have none of their own."""
    title: str
    parameter: str
    """That names a file instead, where it is set."""
    html: bool
    own: bool
    """It takes the place of the one that ships."""
    used_by: list[str]
    """Groups that say it; of delivery reports, which have no group, "" once."""
    elsewhere: list[str]
    """Groups whose parameter names another file."""
    apart: list[str]
    """Groups that have a text of their own here."""


class OwnTextRows(Told, frozen=True):
    """All texts."""

    items: list[OwnTextRow]


class OwnText(OwnTextRow, frozen=True):
    """A text."""

    text: str
    digest: str
    groups: list[str]
    """That speak its language, and so can have one of their own; the first 500."""


class OwnTextChoice(Ask, frozen=True):
    """Whose text."""

    group: Text = ""
    """The name of a group; none = that of all groups."""


class OwnTextAsk(Ask, frozen=True):
    """A text to be looked at."""

    text: Annotated[str, Meta(max_length=TEXT_LIMIT)]


class OwnTextOrder(OwnTextAsk, frozen=True):
    """A text to be saved."""

    comment: Text = ""


class OwnTextProblem(Told, frozen=True):
    """What is wrong, or odd."""

    line: int
    column: int
    what: str


class OwnTextField(Told, frozen=True):
    """A header field."""

    name: str
    value: str


class OwnTextFound(Told, frozen=True):
    """What a text makes of a sample, unless it has faults."""

    faults: list[OwnTextProblem]
    """It cannot be saved with these."""
    warnings: list[OwnTextProblem]
    fields: list[OwnTextField]
    text: str
    html: str


class OwnTextSaved(Told, frozen=True):
    """What came of a save."""

    number: int
    """Of the version."""
    digest: str
    told: str
    """What came of the reload."""


_PATH: Final = "/texts/{name}/{language}"
_EXAMPLE: Final = "This message was examined by %HOSTNAME%.\n"
OPERATIONS: Final = (
    Operation(
        name="listTexts",
        method="GET",
        path="/texts",
        call="texts.list",
        right=Right.CONFIGURATION,
        summary="List the texts for people",
        detail="Those of all groups; `apart` names the groups that have one of their own.",
        answer=OwnTextRows,
        shape=named("items"),
    ),
    Operation(
        name="getText",
        method="GET",
        path=_PATH,
        call="texts.show",
        right=Right.CONFIGURATION,
        summary="Show a text",
        query=OwnTextChoice,
        answer=OwnText,
        names_one=True,
        tags_version=True,
    ),
    Operation(
        name="saveText",
        method="PUT",
        path=_PATH,
        call="texts.save",
        right=Right.CONFIGURE,
        summary="Save an own text and put it in force",
        query=OwnTextChoice,
        detail="A text with a fault changes nothing.",
        body=OwnTextOrder,
        answer=OwnTextSaved,
        build=with_digest,
        names_one=True,
        takes_version=True,
        example={"text": _EXAMPLE, "comment": "as the lawyers want it"},
    ),
    Operation(
        name="checkText",
        method="POST",
        path=_PATH + "/check",
        call="texts.check",
        right=Right.CONFIGURATION,
        summary="Say whether a text can be, and show it with a sample",
        query=OwnTextChoice,
        body=OwnTextAsk,
        answer=OwnTextFound,
        names_one=True,
        example={"text": _EXAMPLE},
    ),
    Operation(
        name="resetText",
        method="POST",
        path=_PATH + "/reset",
        call="texts.reset",
        right=Right.CONFIGURE,
        summary="Go back to the text that ships, or from a group's to that of all groups",
        query=OwnTextChoice,
        body=ChangeReason,
        answer=OwnTextSaved,
        build=with_digest,
        names_one=True,
        takes_version=True,
        example={"comment": "the shipped one says it better"},
    ),
    Operation(
        name="listTextVersions",
        method="GET",
        path=_PATH + "/versions",
        call="texts.history",
        right=Right.CONFIGURATION,
        summary="List the versions of a text",
        query=OwnTextChoice,
        answer=SavedVersions,
        shape=named("items"),
        names_one=True,
    ),
    Operation(
        name="getTextVersion",
        method="GET",
        path=_PATH + "/versions/{number}",
        call="texts.history",
        right=Right.CONFIGURATION,
        summary="Show a version of a text, and what it changed",
        query=OwnTextChoice,
        answer=SavedVersion,
        build=with_number,
        shape=first,
        names_one=True,
    ),
    Operation(
        name="rollBackText",
        method="POST",
        path=_PATH + "/versions/{number}/rollback",
        call="texts.rollback",
        right=Right.CONFIGURE,
        summary="Go back to a version of a text",
        query=OwnTextChoice,
        body=ChangeReason,
        answer=OwnTextSaved,
        build=with_number_and_digest,
        names_one=True,
        takes_version=True,
        example={"comment": "the new one was misread"},
    ),
)
