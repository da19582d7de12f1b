"""Accounts as administrators manage them: the calls `accounts.*`.

Registered by `master.process`. What people do to their own account is in `master.own_account`. There is always somebody
left who may manage accounts.
"""

import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.control.accounts import (
    KNOWN_LIMIT,
    Account,
    AccountBook,
    AccountError,
    check_account_name,
    check_domains,
    check_new_password,
    make_token,
)
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import RIGHTS_OF, Caller, Right, Role
from gatepost.control.sessions import Sessions
from gatepost.control.socket import ControlError, NotThere
from gatepost.master.passwords import Passwords

_HANDLE_BYTES: Final = 32


class Accounts:
    """The accounts of a running gateway."""

    def __init__(self, path: Path, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._book: AccountBook | None = None
        self.trouble = ""
        """Why nobody can sign in."""
        try:
            self._book = AccountBook(path)
        except AccountError as error:
            self.trouble = str(error)
            say("E", f"accounts cannot be read, nobody can sign in to the console: {error}")

    @property
    def book(self) -> AccountBook:
        """All accounts. ControlError when their file could not be read."""
        if self._book is None:
            raise ControlError("accounts cannot be read, so nobody can sign in: the gateway's log says why")
        return self._book

    def find(self, name: str) -> Account:
        """Return an account. ControlError when there is none."""
        account = self.book.get(name)
        if account is None:
            raise NotThere(f"there is no account {name[:64]!r}")
        return account

    def new(self, name: str, role: Role, hashed: str, domains: tuple[str, ...]) -> Account:
        """Return a new account, not yet kept."""
        now = time.time()
        return Account(
            name=name,
            role=role,
            password=hashed,
            domains=domains,
            handle=secrets.token_bytes(_HANDLE_BYTES),
            made=now,
            password_set=now,
        )

    def put(self, account: Account) -> None:
        """Keep an account. ControlError: nothing has changed."""
        try:
            self.book.put(account)
        except OSError as error:
            raise ControlError(f"accounts cannot be written, nothing has changed: {error}") from error

    def remove(self, account: Account) -> None:
        """Remove an account. ControlError: nothing has changed."""
        try:
            self.book.remove(account.name)
        except OSError as error:
            raise ControlError(f"accounts cannot be written, nothing has changed: {error}") from error

    def note_sign_in(self, account: Account, address: str, now: float) -> None:
        """Note when and from where somebody signed in. That it cannot be written keeps nobody out."""
        known = tuple(dict.fromkeys((address, *account.known)))[:KNOWN_LIMIT]
        try:
            self.book.put(msgspec.structs.replace(account, known=known, signed_in=now))
        except OSError as error:
            self._say("E", f"accounts cannot be written: {error}")

    def close(self) -> None:
        """Write down when tokens were used."""
        if self._book is not None and any(account.tokens for account in self._book.all):
            try:
                self._book.save()
            except OSError as error:
                self._say("E", f"accounts cannot be written: {error}")


class AccountCalls:
    """The calls of those with the right to manage accounts."""

    def __init__(self, accounts: Accounts, sessions: Sessions, passwords: Passwords) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords

    def register(self, desk: Desk) -> None:
        """Register the calls."""

        async def show_all(_: Arguments, __: Caller) -> Any:
            return [self._row(account) for account in self._accounts.book.all]

        async def show(arguments: Arguments, _: Caller) -> Any:
            return self._row(self._accounts.find(str(arguments["name"])))

        desk.add("accounts.list", Right.ACCOUNTS, show_all)
        desk.add("accounts.show", Right.ACCOUNTS, show)
        desk.add("accounts.add", Right.ACCOUNTS, self._add, audited=True)
        desk.add("accounts.change", Right.ACCOUNTS, self._change, audited=True)
        desk.add("accounts.password", Right.ACCOUNTS, self._set_password, audited=True)
        desk.add("accounts.forget_second", Right.ACCOUNTS, self._forget_second, audited=True)
        desk.add("accounts.end_sessions", Right.ACCOUNTS, self._end_sessions, audited=True)
        desk.add("accounts.add_token", Right.ACCOUNTS, self._add_token, audited=True)
        desk.add("accounts.remove_token", Right.ACCOUNTS, self._remove_token, audited=True)
        desk.add("accounts.remove", Right.ACCOUNTS, self._remove, audited=True)

    async def _add(self, arguments: Arguments, _: Caller) -> Any:
        """Add an account; without `password` one is made up and returned, once."""
        name = check_account_name(str(arguments["name"]))
        role = _role(str(arguments["role"]))
        domains = check_domains(_texts(arguments.get("domains", ())), role)
        given = str(arguments.get("password") or "")
        password = check_new_password(given, name) if given else _make_password()
        hashed = await self._passwords.hash(password)
        if self._accounts.book.get(name) is not None:
            raise ControlError(f"there is an account {name!r} already")
        self._accounts.put(self._accounts.new(name, role, hashed, domains))
        return {"name": name, "password": "" if given else password}

    async def _change(self, arguments: Arguments, _: Caller) -> Any:
        """Change `role`, `domains` or `disabled`, as far as given. Disabling ends all sessions."""
        account = self._accounts.find(str(arguments["name"]))
        role = _role(str(arguments.get("role", account.role)))
        domains = check_domains(_texts(arguments.get("domains", account.domains)), role)
        disabled = bool(arguments.get("disabled", account.disabled))
        changed = msgspec.structs.replace(account, role=role, domains=domains, disabled=disabled)
        self._keep_somebody(account, changed)
        self._accounts.put(changed)
        if disabled:
            self._sessions.end(account.name)
        return self._row(changed)

    async def _set_password(self, arguments: Arguments, _: Caller) -> Any:
        """Set a password for somebody who has forgotten theirs, or whose account others got into: ends all their
        sessions and takes their tokens away, which whoever was there may have made.
        """
        name = self._accounts.find(str(arguments["name"])).name
        given = str(arguments.get("password") or "")
        password = check_new_password(given, name) if given else _make_password()
        hashed = await self._passwords.hash(password)
        account = self._accounts.find(name)
        self._accounts.put(msgspec.structs.replace(account, password=hashed, password_set=time.time(), tokens=()))
        self._sessions.end(name)
        return {"name": name, "password": "" if given else password}

    async def _forget_second(self, arguments: Arguments, _: Caller) -> Any:
        """Take away the second steps of somebody who has lost their telephone; ends all their sessions."""
        account = self._accounts.find(str(arguments["name"]))
        changed = msgspec.structs.replace(account, totp="", totp_step=0, passkeys=())
        self._accounts.put(changed)
        self._sessions.end(account.name)
        return self._row(changed)

    async def _end_sessions(self, arguments: Arguments, _: Caller) -> Any:
        return self._sessions.end(self._accounts.find(str(arguments["name"])).name)

    async def _add_token(self, arguments: Arguments, caller: Caller) -> Any:
        """Make a token of an account, at the machine only: elsewhere it would be a way to act under another's name."""
        if caller.via != "cli":
            raise ControlError("tokens are made by those they are for, or at the machine by `gatepost account token`")
        account = self._accounts.find(str(arguments["name"]))
        changed, secret = make_token(
            account,
            str(arguments["label"]),
            map(str, arguments["rights"]),
            float(arguments.get("days", 0)),
            time.time(),
        )
        self._accounts.put(changed)
        return {"id": changed.tokens[-1].id, "token": secret}

    async def _remove_token(self, arguments: Arguments, _: Caller) -> Any:
        account = self._accounts.find(str(arguments["name"]))
        tokens = tuple(token for token in account.tokens if token.id != arguments["id"])
        if len(tokens) == len(account.tokens):
            raise NotThere("there is no such token")
        self._accounts.put(msgspec.structs.replace(account, tokens=tokens))
        return "removed"

    async def _remove(self, arguments: Arguments, _: Caller) -> Any:
        account = self._accounts.find(str(arguments["name"]))
        self._keep_somebody(account, None)
        self._accounts.remove(account)
        self._sessions.end(account.name)
        return "removed"

    def _keep_somebody(self, before: Account, after: Account | None) -> None:
        """Refuse what would leave nobody to manage accounts. ControlError."""
        if not _manages(before) or (after is not None and _manages(after)):
            return
        if not any(_manages(one) for one in self._accounts.book.all if one.name != before.name):
            raise ControlError(f"{before.name} is the last administrator: make another one first")

    def _row(self, account: Account) -> dict[str, Any]:
        return {
            "name": account.name,
            "role": account.role,
            "domains": list(account.domains),
            "disabled": account.disabled,
            "totp": bool(account.totp),
            "passkeys": len(account.passkeys),
            "tokens": [token_row(token) for token in account.tokens],
            "sessions": len(self._sessions.of(account.name, time.time())),
            "made": account.made,
            "signed_in": account.signed_in,
            "password_set": account.password_set,
        }


def token_row(token: Any) -> dict[str, Any]:
    """Return what is shown of a token."""
    return {
        "id": token.id,
        "name": token.name,
        "rights": sorted(token.rights),
        "made": token.made,
        "expires": token.expires,
        "used": token.used,
    }


def _manages(account: Account) -> bool:
    return not account.disabled and not account.domains and Right.ACCOUNTS in RIGHTS_OF[account.role]


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError as error:
        raise AccountError(f"{text[:40]!r} is no role: one of {', '.join(Role)}") from error


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return value.replace(",", " ").split()
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _make_password() -> str:
    return secrets.token_urlsafe(12)
