"""From 8-bit and binary content to 7-bit (RFC 6152 §3, RFC 3030 §3): a plan of splices that re-encodes bodies.

For peers that take less than the content has. The plan is made where untrusted bytes may be read, in the filter; the
relay must not call this, it only applies the splices to the content they were made for. Pure, never raises, linear.

Promises: with the splices applied the content is 7-bit (RFC 2045 §2.7) in every body and ASCII everywhere else, every
body decodes to the bytes it had, every other byte is as it came, and encoded lines have at most 76 characters. Where
that is impossible, or would break a signature, the plan is an obstacle instead.
"""

import binascii
import enum
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from gatepost.mime.edit import BASE64_LINE, CRLF, MAX_LINE, merge
from gatepost.mime.part import Defect, Encoding, Field, Message, Part
from gatepost.mime.report import part_spans
from gatepost.mime.structure import is_container, parse
from gatepost.model.verdict import Splice

_NOT_SEVEN_BIT = re.compile(rb"[\x00\x80-\xff]")
_LONG_QP_LINE = re.compile(rb"^([^\n]{74})(=(?:20|09))(?=\r\n)", re.MULTILINE)
_SIGNATURES: Final = frozenset({b"dkim-signature", b"arc-message-signature"})
"""Fields that sign the body as it is (RFC 6376 §3.7, RFC 8617 §4.1.2)."""
_SIGNED_TYPES: Final = frozenset({"multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"})
_HARMLESS: Final = frozenset(
    {
        Defect.MBOX_FROM,
        Defect.PARAMETER_MALFORMED,
        Defect.TYPE_MALFORMED,
        Defect.BOUNDARY_UNTERMINATED,
        Defect.LOOKS_ENCODED,
    }
)
"""Defects in spite of which every reader finds the same bytes in the body."""


class Obstacle(enum.StrEnum):
    """Why content cannot be made 7-bit."""

    SIGNED = "signed"
    """The body is part of a signed multipart or object (RFC 1847 §2.1: no gateway may re-encode it)."""
    SIGNATURE_FIELD = "signature-field"
    """The message carries DKIM or ARC signatures, which cover the body as it is."""
    PARTIAL = "partial"
    """A fragment of a message (RFC 2046 §5.2.2): its encoding is that of the whole."""
    COMPOSITE = "composite"
    """A body of type message/… that is no message: it may not be encoded (RFC 2045 §6.4)."""
    OUTSIDE = "outside"
    """8-bit or NUL bytes where no encoding can stand: in a header, or in the text around parts."""
    AMBIGUOUS = "ambiguous"
    """Readers may differ about where the body is, or how it is encoded."""


class SevenBitPlan(msgspec.Struct, frozen=True, array_like=True):
    """How to make one content 7-bit. Neither splices nor an obstacle: it is 7-bit."""

    splices: tuple[Splice, ...] = ()
    obstacle: Obstacle | None = None


def plan_seven_bit(content: bytes) -> SevenBitPlan:
    """Return how to make received `content` 7-bit. For the filter; see `plan_message`."""
    return plan_message(parse(content))


def plan_message(message: Message) -> SevenBitPlan:
    """Return how to make the content of a parsed message 7-bit. For the filter, which has the tree already.

    Text with proper lines becomes quoted-printable, everything else base64. The splices hold the encoded bodies: up to
    three times the 8-bit content.
    """
    content = message.content
    splices: list[Splice] = []
    headers: set[int] = set()
    for leaf in _leaves(message.root):
        part = leaf.part
        raw = content[part.body : part.end]
        if is_seven_bit(raw):
            continue
        if part.encoding is not Encoding.IDENTITY:
            if _NOT_SEVEN_BIT.search(raw):
                return SevenBitPlan(obstacle=Obstacle.AMBIGUOUS)
            continue  # odd line ends in a body that is encoded already are for its decoder to bear
        obstacle = _obstacle(leaf)
        if obstacle is not None:
            return SevenBitPlan(obstacle=obstacle)
        encoding, encoded = _encode(part, raw)
        splices.append(Splice(part.body, part.end, encoded))
        splices += _header_splices(content, part, encoding, headers)
    if not splices and not _NOT_SEVEN_BIT.search(content):
        return SevenBitPlan()
    if message.truncated:
        return SevenBitPlan(obstacle=Obstacle.AMBIGUOUS)
    if any(field.name in _SIGNATURES for field in message.root.fields):
        return SevenBitPlan(obstacle=Obstacle.SIGNATURE_FIELD)
    planned = merge(splices)
    if not _rest_is_ascii(content, planned):
        return SevenBitPlan(obstacle=Obstacle.OUTSIDE)
    return SevenBitPlan(planned)


