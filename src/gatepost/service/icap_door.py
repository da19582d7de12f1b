"""The ICAP door: web proxies and upload gateways have requests and responses looked at for malware (RFC 3507).

Opened by `service.doors` for `kind = "icap"`. Reads requests (`wire.icap_server`), gathers the object, asks the judge,
answers (`wire.icap_answers`): 204 or the same object when nothing is wrong with it, a page in its place when it is
refused. Promises: an object that was not scanned to the end is never passed as clean, but by `on_error = "accept"`
or above the size limit; nothing of an object that is looked at goes out before it has been judged.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from gatepost.config.doors import OnError
from gatepost.model.envelope import Client
from gatepost.model.filtering import Checks, Deed, Purpose, Request, Ruling, Threat
from gatepost.model.finding import BareObject, ObjectStatus
from gatepost.service.channel import Channel, ChannelClosed, Serve
from gatepost.service.gathered import Gathered
from gatepost.service.held_bytes import HeldBytes, Share, add_held
from gatepost.service.icap_page import build_block_page
from gatepost.service.judge import Context, Unjudged
from gatepost.wire.http import build_chunk
from gatepost.wire.icap_answers import Found, Service, build_options, build_page, build_same, build_status
from gatepost.wire.icap_server import (
    End,
    IcapEvent,
    IcapRequest,
    IcapRequestError,
    IcapServerSession,
    Method,
    Piece,
    PreviewEnd,
)

OBJECT_LIMIT: Final = 512 * 1024 * 1024
"""Bytes of one object with `size_limit = 0`: a larger one cannot be judged, and `on_error` holds."""
OPTIONS_TTL_S: Final = 300
"""For how long a proxy may believe what OPTIONS said."""
RETRY_S: Final = 30
"""A browser is told to come again after this time when an object could not be judged."""
SERVICES: Final = {
    "reqmod": (Method.REQMOD,),
    "respmod": (Method.RESPMOD,),
    "avscan": (Method.RESPMOD, Method.REQMOD),
}
"""Paths and what is served there."""

_REFUSED: Final = frozenset(
    (ObjectStatus.INFECTED.value, ObjectStatus.DISINFECTED.value, ObjectStatus.SUSPICIOUS.value)
)
"""Statuses with which an object is refused whatever a policy for mail makes of them: it cannot be cured on its way."""
_DECLARED: Final = re.compile(r"[ ->@-~]{1,1000}\Z")
"""A form's type as it can be put into a header: what could not be shown is a question mark by now."""
_NO_CODING: Final = frozenset(("", "identity"))
_OPENED_CODINGS: Final = frozenset(("gzip", "x-gzip", "bzip2", "xz", "zstd", "compress", "x-compress"))
"""Content-Encodings a filter opens as what they are: packed files. One at a time, and no forms within."""


def make(context: Context) -> Serve:
    """Return what serves a connection (see `service.judge.Context`)."""
    return _Door(context).serve


class _Door:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.limit = context.door.size_limit or OBJECT_LIMIT
        self.held = HeldBytes()

    def service(self) -> Service:
        """Return what every answer says, with a tag that changes when answers may."""
        version = self.context.version
        state = version() if version is not None else ""
        tag = hashlib.sha256(f"{self.context.hostname} {state}".encode()).hexdigest()[:24]
        return Service(f"Gatepost {self.context.hostname}", f"GP-{tag}")

    async def serve(self, channel: Channel) -> None:
        await _Visit(self, channel).run()


