"""Decisions of a filter pool: which job goes to which filter, when one is started, retired or killed.

Called by `filter.pool`, which turns the returned actions into sockets and signals. Sans-I/O: events and the time in,
actions out; tests step the clock. Promises: never more than `maximum` filters, every job ends (assigned and answered,
or failed), a job whose filter died or overran is given to a fresh filter once, and fails the second time.
"""

import enum
from collections import deque

import msgspec

from gatepost.filter.settings import FilterSettings

STRIKES = 2
"""A message that takes its filter with it twice is not tried again (antivirus.md §11)."""
BACK_OFF_FIRST_S = 0.05
"""Wait after the first refused start; doubles with each, so that an absent template costs nothing."""
BACK_OFF_MAX_S = 5.0


class Cause(enum.Enum):
    """Why a job failed."""

    MESSAGE = "message"
    """It killed or overran its filter twice: the message is to blame."""
    UNAVAILABLE = "unavailable"
    """No filter was to be had: the message is not to blame and may be tried later."""


class Start(msgspec.Struct, frozen=True):
    """Ask the template for a filter."""


class Assign(msgspec.Struct, frozen=True):
    """Send the job to the filter."""

    job: int
    worker: int


class Retire(msgspec.Struct, frozen=True):
    """Close the idle filter's socket; it ends by itself."""

    worker: int
    told: bool = False
    """Because its template is not in force any more, not for want of work."""


class Kill(msgspec.Struct, frozen=True):
    """Kill the filter and forget it; the plan already has."""

    worker: int
    reason: str


class Fail(msgspec.Struct, frozen=True):
    """Tell the caller that the job came to nothing."""

    job: int
    cause: Cause
    reason: str


Action = Start | Assign | Retire | Kill | Fail


class PoolStats(msgspec.Struct):
    """Numbers of one pool since its start; busy, idle, starting and waiting are momentary."""

    busy: int = 0
    idle: int = 0
    starting: int = 0
    waiting: int = 0
    started: int = 0
    """Filters that came up."""
    jobs: int = 0
    """Jobs answered."""
    crashed: int = 0
    """Filters that died, failed or spoke nonsense with a job in hand."""
    killed: int = 0
    """Filters killed because a job overran its deadline."""
    retried: int = 0
    """Jobs given to a second filter."""
    failed: int = 0
    """Jobs that took two filters with them."""
    most_busy: int = 0
    """Filters that had a job at the same time, at most."""


class _Task(msgspec.Struct, weakref=False):
    """One job under way: what it may take and what it has cost so far."""

    job: int
    deadline_s: float
    strikes: int = 0
    since: float = 0.0
    """When it began to wait."""
    due: float = 0.0
    """When its filter is killed."""
    history: str = ""


