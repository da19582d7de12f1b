"""What `make bench ARGS=--more` shows beside the comparison of speed: the section "Under other conditions".

- the gateway with TLS on both sides, and with its access checks asking a DNS server, beside the plain gateway;
- latency of gateway and Postfix at half of the load that Postfix can take;
- memory of both with 200 sessions, as PSS: their processes share most of theirs.
"""

import contextlib
import importlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench_common import START_S, free_ports, median, packaged_python, processes_below, pss_of, wait_for_greeting
from result_pages import made_at

TOOLS = Path(__file__).resolve().parent
OURS = "gatepost, no inspection"
POSTFIX = "postfix"
LOADS: dict[str, dict[str, int]] = {"1/session": {"per": 1, "pipe": 0}, "50/session+pipelining": {"per": 50, "pipe": 1}}
BUSY_SESSIONS = 200
SAMPLE_S = 0.25


def other_conditions(bench: Path, raw: Path, *, reps: int, messages: int, sessions: int, with_postfix: bool) -> str:
    """Measure and return the section; `raw`: the rows of the comparison, which tell what Postfix can take."""
    lines = [
        f"`make bench ARGS='--more --reps {reps} --n {messages} --c {sessions}'`, {made_at()}, {os.cpu_count()} cores.",
        "",
        *_variants(bench, reps, messages, sessions),
    ]
    systems = (OURS, POSTFIX) if with_postfix else (OURS,)
    rates = _half_of_postfix(raw) if with_postfix else {}
    if rates:
        lines += ["", *_latency(bench, systems, rates, reps)]
    lines += ["", *_memory(bench, systems, messages)]
    return "\n".join(lines)


# --- the gateway under other conditions


def _variants(bench: Path, reps: int, messages: int, sessions: int) -> list[str]:
    sys.path.insert(0, str(bench))
    relay_bench = importlib.import_module("relay_bench")  # lies beside the checkout

    rows: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        certificate = _make_certificate(Path(folder))
        for _ in range(reps):
            for load, arguments in LOADS.items():
                for variant in ("plain", "TLS on both sides", "checks ask DNS"):
                    with _gateway(variant, certificate) as (enter, sink, process):
                        row = relay_bench.run(
                            f"127.0.0.1:{enter}", sink, pids=[process], n=messages, c=sessions, warm=200, **arguments
                        )
                    rows[load, variant].append(row)
    lines = ["| load | gateway, no inspection | msg/s | CPU ms/msg | data→250 p50/p99 ms | lost/dup/refused |"]
    lines.append("|---|---|---|---|---|---|")
    for (load, variant), measured in rows.items():
        m = {name: median(measured, name) for name in ("msg_s", "cpu_ms_msg", "acc_lat_p50", "acc_lat_p99")}
        total = "/".join(str(sum(int(row[name] or 0) for row in measured)) for name in ("lost", "dup", "refused"))
        lines.append(
            f"| {load} | {variant} | {m['msg_s']:.0f} | {m['cpu_ms_msg']:.2f} "
            f"| {m['acc_lat_p50']:.0f} / {m['acc_lat_p99']:.0f} | {total} |"
        )
    return lines


@contextlib.contextmanager
def _gateway(variant: str, certificate: tuple[str, str]) -> Iterator[tuple[int, int, int]]:
    """Run a gateway; give (port to send to, port it delivers to, its process)."""
    enter, leave, front, sink = free_ports(4)
    command = [sys.executable, str(TOOLS / "bench_gateway.py"), "--no-inspection"]
    neighbour = None
    if variant == "TLS on both sides":
        command += ["--tls", *certificate]
        neighbour, _ = _start_neighbour("tls", *certificate, *map(str, (front, enter, leave, sink)))
    else:
        front, leave = enter, sink
        if variant == "checks ask DNS":
            neighbour, address = _start_neighbour("dns")
            command += ["--checks", address]
    with tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, "BENCH_IN": str(enter), "BENCH_SINK": str(leave), "BENCH_DIR": state}
        gateway = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            wait_for_greeting(enter)
            yield front, sink, gateway.pid
        finally:
            for process in (gateway, neighbour):
                if process is not None:
                    process.send_signal(signal.SIGTERM)
                    process.wait(START_S)


