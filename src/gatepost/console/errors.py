"""What a browser, a fragment of a page or a program gets when something cannot be answered. No inner detail leaves.

The exception handlers of the application (`console.app`).
"""

import logging
import urllib.parse
from typing import Any

from litestar import MediaType, Response
from litestar.connection import Request
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from gatepost.console import render
from gatepost.console.security import API_PREFIX
from gatepost.console.visitor import NotSignedIn, visitor_of
from gatepost.control.link import RefusedCall, SignedOut
from gatepost.control.socket import ControlError

SIGN_IN = "/sign-in"
_TITLES = {
    400: "Not understood",
    401: "Sign in",
    403: "Not allowed",
    404: "Not found",
    405: "Not found",
    409: "Not done",
    412: "Changed meanwhile",
    413: "Too much at once",
    415: "Not in this form",
    422: "Not acceptable",
    428: "Say for which version",
    429: "Too many tries",
    500: "Something went wrong here",
    503: "Not now",
}
_log = logging.getLogger("gatepost.console")

AnyRequest = Request[Any, Any, Any]


def _on_sign_in(request: AnyRequest, error: Exception) -> Response[Any]:
    """401: pages come with the form to sign in, fragments send the whole page there."""
    visitor = visitor_of(request)
    if _wants_json(request):
        return problem(401, "Sign in, or send a token: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"})
    challenge = {"WWW-Authenticate": 'Session realm="Gatepost"'}
    back = visitor.path if request.method == "GET" else "/"
    if visitor.fragment:
        back = _path_of(request.headers.get("hx-current-url", "/"))
        place = f"{SIGN_IN}?{urllib.parse.urlencode({'next': back})}"
        return Response(b"", status_code=401, headers={**challenge, "HX-Redirect": place})
    return render.page(
        visitor,
        "sign_in/first.html" if isinstance(error, NotSignedIn) and error.first else "sign_in/sign_in.html",
        status_code=401,
        headers=challenge,
        back=render.local_path(back),
        trouble="",
        name="",
    )


def _path_of(address: str) -> str:
    """Return the path and the query of an address; "/" when it is none."""
    try:
        here = urllib.parse.urlsplit(address)
    except ValueError:
        return "/"
    return here.path + (f"?{here.query}" if here.query else "")


def _on_refused(request: AnyRequest, error: Exception) -> Response[Any]:
    return answer(request, 403, str(error))


def _on_not_done(request: AnyRequest, error: Exception) -> Response[Any]:
    return answer(request, 409, str(error))


def _on_http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    detail = error.detail if error.status_code < 500 else ""
    return answer(request, error.status_code, detail, error.headers)


def _on_unknown(request: AnyRequest, error: Exception) -> Response[Any]:
    _log.error("%r %r", request.method, request.scope["path"], exc_info=error)  # the path may hold line ends
    return answer(request, 500, "The gateway's log says more.")


HANDLERS: ExceptionHandlersMap = {
    NotSignedIn: _on_sign_in,
    SignedOut: _on_sign_in,
    RefusedCall: _on_refused,
    ControlError: _on_not_done,
    HTTPException: _on_http,
    Exception: _on_unknown,
}


def answer(request: AnyRequest, status: int, detail: str, headers: dict[str, str] | None = None) -> Response[Any]:
    """Return an error in the form the caller reads: problem+json, a fragment, or a page."""
    if _wants_json(request):
        return problem(status, detail, headers)
    title = _TITLES.get(status, "Not possible")
    return render.page(
        visitor_of(request),
        "error.html",
        status_code=status,
        headers=headers,
        title=title,
        detail=detail or title,
    )


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response[Any]:
    """Return an error for programs (RFC 9457)."""
    return Response(
        {"type": "about:blank", "title": _TITLES.get(status, "Not possible"), "status": status, "detail": detail},
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )


def plain(text: str, status: int = 200) -> Response[str]:
    """Return one line of text."""
    return Response(text + "\n", status_code=status, media_type=MediaType.TEXT)


def _wants_json(request: AnyRequest) -> bool:
    return request.scope["path"].startswith(API_PREFIX) or visitor_of(request).via == "api"
