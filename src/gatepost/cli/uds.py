"""`gatepost uds`: the urgent detection service, its server and its client. docs/manual/uds.md tells how.

Exit codes: 0 done; 1 wrong options; 2 a file cannot be read or written; 3 the configuration does not allow it; 4 no
server answers, or not as it should.
"""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, complain, print_json
from gatepost.cli.trial import TrialError, inspect_alone
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.feeds.bases import BasesError
from gatepost.feeds.keys import BadKey
from gatepost.filter.pool import FilterFailed, FilterUnavailable
from gatepost.licence.key import LicenceError
from gatepost.model.finding import ScanOptions
from gatepost.model.spam import SpamFacts, SpamOptions
from gatepost.relay.lookups.uds import UdsConfigError, resolve_settings
from gatepost.relay.lookups.uds_client import UdsClient, UdsSettings
from gatepost.relay.lookups.uds_servers import ServerState
from gatepost.service.uds import ServeError, ServeSettings, read_status
from gatepost.service.uds import serve as serve_uds
from gatepost.wire.uds import (
    SECRET_BYTES,
    VALUE_BYTES,
    KeysError,
    Report,
    UdsKey,
    build_key_line,
    parse_keys,
    usable_values,
)

EXIT_BAD_OPTIONS = 1
EXIT_UNREADABLE = 2
EXIT_NOT_CONFIGURED = 3
EXIT_NO_ANSWER = 4

PORT = 7060
"""Where a server listens when not told otherwise."""
DAY_S = 86_400.0
KEEP_DAYS = 14
TEST_TIMEOUT_S = 10.0

app = cyclopts.App(name="uds", help="Urgent detection service: serve, ask, report.")


@app.command
def serve(
    *,
    keys: Path,
    state: Path,
    listen: Annotated[list[str] | None, cyclopts.Parameter(negative="", help="host:port; several are possible")] = None,
    keep_days: Annotated[int, cyclopts.Parameter(help="how long a report counts")] = KEEP_DAYS,
) -> int:
    """Run a UDS server in the foreground. SIGHUP reads the keys anew; SIGTERM ends it.

    Parameters
    ----------
    keys
        The clients, a line each, as `gatepost uds key` makes them.
    state
        Directory of its database and of its status socket.

    """
    places = []
    for each in listen or [f"127.0.0.1:{PORT}"]:
        host, _, port = each.rpartition(":")
        if not host or not port.isdigit():
            return complain(f"--listen: {each!r} is not host:port", EXIT_BAD_OPTIONS)
        places.append((host.strip("[]"), int(port)))
    if keep_days < 1:
        return complain("--keep-days: at least 1", EXIT_BAD_OPTIONS)
    try:
        serve_uds(ServeSettings(tuple(places), keys, state, keep_days * DAY_S), _log)
    except ServeError as error:
        return complain(str(error), EXIT_UNREADABLE)
    return 0


def _log(level: str, text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {level} {text}", file=sys.stderr, flush=True)


@app.command
def key(
    name: str,
    file: Path,
    *,
    report: Annotated[bool, cyclopts.Parameter(negative="", help="the gateway may report, not only ask")] = False,
    keys: Annotated[Path | None, cyclopts.Parameter(help="also add it to this file of a server")] = None,
) -> int:
    """Make the key of a gateway.

    Parameters
    ----------
    name
        Of the gateway, as the server shows it.
    file
        Where the key goes, readable by its owner only; must not exist. The gateway needs it as `[uds] key_file`, every
        server it asks needs the line that is in it among its keys.

    """
    line = build_key_line(UdsKey(name, secrets.token_bytes(SECRET_BYTES), report))
    try:
        before = keys.read_text() if keys is not None and keys.exists() else ""
        parse_keys(f"{before}\n{line}\n")
        _append(file, f"{line}\n", fresh=True)
        if keys is not None:
            _append(keys, f"{'' if not before or before.endswith(chr(10)) else chr(10)}{line}\n", fresh=False)
    except KeysError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}", EXIT_UNREADABLE)
    print(f'key of {name} in {file}; for the gateway:\n[uds]\nkey_file = "{file.resolve()}"')
    return 0


