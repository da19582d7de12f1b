"""Cutting what a peer sent into command lines."""

from gatepost.smtp.input import COMMAND_LIMIT, InputBuffer, LineFault


def lines(*pieces: bytes) -> list[bytes | LineFault]:
    buffer = InputBuffer()
    found = []
    for piece in pieces:
        buffer.feed(piece)
        while (line := buffer.next_line()) is not None:
            found.append(line)
    return found


def test_lines():
    assert lines(b"a\r\n\r\nb\r", b"\nc") == [b"a", b"", b"b"]


def test_a_line_feed_first_is_bare_whatever_stands_at_the_end():
    assert lines(b"\nNOOP\r") == [LineFault.BARE_LINE_FEED]
    assert lines(b"a\r\n\nNOOP\r", b"\nb\r\n") == [b"a", LineFault.BARE_LINE_FEED, b"b"]


def test_a_long_line_is_one_fault_and_its_end_may_be_cut():
    long = b"x" * (COMMAND_LIMIT - 1)
    assert lines(long + b"\r\na\r\n") == [LineFault.TOO_LONG, b"a"]
    assert lines(long + b"\r", b"\na\r\n") == [LineFault.TOO_LONG, b"a"]
    assert lines(long[1:] + b"\r\n") == [long[1:]]


def test_what_is_taken_is_gone_and_what_is_put_back_is_all():
    buffer = InputBuffer()
    buffer.feed(b"DATA\r\nrest")
    assert buffer.next_line() == b"DATA"
    assert buffer.take() == b"rest"
    assert buffer.take() == b""
    buffer.put_back(b"a\r\n")
    assert buffer.next_line() == b"a"
