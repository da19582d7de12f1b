"""The proxy door between a client and a scripted next hop: what passes, what is answered, what happens when things fail."""

import asyncio
import functools
import smtplib
import socket
import threading
from typing import Self

import pytest
from tests.support.scripted_judge import CLEAN, ListeningDoor, ScriptedJudge, ruling
from tests.support.sink import CLOSE, STALL, THEN_CLOSE, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.filtering import Deed, Part
from gatepost.model.reply import reply
from gatepost.model.verdict import Splice
from gatepost.service import proxy_door
from gatepost.service.gathered import Gathered
from gatepost.service.judge import Unjudged
from gatepost.service.proxy_hop import dial_smtp
from gatepost.service.proxy_onward import Means

MAIL = b"From: a@example.com\r\nSubject: hello\r\nMessage-ID: <1@example.com>\r\n\r\n.dot and text\r\n"
EDITED = b"X-Spam: yes\r\n" + MAIL.replace(b"hello", b"[SPAM] hello")
AT = MAIL.index(b"hello")
SPAM = {"prefix": b"X-Spam: yes\r\n", "splices": (Splice(AT, AT, b"[SPAM] "),)}
NO = reply(550, "5.7.1", "no spam please")
A, B, C = "a@x.example", "b@x.example", "c@x.example"


class Proxy:
    """A door with its judge in front of a sink."""

    def __init__(self, sink: Sink, judge: ScriptedJudge, **door: object) -> None:
        self.sink = sink
        self.judge = judge
        given = {"next_hop": f"tcp:127.0.0.1:{sink.port}", "next_hop_lmtp": sink.lmtp, "next_hop_timeout": 20.0, **door}
        self.door = ListeningDoor(proxy_door.make, judge, Door(name="p", kind=DoorKind.PROXY, **given))
        self.lmtp = bool(door.get("lmtp"))

    def __enter__(self) -> Self:
        self.door.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.door.__exit__()
        self.sink.close()

    def wire(self) -> Wire:
        wire = Wire(self.door.port)
        wire.expect(("", "220 "), ("LHLO mta" if self.lmtp else "EHLO mta", "250"))
        return wire

    def send(self, *recipients: str, content: bytes = MAIL) -> list[int]:
        """Return the codes behind the content."""
        with self.wire() as wire:
            return self.speak(wire, *recipients, content=content)

    def speak(self, wire: Wire, *recipients: str, content: bytes = MAIL) -> list[int]:
        wire.expect(
            ("MAIL FROM:<s@example.com>", "250"),
            *((f"RCPT TO:<{each}>", "250") for each in recipients),
            ("DATA", "354"),
        )
        wire.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return [int(wire.reply()[:3]) for _ in (recipients if self.lmtp else "1")]


def proxy(
    answer: object = CLEAN, *, lmtp_out: bool = False, script: object = None, extensions: object = None, **door: object
) -> Proxy:
    return Proxy(Sink(script=script, lmtp=lmtp_out, extensions=extensions), ScriptedJudge(answer), **door)


def parts(*made: Part, whole: Part | None = None) -> object:
    return ruling(*([whole] if whole else []), *made).__class__(parts=made, whole=whole or made[0], queue_id="1")


def for_all(**fields: object):
    """A ruling of one part for all recipients asked about."""

    def answer(request, _content):
        return ruling(Part(recipients=request.recipients, **fields))

    return answer


CLEAN_ALL = for_all(status="not_detected")


@pytest.mark.feature("F-CLI-02")
@pytest.mark.parametrize("lmtp_out", [False, True], ids=["to-smtp", "to-lmtp"])
@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
def test_smtp_and_lmtp_on_each_side(lmtp, lmtp_out):
    with proxy(for_all(**SPAM), lmtp_out=lmtp_out, lmtp=lmtp) as it:
        assert it.send(A, B) == ([250, 250] if lmtp else [250])
        (mail,) = it.sink.mails
        assert (mail.sender, mail.recipients, mail.content) == ("s@example.com", [A, B], EDITED)
        assert it.judge.last.content == MAIL
        assert it.judge.last.request.recipients == (A, B)


def test_several_messages_on_one_connection_and_a_reset_between():
    with proxy(CLEAN_ALL) as it, it.wire() as wire:
        for content in (MAIL, b"x\r\n"):
            wire.expect(("MAIL FROM:<s@example.com>", "250"), ("RCPT TO:<gone@x.example>", "250"), ("RSET", "250"))
            assert it.speak(wire, A, content=content) == [250]
        assert [mail.content for mail in it.sink.mails] == [MAIL, b"x\r\n"]
        assert [mail.recipients for mail in it.sink.mails] == [[A], [A]]
        assert it.sink.connections == 1