def _append(file: Path, text: str, *, fresh: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (os.O_EXCL if fresh else 0)
    with os.fdopen(os.open(file, flags, 0o600), "w") as stream:
        stream.write(text)


@app.command
def status(
    *,
    state: Annotated[Path | None, cyclopts.Parameter(help="state directory of a server on this host")] = None,
    as_json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Show the servers that this gateway is configured for, with their round trips; with `--state`: a server."""
    if state is not None:
        try:
            told = read_status(state)
        except OSError as error:
            return complain(f"{state}: no server answers: {error.strerror or error}", EXIT_NO_ANSWER)
        print_json(told) if as_json else print(_server_text(told), end="")
        return 0
    settings = _settings(conf_file)
    if isinstance(settings, int):
        return settings
    answers = asyncio.run(_probe(settings))
    print_json(answers) if as_json else print(_client_text(answers), end="")
    return 0 if any(each["state"] == ServerState.UP for each in answers["servers"]) else EXIT_NO_ANSWER


@app.command(name="test")
def try_servers(*, as_json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Test that UDS works: probe every server, and ask each for a fingerprint that no mail has."""
    settings = _settings(conf_file)
    if isinstance(settings, int):
        return settings
    rows = asyncio.run(_test(settings))
    if as_json:
        print_json(rows)
    else:
        for name, trouble in rows.items():
            print(f"{name}: {trouble or 'works'}")
    return EXIT_NO_ANSWER if any(rows.values()) else 0


@app.command
def report(
    files: Annotated[list[Path], cyclopts.Parameter(negative="", help="messages as files")],
    /,
    *,
    wanted: Annotated[bool, cyclopts.Parameter(negative="", help="they are no spam, whatever others say")] = False,
    withdraw: Annotated[bool, cyclopts.Parameter(negative="", help="what was reported before does not hold")] = False,
    as_json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Report the fingerprints of messages as spam to every configured server. Nothing else of them is sent."""
    if wanted and withdraw:
        return complain("--wanted and --withdraw exclude each other", EXIT_BAD_OPTIONS)
    what = Report.WANTED if wanted else Report.WITHDRAWN if withdraw else Report.SPAM
    config = _config(conf_file)
    if isinstance(config, int):
        return config
    settings = _settings(conf_file)
    if isinstance(settings, int):
        return settings
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            values = _fingerprints(config, file.read_bytes())
        except OSError as error:
            return complain(f"{file}: {error.strerror}", EXIT_UNREADABLE)
        except (TrialError, FilterFailed, FilterUnavailable, BasesError, BadKey, LicenceError) as error:
            return complain(f"{file}: the message could not be looked at: {error}", EXIT_UNREADABLE)
        told = asyncio.run(_tell(settings, values, what)) if values else {}
        rows.append({"file": str(file), "fingerprints": len(values), "servers": told})
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print(_report_text(row), end="")
    done = all(row["fingerprints"] and not any(row["servers"].values()) for row in rows)
    return 0 if done else EXIT_NO_ANSWER


def _config(conf_file: Path) -> Config | int:
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    return loaded.config


def _settings(conf_file: Path) -> UdsSettings | int:
    config = _config(conf_file)
    if isinstance(config, int):
        return config
    if not config.antispam.filter_uds_enabled:
        return complain("UDS is off: [antispam] filter_uds_enabled is false, so nothing is sent", EXIT_NOT_CONFIGURED)
    try:
        return resolve_settings(config)
    except UdsConfigError as error:
        return complain(str(error), EXIT_NOT_CONFIGURED)


def _fingerprints(config: Config, content: bytes) -> tuple[bytes, ...]:
    options = ScanOptions(scan=False, spam=SpamOptions(headers=False, content=False, images=False, uds=True))
    analysis = inspect_alone(config, content, options, free=True)
    facts = analysis.spam or SpamFacts(trouble="the filter did not look at it")
    if not facts.fingerprints and facts.trouble:
        raise TrialError(facts.trouble)
    return usable_values([each.value for each in facts.fingerprints])


def _quiet(level: str, text: str) -> None:
    """Probes of a command tell their result, not their log."""


async def _probe(settings: UdsSettings) -> dict[str, Any]:
    client = UdsClient(settings, _quiet)
    try:
        await asyncio.gather(*(client.probe(each) for each in client.servers.servers))
        return client.status()
    finally:
        client.close()


async def _test(settings: UdsSettings) -> dict[str, str]:
    return {name: await _ask_one(msgspec.structs.replace(settings, servers=(name,))) for name in settings.servers}


async def _ask_one(settings: UdsSettings) -> str:
    """Ask the only server of these settings; return what is wrong with it, "" for nothing."""
    client = UdsClient(settings, _quiet)
    try:
        deadline = asyncio.get_running_loop().time() + min(TEST_TIMEOUT_S, settings.timeout_s)
        answer = await client.ask([secrets.token_bytes(VALUE_BYTES)], deadline)
        return "" if answer is not None else client.servers.servers[0].reason or "it is over a limit"
    finally:
        client.close()


async def _tell(settings: UdsSettings, values: Sequence[bytes], what: Report) -> dict[str, str]:
    client = UdsClient(settings, _quiet)
    try:
        return await client.tell(values, what)
    finally:
        client.close()


def _client_text(told: dict[str, Any]) -> str:
    lines = []
    for each in told["servers"]:
        trip = f"{each['rtt_ms']} ms" if each["rtt_ms"] is not None else each["reason"]
        lines.append(f"{each['server']:<40}  {each['state']:<8}  {trip}\n")
    return "".join(lines)


def _server_text(told: dict[str, Any]) -> str:
    head = f"running {told['running_s']:.0f} s, {told['entries']} reports, {told['sessions']} sessions, "
    lines = [f"{head}{told['strange']} datagrams of nobody known\n"]
    for each in told["clients"]:
        last = "never" if each["last_s"] is None else f"{each['last_s']:.0f} s ago"
        lines.append(
            f"{each['name']:<30}  {'report' if each['may_report'] else 'ask':<6}  asked {each.get('ask', 0)}  "
            f"reports {each['entries']}  busy {each.get('busy', 0)}  refused {each.get('refused', 0)}  "
            f"stale {each.get('stale', 0)}  last {last}\n"
        )
    return "".join(lines)


def _report_text(row: dict[str, Any]) -> str:
    if not row["fingerprints"]:
        return f"{row['file']}: too short for a fingerprint, nothing reported\n"
    lines = [f"{row['file']}: {row['fingerprints']} fingerprints\n"]
    lines += [f"  {server}: {trouble or 'reported'}\n" for server, trouble in row["servers"].items()]
    return "".join(lines)
