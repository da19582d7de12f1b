"""The filter itself: takes a job from its relay, has it inspected, answers, until its quota or idle time is reached.

Runs in the sandboxed child that `filter.template` forked, with one socket to one relay. Promises: one message at a
time; every job is answered, reported as failed, or ends with the process; the message's deadline is enforced from
inside (an alarm, and a CPU limit for code that never comes back to Python); the relay kills from outside.
"""

import contextlib
import math
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from types import FrameType

import msgspec

from gatepost.antivirus.engine import Overrun
from gatepost.filter.asker import Asker, Gone, Idle
from gatepost.filter.dialogue import Answer, Failure, Job, Leaving, Ready
from gatepost.filter.sandbox import SandboxReport
from gatepost.model.finding import Analysis, ScanOptions

Inspector = Callable[[bytes, ScanOptions, float], Analysis]
"""content, options, deadline (monotonic moment) -> what was found."""

ALARM_INTERVAL_S = 0.05
"""The alarm repeats: the first may strike where Python must swallow exceptions."""
CPU_SLACK_S = 2
"""CPU seconds beyond the deadline after which the kernel ends the process (RLIMIT_CPU counts whole seconds)."""
REASON_LIMIT = 500
"""Characters of a failure's reason."""


class Quota(msgspec.Struct, frozen=True):
    """When a filter ends of its own accord."""

    messages: int
    random: int
    """A random 0 ... random - 1 is added to `messages`."""


def serve(asker: Asker, inspect: Inspector, quota: Quota, walls: SandboxReport) -> None:
    """Serve one relay until it closes the socket, the quota is used up or the idle time has passed."""

    def overrun(_number: int, _frame: FrameType | None) -> None:
        if not asker.reading:  # else it strikes again in a moment
            raise Overrun

    signal.signal(signal.SIGALRM, overrun)
    rest = quota.messages + (random.SystemRandom().randrange(quota.random) if quota.random > 0 else 0)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, Gone):  # the relay has gone: so do we
        asker.say(Ready(os.getpid(), walls.missing))
        while True:
            try:
                job, descriptor = asker.receive_job()
            except Idle:
                asker.say(Leaving("idle"))
                return
            rest -= 1
            word = _work(job, descriptor, inspect, asker)
            if rest <= 0 or isinstance(word, Failure):
                asker.say(word, Leaving("quota"))
                return
            asker.say(word)


def _work(job: Job, descriptor: int, inspect: Inspector, asker: Asker) -> Answer | Failure:
    try:
        deadline = time.monotonic() + job.options.deadline_s
        _arm(job.options.deadline_s)
        try:
            content = job.content
            if content is None:
                content = _read(descriptor, job.size)
            analysis = inspect(content, job.options, deadline)
        finally:
            set_alarm(0)
        return Answer(job.id, analysis, tuple(sorted(asker.clean)))
    except Overrun:
        return Failure(job.id, f"deadline of {job.options.deadline_s:g} s overrun")
    except Gone:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it was is told, and the process ends
        return Failure(job.id, f"{type(error).__name__}: {error}"[:REASON_LIMIT])


def _read(descriptor: int, size: int) -> bytes:
    """Return the `size` bytes of content behind the descriptor, and close it."""
    try:
        content = os.pread(descriptor, size, 0)
        if len(content) < size:  # one read gives 2 GiB at most, and may give less
            parts = [content]
            got = len(content)
            while got < size:
                parts.append(os.pread(descriptor, size - got, got))
                if not parts[-1]:
                    raise OSError(f"content ends after {got} of {size} bytes")
                got += len(parts[-1])
            content = b"".join(parts)
        return content
    finally:
        os.close(descriptor)


def set_alarm(seconds: float) -> None:
    """Raise `Overrun` in the main thread in so many seconds, and again until it is set anew; 0: not at all."""
    signal.setitimer(signal.ITIMER_REAL, seconds, ALARM_INTERVAL_S)


def _arm(deadline_s: float) -> None:
    set_alarm(deadline_s)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + deadline_s) + CPU_SLACK_S
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
