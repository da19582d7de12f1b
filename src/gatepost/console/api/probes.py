"""What is asked by programs that look after programs: `/readyz`, `/metrics`, and the dashboard made for these metrics.

`/healthz` is the console's own (`console.app`): that it answers.
"""

import importlib.resources
from typing import Any, Final

from litestar import Response, get, route

from gatepost.console import errors
from gatepost.console.gateway import Gateway
from gatepost.console.security import READ
from gatepost.console.visitor import OPEN, Visitor, needs
from gatepost.control.link import RefusedCall
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

METRICS: Final = "text/plain; version=0.0.4"


@route("/readyz", http_method=READ, opt=OPEN)
async def readyz(visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Tell whether the gateway takes mail: 200 or 503, and in a word each what is missing."""
    try:
        found = await gateway.call(visitor, "readiness")
    except ControlError:
        return errors.plain("not ready: gateway", 503)
    if found["ready"]:
        return errors.plain("ready")
    return errors.plain(f"not ready: {', '.join(map(str, found['missing']))}", 503)


@route("/metrics", http_method=READ, opt=OPEN)
async def metrics(visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Return the metrics: to who may see them, and to addresses that need not say who they are."""
    if visitor.name:
        return Response(await gateway.call(visitor, "metrics"), media_type=METRICS)
    try:
        return Response(await gateway.call(visitor, "metrics.open"), media_type=METRICS)
    except RefusedCall as error:
        return errors.problem(401, str(error), {"WWW-Authenticate": "Bearer"})
    except ControlError as error:
        return errors.problem(503, str(error))


@get("/grafana.json", guards=[needs(Right.VIEW)], sync_to_thread=False)
def grafana() -> Response[bytes]:
    """Return the dashboard for Grafana."""
    raw = importlib.resources.files("gatepost.control").joinpath("grafana.json").read_bytes()
    headers = {"Content-Disposition": 'attachment; filename="gatepost-grafana.json"'}
    return Response(raw, media_type="application/json", headers=headers)
