"""Stored mail: quarantines, backups and archives listed, shown, released, deleted, reported, their senders listed.

Listed in `console.pages`. What a message looks like is `console.pages.preview`.
"""

import time
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import Parameter

from gatepost.console import chosen, render
from gatepost.console.gateway import Gateway
from gatepost.console.steps import show_step
from gatepost.console.visitor import Visitor, needs
from gatepost.control.link import SignedOut
from gatepost.control.rights import Right
from gatepost.control.socket import ControlError

AREA: Final = "quarantine"
HOME: Final = "/quarantine"
ROWS: Final = 50
STORES: Final = (
    ("spam-quarantine", "Spam"),
    ("quarantine", "Viruses"),
    ("backup", "Originals of changed mail"),
    ("incoming", "Archive of accepted mail"),
    ("outgoing", "Archive of sent mail"),
)
CODES: Final = {
    "SPM": ("bad", "spam"),
    "PSP": ("warning", "probable spam"),
    "FRM": ("info", "formal"),
    "BLK": ("bad", "blacklisted"),
    "INF": ("bad", "infected"),
    "SSP": ("bad", "suspicious"),
    "ERR": ("warning", "not scanned"),
    "PRT": ("warning", "protected"),
    "FLT": ("warning", "filtered"),
    "CRD": ("info", "disinfected"),
    "CLN": ("good", "clean"),
    "RCV": ("", "received"),
    "SNT": ("", "sent"),
}
"""Documented status codes: state and word."""
FIELDS: Final = ("store", "status", "state", "sender", "recipient", "text", "since", "until", "rate")
"""Of the form that filters a list; they are its address, too."""

AnyRequest = Request[Any, Any, Any]
Text = Annotated[str, Parameter(max_length=chosen.TEXT_LIMIT)]


class Act(msgspec.Struct, frozen=True):
    """Something that can be done about stored messages."""

    word: str
    call: str
    right: Right
    question: str
    """`{n}` is for how many."""
    detail: str = ""
    done: str = ""
    arguments: dict[str, Any] = {}
    danger: bool = False
    asks: bool = True
    single: bool = False
    """For one message only."""


ACTS: Final = {
    "release": Act(
        "Release", "stores.release", Right.QUARANTINE, "Release {n} message(s) to their recipients?",
        "They pass the checks again; what was kept as spam is delivered.", "released",
    ),
    "release-unchecked": Act(
        "Release without checks", "stores.release", Right.QUEUE, "Release {n} message(s) without checking them again?",
        "They go to their recipients exactly as they are, whatever they hold.", "released without checks",
        {"checked": False}, danger=True,
    ),
    "delete": Act(
        "Delete", "stores.delete", Right.QUARANTINE, "Delete {n} message(s) for good?",
        "They cannot be brought back.", "deleted", danger=True,
    ),
    "spam": Act(
        "It is spam", "stores.report", Right.LEARN, "Teach {n} message(s) as spam?",
        "Anti-spam learns from them.", "taught as spam", {"lesson": "spam"}, asks=False,
    ),
    "wanted": Act(
        "It is wanted", "stores.report", Right.LEARN, "Teach {n} message(s) as wanted?",
        "Anti-spam learns from them.", "taught as wanted", {"lesson": "wanted"}, asks=False,
    ),
    "forget": Act(
        "Forget", "stores.report", Right.LEARN, "Take back what {n} message(s) have taught?",
        "", "forgotten", {"lesson": "forget"}, asks=False,
    ),
    "allow": Act(
        "Allow its sender", "stores.allow", Right.LISTS, "Always take mail of this sender for wanted?",
        "The address goes on the allow list. It can be taken off there.", "is on the allow list", single=True,
    ),
    "block": Act(
        "Block its sender", "stores.block", Right.LISTS, "Always take mail of this sender for spam?",
        "The address goes on the block list. It can be taken off there.", "is on the block list", single=True,
    ),
    "allow-domain": Act(
        "Allow its domain", "stores.allow", Right.LISTS, "Always take mail of all in this sender's domain for wanted?",
        "The domain goes on the allow list. It can be taken off there.", "is on the allow list",
        {"whole_domain": True}, single=True,
    ),
    "block-domain": Act(
        "Block its domain", "stores.block", Right.LISTS, "Always take mail of all in this sender's domain for spam?",
        "The domain goes on the block list. It can be taken off there.", "is on the block list",
        {"whole_domain": True}, single=True,
    ),
}  # fmt: skip
BULK: Final = ("release", "delete")
"""Acts on everything a filter chooses."""


