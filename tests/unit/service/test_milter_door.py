"""The milter door with a judge that says what it is told to: what it asks, and what the mail system hears."""

import asyncio
import tempfile
from functools import partial

import pytest
from tests.support import milter_peer as mta
from tests.support.milter_peer import packet
from tests.support.scripted_judge import ScriptedJudge, open_door, ruling

from gatepost.config.doors import Door, DoorKind, OnError
from gatepost.model.envelope import Client
from gatepost.model.filtering import Deed, FieldEdit, FieldOp, Part, Purpose, Request
from gatepost.model.reply import reply
from gatepost.model.verdict import Splice
from gatepost.service import milter_door
from gatepost.service.gathered import Gathered
from gatepost.service.held_bytes import HeldBytes
from gatepost.service.judge import Unjudged
from gatepost.service.milter_door import make


def door(**settings):
    return Door(name="mta", kind=DoorKind.MILTER, **settings)


def converse(stream, judge, the_door=None, maker=make):
    """Send a whole conversation; return what came back behind the options, and the door's log."""

    async def scene():
        async with open_door(maker, judge, the_door or door()) as opened:
            talk = await opened.talk()
            talk.send(stream)
            (command, *_), *rest = mta.packets(await talk.rest())
            assert command == "O"
            return rest, opened.reported, opened.ended

    rest, reported, ended = asyncio.run(scene())
    assert ended == [None]
    return rest, reported


def test_what_is_asked():
    judge = ScriptedJudge()
    stream = (
        mta.options()
        + mta.macros("C", client_resolve=b"OK")
        + mta.connect(address=b"2001:DB8:0::7", kind="6")
        + packet("H", b"helo.example.net\0")
        + mta.macros("M", auth_authen=b"anna", tls_version=b"TLSv1.3", cipher=b"AES")
        + mta.message(recipients=[b"<b@example.com>", b"<root>", b"<@relay.example:c@example.com>", b"<b@example.com>"])
        + packet("Q")
    )
    answers, _ = converse(stream, judge, door(default_domain="example.org", deadline=7.0))
    assert answers == [("c", b"")]
    assert judge.last.request == Request(
        client=Client("2001:db8::7", 4711, "helo.example.net", True, "mta", "mail.example.net", "TLSv1.3 AES", "anna"),
        sender="a@example.net",
        recipients=("b@example.com", "root@example.org", "c@example.com"),
        queue_id="4XyZ12",
        purpose=Purpose.HANDLE,
    )
    assert judge.last.content == mta.CONTENT
    assert judge.last.deadline_s == 7.0


@pytest.mark.parametrize(
    ("connect", "resolved", "ip", "name"),
    [
        (mta.connect(b"[192.0.2.7]"), b"FAIL", "192.0.2.7", ""),
        (mta.connect(b"unknown"), b"", "192.0.2.7", ""),
        (mta.connect(b"forged.example"), b"FORGED", "192.0.2.7", ""),
        (mta.connect(b"told.example"), b"", "192.0.2.7", "told.example"),
        (mta.connect(b"a", b"IPv6:::ffff:192.0.2.9", kind="6"), b"OK", "192.0.2.9", "a"),
        (mta.connect(b"a", b"nonsense"), b"OK", "", ""),
        (mta.connect(b"localhost", b"/run/x", kind="L"), b"OK", "", ""),
        (packet("C", b"localhost\0U"), b"OK", "", ""),
    ],
)
def test_who_the_client_is(connect, resolved, ip, name):
    judge = ScriptedJudge()
    stream = mta.options() + mta.macros("C", client_resolve=resolved) + connect + mta.message() + packet("Q")
    converse(stream, judge)
    assert (judge.last.request.client.ip, judge.last.request.client.name) == (ip, name)


def test_several_messages_of_one_session_each_with_its_answer():
    judge = ScriptedJudge(
        lambda request, _: ruling(
            recipients=request.recipients,
            field_edits=(FieldEdit(FieldOp.INSERT, "X-Id", request.queue_id.encode()),),
        )
    )
    stream = mta.session(
        mta.message(queue_id=b"1"), mta.message(queue_id=b"2"), packet("A"), mta.message(queue_id=b"3")
    )
    answers, _ = converse(stream, judge)
    assert answers == [
        step for one in (b"1", b"2", b"3") for step in (("i", b"\0\0\0\0X-Id\0 " + one + b"\0"), ("c", b""))
    ]


def test_an_edited_copy_arrives_as_the_judge_made_it():
    body = mta.CONTENT.index(b"Hello")
    part = Part(
        recipients=("b@example.com",),
        prefix=b"X-Spam: yes\r\n",
        splices=(Splice(body, len(mta.CONTENT), b"removed\r\n" * 20_000),),
        field_edits=(FieldEdit(FieldOp.INSERT, "X-Spam", b"yes"),),
        body_changed=True,
    )
    answers, _ = converse(mta.session(), ScriptedJudge(ruling(part)))
    stream = b"".join(packet(command, data) for command, data in answers)
    assert mta.carried_out(mta.CONTENT, stream) == part.prefix + mta.CONTENT[:body] + b"removed\r\n" * 20_000
    assert answers[-1] == ("c", b"")


def test_a_refusal_in_the_sessions_own_words():
    judge = ScriptedJudge(ruling(deed=Deed.REJECT, reply=reply(554, "5.7.1", "It is infected")))
    assert converse(mta.session(), judge)[0] == [("y", b"554 5.7.1 It is infected\0")]


