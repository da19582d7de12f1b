"""Foreign clients and servers around the gateway."""

import asyncio
import functools
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import aiosmtplib
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.peers.conftest import program
from tests.support.lanes import Lane, LaneGateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.model.ids import parse_queue_id

MAILS = 100


class Peers(NamedTuple):
    """A gateway with lanes, and where everything else and the reports go."""

    gateway: LaneGateway
    home: Sink


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with (
        Sink() as home,
        LaneGateway(tmp_path_factory.mktemp("programs") / "gw", home.port) as gateway,
    ):
        yield Peers(gateway, home)
        wait_for(lambda: gateway.queue() == [], "an empty queue")
        assert gateway.stop() == 0


class SmtpSink:
    """A running smtp-sink at a lane; `count` counts what it took."""

    def __init__(self, lane: Lane, place: Path, options: Iterable[str]) -> None:
        self._place = place / "dump"
        self._place.mkdir(mode=0o777)
        # As root it wants to be told whom to become.
        command = [program("smtp-sink"), "-d", f"{self._place}/mail.", "-u", "root", *options]
        self._command = [*command, f"{lane.host}:{lane.port}", "100"]
        self._row = f" {socket.inet_aton(lane.host)[::-1].hex().upper()}:{lane.port:04X} 00000000:0000 0A "

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # No connection to find out: it may be counting them.
        wait_for(lambda: self._row in Path("/proc/net/tcp").read_text(), "smtp-sink to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(120)

    def contents(self) -> list[bytes]:
        """What it took. It keeps a file also for a mail that was broken off; those end without a line end."""
        return [file.read_bytes() for file in self._place.iterdir()]


def wait_for_result(peers: Peers, queue_id: str, result: str) -> str:
    return wait_for(functools.partial(peers.gateway.lines, result, queue_id), f"{result!r} of {queue_id}")[0]


@pytest.mark.parametrize(
    "options",
    [
        ["-8"],
        ["-e"],
        ["-p"],
        ["-P"],
        ["-e", "-P", "-h", "odd_name"],
        ["-8", "-a", "-C", "-E", "-F", "-N", "-p"],
        ["-T", "1024"],
        ["-n", "1"],
        ["-H", "1", "-T", "512"],
    ],
    ids=" ".join,
)
def test_smtp_sink_with_odd_habits_gets_mail_whole(peers: Peers, tmp_path: Path, options: list[str]) -> None:
    lane = peers.gateway.lane()
    content = plain("odd sink", ".\r\n..\r\n.x\r\n", 150_000)
    with SmtpSink(lane, tmp_path, options) as sink:
        queue_id = peers.gateway.send(content, [lane.address("a"), lane.address("b")])
        wait_for(lambda: len(peers.gateway.lines("status=sent", queue_id)) == 2, "both recipients to have it")
        (taken,) = sink.contents()
    # It writes LF line ends, and keeps no dot that was added.
    assert taken.rstrip().endswith(content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n").rstrip())


@pytest.mark.parametrize(
    "options",
    [[option, command] for option in ("-r", "-Q", "-q") for command in ("CONNECT", "MAIL", "RCPT", "DATA", ".")]
    + [["-f", "CONNECT"]],
    ids=" ".join,
)
def test_smtp_sink_puts_off_then_takes_it(peers: Peers, tmp_path: Path, options: list[str]) -> None:
    """-r refuses for now, -Q says 421, -q hangs up: each at one step. What said no comes back as a friend."""
    lane = peers.gateway.lane()
    with SmtpSink(lane, tmp_path, options):
        queue_id = peers.gateway.send(plain("put off"), lane.address(), sender="putoff@example.net")
        line = wait_for_result(peers, queue_id, "DEFERRED")
    said = {"-r": "450 ", "-Q": "421 ", "-f": "500 ", "-q": ""}[options[0]]
    reply = line.partition('reply="')[2]
    assert reply.startswith("4"), line
    assert said in reply, line
    assert peers.gateway.lines("status=sent", queue_id) + peers.gateway.lines("status=failed", queue_id) == []
    with lane.sink() as friend:
        peers.gateway.ask("act", verb="retry", ids=[parse_queue_id(queue_id)])
        mail = wait_for(lambda: list(friend.mails), "the mail")[0]
    assert mail.content.endswith(plain("put off"))
    wait_for_result(peers, queue_id, "status=sent")


@pytest.mark.parametrize("options", [["-f", step] for step in ("MAIL", "RCPT", "DATA", ".")], ids=" ".join)
def test_smtp_sink_refuses_for_good(peers: Peers, tmp_path: Path, options: list[str]) -> None:
    lane = peers.gateway.lane()
    sender = f"{lane.domain.partition('.')[0]}@example.net"
    with SmtpSink(lane, tmp_path, options):
        queue_id = peers.gateway.send(plain("refused", size=300_000), lane.address(), sender=sender)
        wait_for_result(peers, queue_id, "status=failed")
    report = wait_for(lambda: [m for m in list(peers.home.mails) if m.recipients == [sender]], "the report")[0]
    assert b"\r\nAction: failed\r\n" in report.content


def test_smtp_sink_breaks_off_the_content(peers: Peers, tmp_path: Path) -> None:
    """-A says 550 and hangs up while we send. Mostly we hear it; a reset that overtakes it is trouble that may pass."""
    lane = peers.gateway.lane()

    def result() -> list[str]:
        return peers.gateway.lines("status=failed", queue_id) + peers.gateway.lines("DEFERRED", queue_id)

    with SmtpSink(lane, tmp_path, ["-A", "0"]):
        queue_id = peers.gateway.send(plain("broken off", size=300_000), lane.address(), sender="broken@example.net")
        line = wait_for(result, "a result")[0]
    assert ("DEFERRED" in line) or 'reply="550 This violates SMTP"' in line
    if "DEFERRED" in line:
        with lane.sink() as friend:
            peers.gateway.ask("act", verb="retry", ids=[parse_queue_id(queue_id)])
            wait_for(lambda: list(friend.mails), "the mail")


@pytest.mark.parametrize(
    ("options", "recipients"),
    [(["-d"], 1), ([], 1), (["-N", "-r", "20"], 20), (["-d", "-T", "1024"], 1)],
    ids=["re-used", "one each", "many recipients", "small windows"],
)
def test_smtp_source_with_many_sessions_to_smtp_sink(
    peers: Peers, tmp_path: Path, options: list[str], recipients: int
) -> None:
    lane = peers.gateway.lane()
    command = [program("smtp-source"), "-l", "2000", "-m", str(MAILS), "-s", "20", *options]
    command += ["-f", "a@example.net", "-t", lane.address(), f"127.0.0.1:{peers.gateway.port}"]
    with SmtpSink(lane, tmp_path, []) as sink:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-1500:]
        said = f"@{lane.domain}>, "
        wait_for(
            lambda: sum(said in line for line in peers.gateway.lines("status=sent")) == MAILS * recipients,
            "all to be delivered",
        )
        assert len(sink.contents()) == MAILS


def test_aiosmtplib_as_client(peers: Peers) -> None:
    async def send(address: str, port: int) -> None:
        async def one(number: int) -> None:
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
            async with client:
                for each in range(5):
                    await client.sendmail("a@example.net", [address], plain(f"aio {number} {each}"))

        await asyncio.gather(*(one(number) for number in range(10)))

    lane = peers.gateway.lane()
    with lane.sink() as sink:
        asyncio.run(send(lane.address(), peers.gateway.port))
        wait_for(lambda: len(sink.mails) == 50, "all mails")
        assert len({mail.without_trace() for mail in sink.mails}) == 50


class _Keeper:
    """aiosmtpd calls it with every message."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.original_content, bytes)
        self.contents.append(envelope.original_content)
        return "250 2.0.0 OK"


def test_aiosmtpd_as_next_hop(peers: Peers) -> None:
    keeper, lane = _Keeper(), peers.gateway.lane()
    controller = Controller(keeper, hostname=lane.host, port=lane.port)
    controller.start()
    try:
        contents = [plain(f"aiosmtpd {number}", ".\r\n..\r\n", size=number * 3000) for number in range(10)]
        for queue_id in [peers.gateway.send(content, lane.address()) for content in contents]:
            wait_for_result(peers, queue_id, "status=sent")
        assert len(keeper.contents) == 10
        for content in contents:
            assert any(received.endswith(content) for received in keeper.contents)
    finally:
        controller.stop()