def test_nothing_is_offered_that_the_next_hop_has_not():
    with proxy(extensions=("SIZE 5000",), xforward=False) as it, Wire(it.door.port) as wire:
        wire.reply()
        offered = [line[4:] for line in wire.ask("EHLO mta").splitlines()[1:]]
        assert offered == ["ENHANCEDSTATUSCODES", "PIPELINING", "SIZE 5000"]
        wire.expect(("MAIL FROM:<s@example.com> SIZE=5001", "552 5.3.4"))
    with proxy(extensions=("SMTPUTF8", "8BITMIME", "DSN")) as it, Wire(it.door.port) as wire:
        wire.reply()
        offered = wire.ask("EHLO mta")
        assert all(word in offered for word in ("SMTPUTF8", "8BITMIME", "DSN", "XFORWARD NAME ADDR"))
        assert "CHUNKING" not in offered


def test_what_the_next_hop_says_to_sender_and_recipients_is_the_answer():
    def script(step, argument, _sink):
        if step == "mail" and argument.startswith("bad"):
            return "550 5.1.8 not this sender"
        return "450 4.2.1 come later" if step == "rcpt" and argument == B else None

    with proxy(CLEAN_ALL, script=script) as it, it.wire() as wire:
        wire.expect(("MAIL FROM:<bad@example.com>", "550 5.1.8 not this sender"), ("RCPT TO:<a@x.example>", "5"))
        wire.expect(
            ("MAIL FROM:<s@example.com> BODY=8BITMIME RET=HDRS ENVID=e1", "250"),
            (f"RCPT TO:<{A}> NOTIFY=FAILURE ORCPT=rfc822;o@x", "250"),
            (f"RCPT TO:<{B}>", "450 4.2.1 come later"),
            ("DATA", "354"),
        )
        wire.send(b"x\r\n.\r\n")
        assert wire.reply().startswith("250")
        (mail,) = it.sink.mails
        assert mail.mail_arguments == "BODY=8BITMIME RET=HDRS ENVID=e1"
        assert mail.rcpt_arguments == ["NOTIFY=FAILURE ORCPT=rfc822;o@x"]
        assert it.judge.last.request.recipients == (A,)


@pytest.mark.feature("F-CLI-03")
def test_a_rejection_is_said_in_the_session():
    with proxy(for_all(deed=Deed.REJECT, reply=NO)) as it, it.wire() as wire:
        wire.expect(("MAIL FROM:<s@example.com>", "250"), (f"RCPT TO:<{A}>", "250"), ("DATA", "354"))
        wire.send(MAIL + b".\r\n")
        assert wire.reply() == "550 5.7.1 no spam please"
        assert it.judge.last.request.accepted is False
        it.judge.answer = CLEAN_ALL
        assert it.speak(wire, A) == [250]
        assert len(it.sink.mails) == 1, "only what came after the rejection"


def test_behind_the_queue_the_judge_is_told_that_a_rejection_would_be_a_bounce():
    with proxy(for_all(deed=Deed.DISCARD), before_queue=False) as it:
        assert it.send(A) == [250]
        assert it.judge.last.request.accepted is True
        assert it.sink.mails == []


def test_client_facts_come_by_xforward_and_go_on():
    take = ("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE", "PIPELINING")
    with proxy(CLEAN_ALL, extensions=take) as it, it.wire() as wire:
        wire.expect(
            ("XFORWARD NAME=mx.far ADDR=192.0.2.7 PORT=4321", "250"),
            ("XFORWARD PROTO=ESMTP HELO=far IDENT=4XyZ SOURCE=REMOTE", "250"),
        )
        it.speak(wire, A)
        client = it.judge.last.request.client
        assert (client.ip, client.port, client.helo, client.name, client.listener) == (
            "192.0.2.7",
            4321,
            "far",
            "mx.far",
            "p",
        )
        assert it.judge.last.request.queue_id == "4XyZ"
        assert [line for line in it.sink.commands if line.startswith("XFORWARD")] == [
            "XFORWARD NAME=mx.far ADDR=192.0.2.7 PORT=4321 PROTO=ESMTP",
            "XFORWARD HELO=far IDENT=4XyZ SOURCE=REMOTE",
        ]
        it.speak(wire, A)
        assert it.judge.last.request.client.ip == "", "what was told holds for one message"
        wire.expect(("XFORWARD ADDR=[UNAVAILABLE] SOURCE=LOCAL", "250"))
        it.speak(wire, A)
        assert it.judge.last.request.client.ip == "127.0.0.1"


