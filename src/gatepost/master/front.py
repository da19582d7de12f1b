"""Where people come in: the audit log, accounts, sign-in and the console, put together.

Made by `master.process` before the control socket is open, so that no act is missing in the audit log.
"""

from collections.abc import Callable
from typing import Any

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.sessions import Sessions
from gatepost.master.accounts import AccountCalls, Accounts
from gatepost.master.auditing import Auditing
from gatepost.master.children import Child
from gatepost.master.console import ConsoleHost
from gatepost.master.own_account import OwnAccount
from gatepost.master.passwords import Passwords
from gatepost.master.paths import Paths
from gatepost.master.sign_in import SignIn
from gatepost.master.user_front import UserFront


class Front:
    """The console of a running gateway and all it needs."""

    def __init__(self, paths: Paths, config: Config, desk: Desk, say: Callable[[str, str], None]) -> None:
        """OSError when the audit log cannot be opened."""
        self._say = say
        self._auditing = Auditing(paths.audit, say)
        self._accounts = Accounts(paths.accounts, say)
        self._sessions = Sessions(config.console.idle_time, config.console.session_time)
        passwords = Passwords()
        self._sign_in = SignIn(self._accounts, self._sessions, passwords, self._auditing)
        self.console = ConsoleHost(desk, self._sign_in.caller_of, say)
        self._auditing.register(desk)
        self._sign_in.register(desk)
        AccountCalls(self._accounts, self._sessions, passwords).register(desk)
        OwnAccount(self._accounts, self._sessions, passwords).register(desk)
        self.console.register(desk)

        async def calls(_: Arguments, __: Caller) -> Any:
            return {
                name: {"right": call.right, "audited": call.audited, "scoped": call.scoped}
                for name, call in sorted(desk.calls.items())
            }

        desk.add("calls", Right.VIEW, calls)
        self.users: UserFront | None = None
        """The quarantine of recipients, once what it needs is there."""

    @property
    def helpers(self) -> dict[str, Child | None]:
        """The processes of pages, by name; None for one that is not wanted."""
        users = self.users.pages.current if self.users is not None else None
        return {"console": self.console.current, "user_quarantine": users}

    @property
    def troubles(self) -> tuple[str, ...]:
        """What an administrator should know: ports, accounts, the audit log."""
        audit = f"audit log: {self._auditing.trouble}" if self._auditing.trouble else ""
        accounts = f"accounts: {self._accounts.trouble}" if self._accounts.trouble else ""
        users = self.users.troubles if self.users is not None else ()
        return tuple(filter(None, (*self.console.troubles, accounts, audit, *users)))

    def open(self, config: Config) -> None:
        """Have the console as configured, at the start and after a reload."""
        self._sessions.idle_s, self._sessions.life_s = config.console.idle_time, config.console.session_time
        self.console.configure(config)
        if self.users is not None:
            self.users.open(config)

    def welcome(self) -> str:
        """Return what the first administrator must know, "" when there is one: it is for the terminal, not the log."""
        code = self._sign_in.first_code()
        addresses = self.console.status()["addresses"]
        if not code or not addresses:
            return ""
        self._say("W", "console: nobody has an account yet; `gatepost account first-code` shows the code to begin with")
        return f"Console: {' '.join(addresses)}\nCode for the first sign-in, within an hour: {code}"

    def close(self) -> list[Child]:
        """End the console; return the processes to wait for."""
        self._accounts.close()
        self._auditing.close()
        users = self.users.close() if self.users is not None else []
        return [*self.console.dismiss(), *users]
