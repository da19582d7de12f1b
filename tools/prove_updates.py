"""`make prove NAME=updates`: updates that are killed or broken anywhere, and a great update under load.

First, update after update from a feed of one's own: a process that is killed after a random number of lines of the
updater's code, and a server that cuts, changes or swaps a random byte of a random file. After each the set in force is
the former one or the newer one, whole to its last byte, and a sound run afterwards brings the newer one. Then a gateway
gets a set of 100,000 signatures while mail passes, and newer ones of it: how long an update takes, how long mail waits
before and during it, and how much memory the gateway has written before and after each. Pages of files are not
counted: their share depends on what else runs on the host. The result goes into docs/reliability.md.
"""

import argparse
import contextlib
import os
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.faults.test_update_faults import Host, count_lines, die_within  # noqa: E402
from tests.support.feeds import Feed, FeedHost, hash_lines, hosting  # noqa: E402
from tests.support.gateway import Gateway  # noqa: E402
from tests.support.mails import plain  # noqa: E402
from tests.support.sink import Sink  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from gatepost.feeds.updating import UpdateError  # noqa: E402
from result_pages import made_at, write_section  # noqa: E402

SIGNATURES = 100_000
SPARE = 1.2
"""Kills are spread over more lines than a run has, so that some runs come to their end."""
CHANGED = 1_000
"""Signatures that the second great update changes."""
LIMIT_S = 10.0
P99_RATIO = 2.0
MEMORY_RATIO = 1.1
UPDATES = 5
"""Great updates in a row: what stays of each would be seen in the last."""
SETTLE_S = 3.0
QUIET_S = 15.0
BACK_S = 30.0
"""Within which the memory is to be back: filters of the former template end one after the other."""
_ROW = re.compile(r"^(Pss_\w+): +(\d+) kB$", re.MULTILINE)
PACE_S = 0.02
"""Between two mails: load, and still room for a template to start in."""
SESSION = 50
"""Mails of a session, well below what a gateway allows."""


class Failed(Exception):  # noqa: N818 - the proof
    """A promise does not hold."""


def files(number: int) -> dict[str, bytes]:
    """Return a set that differs from the one before in one line of a file."""
    return {"known.hash": hash_lines(*(b"%d" % i for i in range(800)), b"%d of %d" % (number, 800))}


def check(host: Host, number: int, what: str) -> None:
    """The set in force is one of the two; a sound run brings the newer one."""
    found = host.numbers[0]
    if found not in (number - 1, number):
        raise Failed(f"{what}: set {found} is in force instead of {number - 1} or {number}")


def prove_kills(place: Path, rounds: int, dice: random.Random) -> int:
    """Return how many runs were killed before they were done."""
    feed = Feed(place / "feed")
    host = Host(place / "host", feed)
    source = f"file://{feed.place}"
    feed.publish(feed.build(1, files(1)))
    unharmed = Host(place / "unharmed", feed)
    for each in (host, unharmed):
        each.bring(source)
    killed = 0
    for number in range(2, rounds + 2):
        feed.publish(feed.build(number, files(number)))
        lines = dice.randrange(int(SPARE * count_lines(unharmed, source)))
        pid = os.fork()
        if not pid:
            die_within(lines, host, source)
        status = os.waitpid(pid, 0)[1]
        killed += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
            raise Failed(f"round {number}: the run ended with {os.WEXITSTATUS(status)}")
        check(host, number, f"round {number}")
        host.bring(source)
        if host.numbers[0] != number:
            raise Failed(f"round {number}: the run after the kill did not bring set {number}")
    return killed


def prove_bytes(place: Path, rounds: int, dice: random.Random) -> dict[str, int]:
    """Return how often each way to break a file was met, and how many runs failed for it."""
    feed = Feed(place / "feed")
    host = Host(place / "host", feed)
    feed.publish(feed.build(1, files(1)))
    counts = {"cut": 0, "changed": 0, "longer": 0, "missing": 0, "refused": 0}
    with hosting(feed.place) as server:
        host.bring(server.url)
        for number in range(2, rounds + 2):
            feed.publish(feed.build(number, files(number)))
            way = dice.choice(("cut", "changed", "longer", "missing"))
            met = _break_one(server, dice, way)
            try:
                host.bring(server.url)
            except UpdateError:
                counts["refused"] += 1
            counts[way] += bool(met)
            server.fault = lambda *_: None
            check(host, number, f"{way} {met}")
            host.bring(server.url)
            if host.numbers[0] != number:
                raise Failed(f"{way} {met}: the next run did not bring set {number}")
    return counts


def _break_one(server: FeedHost, dice: random.Random, way: str) -> list[str]:
    """Have one file of the next run come wrong, whichever that is; return where its name will be put."""
    left, met = [dice.randrange(7)], []
    share = dice.random()

    def wrong(path: str, data: bytes) -> "bytes | int | None":
        if "root.json" in path:
            return None
        left[0] -= 1
        if left[0] != -1 or not data:
            return None
        met.append(path)
        at = int(share * len(data))
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        ways: dict[str, bytes | int] = {"cut": data[:at], "changed": changed, "longer": data + b"x" * 999}
        return ways.get(way, 404)

    server.fault = wrong
    return met


