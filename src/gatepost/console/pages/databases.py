"""The databases page: which sets there are, which are in force, and until when they may be renewed (row F-WEB-02);
fetching newer ones now, and going back to earlier ones.

Listed in `console.pages`.
"""

from typing import Any, Final

from litestar import Request, Response, get, post

from gatepost.console import render
from gatepost.console.chosen import read_form
from gatepost.console.gateway import Gateway
from gatepost.console.pages.service import ACTS
from gatepost.console.visitor import Visitor, needs
from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "databases"
HOME: Final = "/databases"
UPDATE: Final = "Fetch newer databases now?"
UPDATE_DETAIL: Final = "They are tried before they count; sets that are not sound change nothing."
ROLL_BACK_DETAIL: Final = "What is taken back is not installed again by itself; what is newer than it is."
UNDER_WAY: Final = "It takes longer; this page tells what came of it."


@get(HOME, guards=[needs(Right.VIEW)])
async def show_databases(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show the sets of databases and the licence."""
    answer = await gateway.call(visitor, "databases.show")
    return render.page(
        visitor,
        "databases/index.html",
        area=AREA,
        answer=answer,
        reload=ACTS["reload-databases"],
        update=UPDATE,
        update_detail=UPDATE_DETAIL,
        roll_back_detail=ROLL_BACK_DETAIL,
        earlier={
            (one["kind"], one["name"]): one["number"]
            for one in reversed(answer["sets"])
            if one["newer"] and not one["trouble"]
        },
    )


@post(HOME + "/update", guards=[needs(Right.SERVICE)], status_code=200)
async def update(request: Request[Any, Any, Any], visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Fetch what is newer, having asked."""
    sent = await read_form(request)
    if not sent.confirmed:
        return render.ask(
            visitor, UPDATE, action=f"{HOME}/update", fields={}, back=HOME, area=AREA, detail=UPDATE_DETAIL,
            word="Update now",
        )  # fmt: skip
    return await _do(visitor, gateway, "databases.update")


@post(HOME + "/rollback", guards=[needs(Right.SERVICE)], status_code=200)
async def roll_back(request: Request[Any, Any, Any], visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Go back to earlier sets, having asked: `name`, or those that the last update installed."""
    sent = await read_form(request)
    name = sent.one("name")
    if not sent.confirmed:
        return render.ask(
            visitor,
            f"Take back the newest {render.foreign(name, 60)}?" if name else "Take back the last update?",
            action=f"{HOME}/rollback",
            fields={"name": name},
            back=HOME,
            area=AREA,
            detail=ROLL_BACK_DETAIL,
            word="Roll back",
            danger=True,
        )
    return await _do(visitor, gateway, "databases.rollback", names=[name] if name else [])


async def _do(visitor: Visitor, gateway: Gateway, call: str, **arguments: Any) -> Response[Any]:
    try:
        done = await gateway.call(visitor, call, **arguments)
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    if done["under_way"]:
        return render.go(HOME, "info", UNDER_WAY)
    return render.go(HOME, "good" if done["changed"] else "info", done["text"])


ROUTES: Final = (show_databases, update, roll_back)
