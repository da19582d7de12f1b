"""Fingerprints of a message for UDS: numbers that say "the same again" and nothing of what it says.

A check in the filter, at work only when `SpamOptions.uds` asks for it. Promises: nothing can be read out of what it
makes, by whoever gets hold of it; copies of a text in which here and there a word was changed still share several
values; linear in the size of the text, bounded by the limits below.

Text: the words of the visible text (no addresses, no numbers, nothing quoted) in overlapping groups of `SHINGLE` are
hashed; `TEXT_VALUES` x `BOUND` differently keyed minima of these hashes are drawn (min-wise hashing: two texts share a
minimum with the probability of the share of groups they have in common), and each value sent is one BLAKE2b digest over
`BOUND` of the minima. Whoever wants to confirm a guess of a part of the text has to guess `BOUND` groups from different
places of it at once, some 2^90 trials for texts of common words: a value shows nothing until nearly all is known.
Texts of fewer than `SHINGLES_LEAST` groups give none: there would be little left to guess. A private letter shares no
value with any other mail, so what a server holds of it is noise.

Pictures: only of a mail that has next to no text, the largest one: a digest for each eighth of how it looks (bright or
dark in a grid of 16 by 16), so that a noisy copy shares some. Links: one digest over all links together (registrable
domain and shape of the path). Attachments: a digest of the whole.
"""

import hashlib
import re
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gatepost.antispam.check import Notes
from gatepost.antispam.images.looks import WINDOWS, build_looks
from gatepost.antispam.view import MailView
from gatepost.mime.decode import decode_body
from gatepost.model.spam import Fingerprint, FingerprintKind, Link

SHINGLE: Final = 3
"""Words of a group."""
TEXT_VALUES: Final = 32
BOUND: Final = 4
"""Minima that go into one value: with fewer, groups could be guessed one by one."""
SHINGLES_LEAST: Final = 24
"""Different groups of a text that is worth a fingerprint: a text of four lines."""
WORDS_LIMIT: Final = 6_000
"""Words looked at: what a reader never reaches makes no other mail of it."""
SAMPLE: Final = 512
"""Groups the minima are drawn from: those with the lowest hashes, which stand for all."""
ATTACHMENTS_LIMIT: Final = 7
ATTACHMENT_LEAST: Final = 512
"""Bytes of an attachment worth a fingerprint: signatures and cards are smaller, and alike in many mails."""
PICTURE_LEAST: Final = 2_000
"""Bytes of a picture that carries a message: what is smaller is a line or a dot."""
LOOKS_LEAST: Final = 8
"""Bits set in a part of a picture's looks that says anything: plain ground is alike in all pictures."""
LINKS_LEAST: Final = 2
"""Links of a set worth a fingerprint: the name of one site is guessed quickly."""
VALUE_BYTES: Final = 8

# An address of any kind is left out, with all that hangs on it: it is what changes from copy to copy, and private.
_ADDRESSES: Final = re.compile(r"(?<!\S)(?:[^\s@:w]|:(?!//)|w(?!ww\.))*+(?:@|://|www\.)\S*+")
# Scripts without spaces between words: each sign is a word. No digits, no underscores.
_WORDS: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
_PLAIN_WORDS: Final = re.compile(r"[a-z]+")
_CODE: Final = re.compile(r"[0-9]|.{24}")
"""What makes a part of a path one that changes from copy to copy."""
_QUERY_NAME: Final = re.compile(r"[?&;]([^=&;#]{1,40})(?:=[^&;#]*)?")

