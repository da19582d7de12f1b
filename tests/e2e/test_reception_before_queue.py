"""Before-queue listeners: the verdict comes before the 250, and one commit holds the mail with what becomes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.support_gateway import TEMPLATE, injected
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

SLOW = """
import time
from gatepost.antivirus.builtin import BuiltinEngine
scan = BuiltinEngine.scan
def slow(self, subject, deadline):
    if b"TAKES-A-SECOND" in subject.data:
        time.sleep(1.0)
    return scan(self, subject, deadline)
BuiltinEngine.scan = slow
"""
GROUPS = """
[[group]]
name = "lenient"
recipients = ["*@lenient.example.org"]
block_message = []
action_infected = "placeholder"

[[group]]
name = "trusting"
recipients = ["*@trusting.example.org"]
check = false
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


class BeforeQueueGateway(Gateway):
    """Its second listener inspects before it answers."""

    def __init__(self, place: Path, sink_port: int) -> None:
        self.before_port = free_port()
        listener = (
            f'\n[[listener]]\naddress = "127.0.0.1:{self.before_port}"\nbefore_queue = true\n'
            'before_queue_deadline = "5 s"\n'
        )
        super().__init__(
            place / "gw",
            sink_port,
            settings=listener + GROUPS,
            replace={
                'protected_domains = ["example.org"]': 'protected_domains = ["example.org", "*.example.org"]',
                "server_max_filters = 0": "server_max_filters = 2",
            },
            env=injected(place, TEMPLATE, SLOW),
        )

    def give(self, content: bytes, *recipients: str, bdat: bool = False) -> str:
        """Give one mail to the before-queue listener; return the reply to its end."""
        with Wire(self.before_port) as wire:
            wire.begin(recipients or ("user@example.org",))
            if not bdat:
                return wire.data(content)
            half = len(content) // 2
            wire.send(b"BDAT %d\r\n" % half + content[:half])
            wire.expect(("", "250 "))
            wire.send(b"BDAT %d LAST\r\n" % (len(content) - half) + content[half:])
            return wire.reply()

    def contents(self) -> list[Path]:
        return [path for path in (self.state / "queue").rglob("content/*") if path.is_file()]


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BeforeQueueGateway]:
    with BeforeQueueGateway(tmp_path_factory.mktemp("before"), sink.port) as one:
        yield one


def arrived(sink: Sink, subject: str, recipient: str) -> Mail:
    def look() -> list[Mail]:
        wanted = f"\r\nSubject: {subject}\r\n".encode()
        return [m for m in list(sink.mails) if wanted in m.header + b"\r\n" and recipient in m.recipients]

    return wait_for(look, f"mail {subject!r} for {recipient}")[0]


@pytest.mark.parametrize("bdat", [False, True])
@pytest.mark.parametrize("size", [0, 400_000])
def test_clean_mail_is_accepted_and_delivered_as_it_came(
    gateway: BeforeQueueGateway, sink: Sink, size: int, bdat: bool
) -> None:
    subject = f"clean {size} {bdat}"
    content = plain(subject, size=size)
    answer = gateway.give(content, bdat=bdat)
    assert answer.startswith("250 2.0.0 OK queued as ")
    assert arrived(sink, subject, "user@example.org").without_trace() == content
    queue_id = answer.split()[-1]
    wait_for(lambda: gateway.lines("DELIVERED", queue_id), "its delivery in the log")
    words = [line.split()[4].rstrip(",") for line in gateway.lines(f"{queue_id}:")]
    assert words == ["RECEIVED", "SCANNED", "DELIVERED"]


@pytest.mark.parametrize("bdat", [False, True])
def test_infected_mail_is_refused_and_nothing_is_kept(gateway: BeforeQueueGateway, sink: Sink, bdat: bool) -> None:
    before = gateway.status()
    mails = len(sink.mails)
    content = with_attachment(EICAR, "eicar.com", f"infected {bdat}") + b"x" * 70 + b"\r\n"
    answer = gateway.give(content, bdat=bdat)
    assert answer.startswith("550 5.7.1 Message refused because of its content; our reference: ")
    wait_for(lambda: gateway.lines("cause=content"), "the refusal in the log")
    scanned = wait_for(lambda: gateway.lines("SCANNED", answer.split()[-1]), "the verdict in the log")
    assert 'status="infected' in scanned[-1]
    after = gateway.status()
    assert after["queue"] == before["queue"]
    assert after["counters"].get("mta_received_messages", 0) == before["counters"].get("mta_received_messages", 0)
    assert not gateway.contents()
    assert len(sink.mails) == mails


def test_mixed_verdicts_are_accepted_and_treated_for_each_recipient(gateway: BeforeQueueGateway, sink: Sink) -> None:
    content = with_attachment(EICAR, "eicar.com", "mixed")
    answer = gateway.give(content, "a@example.org", "b@lenient.example.org", "c@trusting.example.org")
    assert answer.startswith("250 2.0.0 OK queued as ")
    assert arrived(sink, "mixed", "c@trusting.example.org").without_trace().endswith(content[-200:])
    mended = arrived(sink, "mixed", "b@lenient.example.org")
    assert b"malicious code" in mended.content
    wait_for(lambda: gateway.lines("BLOCKED, rcpt=<a@example.org>"), "the third to be blocked")
    wait_for(lambda: gateway.status()["queue"]["bytes"] == 0, "the queue to be empty")
    assert not [m for m in sink.mails if "a@example.org" in m.recipients]


def test_client_that_goes_before_its_250_leaves_nothing(gateway: BeforeQueueGateway, sink: Sink) -> None:
    before = gateway.counter("mta_received_messages")
    for size in (0, 400_000):
        with Wire(gateway.before_port) as wire:
            wire.begin(["gone@example.org"])
            wire.expect(("DATA", "354 "))
            wire.send(plain("gone", "TAKES-A-SECOND\r\n", size=size) + b".\r\n")
            wait_for(lambda: gateway.status()["relays"][0]["filters"]["busy"], "its inspection")
    wait_for(lambda: not gateway.status()["relays"][0]["filters"]["busy"], "the inspection to end")
    wait_for(lambda: not gateway.contents(), "its content to be gone")
    wait_for(lambda: gateway.status()["queue"]["bytes"] == 0, "its place in the queue to be free")
    assert gateway.counter("mta_received_messages") == before
    assert not [m for m in sink.mails if "gone@example.org" in m.recipients]


@pytest.mark.parametrize("size", [0, 400_000])
def test_client_that_says_quit_and_ends_its_side_hears_of_its_mail(
    gateway: BeforeQueueGateway, sink: Sink, size: int
) -> None:
    subject = f"last words {size}"
    with Wire(gateway.before_port) as wire:
        wire.begin(["user@example.org"])
        wire.expect(("DATA", "354 "))
        wire.send(plain(subject, "TAKES-A-SECOND\r\n", size=size) + b".\r\nQUIT\r\n")
        wire.end()
        wire.expect(("", "250 2.0.0 OK queued as "), ("", "221 "))
        assert wire.reply() == "", "it is closed"
    arrived(sink, subject, "user@example.org")


def test_a_client_is_told_to_come_again_when_nothing_is_inspected(gateway: BeforeQueueGateway) -> None:
    assert gateway.command("avir-off").returncode == 0
    assert gateway.give(plain("switched off")).startswith("451 4.3.2 ")
    assert gateway.command("avir-on").returncode == 0
    wait_for(lambda: gateway.give(plain("on again")).startswith("250 "), "scanning to be on again")
    assert not gateway.contents()
    assert len(gateway.lines("cause=not-inspected")) >= 1
