"""The gateway watches itself: looks at its processes, its queue and its host, keeps what is wrong, mails new errors.

Made by `master.process`, which runs `watch` for as long as the gateway lives; answers the call `problems`. What is
wrong is kept in a file, so that a restart neither forgets since when nor mails again.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.schema import Config
from gatepost.control.desk import Arguments, Desk
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError
from gatepost.doctor.certificates import check_certificates
from gatepost.doctor.disks import check_disks
from gatepost.doctor.finding import Finding, State, worst
from gatepost.doctor.licences import check_licence, check_licence_daemon
from gatepost.doctor.machine import check_machine
from gatepost.doctor.recognition import check_recognition
from gatepost.doctor.rules import check_rules
from gatepost.doctor.running import judge_status
from gatepost.doctor.updates import check_updates
from gatepost.master.clock_watch import DOUBTED, look_at_clock
from gatepost.master.problem_book import Book, describe_day, describe_new
from gatepost.storage.whole_file import replace_file

COUNTED_S: Final = 3600.0
"""Restarts and failures count for so long."""
COUNTED_MANY: Final = 100
"""Of one name at most."""
CLOCK_JUMP_S: Final = 60.0
"""Difference between wall clock and monotonic clock from one look to the next that is told."""
CLOCK_TOLD_S: Final = 3600.0
FIRST_LOOK_S: Final = 2.0
"""Relays and engines come up meanwhile."""

Source = Callable[[], Iterable[Finding]]


class Problems:
    """All problems of one gateway."""

    def __init__(
        self,
        *,
        file: Path,
        config: Callable[[], Config],
        status: Callable[[], Awaitable[Mapping[str, Any]]],
        announce: Callable[..., Awaitable[Any]],
        say: Callable[[str, str], None],
        sources: Sequence[Source] = (),
        slow_sources: Sequence[Source] = (),
    ) -> None:
        """`status` as `master.calls` answers it; `announce(**ProblemMail)` has a relay send a mail, or raises
        ControlError; `sources` state findings of their own, `slow_sources` in a thread; `say(level, text)` logs.
        """
        self._file = file
        self._config = config
        self._status = status
        self._announce = announce
        self._say = say
        self._sources = tuple(sources)
        self._slow_sources = tuple(slow_sources)
        self._book = _load(file)
        self._restarts = HourCounts()
        self._failures = HourCounts()
        self._skew: float | None = None
        self._jumped: Finding | None = None
        self._jumped_at = 0.0
        self._findings: tuple[Finding, ...] = ()
        self._looked_at = 0.0
        self._looking = asyncio.Lock()

    def register(self, desk: Desk) -> None:
        """Register the call."""

        async def problems(arguments: Arguments, _: Caller) -> Any:
            if arguments.get("now") or not self._looked_at:
                await self.look()
            return self._answer()

        desk.add("problems", Right.VIEW, problems)

    async def watch(self) -> None:
        """Look for ever."""
        await asyncio.sleep(min(FIRST_LOOK_S, self._config().watch.interval))
        while True:
            await self.look()
            await self._tell()
            await asyncio.sleep(self._config().watch.interval)

    async def look(self) -> None:
        """Look once, and keep what was found."""
        async with self._looking:
            config, now = self._config(), time.time()
            findings = list(await self._judge(now))
            findings += await asyncio.to_thread(_look_around, config, now)
            for source in self._slow_sources:
                findings += await asyncio.to_thread(source)
            for source in self._sources:
                findings += source()
            findings += self._look_at_clock(now, doubted=any(each.key == DOUBTED for each in findings))
            before = {each.finding.key: each for each in self._book.standing()}
            changed = self._book.look(findings, now)
            self._findings, self._looked_at = tuple(findings), now
            self._log_changes(before, now)
            if changed:
                self._save()

    async def _judge(self, now: float) -> Iterable[Finding]:
        try:
            status = await self._status()
        except ControlError as error:
            return [Finding("status", "process", State.ERROR, f"the relays cannot be asked: {error}", "see the log")]
        passed = time.monotonic()  # an hour that a leap of the clock neither ends nor makes last for ever
        restarts = self._restarts.count(count_restarts(status), passed)
        return judge_status(status, restarts, self._failures.count(count_failures(status), passed), now)

    def _look_at_clock(self, now: float, *, doubted: bool) -> Iterable[Finding]:
        """Compare the two clocks: one set by hand, or by a machine that slept, moves mail's due times. A leap ahead for
        which the clock is `doubted` is told as that alone.
        """
        skew = now - time.monotonic()
        moved = 0.0 if self._skew is None else skew - self._skew
        self._skew = skew
        if moved > CLOCK_JUMP_S and doubted:
            self._jumped = None
        elif abs(moved) > CLOCK_JUMP_S:
            text = f"the clock was set {'forward' if moved > 0 else 'back'} by {abs(moved):.0f} s"
            mend = "let an NTP client keep it; waiting mail is due as the clock says now"
            self._jumped, self._jumped_at = Finding("clock-jump", "host", State.WARNING, text, mend), time.monotonic()
        if self._jumped is not None and time.monotonic() - self._jumped_at < CLOCK_TOLD_S:
            return [self._jumped]
        return []

    def _log_changes(self, before: Mapping[str, object], now: float) -> None:
        standing = {each.finding.key: each.finding for each in self._book.standing()}
        for key, finding in standing.items():
            if key not in before:
                self._say("E" if finding.state is State.ERROR else "W", f"problem: {finding.text}")
        for ended in self._book.ended:
            if ended.until == now:
                self._say("I", f"problem is over: {ended.finding.text}")

    # --- telling

    async def _tell(self) -> None:
        """Mail what is to be mailed; what cannot be handed to a relay now is tried at the next look."""
        config, now = self._config(), time.time()
        to = config.watch.addresses or config.groups[-1].admin_notify_address
        if not config.watch.mail or not to:
            return
        hostname = config.network.hostname
        form = f"{config.locale.date_format} {config.locale.time_format}"

        def date(at: float) -> str:
            return time.strftime(form, time.localtime(at))

        untold = self._book.untold()
        with contextlib.suppress(ControlError):
            if untold:
                await self._send(to, describe_new(untold, hostname, date))
                self._book.note_told(untold, now)
                self._save()
            if self._book.summary_due(now):
                await self._send(to, describe_day(self._book, hostname, date))
                self._book.note_summed(now)
                self._save()

    async def _send(self, to: Sequence[str], told: tuple[str, str]) -> None:
        config = self._config()
        sender = config.groups[-1].notify_from_address or f"postmaster@{config.network.hostname}"
        await self._announce(to=to, sender=sender, subject=told[0], text=told[1])

    def _answer(self) -> dict[str, Any]:
        standing = self._book.standing()
        return {
            "state": worst(each.finding for each in standing),
            "looked_at": self._looked_at,
            "problems": [{**msgspec.to_builtins(each.finding), "since": each.since} for each in standing],
            "over": [
                {**msgspec.to_builtins(each.finding), "since": each.since, "until": each.until}
                for each in reversed(self._book.ended)
            ],
            "findings": msgspec.to_builtins(self._findings),
        }

    def _save(self) -> None:
        try:
            replace_file(self._file, msgspec.json.encode(self._book))
        except OSError as error:
            self._say("E", f"{self._file}: {error.strerror}: problems may be mailed again after a restart")


def _look_around(config: Config, now: float) -> list[Finding]:
    """Look at disks, certificates, updates, the licence and the host: what may block for a moment."""
    checks = (
        check_certificates, check_updates, check_rules, check_recognition, check_licence, check_licence_daemon,
        check_machine,
    )  # fmt: skip
    clock = look_at_clock(config.relay.state_path)
    return [*clock, *check_disks(config), *(finding for check in checks for finding in check(config, now))]


def _load(file: Path) -> Book:
    """Return what is kept; a file that cannot be read costs a second mail, not the start."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Book)
    except (OSError, msgspec.MsgspecError):
        return Book()


