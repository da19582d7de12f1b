"""The relay's side of recording: what is sent, confirmed, sent again; frames whole, in pieces and broken."""

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
from gatepost.relay.recording import OutboxFeed

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
