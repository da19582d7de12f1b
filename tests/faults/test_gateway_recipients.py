"""One mail to a hundred thousand recipients: taken when configured, in linear time, within the relay's memory."""

import time
from pathlib import Path

import pytest
from tests.faults.support_gateway import RawClient, memory_kib, reset_peak, wait_settled
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

COUNT = 100_000
MEMORY_LIMIT_KIB = 250 * 1024
"""The relay's ordinary 120 MB and about 1 KiB for each recipient of the one mail in work."""
STALL_LIMIT_S = 5.0
"""Longest time another client may wait for the answers of a whole session meanwhile."""


def send(gateway: Gateway, count: int) -> None:
    """One mail with so many recipients in as many domains as there are hundreds of them, commands in batches."""
    with RawClient(gateway, timeout=120) as client:
        assert client.reply().startswith(b"220")
        assert client.ask(b"EHLO x.example.net").startswith(b"250")
        assert client.ask(b"MAIL FROM:<a@example.net>").startswith(b"250")
        for start in range(0, count, 1_000):
            client.sock.sendall(
                b"".join(b"RCPT TO:<u%d@d%d.example.org>\r\n" % (n, n // 100) for n in range(start, start + 1_000))
            )
            for _ in range(1_000):
                assert client.reply().startswith(b"250")
        assert client.ask(b"DATA").startswith(b"354")
        assert client.ask(plain("many") + b"\r\n.").startswith(b"250")


def delivered(sink: Sink) -> int:
    return sum(len(mail.recipients) for mail in list(sink.mails))


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize(("most", "down"), [(30_000, False), (COUNT, True)], ids=["delivered", "deferred first"])
def test_hundred_thousand_recipients(tmp_path: Path, most: int, *, down: bool) -> None:
    replace = {
        "maximal_incoming_rcpts_per_message = 1000": f"maximal_incoming_rcpts_per_message = {most}",
        'minimal_backoff_time = "15 min"': 'minimal_backoff_time = "2 s"',
        'maximal_backoff_time = "4 h"': 'maximal_backoff_time = "2 s"',
    }
    with Sink() as spare:
        port = spare.port
    sink = None if down else Sink(port)
    with Gateway(tmp_path / "gw", port, replace=replace) as gateway:
        pid = gateway.relay_pids()[0]
        costs = []
        for count in (most // 10, most):
            before = delivered(sink) if sink else 0
            began, used = time.monotonic(), cpu_s(pid)
            reset_peak(pid)
            send(gateway, count)
            if sink is None:
                wait_for(lambda: "not reached" in gateway.log(), "the first attempt", pause_s=0.2)
                sink = Sink(port)
            stall = 0.0

            def look(sink: Sink = sink, before: int = before, count: int = count) -> bool:
                nonlocal stall
                asked = time.monotonic()
                with RawClient(gateway, timeout=120) as other:
                    assert other.reply().startswith(b"220")
                    assert other.ask(b"QUIT").startswith(b"221")
                stall = max(stall, time.monotonic() - asked)
                return delivered(sink) - before >= count

            wait_for(look, f"{count} deliveries", pause_s=0.1)
            wait_settled(gateway)
            assert delivered(sink) - before == count
            costs.append(cpu_s(pid) - used)
            peak = memory_kib(pid, "VmHWM")
            print(
                f"{count}: {time.monotonic() - began:.1f} s, CPU {costs[-1]:.2f} s, peak {peak} KiB, stall {stall:.2f} s"
            )
            assert peak < MEMORY_LIMIT_KIB
            assert stall < STALL_LIMIT_S
        assert gateway.queue() == []
        assert gateway.relay_pids() == [pid]
        # Linear: ten times the recipients, ten times the work, give and take.
        assert costs[1] < 15 * max(costs[0], 0.3)
    assert sink is not None
    sink.close()
