"""The next hop of a proxy: one SMTP or LMTP session, over TCP or a local socket, driven step by step.

Made by `service.proxy_door` for each connection of a client. Promises: no wait is longer than the hop's time; a session
that is lost raises `HopLost`, which says whether the message may have been taken all the same.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from gatepost.model.envelope import Recipient
from gatepost.model.reply import Reply, reply
from gatepost.smtp.client_events import Closed, Event, Outcome, Ready, Refused, SendData, Stepped, Transaction
from gatepost.smtp.client_steps import SteppedSession
from gatepost.smtp.extensions import Extensions
from gatepost.smtp.settings import ClientSettings

READ_BYTES: Final = 64 * 1024
NOT_REACHED: Final = reply(451, "4.4.1", "Next server cannot be reached, try again later")
LOST: Final = reply(451, "4.4.2", "Connection with the next server lost, try again later")


class HopLost(Exception):  # noqa: N818 - a state of the next hop
    """The next hop cannot be talked to any more; the text says why, for the log."""

    def __init__(self, reason: str, answer: Reply = LOST, *, may_have_it: bool = False) -> None:
        super().__init__(reason)
        self.reply = answer
        """What a client may hear."""
        self.may_have_it = may_have_it
        """The whole content had been sent: to send it again might make a duplicate."""


class Hop(Protocol):
    """Where mail goes on to. All raise HopLost."""

    @property
    def extensions(self) -> Extensions:
        """What it offers."""

    @property
    def alive(self) -> bool:
        """Whether the session can still be used, as far as is known."""

    async def begin(self, transaction: Transaction) -> Reply:
        """Say who the sender is; `transaction` names no recipients."""

    async def add(self, recipient: Recipient) -> Reply:
        """Name a recipient."""

    async def go_on(self, pieces: Iterable[bytes], *, plain: bool) -> tuple[Reply, ...]:
        """Send content to all that were added and accepted, and return what is said of each of them."""

    async def send(self, transaction: Transaction, pieces: Iterable[bytes]) -> tuple[Reply, ...]:
        """Send a message in one go, and return what is said of each recipient."""

    def abandon(self) -> None:
        """Forget what was begun."""

    def close(self) -> None:
        """End the session, wherever it stands: without its end no content is taken."""


class SmtpHop:
    """A session with a server."""

    def __init__(
        self, session: SteppedSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_s: float
    ) -> None:
        self._session = session
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s
        self._accepted: list[bool] = []
        """Of those that were added."""

    @property
    def extensions(self) -> Extensions:
        """What the server offers."""
        return self._session.extensions

    @property
    def alive(self) -> bool:
        """Whether the session can still be used, as far as is known."""
        return not self._session.closed and not self._reader.at_eof()

    async def begin(self, transaction: Transaction) -> Reply:
        """Say MAIL."""
        self._accepted.clear()
        self._session.begin(transaction)
        return await self._step()

    async def add(self, recipient: Recipient) -> Reply:
        """Say RCPT."""
        self._session.add(recipient)
        answer = await self._step()
        self._accepted.append(answer.positive)
        return answer

    async def go_on(self, pieces: Iterable[bytes], *, plain: bool) -> tuple[Reply, ...]:
        """Say DATA, and send the content."""
        self._session.go_on(plain=plain)
        said = await self._finish(pieces)
        return tuple(answer for answer, accepted in zip(said, self._accepted, strict=True) if accepted)

    async def send(self, transaction: Transaction, pieces: Iterable[bytes]) -> tuple[Reply, ...]:
        """Send a message in one go."""
        self._session.start(transaction)
        return await self._finish(pieces)

    def abandon(self) -> None:
        """Forget what was begun; the server hears of it with the next transaction."""
        self._session.abandon()

    def close(self) -> None:
        """Say QUIT where that has a meaning, and close; a server that reads no more is not waited for."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        self._session.quit()
        transport.write(self._session.take_output())
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()

    async def greet(self) -> None:
        """Wait until the session can take a transaction."""
        event = await self._next()
        if isinstance(event, Ready):
            return
        if isinstance(event, Refused):
            raise HopLost(f"refused: {event.reply.code} {event.reply.text}", NOT_REACHED)
        raise _lost(event)

    async def _step(self) -> Reply:
        event = await self._next()
        if isinstance(event, Stepped):
            return event.reply
        raise _lost(event)

    async def _finish(self, pieces: Iterable[bytes]) -> tuple[Reply, ...]:
        begun = False
        while True:
            event = await self._next()
            if isinstance(event, SendData):
                begun = True
                await self._send_content(pieces)
            elif isinstance(event, Outcome):
                if self._session.closed and not begun:
                    raise _lost(event)  # it has waited too long, or goes down: another session may do
                return tuple(each.reply for each in event.recipients)
            else:
                if isinstance(event, Closed) and any(each.reply.positive for each in event.recipients):
                    return tuple(each.reply for each in event.recipients)  # by LMTP some have it
                raise _lost(event)

    async def _send_content(self, pieces: Iterable[bytes]) -> None:
        session = self._session
        unsent = 0
        for piece in pieces:
            if not session.sending:
                return
            session.send_data(piece)
            unsent += len(piece)
            if unsent >= READ_BYTES:  # less goes out together with the end: a write costs more than all the rest
                unsent = 0
                await self._flush()
        session.finish_data()

    async def _flush(self) -> None:
        output = self._session.take_output()
        if not output:
            return
        self._writer.write(output)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._writer.drain()
        except TimeoutError:
            self._session.timeout()
        except OSError:
            self._session.eof()

    async def _next(self) -> Event:
        session = self._session
        while True:
            event = session.next_event()
            await self._flush()
            if event is not None:
                return event
            if session.closed:
                raise HopLost("the session has ended")
            try:
                async with asyncio.timeout(session.timeout_s or self._timeout_s):
                    data = await self._reader.read(READ_BYTES)
            except TimeoutError:
                session.timeout()
            except OSError:
                session.eof()
            else:
                if data:
                    session.feed(data)
                else:
                    session.eof()


def _lost(event: Event) -> HopLost:
    if isinstance(event, Closed):
        return HopLost(event.reason, may_have_it=event.data_ended)
    if isinstance(event, Outcome):  # 421 to a step
        said = event.recipients[0].reply if event.recipients else LOST
        return HopLost(f"closed: {said.code} {said.text}")
    return HopLost("the session is out of step")


async def dial_smtp(address: str, hostname: str, timeout_s: float, *, lmtp: bool) -> SmtpHop:
    """Return an open session with the server at `tcp:host:port` or `unix:/path`. HopLost."""
    settings = ClientSettings(
        hostname,
        initial_s=timeout_s,
        hello_s=timeout_s,
        mail_s=timeout_s,
        rcpt_s=timeout_s,
        data_initiation_s=timeout_s,
        data_termination_s=timeout_s,
        quit_s=timeout_s,
        write_s=timeout_s,
        lmtp=lmtp,
    )
    kind, _, place = address.partition(":")
    host, _, port = place.rpartition(":")
    try:
        async with asyncio.timeout(timeout_s):
            if kind == "unix":
                reader, writer = await asyncio.open_unix_connection(place)
            else:
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError) as error:
        why = "timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise HopLost(f"connect to {address}: {why}", NOT_REACHED) from None
    hop = SmtpHop(SteppedSession(settings), reader, writer, timeout_s)
    try:
        await hop.greet()
    except BaseException:
        hop.close()
        raise
    return hop
