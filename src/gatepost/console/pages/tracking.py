"""What became of mail: a search that takes whatever one has at hand, and the life of one mail with its why.

Listed in `console.pages`. From the page of a mail it can be acted on where it is now: in the queue or in a store.
"""

import time
from datetime import date
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.params import Parameter

from gatepost.console import chosen, render
from gatepost.console.asking import Question, try_all
from gatepost.console.gateway import Gateway
from gatepost.console.life import tell_life
from gatepost.console.pages import quarantine, queue
from gatepost.console.tables import download
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right
from gatepost.model.ids import parse_queue_id

AREA: Final = "mail"
HOME: Final = "/tracking"
ROWS: Final = 50
FILE_ROWS: Final = 10_000
"""Mails of one file; a search that finds more is to be narrowed."""
FILE_PAGE: Final = 500
OUTCOMES: Final = {
    "delivered": "good",
    "partly": "warning",
    "waiting": "info",
    "deferred": "warning",
    "held": "warning",
    "failed": "bad",
    "quarantined": "warning",
    "blocked": "bad",
    "discarded": "warning",
    "removed": "warning",
    "refused": "bad",
    "passed": "good",
    "told": "info",
    "unjudged": "warning",
}
"""What has become of a mail, and the state it is shown in."""
FIELDS: Final = (
    "q", "sender", "recipient", "address", "subject", "client", "message_id", "status", "finding", "threat",
    "hop", "group",
)  # fmt: skip
"""Of the form; they are its address, too. `q` is whatever somebody has at hand."""
COLUMNS: Final = (
    "id", "at", "outcome", "sender", "recipients", "subject", "size", "ip", "client", "helo", "tls", "user",
    "direction", "message_id", "groups", "statuses", "spam", "rate", "threats", "findings", "hops", "stored", "delay_s",
)  # fmt: skip
"""Of a search as a file."""

AnyRequest = Request[Any, Any, Any]
Text = Annotated[str, Parameter(max_length=chosen.TEXT_LIMIT)]


@get(HOME, guards=[needs(Right.TRACK)])
async def search(request: AnyRequest, visitor: Visitor, gateway: Gateway, cursor: Text = "") -> Response[Any]:
    """Show mails, the newest first; a queue id leads straight to its mail."""
    asked = _asked(request.query_params)
    (found,) = await try_all(
        gateway, visitor, Question("tracking.search", {**_query(asked), "cursor": cursor, "limit": ROWS})
    )
    return render.page(
        visitor,
        "tracking/index.html",
        area=AREA,
        asked=asked,
        filtered=any(asked.values()),
        narrowed=any(value for name, value in asked.items() if name != "q"),
        found=found.value,
        trouble=found.trouble,
        outcomes=OUTCOMES,
        link=lambda path=HOME, **changes: chosen.link(path, {**asked, **changes}),
    )


@get(HOME + "/file.csv", guards=[needs(Right.TRACK)])
async def search_as_csv(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[str]:
    """Return what a search finds as a table."""
    mails = await _all(gateway, visitor, _asked(request.query_params))
    rows = [[_cell(mail.get(name, "")) for name in COLUMNS] for mail in mails]
    return download(f"mail-{date.today().isoformat()}.csv", COLUMNS, rows)  # noqa: DTZ011 - the gateway's day


@get(HOME + "/file.json", guards=[needs(Right.TRACK)])
async def search_as_json(request: AnyRequest, visitor: Visitor, gateway: Gateway) -> Response[bytes]:
    """Return what a search finds for programs: one object a line."""
    mails = await _all(gateway, visitor, _asked(request.query_params))
    lines = b"".join(msgspec.json.encode(mail) + b"\n" for mail in mails)
    name = f"mail-{date.today().isoformat()}.jsonl"  # noqa: DTZ011 - the gateway's day
    return Response(
        lines,
        media_type="application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"},
    )


async def _all(gateway: Gateway, visitor: Visitor, asked: dict[str, str]) -> list[dict[str, Any]]:
    mails: list[dict[str, Any]] = []
    cursor = ""
    while len(mails) < FILE_ROWS:
        page = await gateway.call(visitor, "tracking.search", **_query(asked), cursor=cursor, limit=FILE_PAGE)
        mails += page["mails"]
        cursor = page["cursor"]
        if not cursor:
            break
    return mails[:FILE_ROWS]


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _asked(given: Any) -> dict[str, str]:
    names = (*FIELDS, "since", "until")
    return {name: str(given.get(name) or "")[: chosen.TEXT_LIMIT].strip() for name in names}


def _query(asked: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of a search as a form asks for it. ControlError."""
    query: dict[str, Any] = {name: asked[name] for name in FIELDS if name != "q" and asked[name]}
    if asked["q"]:
        query["text"] = asked["q"]
    if asked["since"]:
        query["since"] = chosen.day(asked["since"])
    if asked["until"]:
        query["until"] = chosen.day(asked["until"], end=True)
    return query


@get(HOME + "/{queue_id:str}", guards=[needs(Right.TRACK)])
async def show_mail(visitor: Visitor, gateway: Gateway, queue_id: str) -> Response[str]:
    """Show the life of one mail: what happened when, why, and where it is now."""
    asked = queue_id.strip().upper()[: chosen.TEXT_LIMIT]
    life, stored = await try_all(
        gateway,
        visitor,
        Question("tracking.mail", {"id": asked}),
        Question("stores.of", {"queue_id": asked}),
    )
    known = life.value["mail"] if life.value else None
    waiting: list[dict[str, Any]] = []
    if not visitor.domains:  # the queue is the whole gateway's
        ids = dict.fromkeys([known["id"] if known else asked, *(each["id"] for each in _related(life.value))])
        answers = await try_all(
            gateway, visitor, *(Question("show", {"id": each}) for each in map(_number, ids) if each)
        )
        waiting = [answer.value for answer in answers if answer.value]
    trouble = life.trouble if not (known or waiting or stored.value) else ""
    found = bool(known or waiting or stored.value)
    return render.page(
        visitor,
        "tracking/mail.html",
        area=AREA,
        status_code=200 if found else 404,
        queue_id=asked,
        mail=known,
        cut=bool(life.value and life.value["cut"]),
        life=tell_life(life.value["records"], known["id"] if known else asked) if life.value else None,
        related=_related(life.value),
        waiting=waiting,
        stored=stored.value or [],
        trouble=trouble,
        outcomes=OUTCOMES,
        states=queue.STATES,
        codes=quarantine.CODES,
        stores=dict(quarantine.STORES),
        queue_acts={name: queue.ACTS[name] for name in ("retry", "hold", "release", "rescan", "remove")}
        if visitor.may(Right.QUEUE)
        else {},
        store_acts=quarantine.acts_for(visitor, single=True),
        moment=time.time(),
    )


def _related(life: Any) -> list[dict[str, Any]]:
    related: list[dict[str, Any]] = life["related"][:20] if life else []
    return related


def _number(queue_id: str) -> int:
    try:
        return parse_queue_id(queue_id)
    except ValueError:
        return 0


ROUTES: Final = (search, search_as_csv, search_as_json, show_mail)
