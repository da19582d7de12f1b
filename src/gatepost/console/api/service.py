"""The gateway itself: its state, its problems, its log, its databases, and how it is steered."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from gatepost.console.api.operation import Ask, Asked, Done, Missing, Operation, Text, Told, named, say
from gatepost.control.rights import Right

MODULES: Final = ("recv", "send", "scan", "virus", "spam")


class RelayState(Told, frozen=True):
    """A relay."""

    index: int
    pid: int
    state: str
    restarts: int
    error: str = ""
    """Why it does not answer."""
    engines: tuple[dict[str, Any], ...] = ()
    filters: dict[str, int] = msgspec.field(default_factory=dict)
    in_work: dict[str, int] = msgspec.field(default_factory=dict)
    commits: dict[str, float] = msgspec.field(default_factory=dict)
    paused_messages: int = 0


class TemplateState(Told, frozen=True):
    """The process that filters are made of."""

    pid: int
    state: str
    restarts: int


class SetInForce(Told, frozen=True):
    """A set of databases in force."""

    name: str
    number: int
    issued: str
    records: int


class TroubledDestination(Told, frozen=True):
    """A destination mail waits for."""

    domain: str
    waiting: int
    paused: bool
    rests_until: float
    reason: str


class DoorState(Told, frozen=True):
    """A door of the filtering server, all relays together."""

    name: str
    kind: str
    address: str
    connections: int
    connections_total: int
    refused: int
    failed: int


class Status(Told, frozen=True):
    """How the gateway fares."""

    version: str
    pid: int
    started_at: float
    listeners: list[str]
    doors: list[DoorState]
    modules: dict[str, bool]
    relays: list[RelayState]
    filter_template: TemplateState
    databases: list[SetInForce]
    spam_databases: list[SetInForce]
    queue: dict[str, int]
    paused: list[str]
    troubled: list[TroubledDestination]
    counters: dict[str, float]
    since_start: dict[str, float]


class Statistics(Told, frozen=True):
    """All documented statistics."""

    values: dict[str, int | float | str]


class StatisticsFile(Statistics, frozen=True):
    """The statistics file, just written."""

    file: str


class Look(Ask, frozen=True):
    """Whether to look anew."""

    now: bool = False


class Problem(Told, frozen=True):
    """Something an administrator should know."""

    key: str
    area: str
    state: str
    """ok, warning or error."""
    text: str
    mend: str
    since: float
    until: float = 0.0


class ProblemList(Told, frozen=True):
    """What is wrong, and what was."""

    state: str
    """The worst of them."""
    looked_at: float
    problems: list[Problem]
    over: list[Problem]


class LogChoice(Ask, frozen=True):
    """Which lines; without `before` and `after` the last ones."""

    letters: Annotated[str, Meta(pattern="^[FEWIAD]{0,6}$")] = ""
    """Only lines of these levels."""
    text: Text = ""
    queue_id: Annotated[str, Meta(max_length=13)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 200
    before: Annotated[str, Meta(pattern="^([0-9]{1,18}:[0-9]{1,15})?$")] = ""
    """Lines in front of this place: `begin` of a page."""
    after: Annotated[str, Meta(pattern="^([0-9]{1,18}:[0-9]{1,15})?$")] = ""
    """Lines behind this place: `end` of a page."""


class LogPage(Told, frozen=True):
    """Lines of the log, in their order."""

    lines: list[str]
    begin: str
    end: str
    complete: bool
    """No more there, in the direction that was asked for."""
    rotated: bool


class DatabaseSet(Told, frozen=True):
    """A set of databases."""

    name: str
    kind: str
    number: int
    issued: str
    records: int
    signer: str
    in_force: bool
    newer: int
    """Number of a newer set of this name, 0 = none."""
    trouble: str


class Licence(Told, frozen=True):
    """The licence."""

    expires: str
    """Last day of the term, "" = without end, unless `trouble` says why there is none."""
    days_left: int
    trouble: str


class LastUpdate(Told, frozen=True):
    """What came of the last update of databases."""

    checked: float
    """Unix seconds of its end, 0 = there was none."""
    updated: float
    """When anything was last installed, 0 = never."""
    result: str
    """updated, not-needed, error, rolled-back, unknown."""
    source: str
    error: str
    installed: list[str]
    """Names and numbers of what was installed last."""


class Databases(Told, frozen=True):
    """Sets of databases, their last update and the licence."""

    sets: list[DatabaseSet]
    troubles: list[str]
    directories: list[str]
    licence: Licence
    update: LastUpdate


class ConsoleState(Told, frozen=True):
    """The console."""

    enabled: bool
    state: str
    pid: int
    restarts: int
    up: bool
    addresses: list[str]
    troubles: list[str]
    walls_missing: list[str]


class RecorderState(Told, frozen=True):
    """The recorder, which keeps what became of mails."""

    enabled: bool
    state: str
    pid: int
    restarts: int


class Switch(Ask, frozen=True):
    """What a module is to be."""

    on: bool


class DigestOrder(Ask, frozen=True):
    """Who is told of what."""

    group: Text = ""
    """Only recipients of this group."""
    days: Annotated[int, Meta(ge=0, le=3660)] = 0
    """Of the last so many days, told of before or not; 0 = of what is new."""


class DigestsSent(Told, frozen=True):
    """What came of it."""

    sent: int
    under_way: bool
    """It takes longer: the log tells how many."""


class Rollback(Ask, frozen=True):
    """Which sets."""

    names: Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=50)] = ()
    """Such as `antivirus/base`, or `base` for that name of both kinds; none: those that the last update installed."""


class UpdateDone(Told, frozen=True):
    """What came of it."""

    text: str
    """What the updater says, for people."""
    changed: bool
    """Other databases are in force now."""
    under_way: bool
    """It takes longer: `update` of the databases tells what came of it."""


def _module(asked: Asked) -> dict[str, Any]:
    if asked.path["module"] not in MODULES:
        raise Missing
    return asked.arguments


OPERATIONS: Final = (
    Operation(
        name="getStatus",
        method="GET",
        path="/status",
        call="status",
        right=Right.VIEW,
        summary="Show how the gateway fares",
        answer=Status,
    ),
    Operation(
        name="getStatistics",
        method="GET",
        path="/statistics",
        call="statistics",
        right=Right.VIEW,
        summary="Show all statistics",
        answer=Statistics,
        shape=named("values"),
    ),
    Operation(
        name="writeStatistics",
        method="POST",
        path="/statistics/file",
        call="stats",
        right=Right.SERVICE,
        summary="Write the statistics file",
        answer=StatisticsFile,
    ),
    Operation(
        name="listProblems",
        method="GET",
        path="/problems",
        call="problems",
        right=Right.VIEW,
        summary="List what is wrong",
        query=Look,
        answer=ProblemList,
    ),
    Operation(
        name="readLog",
        method="GET",
        path="/log",
        call="log.tail",
        right=Right.LOG,
        summary="Read the log",
        query=LogChoice,
        answer=LogPage,
    ),
    Operation(
        name="listDatabases",
        method="GET",
        path="/databases",
        call="databases.show",
        right=Right.VIEW,
        summary="List sets of databases and the licence",
        answer=Databases,
    ),
    Operation(
        name="reloadDatabases",
        method="POST",
        path="/databases/reload",
        call="reloadbases",
        right=Right.SERVICE,
        summary="Take the newest databases into use",
        answer=Done,
        shape=say,
    ),
    Operation(
        name="updateDatabases",
        method="POST",
        path="/databases/update",
        call="databases.update",
        right=Right.SERVICE,
        summary="Fetch newer databases, try them and put them in force",
        answer=UpdateDone,
    ),
    Operation(
        name="rollBackDatabases",
        method="POST",
        path="/databases/rollback",
        call="databases.rollback",
        right=Right.SERVICE,
        summary="Go back to the databases before the last update",
        body=Rollback,
        answer=UpdateDone,
        example={"names": []},
    ),
    Operation(
        name="sendDigests",
        method="POST",
        path="/digests",
        call="digests.send",
        right=Right.SERVICE,
        summary="Tell recipients now of what is kept for them as spam",
        body=DigestOrder,
        answer=DigestsSent,
        example={},
    ),
    Operation(
        name="getConsole",
        method="GET",
        path="/console",
        call="console.status",
        right=Right.VIEW,
        summary="Show how the console fares",
        answer=ConsoleState,
    ),
    Operation(
        name="getRecorder",
        method="GET",
        path="/recorder",
        call="tracking.status",
        right=Right.VIEW,
        summary="Show how the recorder fares",
        answer=RecorderState,
    ),
    Operation(
        name="reloadService",
        method="POST",
        path="/service/reload",
        call="reload",
        right=Right.SERVICE,
        summary="Read the configuration anew",
        answer=Done,
        shape=say,
    ),
    Operation(
        name="stopService",
        method="POST",
        path="/service/stop",
        call="stop",
        right=Right.SERVICE,
        summary="Stop the gateway",
        detail="Only somebody at the machine can start it again, or its service manager.",
        answer=Done,
        shape=say,
    ),
    Operation(
        name="switchModule",
        method="PUT",
        path="/service/modules/{module}",
        call="switch",
        right=Right.SERVICE,
        summary="Switch a module on or off: recv, send, scan or spam",
        body=Switch,
        answer=Done,
        build=_module,
        shape=say,
        names_one=True,
        example={"on": True},
    ),
)
