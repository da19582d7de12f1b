"""The door of the product's own protocol: its clients ask here (docs/manual/filter-protocol.md).

Made by `service.doors` for doors of kind `filter`, one coroutine a connection. A client asks one question after the
other; large messages wait in a temporary file, and so do small ones when very many come at once. What cannot be judged
is answered so: what becomes of it is the client's to decide.
"""

import msgspec

from gatepost import __version__
from gatepost.client.on_error import rule_too_large
from gatepost.model.filtering import Part, Request, Ruling
from gatepost.service.channel import Channel, Serve
from gatepost.service.gathered import MEMORY_BYTES, Gathered
from gatepost.service.held_bytes import HeldBytes, NoRoom, Share
from gatepost.service.judge import Context, Unjudged
from gatepost.wire.filtering import Asked, Ended, FilteringError, FilterServerSession, Left, ServerEvent
from gatepost.wire.filtering_values import Hello


def make(context: Context) -> Serve:
    """Return what serves a connection of this door."""
    held = HeldBytes()

    async def serve(channel: Channel) -> None:
        await _Connection(context, channel, held).run()

    return serve


class _Connection:
    """The conversation with one client."""

    def __init__(self, context: Context, channel: Channel, held: HeldBytes) -> None:
        self._context = context
        self._channel = channel
        self._share = Share(held)
        self._session = FilterServerSession(f"gatepost {__version__}", context.door.size_limit)
        self._asked: Asked | None = None
        self._content = Gathered()

    async def run(self) -> None:
        """Serve until the client leaves. ConnectionError, TimeoutError: it is gone, or silent within a question."""
        try:
            while await self._turn():
                pass
        finally:
            self._forget()

    async def _turn(self) -> bool:
        """Take what has come; False at the end."""
        channel = self._channel
        try:
            data = await channel.read()
        except TimeoutError:
            if self._session.asked:
                raise
            return False  # a kept connection nobody needs any more
        if not data:
            return False
        try:
            events = self._session.feed(data)
            while events:
                for event in events:
                    if not await self._take(event):
                        return False
                # Answered: the next question may have come with this one.
                events = self._session.feed(b"")
        except FilteringError as error:
            self._context.report("W", f"door {self._context.door.name}: client {channel.peer or 'here'}: {error}")
            channel.write(error.frame)
            return False
        await channel.drain()
        return True

    async def _take(self, event: ServerEvent) -> bool:
        match event:
            case bytes():
                if not self._too_large:
                    self._content.add(event)
            case Asked():
                self._asked = event
                self._content = self._room(event.size)
            case Ended():
                self._channel.write(await self._answer())
                self._forget()
            case Left():
                return False
            case Hello():
                self._channel.write(self._session.hello())
        return True

    def _room(self, size: int) -> Gathered:
        """Return where the content goes: into memory as long as there is room for it."""
        try:
            self._share.take(min(size, MEMORY_BYTES))
        except NoRoom:
            return Gathered(memory_bytes=0)
        return Gathered()

    def _forget(self) -> None:
        self._content.close()
        self._share.release()
        self._asked = None

    def _request(self, request: Request) -> Request:
        """Return the question as the judge gets it: with the door's name, and whole addresses."""
        door = self._context.door
        client = msgspec.structs.replace(request.client, listener=door.name)
        recipients = request.recipients
        if door.default_domain:
            recipients = tuple([_complete(each, door.default_domain) for each in recipients])
        return msgspec.structs.replace(request, client=client, recipients=recipients)

    @property
    def _too_large(self) -> bool:
        """The message is above the door's limit: its content is passed over."""
        limit = self._context.door.size_limit
        return bool(limit) and self._asked is not None and self._asked.size > limit

    async def _answer(self) -> bytes:
        asked = self._asked
        assert asked is not None, "the session lets no question end that has not begun"
        door = self._context.door
        if self._too_large:
            return self._session.result(rule_too_large(asked.request))
        deadline_s = min(door.deadline, asked.deadline_s) if asked.deadline_s else door.deadline
        try:
            ruling = await self._context.judge.judge(self._request(asked.request), self._content.content, deadline_s)
        except Unjudged as reason:
            return self._session.unjudged(str(reason))
        try:
            return self._session.result(_as_asked(ruling, asked.request.recipients, door.default_domain))
        except ValueError as error:
            self._context.report("E", f"door {door.name}: an answer cannot be sent: {error}")
            return self._session.unjudged(str(error))


def _complete(recipient: str, domain: str) -> str:
    return recipient if not domain or "@" in recipient else f"{recipient}@{domain}"


def _as_asked(ruling: Ruling, recipients: tuple[str, ...], domain: str) -> Ruling:
    """Return the ruling with the recipients as the client named them."""
    if not domain and len(set(recipients)) == len(recipients):
        return ruling
    names: dict[str, list[str]] = {}
    for each in recipients:
        names.setdefault(_complete(each, domain), []).append(each)
    if all(names.get(each) == [each] for each in recipients):
        return ruling

    def named(part: Part) -> Part:
        back = tuple(name for each in dict.fromkeys(part.recipients) for name in dict.fromkeys(names.get(each, ())))
        return msgspec.structs.replace(part, recipients=back)

    return msgspec.structs.replace(ruling, parts=tuple(map(named, ruling.parts)), whole=named(ruling.whole))
