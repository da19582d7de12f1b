"""The pages of recipients. A link opens a page and does nothing by itself: only the form of that page acts.

Listed in `console.user_quarantine.app`. GET and HEAD change nothing, so whatever follows links in mails (scanners,
previews) releases nothing. Who it is and what they may do is decided by the master at every call; a page only carries
it.
"""

import hmac
from typing import Annotated, Any, Final

from litestar import Response, post, route
from litestar.connection import Request
from litestar.datastructures import Cookie
from litestar.enums import MediaType, RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect

from gatepost.console import render
from gatepost.console.pages.preview import View, frame
from gatepost.console.security import READ
from gatepost.console.user_quarantine.words import Words, choose_language
from gatepost.control.link import RefusedCall, SignedOut

POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_FIELDS: Final = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
_ACTS: Final = ("release", "allow", "block", "spam", "wanted")
_LINK_LIMIT: Final = 1200

AnyRequest = Request[Any, Any, Any]
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]


def words_of(request: AnyRequest) -> Words:
    """Return the words in the language the browser asks for."""
    return Words(choose_language(request.headers.get("accept-language", "")))


def page(request: AnyRequest, template: str, *, status_code: int = 200, **values: Any) -> Response[str]:
    """Fill a template below `templates/user_quarantine/`."""
    words = words_of(request)
    made = render.environment().get_template(f"user_quarantine/{template}")
    text = made.render(t=words, language=words.language, **values)
    return Response(text, status_code=status_code, media_type=MediaType.HTML, headers=_FIELDS)


async def _call(request: AnyRequest, name: str, credential: str = "", /, **arguments: Any) -> Any:
    client = request.client.host if request.client else ""
    return await request.app.state.link.call(name, arguments, credential=credential, address=client, via="user")


# --- links


@route("/l/{token:str}", http_method=READ)
async def show_link(request: AnyRequest, token: str) -> Response[str]:
    """Show what a link would do, and ask."""
    shown = await _call(request, "link.show", token[:_LINK_LIMIT])
    status = 200 if shown["state"] == "good" else 410
    return page(request, "link.html", status_code=status, shown=shown, token=token)


@post("/l/{token:str}", status_code=200)
async def use_link(request: AnyRequest, token: str, data: Form) -> Response[Any]:
    """Do what a link is for: the page's form has been sent."""
    done = await _call(request, "link.use", token[:_LINK_LIMIT], form=data.get("form", ""))
    if done["verb"] == "open":
        response = _redirect("/")
        response.set_cookie(
            Cookie(
                _cookie_name(request),
                value=str(done["session"]),
                httponly=True,
                secure=request.url.scheme == "https",
                samesite="strict",
                path="/",
            )
        )
        return response
    return page(request, "told.html", state="good", text=_DONE[str(done["verb"])])


@post("/l/{token:str}/fresh", status_code=200)
async def renew_link(request: AnyRequest, token: str) -> Response[str]:
    """Have a fresh link sent in place of one that has ended."""
    await _call(request, "link.renew", token[:_LINK_LIMIT])
    return page(request, "told.html", state="info", text=_ASKED)


@post("/ask", status_code=200)
async def ask_for_link(request: AnyRequest, data: Form) -> Response[str]:
    """Have a link sent to an address; the page is the same whether there is such an address or not."""
    await _call(request, "link.ask", address=data.get("address", "")[:320])
    return page(request, "told.html", state="info", text=_ASKED)


# --- the own quarantine


@route("/", http_method=READ)
async def show_list(request: AnyRequest, cursor: str = "") -> Response[str]:
    """Show all that is kept for the recipient; who has no session may ask for a link."""
    credential = _cookie(request)
    if not credential:
        return page(request, "ask.html", trouble="")
    who = await _call(request, "own.show", credential)
    found = await _call(request, "own.list", credential, cursor=cursor[:2000])
    told = request.query_params.get("done", "")
    return page(request, "list.html", who=who, found=found, told=_DONE.get(told, ""), cursor=cursor)


@route("/m/{item:str}", http_method=READ)
async def show_item(request: AnyRequest, item: str, view: View = "html") -> Response[str]:
    """Show one message, and what can be done about it."""
    credential = _credential(request)
    who = await _call(request, "own.show", credential)
    shown = await _call(request, "own.item", credential, item=item[:100])
    return page(request, "message.html", who=who, item=shown, view=view)


@route("/m/{item:str}/frame", http_method=READ)
async def frame_item(request: AnyRequest, item: str, view: View = "html") -> Response[str]:
    """Show what a message holds, in a frame that allows nothing."""
    return frame(await _call(request, "own.preview", _credential(request), item=item[:100]), view)


@post("/act", status_code=200)
async def act(request: AnyRequest, data: Form) -> Response[Any]:
    """Act on a message: `act`, `item`, and the session's secret `csrf`."""
    credential = _credential(request)
    who = await _call(request, "own.show", credential)
    if not hmac.compare_digest(data.get("csrf", "").encode(), str(who["csrf"]).encode()):
        raise RefusedCall("The form is no longer valid. Load the page anew and try again.")
    name = data.get("act", "")
    if name == "end":
        await _call(request, "own.end", credential)
        response = page(request, "told.html", state="info", text="The page is closed.")
        response.delete_cookie(_cookie_name(request), path="/")
        return response
    if name not in _ACTS:
        raise RefusedCall("This cannot be understood.")
    item = data.get("item", "")[:100]
    if name in ("spam", "wanted"):
        await _call(request, "own.report", credential, item=item, lesson=name)
    else:
        await _call(request, f"own.{name}", credential, item=item)
    return _redirect(f"/?done={name}")


_ASKED: Final = "If mail is kept for this address, a link is on its way to it. It can take a few minutes."
_DONE: Final[dict[str, str]] = {
    "release": "The message is checked for malware once more and then delivered to you.",
    "allow": "Mail from this sender comes through to you from now on, where it can be proved to be theirs.",
    "block": "Mail from this sender is kept away from you from now on.",
    "spam": "The message was reported as spam.",
    "wanted": "The message was reported as wanted.",
}


def _cookie_name(request: AnyRequest) -> str:
    return "__Host-quarantine" if request.url.scheme == "https" else "quarantine"


def _cookie(request: AnyRequest) -> str:
    return request.cookies.get(_cookie_name(request), "")[:200]


def _credential(request: AnyRequest) -> str:
    """Return the session's secret. SignedOut: there is none."""
    credential = _cookie(request)
    if not credential:
        raise SignedOut("")
    return credential


def _redirect(to: str) -> Redirect:
    return Redirect(to, status_code=303, headers=_FIELDS)


ROUTES: Final = (
    show_link, use_link, renew_link, ask_for_link, show_list, show_item, frame_item, act,
)  # fmt: skip
