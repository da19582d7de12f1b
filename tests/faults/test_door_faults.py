"""A filtering server that is killed, replaced by something else, stopped, restarted, told to reload: what becomes of the
mail of a real Postfix that asks it by the milter client and passes mail through the pipe client.

One gateway with a door for them, and no listener of its own use; every mail has a subject of its own, and arrives once.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.peers.conftest import open_directory, root_program
from tests.peers.postfix_program import Postfix
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.support.wire import Wire

ANNA = "anna@example.org"
CHOICES = {"tempfail": "451 4.7.1", "accept": "250 ", "reject": "554 5.7.1"}
PATIENCE_S = 8
"""Of the clients, for each word of the server: a machine that many share may be slow."""
WORKERS = 2
MOST = 40
"""Mails of each worker while settings are read anew."""


class Client:
    """A client program with its settings."""

    def __init__(self, base: Path, name: str, program: str, **settings: object) -> None:
        self._file = base / f"{name}.toml"
        self._log = base / f"{name}.log"
        self._program = program
        settings |= {
            "pid_file": str(base / f"{name}.pid"),
            "client_connect_timeout": PATIENCE_S,
            "client_data_timeout": PATIENCE_S,
        }
        self._file.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in settings.items()))

    def __enter__(self) -> Self:
        command = [sys.executable, "-I", "-m", "gatepost.client", self._program, "-c", str(self._file), "--stderr"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def ready(self) -> None:
        wait_for(lambda: "listens" in self.log(), "the client to listen")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(30)


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, (bool, float, int)) else f'"{value}"'


class Babbler:
    """Something else at the server's port: it answers all that is said, and it is no protocol."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.met = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.met += 1
                with client, contextlib.suppress(OSError):
                    client.sendall(b"\xff\xfe220 \0 no filter here\r\n" * 20)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)


class Site:
    """The filtering server, the clients, and Postfix with a listener for each."""

    def __init__(self, base: Path) -> None:
        self.door = free_port()
        door = f'\n[[door]]\nkind = "filter"\naddress = "tcp:127.0.0.1:{self.door}"\n'
        self.gateway = Gateway(base / "g", free_port(), settings=door)
        self.postfix = postfix = Postfix(root_program("postfix"), "mail.example.org")
        postfix.mailboxes(ANNA)
        takes_back = {
            "content_filter": "", "smtpd_authorized_xforward_hosts": "127.0.0.0/8",
            "receive_override_options": "no_unknown_recipient_checks",
        }  # fmt: skip
        again, pipe, server = postfix.listener(takes_back), free_port(), f"tcp:127.0.0.1:{self.door}"
        self.clients = [
            Client(
                base, "pipe", "pipe", client_connect_to=server, pipe_listen=f"tcp:127.0.0.1:{pipe}",
                pipe_outgoing_addr=f"tcp:127.0.0.1:{again}",
            )
        ]  # fmt: skip
        self.ports = {"pipe": postfix.listener({"content_filter": f"smtp:[127.0.0.1]:{pipe}"})}
        for choice in CHOICES:
            address = f"unix:{base}/{choice}.sock"
            self.clients.append(
                Client(
                    base, choice, "milter", client_connect_to=server, client_on_error=choice,
                    send_mail_address=address, send_mail_socket_mode="666",
                )
            )  # fmt: skip
            self.ports[choice] = postfix.listener({"smtpd_milters": address, "milter_default_action": "quarantine"})
        self._lock = threading.Lock()
        self._number = 0
        self.taken: list[str] = []
        """Subjects of what Postfix said 250 to."""

    def submit(self, *ways: str) -> dict[str, str]:
        """Send a new mail by each of the ways; return the replies to its end."""
        return {way: self._submit(way) for way in ways}

    def _submit(self, way: str) -> str:
        with self._lock:
            self._number += 1
            subject = f"mail {self._number} by {way}"
        with Wire(self.ports[way]) as wire:
            wire.begin((ANNA,))
            reply = wire.data(plain(subject))
        if reply.startswith("250 "):
            with self._lock:
                self.taken.append(subject)
        return reply

    def arrived(self) -> Counter[str]:
        """Return how often each subject has arrived."""
        lines = b"\n".join(self.postfix.mails(ANNA)).split(b"\n")
        return Counter(line[9:].decode() for line in lines if line.startswith(b"Subject: mail "))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_directory("door-faults") as base, contextlib.ExitStack() as stack:
        site = Site(base)
        stack.enter_context(site.gateway)
        for client in site.clients:
            stack.enter_context(client)
        stack.enter_context(site.postfix)
        for client in site.clients:
            client.ready()
        yield site


