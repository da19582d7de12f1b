"""The console's application around a scripted gateway: pages without processes, sockets or mail.

`ScriptedGateway` answers calls by a table and keeps what was asked; `visit` asks the application as a browser does.
"""

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import httpx

from gatepost.console.app import build_app
from gatepost.console.gateway import Gateway
from gatepost.console.security import Shield
from gatepost.console.settings import Settings
from gatepost.control.link import SignedOut
from gatepost.control.rights import RIGHTS_OF, Right, Role
from gatepost.control.socket import ControlError

ADDRESS = "http://127.0.0.1"
CSRF = "token-of-this-session"
Answers = Mapping[str, Any]


class ScriptedGateway:
    """Answers calls: a value, an exception to be raised, or a function of the call's arguments."""

    def __init__(
        self, answers: Answers, rights: Iterable[Right] = RIGHTS_OF[Role.ADMIN], domains: tuple[str, ...] = ()
    ) -> None:
        self.answers = dict(answers)
        self.rights = frozenset(rights)
        self.domains = domains
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        credential: str = "",
        address: str = "",
        via: str = "console",
        key: str = "",
    ) -> Any:
        if name == "session.show":
            if not credential:
                raise SignedOut
            return {
                "name": "ann",
                "role": "admin",
                "rights": sorted(self.rights),
                "domains": list(self.domains),
                "csrf": CSRF,
            }
        self.asked.append((name, arguments))
        if name not in self.answers:
            raise ControlError(f"unknown call {name!r}")
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer(arguments) if isinstance(answer, Callable) else answer  # type: ignore[arg-type]


class _Relay:
    """The link of the one application all visits share: made anew for each it would be most of a test's time."""

    def __init__(self) -> None:
        self.gateway: ScriptedGateway | None = None

    async def call(self, name: str, arguments: dict[str, Any], **about: str) -> Any:
        assert self.gateway is not None
        return await self.gateway.call(name, arguments, **about)


_relay = _Relay()


@functools.cache
def _app() -> Shield:
    return build_app(Gateway(_relay), Settings())


def visit(
    gateway: ScriptedGateway,
    path: str,
    *,
    data: Mapping[str, str | Sequence[str]] | None = None,
    fragment: bool = False,
    cookies: Mapping[str, str] | None = None,
    signed_in: bool = True,
) -> httpx.Response:
    """Ask for a page (or send a form: `data`, to which the session's token is added) and return the answer."""
    headers = {"Origin": ADDRESS} if data is not None else {}
    if fragment:
        headers |= {"HX-Request": "true", "HX-Request-Type": "partial"}
    jar = {**({"gatepost": "credential"} if signed_in else {}), **(cookies or {})}

    async def ask() -> httpx.Response:
        _relay.gateway = gateway
        transport = httpx.ASGITransport(app=_app())  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, cookies=jar) as client:
            if data is None:
                return await client.get(path, headers=headers)
            return await client.post(path, data={"csrf": CSRF, **data}, headers=headers)

    return asyncio.run(ask())
