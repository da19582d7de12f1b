"""Who makes a request: found out before any handler runs, and what handlers may demand of them.

Every route demands that somebody is signed in, unless it is marked `opt=OPEN`; `guards=[needs(Right.X)]` demands a
right. That spares a visitor a page they cannot use; it protects nothing by itself: the master checks each call again.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec
from litestar.connection import ASGIConnection, Request
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler

from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

OPEN: Final[dict[str, Any]] = {"open": True}
"""`opt` of a route for which nobody need have signed in."""
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SCOPE_KEY: Final = "gatepost.visitor"
_BEARER: Final = "Bearer "
_CREDENTIAL_LIMIT: Final = 200
"""Characters: ours have 47."""

Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]
Guard: TypeAlias = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes this request."""

    name: str = ""
    """"" = nobody has signed in."""
    role: str = ""
    rights: frozenset[Right] = frozenset({Right.NONE})
    domains: tuple[str, ...] = ()
    """Only mail from or to these; () = all."""
    credential: str = ""
    csrf: str = ""
    """What every form sends back in the field `csrf`, and scripts in the header `X-CSRF-Token`."""
    address: str = ""
    origin: str = ""
    """Under which the browser knows us: `https://gw.example.org:8025`."""
    via: str = "console"
    path: str = "/"
    """Of the page asked for, with its query."""
    fragment: bool = False
    """htmx asks for a part of a page."""
    theme: str = ""
    """The look asked for by a cookie; "" = the system's (`console.render`)."""
    flash: str = ""
    """What the last act came to, as its cookie says (`console.render`)."""

    def may(self, right: Right | str) -> bool:
        """Tell whether the visitor has a right; templates write `visitor.may("queue")`."""
        return right in self.rights


class NotSignedIn(NotAuthorizedException):
    """Somebody must sign in first, or anew."""

    def __init__(self, *, first: bool) -> None:
        """`first`: nobody has an account yet."""
        super().__init__()
        self.first = first


class Forged(PermissionDeniedException):
    """The form was not one of this session's pages."""


def cookie_name(scheme: str) -> str:
    """Return the session cookie's name. With the prefix browsers take it only encrypted, for this host, from itself."""
    return "__Host-gatepost" if scheme == "https" else "gatepost"


async def admit(connection: Connection, handler: BaseRouteHandler) -> None:
    """Find out who it is (a guard of the whole application, before all others). NotSignedIn, Forged."""
    visitor = await _identify(connection)
    connection.scope[_SCOPE_KEY] = visitor  # type: ignore[typeddict-unknown-key]
    if handler.opt.get("open"):
        return  # where these change something, the origin is proved (`console.security`)
    if not visitor.name:
        raise NotSignedIn(first=await is_first(connection.app.state.gateway, visitor))
    if visitor.via == "console" and connection.scope.get("method") not in SAFE_METHODS:
        await _check_form(connection, visitor)


async def is_first(gateway: Any, visitor: Visitor) -> bool:
    """Tell whether nobody has an account yet. When that cannot be told, somebody has."""
    try:
        return bool((await gateway.call(visitor, "session.state"))["first"])
    except ControlError:
        return False


def needs(right: Right) -> Guard:
    """Return a guard: only for visitors with this right."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        if right not in visitor_of(connection).rights:
            raise PermissionDeniedException(f"This needs the right “{right.value}”, which your account does not have.")

    guard.right = right  # type: ignore[attr-defined]
    return guard


async def sees_all(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard: not for visitors with domains of their own. For pages that stand although their calls fail."""
    if visitor_of(connection).domains:
        raise PermissionDeniedException("This is about all of the gateway, and your account sees only its own domains.")


def visitor_of(connection: Connection) -> Visitor:
    """Return who makes this request (also the dependency `visitor`); nobody before `admit` has run."""
    known = connection.scope.get(_SCOPE_KEY)
    return known if isinstance(known, Visitor) else _stranger(connection)


async def provide_visitor(request: Request[Any, Any, Any]) -> Visitor:
    """Provide the dependency `visitor`."""
    return visitor_of(request)


def _stranger(connection: Connection) -> Visitor:
    query = connection.scope.get("query_string", b"").decode("latin-1")
    return Visitor(
        address=connection.client.host if connection.client else "",
        origin=f"{connection.scope['scheme']}://{connection.headers.get('host', '')}",
        path=connection.scope["path"] + (f"?{query}" if query else ""),
        fragment=connection.headers.get("hx-request") == "true",
        theme=connection.cookies.get("theme", ""),
        flash=connection.cookies.get("flash", ""),
    )


async def _identify(connection: Connection) -> Visitor:
    """Ask the master whose the session cookie, or the token, is."""
    stranger = _stranger(connection)
    authorization = connection.headers.get("authorization", "")
    if authorization.startswith(_BEARER):
        credential, via = authorization.removeprefix(_BEARER).strip(), "api"
    else:
        credential, via = connection.cookies.get(cookie_name(connection.scope["scheme"]), ""), "console"
    stranger = msgspec.structs.replace(stranger, via=via)
    if not credential or len(credential) > _CREDENTIAL_LIMIT:
        return stranger
    asking = msgspec.structs.replace(stranger, credential=credential)
    try:
        known = await connection.app.state.gateway.call(asking, "session.show")
    except SignedOut:
        return stranger
    return msgspec.structs.replace(
        asking,
        name=known["name"],
        role=known["role"],
        rights=frozenset(map(Right, known["rights"])),
        domains=tuple(known["domains"]),
        csrf=known["csrf"],
    )


async def _check_form(connection: Connection, visitor: Visitor) -> None:
    """Refuse what no page of this session has sent: the token comes back in a header or in the form."""
    given = connection.headers.get(CSRF_HEADER, "")
    if not given and isinstance(connection, Request):
        kind = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in {"application/x-www-form-urlencoded", "multipart/form-data"}:
            given = str((await connection.form()).get(CSRF_FIELD, ""))
    if not visitor.csrf or not hmac.compare_digest(given.encode(), visitor.csrf.encode()):
        raise Forged("The form is no longer valid. Go back, load the page anew and try again.")
