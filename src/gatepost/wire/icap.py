"""ICAP (RFC 3507), client side, for services that scan: OPTIONS, and RESPMOD with preview for one object at a time.

Called by `antivirus.icap` (scans) and `relay.engine_probe` (OPTIONS). Bytes in, `Continue` or a whole `IcapReply` out.
Promises: memory is bounded by the limits below (a body that comes back is compared with the object, never kept); a
length the server states is never believed beyond them; what is no response raises `IcapError`, and the connection is
to be closed.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from gatepost.model.foreign_text import printable

HEAD_LIMIT: Final = 16 * 1024
"""Octets of a response's header, and of the HTTP headers in it: services write a few hundred."""
FIELDS_LIMIT: Final = 100
CHUNK_LINE_LIMIT: Final = 256
"""Octets of the line before a chunk: its length in hexadecimal, extensions nobody needs."""
BODY_LIMIT: Final = 256 * 1024 * 1024
"""Octets of a body that comes back, above what an object may have: a server that never ends is left."""
PREVIEW_LIMIT: Final = 64 * 1024
"""Octets of a preview: more is no preview, the object had better go at once."""
NAME_LIMIT: Final = 255
TEXT_LIMIT: Final = 300
"""Characters kept of what a server says."""
PORT: Final = 1344

CONTINUE: Final = 100
OK: Final = 200
NO_CONTENT: Final = 204

_STATUS_LINE: Final = re.compile(rb"ICAP/1\.[0-9] ([1-5][0-9]{2})(?: ([^\r\n]*))?\Z")
_HTTP_STATUS: Final = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})")
_FIELD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\Z")
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}\Z")
_SECTION: Final = re.compile(r"([a-z-]+)=([0-9]{1,9})\Z")
_BODIES: Final = frozenset({"req-body", "res-body", "opt-body"})
_HEADERS: Final = frozenset({"req-hdr", "res-hdr"})
_URL: Final = re.compile(r"icap://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/([A-Za-z0-9._~/?&=%+-]*)\Z")
_UNKNOWN_TYPE: Final = "application/octet-stream"


class IcapError(ValueError):
    """What came is no response that belongs here; the connection is of no more use."""


class IcapUrl(msgspec.Struct, frozen=True):
    """A service: where to connect, and what it is called there."""

    host: str
    """Address or name; IPv6 without brackets."""
    port: int
    url: str
    """As it stands in requests."""
    authority: str
    """host:port for the Host field."""


class Continue(msgspec.Struct, frozen=True):
    """The server wants what is behind the preview."""


class IcapReply(msgspec.Struct, frozen=True):
    """A whole response."""

    status: int
    reason: str
    fields: Mapping[str, str]
    """By name in lower case; the values of a name that comes several times are joined by commas."""
    http_status: int = 0
    """Of the HTTP response in it, 0 when there is none."""
    same: bool = False
    """The body in it is the object, byte for byte."""
    last: bool = False
    """The server closes the connection."""


class IcapOptions(msgspec.Struct, frozen=True):
    """What a service says of itself."""

    tag: str = ""
    """ISTag: changes with whatever changes its answers (RFC 3507 §4.7)."""
    service: str = ""
    preview: int = -1
    """Octets it wants to see first, -1: no preview."""
    allow_204: bool = False
    connections: int = 0
    """Most it takes at once, 0 when it does not say."""


class Threat(msgspec.Struct, frozen=True):
    """What a service found."""

    name: str
    infected: bool
    """False: against a policy of the service (a forbidden type, a container over its limits)."""


def parse_url(text: str) -> IcapUrl:
    """Return the service of `icap://host[:port]/service`. ValueError."""
    match = _URL.match(text.strip())
    port = int(match[2]) if match and match[2] else PORT
    if match is None or not 1 <= port <= 0xFFFF:
        raise ValueError(f"{text[:80]!r} is not icap://host:port/service")
    return IcapUrl(match[1].strip("[]").lower(), port, text.strip(), f"{match[1]}:{port}")


def build_options(service: IcapUrl) -> bytes:
    """Return the question what the service can do."""
    return (
        f"OPTIONS {service.url} ICAP/1.0\r\nHost: {service.authority}\r\nEncapsulated: null-body=0\r\n\r\n"
    ).encode()


