"""Signing in and out: password, second step, and the first account by a one-time code.

Listed in `console.pages`. Nothing is compared here: what people type goes to the master. The session's secret is the
browser's alone, in a cookie no script can read.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get, post
from litestar.connection import Request
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body

from gatepost.console import render
from gatepost.console.asking import try_call
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import OPEN, Visitor, cookie_name, is_first

AnyRequest = Request[Any, Any, Any]
Form = Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)]

BODY_LIMIT: Final = 64 * 1024
"""Bytes of a form that anybody may send: of these it is names, passwords and answers of authenticators."""
SECOND_STEP_S: Final = 300
"""As long as the master waits for the second step."""
SIGN_IN: Final = "sign_in/sign_in.html"
FIRST: Final = "sign_in/first.html"
SECOND: Final = "sign_in/second.html"


@get("/sign-in", opt=OPEN)
async def show_sign_in(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Show the form, or lead on who has signed in."""
    back = render.local_path(request.query_params.get("next", "/"))
    if visitor.name:
        return render.go(back)
    first = await is_first(gateway, visitor)
    return render.page(visitor, FIRST if first else SIGN_IN, back=back, trouble="", name="")


@post("/sign-in", opt=OPEN, request_max_body_size=BODY_LIMIT)
async def sign_in(request: AnyRequest, visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Check name and password; ask for the second step where there is one."""
    back, name = render.local_path(_text(data, "next") or "/"), _text(data, "name")
    answer = await try_call(
        gateway,
        visitor,
        "session.begin",
        name=name,
        password=_text(data, "password"),
        origin=visitor.origin,
        agent=_agent(request),
    )
    if answer.trouble:
        return render.page(visitor, SIGN_IN, status_code=401, back=back, trouble=answer.trouble, name=name)
    if "ticket" not in answer.value:
        return await _enter(request, visitor, gateway, answer.value["session"], back)
    passkey = answer.value["passkey"]
    page = render.page(
        visitor,
        SECOND,
        back=back,
        trouble="",
        totp=answer.value["totp"],
        passkey=msgspec.json.encode(passkey).decode() if passkey else "",
    )
    page.set_cookie(_cookie(request, _step_name(request), answer.value["ticket"], SECOND_STEP_S))
    return page


@post("/sign-in/second", opt=OPEN, request_max_body_size=BODY_LIMIT)
async def take_second_step(request: AnyRequest, visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Check the second step."""
    back = render.local_path(_text(data, "next") or "/")
    answer = await try_call(
        gateway,
        visitor,
        "session.second",
        ticket=request.cookies.get(_step_name(request), ""),
        code=_text(data, "code"),
        assertion=_text(data, "assertion"),
        origin=visitor.origin,
        agent=_agent(request),
    )
    if answer.trouble:
        return render.page(
            visitor,
            SECOND,
            status_code=401,
            back=back,
            trouble=answer.trouble,
            totp=bool(_text(data, "totp")),
            passkey=_text(data, "passkey"),
        )
    response = await _enter(request, visitor, gateway, answer.value["session"], back)
    response.delete_cookie(_step_name(request))
    return response


@post("/sign-in/first", opt=OPEN, request_max_body_size=BODY_LIMIT)
async def make_first(request: AnyRequest, visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Make the first account."""
    name, trouble = _text(data, "name"), ""
    if _text(data, "password") != _text(data, "again"):
        trouble = "the two passwords differ"
    else:
        answer = await try_call(
            gateway,
            visitor,
            "session.first",
            code=_text(data, "code"),
            name=name,
            password=_text(data, "password"),
            agent=_agent(request),
        )
        trouble = answer.trouble
    if trouble:
        return render.page(visitor, FIRST, status_code=401, trouble=trouble, name=name)
    return await _enter(request, visitor, gateway, answer.value["session"], "/")


@post("/sign-out")
async def sign_out(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """End the session."""
    await gateway.call(visitor, "session.end")
    response = render.go("/sign-in", "good", "You have signed out.")
    response.delete_cookie(cookie_name(request.scope["scheme"]))
    return response


async def _enter(request: AnyRequest, visitor: Visitor, gateway: Gateway, secret: str, back: str) -> Response[Any]:
    """Give the browser its new session; one it had before ends."""
    if visitor.name:
        await try_call(gateway, visitor, "session.end")
    response = render.go(back)
    response.set_cookie(_cookie(request, cookie_name(request.scope["scheme"]), secret))
    return response


def _cookie(request: AnyRequest, name: str, value: str, max_age: int | None = None) -> Cookie:
    secure = request.scope["scheme"] == "https"
    return Cookie(name, value=value, path="/", httponly=True, samesite="strict", secure=secure, max_age=max_age)


def _step_name(request: AnyRequest) -> str:
    return cookie_name(request.scope["scheme"]) + "-step"


def _agent(request: AnyRequest) -> str:
    return request.headers.get("user-agent", "")[:200]


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name, "")
    return value if isinstance(value, str) else ""


ROUTES: Final = (show_sign_in, sign_in, take_second_step, make_first, sign_out)
