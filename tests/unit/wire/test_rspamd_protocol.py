"""What clients of rspamd ask, over HTTP and in the text form, in whatever pieces it comes."""

import json

import pytest

from gatepost.model.zstandard import zstd
from gatepost.wire.rspamd import FIRST_LINE_LIMIT, RspamdError, RspamdRequest, RspamdSession, Task
from gatepost.wire.rspamd_answers import (
    Action,
    Changes,
    NewField,
    Result,
    Symbol,
    build_error,
    build_old_result,
    build_result,
    build_spamc_result,
    build_text_result,
)
from gatepost.wire.spamd import HEAD_LIMIT, UNPACKED_FREE, Dialect, SpamdError

LIMIT = 4_000_000
MAIL = b"Subject: x\r\n\r\nbody\r\n"


def post(path: str = "/checkv2", body: bytes = MAIL, fields: str = "", version: str = "1.1") -> bytes:
    return f"POST {path} HTTP/{version}\r\nHost: x\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


def read(stream: bytes, step: int = 0, limit: int = LIMIT) -> RspamdRequest | None:
    session = RspamdSession(limit)
    step = step or max(1, len(stream))
    for at in range(0, len(stream), step):
        request = session.feed(stream[at : at + step])
        if request is not None:
            return request
    return session.end()


def status(stream: bytes, **options: int) -> int:
    with pytest.raises(RspamdError) as caught:
        read(stream, **options)
    return caught.value.status


class TestHttp:
    @pytest.mark.parametrize("step", [0, 1, 3])
    def test_a_mail_with_its_envelope(self, step):
        request = read(post(fields="From: <a@b>\r\nRcpt: c@d\r\nrcpt: e@f\r\nIP: 192.0.2.1\r\n"), step)
        assert request.task is Task.CHECK
        assert request.content == MAIL
        assert request.values("rcpt") == ["c@d", "e@f"]
        assert (request.field("from"), request.field("ip"), request.text_form) == ("<a@b>", "192.0.2.1", None)

    @pytest.mark.parametrize("step", [0, 1, 3])
    def test_in_chunks(self, step):
        stream = b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nSub\r\n5\r\nject:\r\n0\r\n\r\n"
        assert read(stream, step).content == b"Subject:"

    @pytest.mark.parametrize(
        ("path", "task"),
        [("/check", Task.CHECK_OLD), ("/symbols", Task.CHECK_OLD), ("/CheckV2", Task.CHECK), ("/learnspam", Task.LEARN_SPAM), ("/learnham", Task.LEARN_HAM), ("/ping", Task.PING), ("/stat", Task.STATISTICS)],
    )  # fmt: skip
    def test_commands(self, path, task):
        assert read(post(path)).task is task

    def test_several_on_one_connection(self):
        session = RspamdSession(LIMIT)
        stream = post(body=b"one") + post(body=b"two")
        assert session.feed(stream[:-1]).content == b"one"
        assert session.next() is None, "one after the other"
        assert b"200" in session.frame(200, b"{}", "application/json", "x")
        assert session.lasts
        assert session.next() is None
        assert session.feed(stream[-1:]).content == b"two"

    @pytest.mark.parametrize(("version", "fields"), [("1.0", ""), ("1.1", "Connection: close\r\n")])
    def test_one_that_closes(self, version, fields):
        session = RspamdSession(LIMIT)
        assert session.feed(post(version=version, fields=fields)) is not None
        answer = session.frame(200, b"{}", "application/json", "x")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close" in answer
        assert not session.lasts

    def test_a_client_that_waits_to_be_asked(self):
        session = RspamdSession(LIMIT)
        stream = post(fields="Expect: 100-continue\r\n")
        assert session.feed(stream[: -len(MAIL)]) is None
        assert session.go_on().startswith(b"HTTP/1.1 100 ")
        assert session.go_on() == b""
        assert session.feed(MAIL).content == MAIL

    def test_what_is_asked_for_the_head_has_no_body(self):
        session = RspamdSession(LIMIT)
        session.feed(b"HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert session.frame(200, b"pong\r\n", "text/plain", "x").endswith(
            b"Content-Length: 6\r\nContent-Type: text/plain\r\n\r\n"
        )

    def test_a_control_block(self):
        block = b'{"from": "a@b", "rcpt": ["c@d", "e@f"], "ip": "192.0.2.1", "other": {"x": 1}}'
        request = read(post(body=block + MAIL, fields=f"Message-Length: {len(MAIL)}\r\n"))
        assert request.content == MAIL
        assert (request.field("from"), request.values("rcpt"), request.field("ip")) == (
            "a@b",
            ["c@d", "e@f"],
            "192.0.2.1",
        )
        assert read(post(fields=f"Message-Length: {len(MAIL)}\r\n")).content == MAIL

    @pytest.mark.parametrize("length", ["x", "-1", "9999", "1" * 13])
    def test_a_control_block_that_is_none(self, length):
        assert status(post(fields=f"Message-Length: {length}\r\n")) == 400
        assert status(post(fields="Message-Length: 3\r\n")) == 400


