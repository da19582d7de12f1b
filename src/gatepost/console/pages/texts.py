"""Texts for people: notifications, placeholder, disclaimer, delivery reports, digests; checked and looked at before
they are saved.

Listed in `console.pages`; linked from the page of rules. What a text makes of a sample stands in the same frame as kept
mail (`pages.preview`), which allows nothing: also what is typed into a form and not saved.
"""

import urllib.parse
from functools import partial
from typing import Any, Final

from litestar import Request, Response, get, post

from gatepost.console import chosen, render
from gatepost.console.gateway import Gateway
from gatepost.console.pages.preview import frame
from gatepost.console.pages.settings import CHANGE, SEE
from gatepost.console.visitor import Visitor
from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "rules"
HOME: Final = "/rules/texts"
BODY_LIMIT: Final = 64 * 1024
"""Bytes of the form: the longest text (`notices.grammar.SIZE_LIMIT`), encoded."""
GROUP_LIMIT: Final = 1000
"""Characters of a group's name that are passed on."""
LANGUAGE_NAMES: Final = {"en": "English", "ru": "Russian"}

AnyRequest = Request[Any, Any, Any]


@get(HOME, guards=[SEE])
async def show_all(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """List all texts."""
    found = await gateway.call(visitor, "texts.list")
    return render.page(visitor, "texts/index.html", area=AREA, texts=found, languages=LANGUAGE_NAMES)


@get(HOME + "/{name:str}/{language:str}", guards=[SEE])
async def show(visitor: Visitor, gateway: Gateway, name: str, language: str, group: str = "") -> Response[str]:
    """Show one text, and the form to change it."""
    found = await gateway.call(visitor, "texts.show", **_which(name, language, group))
    return await _page(visitor, gateway, found)


def _which(name: str, language: str, group: str) -> dict[str, str]:
    """Return what a text is called at the desk: for all groups, or for one."""
    which = {"name": name, "language": language}
    return {**which, "group": group[:GROUP_LIMIT]} if group else which


def _address(found: dict[str, Any], act: str = "", **asked: object) -> str:
    """Return the address of a text's page, or of what is done there."""
    if found.get("group"):
        asked["group"] = found["group"]
    query = urllib.parse.urlencode(asked)
    return f"{HOME}/{found['name']}/{found['language']}{act}" + (f"?{query}" if query else "")


async def _page(
    visitor: Visitor, gateway: Gateway, found: dict[str, Any], *, trouble: str = "", checked: Any = None
) -> Response[str]:
    which = _which(found["name"], found["language"], found["group"])
    versions = await gateway.call(visitor, "texts.history", **which)
    return render.page(
        visitor,
        "texts/edit.html",
        area=AREA,
        status_code=422 if trouble or (checked and checked["faults"]) else 200,
        found=found,
        trouble=trouble,
        checked=checked,
        versions=versions,
        address=partial(_address, found),
        plain=f"{HOME}/{found['name']}/{found['language']}",
        languages=LANGUAGE_NAMES,
        group_choices=[(group, render.foreign(group, 60)) for group in found["groups"]],
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/{name:str}/{language:str}", guards=[CHANGE], status_code=200, request_max_body_size=BODY_LIMIT)
async def save(
    request: AnyRequest, visitor: Visitor, gateway: Gateway, name: str, language: str, group: str = ""
) -> Response[Any]:
    """Check a text, or save it: what is wrong is shown beside what was typed."""
    form = await request.form()
    which = _which(name, language, group)
    text, digest = str(form.get("text", "")), str(form.get("digest", ""))
    checked = await gateway.call(visitor, "texts.check", **which, text=text)
    trouble = ""
    if form.get("act") != "check" and not checked["faults"]:
        comment = str(form.get("comment", ""))
        try:
            done = await gateway.call(visitor, "texts.save", **which, text=text, digest=digest, comment=comment)
        except SignedOut:
            raise
        except ControlError as error:
            trouble = str(error)
        else:
            return render.go(_address(which), "good", f"Saved: {done['told']}")
    found = await gateway.call(visitor, "texts.show", **which)
    return await _page(visitor, gateway, {**found, "text": text, "digest": digest}, trouble=trouble, checked=checked)


@get(HOME + "/{name:str}/{language:str}/frame", guards=[SEE])
async def show_sample(visitor: Visitor, gateway: Gateway, name: str, language: str, group: str = "") -> Response[str]:
    """Show what the saved text makes of a sample, in its frame."""
    found = await gateway.call(visitor, "texts.show", **_which(name, language, group))
    return await _frame(visitor, gateway, name, language, found["text"])


@post(HOME + "/{name:str}/{language:str}/frame", guards=[SEE], status_code=200, request_max_body_size=BODY_LIMIT)
async def show_typed(
    request: AnyRequest, visitor: Visitor, gateway: Gateway, name: str, language: str
) -> Response[str]:
    """Show what a text that is not saved makes of a sample, in its frame."""
    form = await request.form()
    return await _frame(visitor, gateway, name, language, str(form.get("text", "")))


async def _frame(visitor: Visitor, gateway: Gateway, name: str, language: str, text: str) -> Response[str]:
    made = await gateway.call(visitor, "texts.check", name=name, language=language, text=text)
    shown = {
        "fields": [(each["name"], each["value"]) for each in made["fields"]],
        "html": made["html"],
        "text": made["text"],
        "trouble": " ".join(
            f"Line {each['line']}, column {each['column']}: {each['what']}." for each in made["faults"]
        ),
        "cut": False,
        "remote": 0,
        "scanned": False,
        "objects": [],
        "parts": [],
        "links": [],
    }
    return frame(shown, "html")


@get(HOME + "/{name:str}/{language:str}/version", guards=[SEE])
async def show_version(
    visitor: Visitor, gateway: Gateway, name: str, language: str, number: int, group: str = ""
) -> Response[str]:
    """Show one version, and what it changed."""
    which = _which(name, language, group)
    (version,) = await gateway.call(visitor, "texts.history", **which, number=number)
    found = await gateway.call(visitor, "texts.show", **which)
    return render.page(
        visitor,
        "texts/version.html",
        area=AREA,
        version=version,
        found=found,
        address=partial(_address, found),
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/{name:str}/{language:str}/rollback", guards=[CHANGE], status_code=200)
async def roll_back(
    request: AnyRequest, visitor: Visitor, gateway: Gateway, name: str, language: str, group: str = ""
) -> Response[Any]:
    """Go back to a version, having asked."""
    return await _go_back(request, visitor, gateway, _which(name, language, group))


@post(HOME + "/{name:str}/{language:str}/reset", guards=[CHANGE], status_code=200)
async def reset(
    request: AnyRequest, visitor: Visitor, gateway: Gateway, name: str, language: str, group: str = ""
) -> Response[Any]:
    """Go back to the product's own text, having asked."""
    return await _go_back(request, visitor, gateway, _which(name, language, group))


async def _go_back(request: AnyRequest, visitor: Visitor, gateway: Gateway, which: dict[str, str]) -> Response[Any]:
    sent = await chosen.read_form(request)
    number, digest = sent.one("number"), sent.one("digest")
    found = await gateway.call(visitor, "texts.show", **which)
    path = _address(found)
    act = request.url.path.rpartition("/")[2]
    what = (
        f"version {render.foreign(number, 12)}"
        if act == "rollback"
        else "the text of all groups"
        if which.get("group")
        else "the product's own text"
    )
    if not sent.confirmed:
        return render.ask(
            visitor,
            f"Put {what} in force?",
            action=_address(found, f"/{act}"),
            fields={"number": number, "digest": digest},
            back=path,
            area=AREA,
            word="Put it in force",
            danger=True,
        )
    asked: dict[str, Any] = {**which, "digest": digest}
    if act == "rollback":
        asked["number"] = chosen.count(number, 10**9)
    try:
        done = await gateway.call(visitor, f"texts.{act}", **asked)
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(path, "bad", str(error))
    return render.go(path, "good", f"In force again, {what}: {done['told']}")


ROUTES: Final = (show_all, show, save, show_sample, show_typed, show_version, roll_back, reset)
