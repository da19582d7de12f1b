"""A real template process without a gateway around it, and a pool for the length of a scenario."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop
from tests.support.nursery import launch

from gatepost.filter.pool import FilterPool
from gatepost.filter.settings import FilterSettings


class Template:
    """A template process under test; modules beside this one can be its engines."""

    def __init__(self, path: Path, settings: FilterSettings) -> None:
        self.path = path
        ends = [os.pipe() for _ in range(3)]
        (stdin, to_it), (from_it, stdout), (errors, stderr) = ends
        self.stdin, self.stdout, self.stderr = os.fdopen(to_it, "wb"), os.fdopen(from_it, "rb"), os.fdopen(errors, "rb")
        self.process = launch(
            "--socket", str(path), module="gatepost.filter.template", path=(str(Path(__file__).parent),),
            env=os.environ, stdin=stdin, stdout=stdout, stderr=stderr,
        )  # fmt: skip
        for theirs in (stdin, stdout, stderr):
            os.close(theirs)
        self.stdin.write(msgspec.json.encode(settings) + b"\n")
        self.stdin.flush()
        self.ready = self.stdout.readline() == b"ready\n"

    def end(self) -> None:
        """Take the master's line away."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()
        self.process.wait(120)


def run(template: Template, chosen: FilterSettings, scenario: Callable[[FilterPool], Awaitable[None]]) -> None:
    async def main() -> None:
        pool = FilterPool(chosen, template.path, asyncio.get_running_loop())
        pool.start()
        try:
            await asyncio.wait_for(scenario(pool), 90)
        finally:
            await pool.close()

    uvloop.run(main())
