"""`make prove NAME=scale`: what a long queue, many clients and many recipients cost.

Steps, each resumable (build/prove-scale.json keeps the results, build/prove-scale/ the filled queue): a queue of
1,000,000 deferred mails is laid down; the gateway starts on it, is asked about it, and takes new mail in turns with one
whose queue is empty; 10,000 clients sit idle while mail flows; 1,000 mails to 100 recipients each go through; the same
figures at growing size give the growth curves. The result goes into docs/performance.md. `--queued`, `--clients` and
the like make a short run of it.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.gateway import Gateway  # noqa: E402
from tests.support.ports import free_port  # noqa: E402
from tests.support.sink import Sink  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from gatepost.model.envelope import Client, Envelope, Recipient  # noqa: E402
from gatepost.model.ids import QueueIds  # noqa: E402
from gatepost.spool.change import Accept, BackOff  # noqa: E402
from gatepost.spool.content import Staged  # noqa: E402
from gatepost.spool.database import Database  # noqa: E402
from gatepost.spool.files import FileLayer  # noqa: E402
from gatepost.spool.interface import Destination, NewMessage, Pending, State, Stored  # noqa: E402
from gatepost.spool.shard import ShardLock, shard_directory  # noqa: E402
from result_pages import DOCS, made_at, write_section  # noqa: E402

BENCH = Path(os.environ.get("GATEPOST_BENCH", ROOT.parent / "shared" / "bench"))
KEEP = ROOT / "build" / "prove-scale.json"
PLACE = ROOT / "build" / "prove-scale"

START_LIMIT_S = 10.0
MEMORY_LIMIT_MB = 300.0
SHARE_LIMIT = 0.8
COMMIT_LIMIT_MS = 50.0
ANSWER_LIMIT_S = 1.0
LINEAR_SLACK = 1.5
"""A cost that grows by more than this times its cause is no longer linear, measured on a machine with neighbours."""
DOMAINS = 10_000
DEFERRED_FOR_S = 3 * 3600.0
"""Within the longest pause there is: what is due later counts as left over from a clock that was put back."""
CONTENT = b"From: <sender@client.example>\r\nSubject: deferred\r\n\r\n" + b"0123456789abcdef" * 60 + b"\r\n"

Results = dict[str, Any]


def fill(directory: str, queued: int) -> None:
    """Lay down a queue of deferred mails as a relay leaves it: attempted once, due in hours, domains at rest."""
    lock = ShardLock(directory)
    files = FileLayer()
    database = Database(directory, files)
    now = time.time()
    ids = QueueIds(0, 0, database.tally.last_id)
    client = Client("192.0.2.7", 40_000, "client.example", esmtp=True, listener="in")
    there = database.tally.ready
    for start in range(there, queued, 1000):
        block = []
        for number in range(start, min(start + 1000, queued)):
            message_id = ids.next(int(now * 1000) - queued + number)
            staged = Staged(message_id, database.contents, 1 << 20, files)
            staged.write(CONTENT)
            domain = f"d{number % DOMAINS}.example"
            recipient = Recipient(f"user{number}@{domain}")
            pending = Pending(0, domain, now + DEFERRED_FOR_S, 1, "451 4.3.0 try again later")
            stored = Stored(
                message_id,
                message_id,
                State.READY,
                now,
                Envelope(f"sender{number % 97}@client.example", (recipient,), client),
                staged.ref,
                b"Received: from client.example\r\n",
                "default",
                pending=(pending,),
            )
            block.append(Accept(NewMessage(stored, staged), ()))
        outcome = database.commit(block, (), {})
        assert not any(outcome.errors), outcome.errors
        database.checkpoint()
        if start % 100_000 == 0:
            print(f"  {start} of {queued} laid down", flush=True)
    why = "451 4.4.1 connection timed out"
    names = [f"d{number}.example" for number in range(0, min(queued, DOMAINS), 10)]
    database.commit([BackOff(Destination(name, 0, 0.0, now + DEFERRED_FOR_S, 3, why)) for name in names], (), {})
    database.close()
    lock.release()


@contextmanager
def gateway(state: Path, sink_port: int, *, sessions: int = 2000) -> Iterator[Gateway]:
    """One relay without inspection: what is measured is the queue, not the scanner."""
    changes = {
        "[policy]\ncheck = true": "[policy]\ncheck = false",
        "maximal_incoming_sessions_per_ip = 50": f"maximal_incoming_sessions_per_ip = {sessions}",
        'protected_domains = ["example.org"]': 'protected_domains = ["example.org", "dest.example"]',
    }
    one = Gateway(state, sink_port, settings="", replace={})
    text = one.config.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    text = _raise_sessions(text, sessions)
    one.config.write_text(text)
    one.start()
    try:
        yield one
        assert one.stop() == 0
    finally:
        one.kill_all()


def _raise_sessions(text: str, sessions: int) -> str:
    lines = []
    for line in text.splitlines():
        name = line.partition(" = ")[0]
        lines.append(
            f"{name} = {sessions}" if name in ("incoming_sessions", "maximal_incoming_sessions_per_ip") else line
        )
    return "\n".join(lines) + "\n"


def memory_mb(one: Gateway) -> float:
    """Resident memory of the largest relay, in MB."""
    sizes = []
    for pid in one.relay_pids():
        status = Path(f"/proc/{pid}/status").read_text()
        sizes.append(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
    return max(sizes)


def drive(one: Gateway, sink_port: int, mails: int, *, sessions: int = 20, mix: str = "small", per: int = 1) -> Results:
    """Send mail through the gateway with the load driver; return what it reports."""
    assert one.process is not None
    command = [
        sys.executable,
        str(BENCH / "relay_bench.py"),
        "--sut",
        f"127.0.0.1:{one.port}",
        "--sink-port",
        str(sink_port),
    ]
    command += [
        "--n",
        str(mails),
        "--c",
        str(sessions),
        "--mix",
        mix,
        "--per",
        str(per),
        "--json",
        "--pids",
        str(one.process.pid),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=BENCH)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    report: Results = json.loads(done.stdout)
    assert report["accepted"] == mails, report
    assert not report["lost"], report
    return report


def commits(one: Gateway) -> Results:
    """Commit times of the slowest relay."""
    return max((relay["commits"] for relay in one.status()["relays"]), key=lambda each: each["p99_ms"])


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return (seconds, answer)."""
    began = time.perf_counter()
    answer = call()
    return time.perf_counter() - began, answer


