"""The milter door: Postfix, Sendmail and whoever speaks milter ask about their mail, and carry the answer out.

Opened by a relay for a `[[door]]` of kind milter, and by `gatepost client milter` with a remote judge. A mail system
has one copy of a message for all its recipients, so `Ruling.whole` is what it gets. Promises: while a judgement takes
time the mail system hears every `PROGRESS_S` seconds that it goes on; one that has gone ends the judgement; what cannot
be judged, kept, or carried out, gets the door's `on_error`; when all connections hold much, contents wait in files.
"""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Final

from gatepost.client.on_error import rule_unjudged
from gatepost.model.envelope import Client
from gatepost.model.filtering import Request, Ruling
from gatepost.service.channel import Channel, ChannelClosed, Serve
from gatepost.service.gathered import MEMORY_BYTES, Gathered
from gatepost.service.held_bytes import HeldBytes, NoRoom, Share, add_held
from gatepost.service.judge import Context, Unjudged
from gatepost.service.milter_plan import PlanError, plan_answer
from gatepost.wire.milter import MilterSession, State
from gatepost.wire.milter_answers import CONTINUE, PROGRESS
from gatepost.wire.milter_values import Dropped, Family, MilterClient, MilterError, MilterMessage, Piece

PROGRESS_S: Final = 5.0
"""Mail systems give a filter 10 seconds (Sendmail's T=R) to some minutes for each word."""
IDLE_S: Final = 7210.0
"""Between two words of a mail system: as long as an SMTP client of its may take, which is libmilter's rule, too."""
CONTENT_LIMIT: Final = 1024 * 1024 * 1024
"""Octets of a message: above them it cannot be judged."""

_CONFIRMED: Final = frozenset({b"", b"OK"})


def make(context: Context, *, progress_s: float = PROGRESS_S, memory_bytes: int = MEMORY_BYTES) -> Serve:
    """Return what serves a connection. Above `memory_bytes` a content is kept in a file."""
    held = HeldBytes()

    async def serve(channel: Channel) -> None:
        await _Conversation(context, channel, Share(held), progress_s, memory_bytes).run()

    return serve


