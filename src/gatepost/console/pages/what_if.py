"""What if: settings that are tried on live mail without effect, and what they would have changed.

Listed in `console.pages`. The mails are found on the tracking page; making a shadow real puts its changes into the
draft of the configuration, where they are looked through and applied like any other.
"""

from typing import Any, Final

from litestar import Request, Response, get, post

from gatepost.console import render
from gatepost.console.chosen import link, read_form
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right

AREA: Final = "what-if"
HOME: Final = "/what-if"
_EDIT: Final = ("section", "item", "name", "verb", "value")


@get(HOME, guards=[needs(Right.CONFIGURATION)])
async def show(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show the shadows."""
    shadows = await gateway.call(visitor, "shadow.list")
    mails = {each["name"]: link("/tracking", {"finding": str(each["finding"])}) for each in shadows}
    return render.page(visitor, "what_if/index.html", area=AREA, shadows=shadows, mails=mails)


@post(HOME + "/draft", guards=[needs(Right.CONFIGURE)], status_code=200)
async def draft(request: Request[Any, Any, Any], visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Put the changes that make a shadow real into the visitor's draft."""
    name = (await read_form(request)).one("name")
    shadows = await gateway.call(visitor, "shadow.list")
    edits: list[dict[str, Any]] = next((each["edits"] for each in shadows if each["name"] == name), [])
    if not edits:
        return render.go(HOME, "info", "There is no such shadow any more.")
    changes = [{part: edit[part] for part in _EDIT if part in edit} for edit in edits]
    await gateway.call(visitor, "configuration.draft", changes=changes)
    return render.go("/settings/changes", "info", "The changes of the shadow are in your draft: look, then apply them.")


ROUTES: Final = (show, draft)