# --- steps


def prove_queue(arguments: argparse.Namespace) -> Results:
    """Start on a long queue, ask about it, and take new mail beside one with an empty queue."""
    queued = arguments.queued
    state = PLACE / f"queue-{queued}"
    began = time.perf_counter()
    fill(shard_directory(str(state / "queue"), 0), queued)
    result: Results = {"queued": queued, "fill_s": round(time.perf_counter() - began, 1)}
    port = free_port()
    empty = PLACE / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    pairs = []
    for _ in range(arguments.reps):
        began = time.perf_counter()
        with gateway(empty, port) as one:
            result["start_empty_s"] = round(time.perf_counter() - began, 2)
            alone = drive(one, port, arguments.mails)
        with gateway(state, port) as one:
            full = drive(one, port, arguments.mails)
            result["commit"] = commits(one)
            result["memory_mb"] = round(memory_mb(one), 1)
        pairs.append((alone["msg_s"], full["msg_s"]))
    result["empty_msg_s"] = round(statistics.median(a for a, _ in pairs))
    result["full_msg_s"] = round(statistics.median(b for _, b in pairs))
    result["share"] = round(statistics.median(b / a for a, b in pairs), 3)
    result |= _ask_about(state, port)
    return result


def _ask_about(state: Path, port: int) -> Results:
    """Start, and the answers to an operator's questions, in seconds."""
    began = time.perf_counter()
    with gateway(state, port) as one:
        result: Results = {"start_s": round(time.perf_counter() - began, 2)}
        rare = {"recipients": [f"user{DOMAINS - 1}@d{DOMAINS - 1}.example"]}
        questions: dict[str, Callable[[], Any]] = {
            "status": one.status,
            "page": lambda: one.ask("queue", limit=400),
            "summary": lambda: one.ask("summary"),
            "step of a search": lambda: one.ask("queue", limit=400, filter={"senders": ["nobody@*"]}),
            "page of a domain": lambda: one.ask("queue", limit=10, filter={"domains": ["d7.example"]}),
        }
        result["answers_s"] = {name: round(timed(ask)[0], 3) for name, ask in questions.items()}
        began = time.perf_counter()
        page = one.ask("queue", filter=rare)
        steps = 1
        while not page["ended"]:
            page = one.ask("queue", filter=rare, after=page["upto"])
            steps += 1
        result["whole_search_s"] = round(time.perf_counter() - began, 2)
        result["search_steps"] = steps
        result["memory_idle_mb"] = round(memory_mb(one), 1)
        one.kill_all()
        result["start_killed_s"], _ = timed(one.start)
        result["start_killed_s"] = round(result["start_killed_s"], 2)
    return result


