"""Signing in and out: password, second step, and the first account by a one-time code."""

from typing import Any, Final

from litestar import get
from litestar.connection import Request
from litestar.response import Response

from gatepost.console import render
from gatepost.console.visitor import OPEN, Visitor

AnyRequest = Request[Any, Any, Any]


@get("/sign-in", opt=OPEN)
async def form(request: AnyRequest, visitor: Visitor) -> Response[Any]:
    """Show the form, or lead on who has signed in."""
    back = render.local_path(request.query_params.get("next", "/"))
    if visitor.name:
        return render.go(back)
    return render.page(visitor, "sign_in/sign_in.html", back=back, trouble="", name="")


ROUTES: Final = (form,)
