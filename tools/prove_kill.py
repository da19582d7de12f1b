"""`make prove NAME=kill`: SIGKILL at random moments under load; every mail that got 250 must arrive.

Each round sends mail through a real gateway on several connections, kills a relay, a filter, the master or everything
at a random moment, waits until the gateway serves again, and at the end of every batch until all accepted mail has
arrived. A duplicate is allowed only where a peer had given its 250 shortly before a kill that could take the
settlement with it: relay, master or all, never a filter.

State is kept in build/prove-kill.json, so a proof that was broken off goes on where it was. The result goes into
docs/reliability.md.
"""

import argparse
import json
import os
import random
import re
import signal
import smtplib
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.gateway import Gateway  # noqa: E402
from tests.support.mails import EICAR, plain, with_attachment  # noqa: E402
from tests.support.sink import Sink  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from result_pages import made_at, write_section  # noqa: E402

VICTIMS = ("relay", "filter", "master", "all")
SENDERS = 6
BATCH = 10
WINDOW_S = 2.0
"""A first delivery this long before a kill may be repeated: settlement is grouped, and the machine may be busy."""
LOAD_S = (0.15, 0.8)
RECOVERY_S = 40.0
ARRIVAL_S = 60.0

_TOKEN = re.compile(rb"^X-Token: (\S+)\r$", re.MULTILINE)


class Load:
    """Senders that never stop: each keeps a connection, sends, notes what got 250, connects again when it breaks."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._pause = threading.Event()
        self.accepted: set[str] = set()
        self.blocked: set[str] = set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._send, args=(random.Random(seed + i), i), daemon=True) for i in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        """Send nothing for a while."""
        self._pause.set()

    def resume(self) -> None:
        """Go on sending."""
        self._pause.clear()

    def stop(self) -> None:
        """End all senders."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _send(self, dice: random.Random, number: int) -> None:
        count = 0
        client: smtplib.SMTP | None = None
        while not self._stop.is_set():
            if self._pause.is_set():
                time.sleep(0.01)
                continue
            count += 1
            token = f"{os.getpid()}-{number}-{count}-{time.time_ns()}"
            infected = dice.random() < 0.02
            size = dice.choice((0, 0, 0, 0, 20_000, 200_000))
            body = with_attachment(EICAR, "e.com") if infected else plain("kill", size=size)
            content = f"X-Token: {token}\r\n".encode() + body
            try:
                if client is None:
                    client = smtplib.SMTP("127.0.0.1", self._port, timeout=20)
                    client.ehlo("load.example.net")
                client.sendmail("load@example.net", ["user@example.org"], content)
            except (OSError, smtplib.SMTPException):
                if client is not None:
                    client.close()
                    client = None
                time.sleep(0.02)
                continue
            with self._lock:
                (self.blocked if infected else self.accepted).add(token)
        if client is not None:
            client.close()


