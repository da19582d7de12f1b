"""The licence: keys, what they allow, how much of it is used."""

from typing import Final

from gatepost.console.api.operation import Operation, Told
from gatepost.control.rights import Right


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
    """Last day of the active key's term, "" = without end."""
    days_left: int | None
    expired: bool
    open: bool
    """It is the key the program comes with."""
    used: Used


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
)
