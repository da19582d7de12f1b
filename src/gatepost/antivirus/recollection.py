"""What a message holds that was found clean before: the questions about it, and what is then known of each body.

Used by `antivirus.stage` once for a message. Promises: a body is known only by a key of all its bytes, names and types;
what is known by its encoded form is not even decoded.
"""

from collections.abc import Sequence

import msgspec

from gatepost.antivirus.clean_keys import BodyKeys, CleanMemory, build_key
from gatepost.mime.decode import decode_body, guess_size
from gatepost.mime.part import Message, Part


class Remembered(msgspec.Struct):
    """What is known of a body that may have been seen before."""

    size: int
    """Bytes of the decoded content."""
    data: bytes | None
    """The decoded content; None: it was found clean before, and is not looked at."""
    places: tuple[int, ...] = ()
    """Of its keys in what was asked: to be learned when it turns out clean."""


def recall(
    candidates: Sequence[tuple[Message, Part]], circumstances: bytes, memory: CleanMemory, body_keys: BodyKeys | None
) -> dict[int, Remembered]:
    """Return what is known of the bodies of these parts, by `id` of the part: asked is first about large ones as they
    are encoded, then about the contents of all that are not known by that.
    """
    remembered: dict[int, Remembered] = {}
    bodies: dict[int, int] = {}
    """By `id` of the part: place of the key of its body."""
    large = [each for each in candidates if body_keys.takes(*each)] if body_keys is not None else []
    if body_keys is not None and large:
        known = memory.known([body_keys.build(circumstances, owner, part) for owner, part in large])
        for place, (owner, part) in enumerate(large):
            if known[place]:
                remembered[id(part)] = Remembered(guess_size(owner.content, part), None)
            else:
                bodies[id(part)] = place
        candidates = [each for each in candidates if id(each[1]) not in remembered]
    if not candidates:
        return remembered
    contents = [decode_body(owner.content, part).data for owner, part in candidates]
    known = memory.known(
        [build_key(circumstances, data, part) for data, (_, part) in zip(contents, candidates, strict=True)]
    )
    for place, ((owner, part), data) in enumerate(zip(candidates, contents, strict=True)):
        # A body may be known without being decoded only if its size was guessed right: it is reported.
        body = (bodies[id(part)],) if id(part) in bodies and len(data) == guess_size(owner.content, part) else ()
        if known[place]:
            remembered[id(part)] = Remembered(len(data), None)
            for each in body:
                memory.learn(each)
        else:
            remembered[id(part)] = Remembered(len(data), data, (*body, len(large) + place))
    return remembered
