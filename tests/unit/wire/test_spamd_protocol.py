"""What spamc and its relatives say, in whatever pieces it comes; and what is no request."""

import time
import zlib

import pytest

from gatepost.wire import spamd
from gatepost.wire.spamd import (
    FIELDS_LIMIT,
    HEAD_LIMIT,
    LINE_LIMIT,
    UNPACKED_FREE,
    Command,
    Dialect,
    Exit,
    Lesson,
    SpamdError,
    SpamdRequest,
    SpamdSession,
    build_error,
    build_scored,
    build_told,
    parse_lesson,
)

LIMIT = 4_000_000
MAIL = b"Subject: x\r\n\r\nbody\r\n"
BOTH = (Dialect.SPAMC, Dialect.RSPAMC)


def read(stream: bytes, step: int = 0, limit: int = LIMIT, dialects: tuple[Dialect, ...] = BOTH) -> SpamdRequest:
    """Feed in pieces of `step` bytes, then end."""
    session = SpamdSession(limit, dialects)
    step = step or max(1, len(stream))
    for at in range(0, len(stream), step):
        request = session.feed(stream[at : at + step])
        if request is not None:
            return request
    return session.end()


def refusal(stream: bytes, **options: object) -> SpamdError:
    with pytest.raises(SpamdError) as caught:
        read(stream, **options)
    return caught.value


def ask(fields: bytes = b"", mail: bytes = MAIL, command: bytes = b"CHECK SPAMC/1.5") -> bytes:
    return command + b"\r\nContent-length: %d\r\n" % len(mail) + fields + b"\r\n" + mail


class TestRequests:
    @pytest.mark.parametrize("step", [0, 1, 2, 7])
    def test_a_mail_with_its_length(self, step):
        request = read(ask(b"User: bob\r\n"), step)
        assert (request.command, request.dialect, request.version) == (Command.CHECK, Dialect.SPAMC, (1, 5))
        assert request.content == MAIL
        assert request.field("user") == "bob"
        assert request.field("absent") == ""

    @pytest.mark.parametrize("step", [0, 1, 3])
    def test_without_a_length_the_end_of_the_connection_is_its_end(self, step):
        stream = b"PROCESS SPAMC/1.2\r\n\r\n" + MAIL
        assert SpamdSession(LIMIT).feed(stream) is None
        assert read(stream, step).content == MAIL

    @pytest.mark.parametrize("step", [0, 1])
    def test_bare_line_feeds_end_lines_as_well(self, step):
        request = read(b"CHECK SPAMC/1.2\nContent-length: 4\nUser: x\n\nA: b", step)
        assert (request.content, request.field("user")) == (b"A: b", "x")

    def test_what_follows_is_ignored(self):
        assert read(ask() + b"CHECK SPAMC/1.5\r\n\r\n").content == MAIL

    def test_an_empty_line_in_the_mail_ends_no_head(self):
        assert read(b"CHECK SPAMC/1.2\r\n\r\n\r\n\r\nx").content == b"\r\n\r\nx"

    @pytest.mark.parametrize("word", ["PING", "SKIP"])
    def test_a_word_needs_one_line_only(self, word):
        session = SpamdSession(LIMIT)
        assert session.feed(word.encode() + b" SPAMC/1.2\r") is None
        assert session.feed(b"\n").command is Command[word]

    def test_the_envelope_in_fields(self):
        head = b"From: <a@b>\r\nRecipient-Number: 2\r\nRcpt: <c@d>\r\nRcpt: <e@f>\r\n"
        request = read(ask(head, command=b"CHECK RSPAMC/1.3"))
        assert request.dialect is Dialect.RSPAMC
        assert request.values("rcpt") == ["<c@d>", "<e@f>"]

    def test_a_dialect_that_is_not_served(self):
        assert refusal(ask(command=b"CHECK RSPAMC/1.3"), dialects=(Dialect.SPAMC,)).code is Exit.PROTOCOL

    def test_a_session_knows_whether_anything_came(self):
        session = SpamdSession(LIMIT)
        assert not session.begun
        session.feed(b"C")
        assert session.begun