def prove_clients(arguments: argparse.Namespace) -> Results:
    """Idle clients: what they cost, and what they leave to others."""
    clients = arguments.clients
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port = free_port()
    state = PLACE / "clients"
    shutil.rmtree(state, ignore_errors=True)
    with gateway(state, port, sessions=clients + 1000) as one:
        pairs = []
        before = memory_mb(one)
        for _ in range(arguments.reps):
            alone = drive(one, port, arguments.mails)
            idle = _connect(one, clients)
            try:
                wait_for(lambda: one.status()["counters"]["mta_incoming_connections_current"] >= clients, "clients", 60)
                crowded = drive(one, port, arguments.mails)
                memory = memory_mb(one)
            finally:
                for sock in idle:
                    sock.close()
            wait_for(lambda: one.status()["counters"]["mta_incoming_connections_current"] == 0, "their end", 60)
            pairs.append((alone["msg_s"], crowded["msg_s"]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return {
        "clients": clients,
        "memory_mb": round(memory, 1),
        "kb_each": round((memory - before) * 1024 / clients, 1),
        "alone_msg_s": round(statistics.median(a for a, _ in pairs)),
        "crowded_msg_s": round(statistics.median(b for _, b in pairs)),
        "share": round(statistics.median(b / a for a, b in pairs), 3),
    }


def _connect(one: Gateway, clients: int) -> list[socket.socket]:
    """Open connections from many loopback addresses and leave them after the greeting."""
    idle = []
    for number in range(clients):
        sock = socket.create_connection(
            ("127.0.0.1", one.port), 20, source_address=(f"127.0.{number // 200 % 250}.{number % 200 + 1}", 0)
        )
        idle.append(sock)
    return idle


def prove_recipients(arguments: argparse.Namespace) -> Results:
    """Many mails to many recipients each."""
    mails, each = arguments.many, arguments.recipients
    state = PLACE / "recipients"
    shutil.rmtree(state, ignore_errors=True)
    with Sink() as sink, gateway(state, sink.port) as one:
        names = [f"user{number}@example.org" for number in range(each)]
        began = time.perf_counter()
        with one.client(120) as client:
            for number in range(mails):
                client.sendmail("sender@example.net", names, f"Subject: {number}\r\n\r\nhello\r\n")
        accepted = time.perf_counter() - began
        wait_for(lambda: sum(len(mail.recipients) for mail in sink.mails) >= mails * each, "everything", 600, 0.1)
        seconds = time.perf_counter() - began
        assert sum(len(mail.recipients) for mail in sink.mails) == mails * each
        return {
            "mails": mails,
            "recipients": mails * each,
            "accepted_s": round(accepted, 1),
            "seconds": round(seconds, 1),
            "per_second": round(mails * each / seconds),
            "memory_mb": round(memory_mb(one), 1),
        }


def prove_growth(arguments: argparse.Namespace) -> Results:
    """CPU of the gateway for one mail while one thing grows, in ms: sessions, recipients, size."""
    port = free_port()
    state = PLACE / "growth"
    shutil.rmtree(state, ignore_errors=True)
    curves: Results = {"sessions": {}, "mails in the queue": {}, "recipients of a mail": {}, "bytes of a mail": {}}
    with gateway(state, port) as one:
        for sessions in (1, 10, 100, 1000):
            report = drive(one, port, max(arguments.mails, sessions), sessions=sessions)
            curves["sessions"][sessions] = report["cpu_ms_msg"]
    for queued in (0, arguments.queued // 100, arguments.queued // 10, arguments.queued):
        long = PLACE / f"queue-{queued}"
        fill(shard_directory(str(long / "queue"), 0), queued)
        with gateway(long, port) as one:
            report = drive(one, port, arguments.mails)
            curves["mails in the queue"][queued] = report["cpu_ms_msg"]
    with Sink() as sink, gateway(PLACE / "growth-sink", sink.port) as one:
        for recipients in (1, 10, 100, 1000):
            curves["recipients of a mail"][recipients] = round(_cpu_of(one, sink, recipients, 100), 2)
        for size in (1_000, 100_000, 1_000_000, 20_000_000):
            curves["bytes of a mail"][size] = round(_cpu_of(one, sink, 1, size), 2)
    return curves


def _cpu_of(one: Gateway, sink: Sink, recipients: int, size: int) -> float:
    """CPU of all processes of the gateway for one mail, in ms, over a few."""
    repeats = max(3, min(30, 3000 // recipients, 20_000_000 // max(size, 1)))
    content = b"Subject: growth\r\n\r\n" + (b"0123456789abcdef" * 4 + b"\r\n") * (size // 66)
    names = [f"user{number}@example.org" for number in range(recipients)]
    sink.mails.clear()
    before = _cpu_s(one)
    with one.client(120) as client:
        for _ in range(repeats):
            client.sendmail("sender@example.net", names, content)
    wait_for(lambda: sum(len(mail.recipients) for mail in sink.mails) >= repeats * recipients, "all", 300, 0.05)
    return 1000 * (_cpu_s(one) - before) / repeats


def _cpu_s(one: Gateway) -> float:
    ticks = 0
    for pid in one.pids():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


# --- judgement


def faults(results: Results) -> list[str]:
    """Return what is not as promised."""
    found = []

    def check(good: bool, text: str) -> None:
        if not good:
            found.append(text)

    if "queue" in results:
        queue = results["queue"]
        for name in ("start_s", "start_killed_s"):
            check(queue[name] < START_LIMIT_S, f"{name}: {queue[name]} s")
        check(queue["memory_mb"] < MEMORY_LIMIT_MB, f"the relay has {queue['memory_mb']} MB with a long queue")
        check(queue["share"] >= SHARE_LIMIT, f"with a long queue {queue['share']:.0%} of the throughput remain")
        check(queue["commit"]["p99_ms"] <= COMMIT_LIMIT_MS, f"commits take {queue['commit']['p99_ms']} ms at p99")
        for name, seconds in queue["answers_s"].items():
            check(seconds < ANSWER_LIMIT_S, f"{name} takes {seconds} s")
    if "clients" in results:
        clients = results["clients"]
        check(clients["memory_mb"] < MEMORY_LIMIT_MB, f"the relay has {clients['memory_mb']} MB with idle clients")
        check(clients["share"] >= SHARE_LIMIT, f"beside idle clients {clients['share']:.0%} of the throughput remain")
    for name, curve in results.get("growth", {}).items():
        points = [(int(cause), cost) for cause, cost in curve.items()]
        for (small, low), (large, high) in itertools.pairwise(points):
            most = low * max(1.0, large / max(small, 1)) * LINEAR_SLACK
            check(high <= most, f"{name}: {small} → {large} costs {low} → {high} ms a mail: more than linear")
    return found


def report(results: Results) -> str:
    """Return the section for the page."""
    queue, clients, many = results["queue"], results["clients"], results["recipients"]
    answers = ", ".join(f"{name} {seconds:.2f}" for name, seconds in queue["answers_s"].items())
    lines = [
        f"`make prove NAME=scale`, {made_at()}, {os.cpu_count()} cores, one relay, no inspection, small mail.",
        "",
        "| what | measured | aim |",
        "|---|---|---|",
        f"| start with {queue['queued']:,} deferred mails, after a kill, with none | {queue['start_s']} s, "
        f"{queue['start_killed_s']} s, {queue['start_empty_s']} s | < {START_LIMIT_S:.0f} s |",
        f"| memory of the relay then, under load | {queue['memory_mb']} MB | < {MEMORY_LIMIT_MB:.0f} MB |",
        f"| new mail, empty and long queue in turns | {queue['empty_msg_s']} and {queue['full_msg_s']} msg/s: "
        f"{queue['share']:.0%} | ≥ {SHARE_LIMIT:.0%} |",
        f"| commit p50 / p99 / longest | {queue['commit']['p50_ms']} / {queue['commit']['p99_ms']} / "
        f"{queue['commit']['longest_ms']} ms | p99 ≤ {COMMIT_LIMIT_MS:.0f} ms |",
        f"| answers, s | {answers} | < {ANSWER_LIMIT_S:.0f} s |",
        f"| the whole queue searched for one recipient | {queue['whole_search_s']} s in "
        f"{queue['search_steps']} steps | progress is shown |",
        f"| {clients['clients']:,} idle clients | {clients['memory_mb']} MB, {clients['kb_each']} KB each | "
        f"< {MEMORY_LIMIT_MB:.0f} MB |",
        f"| new mail alone and beside them | {clients['alone_msg_s']} and {clients['crowded_msg_s']} msg/s: "
        f"{clients['share']:.0%} | ≥ {SHARE_LIMIT:.0%} |",
        f"| {many['recipients']:,} recipients in {many['mails']:,} mails | {many['seconds']} s, "
        f"{many['per_second']:,} recipients/s, {many['memory_mb']} MB | |",
        "",
        "CPU of the gateway for one mail, ms, while one thing grows (none may grow faster than its cause):",
        "",
    ]
    for name, curve in results["growth"].items():
        lines.append(f"- {name}: " + ", ".join(f"{int(cause):,}: {cost}" for cause, cost in curve.items()))
    problems = faults(results)
    lines += ["", *(f"- **not as promised**: {problem}" for problem in problems)] if problems else []
    return "\n".join(lines)


STEPS: dict[str, Callable[[argparse.Namespace], Results]] = {
    "queue": prove_queue,
    "clients": prove_clients,
    "recipients": prove_recipients,
    "growth": prove_growth,
}


def options(arguments: list[str]) -> argparse.Namespace:
    """Return the options of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1000, help="mails ...")
    parser.add_argument("--recipients", type=int, default=100, help="... to so many recipients each")
    parser.add_argument("--mails", type=int, default=2000, help="mails of one measurement of throughput")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--only", choices=list(STEPS), help="one step, and no page")
    parser.add_argument("--fresh", action="store_true", help="forget an earlier, unfinished proof")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the proof, resuming an earlier one."""
    arguments = options(sys.argv[1:])
    if not (BENCH / "relay_bench.py").exists():
        print(f"the load driver is not at {BENCH}: set GATEPOST_BENCH", file=sys.stderr)
        return 2
    PLACE.mkdir(parents=True, exist_ok=True)
    results: Results = json.loads(KEEP.read_text()) if KEEP.exists() and not arguments.fresh else {}
    for name, step in STEPS.items():
        if arguments.only not in (None, name) or (name in results and not arguments.only):
            continue
        print(f"-- {name}", flush=True)
        results[name] = step(arguments)
        KEEP.write_text(json.dumps(results))
        print(f"   {json.dumps(results[name])}", flush=True)
    problems = faults(results)
    for problem in problems:
        print(f"not as promised: {problem}", file=sys.stderr)
    if not arguments.only:
        write_section("scale", report(results), DOCS / "performance.md")
        KEEP.unlink()
        shutil.rmtree(PLACE)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
