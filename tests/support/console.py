"""The console without processes and sockets: the real application, the real desk, accounts and audit log, one event
loop, and a browser that keeps cookies and sends what browsers send. One house at a time.
"""

import asyncio
import functools
import re
import urllib.parse
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import argon2
import msgspec

from gatepost.config.default import build_default_config
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.console.api.rates import Rates
from gatepost.console.app import build_app
from gatepost.console.events import Listeners
from gatepost.console.gateway import Gateway
from gatepost.console.security import Shield
from gatepost.console.settings import Settings
from gatepost.control.desk import Desk
from gatepost.control.link import LinkCall, result_of
from gatepost.control.rights import Role, local_caller
from gatepost.control.socket import Request
from gatepost.master.front import Front
from gatepost.master.paths import Paths

PASSWORD = "correct horse battery"
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Answer:
    """What a browser got."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {name.decode().lower(): value.decode() for name, value in headers}
        self.set_cookies = [value.decode() for name, value in headers if name.lower() == b"set-cookie"]
        self.body = body
        self.text = body.decode("utf-8", "replace")

    @property
    def location(self) -> str:
        return self.headers.get("location", "")


class House:
    """A gateway as far as the console sees it."""

    def __init__(self, state: Path) -> None:
        """Inside a running loop."""
        state.mkdir(parents=True, exist_ok=True)
        file = state / "gatepost.toml"
        if not file.exists():
            file.write_text(
                build_default_config(
                    state_path=str(state),
                    hostname="gw.example.org",
                    listen="127.0.0.1:2525",
                    next_hop="[127.0.0.1:2526]",
                    protected_domains=("example.org",),
                    log_filename=str(state / "log"),
                )
            )
        config = load(file).config
        assert isinstance(config, Config)
        self.config = config
        self.state = state
        self.said: list[tuple[str, str]] = []
        self.desk = Desk()
        self.front = Front(Paths(str(state)), config, self.desk, lambda level, text: self.said.append((level, text)))
        self.app: Any = _enter_app(self)

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
        """Be the link."""
        call = LinkCall(1, name, arguments, credential, address, via, key)
        answer = result_of(await self.front.console.answer(call))
        return msgspec.json.decode(msgspec.json.encode(answer))  # it goes over the link as JSON

    async def ask(self, name: str, /, **arguments: Any) -> Any:
        """Call as the command line does."""
        return await self.desk.handle(Request(name, arguments), local_caller("root"))

    async def add(self, name: str, role: Role = Role.ADMIN, domains: str = "") -> None:
        await self.ask("accounts.add", name=name, role=role.value, domains=domains, password=PASSWORD)

    def browser(self, **given: Any) -> "Browser":
        return Browser(self.app, **given)

    async def signed_in(self, name: str, role: Role = Role.ADMIN, domains: str = "", **given: Any) -> "Browser":
        """A browser of a new account."""
        await self.add(name, role, domains)
        browser = self.browser(**given)
        answer = await browser.sign_in(name)
        assert answer.status == 303, answer.text
        return browser


class _KnownRates(Rates):
    """Who asked how often, which is forgotten for the next house."""

    known: ClassVar[list[Rates]] = []

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.known.append(self)


@functools.cache
def _build_app() -> Shield:
    """Build the application all houses share, one after the other: made anew it would be most of a test's time."""
    with mock.patch("gatepost.console.api.routes.Rates", _KnownRates):
        return build_app(Gateway(mock.Mock()), Settings(host_names=("gw.example.org",)))


def _enter_app(house: House) -> Shield:
    """Return the application, with this house behind it and no memory of another."""
    shield = _build_app()
    shield.app.state.gateway = Gateway(house)
    shield.app.state.listeners = Listeners()
    for rates in _KnownRates.known:
        rates._buckets.clear()
    return shield


class Browser:
    """One browser: its cookies, and the fields of its requests."""

    def __init__(self, app: Any, *, host: str = "localhost", scheme: str = "http", address: str = "127.0.0.1") -> None:
        self._app = app
        self.host = host
        self.scheme = scheme
        self.address = address
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, headers=headers)

    async def post(self, path: str, data: dict[str, Any] | None = None, **headers: str) -> Answer:
        """Send a form as a page of the site does; without the token of the session."""
        body = urllib.parse.urlencode(data or {}, doseq=True).encode()
        sent = {
            "content-type": "application/x-www-form-urlencoded",
            "origin": self.origin,
            "sec-fetch-site": "same-origin",
            **headers,
        }
        return await self.request("POST", path, body=body, headers=sent)

    async def submit(self, path: str, data: dict[str, Any] | None = None, **headers: str) -> Answer:
        """Send a form with the session's token, as it stands on the account's page."""
        return await self.post(path, {**(data or {}), "csrf": await self.csrf()}, **headers)

    async def csrf(self) -> str:
        found = _CSRF.search((await self.get("/account")).text)
        assert found, "no token on the page: not signed in?"
        return found.group(1)

    async def sign_in(self, name: str, password: str = PASSWORD, **data: str) -> Answer:
        return await self.post("/sign-in", {"name": name, "password": password, **data})

    async def request(
        self, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        path, _, query = path.partition("?")
        fields = {"host": self.host, "content-length": str(len(body)), **self.headers, **(headers or {})}
        if self.cookies:
            fields["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": urllib.parse.unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in fields.items()],
            "client": (self.address, 40000),
            "server": ("127.0.0.1", 8025),
            "scheme": self.scheme,
            "root_path": "",
            "state": {},
        }
        sent: list[Any] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if waiting:
                return waiting.pop()
            await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        answer = Answer(sent[0]["status"], sent[0]["headers"], b"".join(m.get("body", b"") for m in sent[1:]))
        for line in answer.set_cookies:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer


def in_house(state: Path, work: Callable[[House], Awaitable[None]]) -> None:
    """Run a scene in a house of its own."""

    async def scene() -> None:
        house = House(state)
        try:
            await work(house)
        finally:
            house.front.close()

    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with mock.patch("gatepost.master.passwords.hasher", return_value=cheap):
        asyncio.run(scene())
