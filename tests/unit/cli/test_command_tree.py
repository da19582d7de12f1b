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
ASKING = (
    "account forget-second", "account remove", "archive", "archive delete", "archive prune", "archive release",
    "archive resend", "backup", "backup delete", "backup prune", "backup release", "backup resend", "client setup",
    "client undo", "config rollback", "config set", "config unset", "licence remove", "lists import", "migrate",
    "migrate from", "password remove", "policy delete", "quarantine delete", "quarantine prune", "quarantine release",
    "quarantine resend", "queue", "queue bounce", "queue flush", "queue hold", "queue release", "queue remove",
    "queue repair", "queue reroute", "queue rescan", "queue retry", "queue scan-first", "queue send-first", "restore",
    "setup", "spam image remove", "spam model import", "spam model merge", "spam model reset", "spam sample remove",
    "spam undo", "update rollback",
)  # fmt: skip
"""What destroys, what acts on much at once, and what goes out to others: asks, or can be tried dry."""
LOOKING = (
    "account list", "archive list", "archive search", "archive show", "audit", "audit verify", "backup list",
    "backup search", "backup show", "backup verify", "bases show", "bases verify", "bypass list", "bypass status",
    "client status", "client test", "config check", "config explain", "config history", "config show", "doctor",
    "feed stats", "licence show", "licence verify", "lists export", "lists show", "policy explain", "policy show",
    "quarantine list", "quarantine search", "quarantine show", "queue list", "queue show", "rescan", "rules check",
    "rules explain", "rules test", "shadow", "spam evaluate", "spam explain", "spam image list", "spam recent",
    "spam sample list", "spam status", "spam terms check", "spam test", "stats", "status", "template check", "top",
    "trace", "uds status", "uds test", "update schedule show", "update status",
)  # fmt: skip
"""What changes nothing: can be read by machines."""
CHANGING = {
    "does nothing without its minutes and its reason, ends by itself, and `off` ends it at once": (
        "bypass on", "bypass off",
    ),
    "entries are named one by one, and what became of each is printed: the opposite command takes it back": (
        "lists add", "lists remove",
    ),
    "the messages are named, and are still there: the opposite command takes it back": ("spam learn", "spam forget"),
    "the messages are named; `--withdraw` takes it back": ("uds report",),
}  # fmt: skip
"""Commands that change something, print for machines, and do not ask; and why that is right."""
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
    """Also one that has `--json`: what it does to others is not told by that."""
    reasoned = (name for table in (CHANGING, NEITHER) for names in table.values() for name in names)
    assert len(COMMANDS) > 150
    assert sorted(COMMANDS) == sorted((*ASKING, *LOOKING, *reasoned))


def test_each_command_has_what_its_place_promises() -> None:
    changing = [name for names in CHANGING.values() for name in names]
    neither = [name for names in NEITHER.values() for name in names]
    assert [name for name in ASKING if not COMMANDS[name] & ASKS_OR_TRIES] == []
    assert [name for name in (*LOOKING, *changing) if not COMMANDS[name] & FOR_MACHINES] == []
    assert [name for name in (*LOOKING, *changing, *neither) if COMMANDS[name] & ASKS_OR_TRIES] == []
    assert [name for name in neither if COMMANDS[name] & FOR_MACHINES] == []


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
