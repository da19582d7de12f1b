"""Base64 in lines: the quick way for lines of one length gives what the careful way gives, for whatever it is shown."""

import base64

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatepost.mime.decode import decode_base64, decode_range, join_even_lines
from gatepost.mime.part import Encoding


def in_lines(text, width, end):
    return end.join(text[start : start + width] for start in range(0, len(text), width))


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("width", [4, 60, 64, 76, 77, 998])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 57, 58, 114, 5_000])
def test_lines_of_one_length(size, width, end):
    data = bytes(index * 7 % 256 for index in range(size))
    body = in_lines(base64.b64encode(data), width, end)
    for tail in (b"", end):
        content = b"before\n" + body + tail + b"--behind"
        found = decode_range(content, 7, 7 + len(body + tail), Encoding.BASE64)
        assert found.data == data
        assert found.defects == ()


def test_text_without_its_line_ends():
    assert join_even_lines(b"abcd\r\nefgh\r\nij", 0, 14) == b"abcdefghij"
    assert join_even_lines(b"abcd\nefgh\nij", 5, 12) == b"efghij"


@pytest.mark.parametrize(
    "body", [b"", b"abcd", b"abcd\r\nefg\r\nhijk", b"abcd\r\nefghi\nabcd\r\nefg", b"abcd\nefghiabcd\nefg"]
)
def test_lines_that_differ(body):
    assert join_even_lines(body, 0, len(body)) is None


PIECES = st.sampled_from(
    [b"QUJD", b"QUJDREVG", b"QQ==", b"QUI=", b"Q", b"QU", b"=", b"\r\n", b"\n", b"\r", b" ", b"!", b"\xff", b"\\", b'"']
)


@given(st.lists(PIECES, max_size=12), st.sampled_from([b"\r\n", b"\n", b"\r\r\n"]), st.integers(1, 9))
@settings(max_examples=300)
@example([b"\n"], b"\n", 1)
@example([b"\r\n", b"\r\n"], b"\n", 1)
@example([b"QQ==", b"\r\n", b"QQ=="], b"\r\n", 4)
def test_both_ways_agree(pieces, end, width):
    body = in_lines(b"".join(pieces), width, end)
    careful = decode_base64(body)
    content = b"QUJD\n" + body + b"\nQUJD"
    assert decode_range(content, 5, 5 + len(body), Encoding.BASE64) == careful


def test_padding_inside_of_groups_is_moved_in_one_pass() -> None:
    assert decode_range(b"QUJDQQ=RQUJD", 0, 12, Encoding.BASE64_GROUPS).data == b"ABCA\x04ABC"
    for body in (b"QUJD" * 500_000 + b"Q=Q", b"=" * 2_000_000):  # hours, when each byte begins a search
        data = decode_range(body, 0, len(body), Encoding.BASE64_GROUPS).data
        assert data == (b"ABC" * 500_000 + b"A" if body[0] == 0x51 else b"")
