"""`gatepost doctor`: what is wrong with this gateway and its host, and how to mend it; with the gateway up or down."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, print_json
from gatepost.config.load import Loaded, load
from gatepost.config.problem import Severity
from gatepost.config.schema import Config
from gatepost.control.socket import ControlError, call, listens
from gatepost.doctor.certificates import check_certificates
from gatepost.doctor.databases import judge_unusable
from gatepost.doctor.disks import check_disks
from gatepost.doctor.finding import SEVERITY, Finding, State, worst
from gatepost.doctor.learning import judge_values, judge_weights
from gatepost.doctor.licences import check_licence
from gatepost.doctor.machine import check_machine
from gatepost.doctor.names import check_names
from gatepost.doctor.ports import check_ports
from gatepost.doctor.recognition import check_recognition
from gatepost.doctor.rules import check_rules
from gatepost.doctor.updates import check_updates
from gatepost.feeds.bases import BasesError, choose_sets, list_sets
from gatepost.feeds.keys import BadKey, resolve_keys
from gatepost.feeds.manifest import Kind
from gatepost.licence.current import read_expiry
from gatepost.licence.key import LicenceError
from gatepost.master.installation import find_damage
from gatepost.master.learning import WEIGHTS_FILE
from gatepost.master.paths import Paths
from gatepost.master.settings import find_fault
from gatepost.model.foreign_text import printable
from gatepost.storage.weights_file import find_no_numbers, look_at

_MARKS: Final = {State.OK: "ok     ", State.WARNING: "WARNING", State.ERROR: "ERROR  "}
_STYLES: Final = {State.OK: "green", State.WARNING: "yellow", State.ERROR: "bold red"}


def doctor(*, json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Look at configuration, ports, DNS, certificates, disks, engines, databases, clock and queue.

    Says what is wrong and how to mend it. Codes: 0 nothing is wrong, 1 warnings, 2 errors.
    """
    findings = examine(conf_file)
    state = worst(findings)
    if json:
        print_json({"state": state, "findings": findings})
    else:
        _show(findings, state)
    return SEVERITY[state]


def examine(conf_file: Path) -> list[Finding]:
    """Return everything found, by area, the worst first in each."""
    loaded = load(conf_file)
    findings = [*_check_program(), *_check_configuration(loaded)]
    if loaded.state_path:
        answer = _ask(Paths(loaded.state_path))
        if isinstance(answer, Finding):
            findings.append(answer)
        else:
            findings += _convert(answer)
            findings.append(Finding("gateway", "gateway", State.OK, "the gateway runs"))
        if loaded.config is not None:
            findings += _check_host(loaded.config, answer if isinstance(answer, dict) else None)
    unique = {finding.key: finding for finding in findings}
    areas = list(dict.fromkeys(finding.area for finding in unique.values()))
    return sorted(unique.values(), key=lambda each: (areas.index(each.area), -SEVERITY[each.state]))


def _check_program() -> Iterable[Finding]:
    damage = find_damage()
    if damage:
        text = f"the program's files are damaged: {', '.join(damage)}"
        yield Finding("program", "program", State.ERROR, text, "install it again; find out what changed them")


def _check_configuration(loaded: Loaded) -> Iterable[Finding]:
    states = {Severity.ERROR: State.ERROR, Severity.WARNING: State.WARNING}
    for number, problem in enumerate(loaded.problems):
        state = states.get(problem.severity, State.OK)
        yield Finding(f"configuration:{number}", "configuration", state, str(problem), "gatepost config check")
    if loaded.config is None:
        return
    fault = find_fault(loaded.config)
    if fault:
        yield Finding("configuration:files", "configuration", State.ERROR, fault, "gatepost config check")
    elif not loaded.problems:
        yield Finding("configuration", "configuration", State.OK, f"configuration {loaded.file}")


