"""Updates of databases: whether the last one failed or was taken back, and whether anybody still looks for new ones."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State
from gatepost.feeds.update_state import DIRECTORY, UpdateRun, read_run

AREA: Final = "databases"
UNSEEN_S: Final = 2 * 86400.0
"""Documented schedules are minutes to hours: a timer that has not run for so long does not run."""
_SHOWN: Final = 300


def check_updates(config: Config, now: float) -> Iterator[Finding]:
    """Look at what the updater has left; an installation that never updates has nothing to say. `now` is Unix time."""
    run = read_run(Path(config.relay.state_path) / DIRECTORY)
    if run.checked:
        yield judge_update(run, now)


def judge_update(run: UpdateRun, now: float) -> Finding:
    """Judge the last run."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.checked))
    why = run.error.partition("\n")[0][:_SHOWN]
    if run.error and run.result == "rolled-back":
        mend = "databases as before are in force; `gatepost update --again` when the reason is gone"
        return Finding("update", AREA, State.WARNING, f"new databases were refused on {when}: {why}", mend)
    if run.error:
        mend = "`gatepost update` shows what goes wrong; `gatepost update status` names the sources"
        return Finding("update", AREA, State.WARNING, f"the update of databases on {when} failed: {why}", mend)
    if run.pending:
        mend = "`gatepost update` tries it again"
        text = f"databases that were installed on {when} are not known to be in force"
        return Finding("update", AREA, State.WARNING, text, mend)
    if abs(now - run.checked) > UNSEEN_S:  # dated ahead: by a clock that was wrong, and by nobody since
        mend = "see whether the timer runs (`systemctl list-timers`, `gatepost update schedule show`)"
        return Finding("update", AREA, State.WARNING, f"nobody has looked for new databases since {when}", mend)
    return Finding("update", AREA, State.OK, f"new databases were looked for on {when}")
