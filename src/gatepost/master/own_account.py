"""What people do to their own account: password, second steps, tokens. The calls `account.*` and `tokens.*`.

Registered by `master.process`. What would let somebody stay who has found an open browser asks for the password again.
"""

import secrets
import time
from typing import Any

import msgspec

from gatepost.control.accounts import (
    PASSKEYS_LIMIT,
    Account,
    check_label,
    check_new_password,
    make_token,
)
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import RIGHTS_OF, Caller, Right
from gatepost.control.sessions import Session, Sessions
from gatepost.control.socket import ControlError, NotThere
from gatepost.master.accounts import Accounts, token_row
from gatepost.master.passwords import Passwords
from gatepost.master.second_steps import (
    check_new_passkey,
    find_step,
    new_totp_secret,
    passkey_offer,
    site_of,
    totp_uri,
)


class OwnAccount:
    """The calls of somebody about themselves."""

    def __init__(self, accounts: Accounts, sessions: Sessions, passwords: Passwords) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords

    def register(self, desk: Desk) -> None:
        """Register the calls."""
        desk.add("account.show", Right.SELF, self._show)
        desk.add("account.password", Right.SELF, self._change_password, audited=True)
        desk.add("account.totp_begin", Right.SELF, self._begin_totp)
        desk.add("account.totp_confirm", Right.SELF, self._confirm_totp, audited=True)
        desk.add("account.totp_end", Right.SELF, self._end_totp, audited=True)
        desk.add("account.passkey_begin", Right.SELF, self._begin_passkey)
        desk.add("account.passkey_add", Right.SELF, self._add_passkey, audited=True)
        desk.add("account.passkey_remove", Right.SELF, self._remove_passkey, audited=True)
        desk.add("tokens.list", Right.SELF, self._list_tokens)
        desk.add("tokens.add", Right.SELF, self._add_token, audited=True)
        desk.add("tokens.remove", Right.SELF, self._remove_token, audited=True)

    def _own(self, caller: Caller) -> Account:
        """Return the caller's account as it is now. ControlError: no session, or it has ended, meanwhile perhaps."""
        account = self._accounts.book.get(caller.name) if caller.session else None
        if account is None:
            raise ControlError("this is about the account that has signed in to the console: sign in there")
        self._session(caller)
        return account

    def _session(self, caller: Caller) -> Session:
        session = self._sessions.get(caller.session)
        if session is None:
            raise ControlError("the session has ended")
        return session

    async def _prove(self, arguments: Arguments, caller: Caller) -> Account:
        """Check the password once more. ControlError."""
        account = self._own(caller)
        password = str(arguments.get("password", ""))
        right = await self._passwords.check(account, account.name, password, caller.address)
        if not right:
            raise ControlError("that is not your password")
        self._passwords.brake.succeeded(caller.address, account.name)
        return self._own(caller)

    async def _show(self, arguments: Arguments, caller: Caller) -> Any:
        account = self._own(caller)
        return {
            "name": account.name,
            "role": account.role,
            "domains": list(account.domains),
            "totp": bool(account.totp),
            "passkeys": [
                {"id": one.id.hex(), "name": one.name, "site": one.site, "added": one.added} for one in account.passkeys
            ],
            "passkeys_possible": bool(site_of(str(arguments.get("origin", "")))),
            "password_set": account.password_set,
            "rights": sorted(RIGHTS_OF[account.role] - {Right.NONE, Right.SELF}),
        }

    async def _change_password(self, arguments: Arguments, caller: Caller) -> Any:
        """Set a new password (`new_password`); ends the account's other sessions."""
        account = await self._prove(arguments, caller)
        new = check_new_password(str(arguments["new_password"]), account.name)
        hashed = await self._passwords.hash(new)
        self._accounts.put(msgspec.structs.replace(self._own(caller), password=hashed, password_set=time.time()))
        return {"ended": self._sessions.end(account.name, but=caller.session)}

    # --- one-time codes

    async def _begin_totp(self, arguments: Arguments, caller: Caller) -> Any:
        """Return a secret to be set up; it counts once a code of it was given."""
        account, session = self._own(caller), self._session(caller)
        if account.totp:
            raise ControlError("one-time codes are set up already: remove them first")
        session.secret = session.secret or new_totp_secret()
        site = str(arguments.get("origin", "")).partition("//")[2]
        return {"secret": session.secret, "uri": totp_uri(account.name, session.secret, site)}

    async def _confirm_totp(self, arguments: Arguments, caller: Caller) -> Any:
        await self._prove(arguments, caller)
        session = self._session(caller)
        step = find_step(session.secret, str(arguments["code"]), 0, time.time()) if session.secret else None
        if step is None:
            raise ControlError("the code does not fit: is the telephone's clock right?")
        secret, session.secret = session.secret, ""
        self._accounts.put(msgspec.structs.replace(self._own(caller), totp=secret, totp_step=step))
        self._sessions.end(caller.name, but=caller.session)
        return "on"

    async def _end_totp(self, arguments: Arguments, caller: Caller) -> Any:
        account = await self._prove(arguments, caller)
        self._accounts.put(msgspec.structs.replace(account, totp="", totp_step=0))
        return "off"

    # --- passkeys

    async def _begin_passkey(self, arguments: Arguments, caller: Caller) -> Any:
        """Return what a browser needs to make one."""
        account = await self._prove(arguments, caller)
        if len(account.passkeys) >= PASSKEYS_LIMIT:
            raise ControlError(f"an account has at most {PASSKEYS_LIMIT} passkeys")
        session = self._session(caller)
        session.challenge = secrets.token_bytes(32)
        return passkey_offer(account, str(arguments["origin"]), session.challenge)

    async def _add_passkey(self, arguments: Arguments, caller: Caller) -> Any:
        session = self._session(caller)
        challenge, session.challenge = session.challenge, b""
        if not challenge:
            raise ControlError("begin again: the passkey was not asked for, or it took too long")
        label = check_label(str(arguments["name"]), "a passkey")
        made = check_new_passkey(str(arguments["attestation"]), str(arguments["origin"]), challenge, label, time.time())
        account = self._own(caller)
        self._accounts.put(msgspec.structs.replace(account, passkeys=(*account.passkeys, made)))
        self._sessions.end(caller.name, but=caller.session)
        return "added"

    async def _remove_passkey(self, arguments: Arguments, caller: Caller) -> Any:
        account = await self._prove(arguments, caller)
        left = tuple(one for one in account.passkeys if one.id.hex() != arguments["id"])
        if len(left) == len(account.passkeys):
            raise ControlError("there is no such passkey")
        self._accounts.put(msgspec.structs.replace(account, passkeys=left))
        return "removed"

    # --- tokens

    async def _list_tokens(self, _: Arguments, caller: Caller) -> Any:
        return [token_row(token) for token in self._own(caller).tokens]

    async def _add_token(self, arguments: Arguments, caller: Caller) -> Any:
        """Make a token with some `rights`, for some `days` (0 = for ever); its secret is returned this once."""
        account = await self._prove(arguments, caller)
        changed, secret = make_token(
            account, str(arguments["name"]), map(str, arguments["rights"]), float(arguments.get("days", 0)), time.time()
        )
        self._accounts.put(changed)
        return {"id": changed.tokens[-1].id, "token": secret}

    async def _remove_token(self, arguments: Arguments, caller: Caller) -> Any:
        account = self._own(caller)
        left = tuple(token for token in account.tokens if token.id != arguments["id"])
        if len(left) == len(account.tokens):
            raise NotThere("there is no such token")
        self._accounts.put(msgspec.structs.replace(account, tokens=left))
        return "removed"
