"""A kept message made fit to be looked at: `preview` gives its header, text, harmless HTML, parts and source.

Loaded by `filter.template` where a console may ask for it, and run behind the filter's walls. Promises: never raises
for what a message holds, and every answer is within the limits below.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from gatepost.antivirus.engine import Overrun
from gatepost.antivirus.kinds import detect_kind
from gatepost.filter.preview_pictures import redraw
from gatepost.mime.decode import decode_body
from gatepost.mime.part import Field, Message, Part, PartKind
from gatepost.mime.sanitise import sanitise
from gatepost.mime.words import decode_header, decode_text
from gatepost.model.preview import Preview, PreviewPart

FIELDS_LIMIT: Final = 200
"""Header fields shown: mail that came through many hands has a hundred."""
NAME_LIMIT: Final = 200
"""Characters of a file name, of a field's name."""
VALUE_LIMIT: Final = 2_000
"""Characters of a header field."""
PARTS_LIMIT: Final = 300
HTML_LIMIT: Final = 1024 * 1024
"""Characters of HTML that are made harmless: a newsletter has a hundred thousand."""
TEXT_LIMIT: Final = 256 * 1024
SOURCE_LIMIT: Final = 256 * 1024
"""Bytes shown of the source."""
PICTURES_LIMIT: Final = 20
PICTURE_BYTES: Final = 8 * 1024 * 1024
"""Largest picture, decoded from its transfer encoding, that is looked at."""
PICTURES_SIZE: Final = 3 * 1024 * 1024
"""Characters of all pictures together."""
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_META_CHARSET: Final = re.compile(rb"<meta[^>]{0,200}charset\s*+=\s*+[\"']?([A-Za-z0-9_:.+-]{1,40})", re.IGNORECASE)
_META_SEEN: Final = 2_048
_RULE: Final = "<hr>"


def preview(message: Message) -> Preview:
    """Return what is shown of a message."""
    trouble = ""
    reading = _Reading(message)
    try:
        reading.read()
    except (Overrun, MemoryError) as error:
        trouble = f"not all of it could be read: {type(error).__name__}"
    content = message.content
    return Preview(
        fields=tuple(_fields(message)),
        html=_RULE.join(reading.html),
        text="\n\n".join(reading.text)[:TEXT_LIMIT],
        source=content[:SOURCE_LIMIT].decode("utf-8", "replace").replace("\0", "\ufffd"),
        parts=tuple(reading.parts),
        links=tuple(reading.links),
        remote=reading.remote,
        cut=reading.cut or len(content) > SOURCE_LIMIT or message.truncated,
        trouble=trouble,
    )


def _fields(message: Message) -> Iterator[tuple[str, str]]:
    content = message.content
    for field in message.root.fields[:FIELDS_LIMIT]:
        name = content[field.start : field.value].partition(b":")[0].decode("ascii", "replace").strip()
        yield name[:NAME_LIMIT], _value(content, field)


def _value(content: bytes, field: Field) -> str:
    return decode_header(content[field.value : field.value_end].lstrip(b" \t")[: 8 * VALUE_LIMIT])[:VALUE_LIMIT]


class _Reading:
    """One message being read."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.html: list[str] = []
        self.text: list[str] = []
        self.parts: list[PreviewPart] = []
        self.links: dict[str, None] = {}
        self.remote = 0
        self.cut = False
        self.html_room = HTML_LIMIT
        self.picture_room = PICTURES_SIZE
        self.pictures: dict[str, str | None] = {}
        """By Content-ID, those asked for so far."""

    def read(self) -> None:
        leaves = [(home, part) for home, part in self.message.leaves() if part.kind is PartKind.PART]
        self.cut = len(leaves) > PARTS_LIMIT
        leaves = leaves[:PARTS_LIMIT]
        for home, part in leaves:
            data = decode_body(home.content, part).data
            shown = part.disposition != "attachment" and part.content_type.startswith("text/") and not part.name
            if part.content_type in _HTML and part.disposition != "attachment":
                self._read_html(data, part, leaves)
                shown = True
            elif shown:
                self._read_text(data, part)
            found = detect_kind(data, part.name, part.content_type)
            nested = home is not self.message or _inside_message(part)
            self.parts.append(
                PreviewPart(
                    part.name[:NAME_LIMIT],
                    part.content_type[:NAME_LIMIT],
                    len(data),
                    found.value if found is not None else "",
                    shown,
                    nested,
                )
            )

    def _read_html(self, data: bytes, part: Part, leaves: Sequence[tuple[Message, Part]]) -> None:
        text = decode_text(data, part.charset or _meta_charset(data))
        self.cut |= len(text) > self.html_room
        text = text[: self.html_room]
        self.html_room -= len(text)
        clean = sanitise(text, lambda content_id: self._picture(content_id, leaves))
        self.html.append(clean.html)
        self.links.update(dict.fromkeys(clean.links))
        self.remote += clean.remote

    def _read_text(self, data: bytes, part: Part) -> None:
        text = decode_text(data[: 4 * TEXT_LIMIT], part.charset).replace("\r\n", "\n").replace("\0", "\ufffd")
        self.cut |= len(text) > TEXT_LIMIT
        self.text.append(text[:TEXT_LIMIT])

    def _picture(self, content_id: str, leaves: Sequence[tuple[Message, Part]]) -> str | None:
        """Return the picture of this Content-ID, drawn anew."""
        if content_id not in self.pictures:
            drawn = None
            if len(self.pictures) < PICTURES_LIMIT:
                drawn = self._draw(content_id, leaves)
            self.pictures[content_id] = drawn
        drawn = self.pictures[content_id]
        if drawn is None or len(drawn) > self.picture_room:
            return None
        self.picture_room -= len(drawn)  # each time it is shown: it stands in the answer as often
        return drawn

    def _draw(self, content_id: str, leaves: Sequence[tuple[Message, Part]]) -> str | None:
        for home, part in leaves:
            if part.content_type.startswith("image/") and _content_id(home.content, part) == content_id:
                data = decode_body(home.content, part).data
                return redraw(data) if len(data) <= PICTURE_BYTES else None
        return None


def _content_id(content: bytes, part: Part) -> str:
    for field in part.fields:
        if field.name == b"content-id":
            return _value(content, field).strip().removeprefix("<").removesuffix(">")
    return ""


def _inside_message(part: Part) -> bool:
    """Tell whether a part belongs to a message/rfc822 inside the message."""
    above = part.parent
    while above is not None:
        if above.content_type.startswith("message/"):
            return True
        above = above.parent
    return False


def _meta_charset(data: bytes) -> str:
    found = _META_CHARSET.search(data, 0, _META_SEEN)
    return found[1].decode("ascii") if found is not None else ""