@pytest.fixture(autouse=True)
def nothing_is_lost_or_doubled(site: Site) -> Iterator[None]:
    yield
    wait_for(lambda: set(site.arrived()) >= set(site.taken), "all that was taken to arrive", 60)
    wait_for(site.postfix.idle, "nothing in Postfix's queue", 60)
    assert site.arrived() == Counter(site.taken)


def judged(site: Site) -> None:
    """Wait until mail is judged again, whichever client asks."""

    def look() -> bool:
        return all(reply.startswith("250 ") for reply in site.submit("tempfail").values())

    wait_for(look, "mail to be judged")


def test_a_server_that_is_killed_and_comes_back(site: Site) -> None:
    judged(site)
    site.gateway.kill_all()
    replies = site.submit(*site.ports)
    assert {choice: replies[choice][: len(said)] for choice, said in CHOICES.items()} == CHOICES
    assert replies["pipe"].startswith("250 "), "Postfix has it, and tries again"
    site.gateway.start()
    judged(site)
    wait_for(lambda: site.gateway.counter("service_answered_deliver") >= 2, "what waited to be judged, too")


def test_something_else_at_its_port(site: Site) -> None:
    site.gateway.kill_all()
    babbler = Babbler(site.door)
    try:
        replies = site.submit(*site.ports)
        wait_for(lambda: babbler.met >= len(site.ports), "all clients to come")
    finally:
        babbler.close()
    assert {choice: replies[choice][: len(said)] for choice, said in CHOICES.items()} == CHOICES
    site.gateway.start()
    judged(site)


def test_a_server_that_says_nothing_for_a_while(site: Site) -> None:
    judged(site)
    (relay,) = site.gateway.relay_pids()
    os.kill(relay, signal.SIGSTOP)
    replies: dict[str, str] = {}
    asking = [threading.Thread(target=lambda way=way: replies.update(site.submit(way))) for way in site.ports]
    try:
        for each in asking:
            each.start()
        for each in asking:
            each.join()
    finally:
        os.kill(relay, signal.SIGCONT)
    assert {choice: replies[choice][: len(said)] for choice, said in CHOICES.items()} == CHOICES
    judged(site)


@pytest.mark.feature("F-ASD-04")
def test_settings_and_databases_read_anew_under_load(site: Site) -> None:
    replies: list[str] = []
    enough = threading.Event()

    def work() -> None:
        for _ in range(MOST):
            replies.extend(site.submit("tempfail", "pipe").values())
            if enough.is_set():
                return

    def filters() -> set[int]:
        return {pid for relay in site.gateway.status()["relays"] for pid in relay["filter_pids"]}

    judged(site)
    relays, before = site.gateway.relay_pids(), filters()
    unjudged = site.gateway.counter("service_answered_unjudged")
    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    try:
        wait_for(lambda: replies, "the first answers")
        assert site.gateway.process is not None
        site.gateway.process.send_signal(signal.SIGHUP)
        site.gateway.edit("server_max_filters = 0", "server_max_filters = 3")  # filters are made anew
        site.gateway.ask("reload")
        wait_for(lambda: not before & filters(), "filters of the old settings to end")
    finally:
        enough.set()
        for worker in workers:
            worker.join()
    judged(site)
    assert {reply[:4] for reply in replies} <= {"250 ", "451 "}, replies
    assert site.gateway.counter("service_answered_unjudged") == unjudged, "each question has its answer"
    assert site.gateway.relay_pids() == relays, "relays go on"
