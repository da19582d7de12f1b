"""The relay's side of recording: sends what a spool's outbox holds to the recorder, and confirms what is kept there.

`OutboxFeed` decides what to send (sans-I/O); `Recording`, one for each spool, is its shell. Mail never waits for any of
it: when the recorder is away or slow, rows stay in the outbox, which is read from where it left off once it takes them.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Protocol

from gatepost.recorder.frames import Durable, FrameError, Hello, Rows, Sample, build_frame, recorder_frames
from gatepost.spool import clock
from gatepost.spool.interface import Follower, SpoolError

NAME = "recorder"
"""Of the view in the spool."""
WINDOW_BYTES = 4 * 1024 * 1024
"""Sent and not confirmed: what is beyond stays on the disk. The recorder confirms once a second."""
GATHER_S = 0.2
"""Rows wait this long for others to go along with: at a hundred mails a second a turn of both loops is for twenty."""
GATHER_BYTES = 128 * 1024
"""Rows that are sent at once."""
READ_ROWS = 64
"""Rows read from the outbox at a time: some 100 KB under load."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
"""Bounds of the pause before the recorder is looked for again."""
SAMPLE_S = 10.0
"""Between two samples of the queue."""
UNCONFIRMED_LIMIT = 5_000_000
"""Records that may wait for a recorder that does not come back: some 4 GB of outbox. Beyond it the oldest are let go,
for the disk is the mail's."""


class Outbox(Protocol):
    """What of a spool is needed here (`SqliteSpool`)."""

    @property
    def last_record(self) -> int: ...

    def follow(self, name: str, follower: Follower) -> None: ...

    async def outbox(self, after: int, limit: int) -> list[tuple[int, int, bytes]]: ...

    def confirm(self, name: str, number: int, note: bytes = b"") -> None: ...

    def position(self, name: str) -> tuple[int, bytes]: ...

    async def counts(self) -> dict[str, int]: ...


class OutboxFeed:
    """What of one outbox has been sent and confirmed, and whether new rows may go out as they come."""

    def __init__(self, confirmed: int) -> None:
        self.confirmed = confirmed
        """Last number the recorder keeps."""
        self.sent = confirmed
        """Last number sent over this connection."""
        self.live = False
        """Nothing is left on the disk that was not sent: new rows may be sent as they come."""
        self._under_way: list[tuple[int, int]] = []
        self._bytes = 0

    def begin(self) -> None:
        """Begin anew over another connection: what was not confirmed is sent again."""
        self.sent = self.confirmed
        self.live = False
        self._under_way.clear()
        self._bytes = 0

    @property
    def room(self) -> bool:
        """More may be sent."""
        return self._bytes < WINDOW_BYTES

    def offer(self, first: int, count: int, size: int) -> bool:
        """Tell whether a row that was just committed is to be sent now; else it is read from the disk later."""
        if not self.live:
            return False
        if first != self.sent + 1 or not self.room:
            self.live = False
            return False
        self._note(first + count - 1, size)
        return True

    def take(self, first: int, count: int, size: int) -> bool:
        """Tell whether a row read from the disk is to be sent; it is not when it went out already."""
        if first + count - 1 <= self.sent:
            return False
        self._note(first + count - 1, size)
        return True

    def _note(self, last: int, size: int) -> None:
        self.sent = last
        self._under_way.append((last, size))
        self._bytes += size

    def confirm(self, number: int) -> bool:
        """Take note that the recorder keeps everything up to a number; tell whether that is news."""
        done = 0
        for last, size in self._under_way:
            if last > number:
                break
            self._bytes -= size
            done += 1
        del self._under_way[:done]
        if not self.confirmed < number <= self.sent:
            return False
        self.confirmed = number
        return True


