"""The protocol of clamd: replies whole, in pieces, out of order, wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.clamd import (
    INSTREAM,
    OPEN_LIMIT,
    PING,
    REPLY_LIMIT,
    TEXT_LIMIT,
    VERSION,
    Answer,
    ClamdError,
    ClamdReply,
    ClamdSession,
    Judgement,
    instream_head,
    judge,
)


def session(*commands: bytes) -> ClamdSession:
    made = ClamdSession()
    for command in commands:
        made.command(command)
    return made


def test_replies_come_in_any_order() -> None:
    talk = session(INSTREAM, VERSION, INSTREAM, PING)
    raw = b"3: stream: Eicar-Signature FOUND\0" + b"1: stream: OK\0" + b"4: PONG\0" + b"2: ClamAV 1.4.6/27500/x\0"
    assert talk.feed(raw) == [
        ClamdReply(3, Answer.FOUND, "Eicar-Signature"),
        ClamdReply(1, Answer.CLEAN),
        ClamdReply(4, Answer.PONG),
        ClamdReply(2, Answer.VERSION, "ClamAV 1.4.6/27500/x"),
    ]
    assert talk.open == 0


@given(st.lists(st.integers(1, 40), max_size=20))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    raw = b"1: stream: A.B-1 FOUND\0" + b"2: stream: OK\0" + b"3: Can't allocate memory ERROR\0"
    talk = session(INSTREAM, INSTREAM, INSTREAM)
    got: list[ClamdReply] = []
    rest = raw
    for cut in cuts:
        piece, rest = rest[:cut], rest[cut:]
        got += talk.feed(piece)
    got += talk.feed(rest)
    assert [(reply.number, reply.answer) for reply in got] == [
        (1, Answer.FOUND), (2, Answer.CLEAN), (3, Answer.ERROR),
    ]  # fmt: skip


@given(st.binary(max_size=200))
def test_noise_never_makes_an_object_clean(noise: bytes) -> None:
    talk = session(INSTREAM)
    try:
        replies = talk.feed(noise + b"\0")
    except ClamdError:
        return
    assert noise.startswith(b"1: stream: OK\0") or all(reply.answer is not Answer.CLEAN for reply in replies) or (
        noise == b"1: stream: OK"
    )  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        b"2: stream: OK\0",  # not asked
        b"1: stream: OK\0001: stream: OK\0",  # twice
        b"0: stream: OK\0",
        b"1: stream: OK \0",
        b"1: OK\0",
        b"1: stream: FOUND\0",
        b"1: PONG\0",  # to another command
        b"1: \0",
        b"\0",
        b"stream: OK\0",  # without a number
        b"-1: stream: OK\0",
        b"\xd9\xa1: stream: OK\0",
        b"99999999999: stream: OK\0",
        b"HTTP/1.1 400 Bad Request\r\n\0",
    ],
)
def test_what_is_no_reply_ends_the_session(raw: bytes) -> None:
    with pytest.raises(ClamdError):
        session(INSTREAM).feed(raw)


def test_size_limits_are_an_answer_with_and_without_a_number() -> None:
    text = b"INSTREAM size limit exceeded. ERROR\0"
    assert session(INSTREAM).feed(b"1: " + text)[0].answer is Answer.TOO_LARGE
    assert session(INSTREAM).feed(text) == [ClamdReply(0, Answer.TOO_LARGE, "INSTREAM size limit exceeded.")]
    assert session(INSTREAM).feed(b"COMMAND READ TIMED OUT\0")[0].number == 0


def test_a_reply_is_bounded() -> None:
    head = b"1: stream: "
    longest = head + b"x" * (REPLY_LIMIT - len(head) - len(b" FOUND")) + b" FOUND"
    assert session(INSTREAM).feed(longest + b"\0")[0].text == "x" * TEXT_LIMIT
    with pytest.raises(ClamdError):
        session(INSTREAM).feed(longest + b"x\0")
    with pytest.raises(ClamdError):
        session(INSTREAM).feed(b"1" * (REPLY_LIMIT + 1))


def test_what_a_server_says_is_cleaned() -> None:
    assert session(INSTREAM).feed(b"1: stream: a\r\nb\x1b[1m\xff FOUND\0")[0].text == "a??b?[1m\ufffd"


def test_commands_under_way_are_bounded() -> None:
    talk = session(*[INSTREAM] * OPEN_LIMIT)
    with pytest.raises(ClamdError):
        talk.command(INSTREAM)


def test_an_object_is_one_piece_and_an_empty_one_none() -> None:
    assert instream_head(258) == b"zINSTREAM\0\0\0\1\2"
    assert instream_head(0) == b"zINSTREAM\0"


@pytest.mark.parametrize(
    ("name", "judgement"),
    [
        ("Win.Test.EICAR_HDB-1", Judgement.INFECTED),
        ("Heuristics.Encrypted.Zip", Judgement.PROTECTED),
        ("Heuristics.Limits.Exceeded.MaxFileSize", Judgement.UNSCANNED),
        ("Heuristics.Broken.Media.JPEG", Judgement.UNSCANNED),
        ("Heuristics.Phishing.Email.SpoofedDomain", Judgement.SUSPICIOUS),
        ("PUA.Win.Packer.Upx-1", Judgement.SUSPICIOUS),
        ("Eicar.UNOFFICIAL", Judgement.INFECTED),
    ],
)
def test_names_tell_how_bad_it_is(name: str, judgement: Judgement) -> None:
    assert judge(name) is judgement
