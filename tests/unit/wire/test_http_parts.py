"""Heads and chunked bodies, in whatever pieces they come."""

import time

import pytest

from gatepost.wire.http import (
    CHUNK_LINE_LIMIT,
    FIELDS_LIMIT,
    HEAD_LIMIT,
    TRAILER_LIMIT,
    ChunkReader,
    HttpError,
    build_chunk,
    cut_head,
    parse_head,
)


class TestHead:
    def test_a_head_is_cut_off_and_what_follows_stays(self):
        pending = bytearray(b"OPTIONS x ICAP/1.0\r\nHost: y\r\n")
        assert cut_head(pending) is None
        pending += b"\r\nrest"
        assert cut_head(pending) == b"OPTIONS x ICAP/1.0\r\nHost: y"
        assert pending == b"rest"

    def test_blanks_within_a_value_cost_no_more_than_letters(self):
        begun = time.process_time()
        head = parse_head(b"A\r\nX: a" + b" " * (HEAD_LIMIT - 10) + b"a \t")
        assert time.process_time() - begun < 2  # it was half a minute
        assert len(head.fields["x"]) == HEAD_LIMIT - 8

    def test_line_and_fields(self):
        head = parse_head(b"A b c\r\nHost:  y \r\nALLOW: 204\r\nAllow: 206\r\nEmpty:")
        assert head.line == "A b c"
        assert head.fields == {"host": "y", "allow": "204, 206", "empty": ""}

    @pytest.mark.parametrize(
        "line", [b" folded", b"Name : x", b": x", b"no colon", b"N\xe4me: x", b"a: b\0c", b"a: b\rc"]
    )
    def test_what_could_be_read_in_two_ways_is_refused(self, line):
        with pytest.raises(HttpError):
            parse_head(b"A b c\r\nHost: y\r\n" + line)

    def test_limits(self):
        assert cut_head(bytearray(b"x" * HEAD_LIMIT + b"\r\n\r\n")) == b"x" * HEAD_LIMIT
        with pytest.raises(HttpError):
            cut_head(bytearray(b"x" * (HEAD_LIMIT + 4)))
        assert len(parse_head(b"l" + b"".join(b"\r\nF%d: x" % n for n in range(FIELDS_LIMIT))).fields) == FIELDS_LIMIT
        with pytest.raises(HttpError):
            parse_head(b"l" + b"\r\nF: x" * (FIELDS_LIMIT + 1))

    @pytest.mark.parametrize(("text", "number"), [("0", 0), ("12", 12), ("999999999999", 999_999_999_999)])
    def test_numbers(self, text, number):
        assert parse_head(f"l\r\nN: {text}".encode()).number("n") == number

    @pytest.mark.parametrize("text", ["", "-1", "+1", "1 2", "0x1", "1" * 13, "٣"])
    def test_no_numbers(self, text):
        with pytest.raises(HttpError):
            parse_head(f"l\r\nN: {text}".encode()).number("n")
        assert parse_head(b"l").number("n", 7) == 7


BODY = build_chunk(b"hello ") + b"5;a=b\r\nworld\r\n0; ieof\r\nX: y\r\n\r\n"


class TestChunks:
    @pytest.mark.parametrize("step", [1, 2, 3, 7, len(BODY)])
    def test_the_same_in_whatever_pieces(self, step):
        reader, pending, read = ChunkReader(), bytearray(), b""
        for start in range(0, len(BODY), step):
            assert not reader.done
            pending += BODY[start : start + step]
            read += reader.read(pending)
        assert reader.done
        assert read == b"hello world"
        assert reader.extension == "ieof"

    def test_what_follows_stays(self):
        pending = bytearray(BODY + b"NEXT")
        reader = ChunkReader()
        assert reader.read(pending) == b"hello world"
        assert pending == b"NEXT"
        assert reader.read(pending) == b""
        assert pending == b"NEXT"

    def test_a_long_chunk_does_not_wait_for_its_end(self):
        pending = bytearray(b"ffffffff\r\n" + bytes(1000))
        assert ChunkReader().read(pending) == bytes(1000)
        assert not pending

    @pytest.mark.parametrize(
        "body",
        [b"\r\n", b"-1\r\n", b"0x5\r\n", b" 5\r\n", b"123456789\r\n", b"5\r\nhello!\r\n", b"1" * (CHUNK_LINE_LIMIT + 2), b"0\r\n" + b"x" * (TRAILER_LIMIT + 2), b"0\r\n" + b"X: y\r\n" * TRAILER_LIMIT],
    )  # fmt: skip
    def test_what_is_no_chunk(self, body):
        reader, pending = ChunkReader(), bytearray(body)
        with pytest.raises(HttpError):
            reader.read(pending)
