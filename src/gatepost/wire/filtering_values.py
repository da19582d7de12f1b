"""What the frames of the filtering protocol hold, as JSON: the names on the wire, their limits, and the values of
`model.filtering` they are made of.

Used by `wire.filtering` only. Promises: whatever comes in has the types, lengths and characters written here, or
`ValueError`; whatever the model holds can be sent (text that is not UTF-8 or holds control characters is written with
backslashes).
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from gatepost.model.envelope import Client
from gatepost.model.filtering import Checks, Deed, FieldEdit, FieldOp, Mark, Part, Purpose, Request, Ruling, Threat
from gatepost.model.finding import BareObject
from gatepost.model.reply import Reply
from gatepost.model.verdict import Splice

RECIPIENTS_LIMIT: Final = 10_000
"""Recipients of one message: ten times what mail servers take."""
ADDRESS_LIMIT: Final = 10_000
"""Characters of an address: SMTP allows 320 (RFC 5321 §4.5.3.1), mail systems take 2,048, and one that cannot be told
is a message that nobody judges.
"""
TEXT_LIMIT: Final = 4_096
"""Characters of any other text."""
LIST_LIMIT: Final = 10_000
"""Entries of any other list."""
FIELDS_LIMIT: Final = 1024 * 1024
"""Bytes of new header fields in front of a message, and of one changed field."""
REPLY_LINES_LIMIT: Final = 50
REPLY_LINE_LIMIT: Final = 500
"""Of a line of a reply: SMTP allows 512 octets with code and line end (RFC 5321 §4.5.3.1.5)."""

_Text = Annotated[str, Meta(max_length=TEXT_LIMIT)]
_Address = Annotated[str, Meta(max_length=ADDRESS_LIMIT)]
_Addresses = Annotated[tuple[_Address, ...], Meta(max_length=RECIPIENTS_LIMIT)]
_Texts = Annotated[tuple[_Text, ...], Meta(max_length=LIST_LIMIT)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Raw = Annotated[bytes, Meta(max_length=FIELDS_LIMIT)]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ENHANCED: Final = re.compile(r"(?:[245]\.[0-9]{1,3}\.[0-9]{1,3})?\Z")
_BYTE: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"(?:{_BYTE}\.){{3}}{_BYTE}\Z")
_FIELD_NAME: Final = re.compile(r"[!-9;-~]{1,200}\Z")
_VALUE: Final = rb"[^\x00\r\n]*+(?:\r\n[ \t][^\x00\r\n]*+)*+"
_FOLDED: Final = re.compile(rb"%b\Z" % _VALUE)
_NOT_FOLDED: Final = re.compile(rb"(\r\n(?=[ \t]))|[\x00\r\n]+")
_FIELDS: Final = re.compile(rb"(?:[!-9;-~]++[ \t]*+:%b\r\n)*+\Z" % _VALUE)


class Hello(msgspec.Struct, frozen=True, omit_defaults=True):
    """HELLO: who speaks, and how."""

    version: Annotated[int, Meta(ge=1, le=1_000_000)]
    """Client: the newest it knows. Server: the one that is spoken."""
    software: _Text = ""
    capabilities: _Texts = ()
    """Extensions the speaker knows; a word nobody knows is no fault. None are defined so far."""
    size_limit: _Count = 0
    """Server: larger messages (bytes) are answered `Too large` unseen; 0: none are."""


class Trouble(msgspec.Struct, frozen=True):
    """ERROR: why there is no answer."""

    code: Annotated[str, Meta(max_length=40)]
    text: _Text = ""


class _WireBare(msgspec.Struct, frozen=True, omit_defaults=True):
    name: _Text = ""
    content_type: _Text = ""


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """ENVELOPE."""

    client_ip: Annotated[str, Meta(max_length=45)] = ""
    client_name: _Text = ""
    client_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    helo: _Text = ""
    esmtp: bool = False
    tls: _Text = ""
    user: _Text = ""
    mail_from: _Address = ""
    rcpt: _Addresses = ()
    size: _Count = 0
    queue_id: _Text = ""
    purpose: Purpose = Purpose.HANDLE
    checks: Checks = Checks.ALL
    divided: bool = False
    bare: _WireBare | None = None
    accepted: bool = False
    deadline_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 0
    """How long the client waits; 0: it does not say."""


class _WireReply(msgspec.Struct, frozen=True, omit_defaults=True):
    code: Annotated[int, Meta(ge=400, le=599)]
    enhanced: Annotated[str, Meta(max_length=12)] = ""
    text: Annotated[tuple[Annotated[str, Meta(max_length=REPLY_LINE_LIMIT)], ...], Meta(max_length=50)] = ()


class _WireEdit(msgspec.Struct, frozen=True, omit_defaults=True):
    op: FieldOp
    name: Annotated[str, Meta(max_length=200)]
    value: _Raw = b""
    index: Annotated[int, Meta(ge=1, le=100_000)] = 1


class _WireSplice(msgspec.Struct, frozen=True, array_like=True):
    start: _Count
    end: _Count
    offset: _Count
    """Where in the bytes of the EDITS frames the new bytes begin ..."""
    length: _Count
    """... and how many they are."""


class _WireMark(msgspec.Struct, frozen=True, omit_defaults=True):
    name: _Text
    weight: float
    text: _Text = ""


class _WireThreat(msgspec.Struct, frozen=True, omit_defaults=True):
    name: _Text
    status: _Text
    object: _Text = ""


class _WirePart(msgspec.Struct, frozen=True, omit_defaults=True):
    rcpt: _Addresses = ()
    action: Deed = Deed.DELIVER
    reply_text: _WireReply | None = None
    status: _Text = ""
    extended: _Text = ""
    rate: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0
    methods: _Texts = ()
    categories: _Texts = ()
    group_id: _Text = ""
    marks: Annotated[tuple[_WireMark, ...], Meta(max_length=LIST_LIMIT)] = ()
    objects: _Texts = ()
    threats: Annotated[tuple[_WireThreat, ...], Meta(max_length=LIST_LIMIT)] = ()
    reason: _Text = ""
    prefix: _Raw = b""
    splices: Annotated[tuple[_WireSplice, ...], Meta(max_length=100_000)] = ()
    header_ops: Annotated[tuple[_WireEdit, ...], Meta(max_length=LIST_LIMIT)] = ()
    body_changed: bool = False
    subject_label: _Text = ""
    copies: _Addresses = ()
    redirect: _Addresses = ()


class _WireRuling(msgspec.Struct, frozen=True, omit_defaults=True):
    parts: Annotated[tuple[_WirePart, ...], Meta(min_length=1, max_length=RECIPIENTS_LIMIT)]
    whole: _WirePart | None = None
    """Left out when it is the only part."""
    queue_id: _Text = ""
    info: _Text = ""
    edits_size: _Count = 0
    """Bytes of the EDITS frames before."""


_encoder: Final = msgspec.json.Encoder()
_question: Final = msgspec.json.Decoder(Question)
_ruling: Final = msgspec.json.Decoder(_WireRuling)
_hello: Final = msgspec.json.Decoder(Hello)
_trouble: Final = msgspec.json.Decoder(Trouble)


def build_json(value: msgspec.Struct) -> bytes:
    """Return a value as JSON: control characters and what is no Unicode escaped, long texts cut."""
    try:
        raw = _encoder.encode(value)
    except UnicodeEncodeError:
        pass
    else:
        if len(raw) <= TEXT_LIMIT and _is_plain(raw):
            return raw
    return _encoder.encode(_readable(msgspec.to_builtins(value, builtin_types=(bytes,))))


def _is_plain(raw: bytes) -> bool:
    """Tell whether no text in this JSON can hold a control character: there, all but DEL need a backslash."""
    return b"\\" not in raw and b"\x7f" not in raw


def parse_hello(raw: bytes) -> Hello:
    """Return HELLO. ValueError."""
    return _hello.decode(raw)


def parse_trouble(raw: bytes) -> Trouble:
    """Return ERROR, readable. ValueError."""
    told = _trouble.decode(raw)
    return Trouble(plain(told.code), plain(told.text))


def plain(text: str) -> str:
    """Return text as it can stand in a frame and in a log: control characters and what is no Unicode escaped."""
    if text.isprintable():
        return text
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def build_question(request: Request, size: int, deadline_s: float) -> bytes:
    """Return ENVELOPE. ValueError: more recipients, or longer ones, than a server takes."""
    client = request.client
    if len(request.recipients) > RECIPIENTS_LIMIT:
        raise ValueError(f"more than {RECIPIENTS_LIMIT} recipients")
    recipients = tuple([plain(each) for each in request.recipients])
    sender = plain(request.sender)
    if max(map(len, (sender, *recipients))) > ADDRESS_LIMIT:
        raise ValueError(f"an address of more than {ADDRESS_LIMIT} characters")
    return build_json(
        Question(
            client_ip=client.ip if len(client.ip) < 46 else "",
            client_name=client.name,
            client_port=client.port,
            helo=client.helo,
            esmtp=client.esmtp,
            tls=client.tls,
            user=client.user,
            mail_from=sender,
            rcpt=recipients,
            size=size,
            queue_id=request.queue_id,
            purpose=request.purpose,
            checks=request.checks,
            divided=request.divided,
            bare=None if request.bare is None else _wire_bare(request.bare),
            accepted=request.accepted,
            deadline_ms=min(max(int(deadline_s * 1000), 1), 3_600_000),
        )
    )


def _wire_bare(bare: BareObject) -> _WireBare:
    return _WireBare(bare.name, bare.content_type)


def parse_question(raw: bytes) -> tuple[Request, int, float]:
    """Return request, size in bytes and how long the client waits in seconds (0: not told). ValueError."""
    told = _question.decode(raw)
    if not _is_plain(raw):
        texts = (told.client_name, told.helo, told.tls, told.user, told.mail_from, told.queue_id, *told.rcpt)
        if _CONTROL.search("".join(texts)):
            raise ValueError("control characters in the envelope")
    if told.client_ip and _IPV4.match(told.client_ip) is None:
        ipaddress.ip_address(told.client_ip)
    if "" in told.rcpt:
        raise ValueError("an empty recipient")
    client = Client(told.client_ip, told.client_port, told.helo, told.esmtp, "", told.client_name, told.tls, told.user)
    request = Request(
        client=client,
        sender=told.mail_from,
        recipients=told.rcpt,
        queue_id=told.queue_id,
        purpose=told.purpose,
        checks=told.checks,
        divided=told.divided,
        bare=None if told.bare is None else BareObject(plain(told.bare.name), plain(told.bare.content_type)),
        accepted=told.accepted,
    )
    return request, told.size, told.deadline_ms / 1000


def build_ruling(ruling: Ruling) -> tuple[bytes, bytes]:
    """Return RESULT, and the new bytes that its splices point to."""
    edits = _Edits()
    parts = tuple([_wire_part(part, edits) for part in ruling.parts])
    alone = len(parts) == 1 and (ruling.whole is ruling.parts[0] or ruling.whole == ruling.parts[0])
    whole = None if alone else _wire_part(ruling.whole, edits)
    told = _WireRuling(parts, whole, ruling.queue_id, ruling.info, edits.size)
    return build_json(told), b"".join(edits.pieces)


def parse_ruling(raw: bytes, edits: bytes, size: int, named: Callable[[str], str | None]) -> Ruling:
    """Return what the server says of a message of `size` bytes. ValueError.

    `named` gives a recipient of the question by its name on the wire, None when it was none.
    """
    told = _ruling.decode(raw)
    if not _is_plain(raw):
        # Before they are escaped: a name with a line end is no name.
        for part in (*told.parts, *((told.whole,) if told.whole else ())):
            for each in part.header_ops:
                _model_edit(each)
        told = msgspec.convert(_readable(msgspec.to_builtins(told, builtin_types=(bytes,))), _WireRuling)
    if told.edits_size != len(edits):
        raise ValueError(f"{len(edits)} bytes of edits, {told.edits_size} announced")
    parts = tuple([_model_part(part, edits, size, named) for part in told.parts])
    whole = parts[0] if told.whole is None else _model_part(told.whole, edits, size, named)
    if told.whole is None and len(parts) > 1:
        raise ValueError("several parts without a whole")
    return Ruling(parts=parts, whole=whole, queue_id=told.queue_id, info=told.info)


class _Edits:
    """New bytes of splices, each piece once however many parts have it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self._known: dict[bytes, int] = {}

    def place(self, data: bytes) -> int:
        offset = self._known.get(data)
        if offset is None:
            offset = self._known[data] = self.size
            self.pieces.append(data)
            self.size += len(data)
        return offset


