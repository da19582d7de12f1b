"""The proxy door: SMTP or LMTP in, a judgement, and on to the next hop by SMTP or LMTP.

Opened by a relay for a `[[door]]` of kind proxy, and by `gatepost client pipe` with a remote judge. Nothing is stored:
the client hears 250 when the next hop has said it, so that a message is always either the client's or the next hop's.
MAIL and RCPT are put to the next hop as they come, and its answers are the client's; what it does not offer, nobody is
offered. Promises: a client that has gone gets nothing delivered in its name; who cannot be reached, and what cannot be
judged (by `on_error`), is a temporary failure; a duplicate is possible, a loss is not.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from gatepost.config.doors import Door
from gatepost.model.envelope import Client
from gatepost.model.reply import reply
from gatepost.service.channel import Channel, ChannelClosed, Serve
from gatepost.service.judge import Context
from gatepost.service.proxy_hop import HopLost, dial_smtp
from gatepost.service.proxy_memory import DeliveredMemory
from gatepost.service.proxy_onward import Mail, Means, Onward
from gatepost.service.proxy_plan import Fate, Kind, join_fates
from gatepost.service.proxy_settlement import Settlement, complete_address
from gatepost.smtp import server as smtp
from gatepost.smtp.extensions import Extensions

CONTENT_LIMIT: Final = 1024 * 1024 * 1024
"""Octets of a message where the next hop states no limit."""
NO_LIMIT: Final = 1 << 62
"""What a session may do is limited by the mail system that asks, and by the next hop."""
RECIPIENTS_LIMIT: Final = 10_000
HOPS_LIMIT: Final = 100
"""Received fields: a proxy adds none, but must not go on for ever when it is its own next hop."""

NO_ROOM: Final = reply(452, "4.3.1", "Insufficient system storage")
CLOSING: Final = reply(421, "4.4.1", "Next server cannot be reached, try again later", closes=True)
_LOCAL: Final = "127.0.0.1"
"""Where mail came from that a mail system says is its own."""


def make(context: Context, means: Means | None = None) -> Serve:
    """Return what serves a connection."""
    door = context.door

    def report(level: str, text: str) -> None:
        context.report(level, f"door {door.name}: {text}")

    given = means or Means(
        dial=functools.partial(
            dial_smtp, door.next_hop, context.hostname, door.next_hop_timeout, lmtp=door.next_hop_lmtp
        )
    )
    memory = DeliveredMemory(context.delivered, f"{door.name} {door.next_hop}")

    async def serve(channel: Channel) -> None:
        conversation = _Conversation(context, given, Onward(given, memory, report), channel)
        try:
            await conversation.run()
        finally:
            conversation.end()

    return serve


@functools.lru_cache(maxsize=64)  # one value for each kind of next hop: what follows from it is kept
def _settings(hostname: str, door: Door, offered: Extensions, *, eight_bit_always: bool) -> smtp.ServerSettings:
    """Return what is offered to clients: what the next hop offers, and XFORWARD."""
    return smtp.ServerSettings(
        hostname,
        size_limit=offered.size_limit or CONTENT_LIMIT,
        session_bytes_limit=NO_LIMIT,
        messages_limit=NO_LIMIT,
        recipients_limit=RECIPIENTS_LIMIT,
        hops_limit=HOPS_LIMIT,
        smtputf8=offered.smtputf8,
        xforward=door.xforward,
        eight_bit=offered.eight_bit or eight_bit_always,
        dsn=offered.dsn,
        bare_local_parts=True,
        lmtp=door.lmtp,
    )


class _Conversation:
    """One connection of a client, and ours with the next hop."""

    def __init__(self, context: Context, means: Means, onward: Onward, channel: Channel) -> None:
        self._context = context
        self._door = context.door
        self._means = means
        self._onward = onward
        self._settlement = Settlement(context, onward)
        self._channel = channel
        self._mail: Mail | None = None
        self._facts = smtp.ClientForwarded()
        """What XFORWARD told for the next transaction."""
        self._helo = ""
        self._esmtp = False

    async def run(self) -> None:
        """Talk until the client ends it."""
        channel = self._channel
        session = await self._greet()
        if session is None:
            return
        self._session = session
        while not session.closed:
            while (event := session.next_event()) is not None:
                handle = _HANDLERS.get(type(event))
                if handle is not None:
                    await handle(self, event)
            channel.write(session.take_output())
            await channel.drain()
            if session.closed:
                return
            try:
                data = await channel.read()
            except TimeoutError:
                session.timeout()
                continue
            if data:
                session.feed(data)
            else:
                session.eof()

    def end(self) -> None:
        """Close the next hop's session, wherever it stands, and forget what is under way."""
        try:
            self._onward.close()
        finally:
            self._forget()

    async def _greet(self) -> smtp.ServerSession | None:
        """Return a session that offers what the next hop does; None when there is no next hop."""
        try:
            hop = await self._onward.dial()
        except HopLost:
            refusal = smtp.ServerSession(smtp.ServerSettings(self._context.hostname), "")
            refusal.refuse(CLOSING)
            self._channel.write(refusal.take_output())
            return None
        settings = _settings(
            self._context.hostname,
            self._door,
            hop.extensions,
            eight_bit_always=self._means.eight_bit_always,
        )
        session = smtp.ServerSession(settings, self._channel.peer or _LOCAL)
        self._channel.write(session.greeting())
        return session

    def _forget(self) -> None:
        mail, self._mail = self._mail, None
        if mail is None:
            return
        if mail.gathered is not None:
            mail.gathered.close()
        self._onward.abandon(mail)

    # --- up to the content

    async def _hello(self, event: smtp.Hello) -> None:
        self._forget()
        self._helo, self._esmtp = event.name, event.esmtp
        self._session.answer(None)

    async def _forwarded(self, event: smtp.ClientForwarded) -> None:
        told = {name: value for name, value in msgspec.structs.asdict(event).items() if value is not None}
        self._facts = msgspec.structs.replace(self._facts, **told)

    async def _mail_from(self, event: smtp.MailFrom) -> None:
        self._forget()
        facts, self._facts = self._facts, smtp.ClientForwarded()
        mail = Mail(event, complete_address(event.address, self._door), facts)
        answer = await self._onward.begin(mail)
        if answer.positive:
            self._mail = mail
        self._session.answer(answer)

    async def _rcpt(self, event: smtp.RcptTo) -> None:
        mail = self._mail
        assert mail is not None
        recipient = event.recipient
        address = complete_address(recipient.address, self._door)
        if address is not recipient.address:
            recipient = msgspec.structs.replace(recipient, address=address)
        self._session.answer(await self._onward.add(mail, recipient))

    # --- the content

    async def _begin_content(self, _: smtp.DataBegin) -> None:
        assert self._mail is not None
        self._mail.gathered = self._means.gather()
        self._session.answer(None)

    async def _store(self, event: smtp.DataChunk) -> None:
        mail = self._mail
        if mail is None or mail.gathered is None:
            return
        try:
            mail.gathered.add(event.data)
        except OSError as error:
            self._context.report("E", f"door {self._door.name}: content cannot be kept: {error.strerror}")
            mail.gathered.close()
            mail.gathered = None

    async def _aborted(self, _: smtp.DataAborted) -> None:
        self._forget()

    async def _finish(self, end: smtp.DataEnd) -> None:
        """Have the message judged, pass it on, and say what came of it."""
        mail = self._mail
        assert mail is not None
        if mail.gathered is None:
            fates = [Fate(Kind.FAILED, NO_ROOM)] * len(mail.recipients)
        else:
            fates = await self._settlement.settle(
                mail, mail.gathered, self._client(mail), plain=end.plain, waits=self._waits
            )
            if self._channel.gone:
                self._onward.remember(mail, mail.gathered, fates)
        self._forget()
        if self._channel.gone:
            raise ChannelClosed("the client has gone")
        if self._door.lmtp:
            self._session.answer_each([fate.reply for fate in fates])
        else:
            self._session.answer(join_fates(fates))

    def _client(self, mail: Mail) -> Client:
        facts = mail.facts
        name = facts.name or ""
        ip = facts.address or ((self._channel.peer or _LOCAL) if facts.source == "LOCAL" else "")
        return Client(
            ip,
            facts.port or 0,
            facts.helo or "",
            facts.protocol != "SMTP" if facts.protocol else self._esmtp,
            self._door.name,
            "" if name == smtp.TEMPORARILY_UNKNOWN else name,
        )

    def _waits(self) -> bool:
        """Tell whether the client is there, to hear what becomes of its message."""
        channel = self._channel
        return not (channel.gone or (self._means.eof_is_gone and channel.ended and not self._session.quits))


_HANDLERS: Final[dict[type, Callable[[_Conversation, Any], Awaitable[None]]]] = {
    smtp.Hello: _Conversation._hello,
    smtp.ClientForwarded: _Conversation._forwarded,
    smtp.MailFrom: _Conversation._mail_from,
    smtp.RcptTo: _Conversation._rcpt,
    smtp.DataBegin: _Conversation._begin_content,
    smtp.DataChunk: _Conversation._store,
    smtp.DataEnd: _Conversation._finish,
    smtp.DataAborted: _Conversation._aborted,
}
