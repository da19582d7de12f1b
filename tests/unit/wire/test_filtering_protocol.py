"""The filtering protocol: codec, door and client as its description says, every value of a question and of an answer."""

import asyncio
import contextlib
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.scripted_judge import ScriptedJudge, open_door, ruling

from gatepost.client.remote import RemoteJudge, RemoteSettings
from gatepost.config.doors import Door
from gatepost.model.envelope import Client
from gatepost.model.filtering import (
    Checks,
    Deed,
    FieldEdit,
    FieldOp,
    Mark,
    Part,
    Purpose,
    Request,
    Ruling,
    Threat,
)
from gatepost.model.finding import BareObject
from gatepost.model.reply import Reply
from gatepost.model.verdict import Splice
from gatepost.service import filter_door
from gatepost.service.held_bytes import HeldBytes
from gatepost.service.judge import Unjudged
from gatepost.testing.filtering_suite import CONTENT, FIRST, HELLO, FilterClientSuite, FilterServerSuite, frame
from gatepost.wire.filtering import (
    END,
    Asked,
    Ended,
    FilterClientSession,
    FilteringError,
    FilterServerSession,
    Refused,
    build_data,
)
from gatepost.wire.filtering_values import FIELDS_LIMIT

MANUAL = Path(__file__).resolve().parents[3] / "docs/manual/filter-protocol.md"
RICH = Part(
    recipients=("b@y.example", "ü@y.example"),
    group="Sales",
    deed=Deed.REJECT,
    reply=Reply(550, "5.7.1", ("It is spam", "Really")),
    status="spam",
    extended="SPAM, Content",
    rate=-7,
    methods=("content", "dnsbl"),
    categories=("A/B",),
    marks=(Mark("SIGN", 1.5, "why"),),
    objects=("infected", "clean"),
    threats=(Threat("Eicar", "infected", "a.zip/ü.exe"),),
    reason="rule 3",
    prefix=b"X-A: \xff\r\n folded\r\n",
    splices=(Splice(0, 0, b"new"), Splice(4, 9, bytes(range(256)) * 300), Splice(9, 10, b"new")),
    field_edits=(FieldEdit(FieldOp.CHANGE, "Subject", b"[spam]\r\n x", 2), FieldEdit(FieldOp.APPEND, "X", b"y")),
    body_changed=True,
    subject_label="[spam]",
    copies=("c@y.example",),
    redirect=("d@y.example",),
)
QUESTION = Request(
    client=Client("2001:db8::1", 2525, "mx", True, "", "mx.example", "TLSv1.3", "anna"),
    sender="a@x.example",
    recipients=("b@y.example", "ü@y.example"),
    queue_id="4cX",
    purpose=Purpose.ASK,
    checks=Checks.VIRUS,
    divided=True,
    bare=BareObject("a.exe", "application/x-y"),
    accepted=True,
)


def pair(size_limit: int = 0) -> tuple[FilterClientSession, FilterServerSession]:
    client, server = FilterClientSession("c"), FilterServerSession("s", size_limit)
    server.feed(client.hello())
    client.feed(server.hello())
    return client, server


def exchange(question: Request, answer: Ruling, size: int = 20) -> tuple[Asked, Ruling]:
    """Return the question as it arrives, and the answer as it does."""
    client, server = pair()
    asked, *_, ended = server.feed(b"".join((client.ask(question, size, 2.5), *build_data(bytes(size)), END)))
    assert isinstance(asked, Asked)
    assert isinstance(ended, Ended)
    (told,) = client.feed(server.result(answer))
    assert isinstance(told, Ruling)
    return asked, told


@pytest.mark.parametrize("value", [QUESTION, RICH], ids=["question", "part"])
def test_the_values_of_these_tests_leave_no_field_at_its_default(value: msgspec.Struct) -> None:
    for field in msgspec.structs.fields(type(value)):
        assert getattr(value, field.name) != field.default, f"{field.name} is not tried on the wire"


