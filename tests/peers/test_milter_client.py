"""`gatepost client milter` between a real Postfix and a filtering server: fields arrive, and every kind of trouble."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from tests.peers.conftest import open_directory, root_program
from tests.peers.postfix_program import Postfix
from tests.support.milter_rulings import REFUSAL, STATUS, answer, message
from tests.support.ports import free_port
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.config.doors import Door, DoorKind
from gatepost.service.filter_door import make

ANNA = "anna@example.com"
CHOICES = ("accept", "tempfail", "reject")


class Client:
    """One client program, with a local socket for Postfix."""

    def __init__(self, base: Path, name: str, **settings: object) -> None:
        self.socket = base / f"{name}.sock"
        self.pid_file = base / f"{name}.pid"
        self.file = base / f"{name}.toml"
        self._settings = settings
        self._log = base / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, **settings: object) -> None:
        """Write the settings file."""
        self._settings |= settings
        told = {
            "send_mail_address": f"unix:{self.socket}", "send_mail_socket_mode": "666", "pid_file": str(self.pid_file),
        } | self._settings  # fmt: skip
        self.file.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in told.items()))

    def __enter__(self) -> Self:
        self.write()
        with self._log.open("wb") as log:
            command = [sys.executable, "-I", "-m", "gatepost.client", "milter", "-c", str(self.file), "--stderr"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def ready(self) -> None:
        wait_for(lambda: "listens" in self.log(), "the client to listen")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> int:
        """End it as an administrator does; return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(120)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(120)


class Peers(NamedTuple):
    postfix: Postfix
    judge: ScriptedJudge
    clients: dict[str, Client]
    ports: dict[str, int]

    def send(self, name: str, mail: bytes, recipient: str = ANNA) -> str:
        """Hand a mail to the listener that asks this client; return the reply to its end of data."""
        with Wire(self.ports[name]) as wire:
            wire.expect(("", "220"), ("EHLO client.example.net", "250"), ("MAIL FROM:<sender@example.net>", "250"))
            wire.expect((f"RCPT TO:<{recipient}>", "250"), ("DATA", "354"))
            wire.send(mail)
            return wire.ask(".")

    def got(self, word: str) -> bytes:
        wanted = f"Message-ID: <{word}@example.net>".encode()
        found = wait_for(lambda: [one for one in self.postfix.mails(ANNA) if wanted in one], f"mail {word}")
        return found[0].replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    judge = ScriptedJudge(answer)
    postfix = Postfix(root_program("postfix"), "postfix.example.net")
    postfix.mailboxes(ANNA)
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(open_directory("clients"))
        files = base / "temporary"
        files.mkdir()
        server = stack.enter_context(ListeningDoor(make, judge, Door(name="door", kind=DoorKind.FILTER)))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", free_port())))
        nobody = f"tcp:127.0.0.1:{free_port()}"
        clients = {
            "good": Client(
                base, "good", client_connect_to=f"tcp:127.0.0.1:{server.port}", client_default_domain="example.com",
                client_filtering_size_limit=200, client_message_store_mem=50, client_temp_dir=str(files),
            ),
            "stalled": Client(
                base, "stalled", client_connect_to=f"tcp:127.0.0.1:{silent.getsockname()[1]}",
                client_connect_timeout=0.3, client_data_timeout=0.3,
            ),
        }  # fmt: skip
        for choice in CHOICES:
            clients[choice] = Client(base, choice, client_connect_to=nobody, client_on_error=choice)
        ports = {
            name: postfix.listener({"smtpd_milters": f"unix:{client.socket}", "milter_default_action": "quarantine"})
            for name, client in clients.items()
        }
        for client in clients.values():
            stack.enter_context(client)
        stack.enter_context(postfix)
        for client in clients.values():
            client.ready()
        yield Peers(postfix, judge, clients, ports)


@pytest.mark.feature("F-CLI-01")
def test_mail_gets_fields_through_the_client(peers):
    assert peers.send("good", message("clean")).startswith("250")
    assert f"\r\n{STATUS}: not detected\r\n".encode() in peers.got("clean")
    assert peers.judge.last.content == message("clean")
    assert peers.send("good", message("virus")) == REFUSAL
    assert peers.send("good", message("label")).startswith("250")
    assert b"\r\nSubject: [SPAM] label mail\r\n" in peers.got("label")


@pytest.mark.feature("F-CLI-08")
@pytest.mark.parametrize(("choice", "said"), [("accept", "250"), ("tempfail", "451 4.7.1"), ("reject", "554 5.7.1")])
def test_a_server_that_is_down_has_three_results(peers, choice, said):
    assert peers.send(choice, message(choice)).startswith(said)
    if choice == "accept":
        assert peers.got(choice).endswith(message(choice))
    wait_for(lambda: "not judged" in peers.clients[choice].log(), "word of it")


@pytest.mark.feature("F-CLI-09")
def test_large_mail_is_untouched_and_a_bare_recipient_completed(peers):
    large = message("large", body=b"x" * 70 + b"\r\n" * 150_000)
    before = len(peers.judge.asked)
    assert peers.send("good", large).startswith("250")
    assert peers.got("large").endswith(large)
    assert STATUS.encode() not in peers.got("large")
    assert len(peers.judge.asked) == before
    assert peers.send("good", message("bare"), recipient="anna").startswith("250")
    assert peers.judge.last.request.recipients == (ANNA,)


@pytest.mark.feature("F-CLI-10")
def test_a_stalled_server_and_a_temporary_file(peers):
    assert peers.send("stalled", message("stalled")).startswith("451 4.7.1")
    body = b"y" * 70 + b"\r\n" * 60_000
    files = Path(peers.clients["good"]._settings["client_temp_dir"])
    seen: list[str] = []

    def look(request, content):
        seen.extend(one.name for one in files.iterdir())
        return answer(request, content)

    peers.judge.answer = look
    try:
        assert peers.send("good", message("file", body=body)).startswith("250")
    finally:
        peers.judge.answer = answer
    assert peers.judge.last.content == message("file", body=body)
    assert len(seen) == 1
    assert list(files.iterdir()) == []


def test_it_ends_cleanly_and_takes_new_settings(peers):
    client = peers.clients["reject"]
    assert client.pid_file.read_text() == f"{client._process.pid}\n"
    client.write(client_on_error="accept")
    client.signal(signal.SIGHUP)
    wait_for(lambda: peers.send("reject", message("again")).startswith("250"), "the new settings")
    assert client.end() == 0
    assert not client.socket.exists()
    assert not client.pid_file.exists()
    assert peers.send("reject", message("absent")).startswith("250")  # milter_default_action
    wait_for(lambda: list((peers.postfix.base / "spool/hold").iterdir()), "the mail to be held by Postfix itself")


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
