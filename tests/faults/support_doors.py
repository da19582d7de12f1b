"""A filtering server, the clients that ask it, a real Postfix in front; and something else at the server's port.

Used by `test_door_faults` and by the long run of `tools/door_faults.py`. Every mail has a subject of its own, and
arrives once.
"""

import contextlib
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Self

from tests.peers.postfix_program import Postfix
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.support.wire import Wire

ANNA = "anna@example.org"
CHOICES = {"tempfail": "451 4.7.1", "accept": "250 ", "reject": "554 5.7.1"}
"""What is said to mail while nobody judges."""
SKIPPED_S = 20
"""A mail that Postfix looks at again while it is still being put back ("skipped, still being delivered") waits five
minutes: with pauses as short as ours that happens now and then."""
PATIENCE_S = 8
"""Of the clients, for each word of the server: a machine that many share may be slow."""


class Client:
    """A client program with its settings."""

    def __init__(self, base: Path, name: str, program: str, patience_s: int, **settings: object) -> None:
        self._file = base / f"{name}.toml"
        self._log = base / f"{name}.log"
        self._program = program
        settings |= {
            "pid_file": str(base / f"{name}.pid"),
            "client_connect_timeout": patience_s,
            "client_data_timeout": patience_s,
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
        self._process.wait(120)


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

    def __init__(self, base: Path, program: str, patience_s: int = PATIENCE_S) -> None:
        """`program`: Postfix's own."""
        self.door = free_port()
        door = f'\n[[door]]\nkind = "filter"\naddress = "tcp:127.0.0.1:{self.door}"\n'
        self.gateway = Gateway(base / "g", free_port(), settings=door)
        self.postfix = postfix = Postfix(program, "mail.example.org")
        postfix.mailboxes(ANNA)
        takes_back = {
            "content_filter": "", "smtpd_authorized_xforward_hosts": "127.0.0.0/8",
            "receive_override_options": "no_unknown_recipient_checks",
        }  # fmt: skip
        again, pipe, server = postfix.listener(takes_back), free_port(), f"tcp:127.0.0.1:{self.door}"
        self.clients = [
            Client(
                base, "pipe", "pipe", patience_s, client_connect_to=server, pipe_listen=f"tcp:127.0.0.1:{pipe}",
                pipe_outgoing_addr=f"tcp:127.0.0.1:{again}",
            )
        ]  # fmt: skip
        self.ports = {"pipe": postfix.listener({"content_filter": f"smtp:[127.0.0.1]:{pipe}"})}
        for choice in CHOICES:
            address = f"unix:{base}/{choice}.sock"
            self.clients.append(
                Client(
                    base, choice, "milter", patience_s, client_connect_to=server, client_on_error=choice,
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

    def check(self) -> None:
        """Wait for all that was taken, and see that it has arrived once; forget it."""

        def all_here() -> bool:
            return set(self.arrived()) >= set(self.taken)

        try:
            wait_for(all_here, "all that was taken to arrive", SKIPPED_S)
        except AssertionError:
            self.postfix.flush()
            try:
                wait_for(all_here, "all that was taken to arrive", 120)
            except AssertionError as error:
                missing = sorted(set(self.taken) - set(self.arrived()))
                raise AssertionError(f"{error}: {'; '.join(map(self._trace, missing))}") from None
        wait_for(self.postfix.idle, "nothing in Postfix's queue", 120)
        assert self.arrived() == Counter(self.taken)
        self.taken.clear()
        self.postfix.empty(ANNA)

    def _trace(self, subject: str) -> str:
        """Return what Postfix has written of a mail."""
        known = [line.split(": ")[1] for line in self.postfix.lines(f"message-id=<{subject.replace(' ', '.')}@")]
        return "\n".join([subject, *(line for name in known for line in self.postfix.lines(name))])

    def judged(self) -> None:
        """Wait until mail is judged again, whichever client asks."""

        def look() -> bool:
            return all(reply.startswith("250 ") for reply in self.submit("tempfail").values())

        wait_for(look, "mail to be judged")
