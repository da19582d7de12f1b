"""ICAP (RFC 3507), server side: answers to requests that `wire.icap_server` reads.

Called by `service.icap_door`. Promises: whatever a name or text holds, an answer has the fields
it is to have and no more.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gatepost.wire.http import build_chunk
from gatepost.wire.icap_server import NAME_LIMIT, IcapRequest, Method

PREVIEW_BYTES: Final = 4096
"""Preview that is asked for: most pages' pictures and scripts are whole in one round, and huge downloads that pass
unfiltered are known before they come."""
TAG_LIMIT: Final = 32
"""Characters of ISTag (RFC 3507 §4.7)."""


class Service(msgspec.Struct, frozen=True):
    """What is said of the service in every answer."""

    name: str
    tag: str
    """Changes with whatever changes the answers: databases and settings."""


_REASONS: Final[Mapping[int, str]] = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    404: "ICAP Service Not Found",
    405: "Method Not Allowed For Service",
    408: "Request Timeout",
    500: "Server Error",
    501: "Method Not Implemented",
    503: "Service Overloaded",
    505: "ICAP Version Not Supported",
}


def build_head(service: Service, status: int, *fields: str, close: bool = False) -> bytes:
    """Return the header of an answer, with `fields` besides those every answer has."""
    lines = [
        f"ICAP/1.0 {status} {_REASONS[status]}",
        f'ISTag: "{service.tag[:TAG_LIMIT]}"',
        f"Service: {service.name}",
        *(["Connection: close"] if close else []),
        *fields,
        "\r\n",
    ]
    return "\r\n".join(lines).encode()


def build_status(service: Service, status: int, *, close: bool = False) -> bytes:
    """Return an answer that is a status alone: 204, or an error."""
    fields = () if status == 204 else ("Encapsulated: null-body=0",)
    return build_head(service, status, *fields, close=close)


def build_options(
    service: Service, methods: Sequence[Method], connections: int, ttl_s: int, *, close: bool = False
) -> bytes:
    """Return the answer to OPTIONS (RFC 3507 §4.10.2)."""
    return build_head(
        service,
        200,
        f"Methods: {', '.join(methods)}",
        f"Max-Connections: {connections}",
        f"Options-TTL: {ttl_s}",
        "Allow: 204",
        f"Preview: {PREVIEW_BYTES}",
        "Transfer-Preview: *",
        "X-Include: X-Client-IP, X-Client-Username",
        "Encapsulated: null-body=0",
        close=close,
    )


def build_same(service: Service, request: IcapRequest, *, close: bool = False) -> bytes:
    """Return the beginning of an answer that gives back what came; the body follows (`http.build_chunk`, b"" last)
    when there is one.
    """
    if request.method is Method.REQMOD:
        name, raw, body = "req", request.raw_request, "req-body"
    else:
        name, raw, body = "res", request.raw_response, "res-body"
    sections = [f"{name}-hdr=0"] if raw else []
    sections.append(f"{body if request.has_body else 'null-body'}={len(raw)}")
    return build_head(service, 200, f"Encapsulated: {', '.join(sections)}", close=close) + raw


class Found(msgspec.Struct, frozen=True):
    """What an object is refused for, as other scanning services tell it."""

    name: str
    infected: bool = True
    """False: against the rules of this server."""


def build_page(
    service: Service, http_status: str, page: str, found: Found | None = None, *, retry_s: int = 0, close: bool = False
) -> bytes:
    """Return an answer that puts a page in the object's place. `http_status`: code and reason."""
    body = page.encode("utf-8", "replace")
    http = "\r\n".join(
        [
            f"HTTP/1.1 {http_status}",
            "Content-Type: text/html; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'",
            *([f"Retry-After: {retry_s}"] if retry_s else []),
            "\r\n",
        ]
    ).encode()
    fields = []
    if found is not None:
        # The value ends at a semicolon, and a header is one line of visible ASCII.
        name = "".join(c if c.isascii() and c.isprintable() and c not in ";," else "_" for c in found.name[:NAME_LIMIT])
        kind = 0 if found.infected else 2
        fields = [f"X-Infection-Found: Type={kind}; Resolution=2; Threat={name};", f"X-Virus-ID: {name}"]
    head = build_head(service, 200, *fields, f"Encapsulated: res-hdr=0, res-body={len(http)}", close=close)
    return head + http + (build_chunk(body) if body else b"") + build_chunk(b"")
