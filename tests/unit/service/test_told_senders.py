"""A report goes out once: what tells a question from another, who shares it, and what is not remembered."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gatepost.config.doors import Door, DoorKind
from gatepost.model.envelope import Client
from gatepost.model.filtering import Deed, Part, Request, Ruling
from gatepost.relay.disposal import Disposition
from gatepost.relay.intake import Intake
from gatepost.relay.work import Work
from gatepost.service.desk_judge import BOUNCE, DeskJudge
from gatepost.service.judge import Unjudged
from gatepost.service.proxy_memory import KEEP_S
from gatepost.service.told_senders import ToldSenders
from gatepost.spool.interface import Pending, SpoolError
from gatepost.spool.writer import SqliteSpool
from gatepost.testing.memory_spool import MemoryContent
from gatepost.testing.spool_suite import LARGE, SMALL, new_message

MAIL = b"Message-ID: <1@x>\r\nSubject: one\r\n\r\nText.\r\n"
A, B = "a@x.example", "b@x.example"


def request(sender: str = "s@x.example", recipients: Sequence[str] = (A, B)) -> Request:
    return Request(client=Client("192.0.2.1"), sender=sender, recipients=tuple(recipients))


def ruling(deed: Deed = Deed.DISCARD, *recipients: str) -> Ruling:
    part = Part(recipients=recipients or (A, B), deed=deed)
    return Ruling(parts=(part,), whole=part)


def told(place: Path, said: list[str] | None = None) -> ToldSenders:
    return ToldSenders(place / "told", lambda level, text: (said if said is not None else []).append(level + text))


def key(one: ToldSenders, of: Request, answer: Ruling, content: bytes | Path = MAIL) -> str:
    return asyncio.run(one.key(of, answer, content))


def test_all_relays_know_what_one_has_told_until_it_is_old(tmp_path: Path) -> None:
    now = time.time()
    one, other = told(tmp_path), told(tmp_path)
    this = key(one, request(), ruling())
    assert not other.knows(this, "s@x.example", now)
    one.note(this, "s@x.example", now)
    assert other.knows(key(other, request(), ruling()), "s@x.example", now)
    assert not other.knows(this, "s@x.example", now + KEEP_S + 1)


def test_a_content_in_a_file_is_the_same_message(tmp_path: Path) -> None:
    large = MAIL + b"more\r\n" * 50_000
    (tmp_path / "mail").write_bytes(large)
    one = told(tmp_path)
    assert key(one, request(), ruling(), large) == key(one, request(), ruling(), tmp_path / "mail")


@pytest.mark.parametrize(
    ("of", "answer", "content"),
    [
        (request("t@x.example"), ruling(), MAIL),
        (request(), ruling(Deed.DELIVER), MAIL),
        (request(recipients=(A,)), ruling(Deed.DISCARD, A), MAIL),
        (request(), ruling(), MAIL + b"."),
    ],
    ids=["sender", "answer", "recipients", "content"],
)
def test_what_differs_is_news(of: Request, answer: Ruling, content: bytes, tmp_path: Path) -> None:
    one = told(tmp_path)
    assert key(one, of, answer, content) != key(one, request(), ruling())


def test_words_that_do_not_say_which_message_they_are_have_no_key(tmp_path: Path) -> None:
    assert key(told(tmp_path), request(), ruling(), b"Subject: alarm\r\n\r\nDate: none\r\n") == ""


def test_what_cannot_be_noted_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "told").write_text("no directory")
    one = told(tmp_path, said)
    one.note(key(one, request(), ruling()), "s@x.example", time.time())
    assert len(said) == 1
    assert said[0].startswith("Wa report cannot be remembered, its sender may get it twice: ")
    assert not one.knows(key(one, request(), ruling()), "s@x.example", time.time())


def test_a_report_is_noted_though_who_asked_has_gone_meanwhile(tmp_path: Path) -> None:
    report = SimpleNamespace(stored=SimpleNamespace(kind=BOUNCE))
    disposition: Any = SimpleNamespace(generated=[report], records=[])

    async def scenario() -> None:
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        begun = asyncio.Event()

        def conclude(_: object) -> asyncio.Future[None]:
            begun.set()
            return kept

        desk: Any = SimpleNamespace(told=told(tmp_path), conclude=conclude, report=lambda *_: None)
        judge = DeskJudge(desk, Door(name="d", kind=DoorKind.MILTER, address="tcp:127.0.0.1:1"))
        asking = asyncio.create_task(judge._conclude(request(), ruling(), MAIL, disposition))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        this = await desk.told.key(request(), ruling(), MAIL)
        assert not desk.told.knows(this, "s@x.example", time.time())
        kept.set_result(None)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        assert desk.told.knows(this, "s@x.example", time.time())

    asyncio.run(scenario())


@pytest.mark.parametrize("taken", [False, True], ids=["all", "one cannot be kept"])
def test_the_reports_of_one_answer_are_durable_together_or_not_at_all(tmp_path: Path, *, taken: bool) -> None:
    """Else those that were would come again when the question does."""

    async def scenario() -> None:
        spool = SqliteSpool.open(str(tmp_path / "relay-0"), asyncio.get_running_loop())
        await spool.start()
        if taken:
            await spool.accept(new_message(spool, 9), [])
        reports = [
            new_message(spool, number, text, [Pending(0, "x.example", 2.0)], BOUNCE)
            for number, text in ((7, SMALL), (8, LARGE), (9, SMALL))
        ]
        sent: list[Work] = []
        troubles: list[BaseException] = []
        intake = object.__new__(Intake)
        intake.spool, intake.trouble, intake._send = spool, troubles.append, sent.append
        desk: Any = SimpleNamespace(told=told(tmp_path), conclude=intake.turn_away, report=lambda *_: None)
        judge = DeskJudge(desk, Door(name="d", kind=DoorKind.MILTER, address="tcp:127.0.0.1:1"))
        answer = judge._conclude(request(), ruling(), MAIL, Disposition([], [], generated=reports))
        if taken:
            with pytest.raises(Unjudged, match="cannot be kept"):
                await answer
        else:
            await answer
        this = await desk.told.key(request(), ruling(), MAIL)
        assert desk.told.knows(this, "s@x.example", time.time()) is not taken
        assert [await spool.fetch(number) is not None for number in (7, 8)] == [not taken] * 2
        assert [work.stored.id for work in sent] == ([] if taken else [7, 8, 9])
        assert len(troubles) == taken
        assert len(list((tmp_path / "relay-0" / "content").iterdir())) == (not taken)
        await spool.close()

    asyncio.run(scenario())


def test_a_notification_that_cannot_be_kept_does_not_hold_up_an_answer_whose_sender_has_the_report(
    tmp_path: Path,
) -> None:
    def disposition() -> Any:
        notice = SimpleNamespace(stored=SimpleNamespace(kind="notice-admin", id=8), content=None)
        report = SimpleNamespace(stored=SimpleNamespace(kind=BOUNCE, id=7), content=MemoryContent(7))
        return SimpleNamespace(generated=[report, notice], records=[])

    async def scenario() -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        desk: Any = SimpleNamespace(told=told(tmp_path), conclude=lambda _: done, report=lambda *_: None)
        judge = DeskJudge(desk, Door(name="d", kind=DoorKind.MILTER, address="tcp:127.0.0.1:1"))
        this = await desk.told.key(request(), ruling(), MAIL)
        done.set_exception(SpoolError("no space left"))
        with pytest.raises(Unjudged):
            await judge._conclude(request(), ruling(), MAIL, disposition())
        desk.told.note(this, "s@x.example", time.time())
        await judge._conclude(request(), ruling(), MAIL, disposition())

    asyncio.run(scenario())
