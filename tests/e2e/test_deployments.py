"""Where a gateway stands: in front of the mail system of its own host, between two copies of it, and on several hosts."""

import os
import smtplib
import subprocess
from pathlib import Path

import pytest
from tests.support.gateway import GATEPOST, Gateway
from tests.support.ports import loopback_network
from tests.support.sink import Sink
from tests.support.waiting import wait_for

OUTER_PORT = 1025
INNER_PORT = 1026
MAILS = 30


class Between(Gateway):
    """A gateway at port 1025 of a host of its own, which hands on to port 1026 of another."""

    def __init__(self, state: Path, node: int, host: str, inner: str) -> None:
        super().__init__(state, INNER_PORT, replace={"relays = 0": f"relays = 1\nnode = {node}"})
        self.host = host
        self.edit(f"127.0.0.1:{self.port}", f"{host}:{OUTER_PORT}")
        self.edit(f"[127.0.0.1:{INNER_PORT}]", f"[{inner}:{INNER_PORT}]")


def deliver(host: str, port: int, subject: str) -> None:
    with smtplib.SMTP(host, port, timeout=120) as client:
        client.sendmail("a@example.net", ["user@example.org"], f"Subject: {subject}\r\n\r\ntext\r\n")


@pytest.mark.feature("F-ARCH-05")
def test_fresh_installation_stands_in_front_of_the_mail_system_of_its_host(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("port 25 needs root: run the tests as root")
    host = f"{loopback_network()}.9.1"
    gateway = Gateway(tmp_path / "state", 0)
    places = ["--state-path", str(gateway.state), "--listen", f"{host}:25", "--protected-domain", "example.org"]
    written = subprocess.run([*GATEPOST, "config", "init", "--force", "-o", str(gateway.config), *places], check=False)
    assert written.returncode == 0
    with Sink(OUTER_PORT) as mail_system, gateway:
        deliver(host, 25, "from outside")
        wait_for(lambda: len(mail_system.mails) == 1, "the mail at port 1025 of this host")
        assert mail_system.mails[0].recipients == ["user@example.org"]


@pytest.mark.feature("F-ARCH-06")
def test_gateways_between_two_mail_systems_share_a_stream_without_duplicates(tmp_path: Path) -> None:
    network = loopback_network()
    inner = f"{network}.9.2"
    with (
        Sink(INNER_PORT, host=inner) as mail_system,
        Between(tmp_path / "one", 0, inner, inner) as one,
        Between(tmp_path / "two", 1, f"{network}.9.3", inner) as two,
    ):
        for number in range(MAILS):
            deliver((one, two)[number % 2].host, OUTER_PORT, f"mail {number}")
        wait_for(lambda: len(mail_system.mails) >= MAILS, "all mails at port 1026")
        wait_for(lambda: not one.queue() and not two.queue(), "both queues to be empty")
        mails = list(mail_system.mails)
    subjects = [mail.header.partition(b"Subject: ")[2].partition(b"\r\n")[0] for mail in mails]
    assert sorted(subjects) == sorted(b"mail %d" % number for number in range(MAILS))
    assert len({mail.header.partition(b" id ")[2].partition(b";")[0] for mail in mails}) == MAILS
