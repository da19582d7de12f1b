"""A message as it is taught: `Lesson`, its features and a digest that tells whether it was taught before.

Made by the filter behind its walls (`pack_lesson`); whoever takes it in checks it (`parse_lesson`). A text cannot be
made of it again: only which of some hundred thousand slots its runs of characters fall into.
"""

import hashlib
import zlib
from typing import Final

import msgspec
import numpy as np

from gatepost.antispam.classifier.features import Features, Indices, reader_text
from gatepost.antispam.view import MailView
from gatepost.model.learned_weights import HEADER_BITS, TEXT_BITS

LESSON_LIMIT: Final = 32 * 1024
"""Bytes of a packed lesson: some 5,000 slots of two bytes and a half at most."""
SLOTS_LIMIT: Final = 10_000
"""Slots of a part: more than the limits of texts and headers allow."""
DIGEST_SIZE: Final = 16
_DIGESTED: Final = 2_000
"""Characters of the text in the digest."""


class LessonError(ValueError):
    """The bytes are no lesson; the text says why."""


class Lesson(msgspec.Struct, frozen=True):
    """What is taught of one message."""

    digest: bytes
    features: Features


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    digest: bytes
    text: bytes
    header: bytes
    """Distances between slots, uint32 each, deflated."""


def digest_of(view: MailView) -> bytes:
    """Return a digest that a message keeps when fields are added to its header or its subject is labelled."""
    identity = view.first("message-id")
    text = reader_text("", view.body)[:_DIGESTED]
    known = (identity.raw.strip() if identity is not None else b"") + b"\0" + text.encode("utf-8", "replace")
    return hashlib.blake2b(known, digest_size=DIGEST_SIZE).digest()


def pack_lesson(lesson: Lesson) -> bytes:
    """Return the bytes of a lesson."""
    packed = _Packed(lesson.digest, _pack(lesson.features.text), _pack(lesson.features.header))
    return msgspec.msgpack.encode(packed)


def parse_lesson(raw: bytes) -> Lesson:
    """Read a lesson, whoever sent it. Raises LessonError."""
    if len(raw) > LESSON_LIMIT:
        raise LessonError(f"lesson of {len(raw)} bytes, limit {LESSON_LIMIT}")
    try:
        packed = msgspec.msgpack.decode(raw, type=_Packed)
    except msgspec.MsgspecError as error:
        raise LessonError(f"no lesson: {error}") from None
    if len(packed.digest) != DIGEST_SIZE:
        raise LessonError("lesson without a digest")
    return Lesson(packed.digest, Features(_unpack(packed.text, TEXT_BITS), _unpack(packed.header, HEADER_BITS)))


def _pack(slots: Indices) -> bytes:
    return zlib.compress(np.diff(slots, prepend=np.uint32(0)).astype("<u4").tobytes(), 6)


def _unpack(raw: bytes, bits: int) -> Indices:
    try:
        data = zlib.decompressobj().decompress(raw, 4 * SLOTS_LIMIT + 1)
    except zlib.error as error:
        raise LessonError(f"damaged lesson: {error}") from None
    if len(data) % 4 or len(data) > 4 * SLOTS_LIMIT:
        raise LessonError("lesson with too many slots")
    distances = np.frombuffer(data, "<u4").astype(np.uint64)
    slots = np.cumsum(distances)
    if len(slots) and (slots[-1] >= 1 << bits or not distances[1:].all()):
        raise LessonError("slots of a lesson out of range")
    return slots.astype(np.uint32)
