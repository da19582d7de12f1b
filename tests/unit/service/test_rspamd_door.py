"""The rspamd door: what the judge is asked, and what the client hears of its ruling."""

import asyncio
import json
from typing import Any

import pytest
from tests.support.scripted_judge import ScriptedJudge, open_door, ruling

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.filtering import Checks, Deed, FieldEdit, FieldOp, Mark, Part, Purpose, Ruling, Threat
from gatepost.model.reply import reply
from gatepost.service import rspamd_door
from gatepost.service.judge import Unjudged
from gatepost.service.undivided import join_parts

MAIL = b"Received: x\r\nSubject: hello\r\nMessage-ID:\r\n <1@example.com>\r\n\r\nMessage-ID: <2@example.com>\r\n"
SPAM = {"status": "spam", "rate": 99, "marks": (Mark("subject-noise", 6.5, "noise"),)}


def post(path: str = "/checkv2", body: bytes = MAIL, fields: str = "") -> bytes:
    return f"POST {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


def talk_with(judge: ScriptedJudge, *stream: bytes, learn: Any = None, **settings: object) -> bytes:
    """Return all that the door says."""

    async def scene() -> bytes:
        door = Door(name="rs", kind=DoorKind.RSPAMD, **settings)
        async with open_door(rspamd_door.make, judge, door, learn=learn) as opened:
            talk = await opened.talk()
            talk.send(*stream)
            talk.end()
            said = await talk.rest()
            await opened.settle()
            assert opened.ended == [None]
            return said

    return asyncio.run(scene())


def ask(judge: ScriptedJudge, stream: bytes = b"", expected: int = 200, **settings: Any) -> dict[str, Any]:
    head, _, body = talk_with(judge, stream or post(), **settings).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % expected), head
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"Content-Type: application/json" in head
    return json.loads(body)


class TestQuestion:
    def test_the_envelope(self):
        judge = ScriptedJudge()
        fields = (
            "From: <a@example.com>\r\nRcpt: <b@example.org>\r\nRcpt: c@example.org, d@example.org\r\nIp: 192.0.2.1\r\nHelo: h.example\r\n"
            "Hostname: n.example\r\nUser: someone\r\nQueue-Id: 4XYZ\r\nDeliver-To: z@example.org\r\nPass: all\r\nSettings-Id: x\r\nFlags: body_block\r\n"
        )  # fmt: skip
        ask(judge, post(body=MAIL.replace(b"\r\n", b"\n"), fields=fields), deadline=9.0)
        asked = judge.last.request
        assert (asked.purpose, asked.checks) == (Purpose.ASK, Checks.ALL)
        assert (asked.sender, asked.queue_id) == ("a@example.com", "4XYZ")
        assert asked.recipients == ("b@example.org", "c@example.org", "d@example.org")
        client = asked.client
        assert (client.ip, client.helo, client.name, client.user, client.listener) == (
            "192.0.2.1",
            "h.example",
            "n.example",
            "someone",
            "rs",
        )
        assert judge.last.content == MAIL
        assert judge.last.deadline_s == 9.0

    def test_what_is_not_told(self):
        judge = ScriptedJudge()
        ask(
            judge,
            post(fields="From: <>\r\nIP: nowhere\r\nHostname: unknown\r\nDeliver-To: x@example.org\r\nUser: \r\n"),
        )
        asked = judge.last.request
        assert (asked.sender, asked.recipients) == ("", ("x@example.org",))
        assert (asked.client.ip, asked.client.name, asked.client.user) == ("", "", "")

    def test_addresses_are_completed_and_those_that_are_none_left_out(self):
        judge = ScriptedJudge()
        ask(
            judge,
            post(fields="Rcpt: bob\r\nRcpt: a b@c\r\nRcpt: <bob@example.org>\r\nIP: ::ffff:192.0.2.7\r\n"),
            default_domain="example.org",
        )
        assert judge.last.request.recipients == ("bob@example.org",)
        assert judge.last.request.client.ip == "192.0.2.7"

    def test_an_empty_body_is_no_mail(self):
        judge = ScriptedJudge(ruling(**SPAM))
        assert ask(judge, post(body=b""))["action"] == "no action"
        assert judge.asked == []


