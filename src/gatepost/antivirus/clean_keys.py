"""Keys of the clean-object cache: what an object is known by, and under which circumstances that holds.

Used by `antivirus.stage`. A key stands for the content, for the name and declared type that rules look at, and for
everything else that could change the answer: product, engines and their signatures, options and limits of unpacking.
Anything of that different is a different key, so nothing need ever be taken back.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import msgspec

from gatepost import __version__
from gatepost.mime.part import Message, Part
from gatepost.model.finding import ScanOptions

ASKED_LIMIT = 1_000
"""Objects of one message that are asked about: further ones are scanned as ever."""
FORM = 2
"""Rises when keys are made otherwise, or openers see more than before within one version of the product."""


class CleanMemory(Protocol):
    """Who remembers what was found clean: the relay, behind the filter's socket."""

    def known(self, keys: Sequence[bytes]) -> bytes:
        """Return a byte for each key, not 0 for those found clean before. Asked once for a message."""

    def learn(self, index: int) -> None:
        """Have the object with this key, by its place in what was asked, remembered as clean."""


def build_circumstances(versions: tuple[str, ...], options: ScanOptions) -> bytes:
    """Return the digest of what an answer depends on besides the object. `versions`: those of all engines."""
    return _digest(
        versions,
        options.archives,
        options.mail_bases,
        options.packed,
        options.archive_depth,
        options.archive_members,
        options.unpacked_bytes,
    )


@lru_cache(maxsize=16)
def _digest(*values: object) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode((FORM, __version__, values))).digest()


def build_key(circumstances: bytes, data: bytes, name: str, content_type: str) -> bytes:
    """Return the key of one decoded object. `name`: all the names it goes by."""
    words = msgspec.msgpack.encode((name.encode("utf-8", "replace"), content_type.encode("utf-8", "replace")))
    return hashlib.sha256(circumstances + hashlib.sha256(data).digest() + words).digest()


def is_worth_it(part: Part) -> bool:
    """Tell whether an object is likely to come again: files and media, not the texts people write."""
    return bool(part.name) or not part.content_type.startswith("text/")


def find_candidates(message: Message) -> list[tuple[Message, Part]]:
    """Return the leaves of a message, nested ones included, that are worth asking about, in tree order."""
    found: list[tuple[Message, Part]] = []
    work: list[tuple[Message, Part]] = [(message, message.root)]
    while work and len(found) < ASKED_LIMIT:
        owner, part = work.pop()
        if part.nested is not None:
            work.append((part.nested, part.nested.root))
        elif part.children:
            work += [(owner, child) for child in reversed(part.children)]
        elif is_worth_it(part):
            found.append((owner, part))
    return found
