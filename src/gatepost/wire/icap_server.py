"""ICAP (RFC 3507), server side, for a service that scans: OPTIONS, REQMOD and RESPMOD with preview.

Called by `service.icap_door`. Bytes in, events out: `feed`, then `next_event` until it returns None; answers are built
by `wire.icap_answers`. Promises: memory is bounded by the limits below and by what was fed (bodies are handed on
in the pieces they come in); no length that a client states is believed; what is no request raises `IcapRequestError`,
with the status to answer, and the connection is to be closed.
"""

import base64
import binascii
import enum
import re
from collections import deque
from collections.abc import Mapping
from typing import Final, NoReturn
from urllib.parse import unquote

import msgspec

from gatepost.wire.http import ChunkReader, Head, HttpError, cut_head, parse_head
from gatepost.wire.icap import readable

HTTP_LIMIT: Final = 128 * 1024
"""Octets of the HTTP headers in a request: proxies take 64 KB each of request and response."""
NAME_LIMIT: Final = 255
VALUE_LIMIT: Final = 4096
"""Characters of a field's value."""

_REQUEST_LINE: Final = re.compile(r"([A-Z]{1,16}) (icaps?://\S{1,2048}|/\S{0,2048}|\*) ICAP/([0-9])\.([0-9])\Z")
_PATH: Final = re.compile(r"(?:icaps?://[^/?]*)?/?([^?]*)")
_SECTION: Final = re.compile(r"([a-z-]+)=([0-9]{1,9})\Z")
_FILENAME: Final = re.compile(r"""filename\*?\s*=\s*(?:utf-8'[^']*'([^;"\s]+)|"([^"]*)"|([^;\s]+))""", re.IGNORECASE)
_WHOLE: Final = re.compile(r"\bieof\b", re.IGNORECASE)
"""Chunk extension: the preview is all there is (RFC 3507 §4.5)."""
_LOOKED_AT: Final = frozenset((b"content-type", b"content-length", b"content-disposition", b"content-encoding"))
_CODING: Final = b"content-encoding"
_HTTP_REQUEST: Final = re.compile(rb"([!-~]{1,32}) (\S{1,65536})(?: HTTP/[0-9.]+)?\Z")


class Method(enum.StrEnum):
    """What is asked."""

    OPTIONS = "OPTIONS"
    REQMOD = "REQMOD"
    RESPMOD = "RESPMOD"


_ORDER: Final[Mapping[Method, tuple[str, ...]]] = {
    Method.OPTIONS: ("opt-body", "null-body"),
    Method.REQMOD: ("req-hdr", "req-body", "null-body"),
    Method.RESPMOD: ("req-hdr", "res-hdr", "res-body", "null-body"),
}
"""Sections of a message, in the only order they may have (RFC 3507 §4.4.1)."""


