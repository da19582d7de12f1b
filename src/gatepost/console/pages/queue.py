"""The queue: what waits, where and why; destinations in trouble; acts on single messages and on all a filter chooses.

Listed in `console.pages`. What a message looks like is `console.pages.preview`.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import Parameter

from gatepost.console import chosen, render
from gatepost.console.asking import Answer, Question, try_all
from gatepost.console.gateway import Gateway
from gatepost.console.steps import show_step
from gatepost.console.visitor import Visitor, needs
from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError
from gatepost.model.ids import parse_queue_id

AREA: Final = "queue"
HOME: Final = "/queue"
ROWS: Final = 100
COUNT_STEPS: Final = 20
"""Steps of counting before it is "at least": each looks for half a second at most."""
STATES: Final = {
    "WFC": ("info", "waits for inspection"),
    "CHK": ("info", "in inspection"),
    "QUE": ("", "waits for delivery"),
    "SND": ("good", "being delivered"),
    "HLD": ("warning", "held"),
    "corrupt": ("bad", "damaged"),
}
FIELDS: Final = ("state", "sender", "recipient", "domain", "next_hop", "user", "reason", "older", "younger")
"""Of the form that filters the list; they are its address, too."""

AnyRequest = Request[Any, Any, Any]
Number = Annotated[int, Parameter(ge=0, le=2**63 - 1)]


class Act(msgspec.Struct, frozen=True):
    """Something that can be done about queued messages."""

    word: str
    question: str
    """`{n}` is for how many."""
    detail: str
    done: str
    danger: bool = False
    text: str = ""
    """Label of the text that goes with it."""
    asks: bool = False
    """Also about a few."""


ACTS: Final = {
    "retry": Act("Try now", "Try {n} message(s) now?", "Their destinations need not rest any longer.", "due now"),
    "hold": Act(
        "Hold", "Hold {n} message(s)?", "They wait until somebody releases them.", "held", text="Reason of a hold"
    ),
    "release": Act("Release", "Release {n} message(s)?", "They go on where they were held.", "released"),
    "rescan": Act("Inspect again", "Inspect {n} message(s) anew?", "What was decided is forgotten.", "inspected anew"),
    "scan-first": Act("Inspect first", "Inspect {n} message(s) before all others?", "", "to be inspected first"),
    "send-first": Act("Send first", "Send {n} message(s) before all others?", "", "to be sent first"),
    "reroute": Act(
        "Reroute", "Give {n} message(s) another next hop?", "[host:port], a domain, or nothing for the routing table.",
        "rerouted", text="Next hop",
    ),
    "bounce": Act(
        "Give up", "Give {n} message(s) up?", "Their senders get a failure report. This cannot be taken back.",
        "given up", danger=True, text="Reason told to the sender", asks=True,
    ),
    "remove": Act(
        "Remove", "Remove {n} message(s)?", "Nobody gets them, and nobody is told. This cannot be taken back.",
        "removed", danger=True, asks=True,
    ),
}  # fmt: skip


@get(HOME, guards=[needs(Right.TRACK)])
async def list_queue(request: AnyRequest, visitor: Visitor, gateway: Gateway, after: Number = 0) -> Response[str]:
    """Show totals, destinations in trouble, and a part of the list."""
    asked = _asked(request.query_params)
    questions = [Question("queue", {"filter": _filter(asked), "after": after, "limit": ROWS})]
    if not visitor.domains:  # who sees only some is not told how much waits for others
        questions.append(Question("summary"))
    page, *totals = await try_all(gateway, visitor, *questions)
    summary = totals[0] if totals else Answer()
    return render.page(
        visitor,
        "queue/index.html",
        area=AREA,
        asked=asked,
        filtered=any(asked.values()),
        summary=summary.value,
        page=page.value,
        troubles=list(dict.fromkeys(each.trouble for each in (summary, page) if each.trouble)),
        states=STATES,
        acts=_acts_of(visitor),
        link=lambda **changes: chosen.link(HOME, {**asked, **changes}),
    )


def _acts_of(visitor: Visitor) -> dict[str, Act]:
    """Return what the visitor may do; a message may be others', too, so who sees only some domains only looks."""
    return ACTS if visitor.may(Right.QUEUE) and not visitor.domains else {}


def _asked(given: Any) -> dict[str, str]:
    return {name: str(given.get(name) or "")[: chosen.TEXT_LIMIT].strip() for name in FIELDS}


def _filter(asked: dict[str, str]) -> dict[str, Any]:
    """Return the filter a form asks for (`relay.queue_filter.QueueFilter`). ControlError."""
    filters = {
        "states": chosen.words(asked["state"].upper()),
        "senders": chosen.words(asked["sender"]),
        "recipients": chosen.words(asked["recipient"]),
        "domains": chosen.words(asked["domain"].lower()),
        "next_hops": chosen.words(asked["next_hop"]),
        "users": chosen.words(asked["user"]),
        "reasons": [asked["reason"]] if asked["reason"] else [],
        "older_than_s": chosen.age(asked["older"]),
        "younger_than_s": chosen.age(asked["younger"]),
    }
    return {name: value for name, value in filters.items() if value}


