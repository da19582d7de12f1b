"""The network check UDS: asks the urgent detection service for a message's fingerprints (F-AS-19, F-AS-20).

Made by `build_uds` for a configuration; None when it is switched off, as it is until somebody consents: then there is
no socket, no timer and no datagram.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from gatepost.antispam.urgent import weigh_answer
from gatepost.config.external import read_text
from gatepost.config.items import is_host_and_port
from gatepost.config.schema import Config
from gatepost.control.faults import describe_fault
from gatepost.model.spam import Fingerprint, Method, SpamFacts
from gatepost.relay.lookups.base import EnvelopeFacts, NetworkNotes, Query
from gatepost.relay.lookups.uds_client import UdsClient, UdsSettings
from gatepost.relay.tasks import Tasks
from gatepost.wire.uds import VALUE_BYTES, VALUES_LIMIT, KeysError, Report, parse_keys, usable_values

MARGIN_S: Final = 0.05
"""Kept of the deadline, so that "no server answered" is told by us and not by being cancelled."""
REPORTS_AN_HOUR: Final = 300
"""Of certain spam, by one relay."""
_HOUR_S: Final = 3600.0


class UdsConfigError(ValueError):
    """UDS cannot be used as it is configured; the text says why."""


def resolve_settings(config: Config) -> UdsSettings:
    """Return the client's settings, whether UDS is switched on or not. UdsConfigError."""
    uds = config.uds
    servers = list(uds.server)
    if config.antispam.filter_uds_cfg_file:
        servers += _read_servers(config.antispam.filter_uds_cfg_file)
    if not servers:
        raise UdsConfigError("[uds] server names no server")
    for server in servers:
        if not is_host_and_port(server):
            raise UdsConfigError(f"[uds] server: {server!r} is not host:port")
    if not uds.key_file:
        raise UdsConfigError("[uds] key_file is not set")
    try:
        keys = parse_keys(read_text(uds.key_file))
    except OSError as error:
        raise UdsConfigError(f"{uds.key_file}: {error.strerror or error}") from error
    except KeysError as error:
        raise UdsConfigError(f"{uds.key_file}: {error}") from error
    if len(keys) != 1:
        raise UdsConfigError(f"{uds.key_file}: {len(keys)} keys; wanted is one, our own")
    return UdsSettings(tuple(servers), keys[0], config.antispam.filter_uds_timeout, uds.rtt_interval, uds.reporters)


def _read_servers(path: str) -> list[str]:
    """Return the servers of the documented file: host:port a line, `#` starts a comment."""
    try:
        lines = read_text(str(Path(path))).splitlines()
    except OSError as error:
        raise UdsConfigError(f"{path}: {error.strerror or error}") from error
    return [word for line in lines if (word := line.partition("#")[0].strip())]


def build_uds(config: Config, report: Callable[[str, str], None], before: "UdsLookup | None") -> "UdsLookup | None":
    """Return the check, at work; None when it is switched off, or cannot work: the log says why.

    `report(level, text)` writes to the log. `before`: the check of the configuration before; it goes on when nothing
    has changed for it, else it ends. Needs a running event loop.
    """
    settings = None
    if config.antispam.filter_uds_enabled:
        try:
            settings = resolve_settings(config)
        except UdsConfigError as error:
            report("E", f"UDS is switched on and cannot be used: {error}")
    if before is not None:
        if before.settings == settings:
            return before
        before.close()
    if settings is None:
        return None
    client = UdsClient(settings, report)
    client.start()
    return UdsLookup(client, report)


class UdsLookup:
    """The check. One for all messages of a relay."""

    name = "UDS"
    methods = frozenset({Method.UDS})

    def __init__(self, client: UdsClient, report: Callable[[str, str], None]) -> None:
        """`report(level, text)` writes to the log."""
        self._client = client
        self._report = report
        self._tasks = Tasks(self._broken)
        self._told: deque[float] = deque()
        """When the reports of the last hour were made."""

    @property
    def settings(self) -> UdsSettings:
        """What it works with."""
        return self._client.settings

    def begin(self, facts: EnvelopeFacts) -> Query | None:
        """There is nothing to ask before the content has been looked at."""
        _ = facts
        return _UdsQuery(self._client)

    def tell_spam(self, fingerprints: Sequence[Fingerprint]) -> None:
        """Report a message's fingerprints as spam, beside everything else; what goes wrong is told in the log. Beyond
        `REPORTS_AN_HOUR` nothing is reported: something is wrong with what seems so certain.
        """
        now = asyncio.get_running_loop().time()
        while self._told and self._told[0] <= now - _HOUR_S:
            self._told.popleft()
        if not fingerprints or len(self._told) >= REPORTS_AN_HOUR:
            return
        self._told.append(now)
        self._tasks.spawn(self._tell([each.value[:VALUE_BYTES] for each in fingerprints[:VALUES_LIMIT]]))

    async def tell(self, fingerprints: Sequence[Fingerprint], report: Report) -> dict[str, str]:
        """Report a message's fingerprints for an operator; return what is wrong by server, "" for nothing."""
        return await self._client.tell(usable_values([each.value for each in fingerprints]), report)

    async def _tell(self, values: Sequence[bytes]) -> None:
        troubles = await self._client.tell(values, Report.SPAM)
        for server, trouble in troubles.items():
            if trouble:
                self._report("W", f"UDS server {server} did not take a report of certain spam: {trouble}")

    def _broken(self, error: BaseException) -> None:
        self._report("E", f"UDS: internal error in a report: {describe_fault(error)}")

    def status(self) -> dict[str, object]:
        """Return what `gatepost status` shows."""
        return self._client.status()

    def close(self) -> None:
        """End: nothing more is sent."""
        self._client.close()


class _UdsQuery:
    """One message."""

    def __init__(self, client: UdsClient) -> None:
        self._client = client

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> Awaitable[None] | None:
        if not spam.fingerprints:
            return None
        if not self._client.servers.order():
            self._client.failed += 1
            notes.trouble("UDS: no server answers at the moment")
            return None
        return self._ask(spam, notes, deadline)

    async def _ask(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> None:
        fingerprints = spam.fingerprints[:VALUES_LIMIT]
        values = [each.value[:VALUE_BYTES] for each in fingerprints]
        answer = await self._client.ask(values, deadline - MARGIN_S)
        if answer is None:
            notes.trouble("UDS: no server answered in time")
            return
        found = weigh_answer(fingerprints, answer.known, self._client.settings.reporters)
        notes.uds = found.known_as
        if found.sign is not None:
            self._client.known += found.known_as == "spam"
            sign = found.sign
            notes.sign(sign.method, sign.name, sign.evidence, sign.weight, sign.detail)

    def cancel(self) -> None:
        """Nothing is under way but what the caller awaits."""
