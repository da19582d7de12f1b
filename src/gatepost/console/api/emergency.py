"""The emergency bypass, and settings that are tried without effect."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from gatepost.console.api.operation import Ask, Operation, Texts, Told, named
from gatepost.control.rights import Right


class BypassState(Told, frozen=True):
    """Whether mail passes unscanned."""

    on: bool
    since: float = 0.0
    until: float = 0.0
    left_s: float = 0.0
    reason: str = ""
    by: str = ""
    groups: tuple[str, ...] = ()
    """Only mail of these; () = all."""
    directions: tuple[str, ...] = ()
    every_relay: bool = True
    """All relays know of it."""


class BypassOrder(Ask, frozen=True):
    """For how long mail is to pass unscanned, and why."""

    minutes: Annotated[float, Meta(ge=1, le=10_000)]
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    """It stands in the log, in the audit log and with every mail."""
    groups: Texts = ()
    directions: Annotated[tuple[Literal["inbound", "outbound", "internal"], ...], Meta(max_length=5)] = ()


class ShadowSetting(Told, frozen=True):
    """What a shadow changes."""

    name: str
    value: Any


class ShadowState(Told, frozen=True):
    """A shadow, and what it has found."""

    name: str
    groups: list[str]
    settings: list[ShadowSetting]
    until: str
    ends: float
    checked: int
    changed: int
    """Mails it would have decided otherwise."""
    finding: str
    """By which tracking finds them."""
    edits: list[dict[str, Any]]
    """Changes of the configuration that would make it real."""


class ShadowStates(Told, frozen=True):
    """All shadows."""

    items: list[ShadowState]


OPERATIONS: Final = (
    Operation(
        name="getBypass",
        method="GET",
        path="/bypass",
        call="bypass.status",
        right=Right.VIEW,
        summary="Show whether mail passes unscanned",
        answer=BypassState,
    ),
    Operation(
        name="beginBypass",
        method="PUT",
        path="/bypass",
        call="bypass.on",
        right=Right.EMERGENCY,
        summary="In an emergency: let mail pass unscanned, marked, for some minutes",
        body=BypassOrder,
        answer=BypassState,
        example={"minutes": 10, "reason": "the databases refuse every mail"},
    ),
    Operation(
        name="endBypass",
        method="DELETE",
        path="/bypass",
        call="bypass.off",
        right=Right.EMERGENCY,
        summary="Have mail scanned again",
        answer=BypassState,
    ),
    Operation(
        name="listShadows",
        method="GET",
        path="/shadows",
        call="shadow.list",
        right=Right.CONFIGURATION,
        summary="Show what settings that are tried without effect would have changed",
        answer=ShadowStates,
        shape=named("items"),
    ),
)