class _Visit:
    """One connection."""

    def __init__(self, door: _Door, channel: Channel) -> None:
        self.door = door
        self.context = door.context
        self.channel = channel
        self.session = IcapServerSession()

    async def run(self) -> None:
        try:
            while await self.serve_one():
                pass
        except IcapRequestError as error:
            self.context.report("W", f"door {self.context.door.name}: {self.channel.peer or 'a client'}: {error}")
            self.channel.write(build_status(self.door.service(), error.status, close=True))

    async def event(self) -> IcapEvent:
        """Return what comes next. ChannelClosed: the client has gone."""
        while (event := self.session.next_event()) is None:
            data = await self.channel.read()
            if not data:
                raise ChannelClosed("the client has gone")
            self.session.feed(data)
        return event

    async def serve_one(self) -> bool:
        """Answer one request; return whether there may be another."""
        try:
            request = await self.event()
        except ChannelClosed:
            if self.session.idle:
                return False
            raise
        if not isinstance(request, IcapRequest):
            raise TypeError(f"{type(request).__name__} is not the head of a request")
        methods = SERVICES.get(request.service, ())
        if not methods:
            raise IcapRequestError(404, f"there is no service {request.service!r}")
        if request.method is Method.OPTIONS:
            await self.swallow()
            connections = self.context.door.connections
            self.channel.write(
                build_options(self.door.service(), methods, connections, OPTIONS_TTL_S, close=request.last)
            )
        elif request.method not in methods:
            raise IcapRequestError(405, f"{request.method} at {request.service!r}")
        elif not request.has_body:
            await self.swallow()
            await self.pass_on(request, (), whole_204=request.allow_204)
        else:
            gathered = Gathered(_form_header(request))
            try:
                with Share(self.door.held) as share:
                    return await self.look(request, gathered, share)
            finally:
                gathered.close()
        await self.channel.drain()
        return not request.last

    async def swallow(self) -> None:
        """Read over the rest of a request."""
        while not isinstance(event := await self.event(), End):
            if isinstance(event, PreviewEnd):
                self.channel.write(self.session.go_on())

    # --- an object

    async def look(self, request: IcapRequest, gathered: Gathered, share: Share) -> bool:
        """Take an object in, judge it and answer; return whether there may be another request."""
        whole_204 = request.allow_204 or request.preview >= 0
        """All that came was the preview: 204 may answer it whatever `Allow` says (RFC 3507 §4.6)."""
        while True:
            match await self.event():
                case Piece(data):
                    try:
                        add_held(gathered, data, share)
                    except OSError as error:
                        self.context.report("E", f"door {self.context.door.name}: no room for an object: {error}")
                        self.channel.write(build_status(self.door.service(), 500, close=True))
                        return False
                    if gathered.size > self.door.limit:
                        return await self.answer_too_large(request, gathered)
                case PreviewEnd():
                    if self.passes_by_length(request):
                        self.session.drop()
                        self.channel.write(build_status(self.door.service(), 204, close=request.last))
                        return not request.last
                    whole_204 = request.allow_204
                    self.channel.write(self.session.go_on())
                case End():
                    break
                case other:
                    raise TypeError(f"{type(other).__name__} within a body")
        try:
            page = self.refuse(request, await self.judge(request, gathered))
        except Unjudged as error:
            page = self.refuse_unjudged(request, str(error))
        if page is None:
            await self.pass_on(request, gathered.pieces(), whole_204=whole_204)
        else:
            self.channel.write(page)
        await self.channel.drain()
        return not request.last

    def passes_by_length(self, request: IcapRequest) -> bool:
        """Whether an object is known to be above the size limit by the length its header states."""
        text = request.subject.fields.get("content-length", "")
        stated = int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0
        return self.context.door.size_limit > 0 and stated > self.door.limit

    async def answer_too_large(self, request: IcapRequest, gathered: Gathered) -> bool:
        """Deal with an object that turns out to be above the limit; return whether there may be another request."""
        if not self.context.door.size_limit:
            page = self.refuse_unjudged(request, f"the object has more than {OBJECT_LIMIT} bytes", close=True)
            if page is not None:
                self.channel.write(page)
                await self.channel.drain()
                return False
        if request.allow_204:
            await self.swallow()
            self.channel.write(build_status(self.door.service(), 204, close=request.last))
            return not request.last
        # It goes back as it comes: nothing more of it is kept.
        self.channel.write(build_same(self.door.service(), request, close=request.last))
        await self.send(gathered.pieces())
        while not isinstance(event := await self.event(), End):
            if isinstance(event, Piece):
                await self.send((event.data,))
            else:
                self.channel.write(self.session.go_on())
        self.channel.write(build_chunk(b""))
        await self.channel.drain()
        return not request.last

    async def pass_on(self, request: IcapRequest, body: Iterable[bytes], *, whole_204: bool) -> None:
        """Answer that nothing is wrong with it."""
        service = self.door.service()
        if whole_204:
            self.channel.write(build_status(service, 204, close=request.last))
            return
        self.channel.write(build_same(service, request, close=request.last))
        if request.has_body:
            await self.send(body)
            self.channel.write(build_chunk(b""))

    async def send(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.channel.write(build_chunk(piece))
            await self.channel.drain()

    # --- the judgement

    async def judge(self, request: IcapRequest, gathered: Gathered) -> Ruling:
        """Ask. Unjudged."""
        told = request.subject.fields.get("content-encoding", "").lower()
        codings = [each for each in map(str.strip, told.split(",")) if each not in _NO_CODING]
        if codings and (len(codings) > 1 or codings[0] not in _OPENED_CODINGS or _is_form(request)):
            raise Unjudged(f"content coding {told[:40]!r} cannot be opened")
        if _is_form(request) and _DECLARED.match(request.subject.fields["content-type"]) is None:
            raise Unjudged("what divides the parts of a form cannot be read")
        door = self.context.door
        asked = Request(
            client=Client(request.client_ip, listener=door.name, user=request.user),
            purpose=Purpose.ASK,
            checks=Checks.VIRUS,
            bare=None if _is_form(request) else BareObject(request.name, request.subject.content_type),
        )
        return await self.context.judge.judge(asked, gathered.content, door.deadline)

    def refuse(self, request: IcapRequest, ruling: Ruling) -> bytes | None:
        """Return the page in place of an object that is refused, None: it passes."""
        whole = ruling.whole
        threat = next((each for each in whole.threats if each.status in _REFUSED), None)
        if threat is None and whole.deed is Deed.DELIVER and not whole.body_changed:
            return None
        if threat is None:
            threat = next(iter(whole.threats), Threat(whole.reason or "refused by policy", ""))
        infected = threat.status in _REFUSED
        title = "Malware was found" if infected else "This is not let through"
        page = build_block_page(
            title,
            "What you asked for has been blocked, because it is not safe." if infected
            else "What you asked for is blocked by the rules of this network.",
            self.context.hostname,
            ("Address", request.request.url),
            ("File", request.name),
            ("Found", threat.name),
            ("Reference", ruling.queue_id),
        )  # fmt: skip
        return build_page(
            self.door.service(), "403 Forbidden", page, Found(threat.name, infected=infected), close=request.last
        )

    def refuse_unjudged(self, request: IcapRequest, reason: str, *, close: bool = False) -> bytes | None:
        """Return the page in place of an object that could not be judged, None: it passes (`on_error`)."""
        door = self.context.door
        self.context.report("W", f"door {door.name}: not judged, {door.on_error.value}: {reason}")
        if door.on_error is OnError.ACCEPT:
            return None
        later = door.on_error is OnError.TEMPFAIL
        page = build_block_page(
            "This could not be checked",
            "What you asked for could not be checked for malware" + (" now; please try again later." if later else "."),
            self.context.hostname,
            ("Address", request.request.url),
            ("File", request.name),
        )
        status = "503 Service Unavailable" if later else "403 Forbidden"
        retry_s = RETRY_S if later else 0
        return build_page(self.door.service(), status, page, retry_s=retry_s, close=close or request.last)


def _is_form(request: IcapRequest) -> bool:
    """Whether the body is a form with files, whose parts are as those of a mail."""
    return request.method is Method.REQMOD and request.subject.content_type == "multipart/form-data"


def _form_header(request: IcapRequest) -> bytes:
    """Return the header with which such a body is a message."""
    if not _is_form(request):
        return b""
    declared = request.subject.fields["content-type"].encode("ascii", "replace")
    return b"MIME-Version: 1.0\r\nContent-Type: %b\r\n\r\n" % declared