def _ask(paths: Paths) -> dict[str, Any] | Finding:
    """Return what the running gateway says of itself, or that it does not run."""
    try:
        answer: dict[str, Any] = call(paths.control, "problems", now=True)
        status = call(paths.control, "status")
    except ControlError as error:
        start = "gatepost start, or systemctl start gatepost"
        if listens(paths.control):
            text, mend = f"the gateway does not answer: {error}", "gatepost restart, and look at the log"
            return Finding("gateway", "gateway", State.ERROR, text, mend)
        if paths.control.exists():
            text = "the gateway does not run, and did not stop as told: it was killed, or the power failed"
            return Finding(
                "gateway", "gateway", State.ERROR, text, f"{start}: accepted mail is in the queue; look at the log"
            )
        return Finding("gateway", "gateway", State.WARNING, "the gateway does not run", start)
    return answer | {"receiving": status["modules"]["receiver"]}


def _convert(answer: dict[str, Any]) -> list[Finding]:
    """Return the gateway's findings: what it sees now, and what it has seen twice."""
    standing = [{key: value for key, value in row.items() if key != "since"} for row in answer["problems"]]
    return msgspec.convert([*answer["findings"], *standing], list[Finding])


def _check_host(config: Config, running: dict[str, Any] | None) -> Iterable[Finding]:
    """Look at what the gateway itself does not: ports and DNS; and at everything when it does not run."""
    yield from check_ports(config, running=running is not None, receiving=bool(running and running["receiving"]))
    yield from asyncio.run(check_names(config))
    if running is None:
        now = time.time()
        yield from check_disks(config)
        yield from check_certificates(config, now)
        yield from check_updates(config, now)
        yield from check_rules(config, now)
        yield from check_recognition(config, now)
        yield from check_licence(config, now)
        yield from check_machine(config, now)
        yield from _check_bases(config)
        yield from _check_learned(Paths(config.relay.state_path).learned)


def _check_bases(config: Config) -> Iterable[Finding]:
    bases = Path(config.path.bases_path)
    if not bases.exists():
        return  # made at the first start, with those the product comes with
    try:
        choice = choose_sets(bases, resolve_keys(config.ave.trusted_keys), read_expiry(config))
    except (BasesError, LicenceError, BadKey) as error:
        mend = "put back the former set, or remove the directory: the next start makes it anew"
        yield Finding("databases", "databases", State.ERROR, f"databases cannot be used: {error}", mend)
        return
    spam_sets, spam_troubles = _choose_spam_sets(config)
    yield from judge_unusable(choice.troubles, spam_troubles, spam_sets=spam_sets)
    names = ", ".join(f"{each.facts.name} {each.facts.number} of {each.facts.issued}" for each in choice.sets)
    yield Finding("databases", "databases", State.OK, f"databases {names}")


def _check_learned(folder: Path) -> Iterable[Finding]:
    if folder.is_dir() and any(folder.iterdir()):  # else nothing was taught yet
        yield from judge_weights(folder / WEIGHTS_FILE, look_at(folder / WEIGHTS_FILE))
        yield from judge_values(folder / WEIGHTS_FILE, find_no_numbers(folder / WEIGHTS_FILE))


def _choose_spam_sets(config: Config) -> tuple[bool, Sequence[str]]:
    """Return whether any set of anti-spam can be used, and what is wrong with the others."""
    bases = Path(config.path.as_bases_path)
    if not bases.exists():
        return False, ()  # made at the first start
    try:
        if not list_sets(bases):
            return False, ()
        choice = choose_sets(bases, resolve_keys(config.ave.trusted_keys), read_expiry(config), Kind.ANTISPAM)
    except BasesError as error:
        return False, str(error).splitlines()
    return bool(choice.sets), choice.troubles


def _show(findings: list[Finding], state: State) -> None:
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for finding in findings:
        console.print(_MARKS[finding.state], style=_STYLES[finding.state], end=" ")
        console.print(f"{finding.area}: {printable(finding.text)}")
        if finding.mend:
            console.print(f"          {finding.mend}", style="dim")
    bad = [sum(each.state is kind for each in findings) for kind in (State.ERROR, State.WARNING)]
    console.print(f"{bad[0]} error(s), {bad[1]} warning(s)" if any(bad) else "nothing is wrong", style=_STYLES[state])
