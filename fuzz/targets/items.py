"""Files of stored messages: what was written is read back, damage is told, and a torn event loses nothing before it."""

import os
from collections.abc import Iterator
from typing import Final

import msgspec

from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.storage.container import Container, Damaged, Event, content_of, encode_event, read_container, write_item
from gatepost.storage.item import Item, StoreKind

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500
_ITEM: Final = Item(
    "0ABCDEFGHJKMN-0A1B2C",
    StoreKind.QUARANTINE,
    "0ABCDEFGHJKMN",
    "0ABCDEFGHJKMN",
    1.5,
    1.25,
    Envelope("from@one.example", (Recipient("to@example.org"),), Client("192.0.2.7")),
    0,
    "INF",
    subject="a subject",
)


def execute(data: bytes) -> None:
    """Read the input as a file; store the input, with it behind as events."""
    descriptor = os.memfd_create("item")
    try:
        os.write(descriptor, data)
        _read(descriptor)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        _store(descriptor, data)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Container | None:
    try:
        container = read_container(descriptor)
        assert sum(map(len, content_of(descriptor, container))) == container.item.size
    except Damaged as error:
        assert str(error)
        return None
    assert container.start + container.item.size < container.file_size
    assert container.claim is None or container.claim.what == "releasing"
    return container


def _store(descriptor: int, data: bytes) -> None:
    item = msgspec.structs.replace(_ITEM, size=len(data))
    half = len(data) // 2
    write_item(descriptor, item, [data[:half], data[half:]])
    os.write(descriptor, data.replace(b'"stored"', b"").rpartition(b"\n")[0] + b"\n")
    os.write(descriptor, encode_event(Event("releasing", 2.0, release="x-1")) + b'{"what":"rel')
    container = _read(descriptor)
    assert container is not None
    assert container.item == item
    assert b"".join(content_of(descriptor, container)) == data
    assert container.claim == Event("releasing", 2.0, release="x-1")
    os.ftruncate(descriptor, container.start + half)
    assert _read(descriptor) is None


WORDS: Final = (
    b"gatepost-item 1 ", b'{"what":"stored","at":1.5,"sha256":"', b'{"what":"released","at":2.0,"release":"x-1"}\n', b'{"what":"abandoned","at":2}\n', b"\n", b"{", b'"size":5',
    b"999999999", b'"store":"quarantine"', b'"envelope":', b"null", b"1e999", b"\\ud800",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield a file, and one with a history."""
    descriptor = os.memfd_create("seed")
    write_item(descriptor, msgspec.structs.replace(_ITEM, size=5), [b"hello"])
    whole = os.pread(descriptor, 10_000, 0)
    os.close(descriptor)
    yield whole
    yield whole + encode_event(Event("releasing", 2.0, release="x-1")) + encode_event(Event("released", 3.0)) + b'{"wh'
