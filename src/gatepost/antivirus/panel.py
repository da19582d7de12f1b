"""The engines of one inspection, asked together about one object after the other, under one deadline.

Used by `antivirus.stage`. Remote engines are sent the object first and are heard last, so that they work while those in
this process do. Promises: the worst answer counts; an engine that raises, hangs or is in trouble never makes an object
look scanned; every engine's time, objects, worst answer and trouble are noted.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

from gatepost.antivirus.engine import CLEAN, Engine, Outcome, Overrun, RemoteEngine, Report, ScanObject
from gatepost.antivirus.objects import EVIDENCE_LIMIT, NAME_LIMIT, RANK, bounded
from gatepost.model.finding import EngineNote, ObjectStatus, ScanOptions

Arm = Callable[[float], None]
"""Sets the alarm that raises `Overrun` in so many seconds; 0 turns it off."""

STATUS = {outcome: ObjectStatus(outcome.value) for outcome in Outcome}
_OUTCOME_RANK = {outcome: RANK[status] for outcome, status in STATUS.items()}
_CLEAN = ObjectStatus.CLEAN


class MustWait(Exception):  # noqa: N818 - a state of the message
    """An engine that has to see the message cannot now. The text says which and why."""


class _Tally:
    """What one engine has done so far."""

    __slots__ = ("elapsed", "objects", "status", "trouble", "version")

    def __init__(self) -> None:
        self.objects = 0
        self.elapsed = 0.0
        self.status = _CLEAN
        self.trouble = ""
        self.version = ""
        """Of a remote engine, as it stated it when it had answered."""

    def count(self, report: Report, elapsed: float) -> None:
        self.objects += 1
        self.elapsed += elapsed
        if report is not CLEAN:
            status = STATUS[report.outcome]
            if RANK[status] < RANK[self.status]:
                self.status = status
            self.trouble = self.trouble or bounded(report.trouble, EVIDENCE_LIMIT)


class Panel:
    """All engines, for one message."""

    def __init__(
        self, local: Sequence[Engine], remote: Sequence[RemoteEngine], options: ScanOptions, deadline: float, arm: Arm
    ) -> None:
        self._local = [(engine, _Tally()) for engine in local]
        self._remote = [(engine, _Tally()) for engine in remote]
        self._timeout_s = options.timeout_s
        self._deadline = deadline
        self._arm = arm
        self._under_way: list[tuple[RemoteEngine, _Tally, Report | None]] = []
        """Begun and not finished; the report of one that failed at that."""

    def versions(self) -> tuple[str, ...]:
        """Return the engines' names and versions, () when that of one cannot be told now."""
        versions = [(engine.name, engine.version()) for engine, _ in self._local]
        try:
            versions += [(engine.name, engine.version(self._deadline)) for engine, _ in self._remote]
        except Overrun:
            raise
        except Exception:  # noqa: BLE001 - the engine's bug: it has no version then
            return ()
        return tuple(map(repr, versions)) if all(version for _, version in versions) else ()

    def ask(self, subject: ScanObject) -> tuple[Report, str, Engine | None]:
        """Return the worst report of all engines on one object, the name of the engine that gave it, and the engine if
        it may be asked for a cure. MustWait; Overrun at the deadline.
        """
        until = self._deadline
        if self._timeout_s > 0:
            until = min(until, time.monotonic() + self._timeout_s)
        for remote, tally in self._remote:
            if remote.wants(subject):
                self._begin(remote, tally, subject, until)
        worst: Report = CLEAN
        whose, curer = "", None
        for engine, tally in self._local:
            start = time.perf_counter()
            report = self._guard(partial(engine.scan, subject, until), until) or CLEAN
            tally.count(report, time.perf_counter() - start)
            if report is not CLEAN and _OUTCOME_RANK[report.outcome] < _OUTCOME_RANK[worst.outcome]:
                worst, whose, curer = report, engine.name, engine
        while self._under_way:
            remote, tally, report = self._finish(until)
            if report.wait:
                self.close()
                raise MustWait(f"{remote.name}: {report.trouble}")
            if report is not CLEAN and _OUTCOME_RANK[report.outcome] < _OUTCOME_RANK[worst.outcome]:
                worst, whose, curer = report, remote.name, None
        if not self._local and not self._remote:
            return Report(Outcome.ERROR, evidence="no engine"), "", None
        return worst, whose, curer

    def close(self) -> None:
        """Let go of what is under way."""
        for engine, _, failed in self._under_way:
            if failed is None:
                engine.abandon()
        self._under_way.clear()

    def notes(self) -> tuple[EngineNote, ...]:
        """Return what each engine did."""
        local = [_build_note(engine.name, engine.version(), tally) for engine, tally in self._local]
        return (*local, *(_build_note(engine.name, tally.version, tally) for engine, tally in self._remote))

    def _begin(self, engine: RemoteEngine, tally: _Tally, subject: ScanObject, until: float) -> None:
        start = time.perf_counter()
        self._under_way.append((engine, tally, None))
        failed = self._guard(partial(engine.begin, subject, until), until, engine)
        if failed is not None:
            self._under_way[-1] = (engine, tally, failed)
        tally.elapsed += time.perf_counter() - start

    def _finish(self, until: float) -> tuple[RemoteEngine, _Tally, Report]:
        """Hear the first of those under way."""
        engine, tally, report = self._under_way[0]
        start = time.perf_counter()
        if report is None:
            report = self._guard(partial(engine.finish, until), until, engine) or CLEAN
        del self._under_way[0]
        tally.count(report, time.perf_counter() - start)
        if not tally.version and not report.trouble:
            tally.version = engine.version(until)
        return engine, tally, report

    def _guard(
        self, act: Callable[[], Report | None], until: float, remote: RemoteEngine | None = None
    ) -> Report | None:
        """Have an engine act, within the time for one object if there is one. `remote`: whose connection is lost when
        that goes wrong.
        """
        timed = self._timeout_s > 0
        if timed:
            self._arm(max(until - time.monotonic(), 0.001))
        try:
            return act()
        except Overrun:
            if remote is not None:
                remote.abandon()
            if time.monotonic() >= self._deadline or not timed:
                raise
            return Report(Outcome.ERROR, evidence=f"the scan did not end within {self._timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - an engine's bug must not make the object look scanned
            if remote is not None:
                remote.abandon()
            return Report(Outcome.ERROR, evidence=f"the engine failed: {type(error).__name__}: {error}")
        finally:
            if timed:
                rest = self._deadline - time.monotonic()
                self._arm(0 if rest == math.inf else max(rest, 0.001))


def _build_note(name: str, version: str, tally: _Tally) -> EngineNote:
    return EngineNote(
        bounded(name, NAME_LIMIT),
        bounded(version, NAME_LIMIT),
        tally.objects,
        round(tally.elapsed * 1000, 3),
        tally.status,
        tally.trouble,
    )
