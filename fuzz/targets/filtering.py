"""The filtering protocol: whatever a client sends to a server, whatever a server answers, and however it is cut."""

import struct
from collections.abc import Iterator
from typing import Final

from gatepost.model.envelope import Client
from gatepost.model.filtering import Deed, FieldEdit, FieldOp, Mark, Part, Request, Ruling, Threat
from gatepost.model.reply import Reply
from gatepost.model.verdict import Splice
from gatepost.wire.filtering import (
    END,
    QUIT,
    Asked,
    Ended,
    FilterClientSession,
    FilteringError,
    FilterServerSession,
    build_data,
)

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 4_000

_SIZE: Final = 40
_REQUEST: Final = Request(
    client=Client("192.0.2.1", 25, "mx"), sender="a@x.example", recipients=("b@y.example", "c@y.example")
)
_PART: Final = Part(
    recipients=_REQUEST.recipients,
    deed=Deed.REJECT,
    reply=Reply(550, "5.7.1", ("No",)),
    status="spam",
    marks=(Mark("M", 1.0, "x"),),
    threats=(Threat("T", "infected", "o"),),
    prefix=b"X-A: b\r\n",
    splices=(Splice(1, 3, b"new"), Splice(3, 3, b"")),
    field_edits=(FieldEdit(FieldOp.CHANGE, "Subject", b"x\r\n y", 2),),
)
WORDS: Final = (
    b"\0\0\0\0\4", b"\0\0\0\1\3x", b"\0\0\0\2\1{}", b"\0\0\0\2\2{}", b'{"version":1}', b'"rcpt":["b@y.example"]', b'"size":',
    b'"parts":[', b'"whole":', b'"splices":[[0,1,0,1]]', b'"edits_size":', b'"prefix":"QTogYg0K"', b'"header_ops":[{"op":"',
    b'"reply_text":{"code":550}', b'"action":"reject"', b"\\u0000", b"\\ud800", b"\\n",
)  # fmt: skip


def execute(data: bytes) -> None:
    """Take the input as what a server or a client receives; the first byte says which, and how it is cut."""
    if not data:
        return
    cut = data[0] >> 1
    pieces = [data[1 : 1 + cut], data[1 + cut :]]
    if data[0] & 1:
        _client(pieces)
    else:
        _server(pieces)


def _server(pieces: list[bytes]) -> None:
    session = FilterServerSession("fuzz", 1000)
    asked: Asked | None = None
    came = 0
    try:
        for piece in (*pieces, b"", b""):
            for event in session.feed(piece):
                if isinstance(event, Asked):
                    asked, came = event, 0
                    assert all(event.request.recipients)
                    assert not any(ord(sign) < 32 for each in event.request.recipients for sign in each)
                elif isinstance(event, bytes):
                    came += len(event)
                elif isinstance(event, Ended):
                    assert asked is not None
                    assert came == asked.size
                    part = Part(recipients=asked.request.recipients)
                    _agrees(asked, session.result(Ruling(parts=(part,), whole=part)))
    except FilteringError as error:
        assert error.frame[4] == 6


def _agrees(asked: Asked, answer: bytes) -> None:
    """A client of ours asks what was asked, and takes the answer."""
    client = FilterClientSession("fuzz")
    client.feed(FilterServerSession("fuzz").hello())
    try:
        client.ask(asked.request, asked.size, 1.0)
    except ValueError:
        return  # strangers may repeat recipients, ours do not
    (told,) = client.feed(answer)
    assert isinstance(told, Ruling)


def _client(pieces: list[bytes]) -> None:
    session = FilterClientSession("fuzz")
    session.feed(FilterServerSession("fuzz").hello())
    session.ask(_REQUEST, _SIZE, 1.0)
    try:
        for piece in pieces:
            for event in session.feed(piece):
                if isinstance(event, Ruling):
                    _holds(event)
    except FilteringError:
        return


def _holds(ruling: Ruling) -> None:
    named = [each for part in ruling.parts for each in dict.fromkeys(part.recipients)]
    assert sorted(named) == sorted(_REQUEST.recipients)
    for part in (*ruling.parts, ruling.whole):
        behind = 0
        for splice in part.splices:
            assert behind <= splice.start <= splice.end <= _SIZE
            behind = splice.end
        assert part.deed is not Deed.REJECT or (part.reply is not None and 400 <= part.reply.code < 600)
        assert b"\r\n\r\n" not in part.prefix
        assert part.prefix == b"" or part.prefix.endswith(b"\r\n")
        for line in (*part.copies, *part.redirect, *(part.reply.lines if part.reply else ())):
            assert not any(ord(sign) < 32 for sign in line)
        for edit in part.field_edits:
            assert not any(ord(sign) < 33 or sign == ":" for sign in edit.name)


def seeds() -> Iterator[bytes]:
    """Yield inputs to begin with."""
    client, server = FilterClientSession("fuzz"), FilterServerSession("fuzz")
    hello = client.hello()
    server.feed(hello)
    client.feed(server.hello())
    question = b"".join((client.ask(_REQUEST, _SIZE, 1.0), *build_data(bytes(_SIZE)), END))
    yield b"\0" + hello + question + QUIT
    yield b"\x40" + hello + question + question
    server.feed(question)
    result = server.result(Ruling(parts=(_PART,), whole=_PART))
    yield b"\1" + result
    yield b"\x41" + result
    yield b"\1" + server.unjudged("no")
    other = Part(recipients=("b@y.example",))
    rest = Part(recipients=("c@y.example",))
    yield b"\1" + server.result(Ruling(parts=(other, rest), whole=_PART))
    yield b"\0" + hello + struct.pack("!IB", 70_000, 3)