def test_every_value_of_a_question_and_of_an_answer_arrives() -> None:
    answer = Ruling(parts=(RICH,), whole=RICH, queue_id="Q", info="Not protected")
    asked, told = exchange(QUESTION, answer)
    assert asked == Asked(QUESTION, 20, 2.5)
    assert told == answer
    other = msgspec.structs.replace(RICH, recipients=("b@y.example",))
    rest = Part(recipients=("ü@y.example",))
    answer = Ruling(parts=(other, rest), whole=rest)
    assert exchange(QUESTION, answer)[1] == answer


def test_new_bytes_go_over_the_wire_once_however_many_parts_have_them() -> None:
    _, server = pair()
    data = bytes(range(256)) * 1000
    parts = tuple(Part(recipients=(f"{each}@y.example",), splices=(Splice(0, 0, data),)) for each in range(5))
    assert len(server.result(Ruling(parts=parts, whole=parts[0]))) < len(data) + 2000


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"one\rtwo", b"one two"),
        (b"one\0two\r\n", b"one two "),
        (b"one\n\ttwo\r", b"one \ttwo "),
        (b"one\r\r\n\r\n\n two\r\n three", b"one  two\r\n three"),
        (b"one\r\nX-Forged: two", b"one X-Forged: two"),
        (b"x" * (FIELDS_LIMIT - 1) + b"\r\n y", b"x" * (FIELDS_LIMIT - 1) + b" "),
    ],
    ids=["cr", "nul", "lf", "several", "field", "long"],
)
def test_what_a_stranger_has_written_into_a_field_spoils_no_answer(written: bytes, told: bytes) -> None:
    edits = (FieldEdit(FieldOp.CHANGE, "Subject", written),)
    _, answer = exchange(
        Request(client=Client(""), recipients=("a@b",)), ruling(recipients=("a@b",), field_edits=edits)
    )
    (edit,) = answer.whole.field_edits
    assert edit.value == told


def test_text_that_is_no_unicode_or_has_control_characters_arrives_readable() -> None:
    question = msgspec.structs.replace(
        QUESTION, sender="\udcff@x", recipients=("b\r@y", "c\udc80@y", "d\x7f@y"), queue_id="\x1b[31m" + "q" * 5000
    )
    part = Part(recipients=question.recipients, reason="a\nb\udcff" + "x" * 5000, marks=(Mark("M\x00", 1.0),))
    asked, told = exchange(question, Ruling(parts=(part,), whole=part))
    assert asked.request.sender == "\\xed\\xb3\\xbf@x"
    assert asked.request.recipients == ("b\\x0d@y", "c\\xed\\xb2\\x80@y", "d\\x7f@y")
    assert asked.request.queue_id.startswith("\\x1b[31mqqq")
    # The part comes from a judge that has got the escaped names.
    answer = ruling(recipients=asked.request.recipients, reason=part.reason, marks=part.marks)
    told = exchange(question, answer)[1]
    assert told.parts[0].recipients == question.recipients
    assert told.parts[0].reason.startswith("a\\x0ab\\xed\\xb3\\xbfxxx")
    assert told.parts[0].marks == (Mark("M\\x00", 1.0),)


@pytest.mark.parametrize(
    "change",
    [
        {"recipients": tuple(f"{each}@y.example" for each in range(10_001))},
        {"recipients": ("x" * 10_001,)},
        {"sender": "x" * 10_001},
        {"recipients": tuple(f"{each:0500}@y.example" for each in range(9000))},
        {"recipients": ("a\r", "a\\x0d")},
    ],
)
def test_a_question_over_a_limit_is_told_to_the_asker(change: dict[str, Any]) -> None:
    client, server = pair()
    with pytest.raises(ValueError, match=r"."):
        client.ask(msgspec.structs.replace(QUESTION, **change), 0, 1.0)
    assert server.feed(client.ask(QUESTION, 0, 1.0) + END)
    with pytest.raises(ValueError, match="1073741824"):
        client.ask(QUESTION, 1024**3 + 1, 1.0)