class TestRefusals:
    @pytest.mark.parametrize(
        "stream",
        [b"nonsense\r\n\r\n", b"POST /checkv2\r\n\r\n", b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"x" * (FIRST_LINE_LIMIT + 1), post()[:-1], b"\0\n"],
    )  # fmt: skip
    def test_what_is_no_request(self, stream):
        assert status(stream) == 400

    def test_nothing_at_all_is_no_request_either(self):
        assert read(b"") is None

    def test_unknown_commands(self):
        assert status(post("/fuzzyadd")) == 404
        assert status(post("/")) == 404
        assert status(post("/checkv3")) == 404

    @pytest.mark.parametrize(
        "fields",
        ["File: /etc/passwd\r\n", "Path: /etc/passwd\r\n", "Shm: /x\r\n", "Key: abc\r\n", "Compression: lz4\r\n"],
    )
    def test_what_is_not_done_is_not_answered_as_a_mail(self, fields):
        assert status(post(fields=fields)) == 400

    def test_files_in_the_path(self):
        assert status(post("/checkv2?file=/etc/passwd")) == 400

    def test_lengths(self):
        assert read(post(body=bytes(100)), limit=100).content == bytes(100)
        assert status(post(body=bytes(101))[:-101], limit=100) == 413
        chunked = b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + bytes(101)
        assert status(chunked, limit=100) == 413
        assert status(b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\n") == 413

    def test_a_head_without_end(self):
        assert status(b"POST /checkv2 HTTP/1.1\r\n" + b"A: b\r\n" * (HEAD_LIMIT // 6 + 1)) == 431

    def test_an_answer_follows_what_was_refused(self):
        session = RspamdSession(100)
        with pytest.raises(RspamdError):
            session.feed(post(body=bytes(101)))
        answer = session.frame(413, build_error("too large"), "application/json", "x")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b'{"error":"too large","error_domain":"protocol-error"}')
        session = RspamdSession(100)
        with pytest.raises(RspamdError):
            session.feed(b"nonsense\r\n\r\n")
        assert session.frame(400, b"x", "text/plain", "x").startswith(b"HTTP/1.1 400 ")


class TestPacked:
    def test_a_packed_mail(self):
        assert read(post(body=zstd.compress(MAIL), fields="Compression: zstd\r\n")).content == MAIL

    @pytest.mark.parametrize("body", [b"", b"nonsense", zstd.compress(MAIL)[:-3]])
    def test_what_is_not_packed_soundly(self, body):
        assert status(post(body=body, fields="Compression: zstd\r\n")) == 400

    def test_a_bomb(self):
        assert status(post(body=zstd.compress(bytes(3 * UNPACKED_FREE)), fields="Compression: zstd\r\n")) == 413

    def test_the_limit_is_of_what_is_unpacked(self):
        assert status(post(body=zstd.compress(b"xy" * 60), fields="Compression: zstd\r\n"), limit=119) == 413


class TestText:
    @pytest.mark.parametrize("step", [0, 1])
    def test_exim(self, step):
        head = b"Content-length: %d\r\nQueue-Id: 1a\r\nFrom: <a@b>\r\nRecipient-Number: 1\r\nRcpt: <c@d>\r\nIP: 192.0.2.1\r\n\r\n"
        request = read(b"CHECK RSPAMC/1.3\r\n" + head % len(MAIL) + MAIL, step)
        assert (request.task, request.text_form, request.content) == (Task.CHECK, Dialect.RSPAMC, MAIL)
        assert request.values("rcpt") == ["<c@d>"]

    def test_spamc(self):
        assert read(b"SYMBOLS SPAMC/1.2\r\n\r\n" + MAIL).text_form is Dialect.SPAMC
        assert read(b"PING SPAMC/1.2\r\n").task is Task.PING

    def test_what_is_not_served(self):
        assert status(b"TELL SPAMC/1.2\r\n\r\n") == 400
        with pytest.raises(SpamdError):
            read(b"CHECK RSPAMC/1.3\r\nContent-length: x\r\n\r\n")


RESULT = Result(
    score=18.0, action=Action.REWRITE_SUBJECT, symbols={"A_B": Symbol("A_B", 1.5, 1.5, "words")}, subject="[SPAM] x", message_id="1@x", time_real=0.25,
    milter=Changes(add_headers={"X-Spam": NewField("yes", 0)}, remove_headers={"Subject": 1}), messages={"smtp_message": "no"},
)  # fmt: skip


class TestAnswers:
    """Forms as rspamd 3.4 gives them."""

    def test_new(self):
        assert json.loads(build_result(RESULT)) == {
            "is_skipped": False, "score": 18.0, "required_score": 15.0, "action": "rewrite subject", "subject": "[SPAM] x",
            "symbols": {"A_B": {"name": "A_B", "score": 1.5, "metric_score": 1.5, "description": "words"}}, "messages": {"smtp_message": "no"},
            "milter": {"add_headers": {"X-Spam": {"value": "yes", "order": 0}}, "remove_headers": {"Subject": 1}}, "urls": [], "emails": [],
            "message-id": "1@x", "time_real": 0.25,
        }  # fmt: skip
        assert json.loads(build_result(Result())) == {
            "is_skipped": False, "score": 0.0, "required_score": 15.0, "action": "no action", "symbols": {}, "messages": {}, "urls": [], "emails": [],
            "message-id": "undef", "time_real": 0.0,
        }  # fmt: skip

    def test_old(self):
        told = json.loads(build_old_result(RESULT))
        assert told["default"]["is_spam"] is True
        assert told["default"]["A_B"]["score"] == 1.5
        assert told["default"]["action"] == "rewrite subject"
        assert told["message-id"] == "1@x"

    def test_text(self):
        assert build_text_result(RESULT) == (
            b"RSPAMD/1.3 0 EX_OK\r\nMetric: default; True; 18.00 / 15.00 / 0.0\r\nAction: rewrite subject\r\nSymbol: A_B(1.50)\r\nMessage-ID: 1@x\r\n"
        )

    def test_as_spamd(self):
        assert (
            build_spamc_result(RESULT)
            == b"SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nSpam: True ; 18.00 / 15.00\r\n\r\nA_B\r\n"
        )
