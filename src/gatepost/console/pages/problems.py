"""The problems page: what the gateway watches, in three states, and how to mend it (row F-WEB-06).

Listed in `console.pages`.
"""

from typing import Final

from litestar import Response, get

from gatepost.console import render
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right

AREA: Final = "problems"
STATES: Final[dict[str, render.State]] = {"ok": "good", "warning": "warning", "error": "bad"}
"""The three states of the gateway's watch, as pages show them."""


@get("/problems", guards=[needs(Right.VIEW)])
async def show_problems(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show what is wrong, and what is watched and well."""
    answer = await gateway.call(visitor, "problems")
    return render.page(visitor, "problems/index.html", area=AREA, answer=answer, states=STATES)


ROUTES: Final = (show_problems,)