@pytest.mark.feature("F-CLI-04")
@pytest.mark.parametrize("lmtp", [False, True])
def test_a_copy_for_each_verdict(lmtp):
    made = parts(Part(recipients=(A, C), **SPAM), Part(recipients=(B,)))
    with proxy(made, lmtp=lmtp) as it:
        assert it.send(A, B, C) == ([250] * 3 if lmtp else [250])
        assert [(mail.recipients, mail.content) for mail in it.sink.mails] == [([A, C], EDITED), ([B], MAIL)]
        assert it.judge.last.request.divided


def test_one_copy_for_all_where_division_is_switched_off():
    both = Part(recipients=(A, B), prefix=b"X-Group: 1\r\nX-Group: 2\r\n")
    made = parts(
        Part(recipients=(A,), prefix=b"X-Group: 1\r\n"), Part(recipients=(B,), prefix=b"X-Group: 2\r\n"), whole=both
    )
    with proxy(made, multiple_messages=False) as it:
        assert it.send(A, B) == [250]
        assert [(mail.recipients, mail.content) for mail in it.sink.mails] == [([A, B], both.prefix + MAIL)]
        assert not it.judge.last.request.divided


def test_by_lmtp_everybody_hears_of_his_own_fate():
    def script(step, argument, _sink):
        return "452 4.2.2 full" if step == "end" and argument == B else None

    made = parts(Part(recipients=(A,), deed=Deed.REJECT, reply=NO), Part(recipients=(B, C)))
    with proxy(made, lmtp=True, lmtp_out=True, script=script) as it:
        assert it.send(A, B, C) == [550, 452, 250]
        assert [mail.recipients for mail in it.sink.mails] == [[C]]


def test_who_has_it_already_is_left_out_when_the_client_comes_again():
    full = [True]

    def script(step, argument, _sink):
        return "452 4.2.2 full" if step == "end" and argument == B and full else None

    with proxy(CLEAN_ALL, lmtp_out=True, script=script) as it:
        assert it.send(A, B) == [452]
        assert it.sink.recipients() == {A: 1}
        full.clear()
        assert it.send(A, B) == [250]
        assert it.sink.recipients() == {A: 1, B: 1}
        assert it.send(A, B) == [250], "the same text once more is a new message"
        assert it.sink.recipients() == {A: 2, B: 2}


def test_a_text_that_says_nothing_of_itself_comes_twice_and_is_never_left_out():
    full = [True]

    def script(step, argument, _sink):
        return "452 4.2.2 full" if step == "end" and argument == B and full else None

    with proxy(CLEAN_ALL, lmtp_out=True, script=script) as it:
        assert it.send(A, B, content=b"Subject: the door is open\r\n\r\n") == [452]
        full.clear()
        assert it.send(A, B, content=b"Subject: the door is open\r\n\r\n") == [250]
        assert it.sink.recipients() == {A: 2, B: 1}


def test_where_nothing_can_be_remembered_there_is_a_duplicate_and_a_line():
    full = [True]

    def script(step, argument, _sink):
        return "452 4.2.2 full" if step == "end" and argument == B and full else None

    with proxy(CLEAN_ALL, lmtp_out=True, script=script) as it:
        it.door.context.delivered.write_bytes(b"no directory")
        assert it.send(A, B) == [452]
        assert any("he may get it twice" in text for _, text in it.door.reported)
        full.clear()
        assert it.send(A, B) == [250]
        assert it.sink.recipients() == {A: 2, B: 1}


def test_a_failure_beside_a_delivery_is_told():
    def script(step, argument, sink):
        return "554 5.6.0 not this one" if step == "end" and len(sink.mails) else None

    with proxy(parts(Part(recipients=(A,), **SPAM), Part(recipients=(B,))), script=script) as it:
        assert it.send(A, B) == [554]


def test_copies_and_redirection_go_to_whom_the_rules_say():
    made = parts(Part(recipients=(A,), redirect=("r@x.example",)), Part(recipients=(B,), copies=("k@x.example",)))
    with proxy(made) as it:
        assert it.send(A, B) == [250]
        assert [mail.recipients for mail in it.sink.mails] == [["r@x.example"], [B, "k@x.example"]]

    def script(step, argument, _sink):
        return "550 no" if step == "rcpt" and argument[0] == "k" else None

    with proxy(made, script=script) as it:
        assert it.send(A, B) == [250], "a copy besides decides nothing"
        assert any("copy for k@x.example not delivered: 550" in text for _, text in it.door.reported)


