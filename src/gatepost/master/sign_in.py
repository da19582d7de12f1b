"""Signing in: password, second step, the first account; and whose every call over the link is.

Registered by `master.process`. The console only carries what people type: everything is compared here. Tries are
written to the audit log by this module itself, once they were compared: a flood of them cannot fill it.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gatepost.control.accounts import (
    TOKEN_PREFIX,
    Account,
    check_account_name,
    check_new_password,
    rights_of_token,
)
from gatepost.control.desk import Arguments, Audit, Desk
from gatepost.control.link import LinkCall, SignedOut
from gatepost.control.rights import RIGHTS_OF, Caller, Right, Role
from gatepost.control.sessions import Sessions, Ticket
from gatepost.control.socket import ControlError
from gatepost.master.accounts import Accounts
from gatepost.master.passwords import WAIT_TEXT, Passwords
from gatepost.master.second_steps import check_passkey, find_step, passkey_question

FIRST_CODE_S: Final = 3600.0
"""How long the code of the first sign-in counts."""
FIRST_CODE_TRIES: Final = 10
"""Wrong tries, from anywhere, before it is made anew."""
_LETTERS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Without those that look like others."""
_ADDRESS_LIMIT: Final = 64
_WRONG: Final = "wrong name or password"
_OVER: Final = "the sign-in took too long: begin again"
_ENDED: Final = "the session has ended"
_TOKEN_NOTED_S: Final = 60.0
"""How exactly the last use of a token is known."""


class FirstCode:
    """The one-time code with which the first administrator proves to be one. Sans-I/O."""

    def __init__(self) -> None:
        self._code = ""
        self._made = 0.0
        self._tries = 0

    def show(self, now: float) -> str:
        """Return the code that counts now; a new one when the last is over."""
        if not self._code or now >= self._made + FIRST_CODE_S or self._tries >= FIRST_CODE_TRIES:
            letters = "".join(secrets.choice(_LETTERS) for _ in range(10))
            self._code, self._made, self._tries = f"{letters[:5]}-{letters[5:]}", now, 0
        return self._code

    def fits(self, given: str, now: float) -> bool:
        """Compare; a wrong one counts as a try."""
        self._tries += 1
        if not self._code or now >= self._made + FIRST_CODE_S or self._tries > FIRST_CODE_TRIES:
            return False
        plain = "".join(given.upper().split()).replace("-", "").encode("utf-8", "replace")
        return secrets.compare_digest(plain, self._code.replace("-", "").encode())


