"""The watch over the clock: writes down what it shows, and states the problem when it has leapt ahead.

Called by `master.state_directory` before the first relay starts, and with every look for problems (`master.problems`).
"""

from typing import Final

import msgspec

from gatepost.doctor.finding import Finding, State
from gatepost.spool import clock
from gatepost.spool.clock_record import is_doubted, next_record, path_of, read_record
from gatepost.storage.whole_file import replace_file

DOUBTED: Final = "clock-ahead"
"""Key of the problem that the clock has leapt ahead and is not believed."""

_HOUR_S = 3600.0
_DAY_S = 86400.0


def look_at_clock(state_path: str) -> list[Finding]:
    """Write down what the clock shows; return what is wrong with it, or with that."""
    findings = []
    moment = clock.moment()
    record = next_record(read_record(state_path), moment)
    try:
        replace_file(path_of(state_path), msgspec.json.encode(record))
    except OSError as error:
        text = f"{path_of(state_path)}: what the clock shows cannot be noted: {error.strerror}"
        findings.append(
            Finding("clock-note", "host", State.WARNING, text, "make room there: leaps of the clock go unnoticed")
        )
    if is_doubted(record, moment):
        ahead = _duration(record.ahead_s)
        if record.over_start:
            what, state = f"the machine was off for {ahead}, or its clock has leapt as far ahead", State.WARNING
        else:
            what, state = f"the clock has leapt {ahead} ahead", State.ERROR
        text = f"{what}: for another {_duration(record.left_s)} no mail is given up and nothing deleted for its age"
        mend = "put the clock right before that; when it is right, nothing is to be done"
        findings.append(Finding(DOUBTED, "host", state, text, mend))
    return findings


def _duration(seconds: float) -> str:
    return f"{seconds / _DAY_S:.0f} days" if seconds >= 2 * _DAY_S else f"{max(seconds / _HOUR_S, 1):.0f} h"
