"""The configuration: what it says, changes to it, its history."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from gatepost.console.api.operation import Ask, Done, Operation, Text, Told, named, say
from gatepost.console.api.versioned import (
    ChangeReason,
    HistoryLimit,
    SavedVersion,
    SavedVersions,
    first,
    with_digest,
    with_number,
    with_number_and_digest,
)
from gatepost.control.rights import Right

CHANGES_LIMIT: Final = 500
_VALUE_LIMIT: Final = 500_000


class DraftChoice(Ask, frozen=True):
    """Which values."""

    draft: bool = False
    """With your unsaved changes in them."""


class Value(Told, frozen=True):
    """A parameter's value."""

    value: bool | int | float | str | list[str]
    """As the file has it, else what counts without it. Secrets are not shown."""
    text: str
    """What is in force with this file, as people read it."""
    source: str
    """default, file, external, override, policy or derived."""
    origin: str


class FieldProblem(Told, frozen=True):
    """A problem at a parameter."""

    severity: str
    section: str
    item: int
    name: str
    what: str
    allowed: str
    mend: str
    line: int


class ConfigurationValues(Told, frozen=True):
    """What the configuration says."""

    file: str
    form: str
    digest: str
    """Names this version: `If-Match` of what changes it."""
    why_not_writable: str
    state_path: str
    overrides: list[str]
    sections: dict[str, list[dict[str, Value]]]
    """By section, by table, by parameter."""
    problems: list[FieldProblem]
    changes: int
    """Of your draft."""


class ParameterDescription(Told, frozen=True):
    """What a parameter is."""

    name: str
    kind: str
    meaning: str
    default: str
    documented: str = ""
    item: str = ""
    unit: str = ""
    allowed: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    built: bool = True
    guard: str = ""
    secret: bool = False
    generations: str = ""


class SectionDescription(Told, frozen=True):
    """What a section is."""

    name: str
    title: str
    array: bool
    """There may be several of it, in an order."""
    built: bool
    parameters: list[ParameterDescription]


class ConfigurationSchema(Told, frozen=True):
    """All sections with their parameters."""

    sections: list[SectionDescription]


class Change(Ask, frozen=True):
    """One change. Each sees what those before it have made."""

    section: Text
    name: Text = ""
    verb: Literal["set", "unset", "add", "remove", "move"] = "set"
    value: (
        bool
        | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
        | float
        | Annotated[str, Meta(max_length=_VALUE_LIMIT)]
        | Annotated[list[str], Meta(max_length=10_000)]
        | None
    ) = None
    item: Annotated[int, Meta(ge=-1, le=100_000)] = 0
    """Number of the table in its array, from 0; add: -1 = at the end."""
    to: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """move: its new number."""


Changes = Annotated[tuple[Change, ...], Meta(min_length=1, max_length=CHANGES_LIMIT)]


class CheckOrder(Ask, frozen=True):
    """Changes to be tried; none = your draft."""

    changes: Annotated[tuple[Change, ...], Meta(max_length=CHANGES_LIMIT)] | UnsetType = UNSET


class DraftOrder(Ask, frozen=True):
    """Changes to be kept for later."""

    changes: Changes


class ApplyOrder(Ask, frozen=True):
    """Changes to be made; none = your draft."""

    changes: Changes | UnsetType = UNSET
    comment: Text = ""
    """For the history."""


class Checked(Told, frozen=True):
    """What changes would do. Nothing has changed."""

    problems: list[FieldProblem]
    diff: str
    changed: bool
    digest: str
    why_not_writable: str


class Drafted(Checked, frozen=True):
    """What the draft would do."""

    kept: bool
    """It can be edited so at all."""
    changes: int


class Applied(Told, frozen=True):
    """What was done."""

    number: int
    """Of the version; 0 = there was nothing to change."""
    diff: str
    answer: str
    problems: list[FieldProblem]


class DefaultOrder(Ask, frozen=True):
    """What is to be as by default."""

    section: Text
    name: Text = ""
    """"" = all of the section."""
    item: Annotated[int, Meta(ge=0, le=100_000)] = 0


OPERATIONS: Final = (
    Operation(
        name="getConfiguration",
        method="GET",
        path="/configuration",
        call="configuration.values",
        right=Right.CONFIGURATION,
        summary="Show what the configuration says",
        query=DraftChoice,
        answer=ConfigurationValues,
        tags_version=True,
    ),
    Operation(
        name="changeConfiguration",
        method="PATCH",
        path="/configuration",
        call="configuration.apply",
        right=Right.CONFIGURE,
        summary="Change the configuration and take it into use",
        detail="Checked as a start would check it; what does not hold, or is not taken, changes nothing. The order of "
        "groups is changed with `move`.",
        body=ApplyOrder,
        answer=Applied,
        build=with_digest,
        takes_version=True,
        example={
            "changes": [{"section": "limits", "name": "incoming_sessions", "value": 200}],
            "comment": "more sessions",
        },
    ),
    Operation(
        name="getConfigurationSchema",
        method="GET",
        path="/configuration/schema",
        call="configuration.schema",
        right=Right.CONFIGURATION,
        summary="List all sections and parameters",
        answer=ConfigurationSchema,
        shape=named("sections"),
    ),
    Operation(
        name="checkConfiguration",
        method="POST",
        path="/configuration/check",
        call="configuration.check",
        right=Right.CONFIGURATION,
        summary="Try changes",
        body=CheckOrder,
        answer=Checked,
        example={"changes": [{"section": "limits", "name": "incoming_sessions", "value": -1}]},
    ),
    Operation(
        name="draftConfiguration",
        method="POST",
        path="/configuration/draft",
        call="configuration.draft",
        right=Right.CONFIGURE,
        summary="Add changes to your draft",
        body=DraftOrder,
        answer=Drafted,
        example={"changes": [{"section": "limits", "name": "incoming_sessions", "value": 200}]},
    ),
    Operation(
        name="resetConfiguration",
        method="DELETE",
        path="/configuration/draft",
        call="configuration.reset",
        right=Right.CONFIGURE,
        summary="Forget your draft",
        answer=Done,
        shape=say,
    ),
    Operation(
        name="defaultConfiguration",
        method="POST",
        path="/configuration/default",
        call="configuration.default",
        right=Right.CONFIGURE,
        summary="Have a parameter, or all of a section, as by default",
        body=DefaultOrder,
        answer=Applied,
        example={"section": "limits", "name": "incoming_sessions"},
    ),
    Operation(
        name="listConfigurationVersions",
        method="GET",
        path="/configuration/versions",
        call="configuration.history",
        right=Right.CONFIGURATION,
        summary="List the versions of the configuration",
        query=HistoryLimit,
        answer=SavedVersions,
        shape=named("items"),
    ),
    Operation(
        name="getConfigurationVersion",
        method="GET",
        path="/configuration/versions/{number}",
        call="configuration.history",
        right=Right.CONFIGURATION,
        summary="Show a version and what it changed",
        answer=SavedVersion,
        build=with_number,
        shape=first,
        names_one=True,
    ),
    Operation(
        name="rollBackConfiguration",
        method="POST",
        path="/configuration/versions/{number}/rollback",
        call="configuration.rollback",
        right=Right.CONFIGURE,
        summary="Go back to a version",
        body=ChangeReason,
        answer=Applied,
        build=with_number_and_digest,
        names_one=True,
        takes_version=True,
        example={"comment": "the new limits were too tight"},
    ),
)