def _wire_part(part: Part, edits: _Edits) -> _WirePart:
    reply = part.reply
    return _WirePart(
        rcpt=part.recipients,
        action=part.deed,
        reply_text=None if reply is None else _wire_reply(reply),
        status=part.status,
        extended=part.extended,
        rate=part.rate,
        methods=part.methods,
        categories=part.categories,
        group_id=part.group,
        marks=tuple([_WireMark(each.name, each.weight, each.text) for each in part.marks]),
        objects=part.objects,
        threats=tuple([_WireThreat(each.name, each.status, each.object) for each in part.threats]),
        reason=part.reason,
        prefix=part.prefix,
        splices=tuple(
            [_WireSplice(each.start, each.end, edits.place(each.data), len(each.data)) for each in part.splices]
        ),
        header_ops=tuple([_wire_edit(each) for each in part.field_edits]),
        body_changed=part.body_changed,
        subject_label=part.subject_label,
        copies=part.copies,
        redirect=part.redirect,
    )


def _wire_edit(edit: FieldEdit) -> _WireEdit:
    """Return a changed field. What a stranger has written into it, and no field can hold, becomes a blank: the answer
    about his mail must not be one that its asker cannot take.
    """
    value = edit.value
    if len(value) > FIELDS_LIMIT or not _FOLDED.match(value):
        value = _NOT_FOLDED.sub(lambda found: found[1] or b" ", value[:FIELDS_LIMIT])
    return _WireEdit(edit.op, edit.name, value, edit.index)


