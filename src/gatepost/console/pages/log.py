"""The log page: the last lines, by letter, text or queue id, and followed as they come.

Listed in `console.pages`.
"""

import re
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from gatepost.console import render
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right

AREA: Final = "log"
LINES: Final = 200
"""Lines shown at first; more come as they are written."""
TEXT_LIMIT: Final = 200
LETTERS: Final = (
    ("", "Everything"),
    ("F", "Fatal"),
    ("E", "Errors"),
    ("W", "Warnings"),
    ("I", "Information"),
    ("A", "Mail"),
    ("D", "Debugging"),
)
_QUEUE_ID: Final = re.compile(r"\] ([0-9A-Z]{13}): ")
_LETTER: Final = re.compile(r"^\[[^\]]{0,80} ([FEWIAD])\]")


class Line(msgspec.Struct, frozen=True):
    """A line of the log, taken apart as far as the page links it."""

    letter: str
    before: str
    queue_id: str
    behind: str


@get("/log", guards=[needs(Right.LOG)])
async def show_log(
    visitor: Visitor,
    gateway: Gateway,
    letter: Annotated[str, QueryParameter(max_length=1)] = "",
    text: Annotated[str, QueryParameter(max_length=TEXT_LIMIT)] = "",
    queue_id: Annotated[str, QueryParameter(name="id", max_length=40)] = "",
    before: Annotated[str, QueryParameter(max_length=80)] = "",
) -> Response[str]:
    """Show the last lines, or those before a place; htmx asks for the last again while the page is looked at."""
    looked_for = {"letters": letter, "text": text, "queue_id": queue_id.strip().upper()}
    answer: dict[str, Any] = await gateway.call(visitor, "log.tail", **looked_for, before=before, limit=LINES)
    asked = {"letter": letter, "text": text, "id": queue_id}
    return render.page(
        visitor,
        "log/index.html",
        area=AREA,
        letter=letter,
        text=text,
        queue_id=queue_id,
        before=before,
        letters=LETTERS,
        lines=[parse_line(line) for line in answer["lines"]],
        newest=f"/log?{urlencode(asked)}" if before else "",
        older="" if answer["complete"] else f"/log?{urlencode(asked | {'before': answer['begin']})}",
    )


def parse_line(line: str) -> Line:
    """Take a line apart: its letter, and the queue id it is about, "" when none."""
    head = _LETTER.match(line)
    found = _QUEUE_ID.search(line, 0, 160)
    letter = head[1] if head else ""
    if found is None:
        return Line(letter, line, "", "")
    return Line(letter, line[: found.start(1)], found[1], line[found.end(1) :])


ROUTES: Final = (show_log,)
