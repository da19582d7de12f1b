"""`make prove NAME=kill`: SIGKILL at random moments under load; every mail that got 250 must arrive.

Each round sends mail through a real gateway on several connections to two listeners, one of which inspects before it
answers; mail is split between groups, copied, deferred by its next hops and moved about by an operator. A relay, a
filter, the master or everything is killed at a random moment; the round waits until the gateway serves again, and at
the end of every batch until all accepted mail has arrived. What an operator has removed counts as removed only when the
command said so, and may not arrive afterwards. A duplicate is allowed only where a peer had given its 250 shortly
before a kill that could take the settlement with it: relay, master or all, never a filter.

State is kept in build/prove-kill.json, so a proof that was broken off goes on where it was. The result goes into
docs/reliability.md.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.waiting import wait_for  # noqa: E402

from prove_load import Hops, Load, Operator, Promise, build_gateway  # noqa: E402
from result_pages import made_at, write_section  # noqa: E402

VICTIMS = ("relay", "filter", "master", "all")
BATCH = 10
WINDOW_S = 2.0
"""A first delivery this long before a kill may be repeated: settlement is grouped, and the machine may be busy."""
REMOVED_S = 0.2
"""A removal is reported this long after it happened at most, as the two clocks of the proof see it."""
LOAD_S = (0.15, 0.8)
RECOVERY_S = 40.0
ARRIVAL_S = 60.0


class Trial:
    """One gateway under load and kills."""

    def __init__(self, state: Path, relays: int, seed: int) -> None:
        self._dice = random.Random(seed)
        self.hops = Hops(seed)
        self.gateway, before_port = build_gateway(state, self.hops, relays)
        self.gateway.start()
        self._kills: list[tuple[float, str]] = []
        self.load = Load((self.gateway.port, self.gateway.port, before_port), seed)
        self.operator = Operator(self.gateway, self.hops.other, seed)

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
        self.operator.pause()
        time.sleep(0.3)
        wait_for(self._all_arrived, "all accepted mail to arrive", ARRIVAL_S, pause_s=0.2)
        arrivals = self.hops.take()
        allowed = sum(len(times) - 1 for promise, times in arrivals.items() if self._may_repeat(promise, times))
        wrong = self.load.refused & arrivals.keys()
        assert not wrong, f"blocked mail arrived: {wrong}"
        assert not self.hops.armed, f"infected mail arrived: {self.hops.armed}"
        assert not self.load.turned_away, f"good mail was refused: {self.load.turned_away[:3]}"
        removed = self.operator.removed
        late = [each for each in removed.keys() & arrivals.keys() if max(arrivals[each]) > removed[each] + REMOVED_S]
        assert not late, f"removed mail arrived: {late}"
        counts = {
            "accepted": self.load.accepted,
            "promised": len(self.load.promised),
            "duplicates": allowed,
            "removed": len(removed.keys() & self.load.promised),
            "uncertain": len((self.operator.uncertain & self.load.promised) - arrivals.keys()),
            **{f"command_{verb}": count for verb, count in self.operator.done.items()},
        }
        self.operator.resume()
        self.load.resume()
        return counts

    def _may_repeat(self, promise: Promise, times: list[float]) -> bool:
        """Tell whether something arrived more than once; AssertionError when that is not allowed."""
        if len(times) > 1:
            first = min(times)
            near = [
                victim
                for at, victim in self._kills
                if victim != "filter" and first <= at + 0.5 and at - first <= WINDOW_S
            ]
            kills = [(f"{at - first:.2f}", victim) for at, victim in self._kills]
            later = [f"{at - first:.2f}" for at in sorted(times)]
            assert near, f"{promise} arrived at {later}, away from any kill: {kills} (seconds after the first)"
        return len(times) > 1

    def _all_arrived(self) -> bool:
        self.operator.undo()
        return not self.missing()

    def missing(self) -> set[Promise]:
        """What got 250, was not removed, and has not arrived."""
        arrived = self.hops.take()
        return {
            each
            for each in self.load.promised - arrived.keys()
            if each not in self.operator.removed and each not in self.operator.uncertain
        }

    def describe(self) -> str:
        """Say where what is missing lies."""
        missing = sorted(self.missing())
        status = self.gateway.status()
        rows = self.gateway.queue()
        reasons = Counter(f"{row['state']} {row.get('reason', '')}" for row in rows)
        work = [relay.get("in_work") for relay in status["relays"]]
        return f"{len(missing)} missing {missing[:3]}, queue {status['queue']}, in work {work}, {dict(reasons)}"

    def close(self) -> None:
        """End everything."""
        self.operator.stop()
        self.load.stop()
        self.gateway.kill_all()
        self.hops.close()


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
    victims = dict.fromkeys(VICTIMS, 0)
    with trial(relays, seed) as one:
        for number in range(1, rounds + 1):
            victim = one.round()
            victims[victim] += 1
            if tell:
                print(f"  round {number}/{rounds}: {victim}, {one.load.accepted} accepted so far", flush=True)
        try:
            counts = one.check()
        except AssertionError as error:
            raise AssertionError(f"{error}; relays {relays}, seed {seed}; {one.describe()}") from error
    return {"rounds": rounds, **counts, **{f"killed_{victim}": count for victim, count in victims.items()}}


def main() -> int:
    """Run the proof, resuming an earlier one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fresh", action="store_true", help="forget an earlier, unfinished proof")
    parser.add_argument("--tell", action="store_true", help="say what each round does")
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
        batch = run_rounds(min(BATCH, arguments.rounds - done), relays, seed, tell=arguments.tell)
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
    kills = ", ".join(f"{victim} {totals.get(f'killed_{victim}', 0)}" for victim in VICTIMS)
    prefix = "command_"
    commands = ", ".join(
        f"{name.removeprefix(prefix)} {count}" for name, count in sorted(totals.items()) if name.startswith(prefix)
    )
    write_section(
        "kill",
        f"`make prove NAME=kill`, {made_at()}: {totals['rounds']} rounds of SIGKILL ({kills}) under load, with 1 and "
        "with 3 relays: two groups, a listener that inspects before it answers, blind copies, next hops by SMTP and "
        f"LMTP that defer, and queue commands ({commands}). {totals['accepted']} mails got 250, which promised "
        f"{totals['promised']} deliveries; 0 were lost. {totals['removed']} were removed by command and stayed away; "
        f"{totals['uncertain']} did not come whose removal was asked for when the gateway died. "
        f"{totals['duplicates']} arrived twice, each within {WINDOW_S:.0f} s before a kill that took its settlement.",
    )


if __name__ == "__main__":
    sys.exit(main())
