"""Accounts, tokens, sessions, and the audit log."""

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from gatepost.console.api.operation import Ask, Asked, Done, Operation, Text, Texts, Told, named, say
from gatepost.control.rights import Right

Password = Annotated[str, Meta(max_length=1000)]
RoleName = Literal["admin", "operator", "quarantine", "read-only", "domain"]
Scope = Literal[
    "view", "track", "content", "queue", "quarantine", "learn", "lists", "log", "service", "configuration",
    "configure", "emergency", "accounts", "audit",
]  # fmt: skip


class TokenRow(Told, frozen=True):
    """A token; its secret was shown when it was made."""

    id: str
    name: str
    rights: list[str]
    made: float
    expires: float
    """0 = never."""
    used: float


class AccountRow(Told, frozen=True):
    """An account."""

    name: str
    role: str
    domains: list[str]
    disabled: bool
    totp: bool
    passkeys: int
    tokens: list[TokenRow]
    sessions: int
    made: float
    signed_in: float
    password_set: float


class AccountRows(Told, frozen=True):
    """Accounts."""

    items: list[AccountRow]


class AccountOrder(Ask, frozen=True):
    """A new account."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    role: RoleName
    domains: Texts = ()
    """Only mail of these; () = all."""
    password: Password = ""
    """"" = one is made up and answered."""


class NewPassword(Told, frozen=True):
    """An account's new password."""

    name: str
    password: str
    """The one that was made up, shown this once; "" when one was given."""


class AccountChange(Ask, frozen=True):
    """What is to be different."""

    role: RoleName | UnsetType = UNSET
    domains: Texts | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class PasswordOrder(Ask, frozen=True):
    """A password for somebody who has forgotten theirs."""

    password: Password = ""
    """"" = one is made up and answered."""


class OwnPassword(Ask, frozen=True):
    """Your own password, the old and the new one."""

    password: Password
    new_password: Password


class Ended(Told, frozen=True):
    """How many sessions have ended."""

    ended: int


class TokenRows(Told, frozen=True):
    """Tokens."""

    items: list[TokenRow]


class TokenOrder(Ask, frozen=True):
    """A new token of your own account."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    rights: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=20)]
    password: Password
    """Yours, once more."""
    days: Annotated[float, Meta(ge=0, le=3650)] = 0.0
    """0 = for ever."""


class NewToken(Told, frozen=True):
    """A new token."""

    id: str
    token: str
    """The secret, shown this once."""


class Me(Told, frozen=True):
    """Who you are."""

    name: str
    role: str
    """"" for a token."""
    rights: list[str]
    domains: list[str]
    csrf: str
    """Of a session: `X-CSRF-Token` of what changes something."""


class SessionRow(Told, frozen=True):
    """A session of the console."""

    id: str
    address: str
    agent: str
    made: float
    used: float
    this: bool


class SessionRows(Told, frozen=True):
    """Sessions."""

    items: list[SessionRow]


class OwnPasskey(Told, frozen=True):
    """A passkey."""

    id: str
    name: str
    site: str
    added: float


class OwnAccount(Told, frozen=True):
    """Your account."""

    name: str
    role: str
    domains: list[str]
    totp: bool
    passkeys: list[OwnPasskey]
    password_set: float
    rights: list[str]


class AuditChoice(Ask, frozen=True):
    """Which entries."""

    who: Text = ""
    call: Text = ""
    text: Text = ""
    cursor: Annotated[str, Meta(pattern="^[0-9]{0,15}$", description="`next` of the page before.")] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class AuditEntry(Told, frozen=True):
    """One act."""

    number: int
    at: str
    """ISO 8601, UTC."""
    who: str
    via: str
    address: str
    call: str
    arguments: dict[str, Any]
    outcome: str
    """"" = done, else why not."""
    former: str
    """SHA-256 of the line before."""


class AuditPage(Told, frozen=True):
    """A page of entries, newest first."""

    items: list[AuditEntry]
    next: str | None
    """The next page's `cursor`, null when there is none."""


class AuditVerified(Told, frozen=True):
    """Whether the audit log is whole."""

    entries: int
    first: int
    last: int
    trouble: str
    """Where the chain breaks, "" = nowhere."""


def _audit(asked: Asked) -> dict[str, Any]:
    given = asked.arguments
    return {**given, "before": int(given.pop("cursor", "") or 0)}


def _audit_page(found: Any, asked: Asked) -> dict[str, Any]:
    full = len(found) >= asked.query.limit and found[-1]["number"] > 1
    return {"items": found, "next": str(found[-1]["number"]) if full else None}


def _ended(found: Any, _: Asked) -> dict[str, Any]:
    return {"ended": found if isinstance(found, int) else len(found or ())}


