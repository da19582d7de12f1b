"""What `make bench ARGS=--latency` shows: how long a scan takes at half load, at our rspamd door and at rspamd.

All get the same requests for `/checkv2` over kept connections, at moments drawn once (an open loop: a mail comes when
it is due, whether those before it are answered or not; its time runs from that moment). Half load is half of what
rspamd with ClamAV answers in a closed loop, the same for all; we are also shown at half of what we answer ourselves.
Checks that ask the network are off in all three; rspamd alone looks for no malware.
"""

import asyncio
import contextlib
import importlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench_common import free_ports, packaged_python, wait_until_settled
from gatepost.config.default import build_default_config
from result_pages import made_at

OURS = "gatepost"
SAME_CHECKS = "rspamd+clamd"
PEERS = {"rspamd": "rspamd-only", SAME_CHECKS: "rspamd-av-only"}
PROGRAMS = ("/usr/bin/rspamd", "/usr/sbin/clamd", "/usr/bin/redis-server")
CONNECTIONS = 8
"""Of the closed loop: more than there are cores."""
WARM = 100
START_S = 60.0
NO_NETWORK = "".join(f"use_{name} = false\n" for name in ("dnsbl", "reverse_dns", "spf", "surbl", "authentication"))
PERCENTILES = (50, 90, 99)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Run(msgspec.Struct, frozen=True):
    """One run of a system."""

    rate: float
    """Mails a second."""
    times_ms: list[float]
    cpu_ms: float
    """Of a mail."""


def latency(bench: Path, *, reps: int, messages: int, with_peers: bool) -> str:
    """Measure and return the section."""
    sys.path.insert(0, str(bench))
    with tempfile.TemporaryDirectory(prefix="bench-latency-", ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)
        os.environ["RELAY_BENCH_DIR"] = place
        peers: Any = importlib.import_module("peers")  # lies beside the checkout
        corpus: Any = importlib.import_module("corpus")
        peers.cpu_share()
        systems = (OURS, *PEERS) if with_peers else (OURS,)
        mails = [_request(mail) for mail in corpus.load(messages, "mix", 100)]
        warm = [_request(mail) for mail in corpus.load(WARM, "mix", 99)]
        reached = {}
        for name in systems:
            with _running(peers, name, warm) as port:
                reached[name] = _closed(port, mails)
        half = reached[SAME_CHECKS if with_peers else OURS] / 2
        runs: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
        for rep in range(reps):
            for name in systems:
                with _running(peers, name, warm) as port:
                    runs["the same", name].append(_open(peers, port, mails, half, rep))
                    if name == OURS and with_peers:
                        runs["half of its own", name].append(_open(peers, port, mails, reached[OURS] / 2, rep))
    return "\n".join([*_heading(reps, messages), *_table(runs), "", *_result(reached, runs)])


def _heading(reps: int, messages: int) -> list[str]:
    command = f"`make bench ARGS='--latency --reps {reps} --n {messages}'`"
    return [
        f"{command}, {made_at()}, {os.cpu_count()} cores; {reps} runs of each in turns, all their mails together.",
        "",
    ]


def _table(runs: dict[tuple[str, str], list[Run]]) -> Iterator[str]:
    yield "| load | system | mails/s | " + " | ".join(f"p{each} ms" for each in PERCENTILES) + " | worst ms | CPU ms |"
    yield "|---|---|---|" + "---|" * len(PERCENTILES) + "---|---|"
    for (load, name), found in runs.items():
        times = sorted(each for run in found for each in run.times_ms)
        shown = " | ".join(f"{_percentile(times, each):.1f}" for each in PERCENTILES)
        cpu = statistics.median(run.cpu_ms for run in found)
        yield f"| {load} | {name} | {found[0].rate:.0f} | {shown} | {times[-1]:.1f} | {cpu:.2f} |"


def _result(reached: dict[str, float], runs: dict[tuple[str, str], list[Run]]) -> Iterator[str]:
    told = ", ".join(f"{name} {rate:.0f}" for name, rate in reached.items())
    yield f"- mails a second in a closed loop of {CONNECTIONS}: {told}"

    def p99(name: str) -> float:
        return _percentile(sorted(each for run in runs["the same", name] for each in run.times_ms), 99)

    for name in PEERS if ("the same", SAME_CHECKS) in runs else ():
        yield f"- p99 at half load is {p99(OURS) / p99(name):.2f} of that of {name} (aim: below 1)"