class IcapRequestError(ValueError):
    """What came is no request that can be served. The text says why; the client gets the status alone."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class HttpHead(msgspec.Struct, frozen=True):
    """What is looked at in an HTTP request or response (`_LOOKED_AT`); whatever else it holds goes on as it came."""

    url: str = ""
    """Of a request."""
    method: str = ""
    fields: Mapping[str, str] = {}
    """By name in lower case; the first of a name, but all codings, with commas between: a body has them all."""

    @property
    def content_type(self) -> str:
        """Declared type without parameters, in lower case."""
        return self.fields.get("content-type", "").partition(";")[0].strip().lower()


class IcapRequest(msgspec.Struct, frozen=True):
    """The head of a request."""

    method: Method
    service: str
    """Path of the service, without slashes around it, in lower case."""
    fields: Mapping[str, str]
    request: HttpHead
    response: HttpHead
    raw_request: bytes
    """The HTTP request's header as it came, its empty line included; b"" when there is none."""
    raw_response: bytes
    has_body: bool
    preview: int
    """Octets that come at first, -1: everything comes at once."""
    allow_204: bool
    """`204 No Content` may answer behind the preview as well (§4.6)."""
    last: bool
    """The client closes the connection behind the answer."""

    @property
    def subject(self) -> HttpHead:
        """What the body belongs to."""
        return self.request if self.method is Method.REQMOD else self.response

    @property
    def name(self) -> str:
        """File name the object goes by: what its header says, else the end of its address; "" when there is none."""
        match = _FILENAME.search(self.subject.fields.get("content-disposition", ""))
        name = (unquote(match[1]) if match[1] else match[2] or match[3]) if match else ""
        if not name and self.method is Method.RESPMOD:
            name = unquote(self.request.url.partition("?")[0].partition("#")[0].rpartition("/")[2])
        name = re.split(r"[/\\]", name)[-1]
        return readable(name.encode("utf-8", "replace"), NAME_LIMIT)

    @property
    def client_ip(self) -> str:
        """`X-Client-IP`, "" when it is not told."""
        return self.fields.get("x-client-ip", "").strip()[:64]

    @property
    def user(self) -> str:
        """Who is signed in at the proxy, "" when it is not told: `X-Client-Username`, `X-Authenticated-User`."""
        name = self.fields.get("x-client-username", "").strip()
        if name:
            return name[:NAME_LIMIT]
        raw = self.fields.get("x-authenticated-user", "").strip()
        try:
            name = readable(base64.b64decode(raw, validate=True), NAME_LIMIT)
        except (binascii.Error, ValueError):
            name = raw
        return name.rpartition("/")[2][:NAME_LIMIT]  # `WinNT://domain/name`, `Local://name`


class Piece(msgspec.Struct, frozen=True):
    """Bytes of the body."""

    data: bytes


class PreviewEnd(msgspec.Struct, frozen=True):
    """The preview is over and more would come: `IcapServerSession.go_on`, or an answer and `drop`."""


class End(msgspec.Struct, frozen=True):
    """The request is whole. What follows is the next one."""


IcapEvent = IcapRequest | Piece | PreviewEnd | End


