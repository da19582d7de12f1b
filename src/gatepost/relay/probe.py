"""Probe: asks a next hop whether it would take a recipient, and sends nothing. Sans-I/O session and its asyncio shell.

Called by `relay.verification`. The dialogue is greeting, EHLO (HELO, LHLO), MAIL FROM:<>, RCPT, RSET, QUIT, in clear:
a hop that demands more than that cannot be asked, which is no verdict on the recipient.
"""

import asyncio
import enum
from typing import Final, cast

from gatepost.model.reply import Reply
from gatepost.smtp.errors import ReplySyntaxError
from gatepost.smtp.reply_parser import ReplyParser

PROBE_LIMIT_S: Final = 15.0
"""Longest time a client waits at RCPT for one probe; beyond it the hop counts as not reached."""


class Verdict(enum.Enum):
    """What a next hop says of a recipient."""

    EXISTS = "exists"
    ABSENT = "absent"
    """It refused the recipient for good."""
    UNDECIDED = "undecided"
    """It could not be reached, would not be asked, or does not know now."""


class _Step(enum.Enum):
    GREETING = enum.auto()
    EHLO = enum.auto()
    HELO = enum.auto()
    MAIL = enum.auto()
    RCPT = enum.auto()
    DONE = enum.auto()


class ProbeSession:
    """The dialogue about one recipient. `verdict` is None while it lasts."""

    def __init__(self, hostname: str, recipient: str, *, lmtp: bool = False) -> None:
        """`recipient` must be fit for a command (`smtp.sendable`), `hostname` is the name we give."""
        self.verdict: Verdict | None = None
        self._hostname = hostname
        self._recipient = recipient
        self._lmtp = lmtp
        self._parser = ReplyParser()
        self._step = _Step.GREETING
        self._output = b""

    def feed(self, data: bytes) -> None:
        """Take what the peer has sent."""
        self._parser.feed(data)
        try:
            while self.verdict is None and (answer := self._parser.next_reply()) is not None:
                self._advance(answer)
        except ReplySyntaxError:
            self._end(Verdict.UNDECIDED)

    def eof(self) -> None:
        """The connection is lost."""
        if self.verdict is None:
            self._end(Verdict.UNDECIDED)

    def take_output(self) -> bytes:
        """Return what is to be sent."""
        output, self._output = self._output, b""
        return output

    def _advance(self, answer: Reply) -> None:
        step = self._step
        if step is _Step.RCPT:
            self._end(
                Verdict.EXISTS if answer.positive else Verdict.ABSENT if answer.permanent else Verdict.UNDECIDED,
                b"RSET\r\nQUIT\r\n",
            )
        elif step is _Step.EHLO and answer.permanent and not self._lmtp:
            self._say(_Step.HELO, f"HELO {self._hostname}")
        elif not answer.positive:
            self._end(Verdict.UNDECIDED, b"QUIT\r\n")
        elif step is _Step.GREETING:
            self._say(_Step.EHLO, f"{'LHLO' if self._lmtp else 'EHLO'} {self._hostname}")
        elif step is _Step.MAIL:
            self._say(_Step.RCPT, f"RCPT TO:<{self._recipient}>")
        else:
            self._say(_Step.MAIL, "MAIL FROM:<>")

    def _say(self, step: _Step, line: str) -> None:
        self._step = step
        self._output += line.encode("ascii") + b"\r\n"

    def _end(self, verdict: Verdict, farewell: bytes = b"") -> None:
        self._step = _Step.DONE
        self.verdict = verdict
        self._output += farewell


class _ProbeConnection(asyncio.Protocol):
    """The session's connection."""

    def __init__(self, session: ProbeSession, done: "asyncio.Future[Verdict]") -> None:
        self._session = session
        self._done = done
        self._transport: asyncio.Transport | None = None

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", base)

    def data_received(self, data: bytes) -> None:
        self._session.feed(data)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._session.eof()
        self._flush()

    def _flush(self) -> None:
        output, transport = self._session.take_output(), self._transport
        if transport is not None and not transport.is_closing():
            if output:
                transport.write(output)
            if self._session.verdict is not None:
                transport.close()  # what was written goes out; the answers to it are of no use
        if self._session.verdict is not None and not self._done.done():
            self._done.set_result(self._session.verdict)


async def probe(address: str, port: int, session: ProbeSession) -> Verdict | None:
    """Hold the dialogue with one host. None: it could not be reached at all, another may be tried."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Verdict] = loop.create_future()
    transport: asyncio.BaseTransport | None = None
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            transport, _ = await loop.create_connection(lambda: _ProbeConnection(session, done), address, port)
            return await done
    except TimeoutError:
        return Verdict.UNDECIDED if transport is not None else None
    except OSError:
        return None
    finally:
        if transport is not None and not done.done():
            cast("asyncio.Transport", transport).abort()