class Trial:
    """One gateway under load and kills."""

    def __init__(self, state: Path, relays: int, seed: int) -> None:
        self._dice = random.Random(seed)
        self.sink = Sink()
        self._arrived: dict[str, list[float]] = {}
        self.gateway = Gateway(state, self.sink.port, relays=relays)
        self.gateway.start()
        self._kills: list[tuple[float, str]] = []
        self.load = Load(self.gateway.port, seed)

    def round(self) -> str:
        """Let load run, kill somebody, wait for service. Return who it was."""
        victim = self._dice.choice(VICTIMS)
        time.sleep(self._dice.uniform(*LOAD_S))
        self._strike(victim)
        self._kills.append((time.time(), victim))
        if self.gateway.process is None:
            self.gateway.start()
        else:
            wait_for(self._serving, f"service after the end of {victim}", RECOVERY_S)
        return victim

    def _strike(self, victim: str) -> None:
        gateway = self.gateway
        assert gateway.process is not None
        if victim == "all":
            gateway.kill_all()
        elif victim == "master":
            gateway.process.kill()
            gateway.process.wait(10)
            gateway.kill_all()
        else:
            status = gateway.status()["relays"]
            relay = self._dice.choice(status)
            pids = [relay["pid"]] if victim == "relay" else relay.get("filter_pids", [])
            if pids:
                try:
                    os.kill(self._dice.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def _serving(self) -> bool:
        answer = self.gateway.ask("status", check=False)
        return bool(answer) and all("error" not in relay for relay in answer["relays"])

    def check(self) -> dict[str, int]:
        """Wait for everything accepted to arrive; return the counts. AssertionError on loss or wrong duplicates."""
        self.load.pause()
        time.sleep(0.3)
        wait_for(self._all_arrived, "all accepted mail to arrive", ARRIVAL_S, pause_s=0.05)
        arrivals = self._take()
        allowed = 0
        for token, times in arrivals.items():
            if len(times) > 1:
                near = [
                    v
                    for at, v in self._kills
                    if v != "filter" and min(times) <= at + 0.5 and at - min(times) <= WINDOW_S
                ]
                assert near, f"{token} arrived {len(times)} times, first {times[0]}, away from any kill"
                allowed += len(times) - 1
        infected = [token for token in arrivals if token in self.load.blocked]
        assert not infected, f"infected mail arrived: {infected}"
        counts = {"accepted": len(self.load.accepted), "arrived": len(arrivals), "duplicates": allowed}
        self.load.resume()
        return counts

    def _take(self) -> dict[str, list[float]]:
        while self.sink.mails:
            mail = self.sink.mails.pop(0)
            found = _TOKEN.search(mail.content)
            if found:
                self._arrived.setdefault(found.group(1).decode(), []).append(mail.at)
        return self._arrived

    def _all_arrived(self) -> bool:
        arrived = self._take()
        return all(token in arrived for token in list(self.load.accepted))

    def missing(self) -> list[str]:
        """Tokens that got 250 and did not arrive."""
        return [token for token in self.load.accepted if token not in self._arrived]

    def describe(self) -> str:
        """Say where what is missing lies."""
        missing = self.missing()
        status = self.gateway.status()
        rows = self.gateway.queue()
        reasons = Counter(f"{row['state']} {row.get('reason', '')}" for row in rows)
        work = [relay.get("in_work") for relay in status["relays"]]
        return f"{len(missing)} missing, queue {status['queue']}, in work {work}, {dict(reasons)}"

    def close(self) -> None:
        """End everything."""
        self.load.stop()
        self.gateway.kill_all()
        self.sink.close()


@contextmanager
def trial(relays: int, seed: int) -> Iterator[Trial]:
    """Run a trial in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="gatepost-kill-") as folder:
        one = Trial(Path(folder) / "gw", relays, seed)
        try:
            yield one
        finally:
            one.close()


def run_rounds(rounds: int, relays: int, seed: int, *, tell: bool = False) -> dict[str, int]:
    """Run `rounds` kills and return the totals; AssertionError when a promise is broken."""
    totals = {"rounds": 0, "accepted": 0, "duplicates": 0}
    victims = dict.fromkeys(VICTIMS, 0)
    with trial(relays, seed) as one:
        for number in range(1, rounds + 1):
            victim = one.round()
            victims[victim] += 1
            if tell:
                print(f"  round {number}/{rounds}: {victim}, {len(one.load.accepted)} accepted so far", flush=True)
        try:
            counts = one.check()
        except AssertionError as error:
            raise AssertionError(f"{error}; relays {relays}, seed {seed}; {one.describe()}") from error
    totals |= {"rounds": rounds, "accepted": counts["accepted"], "duplicates": counts["duplicates"]}
    return totals | {f"killed_{victim}": count for victim, count in victims.items()}


def main() -> int:
    """Run the proof, resuming an earlier one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fresh", action="store_true", help="forget an earlier, unfinished proof")
    arguments = parser.parse_args()
    keep = ROOT / "build" / "prove-kill.json"
    keep.parent.mkdir(exist_ok=True)
    totals: dict[str, int] = {}
    if keep.exists() and not arguments.fresh:
        totals = json.loads(keep.read_text())
        print(f"resuming after {totals.get('rounds', 0)} rounds")
    while totals.get("rounds", 0) < arguments.rounds:
        done = totals.get("rounds", 0)
        relays = 1 if (done // BATCH) % 2 == 0 else 3
        seed = arguments.seed + done if arguments.seed is not None else random.SystemRandom().randrange(1 << 30)
        batch = run_rounds(min(BATCH, arguments.rounds - done), relays, seed)
        for name, value in batch.items():
            totals[name] = totals.get(name, 0) + value
        keep.write_text(json.dumps(totals))
        print(
            f"{totals['rounds']}/{arguments.rounds} rounds, {totals['accepted']} accepted, 0 lost, "
            f"{totals['duplicates']} allowed duplicates (relays {relays}, seed {seed})",
            flush=True,
        )
    _write_result(totals)
    keep.unlink()
    return 0


def _write_result(totals: dict[str, int]) -> None:
    kills = ", ".join(f"{v} {totals.get(f'killed_{v}', 0)}" for v in VICTIMS)
    write_section(
        "kill",
        f"`make prove NAME=kill`, {made_at()}: {totals['rounds']} rounds of SIGKILL "
        f"({kills}) under load, with 1 and with 3 relays. {totals['accepted']} mails got 250, 0 were lost, "
        f"{totals['duplicates']} arrived twice, each within {WINDOW_S:.0f} s before a kill that took its settlement.",
    )


if __name__ == "__main__":
    sys.exit(main())