class Mail:
    """Sends one mail after the other, and notes how long each took until its 250."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.took: list[tuple[float, float]] = []
        """(when it ended, how long it took)"""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._stop.is_set():
            with self._gateway.client() as client:
                for number in range(SESSION):
                    begun = time.monotonic()
                    client.sendmail("a@example.net", ["b@example.org"], plain(f"mail {number}"))
                    self.took.append((time.monotonic(), time.monotonic() - begun))
                    if self._stop.wait(PACE_S):
                        break

    def p99(self, since: float, until: float) -> float:
        """Return the 99th percentile of what ended between two moments, in seconds."""
        found = [took for at, took in self.took if since <= at <= until]
        return statistics.quantiles(found, n=100)[98]


def great(changed: int) -> bytes:
    """Return 100,000 signatures, of which some differ."""
    return hash_lines(*(b"%d %d" % (i, i < changed) for i in range(SIGNATURES)))


def measure(place: Path) -> dict[str, float]:
    """Return the figures of two great updates under load: a new set, and one that differs a little."""
    feed = Feed(place / "feed")
    settings = f'\n[updater.options]\nupdate_server_url = "{feed.place}"\n'
    settings += f'[updater.report]\nreport_file_name = "{place / "report.log"}"\n'
    replace = {
        "[ave]": f'[ave]\ntrusted_keys = ["{feed.public}"]',
        # The sender waits for the verdict with its 250: what it waits for is the whole way.
        'bare_line_feed = "reject"': 'bare_line_feed = "reject"\nbefore_queue = true',
    }
    figures: dict[str, float] = {}
    with Sink() as sink, Gateway(place / "gw", sink.port, antispam=True, settings=settings, replace=replace) as gw:
        _update(gw, feed, 1, great(0), "--trust-root", str(feed.first_root))
        with Mail(gw) as mail:
            time.sleep(1)
            since = time.monotonic()
            time.sleep(QUIET_S)
            begun = time.monotonic()
            figures["p99 before, ms"] = 1000 * mail.p99(since, begun)
            figures["memory before, MB"] = _written(gw)
            begun = _update(gw, feed, 2, great(CHANGED))
            figures["update, s"] = time.monotonic() - begun
            time.sleep(SETTLE_S)
            figures["p99 during, ms"] = 1000 * mail.p99(begun, time.monotonic())
            figures["longest, ms"] = 1000 * max(took for at, took in mail.took if at >= begun)
            for number in range(1, UPDATES + 1):
                if number > 1:
                    _update(gw, feed, number + 1, great(number * CHANGED))
                wanted, deadline = MEMORY_RATIO * figures["memory before, MB"], time.monotonic() + BACK_S
                time.sleep(SETTLE_S)
                while (memory := _written(gw)) > wanted and time.monotonic() < deadline:
                    time.sleep(1)
                figures[f"memory after {number}, MB"] = memory
    return figures


def _update(gateway: Gateway, feed: Feed, number: int, data: bytes, *arguments: str) -> float:
    """Publish a set and have it taken; return when the update began."""
    feed.publish(feed.build(number, {"great.hash": data}))
    begun = time.monotonic()
    done = gateway.run("update", *arguments)
    if done.returncode != 1:
        raise Failed(done.stderr)
    wait_for(lambda: {each["name"]: each["number"] for each in gateway.status()["databases"]}["own"] == number, "it")
    return begun


def _written(gateway: Gateway) -> float:
    """Return the megabytes of memory that the processes of a gateway have written, shared ones counted once."""
    total = 0
    for pid in gateway.pids():
        with contextlib.suppress(OSError):  # a filter that has just ended
            rows = dict(_ROW.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()))
            total += 1024 * (int(rows["Pss_Anon"]) + int(rows["Pss_Shmem"]))
    return total / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nice", type=int, default=0, help="priority of what is timed, on a host with other work")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="gatepost-updates-") as name:
        place = Path(name)
        try:
            for part in ("kills", "bytes", "great"):
                (place / part).mkdir()
            killed = prove_kills(place / "kills", arguments.rounds, dice)
            broken = prove_bytes(place / "bytes", arguments.rounds, dice)
            os.nice(arguments.nice)
            figures = measure(place / "great")
        except Failed as failed:
            sys.stdout.write(f"updates: FAILED: {failed}\n")
            return 1
    ways = ", ".join(f"{count} {way}" for way, count in broken.items() if way != "refused")
    told = ", ".join(f"{name}: {value:.3g}" for name, value in figures.items())
    write_section(
        "updates",
        f"`make prove NAME=updates ARGS='{' '.join(sys.argv[1:])}'`, {made_at()}: "
        f"{killed} of {arguments.rounds} runs killed at random lines; {arguments.rounds} runs with one file wrong at a "
        f"random byte ({ways}; {broken['refused']} runs ended without an update, the others got what they needed "
        f"otherwise). After each the former set or the newer one was in force, whole; the next run brought the newer "
        f"one. {SIGNATURES:,} signatures, of which {CHANGED:,} changed, while mail passed, {UPDATES} times in a row "
        f"(memory: what the processes have written, pages of files apart; load of the host {os.getloadavg()[0]:.0f} on "
        f"{os.cpu_count()} cores): {told}.",
    )
    good = (
        figures["update, s"] <= LIMIT_S
        and figures["p99 during, ms"] <= P99_RATIO * figures["p99 before, ms"]
        and figures[f"memory after {UPDATES}, MB"] <= MEMORY_RATIO * figures["memory before, MB"]
    )
    sys.stdout.write(f"{told}\nupdates: {'passed' if good else 'FAILED: a figure is over its limit'}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
