"""What anti-spam has learned from people: how much, from whom, the latest lessons, and taking them back.

Listed in `console.pages`. Mail is taught where it is looked at (`console.pages.quarantine`).
"""

from typing import Any, Final

from litestar import Request, Response, get, post

from gatepost.console import chosen, render
from gatepost.console.asking import Question, try_all
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "quarantine"
HOME: Final = "/learning"
SHOWN: Final = 50
DAY_H: Final = 24

AnyRequest = Request[Any, Any, Any]


@get(HOME, guards=[needs(Right.LEARN)])
async def show_learning(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show how much was learned, and the latest lessons."""
    status, recent = await try_all(
        gateway, visitor, Question("learning.status"), Question("learning.recent", {"limit": SHOWN})
    )
    return render.page(
        visitor,
        "learning/index.html",
        area=AREA,
        status=status.value,
        recent=recent.value or [],
        trouble=status.trouble or recent.trouble,
    )


@post(HOME + "/undo", guards=[needs(Right.LEARN)], status_code=200)
async def undo(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Take back what somebody taught in the last day, having asked."""
    sent = await chosen.read_form(request)
    who = sent.one("who")
    if not sent.confirmed:
        return render.ask(
            visitor,
            f"Take back all that {render.foreign(who, 60)} taught in the last {DAY_H} hours?",
            action=f"{HOME}/undo",
            fields={"who": who},
            back=HOME,
            area=AREA,
            word="Take back",
            danger=True,
        )
    try:
        number = await gateway.call(visitor, "learning.undo", who=who, hours=DAY_H)
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    return render.go(HOME, "good", f"{number} lesson(s) taken back.")


ROUTES: Final = (show_learning, undo)
