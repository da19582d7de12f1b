"""Foreign clients and servers around the gateway."""

import asyncio
import subprocess
from pathlib import Path

import aiosmtplib
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.support.gateway import Gateway, free_port
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

MAILS = 200


def test_swaks_plain_attachment_and_pipelining(tmp_path: Path, swaks: str) -> None:
    attachment = tmp_path / "figures.bin"
    attachment.write_bytes(bytes(range(256)) * 40)
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        base = [swaks, "--server", f"127.0.0.1:{gateway.port}", "--from", "a@example.net", "--to", "b@example.org"]
        for number, extra in enumerate(([], ["--attach", f"@{attachment}"], ["--pipeline"]), 1):
            done = subprocess.run([*base, *extra], check=False, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout[-1500:]
            wait_for(lambda count=number: len(sink.mails) == count, "the mail")
        assert b"figures.bin" in sink.mails[1].content


def test_smtp_source_through_the_gateway_to_smtp_sink(tmp_path: Path, smtp_source: str, smtp_sink: str) -> None:
    port = free_port()
    dump = tmp_path / "dump"
    dump.mkdir(mode=0o777)
    dump.chmod(0o777)
    tmp_path.chmod(0o755)
    # As root it wants to be told whom to become.
    command = [smtp_sink, "-d", str(dump / "mail."), "-u", "root", f"127.0.0.1:{port}", "100"]
    sink = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with Gateway(tmp_path / "gw", port) as gateway:
            done = subprocess.run(
                [
                    smtp_source,
                    "-c",
                    "-l",
                    "2000",
                    "-m",
                    str(MAILS),
                    "-s",
                    "10",
                    "-f",
                    "a@example.net",
                    "-t",
                    "b@example.org",
                    f"127.0.0.1:{gateway.port}",
                ],
                check=False,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr[-1500:]
            wait_for(lambda: len(gateway.lines("status=sent")) == MAILS, "all to be delivered", 40)
            assert len(list(dump.iterdir())) == MAILS
            assert gateway.queue() == []
    finally:
        sink.kill()
        sink.communicate()


def test_aiosmtplib_as_client(tmp_path: Path) -> None:
    async def send(port: int) -> None:
        async def one(number: int) -> None:
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
            async with client:
                for each in range(5):
                    await client.sendmail("a@example.net", ["b@example.org"], plain(f"aio {number} {each}"))

        await asyncio.gather(*(one(number) for number in range(10)))

    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        asyncio.run(send(gateway.port))
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


def test_aiosmtpd_as_next_hop(tmp_path: Path) -> None:
    keeper, port = _Keeper(), free_port()
    controller = Controller(keeper, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        with Gateway(tmp_path / "gw", port) as gateway:
            contents = [plain(f"aiosmtpd {number}", ".\r\n..\r\n", size=number * 3000) for number in range(10)]
            for content in contents:
                gateway.send(content)
            wait_for(lambda: len(keeper.contents) == 10, "all mails")
            for content in contents:
                assert any(received.endswith(content) for received in keeper.contents)
    finally:
        controller.stop()