def test_as_much_of_an_envelope_as_mail_systems_take_arrives() -> None:
    long = tuple(f"{each:02000}@y.example" for each in range(1000))
    question = msgspec.structs.replace(QUESTION, sender="x" * 2048, recipients=long)
    assert exchange(question, ruling(recipients=long))[0].request == question


def test_ten_thousand_recipients_arrive() -> None:
    question = msgspec.structs.replace(QUESTION, recipients=tuple(f"{each}@y.example" for each in range(10_000)))
    answer = ruling(recipients=question.recipients)
    assert exchange(question, answer)[1] == answer


def test_an_answer_over_the_limit_is_refused_by_the_server_itself() -> None:
    client, server = pair()
    server.feed(client.ask(QUESTION, 0, 1.0) + END)
    too_large = ruling(recipients=QUESTION.recipients, copies=tuple("x" * 900 + str(n) for n in range(10_000)))
    with pytest.raises(ValueError, match="larger"):
        server.result(too_large)
    (told,) = client.feed(server.unjudged("larger\n than allowed"))
    assert told == Refused("larger\\x0a than allowed", closes=False)


def test_what_comes_before_the_answer_is_kept_until_it_is_given() -> None:
    client, server = pair()
    whole = client.ask(QUESTION, 0, 1.0) + END
    assert [type(event) for event in server.feed(whole + whole)] == [Asked, Ended]
    assert server.feed(b"") == []
    server.result(ruling(recipients=QUESTION.recipients))
    assert [type(event) for event in server.feed(b"")] == [Asked, Ended]


def test_a_greeting_of_another_version_is_refused() -> None:
    client = FilterClientSession("c")
    with pytest.raises(FilteringError, match="version 2"):
        client.feed(frame(HELLO, {"version": 2}))


def test_the_examples_of_the_manual_are_what_is_spoken() -> None:
    """Lines `C:` and `S:` of the description: length and kind in hexadecimal digits, then the payload."""
    client, server = FilterClientSession("example 1.0"), FilterServerSession("gatepost 1.0")
    spoken = [
        (found[1], _bytes(found[2])) for found in re.finditer(r"^    ([CS]): (.+)$", MANUAL.read_text(), re.MULTILINE)
    ]
    assert len(spoken) == 12
    sent = [raw for who, raw in spoken if who == "C"]
    answers = [raw for who, raw in spoken if who == "S"]
    assert sent[0] == client.hello()
    assert server.feed(sent[0])
    assert answers[0] == server.hello()
    asked, content, _ = server.feed(b"".join(sent[1:4]))
    assert isinstance(asked, Asked)
    assert isinstance(content, bytes)
    # As a client of ours asks it, it is the same.
    assert sent[1:4] == [client.ask(asked.request, asked.size, asked.deadline_s), b"".join(build_data(content)), END]
    client.feed(answers[0])
    (first,) = client.feed(b"".join(answers[1:3]))
    assert isinstance(first, Ruling)
    assert first.parts[0].splices == (Splice(45, 52, b"Removed"),)
    assert server.result(first) == b"".join(answers[1:3])
    server.feed(b"".join(sent[4:7]))
    assert server.unjudged("no filter is free") == answers[3]
    client.ask(asked.request, asked.size, asked.deadline_s)
    assert client.feed(answers[3]) == [Refused("no filter is free", closes=False)]
    assert server.feed(sent[7])


def _bytes(line: str) -> bytes:
    head, _, payload = line.partition(" | ")
    return bytes.fromhex(head) + payload.encode().decode("unicode_escape").encode("latin-1")


@pytest.mark.feature("F-ASD-08")
class TestDoor(FilterServerSuite):
    """The filter door as the server."""

    def ask(self, *pieces: bytes) -> bytes:
        def answer(request: Request, _: bytes) -> Ruling:
            return ruling(recipients=request.recipients, prefix=b"X-Seen: yes\r\n")

        async def scene() -> bytes:
            async with open_door(filter_door.make, ScriptedJudge(answer)) as door:
                talk = await door.talk()
                with contextlib.suppress(ConnectionError):
                    for piece in pieces:
                        talk.send(piece)
                        await talk.writer.drain()
                    talk.end()
                return await talk.rest()

        return asyncio.run(scene())


