"""`python tools/bench_doors.py [--n 300] [--spamd-n 20] [--asked-n 5000] [--c 16]`: what asking at our doors costs.

A CHECK at our spamd door beside spamd: both get the same mails of 2 KB and 28 KB over the same client, each mail with
words of its own so that nothing is known already; the gateway has a spamd door and shipped defaults but for its
console, spamd Debian's rules without network checks. CPU time is that of all their processes, theirs that ended
included. Then what asking alone costs over the product's own protocol: at a door whose group has nothing checked and no
field written, over kept connections as `gatepost client` has them; with queue id, group, records, log and tracking.
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench_common import free_ports, processes_below, wait_until_settled
from gatepost.client.remote import RemoteJudge, RemoteSettings
from gatepost.config.default import build_default_config
from gatepost.model.envelope import Client
from gatepost.model.filtering import Deed, Request
from result_pages import DOCS, made_at, write_section

SIZES = (2, 28)
UNCHECKED = "[policy]\ncheck = false\ncheck_spam = false\nspam_headers = false"
START_S = 120.0
ANSWER_S = 300.0
WORDS = (
    "meeting", "report", "quarterly", "figures", "attached", "please", "review", "schedule", "customer", "invoice",
    "delivery", "project", "contract", "thanks", "regards", "monday", "tuesday", "office", "travel", "booking",
    "summary", "budget", "agenda", "notes", "draft", "version", "update", "server", "release", "question", "answer",
)  # fmt: skip


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=300, help="mails of each size at our door")
    parser.add_argument("--spamd-n", type=int, default=20, help="mails of each size at spamd")
    parser.add_argument("--asked-n", type=int, default=5000, help="mails of each size over our own protocol")
    parser.add_argument("--c", type=int, default=16, help="connections at once")
    arguments = parser.parse_args()
    rows: dict[str, dict[int, float]] = {}
    for name, start, number in (("gatepost", _gateway, arguments.n), ("spamd", _spamd, arguments.spamd_n)):
        if name == "spamd" and shutil.which("spamd", path=_path()) is None:
            print("spamd is not installed: make peers")
            continue
        with tempfile.TemporaryDirectory(prefix="bench-doors-", ignore_cleanup_errors=True) as place:
            Path(place).chmod(0o755)
            with start(Path(place)) as (pid, port):
                rows[name] = {kb: _measure(pid, port, kb, number, arguments.c) for kb in SIZES}
    lines = ["| CPU ms of one CHECK | " + " | ".join(f"{kb} KB" for kb in SIZES) + " |", "|---|" + "---|" * len(SIZES)]
    lines += [f"| {name} | " + " | ".join(f"{1000 * row[kb]:.2f}" for kb in SIZES) + " |" for name, row in rows.items()]
    if "spamd" in rows:
        times = (f"{rows['spamd'][kb] / rows['gatepost'][kb]:.0f}" for kb in SIZES)
        lines.append("| times (aim 30) | " + " | ".join(times) + " |")
    print("\n".join(lines))
    if "spamd" in rows:
        command = f"`python tools/bench_doors.py --n {arguments.n} --spamd-n {arguments.spamd_n} --c {arguments.c}`"
        write_section("by spamd", "\n".join((f"{command}, {made_at()}.", "", *lines)), DOCS / "performance.md")
    _report_asking(arguments.asked_n, arguments.c)
    return 0


def _report_asking(number: int, connections: int) -> None:
    """Measure what asking costs over our own protocol, and write its section."""
    rows = []
    for transport in ("tcp", "unix"):
        with tempfile.TemporaryDirectory(prefix="bench-doors-", ignore_cleanup_errors=True) as place:
            Path(place).chmod(0o755)
            with _asked(Path(place), transport) as (pid, address):
                cells = [f"{1e6 * _measure_asking(pid, address, kb, number, connections):.0f}" for kb in SIZES]
        rows.append(f"| {transport} | " + " | ".join(cells) + " |")
    head = "| CPU µs of one question (aim 150) | " + " | ".join(f"{kb} KB" for kb in SIZES) + " |"
    lines = [head, "|---|" + "---|" * len(SIZES), *rows]
    print("\n".join(lines))
    command = f"`python tools/bench_doors.py --asked-n {number} --c {connections}`"
    write_section("asking", "\n".join((f"{command}, {made_at()}.", "", *lines)), DOCS / "performance.md")


@contextlib.contextmanager
def _asked(place: Path, transport: str) -> Iterator[tuple[int, str]]:
    port, smtp = free_ports(2)
    address = f"tcp:127.0.0.1:{port}" if transport == "tcp" else f"unix:{place}/door.sock"
    text = build_default_config(
        state_path=str(place / "state"), hostname="bench.localdomain", listen=f"127.0.0.1:{smtp}",
        next_hop=f"[127.0.0.1:{smtp}]", protected_domains=("dest.example",),
    )  # fmt: skip
    for old, new in (("[console]\n", "[console]\nenabled = false\n"), ("[policy]\ncheck = true", UNCHECKED)):
        if old not in text:
            raise SystemExit(f"the shipped configuration has no {old!r}")
        text = text.replace(old, new)
    file = place / "gatepost.toml"
    file.write_text(text + f'\n[[door]]\nkind = "filter"\naddress = "{address}"\n')
    with _running([sys.executable, "-m", "gatepost.cli.main", "run", "-c", str(file)], place) as process:
        judge = RemoteJudge(RemoteSettings(addresses=(address,)), lambda *_: None)
        _wait(lambda: asyncio.run(judge.probe())[address] == "")
        wait_until_settled(process.pid)
        yield process.pid, address


def _measure_asking(pid: int, address: str, kb: int, number: int, connections: int) -> float:
    """Return the gateway's CPU seconds of one question."""
    source = random.Random(kb)
    mails = [_mail(source, kb) for _ in range(100)]
    client = Client("203.0.113.9", helo="mail.sender.example")
    request = Request(client=client, sender="alice@sender.example", recipients=("bob@dest.example",))

    async def ask(many: int) -> None:
        judge = RemoteJudge(RemoteSettings(addresses=(address,), connections=connections), lambda *_: None)

        async def work(numbers: Iterator[int]) -> None:
            for each in numbers:
                ruling = await judge.judge(request, mails[each % len(mails)], ANSWER_S)
                if ruling.whole.deed is not Deed.DELIVER:
                    raise SystemExit(f"a mail was not let through: {ruling.whole}")

        numbers = iter(range(many))
        await asyncio.gather(*(work(numbers) for _ in range(connections)))
        judge.close()

    asyncio.run(ask(max(100, number // 10)))
    before = _cpu_s(pid)
    asyncio.run(ask(number))
    return (_cpu_s(pid) - before) / number


@contextlib.contextmanager
def _gateway(place: Path) -> Iterator[tuple[int, int]]:
    port, smtp = free_ports(2)
    text = build_default_config(
        state_path=str(place / "state"), hostname="bench.localdomain", listen=f"127.0.0.1:{smtp}",
        next_hop=f"[127.0.0.1:{smtp}]", protected_domains=("dest.example",),
    )  # fmt: skip
    text = text.replace("[console]\n", "[console]\nenabled = false\n")  # its start would be counted
    text += f'\n[[door]]\nkind = "spamd"\naddress = "tcp:127.0.0.1:{port}"\ndefault_domain = "dest.example"\n'
    file = place / "gatepost.toml"
    file.write_text(text)
    command = [sys.executable, "-m", "gatepost.cli.main", "run", "-c", str(file)]
    with _running(command, place) as process:
        _wait(lambda: b"PONG" in _ask(port, b"PING SPAMC/1.2\r\n\r\n"))
        yield process.pid, port


@contextlib.contextmanager
def _spamd(place: Path) -> Iterator[tuple[int, int]]:
    (port,) = free_ports(1)
    program = shutil.which("spamd", path=_path()) or "spamd"
    command = [
        program, "-L", "-x", "-u", "nobody", "-m", "2", "--min-children=2", "--max-spare=2", "-i", "127.0.0.1",
        "-p", str(port), "-s", "stderr",
    ]  # fmt: skip
    with _running(command, place) as process:
        _wait(lambda: b"PONG" in _ask(port, b"PING SPAMC/1.2\r\n\r\n"))
        yield process.pid, port


@contextlib.contextmanager
def _running(command: list[str], place: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _measure(pid: int, port: int, kb: int, number: int, connections: int) -> float:
    """Return the CPU seconds of one CHECK."""
    source = random.Random(kb)
    warm = [_mail(source, kb) for _ in range(max(8, number // 4))]
    mails = [_mail(source, kb) for _ in range(number)]
    _run(port, warm, connections)
    before = _cpu_s(pid)
    _run(port, mails, connections)
    return (_cpu_s(pid) - before) / number


def _run(port: int, mails: list[bytes], connections: int) -> None:
    waiting = list(mails)
    wrong: list[bytes] = []

    def work() -> None:
        while waiting:
            mail = waiting.pop()
            request = b"CHECK SPAMC/1.5\r\nUser: bob@dest.example\r\nContent-length: %d\r\n\r\n" % len(mail)
            answer = _ask(port, request + mail)
            if b"\r\nSpam: " not in answer:
                wrong.append(answer)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(f"{len(wrong)} mails were not checked: {wrong[0]!r}")


def _ask(port: int, request: bytes) -> bytes:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), ANSWER_S) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        return answer
    return b""


def _mail(source: random.Random, kb: int) -> bytes:
    number = source.getrandbits(48)
    head = (
        "Received: from mail.sender.example (mail.sender.example [203.0.113.9])\r\n"
        f"\tby mx.dest.example with ESMTPS id {number:x}\r\n"
        "\tfor <bob@dest.example>; Mon, 2 Mar 2026 09:00:00 +0000\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\n"
        "From: Alice <alice@sender.example>\r\nTo: Bob <bob@dest.example>\r\n"
        f"Subject: {' '.join(source.choices(WORDS, k=5))}\r\nMessage-ID: <{number:x}@sender.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    lines: list[str] = []
    size = len(head)
    while size < kb * 1024:
        lines.append(" ".join((*source.choices(WORDS, k=9), f"{source.getrandbits(20):x}")) + "\r\n")
        size += len(lines[-1])
    return (head + "".join(lines)).encode()


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and all below it, with that of those which have ended."""
    ticks = 0
    for each in (pid, *processes_below(pid)):
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _wait(look: Callable[[], object]) -> None:
    end = time.monotonic() + START_S
    while not look():
        if time.monotonic() > end:
            raise SystemExit("it does not start")
        time.sleep(0.2)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


if __name__ == "__main__":
    sys.exit(main())
