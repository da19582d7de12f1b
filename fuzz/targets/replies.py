"""Replies of a server: however they arrive, the same values; memory is bounded; what we render reads back as it was."""

from collections.abc import Iterator
from typing import Final

from gatepost.model.reply import Reply
from gatepost.smtp.errors import ReplySyntaxError
from gatepost.smtp.extensions import parse_extensions
from gatepost.smtp.replies import render
from gatepost.smtp.reply_parser import LINE_LIMIT, LINES_LIMIT, ReplyParser

from .cutting import cut

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 600

_LONG: Final = ((b"~L~", b"x" * (LINE_LIMIT - 4)), (b"~M~", b"250-x\r\n" * (LINES_LIMIT - 1)))


def execute(data: bytes) -> None:
    """Read the input whole and in pieces, and read again what we would say in its place."""
    if len(data) < 2:
        return
    stream = data[1:]
    for short, long in _LONG:
        if short in stream:
            stream = stream.replace(short, long, 2)
    replies, end = _read(stream, 0)
    assert _read(stream, data[0]) == (replies, end)
    for answer in replies:
        assert 200 <= answer.code <= 599
        assert 0 < len(answer.lines) <= LINES_LIMIT
        assert all(line.isascii() for line in answer.lines)
        extensions = parse_extensions(answer)
        assert extensions.size_limit >= 0
        line = render(answer, enhanced=True)
        assert line.endswith(b"\r\n")
        assert all(len(each) <= 510 for each in line[:-2].split(b"\r\n"))
        again, trouble = _read(line, 0)
        assert not trouble
        assert len(again) == 1
        assert (again[0].code, len(again[0].lines)) == (answer.code, len(answer.lines))


def _read(stream: bytes, seed: int) -> tuple[list[Reply], str]:
    parser = ReplyParser()
    replies: list[Reply] = []
    for piece in cut(stream, seed):
        parser.feed(piece)
        try:
            while (answer := parser.next_reply()) is not None:
                replies.append(answer)
        except ReplySyntaxError as error:
            return replies, str(error)
        assert len(parser._buffer) < LINE_LIMIT
    return replies, ""


WORDS: Final = (
    b"250 ok\r\n", b"250-", b"250", b"2.1.0 ", b"5.1.1 ", b"421 bye\r\n", b"354 go\r\n", b"SIZE 100", b"SIZE 99999999999999999999", b"STARTTLS",
    b"PIPELINING", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"~L~", b"~M~", b"199 x\r\n", b"600 x\r\n", b"2.999.999", b"2.1000.1",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield dialogues, whole and in pieces."""
    streams = (
        b"220 hi\r\n250-a\r\n250-SIZE 10\r\n250 DSN\r\n", b"250 2.1.0 ok\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n", b"250\r\n250-\r\n250 \r\n",
        b"250 ok\n354 go\n", b"250 ~L~\r\n", b"~M~250 x\r\n", b"250-a\r\n251 b\r\n", b"999 x\r\n",
    )  # fmt: skip
    for stream in streams:
        for seed in (70, 250):
            yield bytes((seed,)) + stream
