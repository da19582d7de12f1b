"""The ways by which one mail reaches the judge, for `prove_doors`: SMTP, milter, spamd, rspamd, and the pipe client.

Each `ask` hands a mail over, waits for the answer, and returns what the asker is told and, where the protocol tells it,
the copy that its mail system would deliver.
"""

import contextlib
import json
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support import milter_peer as mta
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

STRANGER = "127.0.0.77"
HELO = "client.example.net"
SESSION_MAILS = 900
"""Of one SMTP session: the shipped limit is 1,000."""
ANSWER_S = 120


class Asked(NamedTuple):
    """One question."""

    number: int
    mail: bytes
    """With CRLF line ends, and one at the end."""
    sender: str
    recipient: str
    line_feeds: bool
    """Programs that scan mail are given it with LF line ends."""


class Answer(NamedTuple):
    """What the asker is told."""

    word: str
    """`deliver`, `refuse`, `discard`, or of doors that are only asked, their own."""
    copy: bytes | None = None
    """What is delivered; None when nothing is, or when the door does not tell."""
    told: Any = None


class BySmtp:
    """A client at a listener, and the next hop behind it: the gateway itself, or the pipe client."""

    def __init__(self, port: int, sink: Sink, *, forwarded: bool = False) -> None:
        self._port = port
        self._sink = sink
        self._forwarded = forwarded
        self._wire: Wire | None = None
        self._asked = 0

    def ask(self, asked: Asked) -> Answer:
        if self._wire is None or self._asked % SESSION_MAILS == 0:
            self.close()
            self._wire = Wire(self._port, source="127.0.0.1" if self._forwarded else STRANGER, timeout=ANSWER_S)
            self._wire.expect(("", "220"), (f"EHLO {HELO}", "250"))
        self._asked += 1
        if self._forwarded:
            self._wire.expect((f"XFORWARD ADDR={STRANGER} HELO={HELO} PROTO=ESMTP", "250"))
        raw = asked.mail
        raw = (b"." if raw.startswith(b".") else b"") + raw.replace(b"\r\n.", b"\r\n..")
        begin = (f"MAIL FROM:<{asked.sender}> BODY=8BITMIME", "250")
        self._wire.expect(begin, (f"RCPT TO:<{asked.recipient}>", "250"), ("DATA", "354"))
        self._wire.send(raw)
        reply = self._wire.ask(".")
        return Answer({"2": "taken", "5": "refuse"}.get(reply[:1], reply), None, reply)

    def copies(self) -> dict[str, bytes]:
        """Return what has arrived, by recipient."""
        return {recipient: mail.content for mail in list(self._sink.mails) for recipient in mail.recipients}

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()


class ByMilter:
    """A mail system that asks by milter, one session for all its mail."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sock: socket.socket | None = None

    def ask(self, asked: Asked) -> Answer:
        if self._sock is None:
            self._sock = socket.socket(socket.AF_UNIX)
            self._sock.settimeout(ANSWER_S)
            self._sock.connect(str(self._path))
            greeting = mta.connect(f"[{STRANGER}]".encode(), STRANGER.encode())
            self._sock.sendall(mta.options() + greeting + mta.packet("H", HELO.encode() + b"\0"))
            self._file = self._sock.makefile("rb")
        recipient = f"<{asked.recipient}>".encode()
        stream = mta.envelope(f"<{asked.sender}>".encode(), (recipient,)) + mta.content(asked.mail)[:-5]
        self._sock.sendall(stream + mta.packet("E"))
        answers = b""
        while True:
            head = self._file.read(5)
            size, command = struct.unpack("!Ic", head)
            packet = head + self._file.read(size - 1)
            if command not in b"Op":
                answers += packet
            if command == b"c":
                return Answer("deliver", mta.carried_out(asked.mail, answers), list(mta.packets(answers)))
            if command in b"ydtr":
                return Answer({b"y": "refuse", b"d": "discard"}.get(command, command.decode()), None, packet)

    def close(self) -> None:
        if self._sock is not None:
            self._file.close()
            self._sock.close()


class BySpamd:
    """spamc: a program that has the mail and its sender, and knows no client."""

    COMMANDS = ("PROCESS", "REPORT", "SYMBOLS", "HEADERS", "CHECK")

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, asked: Asked) -> Answer:
        command = self.COMMANDS[asked.number % len(self.COMMANDS)]
        mail = f"From {asked.sender} Mon Mar  2 09:00:00 2026\r\n".encode() + asked.mail
        if asked.line_feeds:
            mail = mail.replace(b"\r\n", b"\n")
        head = f"{command} SPAMC/1.5\r\nUser: {asked.recipient}\r\nContent-length: {len(mail)}\r\n\r\n"
        said = _exchange(self._port, head.encode() + mail)
        fields, _, body = said.partition(b"\r\n\r\n")
        found = re.search(rb"\r\nSpam: (True|False) ; (-?[\d.]+) / ([\d.]+)", b"\r\n" + fields)
        if found is None:
            return Answer(fields.decode("latin-1"))
        return Answer("spam" if found[1] == b"True" else "no spam", body, (command, float(found[2])))

    def close(self) -> None:
        """Nothing is kept open."""


class ByRspamd:
    """A mail system that asks over HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, asked: Asked) -> Answer:
        mail = asked.mail.replace(b"\r\n", b"\n") if asked.line_feeds else asked.mail
        head = (
            f"POST /checkv2 HTTP/1.1\r\nHost: there\r\nConnection: close\r\nFrom: {asked.sender}\r\n"
            f"Rcpt: {asked.recipient}\r\nIP: {STRANGER}\r\nHelo: {HELO}\r\nQueue-Id: R{asked.number:06}\r\n"
            f"Content-Length: {len(mail)}\r\n\r\n"
        )
        said = _exchange(self._port, head.encode() + mail, half_close=False)
        status, _, rest = said.partition(b"\r\n")
        if b" 200 " not in status + b" ":
            return Answer(status.decode("latin-1"))
        told = json.loads(rest.partition(b"\r\n\r\n")[2])
        return Answer(told["action"], _rspamd_header(asked.mail, told), told)

    def close(self) -> None:
        """Nothing is kept open."""


