"""`make prove NAME=bombs`: bombs of full size by SMTP through a running gateway, one after the other, measured.

For each: the reply to it, CPU time and peak memory of the filters (children of the template, the lost ones included)
and of the relay, how long it took, status and reason. Ordinary mail goes on meanwhile and must arrive; every tenth is
infected and must not. A mail that is neither refused nor more than clean when it should be, a lost filter that is not
replaced, or mail beside it that does not come ends the run. The table goes into docs/reliability.md. `--only NAME`
takes one bomb, `--repeated` the runs of what patterns look for as well.
"""

import argparse
import contextlib
import os
import re
import smtplib
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.bombs import BOMBS, REPEATED, Bomb  # noqa: E402
from tests.support.gateway import Gateway  # noqa: E402
from tests.support.mails import EICAR, plain, with_attachment  # noqa: E402
from tests.support.sink import Sink  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from result_pages import made_at, write_section  # noqa: E402

BUDGET_CPU_S = 20.0
"""Of one filter for one bomb, a third of the time a message has."""
PEAK_LIMIT_MIB = 512
"""Address space of a filter."""
PATIENCE_S = 200.0
"""Two filters' deadlines and what is around them."""
LOOK_S = 0.02
BESIDE_S = 0.2
"""Between two ordinary mails."""
TICKS = os.sysconf("SC_CLK_TCK")
_REASON = re.compile(r'reason="([^"]*)"')
SHOWN = 80
"""Characters of a reason in the table."""
_STATUS = re.compile(r'status="([^"]*)"')
SIZES = {'maximal_incoming_message_size = "50 MiB"': 'maximal_incoming_message_size = "200 MiB"'}


class Watch:
    """CPU time and memory of processes while something goes on, the short-lived among them included."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._relay = gateway.relay_pids()[0]
        self._template = gateway.status()["filter_template"]["pid"]
        self._stop = threading.Event()
        self._before = {pid: _cpu_s(pid) for pid in (self._relay, *_children(self._template))}
        self._last = dict(self._before)
        self.peak_mib = 0
        for pid in self._before:
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> tuple[float, float, int, int]:
        """Return (CPU seconds of the busiest filter, of the relay, peak MiB of a filter, of the relay)."""
        self._stop.set()
        self._thread.join()
        self._look()
        used = {pid: cpu - self._before.get(pid, 0.0) for pid, cpu in self._last.items()}
        relay = used.pop(self._relay)
        return max(used.values(), default=0.0), relay, self.peak_mib, _peak_mib(self._relay)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        for pid in (self._relay, *_children(self._template)):
            with contextlib.suppress(OSError, StopIteration, IndexError):
                self._last[pid] = _cpu_s(pid)
                if pid != self._relay:
                    self.peak_mib = max(self.peak_mib, _peak_mib(pid))


class Beside:
    """Ordinary mail, one after the other, for as long as bombs go off."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stop = threading.Event()
        self.sent: list[str] = []
        self.infected = 0
        self.longest_s = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(BESIDE_S):
            number += 1
            began = time.monotonic()
            if number % 10 == 0:
                self._gateway.send(with_attachment(EICAR, "e.com"))
                self.infected += 1
            else:
                self._gateway.send(plain(f"beside-{number}."))
                self.sent.append(f"beside-{number}.")
            self.longest_s = max(self.longest_s, time.monotonic() - began)