class TestRefusals:
    @pytest.mark.parametrize(
        "stream",
        [
            b"GET / HTTP/1.0\r\n\r\n", b"CHECK\r\n\r\n", b"check SPAMC/1.2\r\n\r\n", b"CHECK SPAMC/x\r\n\r\n", b"EXPN SPAMC/1.2\r\n\r\n", b"\r\n", b"\0\n",
            b"CHECK SPAMC/1.2\r\nno colon\r\n\r\n", b"CHECK SPAMC/1.2\r\n folded: x\r\n\r\n", b"CHECK SPAMC/1.2\r\nA: b\0c\r\n\r\n",
            b"CHECK SPAMC/1.2\r\nContent-length: x\r\n\r\n", b"CHECK SPAMC/1.2\r\nContent-length: -1\r\n\r\n", b"CHECK SPAMC/1.2\r\nContent-length: 1\r\nContent-Length: 2\r\n\r\n",
            b"CHECK SPAMC/1.2\r\nCompress: lzma\r\nContent-length: 1\r\n\r\nx", b"", b"CHECK SPAMC/1.2", b"CHECK SPAMC/1.2\r\nUser: x\r\n", b"CHECK SPAMC/1.2\r\nContent-length: 9\r\n\r\nshort",
        ],
    )  # fmt: skip
    def test_what_is_no_request(self, stream):
        assert refusal(stream).code is Exit.PROTOCOL
        if len(stream) > 1:
            assert refusal(stream, step=1).code is Exit.PROTOCOL

    def test_a_length_beyond_the_limit_is_refused_before_anything_of_it_comes(self):
        session = SpamdSession(100)
        with pytest.raises(SpamdError) as caught:
            session.feed(b"CHECK SPAMC/1.2\r\nContent-length: 101\r\n\r\n")
        assert caught.value.code is Exit.UNAVAILABLE
        assert read(ask(mail=b"x" * 100), limit=100).content == b"x" * 100
        assert refusal(b"CHECK SPAMC/1.2\r\nContent-length: " + b"9" * 5000 + b"\r\n\r\n").code is Exit.PROTOCOL
        assert refusal(b"CHECK SPAMC/1.2\r\nContent-length: " + b"9" * 50 + b"\r\n\r\n").code is Exit.UNAVAILABLE

    def test_a_mail_without_length_that_never_ends(self):
        session = SpamdSession(100)
        assert session.feed(b"CHECK SPAMC/1.2\r\n\r\n" + b"x" * 100) is None
        with pytest.raises(SpamdError) as caught:
            session.feed(b"x")
        assert caught.value.code is Exit.UNAVAILABLE

    def test_a_head_without_end(self):
        session = SpamdSession(LIMIT)
        with pytest.raises(SpamdError):
            session.feed(b"x" * LINE_LIMIT)
        assert (
            refusal(b"CHECK SPAMC/1.2\r\n" + (b"A: " + b"x" * 995 + b"\r\n") * (HEAD_LIMIT // 1000 + 2), step=4096).code
            is Exit.PROTOCOL
        )

    def test_fields(self):
        assert len(read(ask(b"A: b\r\n" * (FIELDS_LIMIT - 1))).fields) == FIELDS_LIMIT
        assert refusal(ask(b"A: b\r\n" * FIELDS_LIMIT)).code is Exit.PROTOCOL
        assert refusal(ask(b"A: " + b"b" * LINE_LIMIT + b"\r\n")).code is Exit.PROTOCOL

    def test_what_the_client_said_is_told_in_plain_characters(self):
        assert str(refusal(b"\x1b[2J\xff\r\n")) == "?[2J?"


class TestPacked:
    def test_a_packed_mail(self):
        assert read(ask(b"Compress: zlib\r\n", zlib.compress(MAIL)), step=5).content == MAIL

    def test_it_needs_its_length(self):
        error = refusal(b"CHECK SPAMC/1.2\r\nCompress: zlib\r\n\r\n" + zlib.compress(MAIL))
        assert error.code is Exit.UNAVAILABLE

    @pytest.mark.parametrize("packed", [b"", b"nonsense", zlib.compress(MAIL)[:-5]])
    def test_what_is_not_packed_soundly(self, packed):
        assert refusal(ask(b"Compress: zlib\r\n", packed)).code is Exit.DATAERR

    def test_a_bomb(self):
        packed = zlib.compress(bytes(3 * UNPACKED_FREE), 9)
        assert len(packed) * 500 < 3 * UNPACKED_FREE
        assert refusal(ask(b"Compress: zlib\r\n", packed)).code is Exit.UNAVAILABLE

    def test_the_limit_is_of_what_is_unpacked(self):
        packed = zlib.compress(b"xy" * 60)
        assert refusal(ask(b"Compress: zlib\r\n", packed), limit=119).code is Exit.UNAVAILABLE
        assert len(read(ask(b"Compress: zlib\r\n", packed), limit=120).content) == 120


def request(command: Command, version: tuple[int, int] = (1, 5), **fields: str) -> SpamdRequest:
    return SpamdRequest(command, Dialect.SPAMC, version, tuple((k.replace("_", "-"), v) for k, v in fields.items()))


class TestAnswers:
    """Forms as spamd 4.0.1 gives them."""

    def test_check(self):
        answer = build_scored(request(Command.CHECK), 15.04, 5.0, b"", spam=True)
        assert answer == b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 15.0 / 5.0\r\n\r\n"
        answer = build_scored(request(Command.CHECK, (1, 2)), -1.0, 5.0, b"", spam=False)
        assert answer == b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; -1.0 / 5.0\r\n\r\n"

    @pytest.mark.parametrize(
        ("version", "answer"),
        [
            ((1, 2), b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9.0 / 5.0\r\n\r\nA,B\r\n"),
            ((1, 3), b"SPAMD/1.1 0 EX_OK\r\nContent-length: 3\r\nSpam: True ; 9.0 / 5.0\r\n\r\nA,B"),
        ],
    )
    def test_symbols(self, version, answer):
        assert build_scored(request(Command.SYMBOLS, version), 9, 5, b"A,B", spam=True) == answer

    def test_report_of_exim(self):
        answer = build_scored(request(Command.REPORT, (1, 2)), 9, 5, b"text\n", spam=True)
        assert answer == b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9.0 / 5.0\r\n\r\ntext\n"

    def test_report_if_spam_has_other_words(self):
        assert b"Spam: Yes ;" in build_scored(request(Command.REPORT_IFSPAM), 9, 5, b"", spam=True)
        assert b"Spam: No ;" in build_scored(request(Command.REPORT_IFSPAM), 1, 5, b"", spam=False)

    @pytest.mark.parametrize(
        ("version", "head"),
        [
            ((1, 1), b"SPAMD/1.0 0 EX_OK\r\n"),
            ((1, 2), b"SPAMD/1.1 0 EX_OK\r\nContent-length: 20\r\n\r\n"),
            ((1, 5), b"SPAMD/1.1 0 EX_OK\r\nContent-length: 20\r\nSpam: False ; 0.0 / 5.0\r\n\r\n"),
        ],
    )
    def test_process(self, version, head):
        assert build_scored(request(Command.PROCESS, version), 0, 5, MAIL, spam=False) == head + MAIL

    def test_errors(self):
        assert build_error(Exit.PROTOCOL, "x") == b"SPAMD/1.0 76 Bad header line: x\r\n"
        assert build_error(Exit.TIMEOUT, "x") == b"SPAMD/1.0 79 Timeout: x\r\n"
        assert build_error(Exit.TEMPFAIL, "x") == b"SPAMD/1.0 75 Service Unavailable: x\r\n"
        assert spamd.build_pong() == b"SPAMD/1.5 0 PONG\r\n"


class TestTell:
    @pytest.mark.parametrize(
        ("fields", "lesson"),
        [
            ({"message_class": "spam", "set": "local"}, Lesson(spam=True, learn=True)),
            ({"message_class": "Ham", "set": "local, remote"}, Lesson(spam=False, learn=True)),
            ({"remove": "local"}, Lesson(forget=True)),
            ({"message_class": "spam", "set": "remote"}, Lesson(spam=True)),
            ({}, Lesson()),
        ],
    )
    def test_what_is_wanted(self, fields, lesson):
        assert parse_lesson(request(Command.TELL, **fields)) == lesson

    @pytest.mark.parametrize(
        "fields",
        [{"set": "local"}, {"message_class": "eggs", "set": "local"}, {"set": "local", "remove": "local", "message_class": "ham"}],
    )  # fmt: skip
    def test_what_cannot_be_done(self, fields):
        with pytest.raises(SpamdError) as caught:
            parse_lesson(request(Command.TELL, **fields))
        assert caught.value.code is Exit.PROTOCOL

    def test_answers(self):
        assert build_told(Lesson(learn=True)) == b"SPAMD/1.1 0 EX_OK\r\nDidSet: local\r\n\r\n"
        assert build_told(Lesson(forget=True)) == b"SPAMD/1.1 0 EX_OK\r\nDidRemove: local\r\n\r\n"
        assert build_told(None) == b"SPAMD/1.1 0 EX_OK\r\n\r\n"


def test_blanks_within_a_value_cost_no_more_than_letters():
    field = b"X: a" + b" " * (LINE_LIMIT - 8) + b"a \r\n"
    begun = time.process_time()
    request = read(b"SYMBOLS SPAMC/1.5\r\n" + field * 250 + b"\r\n")
    assert time.process_time() - begun < 2  # it was seven seconds
    assert len(request.field("x")) == LINE_LIMIT - 6
