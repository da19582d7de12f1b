"""`gatepost status`: whether the gateway runs, its modules and processes, what waits and what is in trouble."""

import time
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from gatepost.cli.gateway import DEFAULT_FILE, AsJson, Caller, ConfigFile, print_json
from gatepost.feeds.update_state import UpdateRun, read_run
from gatepost.model.foreign_text import printable

_HELPERS: Final = {
    "recorder": "tracking.status",
    "console": "console.status",
    "user quarantine": "user_quarantine.status",
}
"""Processes beside those that handle mail, and the calls that tell of them."""


def status(*, json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Show whether the gateway runs, its modules, processes, queue and counters. Codes: 0 it runs, 3 it does not."""
    caller = Caller(conf_file, queue_codes=True)
    answer = caller("status")
    if json:
        print_json(answer)
    else:
        helpers = {name: caller.try_(call) for name, call in _HELPERS.items()}
        shown = {name: told for name, told in helpers.items() if told and told["pid"]}
        _show(answer, shown, caller.try_("problems"), read_run(caller.paths.updater))
    return 0


def _show(answer: dict[str, Any], helpers: dict[str, Any], problems: dict[str, Any] | None, update: UpdateRun) -> None:
    console = Console(soft_wrap=True, markup=False)
    _show_service(console, answer, helpers)
    for problem in (problems or {}).get("problems", ()):
        console.print(f"{problem['state'].upper()} {printable(problem['text'])}", style="bold", highlight=False)
        console.print(f"  {printable(problem['mend'])}", highlight=False)
    modules = ", ".join(f"{name} {'on' if on else 'OFF'}" for name, on in answer["modules"].items())
    console.print(f"modules: {modules}")
    _show_databases(console, answer, update)
    _show_processes(console, answer, helpers)
    _show_relay_troubles(console, answer["relays"])
    _show_engines(console, answer["relays"])
    queue = answer["queue"]
    console.print(
        f"queue: {queue['waiting']} await inspection, {queue['ready']} await delivery, {queue['held']} held, "
        f"{queue['bytes']} bytes"
    )
    _show_troubled(console, answer["troubled"])
    for name, value in answer["counters"].items():
        console.print(f"{name}={value}", highlight=False)


def _show_service(console: Console, answer: dict[str, Any], helpers: dict[str, Any]) -> None:
    """Show what runs since when, and where it can be reached."""
    up = time.time() - answer["started_at"]
    console.print(f"gatepost {answer['version']}, pid {answer['pid']}, up {up:.0f} s, {answer['configuration']}")
    console.print(f"listening on {', '.join(answer['listeners']) or 'no port: a filtering server without a relay'}")
    for door in answer["doors"]:
        console.print(
            f"door {printable(door['name'])}: {door['kind']} at {door['address']}, {door['connections']} connections, "
            f"{door['connections_total']} in all, {door['refused']} not allowed, {door['failed']} failed",
            highlight=False,
        )
    for name, told in helpers.items():
        for address in told.get("addresses", ()):
            console.print(f"{name} at {address}", highlight=False)


def _show_databases(console: Console, answer: dict[str, Any], update: UpdateRun) -> None:
    for name, kind in (("databases", "databases"), ("spam databases", "spam_databases")):
        sets = ", ".join(f"{each['name']} {each['number']} of {each['issued']}" for each in answer[kind])
        console.print(f"{name}: {printable(sets) or 'none'}")
    if update.checked:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(update.checked))
        console.print(f"last update: {update.result}, {when}", highlight=False)


def _show_relay_troubles(console: Console, relays: list[dict[str, Any]]) -> None:
    missing = sorted({wall for relay in relays for wall in relay.get("filter_walls_missing", ())})
    if missing:
        console.print(f"filters run without: {', '.join(missing)} (the kernel lacks it)", style="bold")
    for relay in relays:
        if relay.get("error"):
            console.print(f"relay {relay['index']}: {printable(relay['error'])}", style="bold")
        if relay.get("shedding"):
            facts = ", ".join(f"{name} {value}" for name, value in relay["shedding"].items())
            console.print(f"relay {relay['index']} sheds load: {facts}", style="bold")
        for name, why in relay.get("network_checks", {}).get("lists_off", {}).items():
            console.print(f"relay {relay['index']} does not ask the DNS list {name}: {printable(why)}", style="bold")
    stores = {place: why for relay in relays for place, why in relay.get("stores", {}).items()}
    for place, why in stores.items():
        console.print(f"store {place} cannot be written, its mail waits: {printable(why)}", style="bold")


def _show_processes(console: Console, answer: dict[str, Any], helpers: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in (
        "process",
        "pid",
        "state",
        "restarts",
        "filters\nbusy/idle",
        "inspection/\ndelivery",
        "commit ms\np99/longest",
    ):
        table.add_column(heading, no_wrap=True)
    for relay in answer["relays"]:
        filters, work, commits = (relay.get(name, {}) for name in ("filters", "in_work", "commits"))
        table.add_row(
            f"relay {relay['index']}",
            str(relay["pid"]),
            "see below" if relay.get("error") and relay["state"] == "running" else relay["state"],
            str(relay["restarts"]),
            f"{filters.get('busy', 0)}/{filters.get('idle', 0)}",
            f"{work.get('inspection', 0)}/{work.get('delivery', 0)}",
            f"{commits.get('p99_ms', 0):.0f}/{commits.get('longest_ms', 0):.0f}",
        )
    template = answer["filter_template"]
    table.add_row("filter template", str(template["pid"]), template["state"], str(template["restarts"]), "", "", "")
    for name, told in helpers.items():
        table.add_row(name, str(told["pid"]), told["state"], str(told["restarts"]), "", "", "")
    console.print(table)


def _show_engines(console: Console, relays: list[dict[str, Any]]) -> None:
    """Show the engines besides the built-in one; relays see each with their own eyes."""
    rows = [(relay["index"], engine) for relay in relays for engine in relay.get("engines", ())]
    if not rows:
        return
    table = Table("engine", "relay", "state", "since", "sessions", "version or trouble")
    for index, engine in rows:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(engine["since"])) if engine["since"] else ""
        sessions = f"{engine['connections']}/{engine['allowed']}"
        if engine["waiting"]:
            sessions += f", {engine['waiting']} wait"
        told = engine["reason"] or engine["version"]
        style = None if engine["state"] == "up" else "bold"
        table.add_row(engine["name"], str(index), engine["state"], since, sessions, printable(told), style=style)
    console.print(table)


def _show_troubled(console: Console, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    table = Table("destination in trouble", "waiting", "until", "reason")
    for row in rows:
        until = "resumed" if row["paused"] else time.strftime("%H:%M:%S", time.localtime(row["rests_until"]))
        table.add_row(printable(row["domain"]), str(row["waiting"]), until, printable(row["reason"]))
    console.print(table)