def main() -> int:
    """Run the proof."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--repeated", action="store_true")
    options = parser.parse_args()
    chosen = {name: each for name, each in (BOMBS | REPEATED).items() if name == options.only}
    if not options.only:
        chosen = BOMBS | REPEATED if options.repeated else BOMBS
    rows: list[str] = []
    faults: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="prove-bombs-") as place,
        Sink() as sink,
        Gateway(Path(place) / "gw", sink.port, replace=SIZES) as gateway,
    ):
        beside = Beside(gateway)
        for name, bomb in chosen.items():
            row, fault = explode(gateway, name, bomb)
            print(row + (f"   <-- {fault}" if fault else ""), flush=True)
            rows.append(row)
            faults += [f"{name}: {fault}"] * bool(fault)
        beside.end()
        arrived = _await_all(sink, beside.sent)
        stats = gateway.status()["relays"][0]["filters"]
        armed = sum(b"EICAR-STANDARD" in mail.content for mail in sink.mails)
    faults += [f"{len(beside.sent) - arrived} mails beside did not arrive"] * (arrived < len(beside.sent))
    faults += [f"{armed} infected mails arrived"] * bool(armed)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return 1
    if not options.only:
        write_section("bombs", _build_page(rows, beside, stats))
    return 0


def explode(gateway: Gateway, name: str, bomb: Bomb) -> tuple[str, str]:
    """Send one; return its row, and what is wrong with its end or ""."""
    content = bomb.make(True)
    size = len(content)
    watch = Watch(gateway)
    began = time.monotonic()
    status, reason = _send(gateway, content)
    took = time.monotonic() - began
    del content
    cpu, relay_cpu, peak, relay_peak = watch.end()
    fault = ""
    if not (set(status.split(",")) & (bomb.ends | {"refused"})):
        fault = "the status is not what it should be"
    elif cpu > BUDGET_CPU_S:
        fault = f"more than {BUDGET_CPU_S:g} s of CPU"
    elif peak > PEAK_LIMIT_MIB:
        fault = "more memory than there should be"
    short = _shorten(reason)
    return (
        f"| {name} | {_megabytes(size)} | {cpu:.2f} | {peak} | {relay_cpu:.2f} | {relay_peak} | {took:.1f} "
        f"| {status} | {short.replace('|', '/')} |"
    ), fault


def _shorten(reason: str) -> str:
    """Return the cause alone, without what it is in and what follows from it."""
    _, bracket, rest = reason.replace("(the whole message): error; part", "part").partition("(")
    cause = rest.rpartition(")")[0] if bracket else reason
    while cause.startswith("in ") and ": " in cause:
        cause = cause.partition(": ")[2]
    return cause if len(cause) <= SHOWN else f"{cause[:SHOWN]} …"


def _send(gateway: Gateway, content: bytes) -> tuple[str, str]:
    """Return status and reason of a mail, once it is settled."""
    try:
        queue_id = gateway.send(content)
    except (AssertionError, smtplib.SMTPException, OSError) as error:
        return "refused", str(error)
    lines = wait_for(lambda: gateway.lines("SCANNED", queue_id), "the bomb to end", PATIENCE_S)
    found = _STATUS.search(lines[0])
    assert found
    if found[1] in ("clean", "disinfected"):
        return found[1], ""
    blocked = wait_for(lambda: gateway.lines("BLOCKED", queue_id), "the bomb to be blocked", PATIENCE_S)
    reason = _REASON.search(blocked[0])
    return found[1], reason[1] if reason else ""


def _await_all(sink: Sink, subjects: Sequence[str]) -> int:
    def count() -> int:
        there = b"".join(mail.header for mail in list(sink.mails))
        return sum(f"Subject: {each}".encode() in there for each in subjects)

    with contextlib.suppress(AssertionError):
        wait_for(lambda: count() == len(subjects), "all ordinary mail", 60)
    return count()


def _build_page(rows: Sequence[str], beside: Beside, stats: dict[str, int]) -> str:
    head = (
        f"{made_at()}, `make prove NAME=bombs`: {len(rows)} bombs by SMTP, each made when it is sent. CPU seconds and "
        "peak MiB (resident, what is shared with the template included) of the filter that had it, and of the relay, "
        f"which also takes the mail in; seconds until it was settled. Meanwhile {len(beside.sent)} ordinary mails "
        f"arrived, all of them, and {beside.infected} infected ones were found; taking one of them in took "
        f"{beside.longest_s:.1f} s at most. Filters lost: {stats['crashed']} crashed, {stats['killed']} killed.\n\n"
        "Clean is what was read to its end and found harmless: XML is read by its marks, so entities and depth cost "
        "nothing; pictures are not decoded.\n\n"
    )
    titles = "| bomb | mail | CPU s | MiB | relay CPU s | relay MiB | settled s | status | reason |\n"
    return head + titles + "|---" * 9 + "|\n" + "\n".join(rows)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} KB"


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_mib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) >> 10
    return 0


if __name__ == "__main__":
    sys.exit(main())
