"""One's own account: password, one-time codes, passkeys, sessions, tokens.

Listed in `console.pages`.
"""

from typing import Annotated, Any, Final

import msgspec
import segno
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body

from gatepost.console import render
from gatepost.console.asking import Question, try_all, try_call
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right

Form = Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)]
HOME: Final = "/account"
GUARDS: Final = [needs(Right.SELF)]
RIGHTS: Final = {
    Right.VIEW: "see states, statistics, problems",
    Right.TRACK: "see what became of mail, without its content",
    Right.CONTENT: "read mail; each look is audited",
    Right.QUEUE: "act on waiting mail and destinations; release unchecked",
    Right.QUARANTINE: "release and delete stored mail",
    Right.LEARN: "teach what is spam",
    Right.LISTS: "change allow and block lists",
    Right.LOG: "see the log",
    Right.SERVICE: "stop, reload, switch modules",
    Right.CONFIGURATION: "see the configuration",
    Right.CONFIGURE: "change the configuration",
    Right.EMERGENCY: "let mail pass unscanned",
    Right.ACCOUNTS: "manage accounts and what they may",
    Right.AUDIT: "see the audit log",
}
"""What a token may be given, in words."""
TOKEN_DAYS: Final = ((30, "30 days"), (90, "90 days"), (365, "a year"), (0, "for ever"))


async def act(
    gateway: Gateway, visitor: Visitor, back: str, done: str, name: str, /, **arguments: Any
) -> Response[Any]:
    """Make a call that changes something, and lead back to the page that says what came of it."""
    answer = await try_call(gateway, visitor, name, **arguments)
    return render.go(back, "bad", answer.trouble) if answer.trouble else render.go(back, "good", done)


@get("/account", guards=GUARDS)
async def show_account(visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Show the account."""
    about, sessions, tokens = await try_all(
        gateway,
        visitor,
        Question("account.show", {"origin": visitor.origin}),
        Question("session.list"),
        Question("tokens.list"),
    )
    return render.page(
        visitor,
        "account/index.html",
        about=about.value,
        trouble=about.trouble,
        sessions=sessions.value or [],
        tokens=tokens.value or [],
        days=TOKEN_DAYS,
        rights=RIGHTS,
    )


@post("/account/password", guards=GUARDS)
async def change_password(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Set another password."""
    if data.get("new_password") != data.get("again"):
        return render.go(HOME, "bad", "The two passwords differ.")
    return await act(
        gateway,
        visitor,
        HOME,
        "Your password is changed; your other sessions have ended.",
        "account.password",
        password=data.get("password", ""),
        new_password=data.get("new_password", ""),
    )


# --- one-time codes


@get("/account/codes", guards=GUARDS)
async def show_codes(visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Show the picture a telephone reads."""
    answer = await try_call(gateway, visitor, "account.totp_begin", origin=visitor.origin)
    if answer.trouble:
        return render.go(HOME, "bad", answer.trouble)
    picture = segno.make(answer.value["uri"], error="m").svg_data_uri(scale=5, border=4, light="white")
    return render.page(visitor, "account/codes.html", picture=picture, secret=answer.value["secret"])


@post("/account/codes", guards=GUARDS)
async def confirm_codes(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Switch codes on, once one fits."""
    answer = await try_call(
        gateway, visitor, "account.totp_confirm", code=data.get("code", ""), password=data.get("password", "")
    )
    if answer.trouble:
        return render.go("/account/codes", "bad", answer.trouble)
    return render.go(HOME, "good", "From now on signing in needs a code from your telephone.")


@post("/account/codes/remove", guards=GUARDS)
async def remove_codes(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Switch codes off."""
    return await act(
        gateway, visitor, HOME, "One-time codes are off.", "account.totp_end", password=data.get("password", "")
    )


# --- passkeys


@post("/account/passkeys/begin", guards=GUARDS)
async def begin_passkey(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Ask the browser for a passkey."""
    answer = await try_call(
        gateway, visitor, "account.passkey_begin", password=data.get("password", ""), origin=visitor.origin
    )
    if answer.trouble:
        return render.go(HOME, "bad", answer.trouble)
    options = msgspec.json.encode(answer.value).decode()
    return render.page(visitor, "account/passkey.html", options=options, name=data.get("name", ""))


@post("/account/passkeys", guards=GUARDS)
async def add_passkey(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Keep the passkey the browser has made."""
    return await act(
        gateway,
        visitor,
        HOME,
        "The passkey is added.",
        "account.passkey_add",
        name=data.get("name", ""),
        attestation=data.get("attestation", ""),
        origin=visitor.origin,
    )


@post("/account/passkeys/remove", guards=GUARDS)
async def remove_passkey(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Forget a passkey."""
    return await act(
        gateway,
        visitor,
        HOME,
        "The passkey is removed.",
        "account.passkey_remove",
        id=data.get("id", ""),
        password=data.get("password", ""),
    )


# --- sessions and tokens


@post("/account/sessions/end", guards=GUARDS)
async def end_sessions(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """End one session, or all others."""
    what = {"others": True} if data.get("others") else {"id": data.get("id") or "-"}
    return await act(gateway, visitor, HOME, "Ended.", "session.end", **what)


@post("/account/tokens", guards=GUARDS)
async def add_token(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Make a token, and show its secret this once."""
    rights = data.get("rights", [])
    answer = await try_call(
        gateway,
        visitor,
        "tokens.add",
        name=data.get("name", ""),
        rights=rights if isinstance(rights, list) else [rights],
        days=data.get("days") or 0,
        password=data.get("password", ""),
    )
    if answer.trouble:
        return render.go(HOME, "bad", answer.trouble)
    return render.page(
        visitor, "account/once.html", what="Token", secret=answer.value["token"], about=data.get("name", ""), back=HOME
    )


@post("/account/tokens/remove", guards=GUARDS)
async def remove_token(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Remove a token."""
    return await act(gateway, visitor, HOME, "The token is removed.", "tokens.remove", id=data.get("id", ""))


ROUTES: Final = (
    show_account,
    change_password,
    show_codes,
    confirm_codes,
    remove_codes,
    begin_passkey,
    add_passkey,
    remove_passkey,
    end_sessions,
    add_token,
    remove_token,
)
