"""The spamd door: what the judge is asked, and what the client hears of its ruling."""

import asyncio
import zlib
from collections.abc import Callable

import pytest
from tests.support.scripted_judge import ScriptedJudge, open_door, ruling

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.filtering import Checks, Deed, Mark, Purpose, Threat
from gatepost.model.verdict import Splice
from gatepost.service import spamd_door
from gatepost.service.judge import Unjudged

MAIL = b"Received: x\r\nSubject: hello\r\nX-Spam-Status: No, score=-99\r\n\tfolded\r\nTo: y\r\n\r\nbody\r\n"
SPAM = ruling(
    status="spam", rate=99, marks=(Mark("subject-noise", 6.5, "noise in the\r\nsubject"), Mark("dnsbl zen.example", 3.0)),
    prefix=b"X-SpamTest-Status: SPAM\r\n", splices=(Splice(13, 13, b"Keywords: SPAM\r\n"),),
)  # fmt: skip


def door(**changes: object) -> Door:
    return Door(name="sa", kind=DoorKind.SPAMD, **changes)


def ask(judge: ScriptedJudge, *stream: bytes, learn: Callable[..., object] | None = None, **settings: object) -> bytes:
    """Return all that the door says."""

    async def scene() -> bytes:
        async with open_door(spamd_door.make, judge, door(**settings), learn=learn) as opened:
            talk = await opened.talk()
            talk.send(*stream)
            talk.end()
            said = await talk.rest()
            await opened.settle()
            assert opened.ended == [None]
            return said

    return asyncio.run(scene())


def request(command: str = "CHECK", mail: bytes = MAIL, fields: bytes = b"", version: str = "1.5") -> bytes:
    return f"{command} SPAMC/{version}\r\nContent-length: {len(mail)}\r\n".encode() + fields + b"\r\n" + mail


class TestQuestion:
    def test_it_asks_for_the_status_only(self):
        judge = ScriptedJudge()
        ask(judge, request(), deadline=7.0)
        asked = judge.last.request
        assert (asked.purpose, asked.checks, asked.divided) == (Purpose.ASK, Checks.ALL, False)
        assert (asked.client.listener, asked.client.ip, asked.recipients, asked.sender) == ("sa", "", (), "")
        assert judge.last.content == MAIL
        assert judge.last.deadline_s == 7.0

    def test_line_feeds_become_line_ends(self):
        judge = ScriptedJudge()
        ask(judge, request(mail=MAIL.replace(b"\r\n", b"\n")))
        assert judge.last.content == MAIL
        ask(judge, request(mail=b"A: b\r\n\nx\n"))
        assert judge.last.content == b"A: b\r\n\r\nx\r\n"

    @pytest.mark.parametrize(
        ("user", "domain", "recipients"),
        [("bob@example.com", "", ("bob@example.com",)), ("bob", "example.org", ("bob@example.org",)), ("bob", "", ()), ("b b", "example.org", ()), ("", "example.org", ())],
    )  # fmt: skip
    def test_the_user_is_the_recipient(self, user, domain, recipients):
        judge = ScriptedJudge()
        ask(judge, request(fields=f"User: {user}\r\n".encode()), default_domain=domain)
        assert judge.last.request.recipients == recipients

    def test_the_envelope_at_the_very_top_is_the_programs(self):
        judge = ScriptedJudge()
        ask(judge, request(mail=b"Return-Path: <a@example.com>\r\n" + MAIL))
        assert judge.last.request.sender == "a@example.com"
        ask(
            judge,
            request(mail=MAIL.replace(b"To: y", b"Return-Path: <evil@example.com>\r\nX-Envelope-To: z@example.com")),
        )
        assert (judge.last.request.sender, judge.last.request.recipients) == ("", ())

    def test_exim_puts_an_mbox_line_and_its_envelope_there(self):
        judge = ScriptedJudge()
        top = b"From a@example.com Mon Jan  1 00:00:00 2024\n"
        fields = b"X-Envelope-From: <s@example.com>\nX-Envelope-To: r@example.com, t@example.com\n"
        mail = fields + b"Subject: x\n\nbody\n"
        said = ask(judge, request("PROCESS", top + mail, b"User: nobody\r\n"), default_domain="example.org")
        asked = judge.last
        assert asked.request.sender == "s@example.com"
        assert asked.request.recipients == ("r@example.com", "t@example.com")
        assert asked.content == mail.replace(b"\n", b"\r\n")
        body = said.partition(b"\r\n\r\n")[2]
        assert body.startswith(top + b"X-Spam-Checker-Version: ")
        assert body.endswith(b"\n" + mail)
        assert b"\r" not in body


