"""The dashboard: is all well, what flows, what was stopped, what is in trouble, on a page that keeps itself up to date.

Listed in `console.pages`. It asks several calls at once and shows what it gets: a part that cannot be had says why.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

import msgspec
from litestar import Response, get
from litestar.response import Redirect

from gatepost.console import render
from gatepost.console.asking import Answer, Question, try_all
from gatepost.console.gateway import Gateway
from gatepost.console.pages.problems import STATES
from gatepost.console.pictures import NO_SERIES, SPANS, Span, build_pictures, zone_offset_s
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right

AREA: Final = "dashboard"
DAY_S: Final = 86400
STOPPED_SHOWN: Final = 8
"""Mails in the list of those lately stopped."""
OLD_DATABASES_DAYS: Final = 5
"""As specification §10 has it (trap ObsoleteBases)."""
LIVE_STEP_S: Final = 900
"""Up to this length of a point the one that is not over is left out; a longer one would be missed."""
NOTE_LIMIT: Final = 80
"""Characters of a tile's note."""
STOPPED: Final = ("refused", "blocked", "quarantined", "discarded")
"""Outcomes of these mails; each is a search of its own."""


class Tile(msgspec.Struct, frozen=True):
    """One figure with its state."""

    label: str
    value: str
    note: str = ""
    state: render.State = ""
    href: str = ""


@get("/")
async def begin(visitor: Visitor, gateway: Gateway, span: str = "hour") -> Response[Any]:
    """Show the dashboard, or lead whoever has another first page there."""
    home = render.home_of(visitor)
    if home != "/":
        return Redirect(home, status_code=303)
    chosen = SPANS.get(span, SPANS["hour"])
    now, series = await _ask_now(visitor, gateway), await _ask_series(visitor, gateway, chosen)
    return render.page(visitor, "dashboard/index.html", area=AREA, span=chosen, spans=SPANS.values(), **now, **series)


@get("/dashboard/{part:str}", guards=[needs(Right.VIEW)])
async def refresh(
    visitor: Visitor, gateway: Gateway, part: Literal["now", "pictures"], span: str = "hour"
) -> Response[Any]:
    """Give a part of the dashboard anew; a browser that comes here by itself gets the whole."""
    if not visitor.fragment:
        return Redirect("/", status_code=303)
    chosen = SPANS.get(span, SPANS["hour"])
    values = await (_ask_now(visitor, gateway) if part == "now" else _ask_series(visitor, gateway, chosen))
    return render.page(visitor, f"dashboard/{part}.html", span=chosen, spans=SPANS.values(), **values)


async def _ask_now(visitor: Visitor, gateway: Gateway) -> dict[str, Any]:
    until = time.time()
    span = {"since": until - DAY_S, "until": until}
    questions = [Question("status"), Question("problems"), Question("tracking.counts", {**span, "top": 0})]
    if visitor.may(Right.TRACK):
        questions += [Question("tracking.search", {**span, "status": name, "limit": STOPPED_SHOWN}) for name in STOPPED]
    status, problems, counts, *found = await try_all(gateway, visitor, *questions)
    return {
        "status": status,
        "problems": problems,
        "stopped": newest_of(found),
        "states": STATES,
        "tiles": plan_tiles(status, problems, counts),
    }


def newest_of(found: Sequence[Answer]) -> Answer:
    """Return the newest mails of several searches, or why there are none."""
    mails = {mail["id"]: mail for answer in found if answer.value for mail in answer.value["mails"]}
    newest = sorted(mails.values(), key=lambda mail: (-mail["at"], mail["id"]))[:STOPPED_SHOWN]
    troubles = [answer.trouble for answer in found if answer.trouble]
    return Answer(newest, troubles[0] if troubles else "")