@get(HOME + "/{queue_id:str}", guards=[needs(Right.TRACK)])
async def show_message(visitor: Visitor, gateway: Gateway, queue_id: str) -> Response[str]:
    """Show everything known of one waiting message, but for what it holds."""
    told = await gateway.call(visitor, "show", id=_number(queue_id))
    if told is None:
        return render.page(visitor, "queue/gone.html", area=AREA, status_code=404, queue_id=queue_id)
    return render.page(
        visitor,
        "queue/message.html",
        area=AREA,
        message=told,
        states=STATES,
        acts=_acts_of(visitor),
    )


@post(HOME + "/act", guards=[needs(Right.QUEUE)], status_code=200)
async def act_on_chosen(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Do something about the messages that were chosen."""
    sent = await chosen.read_form(request)
    back = render.local_path(sent.one("back", HOME))
    verb = sent.one("act")
    act = ACTS.get(verb)
    ids = sent.every("id")
    if act is None:
        raise NotFoundException
    if not ids:
        return render.go(back, "warning", "Choose a message first.")
    if act.asks and not sent.confirmed:
        return render.ask(
            visitor,
            act.question.replace("{n}", str(len(ids))),
            action=f"{HOME}/act",
            fields={"act": verb, "id": ids, "back": back, "text": sent.one("text")},
            back=back,
            area=AREA,
            detail=act.detail,
            word=act.word,
            danger=act.danger,
        )
    try:
        numbers = [_number(each) for each in ids]
        answer = await gateway.call(visitor, "act", verb=verb, ids=numbers, text=_text(act, sent))
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(back, "bad", str(error))
    told = f"{answer['done']} message(s) {act.done}." if answer["done"] else "Nothing done."
    if answer["refused"]:
        told += f" {answer['refused']} not: {next(iter(answer['why'].values()), '')}"
    gone = verb in {"remove", "bounce"} and answer["done"] and back.startswith(f"{HOME}/")
    return render.go(HOME if gone else back, "warning" if answer["refused"] else "good", told)


def _text(act: Act, sent: chosen.Sent) -> str:
    return sent.one("text") if act.text else ""


@post(HOME + "/all", guards=[needs(Right.QUEUE)], status_code=200)
async def act_on_all(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Do something about everything the filter chooses: counted and asked first, then step by step, oldest first."""
    sent = await chosen.read_form(request)
    asked = _asked({name: sent.one(name) for name in FIELDS})
    verb = sent.one("verb")
    act = ACTS.get(verb)
    if act is None:
        raise NotFoundException
    back = chosen.link(HOME, asked)
    filters = _filter(asked)
    if not sent.confirmed:
        found, ended = await _count(gateway, visitor, verb, filters)
        if not found:
            return render.go(back, "warning", "No message matches.")
        number = render.number(found) if ended else f"at least {render.number(found)}"
        return render.ask(
            visitor,
            act.question.replace("{n}", number),
            action=f"{HOME}/all",
            fields={**asked, "verb": verb, "text": sent.one("text"), "total": str(found)},
            back=back,
            area=AREA,
            detail=act.detail,
            facts=[(act.text, sent.one("text"))] if act.text and sent.one("text") else (),
            word=act.word,
            danger=act.danger,
        )
    after = chosen.count(sent.one("after"), 2**62)
    step = await gateway.call(visitor, "act", verb=verb, filter=filters, after=after, text=_text(act, sent))
    fields = {**asked, "verb": verb, "text": sent.one("text"), "after": str(step["upto"])}
    return show_step(visitor, act, sent, step, area=AREA, action=f"{HOME}/all", fields=fields, back=back)


async def _count(gateway: Gateway, visitor: Visitor, verb: str, filters: dict[str, Any]) -> tuple[int, bool]:
    """Return how many messages a filter chooses, and whether all of the queue was looked at."""
    found, after = 0, 0
    for _ in range(COUNT_STEPS):
        step = await gateway.call(visitor, "act", verb=verb, filter=filters, after=after, dry_run=True)
        found += step["found"]
        after = step["upto"]
        if step["ended"]:
            return found, True
    return found, False


@post(HOME + "/destination", guards=[needs(Right.QUEUE)], status_code=200)
async def steer_destination(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Pause or resume a destination, or try all of its mail now."""
    sent = await chosen.read_form(request)
    domain, act = sent.one("domain"), sent.one("act")
    try:
        if act in {"pause", "resume"}:
            await gateway.call(visitor, "pause", domain=domain, paused=act == "pause")
            told = f"Mail to {domain} {'waits until it is resumed' if act == 'pause' else 'is sent again'}."
        elif act == "retry":
            filters = {"states": ["QUE"], "domains": [domain]}
            answer = await gateway.call(visitor, "act", verb="retry", filter=filters, after=0)
            told = f"{answer['done']} message(s) to {domain} are due now."
        else:
            raise NotFoundException
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(HOME, "bad", str(error))
    return render.go(HOME, "good", told)


def _number(queue_id: str) -> int:
    try:
        return parse_queue_id(queue_id)
    except ValueError as error:
        raise ControlError(str(error)) from error


ROUTES: Final = (list_queue, show_message, act_on_chosen, act_on_all, steer_destination)
