"""Keys of the clean-object cache: what an object is known by, and under which circumstances that holds.

Used by `antivirus.stage`. A key stands for the content, for the name and declared type that rules look at, and for
everything else that could change the answer: product, engines and their signatures, options and limits of unpacking.
Anything of that different is a different key, so nothing need ever be taken back.

A large body has a second key, of its bytes as they are encoded in the mail: whoever knows that one spares the decoding
and the digest of the content, nine tenths of what an attachment costs that was seen before.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatepost import __version__
from gatepost.mime.decode import guess_size
from gatepost.mime.part import Message, Part
from gatepost.model.finding import ScanOptions

ASKED_LIMIT = 1_000
"""Objects of one message that are asked about: further ones are scanned as ever."""
FORM = 4
"""Rises when keys are made otherwise, or openers see more than before within one version of the product."""


BODY_LEAST = 16 * 1024
"""Bytes of an encoded body from which on a key of its own, and a second question, cost less than they spare."""
_NONCE = bytes(12)


class CleanMemory(Protocol):
    """Who remembers what was found clean: the relay, behind the filter's socket."""

    def known(self, keys: Sequence[bytes]) -> bytes:
        """Return a byte for each key, not 0 for those found clean before. Asked twice for a message at most."""

    def learn(self, index: int) -> None:
        """Have the object with this key, by its place in all that was asked, remembered as clean. Each place once."""


class BodyKeys:
    """Makes the keys of encoded bodies: a digest under a secret (GMAC, NIST SP 800-38D), six times as fast as SHA-256.

    Whoever does not know the secret cannot make two bodies of one digest (2^-108 for a pair of 5 MB, whatever they
    hold), and the digest is never shown: it only goes into a key, one way. So the secret may serve for all bodies; it
    is made anew with each template and kept nowhere. Then the bodies' keys are new, and the contents' keys still hold.
    """

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 random bytes."""
        self._cipher = AESGCM(secret)

    def build(self, circumstances: bytes, owner: Message, part: Part) -> bytes:
        """Return the key of the body of a part for which `takes` is true."""
        digest = self._cipher.encrypt(_NONCE, b"", memoryview(owner.content)[part.body : part.end])
        words = msgspec.msgpack.encode((*_words(part), part.encoding.value))
        return hashlib.sha256(circumstances + digest + words).digest()

    def takes(self, owner: Message, part: Part) -> bool:
        """Tell whether a body has such a key: it is large, and the size of its content can be told without decoding."""
        return part.end - part.body >= BODY_LEAST and guess_size(owner.content, part) >= 0


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


def build_key(circumstances: bytes, data: bytes, part: Part) -> bytes:
    """Return the key of one decoded object."""
    words = msgspec.msgpack.encode(_words(part))
    return hashlib.sha256(circumstances + hashlib.sha256(data).digest() + words).digest()


def _words(part: Part) -> tuple[bytes, bytes]:
    """Return all that a part is called: its names, its declared type."""
    return "/".join(part.names).encode("utf-8", "replace"), part.content_type.encode("utf-8", "replace")


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
