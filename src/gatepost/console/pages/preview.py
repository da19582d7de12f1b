"""What kept mail holds, shown so that it can neither load nor run anything: preview, source and the original.

Listed in `console.pages`. Everything out of the mail stands in a frame of its own: a sandbox without rights, by the
frame's attribute and by the answer's own policy, which allows nothing but styles in the text and pictures that the text
itself holds. What a filter has made harmless is made harmless once more here: a filter is not believed.
"""

import base64
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

from litestar import Response, get
from litestar.enums import MediaType
from litestar.response import Stream

from gatepost.console import render
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor, needs
from gatepost.control.rights import Right
from gatepost.mime.sanitise import sanitise_again

POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
FRAME_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
VIEWS: Final = (("html", "As shown"), ("text", "Text"), ("source", "Source"))
SHORT_FIELDS: Final = ("from", "reply-to", "to", "cc", "date", "subject")
"""Header fields shown at once; the others fold out."""

View = Literal["html", "text", "source"]


@get("/quarantine/{item:str}/preview", guards=[needs(Right.CONTENT)], sync_to_thread=False)
def show_stored(visitor: Visitor, item: str, view: View = "html") -> Response[str]:
    """Show the page around the frame."""
    return _page(visitor, "quarantine", item, f"/quarantine/{item}", view)


@get("/quarantine/{item:str}/frame", guards=[needs(Right.CONTENT)])
async def frame_stored(visitor: Visitor, gateway: Gateway, item: str, view: View = "html") -> Response[str]:
    """Show a stored message in its frame."""
    return frame(await gateway.call(visitor, "stores.preview", item=item), view)


@get("/quarantine/{item:str}/original", guards=[needs(Right.CONTENT)])
async def download_stored(visitor: Visitor, gateway: Gateway, item: str) -> Stream:
    """Hand a stored message out as it came."""
    return await _download(gateway, visitor, "stores.export", item=item)


@get("/queue/{queue_id:str}/preview", guards=[needs(Right.CONTENT)], sync_to_thread=False)
def show_queued(visitor: Visitor, queue_id: str, view: View = "html") -> Response[str]:
    """Show the page around the frame."""
    return _page(visitor, "queue", queue_id, f"/queue/{queue_id}", view)


@get("/queue/{queue_id:str}/frame", guards=[needs(Right.CONTENT)])
async def frame_queued(visitor: Visitor, gateway: Gateway, queue_id: str, view: View = "html") -> Response[str]:
    """Show a queued message in its frame."""
    return frame(await gateway.call(visitor, "queue.preview", id=queue_id), view)


@get("/queue/{queue_id:str}/original", guards=[needs(Right.CONTENT)])
async def download_queued(visitor: Visitor, gateway: Gateway, queue_id: str) -> Stream:
    """Hand a queued message out as it came."""
    return await _download(gateway, visitor, "queue.content", id=queue_id)


def _page(visitor: Visitor, area: str, name: str, path: str, view: View) -> Response[str]:
    return render.page(
        visitor,
        "preview/index.html",
        area=area,
        name=name,
        path=path,
        view=view,
        views=[(f"{path}/preview?view={each}", label, each == view) for each, label in VIEWS],
    )


def frame(shown: dict[str, Any], view: View) -> Response[str]:
    """Return what a message holds (the answer of a call of previews), for a frame that allows nothing."""
    fields = [(str(name), str(value)) for name, value in shown["fields"]]
    template = render.environment().get_template("preview/frame.html")
    text = template.render(
        view="text" if view == "html" and not shown["html"] else view,
        html=sanitise_again(str(shown["html"])),
        shown=shown,
        first=[field for field in fields if field[0].lower() in SHORT_FIELDS],
        rest=[field for field in fields if field[0].lower() not in SHORT_FIELDS],
        statuses={each["name"]: each for each in reversed(shown["objects"])},
    )
    return Response(text, media_type=MediaType.HTML, headers=FRAME_HEADERS)


async def _download(gateway: Gateway, visitor: Visitor, call: str, **arguments: Any) -> Stream:
    """Return the message as a file to be kept, never shown by the browser."""
    first = await gateway.call(visitor, call, **arguments)

    async def pieces() -> AsyncIterator[bytes]:
        answer = first
        while True:
            yield base64.b64decode(answer["data"])
            if answer["next"] is None:
                return
            answer = await gateway.call(visitor, call, **arguments, offset=answer["next"])

    name = "".join(character for character in str(first["name"]) if character.isalnum() or character in "-.")
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "no-store",
    }
    return Stream(pieces(), media_type="application/octet-stream", headers=headers)


ROUTES: Final = (show_stored, frame_stored, download_stored, show_queued, frame_queued, download_queued)
