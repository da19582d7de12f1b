"""Where things stand in the header of a message: fields to change, fields that only we may write, hops. Pure.

Called by `content`. Only the header of the message itself counts, never that of a message inside it.
"""

import re

import msgspec

from gatepost.antispam.headers.received import parse_received
from gatepost.antispam.view import MailView
from gatepost.mime.fields import strip_comments
from gatepost.mime.part import Field
from gatepost.mime.words import decode_header
from gatepost.model.spam import FieldSpot

HOPS_LIMIT = 100
"""A message that came over more relays is in a loop."""
FOREIGN_LIMIT = 1_000
"""Fields taken out of one message: what has more was made to have some left."""
TEXT_LIMIT = 1_000
"""Characters told of a value."""
_ID_BYTES = 500
"""Bytes of an Authentication-Results field in which its authserv-id must end."""
_WHITE = re.compile(r"[\s\"]++")


class Spots(msgspec.Struct, frozen=True):
    """What `SpamFacts` tells of the header."""

    subject: FieldSpot | None = None
    header_end: int = 0
    foreign: tuple[FieldSpot, ...] = ()
    keywords: tuple[FieldSpot, ...] = ()
    hops: tuple[str, ...] = ()
    overflow: bool = False
    """There are more foreign fields than `FOREIGN_LIMIT`."""


def find_spots(view: MailView) -> Spots:
    """Find the spots of a message."""
    content, fields, options = view.content, view.message.root.fields, view.options
    prefix = options.header_prefix.lower().encode() + b"-"
    host = options.hostname.lower().rstrip(".")
    subject = None
    foreign: list[FieldSpot] = []
    keywords: list[FieldSpot] = []
    hops: list[str] = []
    overflow = False
    for field in fields:
        name = field.name
        if name == b"received":
            if len(hops) < HOPS_LIMIT:
                hops.append(parse_received(content[field.value : field.value_end]).client)
        elif name == b"subject":
            subject = subject or _spot(content, field)
        elif name == b"keywords":
            if len(keywords) < FOREIGN_LIMIT:
                keywords.append(_spot(content, field))
        elif name.startswith(prefix) or (
            name == b"authentication-results" and is_ours(content[field.value : field.value_end], host)
        ):
            overflow = len(foreign) == FOREIGN_LIMIT
            if not overflow:
                foreign.append(_spot(content, field))
    return Spots(subject, _header_start(content, fields), tuple(foreign), tuple(keywords), tuple(hops), overflow)


def is_ours(raw: bytes, host: str) -> bool:
    """Whether an Authentication-Results field claims to be of `host` (lower case), read as loosely as any reader might:
    comments, quotes, white space, case and a version do not count (RFC 8601 §2.2, §5).
    """
    value = raw[:_ID_BYTES]
    bare = strip_comments(value)
    text = (bare if bare.strip() else value.replace(b"(", b"")).decode("latin-1").lower()
    head, words = _WHITE.sub("", text.partition(";")[0]), _WHITE.sub(" ", text).replace(";", " ").split(maxsplit=1)
    if not host or not words:
        return False
    version = head.removeprefix(host).lstrip(".") if head.startswith(host) else "none"
    return not version or version.isdigit() or words[0].rstrip(".") == host


def _spot(content: bytes, field: Field) -> FieldSpot:
    value = field.value + content.startswith((b" ", b"\t"), field.value, field.value_end)
    raw = content[value : field.value_end]
    return FieldSpot(field.start, field.end, value, decode_header(raw[: 8 * TEXT_LIMIT])[:TEXT_LIMIT])


def _header_start(content: bytes, fields: tuple[Field, ...]) -> int:
    """Return where the first field stands: in front of it there is at most an mbox line, or what continues nothing."""
    if fields:
        return fields[0].start
    return content.find(b"\n") + 1 if content.startswith((b"From ", b">From ")) else 0
