"""Rules: where each part of what decides about mail is edited, and the administrator's own samples and images.

Listed in `console.pages`. Profiles with their rules are edited by `console.pages.profiles`.
"""

import base64
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.datastructures import UploadFile

from gatepost.console import render
from gatepost.console.chosen import read_form
from gatepost.console.gateway import Gateway
from gatepost.console.pages.settings import CHANGE, SEE
from gatepost.console.visitor import Visitor
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "rules"
HOME: Final = "/rules"
UPLOAD_LIMIT: Final = 4 * 1024 * 1024 + 64 * 1024
"""Bytes of a request that adds an item (`master.own_samples.ADD_LIMIT`), with its other fields."""
DONE: Final = "Kept. It counts after “Compile and use”."

AnyRequest = Request[Any, Any, Any]


@get(HOME, guards=[SEE])
async def show(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show what there is, and forms for more."""
    return await _page(visitor, gateway)


async def _page(visitor: Visitor, gateway: Gateway, trouble: str = "", text: str = "") -> Response[str]:
    found = await gateway.call(visitor, "samples.show")
    return render.page(
        visitor,
        "rules/index.html",
        area=AREA,
        status_code=422 if trouble else 200,
        found=found,
        trouble=trouble,
        text=text,
        can_edit=visitor.may(Right.CONFIGURE),
        sorts=(("samples", "Samples"), ("images", "Images")),
    )


@post(HOME + "/add", guards=[CHANGE], status_code=200, request_max_body_size=UPLOAD_LIMIT)
async def add(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Keep a sample or an image."""
    form = await request.form()
    arguments: dict[str, Any] = {name: str(form.get(name, "")) for name in ("sort", "name", "category")}
    file = form.get("file")
    text = str(form.get("text", ""))
    if isinstance(file, UploadFile) and file.filename:
        arguments["data"] = base64.b64encode(await file.read()).decode("ascii")
    else:
        arguments["text"] = text
    try:
        await gateway.call(visitor, "samples.add", replace=bool(form.get("replace")), **arguments)
    except ControlError as error:
        return await _page(visitor, gateway, str(error), text)
    return render.go(HOME, "good", DONE)


@post(HOME + "/remove", guards=[CHANGE], status_code=200)
async def remove(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Forget a sample or an image."""
    sent = await read_form(request)
    sort, name = sent.one("sort"), sent.one("name")
    if not sent.confirmed:
        fields = {"sort": sort, "name": name}
        question = f"Remove {name}?"
        return render.ask(visitor, question, action=f"{HOME}/remove", fields=fields, back=HOME, area=AREA, danger=True)
    told = await gateway.call(visitor, "samples.remove", sort=sort, name=name)
    return render.go(HOME, "good", str(told).capitalize() + ".")


@post(HOME + "/compile", guards=[CHANGE], status_code=200)
async def compile_all(visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Put samples and images as they are now in force."""
    try:
        told = await gateway.call(visitor, "samples.compile")
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    return render.go(HOME, "good", str(told))


ROUTES: Final = (show, add, remove, compile_all)