class TestAnswers:
    def test_wanted(self):
        assert ask(ScriptedJudge(), request()) == b"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0.0 / 5.0\r\n\r\n"

    def test_spam_with_its_signs(self):
        said = ask(ScriptedJudge(SPAM), request("SYMBOLS"))
        assert said == (
            b"SPAMD/1.1 0 EX_OK\r\nContent-length: 31\r\nSpam: True ; 6.5 / 5.0\r\n\r\nSUBJECT_NOISE,DNSBL_ZEN_EXAMPLE"
        )

    def test_report(self):
        said = ask(ScriptedJudge(SPAM), request("REPORT"))
        head, _, body = said.partition(b"\r\n\r\n")
        assert b"Content-length: %d\r\n" % len(body) in head
        assert b"(6.5 points, 5.0 required)\n\n pts rule name              description\n" in body
        assert b"\n 6.5 SUBJECT_NOISE          noise in the  subject\n 3.0 DNSBL_ZEN_EXAMPLE\n" in body

    def test_report_of_what_is_no_spam(self):
        assert b"has NOT identified" in ask(ScriptedJudge(), request("REPORT"))
        said = ask(ScriptedJudge(), request("REPORT_IFSPAM"))
        assert said == b"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: No ; 0.0 / 5.0\r\n\r\n"

    @pytest.mark.parametrize("end", [b"\r\n", b"\n"])
    def test_the_edited_mail_has_the_line_ends_it_came_with(self, end):
        said = ask(ScriptedJudge(SPAM), request("PROCESS", MAIL.replace(b"\r\n", end)))
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.endswith(b"\r\nSpam: True ; 6.5 / 5.0")
        assert b"Content-length: %d\r\n" % len(body) in head
        fields, _, rest = body.partition(b"X-SpamTest-Status: SPAM" + end)
        assert b"X-Spam-Flag: YES" + end in fields
        assert b"X-Spam-Level: ******" + end in fields
        assert (
            b"X-Spam-Status: Yes, score=6.5 required=5.0" + end + b"\ttests=SUBJECT_NOISE,DNSBL_ZEN_EXAMPLE" + end
            in fields
        )
        assert rest == b"Received: x\r\nKeywords: SPAM\r\nSubject: hello\r\nTo: y\r\n\r\nbody\r\n".replace(b"\r\n", end)

    def test_headers_are_the_same_without_the_body(self):
        whole = ask(ScriptedJudge(SPAM), request("PROCESS")).partition(b"\r\n\r\n")[2]
        header = ask(ScriptedJudge(SPAM), request("HEADERS")).partition(b"\r\n\r\n")[2]
        assert header + b"body\r\n" == whole

    def test_malware_is_spam_whatever_else_is_decided(self):
        for status in ("infected", "disinfected", "suspicious"):
            judge = ScriptedJudge(ruling(status="not_detected", threats=(Threat("Eicar-Test", status, "a.exe"),)))
            assert b"Spam: True ; 20.0 / 5.0\r\n\r\nVIRUS_FOUND" in ask(judge, request("SYMBOLS"))
            assert b"20.0 VIRUS_FOUND            Eicar-Test\n" in ask(judge, request("REPORT"))

    def test_ping_and_skip(self):
        judge = ScriptedJudge()
        assert ask(judge, b"PING SPAMC/1.2\r\n\r\n") == b"SPAMD/1.5 0 PONG\r\n"
        assert ask(judge, b"SKIP SPAMC/1.2\r\n\r\n") == b""
        assert judge.asked == []

    def test_packed(self):
        judge = ScriptedJudge()
        assert b"EX_OK" in ask(judge, request(mail=zlib.compress(MAIL), fields=b"Compress: zlib\r\n"))
        assert judge.last.content == MAIL

    def test_no_request_is_answered_with_its_code(self):
        assert ask(ScriptedJudge(), b"HELO x\r\n") == b"SPAMD/1.0 76 Bad header line: HELO x\r\n"
        assert ask(ScriptedJudge(), b"") == b""

    def test_the_answer_comes_while_the_client_still_sends(self):
        """A mail that is too large by its own word is refused at once; the client can read why."""

        async def scene() -> bytes:
            async with open_door(spamd_door.make, ScriptedJudge(), door()) as opened:
                talk = await opened.talk()
                talk.send(b"CHECK SPAMC/1.2\r\nContent-length: 999999999\r\n\r\n")
                said = await talk.until(b"\r\n")
                talk.send(bytes(100_000))
                talk.end()
                await opened.settle()
                return said

        assert asyncio.run(scene()).startswith(b"SPAMD/1.0 69 Service Unavailable: more than")