def test_what_nobody_gets_can_be_held():
    judge = ScriptedJudge(ruling(deed=Deed.DISCARD, reason="spam"))
    assert converse(mta.session(), judge)[0] == [("d", b"")]
    assert converse(mta.session(), judge, door(hold=True))[0] == [("q", b"spam\0"), ("c", b"")]


@pytest.mark.parametrize(
    ("on_error", "answer"),
    [(OnError.ACCEPT, ("c", b"")), (OnError.TEMPFAIL, ("y", b"451 4.7.1 ")), (OnError.REJECT, ("y", b"554 5.7.1 "))],
)
@pytest.mark.parametrize(
    "answered", [Unjudged("no filter"), ruling(Part(), Part(recipients=("x@y.z",), deed=Deed.REJECT))]
)
def test_what_cannot_be_judged_or_carried_out(on_error, answer, answered):
    ((command, data),), reported = converse(mta.session(), ScriptedJudge(answered), door(on_error=on_error))
    assert (command, data[:10]) == answer
    ((level, text),) = reported
    assert level == "W"
    assert "4XyZ12 not judged" in text
    assert on_error.value in text


def test_large_mail_passes_untouched_and_unasked():
    judge = ScriptedJudge()
    stream = mta.session(mta.message(mta.CONTENT + b"x" * 70_000), mta.message())
    answers, _ = converse(stream, judge, door(size_limit=60_000, on_error=OnError.REJECT))
    assert [command for command, _ in answers] == ["s", "s", "c", "c", "c"]  # of the second: its body, its end
    assert len(judge.asked) == 1
    assert judge.last.content == mta.CONTENT


def test_a_message_over_the_hard_limit_is_an_error(monkeypatch):
    monkeypatch.setattr(milter_door, "CONTENT_LIMIT", 50)
    answers, reported = converse(mta.session(), ScriptedJudge())
    assert [data[:4] for _, data in answers] == [b"451 "]
    assert "50 bytes" in reported[0][1]


def test_content_above_the_memory_limit_is_in_a_file_that_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mail = mta.CONTENT + b"x" * (1536 * 1024)
    judge = ScriptedJudge()
    gone = mta.message(mail)[:-5] + packet("A")
    answers, _ = converse(mta.session(gone, mta.message(mail), mta.message()), judge)
    assert [command for command, _ in answers] == ["c", "c"]
    assert [asked.was_file for asked in judge.asked] == [True, False]
    assert [asked.content for asked in judge.asked] == [mail, mta.CONTENT]
    assert list(tmp_path.iterdir()) == []


def test_content_goes_to_a_file_when_all_connections_hold_much(monkeypatch):
    monkeypatch.setattr(milter_door, "HeldBytes", partial(HeldBytes, limit=len(mta.CONTENT) - 1))
    judge = ScriptedJudge()
    mail = mta.CONTENT + b"x" * (600 * 1024)
    answers, _ = converse(mta.session(mta.message(), mta.message(mail), mta.message()), judge)
    assert [command for command, _ in answers] == ["c", "c", "c"]
    assert [(asked.content, asked.was_file) for asked in judge.asked] == [
        (mta.CONTENT, True), (mail, True), (mta.CONTENT, True),
    ]  # fmt: skip


def test_content_without_room_is_not_judged_and_the_next_message_is(monkeypatch):
    class Full(Gathered):
        def spill(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(milter_door, "Gathered", Full)
    judge = ScriptedJudge()
    mail = mta.CONTENT + b"x" * (1536 * 1024)
    answers, reported = converse(mta.session(mta.message(mail), mta.message()), judge)
    assert [(command, data[:4]) for command, data in answers] == [("y", b"451 "), ("c", b"")]
    assert "No space left" in reported[0][1]
    assert [asked.content for asked in judge.asked] == [mta.CONTENT]


def test_a_slow_judgement_is_heard_of():
    judge = ScriptedJudge()

    async def scene():
        judge.hold = asyncio.Event()
        async with open_door(partial(make, progress_s=0.01), judge, door()) as opened:
            talk = await opened.talk()
            talk.send(mta.session())
            await talk.until(packet("p") * 3)
            judge.hold.set()
            return await talk.rest()

    *progress, last = mta.packets(asyncio.run(scene()))
    assert set(progress) <= {("p", b"")}
    assert last == ("c", b"")


def test_a_mail_system_that_has_gone_ends_the_judgement():
    judge = ScriptedJudge()

    async def scene():
        judge.hold = asyncio.Event()
        async with open_door(partial(make, progress_s=0.01), judge, door()) as opened:
            talk = await opened.talk()
            talk.send(mta.session()[:-5])
            await talk.until(packet("p"))
            talk.writer.transport.abort()
            await opened.settle()
        return judge.asked

    assert len(asyncio.run(scene())) == 1


def test_what_is_no_milter_is_shown_the_door():
    judge = ScriptedJudge()

    async def scene():
        async with open_door(make, judge, door()) as opened:
            talk = await opened.talk()
            talk.send(b"GET / HTTP/1.1\r\n\r\n")
            return await talk.rest(), opened.reported

    said, reported = asyncio.run(scene())
    assert said == b""
    assert reported[0][0] == "W"
    assert "no milter protocol" in reported[0][1]
