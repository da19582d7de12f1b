"""Two mail servers, each in a network namespace of its own, have their mail filtered by one server over TCP."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.ports import free_port
from tests.support.waiting import wait_for

NETWORK = f"198.18.{os.getpid() % 250}"
"""Of the addresses set aside for such trials (RFC 2544), one for each process of tests."""
CLEAN, REFUSED = 0, 69


class Host:
    """A mail server's host: a namespace with one link to us, and the pipe client in it."""

    def __init__(self, place: Path, number: int, port: int) -> None:
        self.name = f"gp{os.getpid()}n{number}"
        self._link = f"gp{os.getpid()}v{number}"
        self._ours, self.address = (f"{NETWORK}.{4 * number + end}" for end in (1, 2))
        self.delivered = place / f"delivered{number}"
        program = place / f"deliver{number}"
        program.write_text(f"#!/bin/sh\ncat > {self.delivered}\n")
        program.chmod(0o755)
        self._settings = place / f"client{number}.toml"
        self._settings.write_text(
            f'client_connect_to = "tcp:{self._ours}:{port}"\npipe_outgoing_addr = "{program}"\npipe_before_queue = true\n'
        )

    def __enter__(self) -> Self:
        try:
            _ip("netns", "add", self.name)
            _ip("link", "add", self._link, "type", "veth", "peer", "name", "there", "netns", self.name)
            _ip("addr", "add", f"{self._ours}/30", "dev", self._link)
            _ip("link", "set", self._link, "up")
            _ip("-n", self.name, "addr", "add", f"{self.address}/30", "dev", "there")
            _ip("-n", self.name, "link", "set", "there", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for words in (("link", "del", self._link), ("netns", "del", self.name)):
            subprocess.run(["ip", *words], capture_output=True, check=False)

    def hand_over(self, mail: bytes) -> "subprocess.Popen[bytes]":
        """Begin to have a mail filtered there."""
        command = [sys.executable, "-I", "-m", "gatepost.client", "pipe", "-c", str(self._settings), "--stderr"]
        command += ["--message", "-f", "sender@example.net", "--", "user@example.org"]
        with tempfile.TemporaryFile() as file:
            file.write(mail)
            file.seek(0)
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, list[Host]]]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the program ip")
    place, port = tmp_path_factory.mktemp("hosts"), free_port()
    with contextlib.ExitStack() as stack:
        try:
            made = [stack.enter_context(Host(place, number, port)) for number in range(2)]
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not allowed here: {error.stderr.decode()}")
        door = f'\n[[door]]\nkind = "filter"\naddress = "tcp:0.0.0.0:{port}"\nallow = ["{NETWORK}.0/24"]\n'
        yield stack.enter_context(Gateway(place / "g", free_port(), settings=door)), made


@pytest.mark.feature("F-ARCH-07")
def test_two_hosts_filter_in_parallel_against_one_server(hosts: tuple[Gateway, list[Host]]) -> None:
    gateway, both = hosts
    clean = {host: host.hand_over(plain(f"from {host.address}")) for host in both}
    infected = {host: host.hand_over(with_attachment(EICAR, "eicar.com")) for host in both}
    for given, status in ((clean, CLEAN), (infected, REFUSED)):
        for begun in given.values():
            said = begun.communicate(timeout=120)[0]
            assert begun.returncode == status, said
    for host in both:
        assert f"Subject: from {host.address}".encode() in host.delivered.read_bytes()
        wait_for(lambda host=host: len(gateway.lines("RECEIVED", f"asker=[{host.address}]")) == 2, "both on record")  # type: ignore[misc]
    for deed in ("deliver", "reject"):
        wait_for(lambda deed=deed: gateway.counter(f"service_answered_{deed}") == len(both), f"{deed} to be counted")  # type: ignore[misc]