def acts_for(visitor: Visitor, *, single: bool) -> dict[str, Act]:
    """Return what a visitor may do, about one message or about several."""
    return {name: act for name, act in ACTS.items() if act.right in visitor.rights and (single or not act.single)}


@get(HOME, guards=[needs(Right.TRACK)])
async def list_items(request: AnyRequest, visitor: Visitor, gateway: Gateway, cursor: Text = "") -> Response[str]:
    """Show a part of a list."""
    asked = _asked(request.query_params)
    places = await gateway.call(visitor, "stores.places")
    found = await gateway.call(visitor, "stores.list", **_selection(asked), cursor=cursor, limit=ROWS, totals=True)
    return render.page(
        visitor,
        "quarantine/index.html",
        area=AREA,
        asked=asked,
        places={place["kind"]: place for place in places},
        stores=STORES,
        codes=CODES,
        found=found,
        acts=acts_for(visitor, single=False),
        bulk=BULK,
        link=lambda **changes: chosen.link(HOME, {**asked, **changes}),
    )


def _asked(given: Any) -> dict[str, str]:
    asked = {name: str(given.get(name) or "")[: chosen.TEXT_LIMIT].strip() for name in FIELDS}
    if asked["store"] not in dict(STORES):
        asked["store"] = STORES[0][0]
    return asked