_FIRST: Final = np.ones(1, dtype=np.bool_)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT_1: Final = np.uint64(30)
_SHIFT_2: Final = np.uint64(27)
_SHIFT_3: Final = np.uint64(31)


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers, every bit of which depends on every bit (the finaliser of SplitMix64)."""
    numbers = (numbers ^ (numbers >> _SHIFT_1)) * _MIX_1
    numbers = (numbers ^ (numbers >> _SHIFT_2)) * _MIX_2
    return numbers ^ (numbers >> _SHIFT_3)


_KEYS: Final = (_mix(np.arange(1, TEXT_VALUES * BOUND + 1, dtype=np.uint64) * _STEP) | np.uint64(1))[:, np.newaxis]
"""Odd factors: the order of well mixed numbers after a multiplication by one says little of that by another."""


def fingerprint_text(text: str) -> tuple[bytes, ...]:
    """Return the TEXT_VALUES values of a (folded) text, or () when it is too short for any."""
    words = _words(text)
    if len(words) < SHINGLES_LEAST + SHINGLE - 1:
        return ()
    codes = {word: crc32(word.encode("utf-8", "surrogatepass")) for word in set(words)}
    hashes = _mix(np.array([codes[word] for word in words], dtype=np.uint64) * _STEP)
    groups = hashes[: len(words) - SHINGLE + 1]
    for place in range(1, SHINGLE):
        groups = _mix(groups + hashes[place : len(words) - SHINGLE + 1 + place])
    groups = np.sort(groups)
    shingles = groups[np.concatenate((_FIRST, groups[1:] != groups[:-1]))]
    if len(shingles) < SHINGLES_LEAST:
        return ()
    minima = (shingles[:SAMPLE] * _KEYS).min(axis=1).reshape(TEXT_VALUES, BOUND)
    return tuple(
        _digest(b"uds text", index.to_bytes(1) + row.astype(">u8").tobytes()) for index, row in enumerate(minima)
    )


def _words(text: str) -> list[str]:
    if "@" in text or "://" in text or "www." in text:
        text = _ADDRESSES.sub(" ", text)
    return (_PLAIN_WORDS if text.isascii() else _WORDS).findall(text)[:WORDS_LIMIT]


def fingerprint_links(links: tuple[Link, ...]) -> bytes | None:
    """Return the value of a set of links; None when there are too few, or none that says more than a site's name."""
    shapes = sorted({f"{link.domain or link.host} {_shape(link.url)}" for link in links if link.source != "header"})
    if len(shapes) < LINKS_LEAST or all(shape.endswith(" ") for shape in shapes):
        return None
    return _digest(b"uds links", "\n".join(shapes).encode("utf-8", "surrogatepass"))


def _shape(url: str) -> str:
    """Return a link's path without what changes from copy to copy, and the names of its parameters."""
    path = url.partition("://")[2].partition("/")[2].partition("#")[0]
    path, mark, query = path.partition("?")
    segments = ["*" if _CODE.search(segment) else segment.casefold() for segment in path.split("/") if segment]
    names = sorted(_QUERY_NAME.findall(f"?{query}")) if mark else []
    return "/".join(segments) + "".join(f"&{name}" for name in names)


def fingerprint_picture(data: bytes) -> list[bytes]:
    """Return the values of a picture, at most 8; none of one that is plain or cannot be read."""
    return [
        _digest(b"uds picture", index.to_bytes(1) + int(word).to_bytes(8))
        for bits in build_looks(data, WINDOWS[:1])[:1]
        for index, word in enumerate(bits)
        if int(word).bit_count() >= LOOKS_LEAST
    ]


def fingerprint_attachment(data: bytes) -> bytes:
    """Return the value of an attachment."""
    return _digest(b"uds attachment", hashlib.sha256(data).digest())


def _digest(purpose: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=VALUE_BYTES, person=purpose).digest()


class FingerprintCheck:
    """Makes the fingerprints of a message."""

    name = "fingerprints"

    def __init__(self) -> None:
        """Make one of a text at once: what numpy imports when it is first needed cannot be had behind the walls."""
        fingerprint_text(" ".join(chr(ord("a") + number) * 3 for number in range(26)) + " ä")

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Add to `notes.fingerprints`."""
        if not view.options.uds:
            return
        add = notes.fingerprints.append
        text = fingerprint_text(view.folded)
        for value in text:
            add(Fingerprint(FingerprintKind.TEXT, value))
        picture = b"" if text else max((data for _, data in view.pictures), key=len, default=b"")
        for value in fingerprint_picture(picture) if len(picture) >= PICTURE_LEAST else ():
            add(Fingerprint(FingerprintKind.IMAGE, value))
        links = fingerprint_links(view.links)
        if links is not None:
            add(Fingerprint(FingerprintKind.LINKS, links))
        for value in _attachments(view):
            add(Fingerprint(FingerprintKind.ATTACHMENT, value))


def _attachments(view: MailView) -> list[bytes]:
    """Return the values of what is attached, pictures left out: logos of the innocent are in mails of the guilty."""
    found = []
    for message, part in view.message.leaves():
        if part.content_type.startswith(("text/", "image/", "message/")) and part.disposition != "attachment":
            continue
        if part.content_type.startswith("image/") or part.end - part.body < ATTACHMENT_LEAST:
            continue
        data = decode_body(message.content, part).data
        if len(data) >= ATTACHMENT_LEAST:
            found.append(fingerprint_attachment(data))
            if len(found) == ATTACHMENTS_LIMIT:
                break
    return found