def build_respmod(
    service: IcapUrl, data: bytes, *, name: str, content_type: str, options: IcapOptions
) -> tuple[list[bytes | memoryview], list[bytes | memoryview]]:
    """Return what is sent at once, and what is sent when the server asks for it (nothing, when there is no preview or
    the object fits into it).
    """
    path = quote(name[:NAME_LIMIT].encode("utf-8", "replace"), safe="") or "object"
    kind = content_type if _TYPE.match(content_type) else _UNKNOWN_TYPE
    request = f"GET http://mail.invalid/{path} HTTP/1.1\r\nHost: mail.invalid\r\n\r\n".encode()
    response = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    preview = min(options.preview, PREVIEW_LIMIT)
    lines = [
        f"RESPMOD {service.url} ICAP/1.0",
        f"Host: {service.authority}",
        *(["Allow: 204"] if options.allow_204 else []),
        *([f"Preview: {preview}"] if preview >= 0 else []),
        f"Encapsulated: req-hdr=0, res-hdr={len(request)}, res-body={len(request) + len(response)}",
        "\r\n",
    ]
    head = "\r\n".join(lines).encode() + request + response
    if preview < 0:
        return [head, *_chunk(data), b"0\r\n\r\n"], []
    if len(data) <= preview:
        return [head, *_chunk(data), b"0; ieof\r\n\r\n"], []
    view = memoryview(data)
    return [head, *_chunk(view[:preview]), b"0\r\n\r\n"], [*_chunk(view[preview:]), b"0\r\n\r\n"]


def _chunk(data: bytes | memoryview) -> list[bytes | memoryview]:
    return [b"%x\r\n" % len(data), data, b"\r\n"] if len(data) else []


def parse_options(reply: IcapReply) -> IcapOptions:
    """Return what an answer to OPTIONS says. IcapError: it is none, or the service does not do RESPMOD."""
    if reply.status != OK:
        raise IcapError(f"OPTIONS answered with {reply.status} {reply.reason}")
    fields = reply.fields
    methods = {word.strip().upper() for word in fields.get("methods", "").split(",")}
    if "RESPMOD" not in methods:
        raise IcapError(
            f"the service does not do RESPMOD, but {fields.get('methods', 'nothing it tells')[:TEXT_LIMIT]}"
        )
    return IcapOptions(
        tag=fields.get("istag", "").strip().strip('"')[:TEXT_LIMIT],
        service=fields.get("service", "")[:TEXT_LIMIT],
        preview=_number(fields.get("preview"), -1),
        allow_204="204" in {word.strip() for word in fields.get("allow", "").split(",")},
        connections=_number(fields.get("max-connections"), 0),
    )


def parse_threat(reply: IcapReply) -> Threat | None:
    """Return what the service names in `X-Infection-Found`, `X-Virus-ID` or `X-Violations-Found`, None: nothing."""
    fields = reply.fields
    found = fields.get("x-infection-found", "")
    if found:
        values = {
            key.strip().lower(): value.strip() for key, _, value in (part.partition("=") for part in found.split(";"))
        }
        name = values.get("threat") or fields.get("x-virus-id", "").strip() or "unnamed"
        return Threat(name[:TEXT_LIMIT], values.get("type", "0") == "0")
    name = fields.get("x-virus-id", "").strip()
    if name and name.lower() not in ("no", "none", "no threats", "-"):
        return Threat(name[:TEXT_LIMIT], infected=True)
    violations = fields.get("x-violations-found", "").split()
    if violations and violations[0] != "0":
        # A number, then four lines each: file, threat, its number, what was done; folded into one line here.
        name = " ".join(violations[1:])[:TEXT_LIMIT]
        return Threat(name or "unnamed", infected=True)
    return None