class _Conversation:
    """One connection of a mail system."""

    def __init__(self, context: Context, channel: Channel, share: Share, progress_s: float, memory_bytes: int) -> None:
        self._context = context
        self._door = context.door
        self._channel = channel
        self._progress_s = progress_s
        self._share = share
        self._memory_bytes = memory_bytes
        self._session = MilterSession(context.door.size_limit, CONTENT_LIMIT)
        self._client = MilterClient()
        self._ip = ""
        self._gathered: Gathered | None = None
        """What came of a message that does not come in one piece ..."""
        self._unkept = ""
        """... and why it could not be kept."""

    async def run(self) -> None:
        """Talk until the mail system ends it."""
        session = self._session
        try:
            while session.state is not State.CLOSED:
                event = session.next_event()
                if event is None:
                    if not await self._hear():
                        return
                elif isinstance(event, MilterMessage):
                    self._channel.write(session.take_output())
                    answer = await self._answer(event)
                    self._forget()
                    self._channel.write(answer)
                    await self._channel.drain()
                    session.finish()
                elif isinstance(event, Piece):
                    self._keep(event.content)
                elif isinstance(event, Dropped):
                    self._forget()
        except MilterError as error:
            self._report("W", f"the mail system's words are no milter protocol: {error}")
        finally:
            self._forget()

    async def _hear(self) -> bool:
        """Send what is due, and take what comes; return False at the end."""
        self._channel.write(self._session.take_output())
        data = await self._channel.read(None if self._session.partial else IDLE_S)
        self._session.feed(data)
        return bool(data)

    # --- one message

    async def _answer(self, message: MilterMessage) -> bytes:
        """Return the packets that answer a message."""
        if message.too_large and 0 < self._door.size_limit < message.size:
            return CONTINUE
        recipients = self._recipients(message)
        request = self._request(message, recipients)
        try:
            content = self._content(message)
            return await self._plan(await self._judge(request, content), recipients, content)
        except (Unjudged, PlanError, OSError) as error:
            on_error = self._door.on_error
            self._report("W", f"{request.queue_id or 'a message'} not judged, {on_error.value}: {error}")
            return await self._plan(rule_unjudged(on_error, request), recipients, b"")

    async def _plan(self, ruling: Ruling, recipients: dict[str, list[bytes]], content: bytes | Path) -> bytes:
        """Return the packets that carry the ruling out. PlanError, OSError."""
        changed = await self._read(content) if ruling.whole.body_changed else b""
        exact_values = self._session.exact_values
        return b"".join(plan_answer(ruling, recipients, changed, exact_values=exact_values, hold=self._door.hold))

    async def _judge(self, request: Request, content: bytes | Path) -> Ruling:
        """Ask the judge, and tell the mail system that it goes on. Unjudged."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def go_on() -> None:
            nonlocal timer
            try:
                self._channel.write(PROGRESS)
            except ChannelClosed:
                self._channel.abort()  # nobody waits any more
            else:
                timer = loop.call_later(self._progress_s, go_on)

        timer = loop.call_later(self._progress_s, go_on)
        try:
            return await self._context.judge.judge(request, content, self._door.deadline)
        finally:
            timer.cancel()

    def _report(self, level: str, text: str) -> None:
        self._context.report(level, f"door {self._door.name}: {text}")

    def _recipients(self, message: MilterMessage) -> dict[str, list[bytes]]:
        """Return recipients with the default domain, and each as the mail system told it."""
        recipients: dict[str, list[bytes]] = {}
        for raw in message.recipients:
            address = _address(raw)
            if "@" not in address and self._door.default_domain:
                address = f"{address}@{self._door.default_domain}"
            recipients.setdefault(address, []).append(raw)
        return recipients

    def _request(self, message: MilterMessage, recipients: dict[str, list[bytes]]) -> Request:
        macros = message.macros
        raw_tls = b" ".join(macros[name] for name in (b"{tls_version}", b"{cipher}") if macros.get(name))
        client = message.client
        if client is not self._client:  # else it is the last message's
            self._client, self._ip = client, _ip(client)
        return Request(
            client=Client(
                self._ip,
                client.port,
                _text(message.helo),
                True,
                self._door.name,
                _name(client, macros) if self._ip else "",
                _text(raw_tls),
                _text(macros.get(b"{auth_authen}", b"")),
            ),
            sender=_address(message.sender),
            recipients=tuple(recipients),
            queue_id=_text(macros.get(b"i", b"")),
        )

    # --- large messages

    def _keep(self, content: bytes) -> None:
        """Take the next piece; without room for it the message will not be judged."""
        if self._unkept:
            return
        if self._gathered is None:
            self._gathered = Gathered(memory_bytes=self._memory_bytes)
        try:
            add_held(self._gathered, content, self._share)
        except OSError as error:
            self._forget()
            self._unkept = f"no room for it: {error.strerror}"

    def _content(self, message: MilterMessage) -> bytes | Path:
        """Return the whole content, or the file it is in. Unjudged: it was not kept."""
        if message.too_large:
            raise Unjudged(f"it has more than {CONTENT_LIMIT} bytes")
        if self._gathered is None and not self._unkept and len(message.content) <= self._memory_bytes:
            with contextlib.suppress(NoRoom):
                self._share.take(len(message.content))
                return message.content
        self._keep(message.content)
        if self._gathered is None:
            raise Unjudged(self._unkept)
        return self._gathered.content

    @staticmethod
    async def _read(content: bytes | Path) -> bytes:
        return content if isinstance(content, bytes) else await asyncio.to_thread(content.read_bytes)

    def _forget(self) -> None:
        self._share.release()
        self._unkept = ""
        if self._gathered is not None:
            self._gathered.close()
            self._gathered = None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _address(raw: bytes) -> str:
    """Return the address of MAIL's or RCPT's path (RFC 5321 §4.1.2), without brackets and source route."""
    text = _text(raw.strip())
    if text.startswith("<"):
        text = text[1:].removesuffix(">")
    if text.startswith("@"):
        route, colon, rest = text.partition(":")
        text = rest if colon else route
    return text


def _ip(client: MilterClient) -> str:
    """Return the client's address in canonical form, "" when it has none."""
    if client.family is not Family.IPV4 and client.family is not Family.IPV6:
        return ""
    text = client.address.decode("ascii", "replace")
    text = text[5:] if text[:5].lower() == "ipv6:" else text
    kind = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        text = socket.inet_ntop(kind, socket.inet_pton(kind, text))
    except (OSError, ValueError):
        return ""
    mapped = text.removeprefix("::ffff:")
    return text if ":" in mapped else mapped


def _name(client: MilterClient, macros: dict[bytes, bytes]) -> str:
    """Return the client's name when the mail system has confirmed it by the address."""
    if client.name.startswith(b"[") or client.name == b"unknown":
        return ""
    return _text(client.name) if macros.get(b"{client_resolve}", b"") in _CONFIRMED else ""