class TestTrouble:
    @pytest.mark.parametrize(
        ("on_error", "answer"),
        [
            (OnError.TEMPFAIL, b"SPAMD/1.0 75 Service Unavailable: the message could not be inspected\r\n"),
            (OnError.REJECT, b"SPAMD/1.0 69 Service Unavailable: the message could not be inspected\r\n"),
            (OnError.ACCEPT, b"SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\nSpam: False ; 0.0 / 5.0\r\n\r\n" % len(MAIL) + MAIL),
        ],
    )  # fmt: skip
    def test_what_cannot_be_judged(self, on_error, answer):
        judge = ScriptedJudge(Unjudged("no filter"))
        assert ask(judge, request("PROCESS"), on_error=on_error) == answer

    def test_a_copy_that_cannot_be_made_is_trouble(self):
        judge = ScriptedJudge(ruling(splices=(Splice(9999, 9999, b"x"),)))
        assert ask(judge, request("PROCESS")).startswith(b"SPAMD/1.0 75 ")

    def test_above_the_size_limit_nobody_is_asked(self):
        judge = ScriptedJudge(SPAM)
        assert b"Spam: False ; 0.0" in ask(judge, request(), size_limit=len(MAIL) - 1)
        assert judge.asked == []
        assert b"Spam: True" in ask(judge, request(), size_limit=len(MAIL))

    def test_a_client_that_stalls_is_told_and_left(self):
        async def scene() -> bytes:
            async with open_door(spamd_door.make, ScriptedJudge(), door(), timeout_s=0.05) as opened:
                talk = await opened.talk()
                talk.send(request()[:-1])
                said = await talk.rest()
                await opened.settle()
                return said

        assert asyncio.run(scene()) == b"SPAMD/1.0 79 Timeout: the request does not come\r\n"

    def test_a_client_that_resets_its_connection_has_nothing_judged(self):
        judge = ScriptedJudge()

        async def scene() -> None:
            async with open_door(spamd_door.make, judge, door()) as opened:
                talk = await opened.talk()
                talk.send(b"CHECK SPAMC/1.2\r\n\r\nSubject: half")
                (channel,) = opened.channels
                other = await opened.talk()
                other.send(b"PING SPAMC/1.2\r\n")
                await other.rest()
                channel._transport.abort()  # what a reset looks like from here
                await opened.settle()

        asyncio.run(scene())
        assert judge.asked == []

    def test_all_clients_together_hold_no_more_than_the_limit(self, monkeypatch):
        monkeypatch.setattr(spamd_door.HeldBytes.__init__, "__defaults__", (3_000,))
        judge = ScriptedJudge()

        async def scene() -> bytes:
            async with open_door(spamd_door.make, judge, door()) as opened:
                first, second = await opened.talk(), await opened.talk()
                first.send(b"CHECK SPAMC/1.2\r\n\r\n" + bytes(2_000))
                second.send(b"PING SPAMC/1.2\r\n")
                await second.rest()
                third = await opened.talk()
                third.send(b"CHECK SPAMC/1.2\r\nContent-length: 2000\r\n\r\n" + bytes(2_000))
                third.end()
                said = await third.rest()
                first.end()
                assert b"EX_OK" in await first.rest()
                fourth = await opened.talk()
                fourth.send(b"CHECK SPAMC/1.2\r\nContent-length: 2000\r\n\r\n" + bytes(2_000))
                assert b"EX_OK" in await fourth.rest()
                return said

        assert asyncio.run(scene()) == b"SPAMD/1.0 75 Service Unavailable: busy, try again later\r\n"