class TestAnswers:
    def test_wanted(self):
        told = ask(ScriptedJudge())
        assert (told["action"], told["score"], told["required_score"], told["is_skipped"]) == (
            "no action",
            0.0,
            15.0,
            False,
        )
        assert told["message-id"] == "1@example.com"
        assert "milter" not in told

    @pytest.mark.parametrize(
        ("fields", "action", "score"),
        [
            ({"status": "not_detected", "rate": 70}, "no action", 3.5),
            ({"status": "probable_spam", "rate": 50}, "add header", 10.5),
            ({"status": "probable_spam", "rate": 100}, "add header", 14.9),
            (SPAM, "add header", 15.0),
            (SPAM | {"deed": Deed.REJECT}, "reject", 60.0),
            ({"deed": Deed.REJECT, "reply": reply(550, "5.7.1", "go away")}, "reject", 60.0),
            ({"deed": Deed.REJECT, "reply": reply(451, "4.7.1", "later")}, "soft reject", 60.0),
            ({"deed": Deed.DISCARD}, "reject", 60.0),
            ({"status": "blacklisted"}, "add header", 60.0),
            ({"threats": (Threat("Eicar", "infected"),)}, "reject", 60.0),
            ({"threats": (Threat("Eicar", "disinfected"),), "body_changed": True}, "reject", 60.0),
            ({"threats": (Threat("", "protected", "a.zip"),)}, "no action", 0.0),
            ({"body_changed": True}, "no action", 0.0),
        ],
    )
    def test_actions(self, fields, action, score):
        told = ask(ScriptedJudge(ruling(**fields)))
        assert (told["action"], told["score"]) == (action, score)

    def test_signs(self):
        told = ask(ScriptedJudge(ruling(**SPAM, threats=(Threat("Eicar-Test", "infected", "a.exe"),))))
        assert told["symbols"] == {
            "VIRUS_FOUND": {"name": "VIRUS_FOUND", "score": 20.0, "metric_score": 20.0, "description": "Eicar-Test"},
            "SUBJECT_NOISE": {"name": "SUBJECT_NOISE", "score": 6.5, "metric_score": 6.5, "description": "noise"},
        }

    def test_a_refusal_says_what_the_sender_hears(self):
        judge = ScriptedJudge(ruling(deed=Deed.REJECT, reply=reply(550, "5.7.1", "go", "away")))
        assert ask(judge)["messages"] == {"smtp_message": "go away"}

    def test_what_is_done_with_the_header(self):
        edits = (
            FieldEdit(FieldOp.INSERT, "X-SpamTest-Rate", b"99"), FieldEdit(FieldOp.INSERT, "X-SpamTest-Method", b"a,\r\n\tb"), FieldEdit(FieldOp.INSERT, "X-SpamTest-Method", b"c"),
            FieldEdit(FieldOp.CHANGE, "Subject", b"[SPAM] hello"), FieldEdit(FieldOp.CHANGE, "Keywords", b"SPAM", 2), FieldEdit(FieldOp.DELETE, "X-Old", index=3), FieldEdit(FieldOp.DELETE, "X-Old", index=1),
        )  # fmt: skip
        told = ask(ScriptedJudge(ruling(**SPAM, field_edits=edits)))
        assert (told["action"], told["subject"]) == ("rewrite subject", "[SPAM] hello")
        assert told["milter"] == {
            "add_headers": {
                "X-SpamTest-Method": [{"value": "c", "order": 0}, {"value": "a,\n\tb", "order": 1}],
                "X-SpamTest-Rate": {"value": "99", "order": 2},
                "Keywords": {"value": "SPAM"},
            },
            "remove_headers": {"Keywords": 2, "X-Old": [3, 1]},
        }

    def test_a_label_on_wanted_mail_is_a_header_change(self):
        edits = (FieldEdit(FieldOp.CHANGE, "Subject", b"[TEAM] hello"), FieldEdit(FieldOp.APPEND, "X-Last", b"1"))
        told = ask(ScriptedJudge(ruling(field_edits=edits)))
        assert told["action"] == "no action"
        assert "subject" not in told
        assert told["milter"] == {
            "add_headers": {"Subject": {"value": "[TEAM] hello"}, "X-Last": {"value": "1"}},
            "remove_headers": {"Subject": 1},
        }

    def test_of_two_subjects_the_first_is_rewritten(self):
        edits = tuple(FieldEdit(FieldOp.CHANGE, "Subject", b"[SPAM] %d" % index, index) for index in (2, 1))
        told = ask(ScriptedJudge(ruling(**SPAM, field_edits=edits)))
        assert (told["action"], told["subject"]) == ("rewrite subject", "[SPAM] 1")
        assert told["milter"] == {"add_headers": {"Subject": {"value": "[SPAM] 2"}}, "remove_headers": {"Subject": 2}}

    def test_who_gets_it_instead_and_besides_and_who_does_not(self):
        stays, leaves, refused = (
            Part(recipients=("a@x.example",), copies=("copy@x.example", "a@x.example")),
            Part(recipients=("b@x.example",), redirect=("other@x.example",)),
            Part(recipients=("c@x.example",), deed=Deed.REJECT),
        )
        parts = (stays, leaves, refused)
        told = ask(ScriptedJudge(Ruling(parts=parts, whole=join_parts(parts))))
        assert told["action"] == "no action"
        assert told["milter"] == {
            "add_rcpt": ["copy@x.example", "other@x.example"],
            "del_rcpt": ["b@x.example", "c@x.example"],
        }

    def test_a_refused_mail_is_not_changed(self):
        edits = (FieldEdit(FieldOp.INSERT, "X-New", b"1"),)
        assert "milter" not in ask(ScriptedJudge(ruling(deed=Deed.REJECT, field_edits=edits)))

    def test_old_form(self):
        told = ask(ScriptedJudge(ruling(**SPAM)), post("/symbols"))
        assert (told["default"]["is_spam"], told["default"]["SUBJECT_NOISE"]["score"]) == (True, 6.5)

    def test_what_was_not_inspected_says_so(self):
        told = ask(ScriptedJudge(ruling(info="Not processed")))
        assert told["is_skipped"] is True
        assert told["symbols"]["NOT_INSPECTED"]["description"] == "Not processed"

    def test_ping_and_statistics(self):
        assert talk_with(ScriptedJudge(), b"GET /ping HTTP/1.0\r\n\r\n").endswith(
            b"Content-Type: text/plain\r\nConnection: close\r\n\r\npong\r\n"
        )

        async def scene() -> dict[str, Any]:
            judge = ScriptedJudge(ruling(**SPAM))
            async with open_door(rspamd_door.make, judge, Door(kind=DoorKind.RSPAMD)) as opened:
                for stream in (post(), post(), b"GET /stat HTTP/1.0\r\n\r\n"):
                    talk = await opened.talk()
                    talk.send(stream)
                    said = await talk.rest()
                return json.loads(said.partition(b"\r\n\r\n")[2])

        told = asyncio.run(scene())
        assert (told["scanned"], told["spam_count"], told["ham_count"], told["actions"]["add header"]) == (2, 2, 0, 2)

    def test_several_on_one_connection(self):
        judge = ScriptedJudge()
        stream = post().replace(b"HTTP/1.0\r\n", b"HTTP/1.1\r\nHost: x\r\n")
        said = talk_with(judge, stream * 3)
        assert said.count(b"HTTP/1.1 200 ") == 3
        assert len(judge.asked) == 3

    def test_exim(self):
        judge = ScriptedJudge(ruling(**SPAM))
        stream = (
            b"CHECK RSPAMC/1.3\r\nContent-length: %d\r\nFrom: <a@example.com>\r\nRcpt: <b@example.org>\r\nIP: 192.0.2.1\r\n\r\n"
            % len(MAIL)
        )
        assert talk_with(judge, stream + MAIL) == (
            b"RSPAMD/1.3 0 EX_OK\r\nMetric: default; True; 15.00 / 15.00 / 0.0\r\nAction: add header\r\nSymbol: SUBJECT_NOISE(6.50)\r\nMessage-ID: 1@example.com\r\n"
        )
        assert judge.last.request.recipients == ("b@example.org",)
        assert talk_with(judge, b"SYMBOLS SPAMC/1.2\r\nUser: bob\r\n\r\n" + MAIL).endswith(b"\r\n\r\nSUBJECT_NOISE\r\n")
        assert judge.last.request.client.user == "", "with spamc it is who gets the mail"
        assert talk_with(judge, b"PING SPAMC/1.2\r\n\r\n") == b"SPAMD/1.5 0 PONG\r\n"


