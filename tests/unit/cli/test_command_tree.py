"""Every command: what destroys asks or can be tried dry, what lists can be read by machines."""

import inspect
from collections.abc import Iterator
from typing import Any

import cyclopts
import pytest
from tests.support.gateway import run_here

from gatepost.cli.main import app

ASKS_OR_TRIES = frozenset({"yes", "dry_run"})
FOR_MACHINES = frozenset({"json", "as_json"})
NEITHER = {
    "runs, switches or stops the gateway; the opposite command undoes it": (
        "start", "stop", "restart", "run", "reload", "reloadbases", "drain", "demo", "uds serve", "feed serve",
        "recv-on", "recv-off", "send-on", "send-off", "scan-on", "scan-off", "avir-on", "avir-off", "spam-on", "spam-off",
        "queue pause", "queue resume", "account disable", "account enable", "digests",
        "client milter", "client pipe", "client qmail", "client cgpro",
    ),
    "prints one thing as it is: a message, a file, a code": (
        "queue export", "quarantine export", "backup export", "archive export", "config init", "config convert",
        "template show", "template preview", "mib", "password check", "account first-code",
    ),
    "adds or replaces what is named, and no more; what it would lose it refuses, or another command takes back": (
        "config recover", "policy move", "rules import", "rules export", "spam model export", "spam sample add",
        "spam sample compile", "spam image add", "spam image compile", "bases keygen", "bases build", "uds key",
        "update", "update stop", "update mirror", "update save", "update schedule install", "update schedule uninstall",
        "feed init", "feed build", "feed publish", "feed renew", "feed keys", "licence add", "licence keygen",
        "licence issue", "account add", "account password", "account change", "account token", "password add",
        "quarantine reindex", "backup reindex", "archive reindex",
    ),
}  # fmt: skip
"""Commands that neither ask nor print for machines, and why that is right. A new one is put here, or better."""


def commands(one: Any = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each command's words and the names of its parameters."""
    for name in one:
        if name.startswith("-"):
            continue
        below: cyclopts.App = one[name]
        if below.default_command is not None:
            yield " ".join((*path, name)), frozenset(inspect.signature(below.default_command).parameters)
        yield from commands(below, (*path, name))


COMMANDS = dict(commands())


def test_each_command_has_its_place() -> None:
    plain = {name for name, parameters in COMMANDS.items() if not parameters & (ASKS_OR_TRIES | FOR_MACHINES)}
    placed = [name for names in NEITHER.values() for name in names]
    assert len(COMMANDS) > 150
    assert sorted(plain) == sorted(placed)


@pytest.mark.parametrize(
    "verb", ["remove", "delete", "rollback", "undo", "reset", "merge", "forget_second", "repair", "bounce", "release"]
)
def test_what_cannot_be_taken_back_asks(verb: str) -> None:
    found = {name for name in COMMANDS if name.split()[-1] == verb.replace("_", "-")}
    assert found
    # An entry of the lists is one line that `lists add` puts back.
    assert {name for name in found if not COMMANDS[name] & ASKS_OR_TRIES} <= {"lists remove"}


@pytest.mark.parametrize(
    "command",
    [
        "account remove anna", "account forget-second anna", "config rollback 1", "spam undo anna",
        "spam model import x", "spam model merge x", "spam model reset", "update rollback",
    ],
)  # fmt: skip
def test_nobody_to_ask_means_no(command: str) -> None:
    """As in a job of cron: before anything is read or anybody is called."""
    done = run_here(*command.split(), "-c", "/nowhere")
    assert done.returncode != 0
    assert done.stderr == "nothing done; --yes does not ask\n"
