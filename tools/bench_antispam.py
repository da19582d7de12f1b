"""What `make bench ARGS=--antispam` shows: CPU time of the content checks on the benchmark's mix, check by check.

The least of several rounds for each mail, medians over the mails: neighbours on the same core make a round slower,
never faster. The time of a loop that never changes stands beside it, to compare runs on one machine.
"""

import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gatepost.antispam.authn_material import read_material
from gatepost.antispam.check import Notes
from gatepost.antispam.checks import build_checks
from gatepost.antispam.content import inspect_content
from gatepost.antispam.knowledge import load_packaged
from gatepost.antispam.spots import find_spots
from gatepost.antispam.view import MailView, build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions
from result_pages import made_at

ROUNDS = 12
LOOPS = 20_000
OPTIONS = SpamOptions(
    sender="a@b.example", recipients=("u@example.org",), client_ip="192.0.2.1", hostname="gw.example.org", now=1.7e9
)
READING: dict[str, Callable[[MailView], object]] = {
    "reading: own fields and hops": find_spots,
    "reading: parts and pages": lambda view: view.parts,
    "reading: text, folded": lambda view: (view.fold, view.subject_fold),
    "reading: links": lambda view: view.links,
}


def antispam(bench: Path, *, messages: int) -> str:
    """Measure and return the section."""
    sys.path.insert(0, str(bench))
    corpus = importlib.import_module("corpus")  # lies beside the checkout
    mails: list[bytes] = [each if isinstance(each, bytes) else each[-1] for each in corpus.load(messages)]
    checks = build_checks(load_packaged())
    steps: dict[str, Callable[[MailView, Notes], object]] = {
        **{name: _step(read) for name, read in READING.items()},
        **{check.name: check.inspect for check in checks},
        "authentication material": _step(read_material),
    }
    least: dict[str, dict[int, int]] = {name: {} for name in ("parsing", *steps, "all together")}

    def note(name: str, number: int, started: int) -> None:
        spent = time.process_time_ns() - started
        least[name][number] = min(least[name].get(number, spent), spent)

    for _ in range(ROUNDS):
        for number, mail in enumerate(mails):
            started = time.process_time_ns()
            message = parse(mail)
            note("parsing", number, started)
            view, notes = build_view(message, OPTIONS), Notes()
            for name, step in steps.items():
                started = time.process_time_ns()
                step(view, notes)
                note(name, number, started)
            started = time.process_time_ns()
            inspect_content(message, OPTIONS, checks)
            note("all together", number, started)
    lines = [
        f"`make bench ARGS='--antispam --n {messages}'`, {made_at()}, {os.cpu_count()} cores; CPU of one mail; "
        f"a loop of {LOOPS} multiplications takes {_calibrate():.0f} µs.",
        "",
        "| step | median µs | mean µs |",
        "|---|---|---|",
    ]
    for name, spent in least.items():
        values = [each / 1000 for each in spent.values()]
        lines.append(f"| {name} | {statistics.median(values):.0f} | {statistics.mean(values):.0f} |")
    return "\n".join(lines)


def _step(read: Callable[[MailView], object]) -> Callable[[MailView, Notes], object]:
    return lambda view, _: read(view)


def _calibrate() -> float:
    """Return the microseconds of a loop that tells how fast this core is now."""
    times = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        total = 0
        for number in range(LOOPS):
            total += number * number
        times.append(time.process_time_ns() - started)
    return min(times) / 1000
