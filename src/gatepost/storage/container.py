"""The file of a stored message: a header, the bytes exactly as they came, and what has happened to it since.

    gatepost-item 1 <bytes of the header> <bytes of the content>⏎
    <header: an `Item` as JSON>⏎
    <content>⏎
    {"what":"stored","at":…,"sha256":"…"}⏎
    {"what":"released",…}⏎

The content can be cut out with head and tail when nothing else works. Lines behind it are added by appending; a torn
last one is passed over. Written by `storage.store` under a temporary name, synced, then renamed: a file with its own
name is whole.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from gatepost.storage.item import Item

_MARK: Final = b"gatepost-item 1 "
_FIRST_LINE: Final = re.compile(rb"gatepost-item 1 ([0-9]{1,9}) ([0-9]{1,12})\n")
_OTHER_FORM: Final = re.compile(rb"gatepost-item ([0-9]{1,9}) ")
_FIRST_LINE_LIMIT: Final = 64
HEADER_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a header: an envelope of 100,000 recipients has seven million."""
EVENTS_LIMIT: Final = 1024 * 1024
"""Bytes of events that are read."""
CHUNK: Final = 256 * 1024


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened to a stored message."""

    what: str
    """`stored`; `releasing`, `abandoned` and `released`: the steps of a release."""
    at: float
    sha256: str = ""
    """stored: of the content, in hexadecimal."""
    release: str = ""
    """The release's id: the item's and a number."""
    shard: int = -1
    """Spool shard whose memory of releases decides whether it has happened."""
    queue_id: str = ""
    """released: the message it became."""
    who: str = ""
    recipients: tuple[str, ...] = ()
    """To whom; () = those of the item."""
    checked: bool = True
    """It is to pass the checks again."""


class Damaged(ValueError):  # noqa: N818 - what the file is
    """The file is not a whole item."""


class Container(msgspec.Struct, frozen=True):
    """What a file says of itself, the content aside."""

    item: Item
    start: int
    """Where the content begins."""
    events: tuple[Event, ...]
    file_size: int

    @property
    def releases(self) -> tuple[Event, ...]:
        """Releases so far, oldest first."""
        return tuple(event for event in self.events if event.what == "released")

    @property
    def claim(self) -> Event | None:
        """The release that was begun and of which nobody has written how it ended."""
        last = next((event for event in reversed(self.events) if event.what != "stored"), None)
        return last if last is not None and last.what == "releasing" else None


_ITEMS: Final = msgspec.json.Decoder(Item)
_EVENTS: Final = msgspec.json.Decoder(Event)
_ENCODER: Final = msgspec.json.Encoder()


def write_item(descriptor: int, item: Item, content: Iterable[bytes]) -> None:
    """Write the file of an item. OSError; ValueError when the content has not the size the item says."""
    header = _ENCODER.encode(item)
    if len(header) > HEADER_LIMIT:
        raise ValueError(f"the header has {len(header)} bytes, {HEADER_LIMIT} are allowed")
    _write(descriptor, b"%s%d %d\n%s\n" % (_MARK, len(header), item.size, header))
    digest = hashlib.sha256()
    written = 0
    for chunk in content:
        digest.update(chunk)
        written += len(chunk)
        _write(descriptor, chunk)
    if written != item.size:
        raise ValueError(f"the content has {written} bytes, not {item.size}")
    _write(descriptor, b"\n" + encode_event(Event("stored", item.saved_at, sha256=digest.hexdigest())))


def append_event(descriptor: int, event: Event) -> None:
    """Add an event as a line of its own, behind a torn one, too. OSError: a part of it may be there."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    torn = end and os.pread(descriptor, 1, end - 1) != b"\n"
    _write(descriptor, (b"\n" if torn else b"") + encode_event(event))


def encode_event(event: Event) -> bytes:
    """Return an event as the line it is in a file."""
    return _ENCODER.encode(event) + b"\n"


def read_container(descriptor: int) -> Container:
    """Read everything but the content. Damaged, OSError."""
    first = os.pread(descriptor, _FIRST_LINE_LIMIT, 0)
    found = _FIRST_LINE.match(first)
    if found is None and (other := _OTHER_FORM.match(first)) is not None:
        raise Damaged(f"it is an item of form {other[1].decode()}, of another version of the program; this one knows 1")
    if found is None:
        raise Damaged("it does not begin as an item does")
    header_size, size = int(found[1]), int(found[2])
    if header_size > HEADER_LIMIT:
        raise Damaged("its header is too long")
    header = os.pread(descriptor, header_size, found.end())
    try:
        item = _ITEMS.decode(header)
    except ValueError as error:  # MsgspecError is one, text that is no UTF-8 another
        raise Damaged(f"its header cannot be read: {error}") from error
    start = found.end() + header_size + 1
    file_size = os.fstat(descriptor).st_size
    if file_size < start + size + 1 or item.size != size:
        raise Damaged("its content is not whole")
    return Container(item, start, _read_events(descriptor, start + size + 1), file_size)


def _read_events(descriptor: int, start: int) -> tuple[Event, ...]:
    events = []
    for line in os.pread(descriptor, EVENTS_LIMIT, start).split(b"\n")[:-1]:
        try:
            events.append(_EVENTS.decode(line))
        except ValueError:
            continue  # torn by a power cut: what it told of is told again by its repetition
    return tuple(events)


def content_of(descriptor: int, container: Container) -> Iterator[bytes]:
    """Yield the content; Damaged at its end when its bytes are not those that were stored."""
    digest = hashlib.sha256()
    at, end = container.start, container.start + container.item.size
    while at < end:
        chunk = os.pread(descriptor, min(CHUNK, end - at), at)
        if not chunk:
            raise Damaged("its content ends too early")
        digest.update(chunk)
        at += len(chunk)
        yield chunk
    stored = next((event.sha256 for event in container.events if event.what == "stored"), "")
    if stored != digest.hexdigest():
        raise Damaged("its content is not what was stored")


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