class TestLearning:
    @pytest.mark.parametrize(
        ("fields", "taught", "answer"),
        [
            (b"Message-class: spam\r\nSet: local\r\n", True, b"DidSet: local\r\n"),
            (b"Message-class: ham\r\nSet: local,remote\r\n", False, b"DidSet: local\r\n"),
            (b"Remove: local\r\n", None, b"DidRemove: local\r\n"),
        ],
    )
    def test_it_teaches(self, fields, taught, answer):
        lessons = []

        async def learn(content, spam):
            lessons.append((content, spam))
            return ""

        said = ask(ScriptedJudge(), request("TELL", MAIL.replace(b"\r\n", b"\n"), fields), learn=learn, learning=True)
        assert said == b"SPAMD/1.1 0 EX_OK\r\n" + answer + b"\r\n"
        assert lessons == [(MAIL, taught)]

    def test_what_was_not_learned_is_not_said_to_be(self):
        async def learn(content, spam):
            return "known"

        said = ask(
            ScriptedJudge(), request("TELL", MAIL, b"Message-class: ham\r\nSet: local\r\n"), learn=learn, learning=True
        )
        assert said == b"SPAMD/1.1 0 EX_OK\r\n\r\n"

    def test_only_where_it_is_allowed(self):
        async def learn(content, spam):
            raise AssertionError

        fields = b"Message-class: ham\r\nSet: local\r\n"
        answer = b"SPAMD/1.0 69 Service Unavailable: TELL commands are not enabled\r\n"
        assert ask(ScriptedJudge(), request("TELL", MAIL, fields), learn=learn) == answer
        assert ask(ScriptedJudge(), request("TELL", MAIL, fields), learning=True) == answer


class TestScale:
    @pytest.mark.parametrize(
        ("fields", "score"),
        [
            ({"status": "not_detected", "rate": 40}, b"False ; 2.0"),
            ({"status": "not_detected", "rate": 100}, b"False ; 4.9"),
            ({"status": "probable_spam", "rate": 99}, b"False ; 4.9"),
            ({"status": "spam", "rate": 90}, b"True ; 5.0"),
            ({"status": "spam", "rate": 100, "marks": (Mark("a", 10.0), Mark("b", 3.0))}, b"True ; 10.0"),
            ({"status": "spam", "rate": 100, "marks": (Mark("a", 100.0),)}, b"True ; 20.0"),
            ({"status": "blacklisted"}, b"True ; 20.0"),
            ({"status": "trusted", "rate": 100}, b"False ; 4.9"),
            ({"deed": Deed.REJECT}, b"True ; 20.0"),
            ({"deed": Deed.DISCARD}, b"True ; 20.0"),
            ({"threats": (Threat("", "filtered", "a.exe"),)}, b"False ; 0.0"),
            ({"threats": (Threat("", "filtered", "a.exe"),), "body_changed": True}, b"True ; 20.0"),
        ],
    )
    def test_scores(self, fields, score):
        assert (
            ask(ScriptedJudge(ruling(**fields)), request())
            == b"SPAMD/1.1 0 EX_OK\r\nSpam: " + score + b" / 5.0\r\n\r\n"
        )
