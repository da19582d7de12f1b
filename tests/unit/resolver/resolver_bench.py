"""A resolver of the product against the stub server, on a clock that tests step."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop
from tests.support.dns import StubDns
from tests.support.waiting import WAIT_S

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.resolver.resolver import Resolver

T = TypeVar("T")

TIMEOUT_S = 15
"""For an answer that comes, on a machine that others share."""
LEAST_TIMEOUT_S = 1
"""That can be configured: for an answer that never comes."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """`run(scenario)` calls `scenario(resolver)` in an event loop of its own and closes the resolver behind it."""

    def __init__(self, dns: StubDns) -> None:
        self.dns = dns
        self.clock = Clock()
        self.config = build_config(name_servers=[dns.address], io_network_timeout=TIMEOUT_S)
        self.more: dict[str, Any] = {}

    def run(self, scenario: Callable[[Resolver], Coroutine[Any, Any, T]]) -> T:
        async def whole() -> T:
            resolver = Resolver(self.config, clock=self.clock, **self.more)
            try:
                return await asyncio.wait_for(scenario(resolver), WAIT_S)
            finally:
                await resolver.close()

        return uvloop.run(whole())


def build_config(**resolve: object) -> Config:
    rows = "\n".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else value!r}" for name, value in resolve.items()
    )
    text = f'[network]\nhostname = "mx.test"\nlisten_on = ["127.0.0.1:2525"]\n[resolve]\n{rows}\n'
    loaded = load_text(text, "/nowhere/gatepost.toml")
    assert loaded.config is not None, loaded.problems
    return loaded.config
