"""Emergency: the bypass, with which mail passes unscanned and marked for some minutes.

Listed in `console.pages`. The master decides who may, for how long, and ends it.
"""

from typing import Any, Final

from litestar import Request, Response, get, post

from gatepost.console import render
from gatepost.console.chosen import link, read_form, words
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "emergency"
HOME: Final = "/emergency"
FIELDS: Final = ("minutes", "reason", "groups", "direction")
DIRECTIONS: Final = (("", "all"), ("inbound", "inbound"), ("outbound", "outbound"), ("internal", "internal"))


@get(HOME, guards=[needs(Right.VIEW)])
async def show(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show whether mail passes unscanned."""
    return await _page(visitor, gateway, {"minutes": "15"})


async def _page(visitor: Visitor, gateway: Gateway, given: dict[str, str], trouble: str = "") -> Response[str]:
    bypass = await gateway.call(visitor, "bypass.status")
    return render.page(
        visitor,
        "emergency/index.html",
        area=AREA,
        status_code=422 if trouble else 200,
        bypass=bypass,
        given=given,
        trouble=trouble,
        directions=DIRECTIONS,
        passed=link("/tracking", {"finding": "bypassed"}),
    )


@post(HOME + "/on", guards=[needs(Right.EMERGENCY)], status_code=200)
async def on(request: Request[Any, Any, Any], visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Let mail pass."""
    sent = await read_form(request)
    given = {name: sent.one(name) for name in FIELDS}
    minutes = given["minutes"]
    if not minutes.isascii() or not minutes.isdigit():
        return await _page(visitor, gateway, given, "For how many minutes?")
    if not sent.confirmed:
        return render.ask(
            visitor,
            f"Let mail pass unscanned for {minutes[:5]} minutes?",
            action=f"{HOME}/on",
            fields=given,
            back=HOME,
            area=AREA,
            detail="Malware among it reaches its recipients.",
            danger=True,
        )
    directions = [given["direction"]] if given["direction"] else []
    try:
        await gateway.call(
            visitor,
            "bypass.on",
            minutes=int(minutes[:5]),
            reason=given["reason"],
            groups=words(given["groups"]),
            directions=directions,
        )
    except ControlError as error:
        return await _page(visitor, gateway, given, str(error))
    return render.go(HOME, "warning", "Mail passes unscanned.")


@post(HOME + "/off", guards=[needs(Right.EMERGENCY)], status_code=200)
async def off(visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Have mail scanned again."""
    await gateway.call(visitor, "bypass.off")
    return render.go(HOME, "good", "Mail is scanned again.")


ROUTES: Final = (show, on, off)