class TestTrouble:
    @pytest.mark.parametrize(
        ("on_error", "action", "skipped"),
        [
            (OnError.TEMPFAIL, "soft reject", False),
            (OnError.REJECT, "reject", False),
            (OnError.ACCEPT, "no action", True),
        ],
    )
    def test_what_cannot_be_judged(self, on_error, action, skipped):
        told = ask(ScriptedJudge(Unjudged("no filter")), on_error=on_error)
        assert (told["action"], told["is_skipped"]) == (action, skipped)
        assert "no filter" not in json.dumps(told)

    def test_above_the_size_limit_nobody_is_asked(self):
        judge = ScriptedJudge(ruling(**SPAM))
        assert ask(judge, size_limit=len(MAIL) - 1)["is_skipped"] is True
        assert judge.asked == []

    def test_what_is_refused(self):
        assert ask(ScriptedJudge(), post("/fuzzydel"), 404) == {
            "error": "invalid command",
            "error_domain": "protocol-error",
        }
        assert ask(ScriptedJudge(), post(fields="File: /etc/passwd\r\n"), 400)["error"].startswith("files are not read")
        assert talk_with(ScriptedJudge(), b"CHECK RSPAMC/1.3\r\nContent-length: x\r\n\r\n").startswith(b"SPAMD/1.0 76 ")
        assert talk_with(ScriptedJudge(), b"TELL SPAMC/1.5\r\n\r\n").startswith(b"SPAMD/1.0 76 ")
        assert talk_with(ScriptedJudge(), b"") == b""

    def test_a_mail_that_is_refused_by_its_length_is_answered_while_it_is_sent(self):
        async def scene() -> bytes:
            async with open_door(rspamd_door.make, ScriptedJudge(), Door(kind=DoorKind.RSPAMD)) as opened:
                talk = await opened.talk()
                talk.send(b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n" + bytes(70_000))
                said = await talk.until(b"\r\n")
                talk.send(bytes(100_000))
                talk.end()
                await opened.settle()
                return said

        assert asyncio.run(scene()).startswith(b"HTTP/1.1 413 ")


class TestLearning:
    def test_it_teaches(self):
        lessons = []

        async def learn(content, spam):
            lessons.append((content, spam))
            return ""

        for path in ("/learnspam", "/learnham"):
            assert ask(ScriptedJudge(), post(path, MAIL.replace(b"\r\n", b"\n")), learn=learn, learning=True) == {
                "success": True
            }
        assert lessons == [(MAIL, True), (MAIL, False)]

    def test_what_was_learned_before(self):
        async def learn(content, spam):
            return "learned before"

        assert ask(ScriptedJudge(), post("/learnspam"), 208, learn=learn, learning=True)["error"] == "learned before"

    def test_only_where_it_is_allowed(self):
        async def learn(content, spam):
            raise AssertionError

        assert ask(ScriptedJudge(), post("/learnham"), 403, learn=learn)["error"] == "learning is not enabled"
        assert ask(ScriptedJudge(), post("/learnham"), 403, learning=True)["error"] == "learning is not enabled"
