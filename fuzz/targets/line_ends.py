"""Carriage returns alone: the reading that ends lines at them moves no byte, and is asked for wherever it may differ."""

from collections.abc import Iterator
from typing import Final

from gatepost.antivirus.openers.mailbase import open_mail, open_mbox
from gatepost.mime.line_ends import end_lines, read_returns
from gatepost.mime.structure import parse

from .opened import check
from .structure import WORDS as _MIME_WORDS
from .structure import look_at
from .structure import seeds as _messages

INSTRUMENTED: Final = ("gatepost",)
LENGTH_LIMIT: Final = 1500


def execute(data: bytes) -> None:
    """Read the message as it is and with other line ends; open it as a file, too."""
    message = parse(data)
    other = read_returns(message)
    ended = end_lines(data)
    _check_ends(data, ended)
    if other is None:
        # Nothing but the body may hold such a return, and the boundaries were found without it.
        assert not _has_return_alone(data[message.root.start : message.root.body])
    else:
        assert other == ended
        look_at(parse(other))
        assert read_returns(parse(other)) is None
    check(open_mail, data)
    check(open_mbox, data)


def _check_ends(data: bytes, ended: bytes) -> None:
    assert len(ended) == len(data)
    assert not _has_return_alone(ended)
    assert end_lines(ended) == ended
    for at, (before, after) in enumerate(zip(data, ended, strict=True)):
        assert before == after or (before == 0x0D and after == 0x0A and data[at + 1 : at + 2] != b"\n")


def _has_return_alone(text: bytes) -> bool:
    return b"\r" in text.replace(b"\r\n", b"")


WORDS: Final = (*_MIME_WORDS, b"\r\r", b"\r\n\r", b"\n\r", b"\r--b\r", b"\rContent-Type: ", b"From a b 10:00\r")


def seeds() -> Iterator[bytes]:
    """Yield the messages of `structure` with their line ends in each of the forms, and mixed."""
    for each in _messages():
        yield each.replace(b"\r\n", b"\r")
        yield each.replace(b"\r\n", b"\r", 3)
        half = len(each) // 2
        yield each[:half].replace(b"\r\n", b"\n") + each[half:].replace(b"\r\n", b"\r")
    yield b"From a b 10:00\rSubject: x\r\rtext\rFrom c d 11:00\rSubject: y\r\rtext\r"