def _percentile(times: Sequence[float], percent: int) -> float:
    return times[min(len(times) - 1, len(times) * percent // 100)]


# --- the systems


@contextlib.contextmanager
def _running(peers: Any, name: str, warm: Sequence[bytes]) -> Iterator[int]:
    """Run a system; give its port."""
    try:
        if name == OURS:
            port = _start_gateway(peers)
        else:
            peers.up(PEERS[name])
            port = peers.RNORMAL
        _closed(port, warm)
        yield port
    finally:
        peers.stop()


def _start_gateway(peers: Any) -> int:
    Path(peers.CG).mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="gateway-", dir=peers.W))
    port, smtp = free_ports(2)
    text = build_default_config(
        state_path=str(place / "state"),
        hostname="bench.localdomain",
        listen=f"127.0.0.1:{smtp}",
        next_hop=f"[127.0.0.1:{smtp}]",
        protected_domains=("dest.example",),
    )
    text = text.replace("[policy]\n", f"[policy]\n{NO_NETWORK}")
    text += f'\n[[door]]\nkind = "rspamd"\naddress = "tcp:127.0.0.1:{port}"\n'
    file = place / "gatepost.toml"
    file.write_text(text)
    process = peers.spawn("gatepost", [*packaged_python(), "-m", "gatepost.cli.main", "run", "-c", str(file)])
    peers.wait_port(port, START_S)
    wait_until_settled(process.pid)
    return port


def _cpu_s(peers: Any) -> float:
    """Return the CPU time of all that `peers` has started, NaN where the system does not count it."""
    try:
        return int(Path(peers.CG, "cpuacct.usage").read_text()) / 1e9
    except OSError:
        return float("nan")


# --- the driver


def _request(mail: bytes) -> bytes:
    return (
        b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nIP: 203.0.113.9\r\nHelo: src.example\r\n"
        b"From: <a@src.example>\r\nRcpt: <user1@dest.example>\r\nContent-Length: %d\r\n\r\n" % len(mail) + mail
    )


def _closed(port: int, requests: Sequence[bytes]) -> float:
    """Return how many requests a second are answered when each connection sends the next one at once."""

    async def work(waiting: Iterator[bytes], client: "_Client") -> None:
        for request in waiting:
            await client.ask(request)

    async def run() -> float:
        client = _Client(port)
        waiting = iter(requests)
        began = time.perf_counter()
        await asyncio.gather(*(work(waiting, client) for _ in range(CONNECTIONS)))
        took = time.perf_counter() - began
        client.close()
        return len(requests) / took

    return asyncio.run(run())


def _open(peers: Any, port: int, requests: Sequence[bytes], rate: float, seed: int) -> Run:
    """Send each request when it is due."""
    source = random.Random(seed)
    times_ms: list[float] = []

    async def work(client: "_Client", request: bytes, due: float) -> None:
        await client.ask(request)
        times_ms.append(1000 * (time.perf_counter() - due))

    async def run() -> None:
        client = _Client(port)
        due = time.perf_counter()
        tasks = []
        for request in requests:
            due += source.expovariate(rate)
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(work(client, request, due)))
        await asyncio.gather(*tasks)
        client.close()

    before = _cpu_s(peers)
    asyncio.run(run())
    return Run(rate, times_ms, 1000 * (_cpu_s(peers) - before) / len(requests))


class _Client:
    """Connections that are kept, one more whenever all are in use."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Stream] = []

    async def ask(self, request: bytes) -> None:
        """Have a request answered."""
        kept = bool(self._idle)
        stream = self._idle.pop() if kept else await self._connect()
        try:
            await self._talk(stream, request)
        except (OSError, EOFError):
            stream[1].close()
            if not kept:
                raise
            stream = await self._connect()  # the server had enough of that one
            await self._talk(stream, request)
        self._idle.append(stream)

    async def _connect(self) -> Stream:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _talk(self, stream: Stream, request: bytes) -> None:
        reader, writer = stream
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        answer = await reader.readexactly(size)
        if b" 200 " not in head[:20] or b'"action"' not in answer:
            raise SystemExit(f"port {self._port}: {head[:80]!r} {answer[:200]!r}")

    def close(self) -> None:
        """Close all."""
        for _, writer in self._idle:
            writer.close()
