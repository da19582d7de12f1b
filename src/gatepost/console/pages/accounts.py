"""The accounts of others, for those with the right to manage them.

Listed in `console.pages`. There is always an administrator left: the master sees to that.
"""

import urllib.parse
from collections.abc import Mapping
from typing import Annotated, Any, Final

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body

from gatepost.console import render
from gatepost.console.asking import try_call
from gatepost.console.gateway import Gateway
from gatepost.console.pages.account import act
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right, Role

Form = Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)]
AREA: Final = "accounts"
HOME: Final = "/accounts"
GUARDS: Final = [needs(Right.ACCOUNTS)]
ROLES: Final = (
    (Role.ADMIN, "admin: everything"),
    (Role.OPERATOR, "operator: queue, quarantine, lists, service; sees the configuration"),
    (Role.QUARANTINE, "quarantine: stored mail and tracking"),
    (Role.READ_ONLY, "read-only: sees, changes nothing, opens no mail"),
    (Role.DOMAIN, "domain: quarantine, tracking and lists of some domains"),
)


@get("/accounts", guards=GUARDS)
async def show_accounts(visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Show all accounts."""
    return await _show_all(visitor, gateway)


async def _show_all(
    visitor: Visitor, gateway: Gateway, trouble: str = "", given: Mapping[str, str] | None = None
) -> Response[Any]:
    """`given` is what stands in the form when it was not taken."""
    accounts = await gateway.call(visitor, "accounts.list")
    return render.page(
        visitor,
        "accounts/index.html",
        area=AREA,
        status_code=422 if trouble else 200,
        accounts=accounts,
        roles=ROLES,
        trouble=trouble,
        given=given or {},
    )


@post("/accounts", guards=GUARDS)
async def add_account(visitor: Visitor, gateway: Gateway, data: Form) -> Response[Any]:
    """Add an account; its first password is shown this once."""
    answer = await try_call(
        gateway,
        visitor,
        "accounts.add",
        name=data.get("name", ""),
        role=data.get("role", ""),
        domains=data.get("domains", ""),
    )
    if answer.trouble:
        return await _show_all(visitor, gateway, answer.trouble, data)
    return _show_once(visitor, "First password", answer.value)


@get("/accounts/{name:str}", guards=GUARDS)
async def show_one(visitor: Visitor, gateway: Gateway, name: str) -> Response[Any]:
    """Show one account, and what may be done to it."""
    account = await gateway.call(visitor, "accounts.show", name=name)
    return render.page(visitor, "accounts/one.html", area=AREA, account=account, roles=ROLES, path=_path(name))


@post("/accounts/{name:str}/change", guards=GUARDS)
async def change(visitor: Visitor, gateway: Gateway, name: str, data: Form) -> Response[Any]:
    """Change role, domains, or whether it may sign in."""
    return await act(
        gateway,
        visitor,
        _path(name),
        "Changed.",
        "accounts.change",
        name=name,
        role=data.get("role", ""),
        domains=data.get("domains", ""),
        disabled=bool(data.get("disabled")),
    )


@post("/accounts/{name:str}/password", guards=GUARDS)
async def set_password(visitor: Visitor, gateway: Gateway, name: str, data: Form) -> Response[Any]:
    """Make up another password, which is shown this once."""
    if not data.get("confirmed"):
        return render.ask(
            visitor,
            f"Make a new password for {name}?",
            action=f"{_path(name)}/password",
            fields={},
            back=_path(name),
            area=AREA,
            detail="The old one counts no longer, and all sessions of the account end.",
        )
    answer = await try_call(gateway, visitor, "accounts.password", name=name)
    if answer.trouble:
        return render.go(_path(name), "bad", answer.trouble)
    return _show_once(visitor, "New password", answer.value)


@post("/accounts/{name:str}/forget-second", guards=GUARDS)
async def forget_second(visitor: Visitor, gateway: Gateway, name: str, data: Form) -> Response[Any]:
    """Take away the second steps of somebody who has lost their telephone."""
    if not data.get("confirmed"):
        return render.ask(
            visitor,
            f"Take away the second steps of {name}?",
            action=f"{_path(name)}/forget-second",
            fields={},
            back=_path(name),
            area=AREA,
            detail="The password alone opens the account then, until new ones are set up.",
            danger=True,
        )
    return await act(gateway, visitor, _path(name), "Taken away.", "accounts.forget_second", name=name)


@post("/accounts/{name:str}/end-sessions", guards=GUARDS)
async def end_sessions(visitor: Visitor, gateway: Gateway, name: str) -> Response[Any]:
    """Sign somebody out everywhere."""
    return await act(gateway, visitor, _path(name), "All sessions have ended.", "accounts.end_sessions", name=name)


@post("/accounts/{name:str}/remove-token", guards=GUARDS)
async def remove_token(visitor: Visitor, gateway: Gateway, name: str, data: Form) -> Response[Any]:
    """Remove a token of somebody."""
    what = {"name": name, "id": data.get("id", "")}
    return await act(gateway, visitor, _path(name), "The token is removed.", "accounts.remove_token", **what)


@post("/accounts/{name:str}/remove", guards=GUARDS)
async def remove(visitor: Visitor, gateway: Gateway, name: str, data: Form) -> Response[Any]:
    """Remove an account."""
    if not data.get("confirmed"):
        return render.ask(
            visitor,
            f"Remove the account {name}?",
            action=f"{_path(name)}/remove",
            fields={},
            back=_path(name),
            area=AREA,
            detail="Its sessions end and its tokens count no longer. What it did stays in the audit log.",
            danger=True,
        )
    answer = await try_call(gateway, visitor, "accounts.remove", name=name)
    if answer.trouble:
        return render.go(_path(name), "bad", answer.trouble)
    return render.go(HOME, "good", f"The account {name} is removed.")


def _path(name: str) -> str:
    return f"{HOME}/{urllib.parse.quote(name, safe='')}"


def _show_once(visitor: Visitor, what: str, made: dict[str, Any]) -> Response[Any]:
    return render.page(
        visitor,
        "account/once.html",
        area=AREA,
        what=what,
        about=f"{what} of {made['name']}",
        secret=made["password"],
        back=_path(made["name"]),
    )


ROUTES: Final = (
    show_accounts,
    add_account,
    show_one,
    change,
    set_password,
    forget_second,
    end_sessions,
    remove_token,
    remove,
)