class IcapReader:
    """Reads responses, in whatever pieces they come."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._reading = self._read_head
        self._data: bytes | memoryview = b""
        self._done: Continue | IcapReply | None = None

    @property
    def empty(self) -> bool:
        """Nothing has come that was not asked for."""
        return not self._pending

    def expect(self, data: bytes | memoryview = b"") -> None:
        """A request is sent: compare the body that comes back with this object."""
        if self._pending:
            raise IcapError("the server spoke before it was asked")
        self._data = data
        self._begin()

    def _begin(self) -> None:
        self._reading = self._read_head
        self._done = None

    def feed(self, data: bytes) -> Continue | IcapReply | None:
        """Take received bytes; return the response when it is whole. What follows it is kept. IcapError."""
        self._pending += data
        while self._done is None and self._reading():
            pass
        done = self._done
        if done is not None:
            self._begin()
        return done

    # --- each returns False when it needs more

    def _read_head(self) -> bool:
        raw = self._cut(b"\r\n\r\n", HEAD_LIMIT)
        if raw is None:
            return False
        first, _, rest = raw.partition(b"\r\n")
        match = _STATUS_LINE.match(first)
        if match is None:
            raise IcapError(f"not a response: {readable(first)!r}")
        self._status, self._reason = int(match[1]), readable(match[2] or b"")
        if self._status == CONTINUE:
            if self._pending:
                raise IcapError("it says what it wants more of, and goes on without it")
            self._done = Continue()
            return False
        self._fields = _parse_fields(rest)
        self._http_status = 0
        self._at, self._same = 0, True
        header, has_body = _parse_encapsulated(self._fields.get("encapsulated", "null-body=0"))
        self._header, self._has_body = header, has_body and self._status != NO_CONTENT
        self._reading = self._read_http
        return True

    def _read_http(self) -> bool:
        if len(self._pending) < self._header:
            return False
        raw = bytes(self._pending[: self._header])
        del self._pending[: self._header]
        # Behind the headers of a request, if that comes back, are those of the response.
        for block in raw.split(b"\r\n\r\n"):
            match = _HTTP_STATUS.match(block)
            if match is not None:
                self._http_status = int(match[1])
        if not self._has_body:
            self._same = False
            self._finish()
            return False
        self._reading = self._read_chunk_line
        return True

    def _read_chunk_line(self) -> bool:
        line = self._cut(b"\r\n", CHUNK_LINE_LIMIT)
        if line is None:
            return False
        match = _CHUNK.match(line)
        if match is None:
            raise IcapError(f"not the length of a chunk: {readable(line)!r}")
        self._left = int(match[1], 16)
        if self._at + self._left > BODY_LIMIT:
            raise IcapError(f"a body of more than {BODY_LIMIT} bytes")
        self._reading = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        if self._left:
            if not self._pending:
                return False
            piece = bytes(self._pending[: self._left])
            del self._pending[: self._left]
            if self._same and memoryview(self._data)[self._at : self._at + len(piece)] != piece:
                self._same = False
            self._at += len(piece)
            self._left -= len(piece)
            return True
        if len(self._pending) < 2:
            return False
        if self._pending[:2] != b"\r\n":
            raise IcapError("a chunk is longer than it says")
        del self._pending[:2]
        self._reading = self._read_chunk_line
        return True

    def _read_trailer(self) -> bool:
        line = self._cut(b"\r\n", HEAD_LIMIT)
        if line is None:
            return False
        if line:
            raise IcapError("fields behind a body: none were announced")
        self._same = self._same and self._at == len(self._data)
        self._finish()
        return False

    def _finish(self) -> None:
        last = "close" in self._fields.get("connection", "").lower()
        self._done = IcapReply(self._status, self._reason, self._fields, self._http_status, self._same, last)

    def _cut(self, end: bytes, limit: int) -> bytes | None:
        found = self._pending.find(end, 0, limit + len(end))
        if found < 0:
            if len(self._pending) >= limit + len(end):
                raise IcapError(f"no end of a header within {limit} bytes")
            return None
        raw = bytes(self._pending[:found])
        del self._pending[: found + len(end)]
        return raw


def _parse_fields(raw: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    lines: list[str] = []
    for line in raw.decode("utf-8", "replace").split("\r\n"):
        if line[:1] in (" ", "\t") and lines:
            lines[-1] += " " + line.strip()
        elif line:
            lines.append(line)
    if len(lines) > FIELDS_LIMIT:
        raise IcapError(f"more than {FIELDS_LIMIT} header fields")
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _FIELD.match(name):
            raise IcapError(f"not a header field: {readable(line.encode())!r}")
        name, value = name.lower(), readable(value.strip().encode(), HEAD_LIMIT)
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _parse_encapsulated(text: str) -> tuple[int, bool]:
    """Return (octets of HTTP headers, whether a body follows) of an `Encapsulated` field (RFC 3507 §4.4.1)."""
    last = -1
    body = ""
    for part in text.split(","):
        match = _SECTION.match(part.strip().lower())
        if match is None or body:
            raise IcapError(f"Encapsulated cannot be read: {text[:TEXT_LIMIT]!r}")
        name, offset = match[1], int(match[2])
        if (last < 0 and offset) or offset < last or offset > HEAD_LIMIT:
            raise IcapError(f"Encapsulated names an impossible place: {text[:TEXT_LIMIT]!r}")
        last = offset
        if name in _BODIES or name == "null-body":
            body = name
        elif name not in _HEADERS:
            raise IcapError(f"Encapsulated names something unknown: {text[:TEXT_LIMIT]!r}")
    if not body:
        raise IcapError(f"Encapsulated names no body: {text[:TEXT_LIMIT]!r}")
    return last, body in _BODIES


def _number(text: str | None, default: int) -> int:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else default


def readable(raw: bytes, limit: int = TEXT_LIMIT) -> str:
    """Return a peer's text as it may be shown and logged: of bounded length, in one line."""
    text = raw[: limit * 4].decode("utf-8", "replace")
    return printable(text[:limit])
