"""Signed and compressed files of S/MIME and of electronic signatures (`.p7m`): what is in the envelope.

Called by `unpack`. CMS (RFC 5652, RFC 3274) is read by its tags, in BER with its endless forms and pieces as in DER;
certificates and signatures are passed over and nothing is said of their worth. A signature that stands beside its
content gives no member; what is encrypted says so. Nothing is raised but `OverBudget`.
"""

import re
import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Damaged, inflate
from gatepost.antivirus.openers.disguises import decode_base64
from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.opening import Member, Opening
from gatepost.model.finding import SMIME_ENCRYPTION

SIGNED: Final = bytes.fromhex("06092a864886f70d010702")
COMPRESSED: Final = bytes.fromhex("060b2a864886f70d0109100109")
_ENCRYPTED: Final = (
    bytes.fromhex("06092a864886f70d010703"),
    bytes.fromhex("06092a864886f70d010704"),
    bytes.fromhex("06092a864886f70d010706"),
    bytes.fromhex("060b2a864886f70d0109100117"),
)
"""EnvelopedData, its form signed as well (PKCS #7), EncryptedData, AuthEnvelopedData (RFC 5083)."""
_OCTETS: Final = 0x04
_CONSTRUCTED: Final = 0x20
_ENDLESS: Final = -1
_LENGTH_BYTES: Final = 4
"""Longest length that is read: four gigabytes."""
DEPTH: Final = 32
"""Elements in each other of one value; content in pieces has two."""
_ENTITY = re.compile(rb"[!-9;-~]{1,100}+:[ \t]")
_ARMOUR = re.compile(rb"-----BEGIN (?:PKCS7|CMS|PKCS #7 SIGNED DATA)-----\s([A-Za-z0-9+/=\s]+)")
_ENVELOPES: Final = (".p7m", ".p7s", ".p7z", ".p7c", ".p7")


class _Cut(Exception):  # noqa: N818 - what the data is
    """The data ends inside an element, or it is none."""


def open_cms(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the content that was signed or compressed, or that it is encrypted. OverBudget."""
    if data.startswith(b"-"):
        armour = _ARMOUR.match(data)
        data = decode_base64(armour[1]) if armour is not None else b""
    try:
        if data.startswith(_ENCRYPTED, _enter(data, 0)):
            yield Member("", encrypted=SMIME_ENCRYPTION)
            return
        content, whole = _read_content(data)
    except _Cut:
        yield Member("", trouble="a signed or compressed file that is damaged or cut off")
        return
    if content is None:
        return
    trouble = "" if whole else "signed or compressed content that is damaged or cut off"
    if COMPRESSED in data[: len(COMPRESSED) + 16]:
        try:
            content, _, ended = inflate(memoryview(content), zlib.MAX_WBITS, opening.budget)
        except Damaged as error:
            yield Member("", trouble=str(error))
            return
        trouble = trouble or ("" if ended else "compressed content is cut off")
    stem = next((name[: -len(each)] for each in _ENVELOPES if name.lower().endswith(each)), name)
    is_entity = _ENTITY.match(content) is not None  # in mail it is a part with its header (RFC 8551 §3.1)
    yield take(opening, stem or "content", content, "message/rfc822" if is_entity else "", trouble)


def _read_content(data: bytes) -> tuple[bytes | None, bool]:
    """Return (what SignedData or CompressedData holds, None when it is elsewhere; whether that is all).

    _Cut: it cannot be found.
    """
    at = _enter(data, 0)
    if not data.startswith((SIGNED, COMPRESSED), at):
        return None, True
    at = _enter(data, _enter(data, _end(data, at)))
    at = _enter(data, _end(data, _end(data, at)))  # behind version and algorithms
    at = _end(data, at)  # behind the type of the content
    if data[at : at + 1] != b"\xa0":
        return None, True
    return _gather(data, _enter(data, at))


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Return (tag, where the value begins, its length or _ENDLESS) of the element at `at`. _Cut."""
    if at + 2 > len(data) or data[at] & 0x1F == 0x1F:  # tags of several bytes are none of those in use here
        raise _Cut
    tag, length = data[at], data[at + 1]
    if length < 0x80:
        return tag, at + 2, length
    if length == 0x80:
        return tag, at + 2, _ENDLESS
    start = at + 2 + (length & 0x7F)
    digits = data[at + 2 : start]
    if start > len(data) or len(digits.lstrip(b"\0")) > _LENGTH_BYTES:
        raise _Cut
    return tag, start, int.from_bytes(digits, "big")


def _enter(data: bytes, at: int) -> int:
    """Return where the value of the element at `at` begins. _Cut."""
    return _header(data, at)[1]


def _end(data: bytes, at: int) -> int:
    """Return where the element at `at` ends. _Cut."""
    depth = 0
    while True:
        tag, start, length = _header(data, at)
        if length == _ENDLESS:
            depth += 1
            at = start
        else:
            at = start + length
            depth -= tag == 0 and length == 0
        if at > len(data) or depth > DEPTH:
            raise _Cut
        if depth <= 0:
            return at


def _gather(data: bytes, at: int) -> tuple[bytes, bool]:
    """Return (the pieces of the string of octets at `at`, whether it ended). PKCS #7 allows any element there."""
    tag, start, length = _header(data, at)
    if not tag & _CONSTRUCTED or tag & ~_CONSTRUCTED != _OCTETS:
        end = _end(data, at) if length == _ENDLESS else start + length
        return data[start:end], end <= len(data)
    pieces: list[bytes] = []
    ends = [start + length if length != _ENDLESS else _ENDLESS]
    at = start
    while ends:
        if at == ends[-1]:
            ends.pop()
            continue
        try:
            tag, start, length = _header(data, at)
        except _Cut:
            return b"".join(pieces), False
        at = start + max(length, 0)
        if tag == 0 and length == 0 and ends[-1] == _ENDLESS:
            ends.pop()
        elif tag & _CONSTRUCTED and len(ends) < DEPTH:
            ends.append(start + length if length != _ENDLESS else _ENDLESS)
            at = start
        elif tag == _OCTETS and length != _ENDLESS:
            pieces.append(data[start:at])
        else:
            return b"".join(pieces), False
    return b"".join(pieces), at <= len(data)
