"""The licence: keys, what they allow, how much of it is used; adding and removing them."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from gatepost.console.api.operation import Ask, Asked, Done, Missing, Operation, Told, say
from gatepost.control.rights import Right

KEY_LIMIT: Final = 16_384
"""Characters of a key."""


class Key(Told, frozen=True):
    """A licence key."""

    serial: str
    product: str
    type: str
    issuer: str
    holder: str
    created: str
    days: int
    """Life span when it follows another key; 0 = without end."""
    users: int
    """0 = any number."""
    megabytes: int
    """In a day; 0 = any amount."""
    rights: list[str]


class Used(Told, frozen=True):
    """What counts against limits."""

    users: int
    """Protected addresses that got mail in the last 30 days; 0 while the key does not limit anything."""
    bytes_today: int


class LicenceState(Told, frozen=True):
    """How things stand."""

    active: Key | None
    additional: Key | None
    expires: str
    """Last day of the active key's term, "" = without end, or there is no key (`active` is null)."""
    days_left: int | None
    expired: bool
    open: bool
    """It is the key the program comes with."""
    used: Used


class KeyText(Ask, frozen=True):
    """A key as its issuer sent it."""

    key: Annotated[str, Meta(min_length=1, max_length=KEY_LIMIT)]
    """The text of the file, from its heading to its signature."""


class KeyPlan(Told, frozen=True):
    """What adding a key would do."""

    key: Key
    place: Literal["active", "additional"]
    expires: str
    """Last day of its term as things are now, "" = without end, or not known yet."""
    effects: list[str]
    """For people."""


class RemovalPlan(Told, frozen=True):
    """What removing a key would change."""

    effects: list[str]
    """For people."""


def _place(asked: Asked) -> dict[str, Any]:
    if asked.path["place"] not in {"active", "additional"}:
        raise Missing
    return asked.arguments


_EXAMPLE: Final = {"key": "gatepost licence key 1\nproduct: gatepost\nserial: 2026-17\n…"}

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="getLicence",
        method="GET",
        path="/licence",
        call="licence.show",
        right=Right.VIEW,
        summary="Show the licence keys",
        answer=LicenceState,
    ),
    Operation(
        name="checkLicenceKey",
        method="POST",
        path="/licence/check",
        call="licence.check",
        right=Right.CONFIGURE,
        summary="Tell what a licence key says and what adding it would do; nothing is changed",
        body=KeyText,
        answer=KeyPlan,
        example=_EXAMPLE,
    ),
    Operation(
        name="addLicenceKey",
        method="POST",
        path="/licence/keys",
        call="licence.add",
        right=Right.CONFIGURE,
        summary="Add a licence key: the active one, or the additional one that follows it",
        detail="The active key is in use when this answers.",
        body=KeyText,
        answer=Done,
        shape=say,
        example=_EXAMPLE,
    ),
    Operation(
        name="checkLicenceKeyRemoval",
        method="GET",
        path="/licence/keys/{place}/removal",
        call="licence.check_removal",
        right=Right.CONFIGURE,
        summary="Tell what removing the active or the additional licence key would change",
        answer=RemovalPlan,
        build=_place,
        names_one=True,
    ),
    Operation(
        name="removeLicenceKey",
        method="DELETE",
        path="/licence/keys/{place}",
        call="licence.remove",
        right=Right.CONFIGURE,
        summary="Remove the active or the additional licence key",
        answer=Done,
        build=_place,
        shape=say,
        names_one=True,
    ),
)
