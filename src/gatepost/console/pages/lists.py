"""Allow and block lists: those of the configuration, and the entries made here, which count at once.

Listed in `console.pages`. A visitor with domains sees and makes entries for the mail of these only; the master sees to
that.
"""

from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.params import Parameter

from gatepost.console import render
from gatepost.console.chosen import link, read_form
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "lists"
HOME: Final = "/lists"
SIDES: Final = (("allow", "Allow"), ("block", "Block"))
FIELDS: Final = ("list", "entry", "scope", "expires", "note")

Text = Annotated[str, Parameter(max_length=300)]


@get(HOME, guards=[needs(Right.LISTS)])
async def show(
    visitor: Visitor, gateway: Gateway, q: Text = "", side: Text = "", after: int = 0, entry: Text = ""
) -> Response[str]:
    """Show the entries; `entry` is what the form for a new one begins with."""
    found = await gateway.call(visitor, "lists.show", text=q, list=side, after=max(0, after))
    return _page(
        visitor, found, q, side, after, {"entry": entry, "scope": visitor.domains[0] if visitor.domains else ""}
    )


def _page(
    visitor: Visitor, found: Any, q: str, side: str, after: int, given: dict[str, str], trouble: str = ""
) -> Response[str]:
    filters = {"q": q, "side": side}
    return render.page(
        visitor,
        "lists/index.html",
        area=AREA,
        status_code=422 if trouble else 200,
        found=found,
        q=q,
        side=side,
        sides=SIDES,
        given=given,
        trouble=trouble,
        older=link(HOME, {**filters, "after": str(found["next"])}) if found["next"] else "",
        newer=link(HOME, filters) if after else "",
    )


@post(HOME, guards=[needs(Right.LISTS)], status_code=200)
async def add(request: Request[Any, Any, Any], visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Make an entry."""
    sent = await read_form(request)
    given = {name: sent.one(name) for name in FIELDS}
    try:
        done = await gateway.call(visitor, "lists.add", **given)
    except ControlError as error:
        found = await gateway.call(visitor, "lists.show")
        return _page(visitor, found, "", "", 0, given, str(error))
    if not done["added"]:
        return render.go(HOME, "info", "That entry is there already.")
    return render.go(
        HOME, "good", f"{done['row']['entry']} is on the {done['row']['side']} list; it counts from now on."
    )


@post(HOME + "/remove", guards=[needs(Right.LISTS)], status_code=200)
async def remove(request: Request[Any, Any, Any], visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Take entries off."""
    sent = await read_form(request)
    ids = [value for value in sent.every("id") if value.isascii() and value.isdigit()]
    if not ids:
        return render.go(HOME, "info", "Nothing was chosen.")
    if not sent.confirmed:
        question = f"Remove {len(ids)} {'entry' if len(ids) == 1 else 'entries'}?"
        return render.ask(
            visitor, question, action=f"{HOME}/remove", fields={"id": ids}, back=HOME, area=AREA, danger=True
        )
    done = await gateway.call(visitor, "lists.remove", ids=[int(value) for value in ids])
    return render.go(HOME, "good", f"Removed: {len(done['removed'])}.")


ROUTES: Final = (show, add, remove)
