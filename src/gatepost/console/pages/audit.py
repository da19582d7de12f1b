"""The audit log: who changed what, and who looked at whose mail.

Listed in `console.pages`.
"""

import urllib.parse
from typing import Any, Final

from litestar import Response, get

from gatepost.console import render
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right

AREA: Final = "audit"
GUARDS: Final = [needs(Right.AUDIT)]
PAGE: Final = 100


@get("/audit", guards=GUARDS)
async def show_audit(
    visitor: Visitor, gateway: Gateway, who: str = "", call: str = "", text: str = "", before: int = 0
) -> Response[Any]:
    """Show entries, the newest first."""
    entries = await gateway.call(visitor, "audit.list", who=who, call=call, text=text, before=before, limit=PAGE)
    asked = {"who": who, "call": call, "text": text}
    older = ""
    if len(entries) == PAGE and entries[-1]["number"] > 1:
        older = "/audit?" + urllib.parse.urlencode({**asked, "before": entries[-1]["number"]})
    return render.page(
        visitor,
        "audit/index.html",
        area=AREA,
        entries=entries,
        older=older,
        before=before,
        who=who,
        call=call,
        text=text,
    )


@get("/audit/verify", guards=GUARDS)
async def verify(visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Check the chain of hashes."""
    found = await gateway.call(visitor, "audit.verify")
    return render.page(visitor, "audit/verify.html", area=AREA, found=found)


ROUTES: Final = (show_audit, verify)
