"""The quarantine of recipients, put together: their desk, their pages' process, digests and links.

Made by `master.process`. Their calls are at a desk of their own, and the process of their pages is linked to that one
alone: whoever takes it over can do no more than the recipients who are there just then, and nothing of what accounts
do. Nothing is opened or started before the configuration asks for it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import apsw

from gatepost.config.schema import Config
from gatepost.config.user_pages import link_base
from gatepost.control.desk import Arguments, Desk
from gatepost.control.link import LinkCall, SignedOut
from gatepost.control.rights import Caller, Right
from gatepost.control.sessions import Sessions
from gatepost.control.socket import ControlError
from gatepost.master.background import Background
from gatepost.master.children import Child
from gatepost.master.console import ConsoleHost, Pages
from gatepost.master.digest_state import DigestState
from gatepost.master.digests import Announce, Digests, Say
from gatepost.master.link_requests import LinkRequests
from gatepost.master.paths import Paths
from gatepost.master.relays import Relays
from gatepost.master.releasing import release_items
from gatepost.master.user_desk import VIA, Content, UserDesk


def _host_names(config: Config) -> tuple[str, ...]:
    host = link_base(config).partition("://")[2]
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return (name, config.network.hostname)


PATIENCE_S: Final = 20.0
"""A call that sends digests answers after so long at the latest: below what callers wait (`control.socket`)."""
PAGES: Final = Pages(
    "user_quarantine",
    "gatepost.console.user_quarantine.process",
    VIA,
    lambda config: config.user_quarantine,
    _host_names,
)


class UserFront:
    """All of it."""

    def __init__(
        self,
        paths: Paths,
        desk: Desk,
        relays: Relays,
        content: Content,
        config: Callable[[], Config],
        announce: Announce,
        background: Background,
        say: Say,
    ) -> None:
        """`desk` is the one of all other calls; `announce` has a relay send a mail; `say(level, text)` logs."""
        self._directory = paths.user_quarantine
        self._desk = desk
        self._relays = relays
        self._content = content
        self._config = config
        self._announce = announce
        self._background = background
        self._say = say
        self._own_desk = Desk(desk.audit)
        self._calls: UserDesk | None = None
        self._digests: Digests | None = None
        self._requests: LinkRequests | None = None
        self._state: DigestState | None = None
        self._sending: asyncio.Task[int] | None = None
        self.trouble = ""
        """Why there are no pages though there should be."""
        self.pages = ConsoleHost(self._own_desk, self._caller_of, say, PAGES)
        self.pages.register(desk)
        desk.add("digests.send", Right.SERVICE, self._send, audited=True)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What an administrator should know."""
        return (*self.pages.troubles, *((self.trouble,) if self.trouble else ()))

    def open(self, config: Config) -> None:
        """Have the pages as configured, at the start and after a reload."""
        own = config.user_quarantine
        if own.enabled and self._state is None:
            try:
                self._begin(config)
            except (OSError, apsw.Error, ValueError) as error:
                if not self.trouble:
                    self._say("E", f"user_quarantine: {self._directory} cannot be used: {error}; there are no pages")
                self.trouble = f"user_quarantine: {self._directory} cannot be used: {error}"
                return
        self.trouble = ""
        if self._state is not None:
            self.pages.configure(config)

    def close(self) -> list[Child]:
        """End the pages; return the processes to wait for."""
        if self._sending is not None:
            self._sending.cancel()
        if self._requests is not None:
            self._requests.close()
        if self._state is not None:
            self._state.close()
        return self.pages.dismiss()

    def _begin(self, config: Config) -> None:
        own = config.user_quarantine
        state = DigestState(self._directory)
        state.turn(time.time(), own.link_time)
        self._state = state
        self._requests = LinkRequests(state, self._config, self._announce, self._say)
        self._digests = Digests(state, self._config, self._announce, self._say)
        self._calls = UserDesk(
            state=state,
            config=self._config,
            sessions=Sessions(own.session_time, own.session_time),
            desk=self._own_desk,
            accounts_desk=self._desk,
            release=lambda order: release_items(self._relays, order, self._say),
            content=self._content,
            asked=self._requests,
        )
        self._background.keep("sending digests", self._digests.watch)

    def _caller_of(self, call: LinkCall) -> Caller:
        if self._calls is None:
            raise SignedOut("there are no such pages")
        return self._calls.caller_of(call)

    async def _send(self, arguments: Arguments, _: Caller) -> dict[str, Any]:
        """Send digests now (`Digests.send_now`: `group`, `days`); `under_way` when it takes long."""
        if self._digests is None:
            raise ControlError("there are no pages for recipients: user_quarantine.enabled is off")
        if self._sending is not None and not self._sending.done():
            raise ControlError("digests are being sent just now")
        group, days = str(arguments.get("group", "")), int(arguments.get("days", 0))
        self._sending = asyncio.create_task(self._digests.send_now(group=group, days=days))
        self._sending.add_done_callback(self._tell_failure)
        await asyncio.wait((self._sending,), timeout=PATIENCE_S)
        done = self._sending.done()
        return {"sent": self._sending.result() if done else 0, "under_way": not done}

    def _tell_failure(self, sending: "asyncio.Task[int]") -> None:
        if not sending.cancelled() and (error := sending.exception()) is not None:
            self._say("W", f"digests: {error}")