def count_restarts(status: Mapping[str, Any]) -> dict[str, int]:
    """Return how often each process was started anew, by its name."""
    totals = {f"relay {relay['index']}": int(relay["restarts"]) for relay in status["relays"]}
    totals["filter template"] = status["filter_template"]["restarts"]
    return totals


def count_failures(status: Mapping[str, Any]) -> dict[str, int]:
    """Return how many jobs ended two filters, by relay, since its start."""
    return {
        f"relay {relay['index']}": int(relay["filters"]["failed"]) for relay in status["relays"] if "filters" in relay
    }


class HourCounts:
    """What happened within the hour, by name, from totals that only grow, or begin at 0 again."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._at: dict[str, deque[float]] = {}

    def count(self, totals: Mapping[str, int], now: float) -> dict[str, int]:
        """Return the counts after these totals."""
        for name, total in totals.items():
            before = self._totals.get(name, 0)
            times = self._at.setdefault(name, deque(maxlen=COUNTED_MANY))
            times.extend([now] * min(total - before if total >= before else total, COUNTED_MANY))
            while times and now - times[0] > COUNTED_S:
                times.popleft()
        # One that does not answer for a moment has not begun anew: all it ever counted would be of this hour.
        self._totals |= totals
        return {name: len(times) for name, times in self._at.items() if name in totals}