OPERATIONS: Final = (
    Operation(
        name="getMe",
        method="GET",
        path="/me",
        call="session.show",
        right=Right.NONE,
        summary="Show who you are and what you may",
        answer=Me,
    ),
    Operation(
        name="getOwnAccount",
        method="GET",
        path="/account",
        call="account.show",
        right=Right.SELF,
        summary="Show your account",
        detail="Only in a session of the console: a token is not its account.",
        answer=OwnAccount,
    ),
    Operation(
        name="changeOwnPassword",
        method="PUT",
        path="/account/password",
        call="account.password",
        right=Right.SELF,
        summary="Change your password; ends your other sessions",
        body=OwnPassword,
        answer=Ended,
        shape=lambda found, asked: _ended(found["ended"], asked),
    ),
    Operation(
        name="listOwnSessions",
        method="GET",
        path="/account/sessions",
        call="session.list",
        right=Right.SELF,
        summary="List your sessions",
        answer=SessionRows,
        shape=named("items"),
    ),
    Operation(
        name="endOwnSession",
        method="DELETE",
        path="/account/sessions/{id}",
        call="session.end",
        right=Right.SELF,
        summary="End one of your sessions",
        answer=Ended,
        shape=_ended,
    ),
    Operation(
        name="listOwnTokens",
        method="GET",
        path="/account/tokens",
        call="tokens.list",
        right=Right.SELF,
        summary="List your tokens",
        answer=TokenRows,
        shape=named("items"),
    ),
    Operation(
        name="addOwnToken",
        method="POST",
        path="/account/tokens",
        call="tokens.add",
        right=Right.SELF,
        summary="Make a token for a program",
        body=TokenOrder,
        answer=NewToken,
    ),
    Operation(
        name="removeOwnToken",
        method="DELETE",
        path="/account/tokens/{id}",
        call="tokens.remove",
        right=Right.SELF,
        summary="Remove one of your tokens",
        answer=Done,
        shape=say,
        names_one=True,
    ),
    Operation(
        name="listAccounts",
        method="GET",
        path="/accounts",
        call="accounts.list",
        right=Right.ACCOUNTS,
        summary="List accounts",
        answer=AccountRows,
        shape=named("items"),
    ),
    Operation(
        name="addAccount",
        method="POST",
        path="/accounts",
        call="accounts.add",
        right=Right.ACCOUNTS,
        summary="Add an account",
        body=AccountOrder,
        answer=NewPassword,
        example={"name": "bob", "role": "read-only"},
    ),
    Operation(
        name="getAccount",
        method="GET",
        path="/accounts/{name}",
        call="accounts.show",
        right=Right.ACCOUNTS,
        summary="Show an account",
        answer=AccountRow,
        names_one=True,
    ),
    Operation(
        name="changeAccount",
        method="PATCH",
        path="/accounts/{name}",
        call="accounts.change",
        right=Right.ACCOUNTS,
        summary="Change an account's role or domains, disable or enable it",
        body=AccountChange,
        answer=AccountRow,
        names_one=True,
        example={"disabled": True},
    ),
    Operation(
        name="removeAccount",
        method="DELETE",
        path="/accounts/{name}",
        call="accounts.remove",
        right=Right.ACCOUNTS,
        summary="Remove an account",
        answer=Done,
        shape=say,
        names_one=True,
    ),
    Operation(
        name="setAccountPassword",
        method="PUT",
        path="/accounts/{name}/password",
        call="accounts.password",
        right=Right.ACCOUNTS,
        summary="Set a password for somebody who has forgotten theirs; ends their sessions",
        body=PasswordOrder,
        answer=NewPassword,
        names_one=True,
        example={},
    ),
    Operation(
        name="forgetSecondSteps",
        method="DELETE",
        path="/accounts/{name}/second-steps",
        call="accounts.forget_second",
        right=Right.ACCOUNTS,
        summary="Take away somebody's second steps; ends their sessions",
        answer=AccountRow,
        names_one=True,
    ),
    Operation(
        name="endSessions",
        method="DELETE",
        path="/accounts/{name}/sessions",
        call="accounts.end_sessions",
        right=Right.ACCOUNTS,
        summary="End somebody's sessions",
        answer=Ended,
        shape=_ended,
        names_one=True,
    ),
    Operation(
        name="removeToken",
        method="DELETE",
        path="/accounts/{name}/tokens/{id}",
        call="accounts.remove_token",
        right=Right.ACCOUNTS,
        summary="Remove somebody's token",
        answer=Done,
        shape=say,
        names_one=True,
    ),
    Operation(
        name="listAudit",
        method="GET",
        path="/audit",
        call="audit.list",
        right=Right.AUDIT,
        summary="List what was done, by whom",
        query=AuditChoice,
        answer=AuditPage,
        build=_audit,
        shape=_audit_page,
    ),
    Operation(
        name="verifyAudit",
        method="GET",
        path="/audit/verification",
        call="audit.verify",
        right=Right.AUDIT,
        summary="Check that the audit log is whole",
        answer=AuditVerified,
    ),
)
