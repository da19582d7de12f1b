"""Own terms of anti-spam: one text with weights, checked before it is saved, and its versions.

Listed in `console.pages`; linked from the page of rules.
"""

from typing import Any, Final

from litestar import Request, Response, get, post

from gatepost.console import chosen, render
from gatepost.console.gateway import Gateway
from gatepost.console.pages.settings import CHANGE, SEE
from gatepost.console.visitor import Visitor
from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "rules"
HOME: Final = "/rules/terms"
BODY_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of the form: the longest text (`master.own_terms.TEXT_LIMIT`), encoded, at worst twelve a character."""
EXAMPLE: Final = """\
= spam/own | what we do not want | cap=4
1.5 garden house*
1.2 plants ... half price
1.4 subject: spring offer
"""

AnyRequest = Request[Any, Any, Any]


@get(HOME, guards=[SEE])
async def show(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show the terms, and the form to change them."""
    found = await gateway.call(visitor, "terms.show")
    return await _page(visitor, gateway, found["text"], found["digest"])


async def _page(
    visitor: Visitor, gateway: Gateway, text: str, digest: str, *, trouble: str = "", checked: Any = None
) -> Response[str]:
    versions = await gateway.call(visitor, "terms.history")
    return render.page(
        visitor,
        "terms/index.html",
        area=AREA,
        status_code=422 if trouble else 200,
        text=text,
        digest=digest,
        trouble=trouble,
        checked=checked,
        versions=versions,
        example=EXAMPLE,
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME, guards=[CHANGE], status_code=200, request_max_body_size=BODY_LIMIT)
async def save(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Check the terms, or save them: what is wrong is shown beside what was typed."""
    form = await request.form()
    text, digest = str(form.get("text", "")), str(form.get("digest", ""))
    if form.get("act") == "check":
        checked = await gateway.call(visitor, "terms.check", text=text)
        return await _page(visitor, gateway, text, digest, trouble=_problem(checked), checked=checked)
    comment = str(form.get("comment", ""))
    try:
        done = await gateway.call(visitor, "terms.save", text=text, digest=digest, comment=comment)
    except SignedOut:
        raise
    except ControlError as error:
        return await _page(visitor, gateway, text, digest, trouble=str(error))
    return render.go(HOME, "good", f"Saved, {done['terms']} term(s): {done['told']}")


def _problem(checked: Any) -> str:
    return f"Line {checked['line']}: {checked['problem']}" if checked["line"] else str(checked["problem"])


@get(HOME + "/version", guards=[SEE])
async def show_version(visitor: Visitor, gateway: Gateway, number: int) -> Response[str]:
    """Show one version, and what it changed."""
    (version,) = await gateway.call(visitor, "terms.history", number=number)
    found = await gateway.call(visitor, "terms.show")
    return render.page(
        visitor,
        "terms/version.html",
        area=AREA,
        version=version,
        digest=found["digest"],
        can_edit=visitor.may(Right.CONFIGURE),
    )


@post(HOME + "/rollback", guards=[CHANGE], status_code=200)
async def roll_back(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Go back to a version, having asked."""
    sent = await chosen.read_form(request)
    number, digest = sent.one("number"), sent.one("digest")
    if not sent.confirmed:
        return render.ask(
            visitor,
            f"Put version {render.foreign(number, 12)} of the terms in force?",
            action=f"{HOME}/rollback",
            fields={"number": number, "digest": digest},
            back=HOME,
            area=AREA,
            word="Back to this version",
            danger=True,
        )
    try:
        done = await gateway.call(visitor, "terms.rollback", number=chosen.count(number, 10**9), digest=digest)
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    return render.go(HOME, "good", f"Version {number} again, {done['terms']} term(s): {done['told']}")


ROUTES: Final = (show, save, show_version, roll_back)