class PoolPlan:
    """State of one pool. Every method that may decide something returns the actions to carry out, in order."""

    def __init__(self, settings: FilterSettings) -> None:
        self._settings = settings
        self._generation = 0
        self._generations: dict[int, int] = {}
        self._idle: list[int] = []
        """Those unused for longest come first: the last to have worked works again."""
        self._idle_since: dict[int, float] = {}
        self._busy: dict[int, _Task] = {}
        self._waiting: deque[_Task] = deque()
        self._retries: deque[_Task] = deque()
        self._starting = 0
        self._start_after = 0.0
        self._back_off_s = BACK_OFF_FIRST_S
        self._refusal = ""
        """Why the last start failed, until one succeeds: what waits in vain after that waits for something else."""
        self._closed = False
        self.stats = PoolStats()

    def configure(self, settings: FilterSettings) -> None:
        """Take new sizes and times into use; filters beyond a lower maximum are retired when they have no job."""
        self._settings = settings

    @property
    def pending(self) -> bool:
        """Something is under way that time may end: `tick` must go on being called."""
        return bool(self._busy or self._waiting or self._retries)

    def submit(self, job: int, deadline_s: float, now: float) -> list[Action]:
        """Take a new job that may use a filter for `deadline_s` seconds."""
        task = _Task(job, deadline_s, since=now)
        if self._closed:
            return [Fail(job, Cause.UNAVAILABLE, "the pool is closed")]
        if self._idle and not self._waiting:
            return [self._assign(self._idle.pop(), task, now)]
        if len(self._waiting) >= self._settings.waiting:
            return [Fail(job, Cause.UNAVAILABLE, f"{len(self._waiting)} jobs are waiting already")]
        self._waiting.append(task)
        return self._serve(now)

    def withdraw(self, job: int) -> None:
        """Forget a job whose caller has gone. A filter that has it in hand is let finish."""
        for queue in (self._waiting, self._retries):
            for task in queue:
                if task.job == job:
                    queue.remove(task)
                    return

    def started(self, worker: int, generation: int, now: float) -> list[Action]:
        """Note that a filter asked for is ready."""
        self._starting -= 1
        self._back_off_s = BACK_OFF_FIRST_S
        self._refusal = ""
        self._generations[worker] = generation
        self.stats.started += 1
        if self._closed:
            return self._retire(worker)
        if self._retries and generation >= self._generation:
            return [self._assign(worker, self._retries.popleft(), now)]
        return self._free(worker, now)

    def refused(self, reason: str, now: float) -> list[Action]:
        """Note that a start failed: wait before the next. Jobs keep waiting until `wait_s`."""
        self._starting -= 1
        self._refusal = reason
        self._start_after = now + self._back_off_s
        self._back_off_s = min(self._back_off_s * 2, BACK_OFF_MAX_S)
        return []

    def template(self, generation: int, now: float) -> list[Action]:
        """Note that a template of `generation` answers; idle filters of an older one are retired."""
        self._generation = generation
        self._start_after = now
        self._refusal = ""
        old = [worker for worker in self._idle if self._generations[worker] < generation]
        actions: list[Action] = []
        for worker in old:
            self._idle.remove(worker)
            actions += self._retire(worker, told=True)
        return actions + self._serve(now)

    def answered(self, worker: int, now: float) -> list[Action]:
        """Note that a filter has given a sound answer to its job."""
        del self._busy[worker]
        self.stats.jobs += 1
        return self._free(worker, now)

    def left(self, worker: int, now: float) -> list[Action]:
        """Note that a filter ended of its own accord (quota, idle time); a job it had in hand was not begun."""
        self._forget(worker)
        task = self._busy.pop(worker, None)
        if task is not None:
            self._waiting.appendleft(task)
        return self._serve(now)

    def died(self, worker: int, reason: str, now: float) -> list[Action]:
        """Note that a filter is gone, or must go, because of what it did. Its job is tried once more."""
        self._forget(worker)
        task = self._busy.pop(worker, None)
        actions: list[Action] = [Kill(worker, reason)]
        if task is not None:
            self.stats.crashed += 1
            actions += self._strike(task, reason, now)
        return actions + self._serve(now)

    def tick(self, now: float) -> list[Action]:
        """Let time act: overdue filters are killed, jobs that waited too long fail, missing filters are started."""
        actions: list[Action] = []
        for worker, task in [(w, t) for w, t in self._busy.items() if t.due <= now]:
            del self._busy[worker]
            self._forget(worker)
            self.stats.killed += 1
            reason = f"no answer within {task.deadline_s + self._settings.grace_s:g} s"
            actions += [Kill(worker, reason), *self._strike(task, reason, now)]
        for queue in (self._retries, self._waiting):
            while queue and queue[0].since + self._settings.wait_s <= now:
                waited = self._refusal or self._explain_wait()
                why = f"no filter within {self._settings.wait_s:g} s: {waited}"
                actions.append(Fail(queue.popleft().job, Cause.UNAVAILABLE, why))
        return [*actions, *self._retire_surplus(now), *self._serve(now)]

    def _explain_wait(self) -> str:
        if self._starting and not self._busy:
            return "none comes up, the filter template does not answer"
        return "all filters busy"

    def close(self) -> list[Action]:
        """End: waiting jobs fail, filters are retired, busy ones too (their jobs fail as unavailable)."""
        self._closed = True
        tasks = [*self._retries, *self._waiting, *self._busy.values()]
        workers = [*self._idle, *self._busy]
        self._retries.clear()
        self._waiting.clear()
        self._busy.clear()
        self._idle.clear()
        self._generations.clear()
        actions: list[Action] = [Fail(task.job, Cause.UNAVAILABLE, "the pool is closing") for task in tasks]
        return actions + [Retire(worker) for worker in workers]

    def snapshot(self) -> PoolStats:
        """Return the numbers as they are now."""
        self.stats.busy = len(self._busy)
        self.stats.idle = len(self._idle)
        self.stats.starting = self._starting
        self.stats.waiting = len(self._waiting) + len(self._retries)
        return self.stats

    def _assign(self, worker: int, task: _Task, now: float) -> Action:
        task.due = now + task.deadline_s + self._settings.grace_s
        self._busy[worker] = task
        self.stats.most_busy = max(self.stats.most_busy, len(self._busy))
        return Assign(task.job, worker)

    def _free(self, worker: int, now: float) -> list[Action]:
        """Use a filter that has nothing to do: next job, idle, or retired when old or surplus."""
        surplus = len(self._generations) + self._starting > self._settings.maximum
        old = self._generations[worker] < self._generation
        if surplus or old:
            return [*self._retire(worker, told=old), *self._serve(now)]
        if self._waiting:
            return [self._assign(worker, self._waiting.popleft(), now)]
        self._idle.append(worker)
        self._idle_since[worker] = now
        return []

    def _retire_surplus(self, now: float) -> list[Action]:
        """End those beyond the idle ones allowed that nothing has needed for a while (F-ASD-01)."""
        actions: list[Action] = []
        allowed = max(self._settings.spare, self._settings.minimum)
        while len(self._idle) > allowed and self._idle_since[self._idle[0]] + self._settings.surplus_s <= now:
            actions += self._retire(self._idle.pop(0))
        return actions

    def _retire(self, worker: int, *, told: bool = False) -> list[Action]:
        del self._generations[worker]
        return [Retire(worker, told)]

    def _forget(self, worker: int) -> None:
        self._generations.pop(worker, None)
        self._idle_since.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)

    def _strike(self, task: _Task, reason: str, now: float) -> list[Action]:
        """Give the job of a lost filter to a fresh one, or give it up."""
        task.strikes += 1
        if task.strikes >= STRIKES:
            self.stats.failed += 1
            return [Fail(task.job, Cause.MESSAGE, f"two filters were lost to it: {task.history}; {reason}")]
        task.history = reason
        task.since = now
        self.stats.retried += 1
        self._retries.append(task)
        return []

    def _serve(self, now: float) -> list[Action]:
        """Give waiting jobs to idle filters, then ask for as many filters as are wanting and allowed."""
        actions: list[Action] = []
        while self._waiting and self._idle:
            actions.append(self._assign(self._idle.pop(), self._waiting.popleft(), now))
        if self._closed or now < self._start_after:
            return actions
        demand = len(self._waiting) + len(self._retries)
        wanted = demand + max(0, self._settings.minimum - len(self._idle))
        room = self._settings.maximum - self._starting - len(self._idle) - len(self._busy)
        if self._retries and room <= 0 and self._idle and not self._starting:
            actions += self._retire(self._idle.pop(0))
            room += 1
        count = min(wanted - self._starting, room)
        for _ in range(count):
            self._starting += 1
            actions.append(Start())
        return actions
