"""The service page: what runs, and what may be switched, reloaded or stopped (row F-WEB-02).

Listed in `console.pages`. Each act asks first, and the page that follows says what came of it.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body

from gatepost.console import render
from gatepost.console.asking import Question, try_all
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs, sees_all
from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "service"
HOME: Final = "/service"

Form = Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)]


class Act(msgspec.Struct, frozen=True):
    """A button of the page."""

    name: str
    """Last part of its path."""
    call: str
    arguments: dict[str, Any]
    word: str
    question: str
    detail: str
    done: str
    danger: bool = False


class Module(msgspec.Struct, frozen=True):
    """Something that can be switched off."""

    name: str
    """As the call `switch` has it."""
    state: str
    """As `status` has it below `modules`."""
    label: str
    off: str
    """What happens while it is off."""


MODULES: Final = (
    Module("recv", "receiver", "Receiving", "The ports close; other servers keep their mail and come back later."),
    Module("scan", "scanner", "Inspection", "Mail is accepted and waits in the queue for inspection."),
    Module("virus", "antivirus", "Virus scan", "Nothing passes unscanned: mail is accepted and waits in the queue."),
    Module("spam", "antispam", "Spam check", "Mail passes without a check for spam; malware is still looked for."),
    Module("send", "sender", "Delivery", "Inspected mail waits in the queue for delivery."),
)

ACTS: Final = {
    act.name: act
    for act in (
        Act(
            "reload",
            "reload",
            {},
            "Reload configuration",
            "Take the configuration file anew?",
            "Sessions and mail under way are not disturbed. A file with errors changes nothing.",
            "The configuration is in force.",
        ),
        Act(
            "reload-databases",
            "reloadbases",
            {},
            "Reload databases",
            "Take the databases anew?",
            "Filters with the new databases start beside those at work. Sets that are not sound change nothing.",
            "The databases are in force.",
        ),
        Act(
            "digests",
            "digests.send",
            {},
            "Send digests now",
            "Tell all recipients now of what is kept for them as spam?",
            "Whoever has something new in quarantine gets a mail. The schedule goes on from here.",
            "Digests are sent.",
        ),
        Act(
            "stop",
            "stop",
            {},
            "Stop the gateway",
            "Stop the gateway, and this console with it?",
            "No mail is accepted or delivered until it is started again on its host: gatepost start. Mail in the queue "
            "is kept.",
            "The gateway stops. This console stops with it.",
            danger=True,
        ),
        *(
            Act(
                f"{module.name}-{'on' if on else 'off'}",
                "switch",
                {"module": module.name, "on": on},
                f"Switch {'on' if on else 'off'}",
                f"Switch {module.label.lower()} {'on' if on else 'off'}?",
                "" if on else f"{module.off} It stays off until it is switched on, or the gateway starts again.",
                f"{module.label} is {'on' if on else 'off'}.",
                danger=not on,
            )
            for module in MODULES
            for on in (True, False)
        ),
    )
}


@get(HOME, guards=[needs(Right.VIEW), sees_all])
async def show_service(visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Show what runs."""
    status, console, recorder, users = await try_all(
        gateway,
        visitor,
        Question("status"),
        Question("console.status"),
        Question("tracking.status"),
        Question("user_quarantine.status"),
    )
    return render.page(
        visitor,
        "service/index.html",
        area=AREA,
        status=status.value,
        trouble=status.trouble,
        console=console.value,
        recorder=recorder.value if recorder.value and recorder.value["enabled"] else None,
        users=users.value if users.value and users.value["enabled"] else None,
        modules=MODULES,
        acts=ACTS,
    )


@post(HOME + "/{name:str}", guards=[needs(Right.SERVICE)], status_code=200)
async def act(visitor: Visitor, gateway: Gateway, name: str, data: Form) -> Response[Any]:
    """Do what a button says, having asked."""
    chosen = ACTS.get(name)
    if chosen is None:
        raise NotFoundException
    if not data.get("confirmed"):
        return render.ask(
            visitor,
            chosen.question,
            action=f"{HOME}/{chosen.name}",
            fields={},
            back=HOME,
            area=AREA,
            detail=chosen.detail,
            word=chosen.word,
            danger=chosen.danger,
        )
    try:
        answer = await gateway.call(visitor, chosen.call, **chosen.arguments)
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    return render.go(HOME, "good", _tell(chosen, answer))


def _tell(act: Act, answer: Any) -> str:
    if act.call == "reloadbases" and isinstance(answer, str):
        return answer
    if act.call == "digests.send":
        return "Digests are under way; the log tells how many." if answer["under_way"] else f"{answer['sent']} sent."
    return act.done


ROUTES: Final = (show_service, act)
