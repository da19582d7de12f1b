"""MIME structure: whatever comes is a tree of ranges that lie in each other, and no byte of a body is without a part."""

import codecs
from collections.abc import Iterator
from typing import Final

from gatepost.mime.blocks import decode_block, find_uu_blocks
from gatepost.mime.decode import decode_body
from gatepost.mime.part import LIMIT_PREFIX, Defect, Message, MimeLimits, Part, PartKind
from gatepost.mime.report import part_spans
from gatepost.mime.structure import parse
from gatepost.mime.words import decode_header

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 2000
_TIGHT: Final = MimeLimits(depth=4, parts=12, header_bytes=300, fields=8, nested_bytes=400, readings=4)
_GROWTH: Final = 64
"""Bytes decoded for one of content: second readings, and the readings of those, see all of it again."""


def execute(data: bytes) -> None:
    """Read the message within the usual limits, then within tight ones."""
    message = parse(data)
    look_at(message)
    assert message.truncated == any(each.startswith(LIMIT_PREFIX) for each in message.defects())
    tight = parse(data, _TIGHT)
    look_at(tight)
    assert len(list(tight.leaves())) <= _TIGHT.parts * 8 + 2 * _TIGHT.readings
    if not tight.truncated:
        assert [(part.start, part.end) for part in tight.walk()] == [(part.start, part.end) for part in message.walk()]


def look_at(message: Message) -> None:
    """Check the ranges of a tree, and decode all of it."""
    known = {each.value for each in Defect}
    for part in message.walk():
        assert 0 <= part.start <= part.body <= part.end <= len(message.content)
        assert set(part.defects) <= known
        if part.parent is not None and part.kind is PartKind.PART:
            assert part.parent.body <= part.start
            assert part.end <= part.parent.end
        _check_fields(message.content, part)
        _check_children(part)
        spans = part_spans(message.content, part)
        assert all(part.start <= span.start <= span.end <= part.body for span in spans.fields)
    _check_cover(message)
    size = 0
    for holder, part in message.leaves():
        assert holder.depth >= message.depth
        body = decode_body(holder.content, part).data
        size += len(body)
        for block in find_uu_blocks(body, 0, len(body)):
            assert 0 <= block.start < block.data_start <= block.data_end <= block.end <= len(body)
            decode_block(body, block)
    assert size <= 1000 + _GROWTH * len(message.content)


def _check_fields(content: bytes, part: Part) -> None:
    at = part.start
    for field in part.fields:
        assert at <= field.start < field.value <= field.value_end <= field.end <= part.body
        assert field.name == field.name.lower()
        at = field.end
        codecs.encode(decode_header(content[field.value : field.value_end]), "utf-8", "surrogatepass")


def _check_children(part: Part) -> None:
    at = part.body
    for child in part.children:
        assert child.parent is part
        if child.delimiter[1]:
            assert at <= child.delimiter[0] < child.start <= child.end <= child.delimiter[1] <= part.end
            at = child.delimiter[1]


def _check_cover(message: Message) -> None:
    """Check that what is in no part is delimiter lines and blanks."""
    spans = [(part.start, part.end) for part in message.walk() if part.is_leaf]
    spans += [(part.start, part.end if part.nested is not None else part.body) for part in message.walk()]
    covered = 0
    for start, end in [*sorted(spans), (len(message.content), len(message.content))]:
        lines = message.content[covered:start].split(b"\n") if start > covered else []
        assert all(not line.strip(b"\0 \t\r\v\f") or line.startswith(b"--") for line in lines), lines
        covered = max(covered, end)


WORDS: Final = (
    b"Content-Type: ", b"multipart/mixed; boundary=b\r\n", b"; boundary*0=", b"; boundary*=utf-8''b", b"message/rfc822", b"message/partial", b"text/html",
    b"Content-Transfer-Encoding: ", b"base64\r\n", b"quoted-printable\r\n", b"x-uuencode\r\n", b"x-yenc", b"mac-binhex40", b"\r\n\r\n", b"\n\n", b"\r\n--b\r\n",
    b"\r\n--b--\r\n", b"--bb", b"Content-Disposition: attachment; filename*0*=utf-8''%c3; filename*1=a", b"=?utf-8?B?w6Q=?=", b"=?x?Q?=A4?=", b"From x Mon\r\n",
    b"begin 644 a\r\n", b"=ybegin line=1 name=a\r\n", b"(This file must be converted with BinHex", b"\0", b"(c)", b"QUJD", b"=20=\r\n", b"\r", b"multipart/digest",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield messages with one of each."""
    mixed = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    text = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4=\r\nx\r\nbegin 644 x\r\n#86)C\r\n`\r\nend\r\n"
    packed = b"Content-Type: a/b; name*=utf-8''%C3%A4\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJDRA==\r\n"
    inner = b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nx\r\n"
    yield (
        b"From: a\r\n"
        + mixed
        + b"pre\r\n--b\r\n"
        + text
        + b"--b\r\n"
        + packed
        + b"--b\r\n"
        + inner
        + b"--b--\r\nepi\r\n"
    )
    yield (
        mixed
        + b"--b\r\nContent-Type: multipart/alternative; boundary=bb\r\n\r\n--bb\r\n\r\none\r\n--bb--\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    )
    yield b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQTogYg0KDQpFVklM\r\n"
    yield b"Content-Type: multipart/mixed\nX: a\rb\nContent-Type: text/html\n\n--q\n\nx\n--q\njunk\n\ny\n--q--\n--q\n\nz\n"
    yield b"Content-Type: multipart/digest; boundary=x; boundary=q\r\njunk\r\n\r\n--q\r\n\r\nA: b\r\n\r\nx\r\n--qz\r\n\r\ny\r\n--q--\r\n"
    yield b"Content-Transfer-Encoding: my-base64 (x)\r\n\r\n--\r\nQQ==RVZJTA==\r\n=ybegin name=a\r\nabc=\r\n=yend\r\n"
