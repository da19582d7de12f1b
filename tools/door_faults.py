"""The long run of faults at a door: a real Postfix asks a filtering server that is killed, replaced, stopped, updated.

Part of `make prove NAME=doors` (`--rounds`). In each round two threads hand mail to Postfix, which asks by the milter
client with each of its choices on error, or passes the mail through the pipe client; at a moment of the round's own the
fault befalls the server. Promises looked at: what Postfix took arrives, and once; what is said to mail meanwhile is
what the choice says. A run that was broken off goes on with the next round (`build/prove-doors-faults.json`).
"""

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.faults.support_doors import CHOICES, Babbler, Site  # noqa: E402
from tests.peers.conftest import open_directory, root_program  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from result_pages import made_at  # noqa: E402

STATE = ROOT / "build/prove-doors-faults.json"
PATIENCE_S: Final = 4
"""Of the clients, for each word of the server."""
WORKERS: Final = 2
BEFORE, MEANWHILE = (0, 8), (3, 10)
"""Mails that are answered before a fault, and while it lasts."""
PULSES: Final = 12
"""Times that a slow server stands still."""
SAID: Final = {"pipe": ("250 ",), **{choice: ("250 ", said) for choice, said in CHOICES.items()}}
"""What mail may be told, however the round goes: that it was taken, or what the choice says."""


class Load:
    """Mail that goes to Postfix while something happens to the server."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self._site = site
        self._seeds = [chance.random() for _ in range(WORKERS)]
        self._enough = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=(seed,)) for seed in self._seeds]
        self.replies: list[tuple[str, str]] = []

    def _work(self, seed: float) -> None:
        chance = random.Random(seed)
        try:
            while not self._enough.is_set():
                way = chance.choice(list(SAID))
                self.replies += self._site.submit(way).items()
        except BaseException as failure:
            self._failures.append(failure)
            raise

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def more(self, count: int) -> None:
        """Wait until so many more mails have been answered."""
        wanted = len(self.replies) + count
        wait_for(lambda: len(self.replies) >= wanted or self._failures, "mail to be answered", 120)
        if self._failures:
            raise self._failures[0]

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()


class Faults:
    """What befalls the server; each returns when it is in service again, or about to be."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._filters = 0

    def killed(self, meanwhile: Callable[[], None]) -> None:
        self._site.gateway.kill_all()
        meanwhile()
        self._site.gateway.start()

    def restarted(self, meanwhile: Callable[[], None]) -> None:
        self._site.gateway.stop()
        meanwhile()
        self._site.gateway.start()

    def answering_garbage(self, meanwhile: Callable[[], None]) -> None:
        self._site.gateway.kill_all()
        babbler = Babbler(self._site.door)
        try:
            meanwhile()
        finally:
            babbler.close()
        self._site.gateway.start()

    def stopped(self, meanwhile: Callable[[], None]) -> None:
        with self._standing_still():
            meanwhile()

    def slow(self, meanwhile: Callable[[], None]) -> None:
        for _ in range(PULSES):
            with self._standing_still():
                time.sleep(0.25)
            time.sleep(0.05)
        meanwhile()

    def relay_killed(self, meanwhile: Callable[[], None]) -> None:
        before = self._site.gateway.relay_pids()
        os.kill(before[0], signal.SIGKILL)
        meanwhile()
        wait_for(lambda: self._site.gateway.relay_pids() not in ([], before), "another relay")

    def told_to_reread(self, meanwhile: Callable[[], None]) -> None:
        process = self._site.gateway.process
        assert process is not None
        process.send_signal(signal.SIGHUP)
        meanwhile()

    def updated(self, meanwhile: Callable[[], None]) -> None:
        """A new template takes the place of the one in force, as with new databases."""
        gateway, number = self._site.gateway, self._filters
        self._filters = number + 1 if number < 4 else 2
        gateway.edit(f"server_max_filters = {number}", f"server_max_filters = {self._filters}")
        gateway.ask("reload")
        meanwhile()

    @contextlib.contextmanager
    def _standing_still(self) -> Any:
        relays = self._site.gateway.relay_pids()
        for relay in relays:
            os.kill(relay, signal.SIGSTOP)
        try:
            yield
        finally:
            for relay in relays:
                os.kill(relay, signal.SIGCONT)


FAULTS: Final = (
    "killed", "restarted", "answering_garbage", "stopped", "slow", "relay_killed", "told_to_reread", "updated",
)  # fmt: skip


def run_round(number: int, site: Site, faults: Faults, tally: Counter[str]) -> None:
    """Make a round and count what came of it. AssertionError: a promise is broken."""
    chance = random.Random(number)
    fault = FAULTS[number % len(FAULTS)]
    with Load(site, chance) as load:
        load.more(chance.randint(*BEFORE))
        meanwhile = chance.randint(*MEANWHILE)
        getattr(faults, fault)(lambda: load.more(meanwhile))
        site.judged()
    for way, reply in load.replies:
        assert reply.startswith(SAID[way]), f"round {number}, {fault}: {way} says {reply!r}"
    taken = len(site.taken)
    site.check()
    tally["rounds"] += 1
    tally[f"fault {fault}"] += 1
    tally["mails"] += len(load.replies)
    tally["arrived"] += taken
    tally.update(f"{way} {reply[:3]}" for way, reply in load.replies if not reply.startswith("250 "))


def run(rounds: int, say: Callable[[str], None]) -> list[str]:
    """Make what is left of so many rounds; return what went wrong."""
    tally, since = _read(rounds)
    troubles: list[str] = []
    with open_directory("door-faults") as base, contextlib.ExitStack() as stack:
        site = Site(base, root_program("postfix"), PATIENCE_S)
        stack.enter_context(site.gateway)
        for client in site.clients:
            stack.enter_context(client)
        stack.enter_context(site.postfix)
        for client in site.clients:
            client.ready()
        site.judged()
        faults = Faults(site)
        while tally["rounds"] < rounds and not troubles:
            try:
                run_round(tally["rounds"], site, faults, tally)
            except AssertionError as error:
                troubles.append(f"round {tally['rounds']}, {FAULTS[tally['rounds'] % len(FAULTS)]}: {error}")
                print(site.gateway.log()[-5000:], *(client.log()[-3000:] for client in site.clients), sep="\n")
            else:
                STATE.write_text(json.dumps({"since": since, "tally": tally}))
    say(_tell(tally, since))
    return troubles


def _read(rounds: int) -> tuple[Counter[str], str]:
    """Return what an earlier run has left to be gone on with, and when that began."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        kept = json.loads(STATE.read_text())
        if kept["tally"]["rounds"] < rounds:
            return Counter(kept["tally"]), kept["since"]
    STATE.parent.mkdir(exist_ok=True)
    return Counter(), made_at()


def _tell(tally: Counter[str], since: str) -> str:
    met = ", ".join(f"{tally[f'fault {name}']} {name.replace('_', ' ')}" for name in FAULTS)
    refused = ", ".join(f"{count} × {name}" for name, count in sorted(tally.items()) if name.split()[0] in SAID)
    return (
        f"{tally['rounds']} rounds of faults with a real Postfix in front since {since} ({met}): {tally['mails']} "
        f"mails by milter with each choice on error and by the pipe client; {tally['arrived']} taken, "
        "each arrived once; "
        f"not taken while nobody judged: {refused or 'none'}"
    )
