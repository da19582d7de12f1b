"""The application of recipients' pages: routes, errors, and what holds for every answer.

Made by `console.user_quarantine.process`, and by tests around a scripted gateway. It serves no script at all, and says
in no field where somebody came from: links are secrets.
"""

import logging
from typing import Any, Final

from litestar import Litestar, Response, route
from litestar.connection import Request
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.static_files import create_static_files_router
from litestar.types import ExceptionHandlersMap

from gatepost.console.app import STATIC
from gatepost.console.gateway import Link
from gatepost.console.security import READ, Shield
from gatepost.console.settings import Settings
from gatepost.console.user_quarantine.pages import ROUTES, page
from gatepost.control.link import RefusedCall, SignedOut
from gatepost.control.socket import ControlError

TEMPLATES: Final = "user_quarantine/"
BODY_LIMIT: Final = 16 * 1024
"""Bytes of a form."""
_log = logging.getLogger("gatepost.user_quarantine")

AnyRequest = Request[Any, Any, Any]


@route("/healthz", http_method=READ, sync_to_thread=False)
def healthz() -> Response[str]:
    """Tell that the pages answer."""
    return Response("ok\n", media_type="text/plain")


def _on_signed_out(request: AnyRequest, error: Exception) -> Response[str]:
    return page(request, "ask.html", status_code=401, trouble=str(error))


def _on_refused(request: AnyRequest, error: Exception) -> Response[str]:
    return page(request, "told.html", status_code=403, state="bad", text=str(error))


def _on_not_done(request: AnyRequest, error: Exception) -> Response[str]:
    return page(request, "told.html", status_code=409, state="bad", text=str(error))


def _on_http(request: AnyRequest, error: HTTPException) -> Response[str]:
    text = "There is no such page." if error.status_code in {404, 405} else "This cannot be understood."
    return page(request, "told.html", status_code=error.status_code, state="bad", text=text)


def _on_unknown(request: AnyRequest, error: Exception) -> Response[str]:
    # Without the path: it may hold a link.
    _log.error("%s failed", request.method, exc_info=error)
    return page(request, "told.html", status_code=500, state="bad", text="Something went wrong here. Try again later.")


_HANDLERS: Final[ExceptionHandlersMap] = {
    SignedOut: _on_signed_out,
    RefusedCall: _on_refused,
    ControlError: _on_not_done,
    HTTPException: _on_http,
    Exception: _on_unknown,
}


def build_user_app(link: Link, settings: Settings) -> Shield:
    """Return the application (ASGI)."""
    static = create_static_files_router(path="/static", directories=[STATIC], include_in_schema=False)
    app = Litestar(
        route_handlers=[healthz, static, *ROUTES],
        exception_handlers=_HANDLERS,
        state=State({"link": link}),
        request_max_body_size=BODY_LIMIT,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return Shield(app, settings.host_names, nameless=True)