def is_seven_bit(raw: bytes) -> bool:
    """Tell whether a body is 7-bit data: ASCII without NUL, in CRLF lines of at most 998 bytes (RFC 2045 §2.7)."""
    return raw.isascii() and b"\0" not in raw and _has_proper_lines(raw) and max(map(len, raw.split(CRLF))) <= MAX_LINE


def _has_proper_lines(raw: bytes) -> bool:
    return raw.count(b"\r") == raw.count(b"\n") == raw.count(CRLF)


class _Leaf(NamedTuple):
    """A part whose body lies in the content as it came, and what is known of all that it lies in."""

    part: Part
    signed: bool
    doubtful: bool


def _leaves(root: Part) -> Iterator[_Leaf]:
    """Yield the leaves of the content's own coordinate space; encoded messages inside it stay closed."""
    stack = [_Leaf(root, signed=False, doubtful=False)]
    while stack:
        part, signed, doubtful = stack.pop()
        signed = signed or part.content_type in _SIGNED_TYPES
        doubtful = doubtful or any(defect not in _HARMLESS for defect in part.defects)
        if part.children:
            stack += [_Leaf(child, signed, doubtful) for child in reversed(part.children)]
        else:
            yield _Leaf(part, signed, doubtful)


def _obstacle(leaf: _Leaf) -> Obstacle | None:
    """Return why the body of a leaf cannot be encoded."""
    content_type = leaf.part.content_type
    if content_type == "message/partial":
        return Obstacle.PARTIAL
    if leaf.signed:
        return Obstacle.SIGNED
    if leaf.doubtful or is_container(content_type):
        return Obstacle.AMBIGUOUS
    return Obstacle.COMPOSITE if content_type.startswith("message/") else None


def _encode(part: Part, raw: bytes) -> tuple[bytes, bytes]:
    """Return (encoding, encoded body), which ends with CRLF when the body did."""
    if part.content_type.startswith("text/") and b"\0" not in raw and _has_proper_lines(raw):
        ended = raw.endswith(CRLF)
        # `b2a_qp` takes its line ends from the first it finds, and lets a blank at the end of a line run over by one.
        encoded = _LONG_QP_LINE.sub(rb"\1=\r\n\2", binascii.b2a_qp(raw if ended else raw + CRLF))
        # A soft line break must not put at the start of a line what may be the delimiter of a multipart.
        if b"=\r\n--" not in encoded:
            return b"quoted-printable", encoded if ended else encoded[: -len(CRLF)]
    lines = [
        binascii.b2a_base64(raw[start : start + BASE64_LINE], newline=False)
        for start in range(0, len(raw), BASE64_LINE)
    ]
    return b"base64", CRLF.join(lines) + (CRLF if raw.endswith(CRLF) else b"")


def _header_splices(content: bytes, leaf: Part, encoding: bytes, done: set[int]) -> Iterator[Splice]:
    """Yield what the header of a re-encoded part, and those of all that it lies in, have to say anew. `done`: where the
    bodies start whose headers have been seen to.
    """
    node: Part | None = leaf
    while node is not None and node.body not in done:
        done.add(node.body)
        field = _field(node, b"content-transfer-encoding")
        stated = b"Content-Transfer-Encoding: " + (encoding if node is leaf else b"7bit") + CRLF
        added = stated if node is leaf and field is None else b""
        if field is not None and (node is leaf or _token(content, field) in {b"8bit", b"binary"}):
            yield Splice(field.start, field.end, stated)
        is_message = node.parent is None or not node.delimiter[1]
        if is_message and _field(node, b"mime-version") is None:
            added = b"MIME-Version: 1.0" + CRLF + added
        if added:
            place = part_spans(content, node).fields[-1].start
            yield Splice(place, place, added)
        node = node.parent


def _token(content: bytes, field: Field) -> bytes:
    return content[field.value : field.value_end].strip().lower()


def _field(part: Part, name: bytes) -> Field | None:
    return next((field for field in part.fields if field.name == name), None)


def _rest_is_ascii(content: bytes, splices: tuple[Splice, ...]) -> bool:
    """Tell whether all that stays of the content is ASCII without NUL."""
    position = 0
    for splice in splices:
        if _NOT_SEVEN_BIT.search(content, position, splice.start):
            return False
        position = splice.end
    return _NOT_SEVEN_BIT.search(content, position) is None
