"""What a gateway remembers of its clock, so that one that leaps ahead ends nothing: no mail is given up, nothing kept
is deleted, for an age it has not reached.

The master writes the record (`master.clock_watch`), everybody reads it (`clock.is_believed`). A leap is told by the
seconds since the machine's start, which nobody sets; over a start of the machine by the wall clock alone, so a machine
that was off for more than `LEAP_S` is in doubt, too. Shorter leaps add up while the machine runs: none is taken for the
time before `PATIENCE_S` have passed. A doubt ends when the clock goes back, or after that time.
"""

from pathlib import Path

import msgspec

LEAP_S = 86400.0
"""A clock that is further ahead than it can be is not believed: less ends nothing whose life is counted in days."""
PATIENCE_S = 86400.0
"""What goes on for so long, and is not put right, is taken for the time: a working day or a
night's watch has seen the problem by then."""
STEP_S = 60.0
"""What an NTP client corrects in one step on a host that is in order: less is not remembered by itself."""
_FILE = "clock.json"


class Moment(msgspec.Struct, frozen=True):
    """What the clocks show at one moment."""

    wall: float
    """Unix time in seconds."""
    elapsed: float
    """Seconds since the start of the machine."""
    boot: str
    """The kernel's name for that start."""


class Record(msgspec.Struct, frozen=True):
    """What was seen last."""

    at: Moment
    ahead_s: float = 0.0
    """How far the clock leapt ahead, in all, and has not yet been taken for the time; beyond `LEAP_S` it is doubted."""
    left_s: float = 0.0
    """The machine's running time after which it is taken for it."""
    over_start: bool = False
    """The machine was started anew between the two looks: it may as well have been off for so long."""


def leap(record: Record, moment: Moment) -> float:
    """Return how many seconds the clock has gone too far since the record (negative: back)."""
    passed = moment.elapsed - record.at.elapsed if moment.boot == record.at.boot else 0.0
    return moment.wall - record.at.wall - passed


def is_doubted(record: Record, moment: Moment) -> bool:
    """Tell whether an age by this clock proves nothing."""
    return record.ahead_s + leap(record, moment) > LEAP_S


def next_record(record: Record | None, moment: Moment) -> Record:
    """Return the record as of this moment."""
    if record is None:
        return Record(moment)
    leapt = leap(record, moment)
    ahead = record.ahead_s + leapt
    over_start = moment.boot != record.at.boot
    # A machine that is off each night has not leapt each morning.
    if leapt > (LEAP_S if over_start else STEP_S):
        return Record(moment, ahead, PATIENCE_S, over_start)
    passed = 0.0 if over_start else moment.elapsed - record.at.elapsed
    left = record.left_s - max(passed, 0.0)
    if left <= 0 or ahead <= 0:
        return Record(moment)
    return Record(moment, ahead, left, record.over_start)


def read_record(state_path: str) -> Record | None:
    """Return the record of a gateway; None when there is none that can be read."""
    try:
        return msgspec.json.decode(path_of(state_path).read_bytes(), type=Record)
    except (OSError, ValueError):
        return None


def path_of(state_path: str) -> Path:
    """Return the file of the record."""
    return Path(state_path) / _FILE


def boot_id() -> str:
    """Return the kernel's name for this start of the machine, "" when it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
