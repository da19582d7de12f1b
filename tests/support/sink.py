"""A scripted downstream server: one thread a connection, plain sockets, no code of the product's.

`Sink.script` may answer any step differently: it is called with (step, argument, sink) for the steps `connect`, `ehlo`,
`helo`, `mail`, `rcpt`, `data`, `content` (after 354, before the first byte is read), `end`, `quit` and returns a reply line (or
several, with CRLF between), None for the ordinary one, CLOSE to hang up, or STALL to say nothing until the sink is
closed. A reply with THEN_CLOSE behind it is said before hanging up.

With `tls` it offers STARTTLS (steps `starttls`, and `handshake`, whose answer is sent instead of a handshake); with
`lmtp` it speaks LMTP (LHLO; the step `end` comes once for each recipient, with its address). BDAT is understood when CHUNKING is among
the extensions (steps `bdat`, `end`).
"""

import contextlib
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedRWPair
from typing import Any, Self

from tests.support.ports import free_port
from tests.support.waiting import join, wait_for

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
        """The content less what the gateway put in front: a Received field, what the mail lacked, what was found."""
        return _TRACE.sub(b"", self.content, count=1)


_TRACE = re.compile(
    rb"\AReceived: .*?\sid ([0-9A-Z]{13});\r\n\t([^\r\n]*)\r\n(?:Date: \2\r\n)?(?:Message-ID: <\1@[^>\r\n]*>\r\n)?"
    rb"(?:(?:X-SpamTest-[\w-]+|Authentication-Results): [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*",
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
        *,
        tls: ssl.SSLContext | None = None,
        lmtp: bool = False,
    ) -> None:
        self.tls = tls
        self.lmtp = lmtp
        self.encrypted: list[str] = []
        """TLS version of every mail's session, "" for one in clear."""
        self.client_certificates = 0
        """Handshakes in which the client showed one."""
        self.script = script
        self.extensions = self.EXTENSIONS if extensions is None else extensions
        self.mails: list[Mail] = []
        self.commands: list[str] = []
        self.steps: list[tuple[float, str]] = []
        """(Unix time, step) of everything asked of the script or answered as usual."""
        self.connections = 0
        self._running: set[threading.Thread] = set()
        self._sessions: set[threading.Thread] = set()
        """Less those that have said QUIT."""
        self.most_open = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._unanswered: set[threading.Thread] = set()
        """Sessions that have taken a mail and not yet said so."""
        self._sockets: set[socket.socket] = set()
        self.port = port or free_port()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, self.port), family=family, backlog=256)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

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
        join(self._accepting)
        # Who sees a mail in `mails` may close us: the client must hear 250 all the same, or it rightly comes again.
        wait_for(lambda: not self._unanswered, "the answers to mails that were taken")
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        join(*list(self._running))

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
                session = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self.connections += 1
                self._running.add(session)
                self._sessions.add(session)
                self.most_open = max(self.most_open, self.open)
                self._sockets.add(sock)
            session.start()

    @property
    def open(self) -> int:
        """Sessions that go on. With QUIT one has ended: the client may begin another before we have closed."""
        return len(self._sessions)

    def _leave(self) -> None:
        with self._lock:
            self._sessions.discard(threading.current_thread())

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock, sock.makefile("rwb") as stream:
                wants_tls = self._dialogue(stream, greet=True)
                if wants_tls:
                    self._serve_encrypted(sock)
        except (OSError, ValueError):
            pass
        finally:
            self._leave()
            with self._lock:
                self._sockets.discard(sock)
                self._unanswered.discard(threading.current_thread())
                self._running.discard(threading.current_thread())

    def _serve_encrypted(self, sock: socket.socket) -> None:
        instead = self._ask("handshake", "", "")
        if instead == STALL:
            self._stop.wait()
        if instead:
            sock.sendall(instead.encode("latin-1") if instead not in (CLOSE, STALL) else b"")
            return
        assert self.tls is not None
        with self.tls.wrap_socket(sock, server_side=True) as secured, secured.makefile("rwb") as stream:
            with self._lock:
                self._sockets.add(secured)
                shown = secured.getpeercert(binary_form=True)
                self.client_certificates += shown is not None
                self.note_client(shown)
            self._dialogue(stream, greet=False, tls=secured.version() or "?")

    def note_client(self, certificate: bytes | None) -> None:
        """Take note of what a TLS client showed (DER)."""

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
        self._unanswered.discard(threading.current_thread())
        return text == answer

    def _dialogue(self, stream: "BufferedRWPair[Any, Any]", *, greet: bool, tls: str = "") -> bool:
        """Return whether the client wants TLS now."""
        if greet and not self._say(stream, self._ask("connect", "", "220 sink.localdomain ESMTP")):
            return False
        mail = Mail("", [], b"")
        while line := stream.readline():
            text = line.decode("latin-1").rstrip("\r\n")
            verb = text[:4].upper()
            with self._lock:
                self.commands.append(text)
            if verb == ("LHLO" if self.lmtp else "EHLO"):
                offer = ["STARTTLS"] if self.tls is not None and not tls else []
                lines = ["sink.localdomain", *self.extensions, *offer]
                ordinary = "\r\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{e}" for i, e in enumerate(lines))
                answer = self._ask("ehlo", text, ordinary)
            elif verb == "STAR" and self.tls is not None:
                answer = self._ask("starttls", "", "220 2.0.0 go")
                if not self._say(stream, answer):
                    return False
                if answer.startswith("220"):
                    return True
                continue
            elif verb == "HELO":
                answer = self._ask("helo", text, "250 sink.localdomain")
            elif verb == "MAIL":
                path, _, arguments = text[10:].partition(">")
                mail = Mail(path.lstrip("<"), [], b"", arguments.strip())
                answer = self._ask("mail", mail.sender, "250 2.1.0 OK")
            elif verb == "RCPT":
                path, _, arguments = text[8:].partition(">")
                answer = self._ask("rcpt", path.lstrip("<"), "250 2.1.5 OK")
                if answer.startswith("25"):
                    mail.recipients.append(path.lstrip("<"))
                    mail.rcpt_arguments.append(arguments.strip())
            elif verb == "BDAT":
                size, _, last = text[5:].partition(" ")
                mail.content += stream.read(int(size))
                if not last:
                    answer = self._ask("bdat", "", "250 2.0.0 OK")
                elif not mail.recipients:
                    answer = "554 5.5.1 no valid recipients"
                else:
                    answer = self._end(mail, tls)
            elif verb == "DATA":
                answer = self._ask("data", "", "354 go" if mail.recipients else "554 5.5.1 no valid recipients")
                if not self._say(stream, answer):
                    return False
                if not answer.startswith("354"):
                    continue
                if not self._say_nothing(self._ask("content", "", "")):
                    return False
                content = []
                while (piece := stream.readline()) != b".\r\n":
                    if not piece:
                        return False
                    content.append(piece[1:] if piece.startswith(b".") else piece)
                mail.content = b"".join(content)
                answer = self._end(mail, tls)
            elif verb == "QUIT":
                self._leave()
                self._say(stream, self._ask("quit", "", "221 2.0.0 bye"))
                return False
            else:
                answer = "250 2.0.0 OK"
            if not self._say(stream, answer):
                return False
        return False

    def _end(self, mail: Mail, tls: str) -> str:
        """Take what has arrived and return the answer, by LMTP one for each recipient (RFC 2033 §4.2)."""
        mail.at = time.time()
        if self.lmtp:
            answers = [self._ask("end", recipient, f"250 2.0.0 OK {recipient}") for recipient in mail.recipients]
            mail.recipients = [r for r, a in zip(mail.recipients, answers, strict=True) if a.startswith("250")]
        else:
            answers = [self._ask("end", mail.sender, "250 2.0.0 OK")]
        if any(answer.startswith("250") for answer in answers):
            with self._lock:
                self._unanswered.add(threading.current_thread())
                self.mails.append(mail)
                self.encrypted.append(tls)
        return "\r\n".join(answers)