@pytest.mark.feature("F-CLI-08")
@pytest.mark.parametrize(
    ("on_error", "code", "passed"), [(OnError.ACCEPT, 250, 1), (OnError.TEMPFAIL, 451, 0), (OnError.REJECT, 554, 0)]
)
@pytest.mark.parametrize(
    "answer", [Unjudged("the server is away"), ruling(recipients=("other@x.example",))], ids=["away", "misfit"]
)
def test_what_cannot_be_judged_gets_what_the_door_says(answer, on_error, code, passed):
    with proxy(answer, on_error=on_error) as it:
        assert it.send(A) == [code]
        assert [mail.content for mail in it.sink.mails] == [MAIL] * passed
        told = [text for _, text in it.door.reported if "not judged" in text]
        assert [
            "a message from <s@" in text and f" to <{A}> not judged ({on_error.value}): " in text for text in told
        ] == [True]


@pytest.mark.feature("F-CLI-09")
def test_large_mail_is_not_touched_and_bare_local_parts_are_completed():
    with proxy(for_all(**SPAM), size_limit=len(MAIL), default_domain="dom.example") as it:
        large = MAIL + b"x\r\n"
        assert it.send("bob", content=large) == [250]
        assert it.judge.asked == []
        assert (it.sink.mails[0].content, it.sink.mails[0].recipients) == (large, ["bob@dom.example"])
        assert it.send("bob", "ann@x.example") == [250]
        assert it.judge.last.request.recipients == ("bob@dom.example", "ann@x.example")
        assert it.sink.mails[1].content == EDITED


