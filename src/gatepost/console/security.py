"""What holds for every request and every answer, whatever the page: a shell around the whole application.

Host names (against DNS rebinding), the origin of requests that change something, and the header fields that tell a
browser what a page may do. Errors before a page is reached are plain sentences.
"""

import ipaddress
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeAlias

import msgspec
from litestar import HttpMethod

from gatepost.console.visitor import SAFE_METHODS

Event: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Scope: TypeAlias = dict[str, Any]

READ: Final = [HttpMethod.GET, HttpMethod.HEAD]
"""Methods of what changes nothing: scanners of mail and monitors ask for the head alone."""
API_PREFIX: Final = "/api/"
"""Below it everything is for programs."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy of all answers that bring none of their own."""
_FIELDS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    (b"cache-control", b"no-store"),
)
"""Fields an answer gets unless its handler has set them."""
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")


class Shield:
    """The application, shielded."""

    def __init__(self, app: Any, host_names: tuple[str, ...], *, nameless: bool = False) -> None:
        """`nameless`: its pages send no referrer, so browsers name their origin `null`; each form has a secret."""
        self.app = app
        self._nameless = nameless
        self._names = frozenset(name.lower().rstrip(".") for name in (*host_names, "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no web sockets here
        fields = _Fields(scope, send, as_problem=scope["path"].startswith(API_PREFIX))
        headers = _single(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            await fields.refuse(
                421, "This host name is not known here. The administrator can add it: console.host_names."
            )
        elif scope["method"] not in SAFE_METHODS and not self._is_same_origin(headers, host, scope["scheme"]):
            await fields.refuse(403, "The request comes from another site.")
        else:
            await self.app(scope, receive, fields.send)

    def _is_same_origin(self, headers: dict[bytes, bytes], host: str, scheme: str) -> bool:
        if self._nameless and headers.get(b"origin") == b"null":
            return headers.get(b"sec-fetch-site") in {None, b"same-origin"}
        return _is_same_origin(headers, host, scheme)

    def _is_ours(self, host: str) -> bool:
        """Tell whether a Host field names us. Addresses always do: a rebound name is a name."""
        try:
            name = urllib.parse.urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._names
        return True


def _is_same_origin(headers: dict[bytes, bytes], host: str, scheme: str) -> bool:
    """Tell whether a page of ours made a request that changes something. Browsers say where it comes from, in one of
    two fields; a program with a token has no cookie that could be abused.
    """
    if headers.get(b"authorization", b"").startswith(b"Bearer "):
        return True
    site = headers.get(b"sec-fetch-site")
    origin = headers.get(b"origin")
    if site is None and origin is None:
        return False
    return site in {None, b"same-origin"} and origin in {None, f"{scheme}://{host}".encode("latin-1")}


def _single(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return fields by name; of one that is given twice nothing is believed."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = b"\0" if name in found else value
    return found


class _Fields:
    """Adds the fields to an answer as it goes out."""

    def __init__(self, scope: Scope, send: Send, *, as_problem: bool) -> None:
        """`as_problem`: what is refused is told for programs (RFC 9457)."""
        self._send = send
        self._as_problem = as_problem
        self._all = (*_FIELDS, _STRICT_TRANSPORT) if scope["scheme"] == "https" else _FIELDS

    async def send(self, message: Event) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            given = {name.lower() for name, _ in headers}
            message["headers"] = headers + [field for field in self._all if field[0] not in given]
        await self._send(message)

    async def refuse(self, status: int, text: str) -> None:
        body, kind = f"{text}\n".encode(), b"text/plain; charset=utf-8"
        if self._as_problem:
            told = {"type": "about:blank", "title": "Not possible", "status": status, "detail": text}
            body, kind = msgspec.json.encode(told), b"application/problem+json"
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", kind), (b"content-length", b"%d" % len(body))],
            }
        )
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
