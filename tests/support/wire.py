"""An SMTP conversation as bytes: what the standard library's client would never send, and when."""

import re
import select
import socket
import time
from collections.abc import Iterable
from typing import Self

from tests.support.waiting import WAIT_S

CODE = re.compile(r"^(\d{3})([ -])", re.MULTILINE)


class Wire:
    """One connection. Replies are text: the lines of one reply with a line feed between, "" when the peer closed."""

    def __init__(self, port: int, source: str = "127.0.0.1", timeout: float = WAIT_S, host: str = "127.0.0.1") -> None:
        """`source` is the client's address, any of 127.0.0.0/8."""
        self.opened = time.monotonic()
        self._sock = socket.create_connection((host, port), timeout=timeout, source_address=(source, 0))
        self._stream = self._sock.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def end(self) -> None:
        """Send nothing more; replies can still be read."""
        self._sock.shutdown(socket.SHUT_WR)

    def reply(self) -> str:
        """Read one whole reply."""
        lines = []
        try:
            while line := self._stream.readline():
                lines.append(line.decode("latin-1").rstrip("\r\n"))
                if line[3:4] != b"-":
                    break
        except ConnectionResetError:
            return ""
        return "\n".join(lines)

    def ask(self, line: str | bytes) -> str:
        """Send a command and return its reply."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    def expect(self, *dialogue: tuple[str, str]) -> None:
        """Hold (command, beginning of the reply) pairs; an empty command reads only."""
        for command, beginning in dialogue:
            answer = self.ask(command) if command else self.reply()
            assert answer.startswith(beginning), f"{command!r}: {answer!r} instead of {beginning!r}"

    def begin(self, recipients: Iterable[str] = ("user@example.org",), sender: str = "sender@example.net") -> None:
        """Greeting to accepted recipients."""
        self.expect(("", "220 "), ("EHLO client.example.net", "250"), (f"MAIL FROM:<{sender}>", "250 "))
        for recipient in recipients:
            self.expect((f"RCPT TO:<{recipient}>", "250 "))

    def data(self, content: bytes) -> str:
        """DATA with content that needs no dot-stuffing; return the reply to its end."""
        self.expect(("DATA", "354 "))
        self.send(content + b".\r\n")
        return self.reply()

    def silent_for(self, seconds: float) -> bool:
        """Tell whether nothing came for so long."""
        return not select.select([self._sock], [], [], seconds)[0]

    def drain(self) -> tuple[str, float]:
        """Read until the peer closes; return the last reply and the age of the connection then, in seconds."""
        last = ""
        while answer := self.reply():
            last = answer
        return last, time.monotonic() - self.opened
