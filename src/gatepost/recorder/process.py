"""The recorder process: `python -m gatepost.recorder.process`, started and watched by the master (`master.recorder`).

Standard input: a line of JSON (`RecorderSettings`) at the start, another for each reload, each confirmed by a line on
standard output; its end says that the master is gone. Takes records from relays on one socket, and questions of the
master on another. Everything that writes is on the event loop's thread; questions are answered on threads of their
own, from what is committed.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from gatepost.control.faults import log_unhandled
from gatepost.control.socket import Request, Unfit, serve
from gatepost.recorder.answers import Answers, answer_safely
from gatepost.recorder.av_record import AvRecord
from gatepost.recorder.books import COMMIT_S, Books
from gatepost.recorder.frames import Durable, FrameError, Hello, Rows, Sample, build_frame, relay_frames
from gatepost.recorder.licence_view import LicenceView
from gatepost.recorder.settings import SETTINGS_TAKEN, RecorderSettings
from gatepost.recorder.spam_logs import SpamLogs
from gatepost.recorder.view import View
from gatepost.spool import clock
from gatepost.storage.tracking.damage import DAMAGED

EXIT_BROKEN: Final = 30
"""Exit status when the files cannot be used (critical system error of the documented codes)."""
SETTINGS_LIMIT: Final = 256 * 1024
END_S: Final = 0.1
"""How long it goes on reading once the master is gone."""
TEND_S: Final = 600.0
"""Between two looks for what is to be dropped."""
THREADS: Final = 2
"""Questions answered at once; more wait their turn."""
GC_THRESHOLD: Final = 20_000
"""Container objects between two looks of the collector: hardly any of ours are cycles."""


class Relay(asyncio.Protocol):
    """The connection of one spool."""

    def __init__(self, recorder: "Recorder") -> None:
        self._recorder = recorder
        self._frames = relay_frames()
        self._hello: Hello | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            # What came at once is taken at once: each taking costs as much as a record or two.
            rows: list[Rows] = []
            for message in self._frames.feed(data):
                if isinstance(message, Rows):
                    rows.append(message)
                else:
                    self._hear(message)
            if rows:
                self._take(rows)
        except FrameError as error:
            self._recorder.say("E", f"a relay's records cannot be read, its connection is closed: {error}")
            assert self.transport is not None
            self.transport.abort()

    def _hear(self, message: Hello | Sample) -> None:
        if isinstance(message, Hello):
            self._hello = message
            self._recorder.relays[message.source] = self
        elif self._hello is None:
            raise FrameError("no greeting")
        else:
            queue = (message.waiting, message.ready, message.held)
            self._recorder.books.sample(message.at, self._hello.shard, queue)

    def _take(self, rows: Sequence[Rows]) -> None:
        if self._hello is None:
            raise FrameError("no greeting")
        self._recorder.take(self._hello, rows)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of asyncio
        self.transport = None
        if self._hello is not None and self._recorder.relays.get(self._hello.source) is self:
            del self._recorder.relays[self._hello.source]

    def confirm(self, number: int) -> None:
        """Tell the relay how far everything is kept."""
        if self.transport is not None:
            self.transport.write(build_frame(Durable(number)))


class Recorder:
    """The running recorder."""

    def __init__(self, settings: RecorderSettings, views: Sequence[View]) -> None:
        """apsw.Error, OSError, ValueError when its files cannot be used."""
        self._settings = settings
        self.books = Books(settings, self.say, views)
        self.relays: dict[str, Relay] = {}
        """By outbox, those that are connected."""
        self._answers = Answers(self.books.directory, lambda: self.books.masking)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answers")
        self._loop = asyncio.get_running_loop()
        self._due: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._status = 0
        self._line = b""

    def say(self, level: str, text: str) -> None:
        """Have the master log something."""
        with contextlib.suppress(OSError):
            print(f"{level} {text}".replace("\n", " "), flush=True)

    def take(self, hello: Hello, rows: Sequence[Rows]) -> None:
        """Take records; they are confirmed with the next commit."""
        try:
            self.books.take(hello.source, hello.shard, rows)
        except (apsw.Error, OSError, ValueError) as error:
            self._break(error)
            return
        if self.books.full:
            self.commit()
        elif self._due is None:
            self._due = self._loop.call_later(COMMIT_S, self.commit)

    def commit(self) -> None:
        """Make durable what was taken, and confirm it."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._ended.is_set():
            return
        try:
            ends = self.books.commit()
            for source, number in ends.items():
                relay = self.relays.get(source)
                if relay is not None:
                    relay.confirm(number)
            self.books.seal()
        except (apsw.Error, OSError, ValueError) as error:
            self._break(error)

    def _break(self, error: Exception) -> None:
        """End without closing anything: the next life begins with what is on the disk."""
        self.say("E", f"tracking cannot be written: {type(error).__name__}: {error}")
        if isinstance(error, DAMAGED):
            with contextlib.suppress(OSError):  # then the next life meets it again
                self.books.note_suspects()
        self._status = EXIT_BROKEN
        self._ended.set()

    async def answer(self, request: Request, _: int) -> Any:
        """Answer a question of the master. ControlError."""
        self.commit()  # what has come is seen
        try:
            return await self._loop.run_in_executor(
                self._threads, answer_safely, self._answers, request.call, request.arguments
            )
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise Unfit(f"{request.call}: {error}") from error

    async def run(self) -> int:
        """Work until the master is gone, or the files cannot be written; return the exit status."""
        settings = self._settings
        log_unhandled(self._loop, self.say, "recorder")
        for path in (settings.socket, settings.questions):
            Path(path).unlink(missing_ok=True)  # noqa: ASYNC240 - once, at the start
        mask = os.umask(0o177)
        try:
            records = await self._loop.create_unix_server(lambda: Relay(self), settings.socket)
        finally:
            os.umask(mask)
        questions = await serve(Path(settings.questions), self.answer)
        self._loop.add_reader(0, self._hear)
        tending = asyncio.create_task(self._tend())
        await self._ended.wait()
        self._loop.remove_reader(0)
        tending.cancel()
        records.close()
        questions.close()
        if self._status:
            return self._status
        self.books.close()
        return 0

    def _hear(self) -> None:
        """Take new settings; the end of the input says that the master is gone, or wants an end."""
        piece = os.read(0, SETTINGS_LIMIT)
        if not piece:
            # What relays sent before they ended may still lie in the sockets: one more turn of the loop reads it.
            self._loop.remove_reader(0)
            self._loop.call_later(END_S, self._ended.set)
            return
        self._line += piece
        *lines, self._line = self._line.split(b"\n")
        for line in lines:
            try:
                settings = msgspec.json.decode(line, type=RecorderSettings)
                self.books.configure(settings)
            except (apsw.Error, OSError, ValueError) as error:
                self._break(error)
            else:
                self.say(SETTINGS_TAKEN, "")

    async def _tend(self) -> None:
        while True:
            try:
                self.commit()
                self._answers.rest()
                self.books.tend(clock.now() if clock.is_believed() else None)
            except DAMAGED as error:
                self._break(error)
            except (apsw.Error, OSError) as error:
                self.say("E", f"tracking: what is old cannot be dropped: {error}")
            await asyncio.sleep(TEND_S)