@pytest.mark.feature("F-ASD-08")
class TestRemoteJudge(FilterClientSuite):
    """The judge of client programs as the client."""

    def question(self, *answers: bytes) -> tuple[bytes, list[tuple[list[str], str]] | None]:
        request = Request(client=Client(""), sender="a@x.example", recipients=("b@y.example", "c@y.example"))
        sent = bytearray()

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                self.transport = transport
                transport.write(frame(HELLO, FIRST))

            def data_received(self, data: bytes) -> None:
                sent.extend(data)
                if sent.endswith(END):
                    self.transport.write(b"".join(answers))

        async def scene() -> Ruling | None:
            with tempfile.TemporaryDirectory() as directory:
                server = await asyncio.get_running_loop().create_unix_server(Server, f"{directory}/s")
                judge = RemoteJudge(RemoteSettings(addresses=(f"unix:{directory}/s",)), lambda _level, _text: None)
                try:
                    return await judge.judge(request, CONTENT, 20.0)
                except Unjudged:
                    return None
                finally:
                    judge.close()
                    server.close()
                    await asyncio.sleep(0)  # the server's end of the connection closes

        told = asyncio.run(scene())
        answer = None if told is None else [(list(part.recipients), part.deed.value) for part in told.parts]
        return bytes(sent), answer


def test_a_door_with_a_size_limit_passes_larger_mail_unseen_and_says_so() -> None:
    judge = ScriptedJudge()

    async def scene() -> tuple[bytes, bytes]:
        async with open_door(filter_door.make, judge, Door(name="d", size_limit=10)) as door:
            client = FilterClientSession("c")
            talk = await door.talk()
            talk.send(client.hello(), client.ask(QUESTION, 11, 1.0), *build_data(bytes(11)), END)
            talk.end()
            raw = await talk.rest()
            _, told = client.feed(raw)
            assert isinstance(told, Ruling)
            assert (told.info, told.whole.deed) == ("Too large", Deed.DELIVER)
            return raw, b""

    asyncio.run(scene())
    assert judge.asked == []


def test_bare_recipients_get_the_doors_domain_and_the_client_its_own_names() -> None:
    judge = ScriptedJudge(lambda request, _: ruling(recipients=request.recipients))

    async def scene() -> None:
        async with open_door(filter_door.make, judge, Door(name="d", default_domain="y.example")) as door:
            client = FilterClientSession("c")
            talk = await door.talk()
            question = msgspec.structs.replace(QUESTION, recipients=("anna", "anna@y.example", "b@z.example"))
            talk.send(client.hello(), client.ask(question, 0, 1.0), END)
            talk.end()
            _, told = client.feed(await talk.rest())
            assert isinstance(told, Ruling)
            assert told.parts[0].recipients == question.recipients

    asyncio.run(scene())
    assert judge.last.request.recipients == ("anna@y.example", "anna@y.example", "b@z.example")


def test_when_memory_is_short_contents_go_to_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_door, "HeldBytes", lambda: HeldBytes(50))
    judge = ScriptedJudge(lambda request, _: ruling(recipients=request.recipients))

    async def scene() -> None:
        async with open_door(filter_door.make, judge) as door:
            talks = []
            for _ in range(2):
                client = FilterClientSession("c")
                talk = await door.talk()
                talk.send(client.hello() + client.ask(QUESTION, 40, 1.0))
                await talk.until(b"}")
                talks.append(talk)
            for talk in talks:
                talk.send(*build_data(bytes(40)), END)
                assert (await talk.read(5))[4] == 5
            # The first ones have their answers: there is room again.
            talk.send(client.ask(QUESTION, 40, 1.0), *build_data(bytes(40)), END)
            talk.end()
            await talk.rest()

    asyncio.run(scene())
    assert sorted(each.was_file for each in judge.asked[:2]) == [False, True]
    assert not judge.asked[2].was_file
    assert all(each.content == bytes(40) for each in judge.asked)
