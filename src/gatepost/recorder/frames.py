"""What relays and the recorder say to each other over the recorder's socket. Sans-I/O.

A relay opens one connection for each spool it works on: `Hello`, then rows of the spool's outbox as they are stored
(`Rows`) and now and then a `Sample`; the recorder answers with `Durable` once it will never need them again.

Frame: 4 bytes of length, most significant first, then msgpack.
"""

from typing import Generic, TypeVar

import msgspec

FRAME_LIMIT = 64 * 1024 * 1024
"""Bytes of one frame. One commit of a spool is 256 changes with records of a few KB each: far more is no relay's."""


class Hello(msgspec.Struct, frozen=True, tag="hello", array_like=True):
    """relay → recorder: whose records follow."""

    source: str
    """Name of the outbox, as in `view.Batch`."""
    shard: int


class Rows(msgspec.Struct, frozen=True, tag="rows", array_like=True):
    """relay → recorder: records of one commit, as the outbox holds them (`model.record.ENCODER`)."""

    first: int
    count: int
    records: bytes


class Sample(msgspec.Struct, frozen=True, tag="sample", array_like=True):
    """relay → recorder: the state of the queue at a moment (Unix time)."""

    at: float
    waiting: int
    ready: int
    held: int


class Durable(msgspec.Struct, frozen=True, tag="durable", array_like=True):
    """recorder → relay: everything up to this number is kept."""

    number: int


FromRelay = Hello | Rows | Sample
Frame = TypeVar("Frame")

_ENCODER = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The other side does not speak as ours does."""


def build_frame(message: Hello | Rows | Sample | Durable) -> bytes:
    """Return a message as it goes over the socket."""
    frame = bytearray(4)
    _ENCODER.encode_into(message, frame, 4)
    frame[:4] = (len(frame) - 4).to_bytes(4, "big")
    return bytes(frame)


class FrameReader(Generic[Frame]):
    """Takes bytes as they come, gives messages."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[Frame]") -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the messages that are whole now. FrameError: nothing that follows can be read."""
        buffer = self._buffer
        buffer += data
        messages: list[Frame] = []
        start = 0
        while len(buffer) - start >= 4:
            length = int.from_bytes(buffer[start : start + 4], "big")
            if length > FRAME_LIMIT:
                raise FrameError(f"a frame of {length} bytes")
            if len(buffer) - start - 4 < length:
                break
            try:
                messages.append(self._decoder.decode(bytes(buffer[start + 4 : start + 4 + length])))
            except msgspec.MsgspecError as error:
                raise FrameError(str(error)) from error
            start += 4 + length
        del buffer[:start]
        return messages


def relay_frames() -> "FrameReader[FromRelay]":
    """Return a reader of what relays send."""
    return FrameReader(msgspec.msgpack.Decoder(FromRelay))


def recorder_frames() -> "FrameReader[Durable]":
    """Return a reader of what the recorder sends."""
    return FrameReader(msgspec.msgpack.Decoder(Durable))
