"""Serves the operations: what is asked is checked, the call made, its answer cut to what the description promises.

`ROUTES` is listed by `console.app`. Requests are counted before anything else is done for them.
"""

import base64
import time
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any, Final, get_type_hints

import msgspec
from litestar import Response, Router, get, route
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from gatepost.console.api import problems
from gatepost.console.api.description import read_description
from gatepost.console.api.operation import PREFIX, Asked, Bytes, Missing, Operation
from gatepost.console.api.probes import grafana
from gatepost.console.api.problems import Unusable
from gatepost.console.api.rates import Rates
from gatepost.console.api.table import OPERATIONS
from gatepost.console.events import events
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs, visitor_of
from gatepost.control.rights import Right

QUERY_FIELDS: Final = 200
"""Names and values of one query."""
KEY_LIMIT: Final = 100
"""Characters of an `Idempotency-Key`."""
ADDRESS_SHARE: Final = 4
"""An address may ask for so many times what a token may: several programs run there."""

AnyRequest = Request[Any, Any, Any]


def build_router(rate: float) -> Router:
    """Return the routes; `rate`: requests a second of one token."""
    return Router(
        path=PREFIX,
        route_handlers=[describe, events, grafana, *map(build_route, OPERATIONS)],
        middleware=[build_meter(rate)],
        exception_handlers=problems.HANDLERS,
    )


# --- counted


def build_meter(rate: float) -> Any:
    """Return a middleware that lets no token, and no address, ask for more than its share (429)."""
    by_token, by_address = Rates(rate), Rates(rate * ADDRESS_SHARE)

    def meter(app: ASGIApp) -> ASGIApp:
        async def count(scope: Scope, receive: Receive, send: Send) -> None:
            now = time.monotonic()
            client = scope.get("client")
            wait = by_address.take(client[0] if client else "", now)
            credential = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if credential and not wait:
                wait = by_token.take(credential[:100].decode("latin-1"), now)
            if wait:
                headers = {"Retry-After": str(int(wait) + 1)}
                raise Unusable(429, "Too many requests: wait as long as Retry-After says.", headers)
            await app(scope, receive, send)

        return count

    return meter


# --- asked


async def read_request(operation: Operation, request: AnyRequest) -> Asked:
    """Return what is asked, checked. Unusable, Missing."""
    return Asked(
        {name: str(value) for name, value in request.path_params.items()},
        parse_query(operation, request.scope.get("query_string", b"")),
        await _read_body(operation, request),
        parse_version(request.headers.get("if-match")) if operation.takes_version else "",
    )


def parse_query(operation: Operation, raw: bytes) -> Any:
    """Return the parameters of a query. Unusable."""
    try:
        pairs = urllib.parse.parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS
        )
    except ValueError as error:
        raise Unusable(422, "The query cannot be read: percent-encoded UTF-8 is expected.") from error
    if operation.query is None:
        if pairs:
            raise Unusable(422, f"The query has a parameter that is not known here: {pairs[0][0][:60]!r}.")
        return None
    lists = {name for name, hint in get_type_hints(operation.query).items() if "tuple" in str(hint)}
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in lists:
            given.setdefault(name, []).append(value)
        elif name in given:
            raise Unusable(422, f"The query has {name[:60]!r} twice.")
        else:
            given[name] = value
    try:
        return msgspec.convert(given, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise Unusable(422, f"The query does not do: {error}") from error


async def _read_body(operation: Operation, request: AnyRequest) -> Any:
    """Return the body. Unusable."""
    if operation.body is None:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Unusable(
            415, "The body is to be JSON: Content-Type: application/json.", {"Accept-Post": "application/json"}
        )
    try:
        return msgspec.json.decode(await request.body(), type=operation.body)
    except msgspec.ValidationError as error:
        raise Unusable(422, f"The body does not do: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable(400, "The body is no JSON.") from error


def parse_version(given: str | None) -> str:
    """Return the digest `If-Match` names, "" for `*`: whatever version. Unusable."""
    if given is None:
        raise Unusable(428, "Say which version is to be changed: If-Match with the ETag of GET /configuration, or *.")
    text = given.strip()
    if text == "*":
        return ""
    digest = text[1:-1]
    if not (len(text) > 2 and text[0] == text[-1] == '"' and digest.isascii() and digest.isalnum()):
        raise Unusable(422, "If-Match is to be the ETag of GET /configuration, in its quotes, or *.")
    return digest


def parse_key(given: str) -> str:
    """Return an `Idempotency-Key`. Unusable."""
    if len(given) > KEY_LIMIT or not (given.isascii() and given.isprintable()):
        raise Unusable(422, f"An Idempotency-Key has at most {KEY_LIMIT} printable characters.")
    return given.strip('"')


# --- answered


async def answer(operation: Operation, request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Answer a request."""
    key = parse_key(request.headers.get("idempotency-key", "")) if operation.acts else ""
    asked = await read_request(operation, request)
    arguments = operation.build(asked)
    if operation.answer is Bytes:
        return await _hand_out(operation, visitor, gateway, arguments)
    if operation.acts:
        found = await gateway.act(visitor, operation.call, arguments, key)
    else:
        found = await gateway.call(visitor, operation.call, **arguments)
    told = shape(operation, found, asked)
    headers = {"ETag": f'"{told.digest}"'} if operation.tags_version else None
    return Response(msgspec.json.encode(told), media_type="application/json", headers=headers)


def shape(operation: Operation, found: Any, asked: Asked) -> Any:
    """Return an answer of the gateway as the description has it: nothing else leaves. Missing."""
    if operation.shape is not None:
        found = operation.shape(found, asked)
    if found is None and operation.names_one:
        raise Missing
    return msgspec.convert(found, operation.answer)


async def _hand_out(operation: Operation, visitor: Visitor, gateway: Gateway, arguments: dict[str, Any]) -> Stream:
    """Return a mail as a file, piece by piece: none is held whole."""
    piece = await gateway.call(visitor, operation.call, **arguments)

    async def pieces() -> AsyncIterator[bytes]:
        now = piece
        while True:
            yield base64.b64decode(now["data"])
            if now["next"] is None:
                return
            now = await gateway.call(visitor, operation.call, **arguments, offset=now["next"])

    headers = {"Content-Disposition": f'attachment; filename="{piece["name"]}"', "Content-Length": str(piece["size"])}
    return Stream(pieces(), media_type="message/rfc822", headers=headers)


def build_route(operation: Operation) -> HTTPRouteHandler:
    """Return the route of an operation."""

    async def serve(request: AnyRequest) -> Response[Any]:
        return await answer(operation, request, visitor_of(request), request.app.state.gateway)

    return route(
        operation.path.replace("}", ":str}"),
        http_method=operation.method,  # type: ignore[arg-type]
        guards=[needs(operation.right)],
        opt={"right": operation.right},
        status_code=200,
        name=operation.name,
        request_max_body_size=operation.body_limit,
    )(serve)


@get("/openapi.json", guards=[needs(Right.NONE)], sync_to_thread=False)
def describe() -> Response[bytes]:
    """Return the description of the interface (OpenAPI 3.1)."""
    return Response(read_description(), media_type="application/vnd.oai.openapi+json")
