"""The draft of profiles and rules: what it changes, save and compile, history and roll-back, XML out and in.

Listed in `console.pages`; `console.pages.profiles` shows and edits what is in it.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get, post
from litestar.datastructures import UploadFile

from gatepost.console import render
from gatepost.console.gateway import Gateway
from gatepost.console.pages.profiles import (
    AREA,
    FORM_LIMIT,
    HOME,
    KEPT,
    LISTS,
    AnyRequest,
    page_of,
    parse_number,
    read_fields,
)
from gatepost.console.pages.settings import CHANGE, SEE
from gatepost.console.visitor import Visitor
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError


@get(HOME + "/changes", guards=[SEE])
async def show_changes(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show what saving the draft would change, and what is wrong with it."""
    check = await gateway.call(visitor, "profiles.check")

    def href(problem: Mapping[str, str]) -> str:
        directory, _, name = problem["file"].rpartition("/")
        file = name.removesuffix(".toml")
        if directory == "profiles" or problem["file"] == "hidden.toml":
            return page_of(file if directory else "")
        return f"{HOME}/list?part={directory}&file={file}" if directory in LISTS else HOME

    return render.page(
        visitor,
        "profiles/changes.html",
        area=AREA,
        check=check,
        href_of=href,
        broken=any(problem["severity"] == "error" for problem in check["problems"]),
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/save", guards=[CHANGE], status_code=200)
async def save(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Save the draft and compile it."""
    sent = await read_fields(request)
    try:
        done = await gateway.call(visitor, "profiles.save", comment=sent.get("comment", ""))
    except ControlError as error:
        return render.go(f"{HOME}/changes", "bad", str(error))
    return _say_done(done, HOME)


def _say_done(done: Mapping[str, Any], to: str) -> Response[Any]:
    if done["answer"] != "reloaded":
        return render.go(to, "warning", f"{done['answer'][:1].upper()}{done['answer'][1:]}.")
    return render.go(to, "good", f"Version {done['number']} of the rules is in force.")


@post(HOME + "/reset", guards=[CHANGE], status_code=200)
async def reset(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Forget the draft."""
    sent = await read_fields(request)
    if not sent.get("confirmed"):
        question = "Forget the unsaved changes of the rules?"
        return render.ask(
            visitor, question, action=f"{HOME}/reset", fields={}, back=f"{HOME}/changes", area=AREA, danger=True
        )
    await gateway.call(visitor, "profiles.reset")
    return render.go(HOME, "good", "The unsaved changes are forgotten.")


@get(HOME + "/history", guards=[SEE])
async def show_history(visitor: Visitor, gateway: Gateway, number: int = 0) -> Response[str]:
    """Show the kept versions, or what one of them changed."""
    asked = {"number": number} if number > 0 else {"limit": 200}
    versions = await gateway.call(visitor, "profiles.history", **asked)
    return render.page(
        visitor,
        "profiles/history.html",
        area=AREA,
        chosen=versions[0] if number > 0 else None,
        versions=versions,
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/rollback", guards=[CHANGE], status_code=200)
async def roll_back(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Put a former version in force."""
    sent = await read_fields(request)
    number = parse_number(sent.get("number", ""), 99_999)
    back = f"{HOME}/history?number={number}"
    if not sent.get("confirmed"):
        fields = {"number": str(number)}
        question = f"Put version {number} of the rules in force?"
        return render.ask(
            visitor, question, action=f"{HOME}/rollback", fields=fields, back=back, area=AREA, danger=True
        )
    try:
        done = await gateway.call(visitor, "profiles.rollback", number=number)
    except ControlError as error:
        return render.go(back, "bad", str(error))
    return _say_done(done, f"{HOME}/history")


@get(HOME + "/export", guards=[SEE])
async def export(visitor: Visitor, gateway: Gateway, encoding: str = "utf-8", file: str = "") -> Response[bytes]:
    """Hand out the visitor's draft, else the saved set, as XML."""
    found = await gateway.call(visitor, "profiles.export", encoding=encoding, file=file, draft=True)
    kind = "application/xml" if file else "application/zip"
    headers = {"Content-Disposition": f'attachment; filename="{found["name"]}"', "Cache-Control": "no-store"}
    return Response(base64.b64decode(found["data"]), media_type=kind, headers=headers)


@post(HOME + "/import", guards=[CHANGE], status_code=200, request_max_body_size=FORM_LIMIT + 64 * 1024)
async def take_xml(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Have the draft say what an upload says."""
    file = (await request.form()).get("upload")
    if not isinstance(file, UploadFile) or not file.filename:
        return render.go(HOME, "bad", "No file was chosen.")
    data = base64.b64encode(await file.read()).decode("ascii")
    try:
        found = await gateway.call(visitor, "profiles.import", name=file.filename, data=data)
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    if found["kept"] and not found["problems"]:
        return render.go(f"{HOME}/changes", "good", KEPT)
    status = 200 if found["kept"] else 422
    return render.page(visitor, "profiles/imported.html", area=AREA, found=found, status_code=status)


ROUTES: Final = (show_changes, save, reset, show_history, roll_back, export, take_xml)
