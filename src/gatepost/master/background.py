"""What the master does beside answering calls, for as long as it lives: none of it ends unseen.

Used by `master.process` and `master.user_front`. A task that fails, or ends though it never should, is told and
started again with back-off, and is a problem for an hour. What is done once is told when it fails.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Final

from gatepost.control.faults import describe_fault, log_unhandled
from gatepost.doctor.finding import Finding, State
from gatepost.master.children import SETTLED_S, plan_restart

TOLD_S: Final = 3600.0
"""How long a failure is a problem: an administrator sees what comes and goes, too."""
_MEND: Final = "report it with the log; mail goes on, and it is started again by itself"

Work = Callable[[], Coroutine[object, object, None]]


class Background:
    """All such tasks of one master."""

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`say(level, text)` logs, from now on also what nobody handles in the running loop."""
        log_unhandled(asyncio.get_running_loop(), say, "master")
        self._say = say
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._troubles: dict[str, tuple[str, float]] = {}
        """By name: what ended it last, and when that ceases to be a problem."""

    def keep(self, name: str, work: Work) -> None:
        """Have `work` go on for ever; `name` is what it does, in words."""
        self._spawn(self._keep(name, work))

    def once(self, name: str, work: Work) -> None:
        """Have `work` done."""
        self._spawn(self._do(name, work))

    def findings(self) -> Iterator[Finding]:
        """State what has failed lately."""
        now = self._clock()
        for name, (why, until) in self._troubles.items():
            if now < until:
                text = f"the master's task of {name} failed: {why}"
                yield Finding(f"task:{name}", "process", State.ERROR, text, _MEND)

    def close(self) -> None:
        """End all of it."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, name: str, work: Work) -> None:
        failures = 0
        while True:
            began = self._clock()
            try:
                await work()
                why = "it came to an end"
            except Exception as error:  # noqa: BLE001 - whatever it is: it must go on, and somebody must hear of it
                why = describe_fault(error)
            failures = 1 if self._clock() - began >= SETTLED_S else failures + 1
            pause = plan_restart(failures)
            self._fail(name, why, f"; starts again in {pause:.1f} s")
            await asyncio.sleep(pause)

    async def _do(self, name: str, work: Work) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - nobody waits for it who could hear of it
            self._fail(name, describe_fault(error), "")

    def _fail(self, name: str, why: str, further: str) -> None:
        self._troubles[name] = (why, self._clock() + TOLD_S)
        self._say("E", f"task of {name}: {why}{further}")
