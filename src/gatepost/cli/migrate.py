"""`gatepost migrate`: what is stored, brought to another format of the program; taken over from another installation.

A start brings an older state directory up by itself; this shows what it would do, does it beforehand, and does it the
other way round for an earlier program. Exit codes: 0 done, 3 system error, 4 not done; the configuration's 65 and 66.
"""

import time
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, EXIT_NOT_DONE, ConfigFile, complain
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.master.backup import BackupError
from gatepost.master.restore import Lock
from gatepost.migration.carrying import carry_out
from gatepost.migration.parts import CURRENT, FIRST
from gatepost.migration.plan import MigrationError, Plan, plan_migration

app = cyclopts.App(name="migrate", help="Bring what is stored to another format; take over another installation.")
DryRun = Annotated[bool, cyclopts.Parameter(name="--dry-run", negative="", help="Only say what would be done.")]


@app.default
def migrate(
    *,
    to: int | None = None,
    back: Annotated[bool, cyclopts.Parameter(negative="", help="To the format before.")] = False,
    copies: Annotated[bool, cyclopts.Parameter(negative="--no-copies", help="Keep copies of what changes.")] = True,
    dry_run: DryRun = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Bring the state directory of a stopped gateway to this program's format, or to another one.

    Parameters
    ----------
    to
        Number of a format; unless said, the newest that this program knows.
    """
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    config = loaded.config
    state = Path(config.relay.state_path)
    if to is not None and back:
        return complain("--to and --back are two ways to say it: give one", EXIT_BAD_OPTIONS)
    if not state.is_dir():
        return complain(f"there is no state directory {state}: nothing is stored yet", EXIT_NOT_DONE)
    try:
        lock = Lock(state)
    except (BackupError, OSError) as error:
        return complain(str(error), EXIT_NOT_DONE)
    try:
        return _migrate(config, to, back=back, copies=copies, dry_run=dry_run)
    except MigrationError as error:
        return complain(str(error), EXIT_NOT_DONE)
    finally:
        lock.release()


def _migrate(config: Config, to: int | None, *, back: bool, copies: bool, dry_run: bool) -> int:
    plan = plan_migration(config, to if to is not None else CURRENT)
    if back:
        plan = plan_migration(config, max(FIRST, (plan.start or CURRENT) - 1))
    _describe(config, plan)
    if dry_run or not plan.needed:
        print("Nothing was changed." if plan.needed else "There is nothing to do.")
        return 0
    kept = carry_out(plan, config, time.time(), copies=copies)
    print(f"The state directory is of format {plan.end} now.")
    if kept is not None:
        print(f"Copies of what it was: {kept}")
    if plan.end != CURRENT:
        print("Start the program of that format: this one would bring it up again.")
    return 0


def _describe(config: Config, plan: Plan) -> None:
    start = f"of format {plan.start}" if plan.start else "empty"
    print(
        f"{config.relay.state_path} is {start}; this program's format is {CURRENT}, {plan.files} files were looked at."
    )
    for move in plan.moves:
        print(f"  {move.part.title}: {move.path}: version {move.start} → {move.end}")