class Recording:
    """Sends one spool's records to the recorder for as long as it runs."""

    def __init__(self, spool: Outbox, shard: int, socket: str, report: Callable[[str, str], None]) -> None:
        """`socket`: where the recorder listens, "" when nobody keeps records; `report(level, text)` logs."""
        self._spool = spool
        self._shard = shard
        self._socket = socket
        self._report = report
        number, note = spool.position(NAME)
        self._source = note.decode("ascii", "replace") or os.urandom(8).hex()
        self._feed = OutboxFeed(number)
        self._transport: asyncio.Transport | None = None
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._full = False
        if socket:
            spool.follow(NAME, self._on_row)

    @property
    def settled(self) -> bool:
        """Nobody keeps records, or the recorder has confirmed all there are."""
        return not self._socket or self._feed.confirmed >= self._spool.last_record

    async def run(self) -> None:
        """Work until cancelled."""
        if not self._socket:
            await asyncio.Event().wait()
        # The name of the outbox must be on disk before anything goes out under it.
        self._spool.confirm(NAME, self._feed.confirmed, self._source.encode())
        pause = FIRST_PAUSE_S
        while True:
            try:
                if await self._serve():
                    pause = FIRST_PAUSE_S
            except (OSError, SpoolError):
                pass  # the recorder is away; a spool in trouble has told of it itself
            self._hang_up()
            await self._let_go()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _serve(self) -> bool:
        """Work over one connection until it ends; tell whether it did any good."""
        self._feed.begin()
        connection = _Connection(self._on_durable, self._on_lost)
        await self._spool.outbox(self._feed.confirmed, 1)
        transport, _ = await self._loop.create_unix_connection(lambda: connection, self._socket)
        self._transport = transport
        began = self._feed.confirmed
        transport.write(build_frame(Hello(self._source, self._shard)))
        sampled = -SAMPLE_S
        while not transport.is_closing():
            self._wake.clear()
            if not self._feed.live and self._feed.room:
                await self._catch_up()
                continue
            if self._loop.time() - sampled >= SAMPLE_S:
                sampled = self._loop.time()
                counts = await self._spool.counts()
                transport.write(build_frame(Sample(clock.now(), counts["waiting"], counts["ready"], counts["held"])))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(sampled + SAMPLE_S - self._loop.time()):
                    await self._wake.wait()
        return self._feed.confirmed > began

    async def _catch_up(self) -> None:
        """Send what is on the disk and was not sent; go live when that is nothing."""
        rows = await self._spool.outbox(self._feed.sent, READ_ROWS)
        if not rows:
            # Nothing can have been committed between this answer and here that `_on_row` would not be given.
            self._feed.live = True
        for first, count, records in rows:
            if self._feed.take(first, count, len(records)):
                self._send(Rows(first, count, records))

    def _on_row(self, first: int, count: int, records: bytes) -> None:
        if self._transport is None:
            return
        if self._feed.offer(first, count, len(records)):
            self._send(Rows(first, count, records))
        else:
            self._wake.set()

    def _send(self, rows: Rows) -> None:
        frame = build_frame(rows)
        self._gathered.append(frame)
        self._gathered_bytes += len(frame)
        if self._gathered_bytes >= GATHER_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(GATHER_S, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if self._transport is not None and gathered:
            self._transport.write(b"".join(gathered))

    def _on_durable(self, number: int) -> None:
        if self._feed.confirm(number):
            self._full = False
            self._spool.confirm(NAME, number, self._source.encode())
        self._wake.set()

    def _on_lost(self) -> None:
        self._wake.set()

    def _hang_up(self) -> None:
        self._gathered.clear()
        self._gathered_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def _let_go(self) -> None:
        """Give up the oldest records when a recorder that stays away would fill the disk."""
        with contextlib.suppress(SpoolError):
            last = self._spool.last_record
            if last - self._feed.confirmed > UNCONFIRMED_LIMIT:
                if not self._full:
                    self._full = True
                    self._report("E", f"shard {self._shard}: the recorder does not come back, tracking loses records")
                self._feed.confirmed = last - UNCONFIRMED_LIMIT
                self._spool.confirm(NAME, self._feed.confirmed, self._source.encode())

    def close(self) -> None:
        """Send what is gathered and hang up: the relay ends, and what was not confirmed goes out at its next start."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
            self._transport = None


class _Connection(asyncio.Protocol):
    """The connection to the recorder."""

    def __init__(self, on_durable: Callable[[int], None], on_lost: Callable[[], None]) -> None:
        self._frames = recorder_frames()
        self._on_durable = on_durable
        self._on_lost = on_lost
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                assert isinstance(message, Durable)
                self._on_durable(message.number)
        except FrameError:
            assert self._transport is not None
            self._transport.abort()  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of asyncio
        self._on_lost()
