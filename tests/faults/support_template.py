"""A real template process without a gateway around it, and a pool for the length of a scenario."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop

from gatepost.filter.pool import FilterPool
from gatepost.filter.settings import FilterSettings


class Template:
    """A template process under test; modules beside this one can be its engines."""

    def __init__(self, path: Path, settings: FilterSettings) -> None:
        self.path = path
        places = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gatepost.filter.template", "--socket", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(settings) + b"\n")
        self.process.stdin.flush()
        self.ready = self.process.stdout.readline() == b"ready\n"

    def end(self) -> None:
        """Take the master's line away."""
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        self.process.wait(20)


def run(template: Template, chosen: FilterSettings, scenario: Callable[[FilterPool], Awaitable[None]]) -> None:
    async def main() -> None:
        pool = FilterPool(chosen, template.path, asyncio.get_running_loop())
        pool.start()
        try:
            await asyncio.wait_for(scenario(pool), 90)
        finally:
            await pool.close()

    uvloop.run(main())
