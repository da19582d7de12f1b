"""`gatepost top`: the running gateway, watched live: rates, queue, slowest steps, busiest senders, processes.

`Sampler` asks the gateway and reads the kernel's tables; `build_view` is pure and makes rates of two samples.
"""

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import cyclopts
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gatepost.cli.gateway import DEFAULT_FILE, AsJson, Caller, ConfigFile, print_json
from gatepost.control.processes import Process, read_processes
from gatepost.model.foreign_text import printable

TOPS_EVERY_S: Final = 5.0
"""Between two looks at what has been tracked: it is counted by the minute."""
TOPS_SPAN_S: Final = 900.0
TOP_ROWS: Final = 5
SHORT_S: Final = 0.2
"""Between the two samples of `--once`."""
TABLES_ABREAST: Final = 3
_RATES: Final = {
    "received": "mta_received_messages",
    "sent": "mta_sent_messages",
    "refused": "mta_receivings_refused_total",
    "connections": "mta_incoming_connections_total",
    "received_bytes": "mta_received_bytes",
    "checked": "antiviral_checked_messages_total",
}
"""Shown name and counter."""
_TRACKED_MS: Final = {"inspection": 1.0, "delay": 1000.0}
"""Steps that are tracked, and milliseconds in their unit: the inspection, and all from acceptance to delivery."""


class Sample(msgspec.Struct, frozen=True):
    """The gateway at one moment."""

    at: float
    """Monotonic."""
    now: float
    """Unix time."""
    status: dict[str, Any]
    processes: tuple[Process, ...]
    tops: dict[str, Any]
    series: dict[str, Any]


class Sampler:
    """Takes samples of one gateway."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._tops: dict[str, Any] = {}
        self._series: dict[str, Any] = {}
        self._looked_at = float("-inf")

    def take(self) -> Sample:
        """Take one. SystemExit when the gateway does not answer."""
        status = self._caller("status")
        recorder = self._caller.try_("tracking.status") or {}
        others = [*status["relays"], status["filter_template"], recorder]
        at, now = time.monotonic(), time.time()
        if at - self._looked_at >= TOPS_EVERY_S:
            self._looked_at = at
            self._tops = self._caller.try_("tracking.counts", since=now - TOPS_SPAN_S, top=TOP_ROWS) or {}
            self._series = self._caller.try_("tracking.series", since=now - TOPS_SPAN_S) or {}
        processes = tuple(read_processes(status["pid"], [each["pid"] for each in others if each.get("pid")]))
        return Sample(at, now, status, processes, self._tops, self._series)


def build_view(before: Sample, after: Sample) -> dict[str, Any]:
    """Return what is shown: rates between two samples, and the state at the second."""
    elapsed = max(after.at - before.at, 1e-3)
    status = after.status
    old, new = before.status["counters"], status["counters"]
    cpu = {process.pid: process.cpu_s for process in before.processes}
    queue = status["queue"]
    relays = status["relays"]
    oldest = min((relay["oldest_waiting"] for relay in relays if relay.get("oldest_waiting")), default=0.0)
    return {
        "version": status["version"],
        "up_s": round(after.now - status["started_at"], 1),
        "modules": status["modules"],
        "rates": {
            name: round(max(0, new.get(counter, 0) - old.get(counter, 0)) / elapsed, 2)
            for name, counter in _RATES.items()
        },
        "queue": {**queue, "oldest_waiting_s": round(after.now - oldest, 1) if oldest else 0.0},
        "sessions": {
            "incoming": new.get("mta_incoming_connections_current", 0),
            "outgoing": new.get("mta_outgoing_connections_current", 0),
            "filters_busy": sum(relay.get("filters", {}).get("busy", 0) for relay in relays),
            "filters_idle": sum(relay.get("filters", {}).get("idle", 0) for relay in relays),
        },
        "steps": _steps(after),
        "tops": after.tops.get("tops", {}),
        "troubled": status["troubled"][:TOP_ROWS],
        "processes": [
            {
                "pid": process.pid,
                "name": process.name,
                "cpu_percent": round(100 * max(0.0, process.cpu_s - cpu.get(process.pid, process.cpu_s)) / elapsed, 1),
                "cpu_s": round(process.cpu_s, 2),
                "bytes": process.bytes,
            }
            for process in after.processes
        ],
    }


def _steps(sample: Sample) -> dict[str, float]:
    """Return how long steps take, in ms, the slowest first: commits as relays measure them, the rest as tracked."""
    steps: dict[str, float] = {}
    for relay in sample.status["relays"]:
        commits = relay.get("commits", {})
        for name in ("p50_ms", "p99_ms"):
            if name in commits:
                key = f"commit {name.removesuffix('_ms')}"
                steps[key] = max(steps.get(key, 0.0), commits[name])
    for name, values in sample.series.get("columns", {}).items():
        what, _, percentile = name.partition("_p")
        latest = next((value for value in reversed(values) if value is not None), None)
        if what in _TRACKED_MS and latest is not None:
            steps[f"{what} p{percentile}"] = round(latest * _TRACKED_MS[what], 1)
    return dict(sorted(steps.items(), key=lambda each: -each[1]))


def top(
    *,
    once: Annotated[bool, cyclopts.Parameter(negative="", help="show one view and end")] = False,
    interval: Annotated[float, cyclopts.Parameter(help="seconds between two views")] = 1.0,
    json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Watch the running gateway; `q` or Ctrl-C ends it. `--json` prints an object a view, for machines."""
    sampler = Sampler(Caller(conf_file, queue_codes=True))
    interval = max(interval, SHORT_S)
    with contextlib.suppress(KeyboardInterrupt):
        before = sampler.take()
        if once:
            time.sleep(SHORT_S)
            view = build_view(before, sampler.take())
            (print_json if json else lambda shown: Console().print(_render(shown)))(view)
            return 0
        with _keys() as pressed, _screen(json=json) as show:
            while not pressed(interval):
                after = sampler.take()
                show(build_view(before, after))
                before = after
    return 0


