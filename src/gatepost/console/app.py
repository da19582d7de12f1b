"""The application: all routes, who may reach them, and what holds for all.

Made by `console.process`, and by tests around a scripted gateway.
"""

from pathlib import Path
from typing import Any

from litestar import Litestar, Response, route
from litestar.connection import Request
from litestar.datastructures import CacheControlHeader, State
from litestar.di import Provide
from litestar.static_files import create_static_files_router

from gatepost.console import errors
from gatepost.console.api.probes import metrics, readyz
from gatepost.console.api.routes import build_router
from gatepost.console.events import Listeners
from gatepost.console.gateway import Gateway
from gatepost.console.pages import ROUTES
from gatepost.console.security import READ, Shield
from gatepost.console.settings import Settings
from gatepost.console.visitor import OPEN, admit, provide_visitor

STATIC = Path(__file__).parent / "static"
BODY_LIMIT = 1024 * 1024
"""Bytes of a request: forms. A route that takes files sets its own."""
_KEPT = CacheControlHeader(public=True, max_age=365 * 86400, immutable=True)
"""Browsers keep static files: their addresses change with the content (`render.static_url`)."""


@route("/healthz", http_method=READ, opt=OPEN, sync_to_thread=False)
def healthz() -> Response[str]:
    """Tell that the console answers (not that the gateway does: that is `/readyz`)."""
    return errors.plain("ok")


async def provide_gateway(request: Request[Any, Any, Any]) -> Gateway:
    """Provide the dependency `gateway`."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def build_app(gateway: Gateway, settings: Settings) -> Shield:
    """Return the application (ASGI)."""
    static = create_static_files_router(
        path="/static", directories=[STATIC], opt=OPEN, cache_control=_KEPT, include_in_schema=False
    )
    app = Litestar(
        route_handlers=[healthz, readyz, metrics, static, *ROUTES, build_router(settings.api_rate)],
        guards=[admit],
        dependencies={"visitor": Provide(provide_visitor), "gateway": Provide(provide_gateway)},
        exception_handlers=errors.HANDLERS,
        state=State({"gateway": gateway, "settings": settings, "listeners": Listeners()}),
        request_max_body_size=BODY_LIMIT,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return Shield(app, settings.host_names)
