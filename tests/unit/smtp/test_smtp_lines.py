"""Line ends, dot stuffing, replies in both directions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.reply import Reply, reply
from gatepost.smtp import replies
from gatepost.smtp.content import DataLimits, LineFeedPolicy
from gatepost.smtp.data import DataReader
from gatepost.smtp.errors import ReplySyntaxError
from gatepost.smtp.lines import has_bare_line_ends, normalise_line_ends
from gatepost.smtp.reply_parser import LINE_LIMIT, LINES_LIMIT, ReplyParser
from gatepost.smtp.stuffing import DotStuffer

MIXED = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b".", b"\x85", b"\xe2\x80\xa8", b"\0"])).map(b"".join)


@given(MIXED)
def test_bare_line_ends_are_those_outside_crlf(data):
    expected = re.search(rb"\r(?!\n)|(?<!\r)\n", data) is not None
    assert has_bare_line_ends(data) == expected


@given(MIXED)
def test_normalising_leaves_only_crlf_and_keeps_the_lines(data):
    fixed = normalise_line_ends(data)
    assert not has_bare_line_ends(fixed)
    assert fixed.split(b"\r\n") == re.split(rb"\r\n|\r|\n", data)


@given(st.lists(MIXED))
def test_stuffing_in_pieces_is_stuffing_at_once(pieces):
    def stuffed(parts):
        stuffer = DotStuffer()
        return b"".join([*map(stuffer.stuff, parts), stuffer.finish()])

    whole = stuffed([b"".join(pieces)])
    assert stuffed(pieces) == whole
    lines = whole.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    text = [line.removeprefix(b".") for line in lines[:-2]]
    assert b".".join([b"", *lines[:-2]]).count(b"..") >= sum(line.startswith(b".") for line in text)
    expected = normalise_line_ends(b"".join(pieces)).split(b"\r\n")
    assert text == (expected[:-1] if expected[-1] == b"" else expected)


def read_content(policy, pieces):
    reader = DataReader(policy, DataLimits(1 << 20, 1 << 20, 100))
    content = []
    for piece in pieces:
        kept, rest = reader.read(piece)
        content.append(kept)
        if rest is not None:
            break
    return reader, b"".join(content)


@given(st.lists(MIXED), st.sampled_from(LineFeedPolicy))
def test_content_told_plain_needs_no_stuffing(pieces, policy):
    reader, content = read_content(policy, [*pieces, b"\r\n.\r\n"])
    if reader.fault is None and reader.plain and not reader.fixed:
        stuffer = DotStuffer()
        assert stuffer.stuff(content) + stuffer.finish() == content + b".\r\n"
        known = DotStuffer(plain=True)
        assert known.stuff(content) + known.finish() == content + b".\r\n"


@pytest.mark.parametrize(
    ("pieces", "plain"),
    [
        ([b"a\r\nb.\r\n.\r\n"], True),
        ([b".\r\n"], True),
        ([b"", b".a\r\n.\r\n"], False),
        ([b"..a\r\n.\r\n"], False),
        ([b"a\r\n..\r\n.\r\n"], False),
        ([b"a\r\n", b"..b\r\n.\r\n"], False),
        ([b"a\r", b"\n.", b".b\r\n.\r\n"], False),
    ],
)
def test_a_line_that_begins_with_a_dot_makes_content_not_plain(pieces, plain):
    reader, _ = read_content(LineFeedPolicy.REJECT, pieces)
    assert reader.plain is plain


def test_reply_lines():
    assert replies.render(replies.SENDER_OK, enhanced=True) == b"250 2.1.0 OK\r\n"
    assert replies.render(replies.SENDER_OK, enhanced=False) == b"250 OK\r\n"
    assert replies.render(reply(550, "5.7.1", "a", "b"), enhanced=True) == b"550-5.7.1 a\r\n550 5.7.1 b\r\n"
    assert replies.render(reply(354, "", "go"), enhanced=True) == b"354 go\r\n"
    assert replies.render(Reply(250, "2.0.0", ()), enhanced=True) == b"250 2.0.0 \r\n"


@pytest.mark.parametrize("text", ["a\r\n250 b", "a\nb", "ä", "\0", "x" * 2000, "a\x7f"])
def test_text_of_a_reply_cannot_break_its_line(text):
    for answer in (reply(550, "5.7.1", text), reply(550, "5.7.1", text, text)):
        raw = replies.render(answer, enhanced=True)
        lines = raw.split(b"\r\n")
        assert len(lines) == len(answer.lines) + 1
        assert all(re.fullmatch(rb"550[ -]5\.7\.1 [ -~]*", line) for line in lines[:-1])
        assert max(map(len, lines)) <= 510


def test_standard_replies_agree_with_themselves():
    named = [value for value in vars(replies).values() if isinstance(value, Reply)]
    assert len(named) > 20
    for value in named:
        assert value.enhanced == "" or value.enhanced[0] == str(value.code)[0]
        assert value.closes or value.code not in {221, 421}


def parse(raw, size=0):
    parser = ReplyParser()
    found = []
    for i in range(0, len(raw), size or len(raw)):
        parser.feed(raw[i : i + (size or len(raw))])
        while (answer := parser.next_reply()) is not None:
            found.append(answer)
    return found


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"250 ok\r\n", [Reply(250, "", ("ok",))]),
        (b"250\r\n", [Reply(250, "", ("",))]),
        (b"250 \r\n", [Reply(250, "", ("",))]),
        (b"250 ok\n", [Reply(250, "", ("ok",))]),
        (b"250 2.1.5 ok\r\n550 5.1.1  gone\r\n", [Reply(250, "2.1.5", ("ok",)), Reply(550, "5.1.1", ("gone",))]),
        (b"250 2.0.0\r\n", [Reply(250, "2.0.0", ("",))]),
        (b"550 4.7.1 disagrees\r\n", [Reply(550, "", ("4.7.1 disagrees",))]),
        (b"550 5.1.1234 no code\r\n", [Reply(550, "", ("5.1.1234 no code",))]),
        (b"550-5.1.1 a\r\n550-b\r\n550 5.1.1 c\r\n", [Reply(550, "5.1.1", ("a", "b", "c"))]),
        (b"250-a\r\n250\r\n", [Reply(250, "", ("a", ""))]),
        (b"421 4.3.2 bye\r\n", [Reply(421, "4.3.2", ("bye",), closes=True)]),
        (b"554 caf\xc3\xa9\r\n", [Reply(554, "", ("caf\\xc3\\xa9",))]),
        (b"250 unfinished", []),
        (b"250-unfinished\r\n", []),
    ],
)
def test_replies_are_read(raw, expected):
    assert parse(raw) == expected
    assert parse(raw, 1) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n",
        b"25\r\n",
        b"2500 x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"250_x\r\n",
        b"abc\r\n",
        b"250-a\r\n251 b\r\n",
        b"250-a\r\nb\r\n",
        b"250 " + b"x" * (LINE_LIMIT - 4),
        b"250-x\r\n" * LINES_LIMIT,
    ],
)
def test_what_is_no_reply(raw):
    for size in (0, 1):
        with pytest.raises(ReplySyntaxError):
            parse(raw, size)


def test_longest_reply_is_read():
    assert parse(b"250 " + b"x" * (LINE_LIMIT - 6) + b"\r\n")[0].lines[0] == "x" * (LINE_LIMIT - 6)
    assert len(parse(b"250-x\r\n" * (LINES_LIMIT - 1) + b"250 x\r\n")[0].lines) == LINES_LIMIT