class IcapServerSession:
    """Reads the requests of one connection, in whatever pieces they come."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._reading = self._read_head
        self._events: deque[IcapEvent] = deque()
        self._chunks = ChunkReader()
        self._previewing = False
        self._waiting = False
        self._head = Head("", {})
        self._method = Method.OPTIONS
        self._service = ""
        self._sections: list[tuple[str, int]] = []

    @property
    def idle(self) -> bool:
        """Nothing of a request has come: the client may close the connection without a word."""
        return not self._pending and not self._events and self._reading == self._read_head

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        self._pending += data

    def next_event(self) -> IcapEvent | None:
        """Return what came next, None: more bytes are needed. IcapRequestError."""
        if not self._events and not self._waiting:
            try:
                while self._reading():
                    pass
            except IcapRequestError:
                raise
            except HttpError as error:
                raise IcapRequestError(400, str(error)) from None
        return self._events.popleft() if self._events else None

    def go_on(self) -> bytes:
        """Return the word that has the client send what is behind the preview."""
        self._waiting = self._previewing = False
        self._chunks = ChunkReader()
        return b"ICAP/1.0 100 Continue\r\n\r\n"

    def drop(self) -> None:
        """The preview was enough: what follows is the next request."""
        self._waiting = False
        self._reading = self._read_head

    # --- each returns whether there may be more to read

    def _read_head(self) -> bool:
        while self._pending[:2] == b"\r\n":  # of a client that ends its body with one line too many
            del self._pending[:2]
        raw = cut_head(self._pending)
        if raw is None:
            return False
        self._head = head = parse_head(raw)
        match = _REQUEST_LINE.match(head.line)
        if match is None:
            raise IcapRequestError(400, f"not a request: {readable(head.line.encode())!r}")
        if match[3] != "1":
            raise IcapRequestError(505, f"ICAP {match[3]}.{match[4]}")
        try:
            self._method = Method(match[1])
        except ValueError:
            raise IcapRequestError(501, f"method {match[1]}") from None
        path = _PATH.match(match[2])
        self._service = (path[1] if path else "").strip("/").lower()
        self._sections = _parse_encapsulated(self._method, head.fields.get("encapsulated"))
        self._reading = self._read_http
        return True

    def _read_http(self) -> bool:
        size = self._sections[-1][1]
        if len(self._pending) < size:
            return False
        raw = bytes(self._pending[:size])
        del self._pending[:size]
        ends = [offset for _, offset in self._sections[1:]]
        heads = {name: raw[offset:end] for (name, offset), end in zip(self._sections, ends, strict=False)}
        raw_request, raw_response = heads.get("req-hdr", b""), heads.get("res-hdr", b"")
        fields = self._head.fields
        has_body = self._sections[-1][0] != "null-body"
        preview = self._head.number("preview") if has_body else -1
        self._events.append(
            IcapRequest(
                self._method,
                self._service,
                fields,
                _parse_http(raw_request, response=False),
                _parse_http(raw_response, response=True),
                raw_request,
                raw_response,
                has_body,
                preview,
                "204" in {word.strip() for word in fields.get("allow", "").split(",")},
                "close" in fields.get("connection", "").lower(),
            )
        )
        self._previewing = preview >= 0
        self._chunks = ChunkReader()
        if has_body:
            self._reading = self._read_body
        else:
            self._end()
        return False

    def _read_body(self) -> bool:
        data = self._chunks.read(self._pending)
        if data:
            self._events.append(Piece(data))
        if not self._chunks.done:
            return False
        if self._previewing and not _WHOLE.search(self._chunks.extension):
            self._waiting = True
            self._events.append(PreviewEnd())
        else:
            self._end()
        return False

    def _end(self) -> None:
        self._reading = self._read_head
        self._events.append(End())


def _parse_encapsulated(method: Method, text: str | None) -> list[tuple[str, int]]:
    """Return the sections (name, offset) of an `Encapsulated` field, the body's last (RFC 3507 §4.4.1)."""
    if text is None:
        if method is Method.OPTIONS:
            return [("null-body", 0)]  # clients leave it out
        raise IcapRequestError(400, "no Encapsulated field")
    sections: list[tuple[str, int]] = []
    names = _ORDER[method]
    for part in text.lower().split(","):
        match = _SECTION.match(part.strip())
        if match is None or match[1] not in names:
            _refuse_sections(text)
        name, offset = match[1], int(match[2])
        names = names[names.index(name) + 1 :] if not name.endswith("-body") else ()
        if offset > HTTP_LIMIT or (offset < sections[-1][1] if sections else offset != 0):
            _refuse_sections(text)
        sections.append((name, offset))
    if not sections[-1][0].endswith("-body"):
        _refuse_sections(text)
    return sections


def _refuse_sections(text: str) -> NoReturn:
    raise IcapRequestError(400, f"Encapsulated cannot be read: {readable(text.encode())!r}")


def _parse_http(raw: bytes, *, response: bool) -> HttpHead:
    """Return what can be read of an HTTP header: servers of the web write all kinds of things."""
    if not raw:
        return HttpHead()
    lines = [line for line in raw.replace(b"\r", b"\n").split(b"\n") if line]  # some end a line with CR alone
    found: dict[bytes, list[bytearray]] = {}
    name = b""
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):  # goes on
            if name:
                found[name][-1] += b" " + line.strip()
            continue
        name, colon, value = line.partition(b":")
        name = name.strip().lower() if colon else b""
        if name in _LOOKED_AT:
            found.setdefault(name, []).append(bytearray(value.strip()))
        else:
            name = b""
    fields = {name.decode(): _value(name, values) for name, values in found.items()}
    match = None if response else _HTTP_REQUEST.match(lines[0].strip() if lines else b"")
    if match is None:
        return HttpHead(fields=fields)
    return HttpHead(readable(match[2], VALUE_LIMIT), readable(match[1]), fields)


def _value(name: bytes, values: list[bytearray]) -> str:
    if name != _CODING:
        return readable(bytes(values[0]), VALUE_LIMIT)
    codings = b", ".join(b" ".join(value.split()) for value in values)
    return readable(codings, VALUE_LIMIT) if len(codings) <= VALUE_LIMIT else "more than can be read"
