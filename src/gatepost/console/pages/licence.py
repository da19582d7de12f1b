"""The licence page (row F-WEB-02): which keys there are and what they allow; adding one, which is looked at first, and
removing one.

Listed in `console.pages`; linked from the page of databases.
"""

from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.datastructures import UploadFile

from gatepost.console import render
from gatepost.console.asking import try_call
from gatepost.console.chosen import read_form
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "databases"
HOME: Final = "/licence"
BODY_LIMIT: Final = 64 * 1024
"""Bytes of the form: the longest key (`licence.key.KEY_LIMIT`), encoded."""
PLACES: Final = ("active", "additional")
RIGHT_NAMES: Final = {"av": "anti-virus", "as": "anti-spam"}

AnyRequest = Request[Any, Any, Any]


@get(HOME, guards=[needs(Right.VIEW)])
async def show_licence(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show the keys."""
    return await _page(visitor, gateway)


async def _page(visitor: Visitor, gateway: Gateway, trouble: str = "", text: str = "") -> Response[str]:
    found = await try_call(gateway, visitor, "licence.show")
    keys = [(place, describe(found.value[place])) for place in PLACES if found.value[place]] if found.value else []
    return render.page(
        visitor,
        "licence/index.html",
        area=AREA,
        status_code=422 if trouble else 200,
        licence=found.value,
        broken=found.trouble,
        keys=keys,
        places=PLACES,
        trouble=trouble,
        text=text,
        can_edit=visitor.may(Right.CONFIGURE),
    )


def describe(key: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a key says as rows for people."""
    limits = [f"{key['users']} addresses" * bool(key["users"]), f"{key['megabytes']} MB a day" * bool(key["megabytes"])]
    rows = (
        ("Number", key["serial"]),
        ("Type", key["type"]),
        ("For", key["holder"] or "nobody named"),
        ("Issued", f"{key['created']} by {key['issuer']}"),
        ("Allows", " and ".join(RIGHT_NAMES.get(right, right) for right in key["rights"])),
        ("Limits", ", ".join(filter(None, limits)) or "none"),
    )
    return [(name, render.foreign(value)) for name, value in rows]


@post(HOME + "/add", guards=[needs(Right.CONFIGURE)], status_code=200, request_max_body_size=BODY_LIMIT)
async def add(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Add a key, having shown what it says and what it does."""
    form = await request.form()
    file, text = form.get("file"), str(form.get("key", ""))
    if isinstance(file, UploadFile) and file.filename:
        text = (await file.read()).decode("utf-8", "replace")
    try:
        if form.get("confirmed"):
            return render.go(HOME, "good", _sentence(await gateway.call(visitor, "licence.add", key=text)))
        plan = await gateway.call(visitor, "licence.check", key=text)
    except SignedOut:
        raise
    except ControlError as error:
        return await _page(visitor, gateway, str(error), text)
    facts = [*describe(plan["key"]), ("Until", plan["expires"] or "without end")]
    return render.ask(
        visitor,
        f"Add this key as the {plan['place']} one?",
        action=f"{HOME}/add",
        fields={"key": text},
        back=HOME,
        area=AREA,
        detail=_sentences(plan["effects"]),
        facts=facts,
        word="Add the key",
    )


@post(HOME + "/remove", guards=[needs(Right.CONFIGURE)], status_code=200)
async def remove(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Remove a key, having told what will stop working and asked."""
    sent = await read_form(request)
    place = sent.one("place")
    try:
        if sent.confirmed:
            return render.go(HOME, "good", _sentence(await gateway.call(visitor, "licence.remove", place=place)))
        plan = await gateway.call(visitor, "licence.check_removal", place=place)
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    return render.ask(
        visitor,
        f"Remove the {render.foreign(place, 12)} key?",
        action=f"{HOME}/remove",
        fields={"place": place},
        back=HOME,
        area=AREA,
        detail=_sentences(plan["effects"]),
        word="Remove the key",
        danger=True,
    )


def _sentences(effects: list[str]) -> str:
    return " ".join(map(_sentence, effects))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


ROUTES: Final = (show_licence, add, remove)
