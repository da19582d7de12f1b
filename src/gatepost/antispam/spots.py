"""Where things stand in the header of a message: fields to change, fields that only we may write, hops. Pure.

Called by `content`. Only the header of the message itself counts, never that of a message inside it.
"""

import functools
import itertools
import re
from collections.abc import Iterator

import msgspec

from gatepost.antispam.headers.received import parse_received
from gatepost.antispam.view import MailView
from gatepost.mime.fields import strip_comments
from gatepost.mime.part import Field, Part
from gatepost.mime.words import decode_header
from gatepost.model.spam import FieldSpot

HOPS_LIMIT = 100
"""A message that came over more relays is in a loop."""
FOREIGN_LIMIT = 1_000
"""Fields taken out of one message: what has more was made to have some left."""
TEXT_LIMIT = 1_000
"""Characters told of a value."""
_RESULTS_BYTES = 8_192
"""Bytes of an Authentication-Results field that are read for its authserv-id."""
_RESULTS = b"authentication-results"
_NO_ID = re.compile(r"[^!#-~]++|\\")
"""What is not of an authserv-id, however it is written: white space, quotes, what does not print."""
_HOST_GOES_ON = re.compile(r"[.]*+[a-z_-]|[.]++[0-9]")


class Spots(msgspec.Struct, frozen=True):
    """What `SpamFacts` tells of the header."""

    subject: FieldSpot | None = None
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
        elif name.startswith(prefix) or (name == _RESULTS and is_ours(content[field.value : field.value_end], host)):
            foreign.append(_spot(content, field))
    behind = (
        field
        for field in _fields_behind(content, view.message.root, prefix)
        if field.name != _RESULTS or is_ours(content[field.value : field.value_end], host)
    )
    foreign += [_spot(content, field) for field in itertools.islice(behind, FOREIGN_LIMIT + 1)]
    overflow = len(foreign) > FOREIGN_LIMIT
    del foreign[FOREIGN_LIMIT:]
    return Spots(subject, tuple(foreign), tuple(keywords), tuple(hops), overflow)


def is_ours(raw: bytes, host: str) -> bool:
    """Whether an Authentication-Results field claims to be of `host` (lower case), read as loosely as any reader might:
    comments, quotes, white space, case, a version and what hangs on it do not count (RFC 8601 §2.2, §5). Where nobody
    can tell the authserv-id, as in a comment without end, our name anywhere in the field is a claim.
    """
    if not host:
        return False
    value = raw[:_RESULTS_BYTES]
    bare = strip_comments(value)
    if not bare.strip():
        return host in _NO_ID.sub("", value.decode("latin-1").lower())
    head = bare.lstrip(b"; \t\r\n").partition(b";")[0].decode("latin-1").lower()
    # With the version behind it, or, where the semicolon is missing, the first word alone.
    claims = (_NO_ID.sub("", each) for each in (head, (head.split(maxsplit=1) or [""])[0]))
    return any(each.startswith(host) and _HOST_GOES_ON.match(each, len(host)) is None for each in claims)


def _fields_behind(content: bytes, root: Part, prefix: bytes) -> Iterator[Field]:
    """Yield fields that only we may write and that the parser has not taken for fields: behind a line that is none, or
    behind more fields than it reads. Other readers go on there up to the empty line.
    """
    start = root.fields[-1].end if root.fields else 0
    if content[start : root.body] in _SEPARATORS or start >= len(content):
        return
    found = _EMPTY_LINE.search(content, max(0, start - 1))
    end = found.start() + 1 if found else len(content)
    pattern = _compile(prefix)
    for match in pattern.finditer(content, start, end):
        value_end = match.end() - match[0].endswith(b"\n")
        value_end -= content.endswith(b"\r", match.end("name"), value_end)
        name = match["name"].rstrip(b" \t:").lower()
        yield Field(name, match.start(), match.end(), match.end("name"), value_end)


_SEPARATORS = (b"\r\n", b"\n")
_EMPTY_LINE = re.compile(rb"\n\r?\n")


@functools.lru_cache(maxsize=16)
def _compile(prefix: bytes) -> "re.Pattern[bytes]":
    names = rb"(?P<name>(?:" + re.escape(prefix) + rb"[!-9;-~]*+|" + _RESULTS + rb")[ \t]*+:)"
    return re.compile(rb"^" + names + rb"[^\n]*+(?:\n|\Z)(?:[ \t][^\n]*+(?:\n|\Z))*+", re.IGNORECASE | re.MULTILINE)


def _spot(content: bytes, field: Field) -> FieldSpot:
    value = field.value + content.startswith((b" ", b"\t"), field.value, field.value_end)
    raw = content[value : field.value_end]
    return FieldSpot(field.start, field.end, value, decode_header(raw[: 8 * TEXT_LIMIT])[:TEXT_LIMIT])
