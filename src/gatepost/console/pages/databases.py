"""The databases page: which sets there are, which are in force, and until when they may be renewed (row F-WEB-02).

Listed in `console.pages`.
"""

from typing import Final

from litestar import Response, get

from gatepost.console import render
from gatepost.console.gateway import Gateway
from gatepost.console.pages.service import ACTS
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right

AREA: Final = "databases"


@get("/databases", guards=[needs(Right.VIEW)])
async def show_databases(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show the sets of databases and the licence."""
    answer = await gateway.call(visitor, "databases.show")
    return render.page(visitor, "databases/index.html", area=AREA, answer=answer, reload=ACTS["reload-databases"])


ROUTES: Final = (show_databases,)
