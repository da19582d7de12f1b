"""The relay's way to the filters: `await pool.inspect(...)` gives an `Analysis`, whatever the message does.

Used by `relay` (one pool per relay process, one event loop). A shell: decisions are `filter.plan`, frames and checks
`filter.dialogue`. Hot path: one `send` and one `recv` on a persistent socket per small message.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from gatepost.filter.dialogue import (
    CONTROL_FRAME_LIMIT,
    Answer,
    ConnectionQuestion,
    FrameReader,
    Job,
    KnownQuestion,
    Leaving,
    Ready,
    SpamQuestion,
    answer_limit,
    build_frame,
    check_analysis,
    parse_from_filter,
)
from gatepost.filter.hostile import HostileAnswer
from gatepost.filter.link import TemplateLink
from gatepost.filter.plan import Action, Assign, Cause, Fail, Kill, PoolPlan, PoolStats, Retire, Start
from gatepost.filter.questions import NO_SERVICES, Questions, Services, SpamJudge
from gatepost.filter.settings import INLINE_LIMIT, FilterSettings
from gatepost.model.finding import Analysis, ScanOptions

TICK_S = 0.2
"""How often deadlines are looked at while jobs are under way: the precision of the outer deadline."""
IDLE_TICK_S = 1.0
"""How often missing idle filters are looked for at rest."""
RECEIVE_SIZE = 64 * 1024


class FilterFailed(Exception):  # noqa: N818 - the name says whose fault it is
    """The message took two filters with it: status `error`, and on by policy. The text says how."""


class FilterUnavailable(Exception):  # noqa: N818 - a state, not a failure of the message
    """No filter could be had. The message is not to blame: keep it and try later."""


class _Work:
    """One `inspect` call under way."""

    __slots__ = ("descriptor", "frame", "future", "id", "judge", "limit", "message_id", "size")

    def __init__(
        self, number: int, message_id: str, frame: bytes, descriptor: int, size: int, future: "asyncio.Future[Analysis]"
    ) -> None:
        self.id = number
        self.message_id = message_id
        self.frame = frame
        self.descriptor = descriptor
        self.size = size
        self.limit = answer_limit(size)
        """Largest frame it may be answered with."""
        self.future = future
        self.judge: SpamJudge | None = None


class _Filter:
    """One filter process as seen from here."""

    __slots__ = (
        "generation", "number", "outgoing", "pid", "pidfd", "questions", "reader", "ready", "sock", "timer", "work",
    )  # fmt: skip

    def __init__(self, number: int, sock: socket.socket, pidfd: int, pid: int, generation: int) -> None:
        self.number = number
        self.generation = generation
        self.sock = sock
        self.pidfd = pidfd
        self.pid = pid
        self.ready = False
        self.reader = FrameReader(CONTROL_FRAME_LIMIT)
        self.outgoing = memoryview(b"")
        self.work: _Work | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.questions: Questions


class FilterPool:
    """Filters of one relay. Make it, `start` it, `inspect` messages, `close` it; all on the given loop."""

    def __init__(
        self,
        settings: FilterSettings,
        template_path: Path,
        loop: asyncio.AbstractEventLoop,
        services: Services = NO_SERVICES,
    ) -> None:
        """`services` answer what filters ask while they inspect."""
        self._settings = settings
        self._services = services
        self._loop = loop
        self._plan = PoolPlan(settings)
        self._link = TemplateLink(template_path, loop, self)
        self._filters: dict[int, _Filter] = {}
        self._works: dict[int, _Work] = {}
        self._numbers = 0
        self._gone: list[int] = []
        self._generation = 0
        self._met: asyncio.Event = asyncio.Event()
        """Set, and replaced, whenever a template answers."""
        self._ticker: asyncio.TimerHandle | None = None
        self._ticks_fast = False
        self._closed = False
        self.missing_walls: tuple[str, ...] = ()
        """What the last filter said of walls its kernel could not give it."""

    def start(self) -> None:
        """Look for the template and start the filters kept ready. Returns at once; jobs may be given right away."""
        self._link.open()
        self._ticker = self._loop.call_later(IDLE_TICK_S, self._tick)

    def configure(self, settings: FilterSettings) -> None:
        """Take new sizes and times into use."""
        self._settings = settings
        self._plan.configure(settings)

    async def inspect(
        self,
        message_id: str,
        content: bytes | Path,
        size: int,
        options: ScanOptions,
        judge: SpamJudge | None = None,
    ) -> Analysis:
        """Have a message inspected. `content`: the bytes, or the path of a file holding them; `size` bytes. `judge` is
        asked, with `SpamOptions.first`, whether what anti-spam has seen need not be scanned.

        FilterFailed: it took two filters with it. FilterUnavailable: no filter was to be had. OSError: the file
        cannot be opened.
        """
        self._numbers += 1
        number = self._numbers
        inline = content if isinstance(content, bytes) and size <= INLINE_LIMIT else None
        descriptor = -1 if inline is not None else _open(content)
        frame = build_frame(Job(message_id, size, options, inline))
        future: asyncio.Future[Analysis] = self._loop.create_future()
        work = self._works[number] = _Work(number, message_id, frame, descriptor, size, future)
        work.judge = judge
        if options.seven_bit:
            work.limit = answer_limit(size, seven_bit=True)
        try:
            self._carry_out(self._plan.submit(number, options.deadline_s, self._loop.time()))
            self._hurry()
            return await future
        finally:
            if not future.done() or future.cancelled():
                self._plan.withdraw(number)
            del self._works[number]
            if descriptor >= 0:
                os.close(descriptor)

    async def meet(self, generation: int) -> None:
        """Return when the template of this generation, or a later one, has answered: from then on no job is given to a
        filter of an older one. It must listen already.
        """
        if self._generation < generation:
            self._link.reopen()
        while self._generation < generation:
            await self._met.wait()

    def stats(self) -> PoolStats:
        """Return the pool's numbers as they are now."""
        return self._plan.snapshot()

    def pids(self) -> list[int]:
        """Return the process ids of the filters that have come up."""
        return [each.pid for each in self._filters.values() if each.ready]

    async def close(self) -> None:
        """Close all filters; jobs under way fail with FilterUnavailable."""
        self._closed = True
        if self._ticker is not None:
            self._ticker.cancel()
        self._carry_out(self._plan.close())
        for each in list(self._filters.values()):
            self._drop(each)
        self._link.close()
        await asyncio.sleep(0)

    def on_template(self, generation: int) -> None:
        """Take the template's greeting."""
        self._generation = generation
        self._gone.clear()  # of another template, or counted by this one
        self._carry_out(self._plan.template(generation, self._loop.time()))
        met, self._met = self._met, asyncio.Event()
        met.set()

    def on_filter(self, sock: socket.socket, pidfd: int, pid: int) -> None:
        """Take a forked filter; it counts as started when it says that it is ready."""
        self._numbers += 1
        each = _Filter(self._numbers, sock, pidfd, pid, self._generation)
        each.questions = Questions(each.number, self._services, lambda frame, passed: self._reply(each, frame, passed))
        self._filters[each.number] = each
        self._loop.add_reader(sock, self._read, each)
        each.timer = self._loop.call_later(self._settings.start_s, self._unborn, each, "it did not come up in time")

    def on_refused(self, reason: str) -> None:
        """Take the template's refusal."""
        self._carry_out(self._plan.refused(reason, self._loop.time()))

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Assign):
                self._assign(self._filters[action.worker], self._works.get(action.job))
            elif isinstance(action, Start):
                gone, self._gone = tuple(self._gone), []
                self._link.ask(gone)
            elif isinstance(action, Fail):
                self._fail(action)
            elif isinstance(action, Kill):
                self._kill(action.worker)
            elif isinstance(action, Retire):
                self._retire(self._filters[action.worker], told=action.told)

    def _retire(self, each: _Filter, *, told: bool) -> None:
        """End a filter that has no work; one that is told to in a while, so that not all of them end together."""
        limit_s = self._settings.delayed_exit_s if told and not self._closed else 0
        if limit_s > 1:
            each.timer = self._loop.call_later(random.randrange(limit_s), self._drop, each)  # noqa: S311 - no secret
        else:
            self._drop(each)

    def _fail(self, action: Fail) -> None:
        work = self._works.get(action.job)
        if work is not None and not work.future.done():
            kind = FilterFailed if action.cause is Cause.MESSAGE else FilterUnavailable
            work.future.set_exception(kind(action.reason))

    def _kill(self, number: int) -> None:
        each = self._filters.get(number)
        if each is not None:
            # Of another user's filter only the socket can be closed; its own alarm and CPU limit then end it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(each.pidfd, signal.SIGKILL)
            self._drop(each)

    def _drop(self, each: _Filter) -> None:
        """Forget a filter and close its socket: a living one ends at that."""
        if self._filters.pop(each.number, None) is None:
            return
        self._gone.append(each.pid)
        each.questions.close()
        if each.timer is not None:
            each.timer.cancel()
        if each.outgoing:
            self._loop.remove_writer(each.sock)
        self._loop.remove_reader(each.sock)
        each.sock.close()
        os.close(each.pidfd)

    def _unborn(self, each: _Filter, reason: str) -> None:
        self._kill(each.number)
        self._carry_out(self._plan.refused(f"a new filter failed: {reason}", self._loop.time()))

    def _assign(self, each: _Filter, work: _Work | None) -> None:
        if work is None:  # its caller has gone in the same moment: an empty job keeps plan and filter in step
            work = _Work(0, "", build_frame(Job("", 0, ScanOptions(), b"")), -1, 0, self._loop.create_future())
        each.work = work
        each.reader.limit = work.limit
        each.questions.begin(work.size, work.judge)
        try:
            if work.descriptor < 0:
                sent = each.sock.send(work.frame)
            else:
                sent = socket.send_fds(each.sock, [work.frame], [work.descriptor])
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            return  # it has gone; the reader learns of it, with its last word if it had one
        if sent < len(work.frame):
            each.outgoing = memoryview(work.frame)[sent:]
            self._loop.add_writer(each.sock, self._write, each)

    def _reply(self, each: _Filter, frame: bytes, passed: socket.socket | None) -> None:
        """Answer a question. A filter that asks reads: whose socket takes no more has not read its job."""
        if each.number not in self._filters:
            return
        try:
            sent = 0
            if not each.outgoing:
                sent = (
                    each.sock.send(frame) if passed is None else socket.send_fds(each.sock, [frame], [passed.fileno()])
                )
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            return  # as in `_assign`
        if sent < len(frame):
            self._lost(each, "the filter asks and does not read")

    def _write(self, each: _Filter) -> None:
        try:
            sent = each.sock.send(each.outgoing)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            sent = len(each.outgoing)  # as above
        each.outgoing = each.outgoing[sent:]
        if not each.outgoing:
            self._loop.remove_writer(each.sock)

    def _read(self, each: _Filter) -> None:
        try:
            chunk = each.sock.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._lost(each, "the filter ended without an answer")
            return
        try:
            for body in each.reader.feed(chunk):
                if each.number in self._filters:
                    self._take(each, body)
        except HostileAnswer as error:
            self._lost(each, f"the filter's answer is not sound: {error}")

    def _lost(self, each: _Filter, reason: str) -> None:
        if each.ready:
            self._carry_out(self._plan.died(each.number, reason, self._loop.time()))
        else:
            self._unborn(each, reason)

    def _take(self, each: _Filter, body: bytes | memoryview) -> None:
        word = parse_from_filter(body)
        work = each.work
        now = self._loop.time()
        if isinstance(word, Answer):
            if work is None or word.id != work.message_id:
                raise HostileAnswer("an answer to another job")
            check_analysis(word.analysis, work.size)
            each.questions.settle(word)
            each.work = None
            if not work.future.done():
                work.future.set_result(word.analysis)
            self._carry_out(self._plan.answered(each.number, now))
        elif isinstance(word, KnownQuestion | ConnectionQuestion | SpamQuestion):
            if work is None or word.id != work.message_id:
                raise HostileAnswer("a question about another job")
            each.questions.take(word)
        elif isinstance(word, Leaving):
            self._kill(each.number)  # it has nothing left to do, whatever it may have in mind
            self._carry_out(self._plan.left(each.number, now))
        elif isinstance(word, Ready):
            if each.ready:
                raise HostileAnswer("ready twice")
            self._take_ready(each, word, now)
        else:
            self._lost(each, word.reason)

    def _take_ready(self, each: _Filter, word: Ready, now: float) -> None:
        each.ready = True
        self.missing_walls = word.missing
        if each.timer is not None:
            each.timer.cancel()
            each.timer = None
        self._carry_out(self._plan.started(each.number, each.generation, now))

    def _tick(self) -> None:
        self._carry_out(self._plan.tick(self._loop.time()))
        self._ticks_fast = self._plan.pending
        self._ticker = self._loop.call_later(TICK_S if self._ticks_fast else IDLE_TICK_S, self._tick)

    def _hurry(self) -> None:
        """Look at deadlines more often from now on: there is a job."""
        if not self._ticks_fast and not self._closed and self._ticker is not None:
            self._ticks_fast = True
            self._ticker.cancel()
            self._ticker = self._loop.call_later(TICK_S, self._tick)


def _open(content: bytes | Path) -> int:
    """Return a read-only descriptor of the content: its file, or a sealed copy in memory."""
    if isinstance(content, Path):
        return os.open(content, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("content", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