def make_views(say: Callable[[str, str], None]) -> list[View]:
    """Return the views besides tracking, history and JSON lines."""
    return [AvRecord(say), SpamLogs(say), LicenceView()]


async def _work(settings: RecorderSettings, told: int) -> int:
    """Work by these settings, the last of so many told."""

    def say(level: str, text: str) -> None:
        print(f"{level} {text}", flush=True)

    recorder = Recorder(settings, make_views(say))
    for _ in range(told):
        say(SETTINGS_TAKEN, "")
    return await recorder.run()


def main(_arguments: Sequence[str] | None = None) -> None:
    """Run the recorder."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, SETTINGS_LIMIT)
        line += piece
        if not piece or len(line) > SETTINGS_LIMIT:
            raise SystemExit("gatepost recorder: no settings on standard input")
    lines = line.splitlines()
    settings = msgspec.json.decode(lines[-1], type=RecorderSettings)
    clock.follow_test_clock(os.environ)
    clock.follow_record(str(Path(settings.directory).parent))
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    try:
        status = asyncio.run(_work(settings, len(lines)))
    except (apsw.Error, OSError, ValueError) as error:
        print(f"E tracking cannot be used: {type(error).__name__}: {error}", flush=True)
        status = EXIT_BROKEN
    sys.exit(status)


if __name__ == "__main__":
    main()
