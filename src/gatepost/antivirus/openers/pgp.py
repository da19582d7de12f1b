"""OpenPGP files that are signed or packed and not encrypted: the file inside, as `gpg --decrypt` gives it.

Called by `unpack`, for files and for texts that hold an armoured message (mail programs show those unpacked). Packets
are read as RFC 9580 has them, in both forms of header; nothing is said of signatures. What is encrypted for somebody's
key says so; what a password opens is protected. Nothing is raised but `OverBudget`.
"""

import bz2
import re
import zlib
from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.budget import Budget, Content, Damaged, inflate
from gatepost.antivirus.openers.disguises import decode_base64
from gatepost.antivirus.openers.stream import decode_stream
from gatepost.antivirus.openers.taking import take
from gatepost.antivirus.opening import Member, Opening
from gatepost.model.finding import OPENPGP_ENCRYPTION

_ARMOURED = re.compile(
    rb"-----BEGIN PGP MESSAGE[^\r\n]{0,40}-----[ \t]*\r?\n"
    rb"(?:[!-9;-~]{1,40}:[^\n]*\n)*+\s*+(?P<text>[A-Za-z0-9+/\s]++={0,2})"
)
_SIGNATURE, _COMPRESSED, _MARKER, _LITERAL, _ONE_PASS, _PADDING = 2, 8, 10, 11, 4, 21
_FOR_A_KEY, _FOR_A_PASSWORD = 1, 3
"""Packets with the key of encrypted content, itself encrypted (RFC 9580 §5.1, §5.3)."""
_LOCKS: Final = frozenset({_FOR_A_KEY, _FOR_A_PASSWORD, 9, 18, 20})
"""Those, and encrypted content: without one of them in front the key is made of a password (§5.7)."""
_PASSED_OVER: Final = frozenset({_SIGNATURE, _ONE_PASS, _MARKER, _PADDING})
_PLAIN, _DEFLATE, _ZLIB, _BZIP2 = range(4)
MESSAGES_LIMIT: Final = 100
"""Armoured messages of one text."""
LAYERS: Final = 8
"""Packed packets in each other; programs make one."""
PACKETS_LIMIT: Final = 1000
"""Packets in a row; a message has a few."""
_DAMAGED: Final = "an OpenPGP message that is damaged or cut off"


def open_pgp(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    """Yield the files in OpenPGP messages. OverBudget."""
    if data[:1] >= b"\x80":
        yield from _open_packets(data, name, opening)
        return
    for count, found in enumerate(_ARMOURED.finditer(data), 1):
        if count > MESSAGES_LIMIT:
            yield Member("", trouble=f"more than {MESSAGES_LIMIT} OpenPGP messages in one text")
            return
        yield from _open_packets(decode_base64(found["text"]), name, opening)


def _open_packets(data: bytes, name: str, opening: Opening) -> Iterator[Member]:
    for _ in range(LAYERS):
        inner: bytes | None = None
        locks: set[int] = set()
        for tag, body, whole in _read_packets(data):
            if tag == _LITERAL:
                yield _take_literal(body, name, opening, whole=whole)
            elif tag == _COMPRESSED:
                try:
                    inner, ended = _unpack(body, opening.budget)
                except Damaged:
                    yield Member("", trouble=_DAMAGED)
                    return
                if not (ended and whole):
                    yield Member("", trouble=_DAMAGED)
                break
            elif tag in _LOCKS:
                locks.add(tag)
            elif tag not in _PASSED_OVER:
                break  # a key
        if locks:
            for_keys = _FOR_A_KEY in locks and _FOR_A_PASSWORD not in locks
            yield Member("", encrypted=OPENPGP_ENCRYPTION, protected=not for_keys)
        if inner is None:
            return
        data = inner
    yield Member("", trouble=f"OpenPGP messages packed more than {LAYERS} times")


def _take_literal(body: bytes, name: str, opening: Opening, *, whole: bool) -> Member:
    """Return the file of a literal packet (RFC 9580 §5.9)."""
    length = body[1] if len(body) > 1 else 0
    stem = re.sub(r"\.(?:gpg|pgp|asc|sig)\Z", "", name, flags=re.IGNORECASE)
    called = body[2 : 2 + length].decode("utf-8", "replace") or stem or "content"
    return take(opening, called, body[6 + length :], trouble="" if whole else _DAMAGED)


def _unpack(body: bytes, budget: Budget) -> tuple[bytes, bool]:
    """Return (what a packed packet holds, whether it ended) (RFC 9580 §5.6). OverBudget, Damaged."""
    method, packed = (body[0] if body else -1), body[1:]
    if method == _PLAIN:
        return packed, True
    if method in (_DEFLATE, _ZLIB):
        content, _, ended = inflate(memoryview(packed), zlib.MAX_WBITS if method == _ZLIB else -zlib.MAX_WBITS, budget)
        return content, ended
    if method == _BZIP2:
        into = Content(budget, len(packed))
        _, trouble = decode_stream(bz2.BZ2Decompressor(), packed, 0, into, budget)
        return into.take(), not trouble
    raise Damaged(_DAMAGED)


def _read_packets(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (tag, body, whether all of it is there) of each packet (RFC 9580 §4.2) up to what is none."""
    at = 0
    for _ in range(PACKETS_LIMIT):
        if at + 2 > len(data) or not data[at] & 0x80:
            return
        first = data[at]
        at += 1
        if first & 0x40:
            tag, (body, at, whole) = first & 0x3F, _read_new(data, at)
        else:
            tag, width = first >> 2 & 0x0F, (1, 2, 4, 0)[first & 3]
            end = at + width + int.from_bytes(data[at : at + width], "big") if width else len(data)
            body, at, whole = data[at + width : end], end, end <= len(data)
        yield tag, body, whole


def _read_new(data: bytes, at: int) -> tuple[bytes, int, bool]:
    """Return (body, where it ends, whether all of it is there) of a packet in the newer form, maybe in pieces."""
    pieces: list[bytes] = []
    while at < len(data):
        first = data[at]
        if first < 192:
            start, length = at + 1, first
        elif first < 224:
            start, length = at + 2, (first - 192 << 8) + int.from_bytes(data[at + 1 : at + 2], "big") + 192
        elif first == 255:
            start, length = at + 5, int.from_bytes(data[at + 1 : at + 5], "big")
        else:
            start, length = at + 1, 1 << (first & 0x1F)
        pieces.append(data[start : start + length])
        at = start + length
        if first < 224 or first == 255:
            return b"".join(pieces), at, at <= len(data)
    return b"".join(pieces), at, False
