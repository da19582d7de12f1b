"""The relay's side of recording: what is sent, confirmed, sent again; frames whole, in pieces and broken."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from gatepost.recorder import frames
from gatepost.recorder.frames import (
    Durable,
    FrameError,
    Hello,
    Rows,
    Sample,
    build_frame,
    recorder_frames,
    relay_frames,
)
from gatepost.relay import recording
from gatepost.relay.pipeline import Pipeline
from gatepost.relay.recording import OutboxFeed, Recording

MESSAGES: list[Hello | Rows | Sample] = [Hello("abc", 2), Rows(1, 3, b"\x93abc"), Rows(4, 1, b""), Sample(1.5, 1, 2, 3)]


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_frames_come_whole_however_they_are_cut(piece: int) -> None:
    stream = b"".join(build_frame(message) for message in MESSAGES)
    reader = relay_frames()
    found = [
        message for start in range(0, len(stream), piece) for message in reader.feed(stream[start : start + piece])
    ]
    assert found == MESSAGES
    assert recorder_frames().feed(build_frame(Durable(7))) == [Durable(7)]


@pytest.mark.parametrize(
    "stream",
    [
        (frames.FRAME_LIMIT + 1).to_bytes(4, "big"),
        b"\0\0\0\1\xc1",
        b"\0\0\0\7" + msgspec.msgpack.encode(["other"]),
        build_frame(Durable(1)),
    ],
    ids=["too long", "no msgpack", "unknown", "of the other side"],
)
def test_what_no_relay_of_ours_sends_is_refused(stream: bytes) -> None:
    with pytest.raises(FrameError):
        relay_frames().feed(stream)


def test_new_rows_go_out_only_behind_what_is_on_the_disk() -> None:
    feed = OutboxFeed(10)
    feed.begin()
    assert not feed.offer(14, 2, 100)
    assert feed.take(9, 5, 100)  # a row that was confirmed in part comes whole
    assert not feed.take(12, 2, 100)
    feed.live = True
    assert feed.offer(14, 2, 100)
    assert not feed.offer(17, 1, 100)  # a gap: something was missed
    assert not feed.live
    assert not feed.offer(16, 1, 100)
    assert feed.take(16, 1, 100)
    assert feed.sent == 16


def test_confirmations_count_once_and_never_beyond_what_was_sent() -> None:
    feed = OutboxFeed(0)
    feed.begin()
    feed.live = True
    for number in (1, 2, 3):
        assert feed.offer(number, 1, 100)
    assert feed.confirm(2)
    assert not feed.confirm(2)
    assert not feed.confirm(1)
    assert not feed.confirm(99)
    assert feed.confirmed == 2
    feed.begin()
    assert feed.sent == 2
    assert not feed.live


def test_what_is_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WINDOW_BYTES", 1000)
    feed = OutboxFeed(0)
    feed.begin()
    feed.live = True
    sent = 0
    while feed.offer(sent + 1, 1, 400):
        sent += 1
    assert sent == 3
    assert not feed.live
    feed.confirm(2)
    assert feed.room
    assert feed.take(4, 1, 400)


class Rest:
    """An outbox of a former relay: two rows that nobody has confirmed, and no mail."""

    last_record = 5

    def __init__(self) -> None:
        self.on_confirm: Callable[[int], None] = lambda _: None

    def follow(self, name: str, follower: Any) -> None:
        del name, follower

    def position(self, name: str) -> tuple[int, bytes]:
        del name
        return 0, b""

    def confirm(self, name: str, number: int, note: bytes = b"") -> None:
        del name, note
        self.on_confirm(number)

    async def outbox(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        del limit
        return [row for row in ((1, 3, b"abc"), (4, 2, b"de")) if row[0] + row[1] - 1 > after]

    async def counts(self) -> dict[str, int]:
        return {"waiting": 0, "ready": 0, "held": 0}


def test_a_shard_is_not_empty_before_its_last_rows_are_kept(tmp_path: Path) -> None:
    async def drain() -> None:
        spool = Rest()
        sent, confirm, kept, over = (asyncio.Event() for _ in range(4))
        spool.on_confirm = lambda number: kept.set() if number == 5 else None
        came: list[Rows] = []
        reader = relay_frames()

        async def record(stream: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
            while not came or came[-1].first != 4:
                came.extend(each for each in reader.feed(await stream.read(1000)) if isinstance(each, Rows))
            sent.set()
            await confirm.wait()
            answers.write(build_frame(Durable(5)))
            await stream.read()
            answers.close()
            await answers.wait_closed()
            over.set()

        server = await asyncio.start_unix_server(record, tmp_path / "s")
        keeper = Recording(spool, 3, str(tmp_path / "s"), lambda _, __: None)
        delivery = SimpleNamespace(in_work=lambda: 0)
        pipeline = cast("Pipeline", SimpleNamespace(spool=spool, delivery=delivery, _recording=keeper))
        task = asyncio.create_task(keeper.run())
        async with asyncio.timeout(100):
            await sent.wait()
            assert not await Pipeline.empty(pipeline)
            confirm.set()
            await kept.wait()
            assert await Pipeline.empty(pipeline)
            task.cancel()
            keeper.close()
            await over.wait()
        server.close()

    asyncio.run(drain())


def test_where_nobody_keeps_records_nothing_is_waited_for() -> None:
    async def make() -> bool:
        return Recording(Rest(), 3, "", lambda _, __: None).settled

    assert asyncio.run(make())