class SignIn:
    """Sessions and how they begin."""

    def __init__(
        self,
        accounts: Accounts,
        sessions: Sessions,
        passwords: Passwords,
        audit: Audit,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords
        self._audit = audit
        self._clock = clock
        self._first = FirstCode()

    def register(self, desk: Desk) -> None:
        """Register the calls."""

        async def state(_: Arguments, __: Caller) -> Any:
            return {"first": not self._accounts.book.all}

        async def first_code(_: Arguments, __: Caller) -> Any:
            return {"code": "" if self._accounts.book.all else self.first_code()}

        desk.add("session.state", Right.NONE, state)
        desk.add("session.first_code", Right.ACCOUNTS, first_code)
        desk.add("session.first", Right.NONE, self._take_first)
        desk.add("session.begin", Right.NONE, self._begin)
        desk.add("session.second", Right.NONE, self._second)
        desk.add("session.show", Right.NONE, self._show)
        desk.add("session.end", Right.SELF, self._end, audited=True)
        desk.add("session.list", Right.SELF, self._list)

    def first_code(self) -> str:
        """Return the code of the first sign-in, "" when somebody has an account or nobody can have one."""
        if self._accounts.trouble or self._accounts.book.all:
            return ""
        return self._first.show(self._clock())

    def caller_of(self, call: LinkCall) -> Caller:
        """Return for whom a call is made. SignedOut when the credential is nobody's (any more)."""
        address = call.address[:_ADDRESS_LIMIT]
        if not call.credential:
            via = "api" if call.via == "api" else "console"
            return Caller("", frozenset({Right.NONE}), via=via, address=address)
        if self._accounts.trouble:
            raise SignedOut(_ENDED)
        if call.credential.startswith(TOKEN_PREFIX):
            return self._token_caller(call.credential, address)
        session = self._sessions.find(call.credential, self._clock())
        account = self._accounts.book.get(session.account) if session is not None else None
        if session is None or account is None or account.disabled:
            raise SignedOut(_ENDED)
        return Caller(
            account.name,
            RIGHTS_OF[account.role],
            account.domains,
            via="console",
            address=address,
            session=session.id,
        )

    def _token_caller(self, secret: str, address: str) -> Caller:
        book, now = self._accounts.book, self._clock()
        found = book.find_token(secret)
        if found is None:
            raise SignedOut("no such token")
        account, token = found
        if account.disabled or (token.expires and now >= token.expires):
            raise SignedOut("the token has expired, or its account is disabled")
        if now - token.used >= _TOKEN_NOTED_S:
            book.note_use(account, token, now)
        return Caller(
            f"{account.name} ({token.name})",
            rights_of_token(account, token),
            account.domains,
            via="api",
            address=address,
        )

    # --- signing in

    async def _take_first(self, arguments: Arguments, caller: Caller) -> Any:
        """Make the first account for who knows the code, and sign it in."""
        if self._accounts.book.all:
            raise ControlError("there is an account already: sign in")
        brake, now = self._passwords.brake, self._clock()
        if brake.holds(caller.address, "", now):
            raise ControlError(WAIT_TEXT)
        if not self._first.fits(str(arguments["code"]), now):
            brake.failed(caller.address, "", now)
            self._note(caller, "session.first", "", "wrong code")
            raise ControlError("wrong code: `gatepost account first-code` shows the one that counts now")
        name = check_account_name(str(arguments["name"]))
        password = check_new_password(str(arguments["password"]), name)
        hashed = await self._passwords.hash(password)
        if self._accounts.book.all:  # somebody was quicker
            raise ControlError("there is an account already: sign in")
        account = self._accounts.new(name, Role.ADMIN, hashed, ())
        self._accounts.put(account)
        self._note(caller, "session.first", name, "")
        return {"session": self._enter(account, caller, arguments)}

    async def _begin(self, arguments: Arguments, caller: Caller) -> Any:
        """Check name and password. Returns `session`, or `ticket` with the second steps there are."""
        name = str(arguments["name"]).strip().casefold()
        account = self._accounts.book.get(name)
        if account is not None and account.disabled:
            account = None
        right = await self._passwords.check(account, name, str(arguments["password"]), caller.address)
        if right:  # meanwhile it may have been removed, disabled or given another password: what is there now counts
            compared, account = account, self._accounts.book.get(name)
            right = (
                account is not None and not account.disabled and account.password == (compared and compared.password)
            )
        if not right or account is None:
            self._note(caller, "session.begin", name, _WRONG)
            raise ControlError(_WRONG)
        if not account.second_step:
            self._note(caller, "session.begin", account.name, "")
            return {"session": self._enter(account, caller, arguments)}
        secret, ticket = self._sessions.open_ticket(account.name, caller.address, _agent(arguments), self._clock())
        question = passkey_question(account, str(arguments.get("origin", "")), ticket.challenge)
        if question is None and not account.totp:
            raise ControlError("your passkeys are for another host name: use that, or ask an administrator")
        return {"ticket": secret, "totp": bool(account.totp), "passkey": question}

    async def _second(self, arguments: Arguments, caller: Caller) -> Any:
        """Check the second step: `code`, or `assertion` (a passkey's answer). Returns `session`."""
        secret, now = str(arguments["ticket"]), self._clock()
        ticket = self._sessions.find_ticket(secret, now)
        account = self._accounts.book.get(ticket.account) if ticket is not None else None
        if ticket is None or account is None or account.disabled or ticket.address != caller.address:
            raise ControlError(_OVER)
        if self._passwords.brake.holds(caller.address, account.name, now, known=caller.address in account.known):
            raise ControlError(WAIT_TEXT)
        proved = self._prove(account, ticket, arguments, now)
        if proved is None:
            self._passwords.brake.failed(caller.address, account.name, now)
            self._note(caller, "session.second", account.name, "wrong second step")
            passkey = bool(arguments.get("assertion"))
            raise ControlError(
                "that passkey does not fit: try again, or ask an administrator to take it away"
                if passkey
                else "that code does not fit, or was used: wait for the next one"
            )
        self._sessions.close_ticket(secret)
        self._accounts.put(proved)  # the code counts as used before it opens anything
        self._note(caller, "session.second", account.name, "")
        return {"session": self._enter(proved, caller, arguments)}

    def _prove(self, account: Account, ticket: Ticket, arguments: Arguments, now: float) -> Account | None:
        if arguments.get("assertion"):
            return check_passkey(
                account, str(arguments["assertion"]), str(arguments.get("origin", "")), ticket.challenge
            )
        if not account.totp:
            return None
        step = find_step(account.totp, str(arguments.get("code", "")), account.totp_step, now)
        return None if step is None else msgspec.structs.replace(account, totp_step=step)

    def _enter(self, account: Account, caller: Caller, arguments: Arguments) -> str:
        """Begin a session."""
        now = self._clock()
        self._passwords.brake.succeeded(caller.address, account.name)
        self._accounts.note_sign_in(account, caller.address, now)
        return self._sessions.begin(account.name, caller.address, _agent(arguments), now)

    # --- sessions

    async def _show(self, _: Arguments, caller: Caller) -> Any:
        """Tell who a credential is."""
        if not caller.name:
            raise SignedOut("nobody has signed in")
        session = self._sessions.get(caller.session) if caller.session else None
        account = self._accounts.book.get(caller.name) if session is not None else None
        return {
            "name": caller.name,
            "role": account.role if account is not None else "",
            "rights": sorted(caller.rights),
            "domains": list(caller.domains),
            "csrf": session.csrf if session is not None else "",
        }

    async def _list(self, _: Arguments, caller: Caller) -> Any:
        return [
            {
                "id": one.id,
                "address": one.address,
                "agent": one.agent,
                "made": one.made,
                "used": one.used,
                "this": one.id == caller.session,
            }
            for one in self._sessions.of(caller.name, self._clock())
        ]

    async def _end(self, arguments: Arguments, caller: Caller) -> Any:
        """End this session, the one named by `id`, or with `others` all but this one."""
        if arguments.get("others"):
            return self._sessions.end(caller.name, but=caller.session)
        return self._sessions.end(caller.name, only=str(arguments.get("id") or caller.session or "-"))

    def _note(self, caller: Caller, call: str, name: str, outcome: str) -> None:
        who = msgspec.structs.replace(caller, name=name if not outcome else "")
        self._audit.write(who, call, {"name": name[:_ADDRESS_LIMIT]}, outcome)


def _agent(arguments: Arguments) -> str:
    return str(arguments.get("agent", ""))
