"""One inspection without a gateway: a filter template of its own, one filter, the configuration's engines.

Used by `gatepost policy explain` and `gatepost spam explain`. The same walls stand around the filter as in a running
gateway; databases are checked in the same way. Nothing is written outside a temporary directory, and nothing is left
behind.
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
from gatepost.feeds.pinned import SpamBases
from gatepost.feeds.rule_samples import lay_aside
from gatepost.filter.pool import FilterPool
from gatepost.filter.questions import Services
from gatepost.filter.settings import FilterSettings
from gatepost.master.bases import Databases, open_bases
from gatepost.master.learning import WEIGHTS_FILE
from gatepost.master.paths import Paths
from gatepost.model.finding import Analysis, ScanOptions
from gatepost.relay.disposal import Partition
from gatepost.relay.engine_connections import EngineConnections
from gatepost.relay.filters import filter_settings
from gatepost.relay.lookups.service import NetworkService
from gatepost.resolver.resolver import Resolver
from gatepost.spool.interface import Stored

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


class Setting(msgspec.Struct, frozen=True):
    """How a message would have come."""

    stored: Stored
    partition: Partition
    network: bool = False
    """The network checks are asked, too."""


def inspect_alone(
    config: Config, content: bytes, options: ScanOptions, setting: Setting | None = None, *, free: bool = False
) -> Analysis:
    """Return what a filter says of a message, and the network checks where `setting` wants them. `free`: only those
    content checks look at it that need no databases. TrialError, or what the pool and the databases raise.
    """
    with tempfile.TemporaryDirectory(prefix="gatepost-") as directory:
        scratch = Path(directory)
        bases = choose_bases(config, scratch)
        settings = msgspec.structs.replace(
            filter_settings(config, 1),
            minimum=1,
            spare=1,
            antispam=options.spam is not None,
            bases=bases.antivirus,
            spam_bases=SpamBases() if free else bases.spam,
            bases_cache=directory,
            learned=str(Paths(config.relay.state_path).learned / WEIGHTS_FILE),
        )
        socket = scratch / "filters.sock"
        with running_template(settings, socket):
            return asyncio.run(_inspect(config, settings, socket, content, options, setting))


@contextlib.contextmanager
def running_template(settings: FilterSettings, socket: Path) -> Iterator[None]:
    """Run a template of filters while the context lasts. TrialError."""
    command = [sys.executable, "-m", "gatepost.filter.template", "--socket", str(socket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - ourselves
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            told = msgspec.structs.replace(settings, spam_bases=lay_aside(settings.spam_bases, socket.parent))
            process.stdin.write(msgspec.json.encode(told) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline().decode("utf-8", "replace").strip()
            if line != "ready":
                raise TrialError(f"the filters' template did not start{f': {line}' if line else ''}")
            yield
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def _inspect(
    config: Config,
    settings: FilterSettings,
    socket: Path,
    content: bytes,
    options: ScanOptions,
    setting: Setting | None,
) -> Analysis:
    loop = asyncio.get_running_loop()
    commands = str(Paths(config.relay.state_path).commands)
    connections = EngineConnections(loop, lambda *_: None, commands, lambda: None)
    connections.configure(config.engines, 1)
    pool = FilterPool(settings, socket, loop, Services(connections=connections))
    pool.start()
    try:
        if setting is None:
            return await pool.inspect("policy-trial", content, len(content), options)
        checks = NetworkService(Resolver(config), loop.time, lambda *_: None)
        checks.configure(_without_state(config, network=setting.network))
        try:
            ongoing = checks.begin(setting.stored, setting.partition) if setting.network else None
            options = checks.describe(options, setting.stored)
            analysis = await pool.inspect("policy-trial", content, len(content), options)
            if ongoing is not None:
                analysis = msgspec.structs.replace(analysis, network=await ongoing.finish(analysis.spam))
                ongoing.cancel()
            return analysis
        finally:
            await checks.close()
    finally:
        await pool.close()
        connections.close()


def _without_state(config: Config, *, network: bool) -> Config:
    """Return the configuration for checks that write nothing: what was learned of senders belongs to the relays."""
    asks_uds = network and config.antispam.filter_uds_enabled
    antispam = msgspec.structs.replace(config.antispam, reputation=False, filter_uds_enabled=asks_uds)
    return msgspec.structs.replace(config, antispam=antispam)