class PipeClient:
    """`gatepost client pipe` in front of a next hop, for the length of a `with`."""

    def __init__(self, place: Path, port: int, server: str, next_hop: int) -> None:
        self._file = place / "pipe.toml"
        self._log = place / "pipe.log"
        self._file.write_text(
            f'client_connect_to = "{server}"\npipe_listen = "tcp:127.0.0.1:{port}"\n'
            f'pipe_outgoing_addr = "tcp:127.0.0.1:{next_hop}"\nclient_filtering_size_limit = 0\n'
            "pipe_use_x_forward = true\npipe_before_queue = true\n"
            f'pid_file = "{place}/pipe.pid"\n'
        )

    def __enter__(self) -> Self:
        command = [sys.executable, "-I", "-m", "gatepost.client", "pipe", "-c", str(self._file), "--stderr"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: "listens" in self.log(), "the pipe client to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(30)

    def log(self) -> str:
        return self._log.read_text(errors="replace")


def _exchange(port: int, request: bytes, *, half_close: bool = True) -> bytes:
    with socket.create_connection(("127.0.0.1", port), ANSWER_S) as sock:
        sock.sendall(request)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                said += piece
        return said


def _rspamd_header(mail: bytes, told: dict[str, Any]) -> bytes:
    """Return the header a mail system makes of the answer, as rspamd's own proxy does: removals, then additions."""
    changes = told.get("milter", {})
    fields: list[bytes | None] = list(mta.fields_of(mail.partition(b"\r\n\r\n")[0] + b"\r\n"))
    for name, spots in changes.get("remove_headers", {}).items():
        same = [at for at, one in enumerate(fields) if one and _name(one) == name.lower().encode()]
        for spot in spots if isinstance(spots, list) else [spots]:
            fields[same[spot - 1]] = None
    kept = [one for one in fields if one is not None]
    added = [
        (one.get("order"), name, one["value"])
        for name, value in changes.get("add_headers", {}).items()
        for one in (value if isinstance(value, list) else [value])
    ]
    for order, name, value in sorted(added, key=lambda one: one[0] if one[0] is not None else len(kept) + len(added)):
        raw = f"{name}: {value}\r\n".replace("\r\n", "\n").replace("\n", "\r\n").encode()
        kept.insert(len(kept) if order is None else order, raw)
    if "subject" in told:
        new = b"Subject: " + told["subject"].replace("\n", "\r\n").encode() + b"\r\n"
        first = next(at for at, one in enumerate(kept) if _name(one) == b"subject")
        kept[first] = new
    return b"".join(kept)


def _name(field: bytes) -> bytes:
    return field.partition(b":")[0].strip().lower()


Way = Callable[[Asked], Answer]