def _wire_reply(reply: Reply) -> _WireReply:
    lines = tuple([plain(line)[:REPLY_LINE_LIMIT] for line in reply.lines[:REPLY_LINES_LIMIT]])
    return _WireReply(reply.code, reply.enhanced, lines)


def _model_part(told: _WirePart, edits: bytes, size: int, named: Callable[[str], str | None]) -> Part:
    recipients = []
    for each in told.rcpt:
        recipient = named(each)
        if recipient is None:
            raise ValueError(f"{plain(each)[:100]!r} is no recipient of this message")
        recipients.append(recipient)
    if told.action is Deed.REJECT and told.reply_text is None:
        raise ValueError("a refusal without a reply")
    if not _FIELDS.match(told.prefix):
        raise ValueError("the prefix is no header fields")
    return Part(
        recipients=tuple(recipients),
        group=told.group_id,
        deed=told.action,
        reply=_model_reply(told.reply_text),
        status=told.status,
        extended=told.extended,
        rate=told.rate,
        methods=told.methods,
        categories=told.categories,
        marks=tuple([Mark(each.name, each.weight, each.text) for each in told.marks]),
        objects=told.objects,
        threats=tuple([Threat(each.name, each.status, each.object) for each in told.threats]),
        reason=told.reason,
        prefix=told.prefix,
        splices=_model_splices(told.splices, edits, size),
        field_edits=tuple([_model_edit(each) for each in told.header_ops]),
        body_changed=told.body_changed,
        subject_label=told.subject_label,
        copies=told.copies,
        redirect=told.redirect,
    )


def _model_reply(told: _WireReply | None) -> Reply | None:
    if told is None:
        return None
    if not _ENHANCED.match(told.enhanced) or (told.enhanced and told.enhanced[0] != str(told.code)[0]):
        raise ValueError(f"{told.enhanced!r} is no enhanced code of {told.code}")
    return Reply(told.code, told.enhanced, told.text)


def _model_splices(told: Sequence[_WireSplice], edits: bytes, size: int) -> tuple[Splice, ...]:
    splices = []
    behind = 0
    for each in told:
        if not behind <= each.start <= each.end <= size or each.offset + each.length > len(edits):
            raise ValueError("a splice outside the message or the edits")
        behind = each.end
        splices.append(Splice(each.start, each.end, edits[each.offset : each.offset + each.length]))
    return tuple(splices)


def _model_edit(told: _WireEdit) -> FieldEdit:
    if not _FIELD_NAME.match(told.name) or not _FOLDED.match(told.value):
        raise ValueError(f"{plain(told.name)!r} is no header field")
    return FieldEdit(told.op, told.name, told.value, told.index)


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)[:TEXT_LIMIT]
    if isinstance(value, dict):
        return {name: _readable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_readable(each) for each in value]
    return value