async def _ask_series(visitor: Visitor, gateway: Gateway, span: Span) -> dict[str, Any]:
    until = time.time()
    if span.step_s <= LIVE_STEP_S:
        until -= until % span.step_s  # what has only begun would look like a fall
    (answer,) = await try_all(
        gateway,
        visitor,
        Question("tracking.series", {"since": until - span.length_s, "until": until, "step": span.step_s}),
    )
    return {"pictures": build_pictures(answer.value or NO_SERIES), "series": answer, "offset": zone_offset_s(until)}


# --- the tiles


def plan_tiles(status: Answer, problems: Answer, counts: Answer) -> tuple[Tile, ...]:
    """Return the figures at the top; those that cannot be told are shown as such."""
    return (_problem_tile(problems), *_count_tiles(counts), *_status_tiles(status))


def _problem_tile(problems: Answer) -> Tile:
    if problems.value is None:
        return Tile("Problems", render.NONE, problems.trouble, "warning")
    standing = problems.value["problems"]
    worst = problems.value["state"]
    note = standing[0]["text"] if standing else "everything watched is in order"
    value = {"ok": "All well", "warning": "Warning", "error": "Error"}[worst]
    return Tile("State", value, note[:NOTE_LIMIT], STATES[worst], "/problems")


def _count_tiles(counts: Answer) -> tuple[Tile, ...]:
    if counts.value is None:
        return (Tile("Mail of 24 h", render.NONE, counts.trouble, "warning"),)
    found: Mapping[str, int] = counts.value["counts"]
    stopped = sum(found.get(f"outcome/{name}", 0) for name in STOPPED if name != "refused")
    own = found.get("kind/own", 0)  # reports and notices: they are among what was delivered
    return (
        Tile(
            "Received, 24 h",
            render.number(found.get("kind/mail", 0)),
            f"and {render.number(own)} of the gateway's own" if own else "",
            href="/tracking",
        ),
        Tile("Delivered, 24 h", render.number(found.get("outcome/delivered", 0)), "to all their recipients", "good"),
        Tile("Stopped, 24 h", render.number(stopped), "blocked, quarantined or discarded"),
        Tile("Refused, 24 h", render.number(found.get("outcome/refused", 0)), "before acceptance"),
    )


def _status_tiles(status: Answer) -> tuple[Tile, ...]:
    if status.value is None:
        return (Tile("Gateway", "No answer", status.trouble, "bad"),)
    queue = status.value["queue"]
    waiting = queue["waiting"] + queue["ready"]
    off = [name for name, on in status.value["modules"].items() if not on]
    relays = status.value["relays"]
    well = sum(1 for relay in relays if relay["state"] == "running" and not relay.get("error"))
    engines = [engine for relay in relays for engine in relay.get("engines", ())]
    up = sum(1 for engine in engines if engine["state"] == "up")
    tiles = [
        Tile("In the queue", render.number(waiting), render.size(queue["bytes"]), href="/queue"),
        Tile(
            "Held", render.number(queue["held"]), "wait for an operator", "warning" if queue["held"] else "", "/queue"
        ),
        Tile(
            "Relays",
            f"{well} of {len(relays)}",
            f"switched off: {', '.join(off)}" if off else "all modules on",
            "bad" if well < len(relays) else "warning" if off else "good",
            "/service",
        ),
    ]
    if engines:
        tiles.append(
            Tile("Engines", f"{up} of {len(engines)} up", "", "good" if up == len(engines) else "bad", "/service")
        )
    return (*tiles, _database_tile(status.value))


def _database_tile(status: Mapping[str, Any]) -> Tile:
    newest = max((each["issued"] for each in status["databases"]), default="")
    if not newest:
        return Tile("Virus databases", "none", "", "bad", "/databases")
    days = max((datetime.now(UTC).date() - date.fromisoformat(newest)).days, 0)
    value = {0: "today's", 1: "1 day old"}.get(days, f"{days} days old")
    return Tile("Virus databases", value, newest, "warning" if days > OLD_DATABASES_DAYS else "good", "/databases")


ROUTES: Final = (begin, refresh)