@contextlib.contextmanager
def _screen(*, json: bool) -> Iterator[Any]:
    """Give what shows a view."""
    if json:
        yield lambda view: print(msgspec.json.encode(view).decode(), flush=True)
        return
    with Live(screen=sys.stdout.isatty(), auto_refresh=False) as live:
        yield lambda view: live.update(_render(view), refresh=True)


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """Give what waits for a key for so many seconds, and tells whether it was `q`."""
    if not sys.stdin.isatty():

        def nobody(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield nobody
        return
    terminal = sys.stdin.fileno()
    former = termios.tcgetattr(terminal)

    def pressed(seconds: float) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([terminal], [], [], left)[0] and os.read(terminal, 1) in {b"q", b"Q", b""}:
                return True
        return False

    try:
        tty.setcbreak(terminal)
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, former)


def _render(view: Mapping[str, Any]) -> Group:
    off = [name for name, on in view["modules"].items() if not on]
    head = Text(f"gatepost {view['version']}, up {view['up_s']:.0f} s")
    if off:
        head.append(f", OFF: {', '.join(off)}", style="bold red")
    rates, queue, sessions = view["rates"], view["queue"], view["sessions"]
    facts = Table.grid(padding=(0, 3))
    facts.add_row(
        f"in {rates['received']:.1f}/s ({rates['received_bytes'] / 1e6:.2f} MB/s)",
        f"out {rates['sent']:.1f}/s",
        f"refused {rates['refused']:.1f}/s",
        f"connections {rates['connections']:.1f}/s",
    )
    facts.add_row(
        f"waiting {queue['waiting']}, oldest {queue['oldest_waiting_s']:.0f} s",
        f"ready {queue['ready']}",
        f"held {queue['held']}",
        f"sessions {sessions['incoming']} in, {sessions['outgoing']} out",
    )
    tables = [_table(title, rows) for title, rows in _tables(view)]
    columns = Table.grid(padding=(0, 4))
    for start in range(0, len(tables), TABLES_ABREAST):
        columns.add_row(*tables[start : start + TABLES_ABREAST])
    return Group(head, facts, columns, _processes(view))


def _tables(view: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    yield "slowest, ms", [(name, f"{value:.1f}") for name, value in list(view["steps"].items())[:TOP_ROWS]]
    for name in ("senders", "clients", "recipient_domains", "recipients"):
        rows = view["tops"].get(name, ())
        if rows:
            yield name.replace("_", " "), [(str(value), str(count)) for value, count in rows[:TOP_ROWS]]
    if view["troubled"]:
        yield "in trouble", [(row["domain"], str(row["waiting"])) for row in view["troubled"]]


def _table(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column(title, no_wrap=True)
    table.add_column("", justify="right", no_wrap=True, min_width=max((len(value) for _, value in rows), default=0))
    for name, value in rows:
        table.add_row(Text(printable(name), overflow="ellipsis"), value)
    return table


def _processes(view: Mapping[str, Any]) -> Table:
    table = Table("process", "pid", "CPU %", "CPU s", "MiB", box=None, padding=(0, 2), header_style="bold")
    for process in sorted(view["processes"], key=lambda each: -each["cpu_percent"]):
        table.add_row(
            printable(process["name"]),
            str(process["pid"]),
            f"{process['cpu_percent']:.1f}",
            f"{process['cpu_s']:.1f}",
            f"{process['bytes'] / 1024**2:.0f}",
        )
    return table