def _selection(asked: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of a call on the items a form asks for. ControlError."""
    filters = {
        "codes": chosen.words(asked["status"].upper()),
        "states": chosen.words(asked["state"]),
        "senders": chosen.words(asked["sender"]),
        "recipients": chosen.words(asked["recipient"]),
        "text": asked["text"],
        "since": chosen.day(asked["since"]),
        "until": chosen.day(asked["until"], end=True),
        "rate": chosen.count(asked["rate"], 100),
    }
    return {"kinds": [asked["store"]], "filter": {name: value for name, value in filters.items() if value}}


@get(HOME + "/{item:str}", guards=[needs(Right.TRACK)])
async def show_item(visitor: Visitor, gateway: Gateway, item: str) -> Response[str]:
    """Show everything known of an item, but for what it holds."""
    told = await gateway.call(visitor, "stores.show", item=item)
    acts = acts_for(visitor, single=True)
    if not told["may_release"]:
        acts = {name: act for name, act in acts.items() if act.call != "stores.release"}
    return render.page(
        visitor, "quarantine/item.html", area=AREA, item=told, acts=acts, codes=CODES, stores=dict(STORES)
    )


@post(HOME + "/act", guards=[needs(Right.TRACK)], status_code=200)
async def act_on_chosen(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Do something about the rows that were chosen, or about one message."""
    sent = await chosen.read_form(request)
    back = render.local_path(sent.one("back", HOME))
    name = sent.one("act")
    act = ACTS.get(name)
    items = sent.every("id")
    if act is None:
        raise NotFoundException
    if not items or (act.single and len(items) > 1):
        return render.go(back, "warning", "Choose a message first." if not items else "Choose one message for that.")
    if act.asks and not sent.confirmed:
        return _ask(visitor, act, name, items, back, sure="")
    try:
        outcomes = await _carry_out(gateway, visitor, act, items, sure=bool(sent.one("sure")))
    except SignedOut:
        raise
    except ControlError as error:
        return render.go(back, "bad", str(error))
    harmful = [each for each, why in outcomes.items() if "confirm that it is to be released" in why]
    if harmful and not sent.one("sure"):
        return _ask(visitor, act, name, harmful, back, sure="1")
    refused = {each: why for each, why in outcomes.items() if why}
    done = len(outcomes) - len(refused)
    told = f"{done} message(s) {act.done}." if done else "Nothing done."
    if act.single and done:
        told = f"The sender {act.done}."
    if refused:
        told += f" {len(refused)} not: {next(iter(refused.values()))}"
    gone = act.call == "stores.delete" and done and back.startswith(f"{HOME}/")
    return render.go(HOME if gone else back, "good" if not refused else "warning", told)


def _ask(visitor: Visitor, act: Act, name: str, items: list[str], back: str, *, sure: str) -> Response[str]:
    question = act.question.replace("{n}", str(len(items)))
    detail = act.detail
    if sure:
        question = f"{len(items)} of them may do harm. Release them all the same?"
        detail = "Anti-virus found malware in them, or something that looks like it."
    return render.ask(
        visitor,
        question,
        action=f"{HOME}/act",
        fields={"act": name, "id": items, "back": back, "sure": sure},
        back=back,
        area=AREA,
        detail=detail,
        word="Release malware" if sure else act.word,
        danger=act.danger or bool(sure),
    )


async def _carry_out(gateway: Gateway, visitor: Visitor, act: Act, items: list[str], *, sure: bool) -> dict[str, str]:
    """Return for each item why nothing was done about it, "" when it was. ControlError."""
    if act.single:
        await gateway.call(visitor, act.call, item=items[0], **act.arguments)
        return {items[0]: ""}
    outcomes: dict[str, str] = {}
    for start in range(0, len(items), 20):
        part = items[start : start + 20]
        extra = {"sure": sure} if act.call == "stores.release" else {}
        answer = await gateway.call(visitor, act.call, items=part, **act.arguments, **extra)
        for each, outcome in answer.items():
            before = f"released before by {outcome.get('who', '')}" if outcome.get("before") else ""
            outcomes[each] = str(outcome.get("refused") or before)
    return outcomes


@post(HOME + "/all", guards=[needs(Right.QUARANTINE)], status_code=200)
async def act_on_all(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[Any]:
    """Do something about everything a filter chooses: counted and asked first, then step by step."""
    sent = await chosen.read_form(request)
    asked = _asked({name: sent.one(name) for name in FIELDS})
    verb = sent.one("verb")
    if verb not in BULK:
        raise NotFoundException
    act = ACTS[verb]
    back = chosen.link(HOME, asked)
    selection = _selection(asked)
    # What comes in meanwhile is not meant.
    moment = sent.one("moment") or f"{time.time():.3f}"
    before = selection["filter"].get("until", 0.0)
    selection["filter"]["until"] = min(before, float(moment)) if before else float(moment)
    if not sent.confirmed:
        counted = await gateway.call(visitor, "stores.act", verb=verb, dry_run=True, **selection)
        if not counted["found"]:
            return render.go(back, "warning", "No message matches.")
        return render.ask(
            visitor,
            act.question.replace("{n}", render.number(counted["found"])),
            action=f"{HOME}/all",
            fields={**asked, "verb": verb, "moment": moment, "total": str(counted["found"])},
            back=back,
            area=AREA,
            detail=act.detail,
            word=act.word,
            danger=act.danger,
        )
    step = await gateway.call(visitor, "stores.act", verb=verb, cursor=sent.one("cursor"), **selection)
    fields = {**asked, "verb": verb, "moment": moment, "cursor": step["cursor"]}
    return show_step(visitor, act, sent, step, area=AREA, action=f"{HOME}/all", fields=fields, back=back)


ROUTES: Final = (list_items, show_item, act_on_chosen, act_on_all)