def test_content_above_the_memory_limit_is_in_a_file_that_goes_away(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    body = MAIL + b"".join(b"%090d\r\n" % number for number in range(14_000))
    seen = []

    def answer(request, content):
        seen.append([path.stat().st_size for path in tmp_path.iterdir()])
        return ruling(Part(recipients=request.recipients, **SPAM))

    with proxy(answer) as it:
        assert it.send(A, content=body) == [250]
        assert it.judge.last.was_file
        assert seen == [[len(body)]]
        assert it.sink.mails[0].content == EDITED + body[len(MAIL) :]
        wait_for(lambda: not list(tmp_path.iterdir()), "the file to be removed")


def test_no_next_hop_is_a_temporary_failure_before_anything_is_said():
    with proxy() as it:
        it.sink.close()
        with Wire(it.door.port) as wire:
            assert wire.reply().startswith("421 ")
            assert wire.reply() == ""


@pytest.mark.parametrize("how", [CLOSE, "421 4.3.2 going down" + THEN_CLOSE])
@pytest.mark.parametrize("step", ["mail", "data"])
def test_a_next_hop_that_was_lost_before_the_content_is_asked_anew(step, how):
    def script(now, _argument, sink):
        return how if now == step and sink.connections == 1 else None

    with proxy(CLEAN_ALL, script=script) as it:
        assert it.send(A) == [250]
        assert it.sink.recipients() == {A: 1}
        assert it.sink.connections == 2


def test_what_the_next_hop_may_have_taken_is_not_sent_again_by_us():
    def script(step, _argument, _sink):
        return CLOSE if step == "end" else None

    with proxy(CLEAN_ALL, script=script) as it:
        assert it.send(A) == [451]
        assert it.sink.connections == 1


def test_a_next_hop_that_is_silent_is_given_up():
    def script(step, _argument, _sink):
        return STALL if step == "end" else None

    with proxy(CLEAN_ALL, script=script, next_hop_timeout=1.0) as it:
        assert it.send(A) == [451]


def test_a_next_hop_lost_between_recipients_loses_the_transaction_only():
    def script(step, argument, sink):
        return CLOSE if step == "rcpt" and argument == B and sink.connections == 1 else None

    with proxy(CLEAN_ALL, script=script) as it, it.wire() as wire:
        wire.expect(
            ("MAIL FROM:<s@example.com>", "250"),
            (f"RCPT TO:<{A}>", "250"),
            (f"RCPT TO:<{B}>", "451"),
            (f"RCPT TO:<{C}>", "451"),
            ("RSET", "250"),
        )
        assert it.speak(wire, A, B) == [250]
        assert it.sink.recipients() == {A: 1, B: 1}


def test_a_client_that_goes_while_it_is_judged_gets_nothing_delivered():
    with proxy(CLEAN_ALL) as it:
        it.judge.hold = hold = asyncio.Event()
        with it.wire() as client:
            client.expect(("MAIL FROM:<s@example.com>", "250"), (f"RCPT TO:<{A}>", "250"), ("DATA", "354"))
            client.send(MAIL + b".\r\n")
            wait_for(lambda: it.judge.asked, "the question")
        it.door._loop.call_soon_threadsafe(hold.set)
        wait_for(lambda: not it.sink.open, "the next hop to hear of the end")
        assert it.sink.mails == []


@pytest.mark.parametrize("word", [b"QUIT", b"quit", b"NOOP", b""])
def test_a_client_that_says_quit_and_ends_its_side_waits_for_its_answer(word):
    """As Exim does behind its last message. Others that send nothing more may have gone."""
    with proxy(CLEAN_ALL) as it, it.wire() as client:
        it.judge.hold = hold = asyncio.Event()
        client.expect(("MAIL FROM:<s@example.com>", "250"), (f"RCPT TO:<{A}>", "250"), ("DATA", "354"))
        client.send(MAIL + b".\r\n" + word + b"\r\n" * bool(word))
        client.end()
        wait_for(lambda: it.judge.asked, "the question")
        it.door._loop.call_soon_threadsafe(it.door._loop.call_later, 0.2, hold.set)
        answers = [client.reply()[:3], client.reply()[:3]]
        assert answers == (["250", "221"] if word.upper() == b"QUIT" else ["", ""])
        assert len(it.sink.mails) == (word.upper() == b"QUIT")


def test_a_door_that_is_closed_while_the_next_hop_thinks_leaves_no_session_there():
    def script(step, _argument, sink):
        if step == "rcpt":
            asked.set()
            sink._stop.wait(20)

    asked = threading.Event()
    it = proxy(CLEAN_ALL, script=script)
    it.door.__enter__()
    with it.sink:
        wire = it.wire()
        wire.expect(("MAIL FROM:<s@example.com>", "250"))
        wire.send(f"RCPT TO:<{A}>\r\n".encode())
        assert asked.wait(100)
        it.door.__exit__()
        [theirs] = it.sink._sockets
        theirs.settimeout(100)
        assert theirs.recv(1) == b""
        wire.close()


def test_content_that_breaks_off_is_not_delivered():
    with proxy(CLEAN_ALL) as it:
        with it.wire() as wire:
            wire.expect(("MAIL FROM:<s@example.com>", "250"), (f"RCPT TO:<{A}>", "250"), ("DATA", "354"))
            wire.send(MAIL)
        wait_for(lambda: not it.sink.open, "the next hop to hear of it")
        assert (it.sink.mails, it.judge.asked) == ([], [])


class FullDisk(Gathered):
    """Content for which there is no room."""

    def add(self, data: bytes) -> None:
        raise OSError(28, "No space left on device")


def with_means(**means: object):
    """Return a `make` that works with other means than the door's own."""

    def make(context):
        dial = functools.partial(dial_smtp, context.door.next_hop, "here", 20.0, lmtp=False)
        return proxy_door.make(context, Means(dial=dial, **means))

    return make


@pytest.mark.parametrize(("always", "answer"), [(False, 554), (True, 250)])
def test_eight_bit_mail_for_a_next_hop_without_8bitmime(always, answer):
    with proxy(CLEAN_ALL, extensions=()) as it:
        door = ListeningDoor(with_means(eight_bit_always=always), it.judge, it.door._door)
        with door, Wire(door.port) as wire:
            wire.reply()
            assert ("8BITMIME" in wire.ask("EHLO mta")) is always
            assert int(wire.ask("MAIL FROM:<s@example.com> BODY=8BITMIME")[:3]) == answer
            if always:
                wire.expect((f"RCPT TO:<{A}>", "250"), ("DATA", "354"))
                wire.send(b"\xe4\r\n.\r\n")
                assert wire.reply().startswith("250")
                assert (it.sink.mails[0].mail_arguments, it.sink.mails[0].content) == ("", b"\xe4\r\n")


def test_content_without_room_is_a_temporary_failure_of_that_message_alone():
    with proxy(CLEAN_ALL) as it:
        door = ListeningDoor(with_means(gather=FullDisk), it.judge, it.door._door)
        with door, Wire(door.port) as wire:
            wire.expect(("", "220"), ("EHLO mta", "250"))
            assert it.speak(wire, A) == [452]
            assert it.speak(wire, A) == [452]
            assert (it.sink.mails, it.judge.asked) == ([], [])


def test_a_standard_client_over_a_local_socket_and_back_to_one(tmp_path):
    with proxy(for_all(**SPAM)) as it:
        with smtplib.SMTP("127.0.0.1", it.door.port, timeout=20) as client:
            client.sendmail("s@example.com", [A, B], MAIL)
        assert it.sink.mails[0].content == EDITED


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """smtplib asks for the name of this host."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: "mta.example.com")
