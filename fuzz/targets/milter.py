"""What a mail system says to a milter: the same messages however the bytes arrive, within the limits, or an error."""

import struct
from collections.abc import Iterator
from typing import Final

from gatepost.model.envelope import Client
from gatepost.model.filtering import Request
from gatepost.wire.milter import PIECE_BYTES, MilterSession, State
from gatepost.wire.milter_values import Dropped, Ended, MilterError, MilterMessage, Piece

from .cutting import cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 700

_HEAD: Final = struct.Struct("!I")
_RAW: Final = 0x80
_LIMITED: Final = 0x01
_SIZE_LIMIT: Final = 60
_CONTENT_LIMIT: Final = 2 * PIECE_BYTES
_LONG: Final = b"~L~"
"""Stands for a text that does not fit into an input."""

Told = list[tuple[object, ...]]


def execute(data: bytes) -> None:
    """Read the input whole and in pieces. Its first byte says how it is cut, the second how the rest is to be read."""
    if len(data) < 2:
        return
    stream = data[2:] if data[1] & _RAW else b"".join(_packets(data[2:]))
    limit = _SIZE_LIMIT if data[1] & _LIMITED else 0
    whole = _read(iter((stream,)), limit)
    assert _read(cut(stream, data[0]), limit) == whole


def _packets(data: bytes) -> Iterator[bytes]:
    """Yield packets of (command, length in a byte, text): the fuzzer need not get four bytes of length right."""
    at = 0
    while at + 2 <= len(data):
        end = at + 2 + data[at + 1]
        text = data[at + 2 : end].replace(_LONG, b"x" * PIECE_BYTES, 1)
        yield _HEAD.pack(1 + len(text)) + data[at : at + 1] + text
        at = end


def _read(pieces: Iterator[bytes], size_limit: int) -> tuple[Told, bytes]:
    session = MilterSession(size_limit, _CONTENT_LIMIT)
    told: Told = []
    sent = b""
    content = b""
    for piece in pieces:
        session.feed(piece)
        try:
            while (event := session.next_event()) is not None:
                match event:
                    case Piece():
                        assert len(event.content) >= PIECE_BYTES
                        content += event.content
                        assert len(content) <= _CONTENT_LIMIT
                    case Dropped():
                        assert content
                        content = b""  # how much was handed on before is a matter of how it came
                    case Ended():
                        assert session.state is State.CLOSED
                        told.append(("ended",))
                    case MilterMessage():
                        told.append(_message(event, content + event.content, size_limit))
                        content = b""
                        assert session.next_event() is None
                        session.finish()
        except MilterError as error:
            assert session.state is State.CLOSED
            assert session.next_event() is None
            told.append((str(error),))
            break
        sent += session.take_output()
    sent += session.take_output()
    _check_packets(sent)
    return told, sent


def _message(event: MilterMessage, content: bytes, size_limit: int) -> tuple[object, ...]:
    limit = size_limit or _CONTENT_LIMIT
    assert event.too_large == (event.size > limit)
    assert 2 <= event.header_size <= event.size
    if not event.too_large:
        assert len(content) == event.size
        assert content[: event.header_size].endswith(b"\r\n")
    Request(client=Client(event.client.address.decode("ascii", "replace"), event.client.port))
    kept = b"" if event.too_large else content
    return (
        event.client, event.helo, event.sender, event.recipients, event.macros, event.size, event.header_size, kept,
    )  # fmt: skip


def _check_packets(sent: bytes) -> None:
    while sent:
        size = _HEAD.unpack_from(sent)[0]
        assert len(sent) >= 4 + size >= 5
        assert sent[4:5] in {b"O", b"c", b"s"}
        sent = sent[4 + size :]


def _record(command: bytes, text: bytes = b"") -> bytes:
    return command + bytes((len(text),)) + text


_OPTIONS: Final = _record(b"O", struct.pack("!III", 6, 0x1FF, 0x1FFFFF))
_OLD_OPTIONS: Final = _record(b"O", struct.pack("!III", 2, 0x3F, 0x7F))
_CONNECT: Final = _record(b"C", b"mail.example.net\x004\x04\xd2192.0.2.7\0")
_ENVELOPE: Final = _record(b"M", b"<a@b>\0SIZE=7\0") + _record(b"R", b"<c@d>\0")
_HEADER: Final = _record(b"L", b"Subject\0 one\n two\0") + _record(b"L", b"To\0\0")

WORDS: Final = (
    _OPTIONS, _OLD_OPTIONS, _CONNECT, _ENVELOPE, _HEADER, _record(b"H", b"helo\0"), _record(b"D", b"Mi\0QUEUE\0"), _record(b"N"), _record(b"T"),
    _record(b"B", b"body\r\n"), _record(b"B", _LONG), _record(b"L", b"X\0" + _LONG + b"\0"), _record(b"E"), _record(b"E", b"end"), _record(b"A"),
    _record(b"K"), _record(b"Q"), _record(b"U", b"NOOP\0"), _record(b"C", b"x\x006\0\0IPv6:::1\0"), _record(b"C", b"x\0U"), _LONG, b"{auth_authen}\0", b"\r\n",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield conversations of both versions, with several messages, large ones, aborted ones and broken ones."""
    message = _ENVELOPE + _HEADER + _record(b"B", b"body\r\n") + _record(b"D", b"Ei\0QUEUE\0") + _record(b"E")
    large = _ENVELOPE + _HEADER + _record(b"L", b"X\0" + _LONG + b"\0") + _record(b"B", _LONG)
    conversations = (
        _OPTIONS + _CONNECT + _record(b"H", b"helo\0") + message + message + _record(b"Q"),
        _OLD_OPTIONS + _CONNECT + _ENVELOPE + _HEADER + _record(b"N") + _record(b"B", b"x") + _record(b"E", b"y"),
        _OPTIONS + _CONNECT + message + _record(b"K") + _record(b"C", b"x\0U") + message,
        _OPTIONS + _CONNECT + large + _record(b"A") + large + _record(b"E"),
        _OPTIONS + _CONNECT + _ENVELOPE + _record(b"E") + _record(b"A") + _record(b"A") + _record(b"M", b"<>\0"),
        _OPTIONS + _ENVELOPE,
        _OPTIONS + _CONNECT + _ENVELOPE + _record(b"L", b"no end"),
        _OPTIONS + _CONNECT + _ENVELOPE + _record(b"L"),
    )
    for conversation in conversations:
        for kind in (0, _LIMITED):
            for seed in (100, 251):
                yield bytes((seed, kind)) + conversation
    yield bytes((251, _RAW)) + b"".join(_packets(conversations[0]))