def _start_neighbour(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, str(TOOLS / "bench_neighbours.py"), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def _make_certificate(folder: Path) -> tuple[str, str]:
    sys.path.insert(0, str(TOOLS.parent))
    from tests.support.certificates import Authority  # noqa: PLC0415 - needed for this alone

    issued = Authority(folder).issue("bench.localdomain", "127.0.0.1")
    return str(issued.chain), str(issued.key)


# --- latency at half of Postfix's load


def _half_of_postfix(raw: Path) -> dict[str, float]:
    """Return half of the messages per second that Postfix reached, by load; empty when it was not measured."""
    reached: defaultdict[str, list[float]] = defaultdict(list)
    for line in raw.read_text().splitlines():
        row = json.loads(line)
        if row["peer"] == POSTFIX and row["msg_s"]:
            reached[row["load"]].append(row["msg_s"])
    return {load: statistics.median(values) / 2 for load, values in reached.items()}


def _latency(bench: Path, systems: Sequence[str], rates: dict[str, float], reps: int) -> list[str]:
    lines = [
        "| load | system | offered msg/s | data→250 p50/p99 ms | accept→delivery p50/p99 ms |",
        "|---|---|---|---|---|",
    ]
    for load, rate in rates.items():
        rows = _run_peers(bench, systems, "--reps", str(reps), "--rate", f"{rate:.0f}", "--loads", load, "--n", "2000")
        for system, measured in rows.items():
            names = ("acc_lat_p50", "acc_lat_p99", "lat_p50", "lat_p99")
            m = {name: median(measured, name) for name in names}
            lines.append(
                f"| {load} | {system} | {rate:.0f} | {m['acc_lat_p50']:.0f} / {m['acc_lat_p99']:.0f} "
                f"| {m['lat_p50']:.0f} / {m['lat_p99']:.0f} |"
            )
    return lines


# --- memory with many sessions


def _memory(bench: Path, systems: Sequence[str], messages: int) -> list[str]:
    lines = ["| sessions | system | most PSS MB | most RSS MB |", "|---|---|---|---|"]
    load = next(iter(LOADS))
    for system in systems:
        most_pss = 0

        def look(process: int) -> None:
            nonlocal most_pss
            most_pss = max(most_pss, _pss_below(process))

        arguments = ("--reps", "1", "--c", str(BUSY_SESSIONS), "--loads", load, "--n", str(max(messages, 3000)))
        rows = _run_peers(bench, [system], *arguments, look=look)
        rss = median(rows[system], "peak_rss_mb")
        lines.append(f"| {BUSY_SESSIONS} | {system} | {most_pss / 1e6:.0f} | {rss:.0f} |")
    return lines


def _pss_below(process: int) -> int:
    """Return the proportional share of memory, in bytes, of all below a process of the load driver but the driver's."""
    total = 0
    for pid in processes_below(process):
        with contextlib.suppress(OSError):
            if b"peers.py" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                total += pss_of(pid)
    return total


# --- the load driver


def own_arguments(names: dict[str, str]) -> list[str]:
    """Return the driver's arguments for systems of our own: name → script and its arguments, from the checkout."""
    arguments = []
    python = " ".join(packaged_python())
    for name, script in names.items():
        program, *rest = script.split()
        arguments += ["--own", " ".join([f"{name}={python}", str(TOOLS.parent / program), *rest])]
    return arguments


def _run_peers(
    bench: Path, systems: Sequence[str], *arguments: str, look: Any = None
) -> dict[str, list[dict[str, Any]]]:
    """Run systems under the driver; return their rows. `look(process)` is called now and then meanwhile."""
    folder = Path(tempfile.mkdtemp())
    out = folder / "rows.jsonl"
    own = own_arguments({OURS: "tools/bench_gateway.py --no-inspection"})
    command = [sys.executable, "-B", "peers.py", "run", "--out", str(out), *arguments, *own, *systems]
    driver = subprocess.Popen(command, cwd=bench)
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            look(driver.pid)

    sampler = threading.Thread(target=sample)
    if look is not None:
        sampler.start()
    try:
        driver.wait()
    finally:
        ended.set()
        if look is not None:
            sampler.join()
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in out.read_text().splitlines() if out.exists() else ():
        row = json.loads(line)
        if row["msg_s"]:
            rows[row["peer"]].append(row)
    shutil.rmtree(folder)
    return rows
