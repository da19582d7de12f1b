"""A scripted downstream server: one thread a connection, plain sockets, no code of the product's.

`Sink.script` may answer any step differently: it is called with (step, argument, sink) for the steps `connect`, `ehlo`,
`helo`, `mail`, `rcpt`, `data`, `content` (after 354, before the first byte is read), `end`, `quit` and returns a reply line (or
several, with CRLF between), None for the ordinary one, CLOSE to hang up, or STALL to say nothing until the sink is
closed. A reply with THEN_CLOSE behind it is said before hanging up.
"""

import contextlib
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedRWPair
from typing import Any, Self

from tests.support.ports import free_port

CLOSE = "CLOSE"
STALL = "STALL"
THEN_CLOSE = "\0CLOSE"

Script = Callable[[str, str, "Sink"], str | None]


@dataclass
class Mail:
    """One delivered message."""

    sender: str
    recipients: list[str]
    content: bytes
    mail_arguments: str = ""
    rcpt_arguments: list[str] = field(default_factory=list)
    at: float = 0.0
    """Unix time of the moment before our 250."""

    @property
    def header(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[0]

    def without_trace(self) -> bytes:
        """The content less what the gateway put in front: a Received field, and what the mail lacked."""
        return _TRACE.sub(b"", self.content, count=1)


_TRACE = re.compile(
    rb"\AReceived: .*?\sid ([0-9A-Z]{13});\r\n\t([^\r\n]*)\r\n(?:Date: \2\r\n)?(?:Message-ID: <\1@[^>\r\n]*>\r\n)?",
    re.DOTALL,
)


class Sink:
    """The server; `mails` in order of arrival."""

    EXTENSIONS: tuple[str, ...] = ("PIPELINING", "SIZE 104857600", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN")

    def __init__(
        self,
        port: int = 0,
        script: Script | None = None,
        extensions: tuple[str, ...] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.script = script
        self.extensions = self.EXTENSIONS if extensions is None else extensions
        self.mails: list[Mail] = []
        self.commands: list[str] = []
        self.steps: list[tuple[float, str]] = []
        """(Unix time, step) of everything asked of the script or answered as usual."""
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._sockets: set[socket.socket] = set()
        self.port = port or free_port()
        self._listener = socket.create_server((host, self.port), backlog=256)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        # A thread blocked in accept() holds the socket open unless it is shut down first.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def recipients(self) -> Counter[str]:
        """How often each recipient got something."""
        with self._lock:
            return Counter(r for mail in self.mails for r in mail.recipients)

    def times(self, step: str) -> list[float]:
        """When a step was reached, each time."""
        with self._lock:
            return [at for at, name in self.steps if name == step]

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                self._sockets.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock, sock.makefile("rwb") as stream:
                self._dialogue(stream)
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self.open -= 1
                self._sockets.discard(sock)

    def _ask(self, step: str, argument: str, ordinary: str) -> str:
        with self._lock:
            self.steps.append((time.time(), step))
        answer = self.script(step, argument, self) if self.script else None
        return ordinary if answer is None else answer

    def _say_nothing(self, answer: str) -> bool:
        if answer == STALL:
            self._stop.wait()
        return answer not in (CLOSE, STALL)

    def _say(self, stream: "BufferedRWPair[Any, Any]", answer: str) -> bool:
        if answer == CLOSE:
            return False
        if answer == STALL:
            self._stop.wait()
            return False
        text = answer.removesuffix(THEN_CLOSE)
        stream.write(text.encode("latin-1") + b"\r\n")
        stream.flush()
        return text == answer

    def _dialogue(self, stream: "BufferedRWPair[Any, Any]") -> None:
        if not self._say(stream, self._ask("connect", "", "220 sink.localdomain ESMTP")):
            return
        mail = Mail("", [], b"")
        while line := stream.readline():
            text = line.decode("latin-1").rstrip("\r\n")
            verb = text[:4].upper()
            with self._lock:
                self.commands.append(text)
            if verb == "EHLO":
                lines = ["sink.localdomain", *self.extensions]
                ordinary = "\r\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{e}" for i, e in enumerate(lines))
                answer = self._ask("ehlo", text, ordinary)
            elif verb == "HELO":
                answer = self._ask("helo", text, "250 sink.localdomain")
            elif verb == "MAIL":
                path, _, arguments = text[10:].partition(">")
                mail = Mail(path.lstrip("<"), [], b"", arguments.strip())
                answer = self._ask("mail", mail.sender, "250 2.1.0 OK")
            elif verb == "RCPT":
                path, _, arguments = text[8:].partition(">")
                answer = self._ask("rcpt", path.lstrip("<"), "250 2.1.5 OK")
                if answer.startswith("250"):
                    mail.recipients.append(path.lstrip("<"))
                    mail.rcpt_arguments.append(arguments.strip())
            elif verb == "DATA":
                answer = self._ask("data", "", "354 go" if mail.recipients else "554 5.5.1 no valid recipients")
                if not self._say(stream, answer):
                    return
                if not answer.startswith("354"):
                    continue
                if not self._say_nothing(self._ask("content", "", "")):
                    return
                content = []
                while (piece := stream.readline()) != b".\r\n":
                    if not piece:
                        return
                    content.append(piece[1:] if piece.startswith(b".") else piece)
                mail.content = b"".join(content)
                mail.at = time.time()
                answer = self._ask("end", mail.sender, "250 2.0.0 OK")
                if answer.startswith("250"):
                    with self._lock:
                        self.mails.append(mail)
            elif verb == "QUIT":
                self._say(stream, self._ask("quit", "", "221 2.0.0 bye"))
                return
            else:
                answer = "250 2.0.0 OK"
            if not self._say(stream, answer):
                return
