"""One inspection without a gateway: a filter template of its own, one filter, the configuration's engines.

Used by `gatepost policy explain`. The same walls stand around the filter as in a running gateway; databases are checked
in the same way. Nothing is written outside a temporary directory, and nothing is left behind.
"""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatepost.config.schema import Config
from gatepost.filter.pool import FilterPool
from gatepost.filter.questions import Services
from gatepost.filter.settings import FilterSettings
from gatepost.master.bases import Databases, open_bases
from gatepost.master.paths import Paths
from gatepost.model.finding import Analysis, ScanOptions
from gatepost.relay.engine_connections import EngineConnections
from gatepost.relay.filters import filter_settings

END_TIMEOUT_S = 10.0
"""Time the template has to end once it is told to."""


class TrialError(Exception):
    """The inspection cannot be made: the text says why."""


def choose_bases(config: Config, scratch: Path) -> Databases:
    """Return the databases that the configuration's gateway would use; those of the package, laid down below
    `scratch`, when it has none yet. BasesError, BadKey, LicenceError.
    """
    path = config.path
    if not Path(path.bases_path).exists():
        path = msgspec.structs.replace(path, bases_path=str(scratch / "bases"))
    if not Path(path.as_bases_path).exists():
        path = msgspec.structs.replace(path, as_bases_path=str(scratch / "as-bases"))
    return open_bases(msgspec.structs.replace(config, path=path)).databases


def inspect_alone(config: Config, content: bytes, options: ScanOptions) -> Analysis:
    """Return what a filter says of a message. TrialError, or what the pool and the databases raise."""
    with tempfile.TemporaryDirectory(prefix="gatepost-") as directory:
        scratch = Path(directory)
        bases = choose_bases(config, scratch)
        settings = msgspec.structs.replace(
            filter_settings(config, 1, 1),
            minimum=1,
            spare=1,
            bases=bases.antivirus,
            spam_bases=bases.spam,
            bases_cache=directory,
        )
        socket = scratch / "filters.sock"
        with _template(settings, socket):
            return asyncio.run(_inspect(config, settings, socket, content, options))


@contextlib.contextmanager
def _template(settings: FilterSettings, socket: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "gatepost.filter.template", "--socket", str(socket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - ourselves
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(settings) + b"\n")
            process.stdin.flush()
            if not process.stdout.readline():
                raise TrialError("the filters' template did not start")
            yield
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def _inspect(
    config: Config, settings: FilterSettings, socket: Path, content: bytes, options: ScanOptions
) -> Analysis:
    loop = asyncio.get_running_loop()
    commands = str(Paths(config.relay.state_path).commands)
    connections = EngineConnections(loop, lambda *_: None, commands, lambda: None)
    connections.configure(config.engines, 1)
    pool = FilterPool(settings, socket, loop, Services(connections=connections))
    pool.start()
    try:
        return await pool.inspect("policy-trial", content, len(content), options)
    finally:
        await pool.close()
        connections.close()
