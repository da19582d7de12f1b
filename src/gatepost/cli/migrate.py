"""`gatepost migrate`: what is stored, brought to another format of the program; taken over from another installation.

A start brings an older state directory up by itself; this shows what it would do, does it beforehand, and does it the
other way round for an earlier program. Exit codes: 0 done, 3 system error, 4 not done; the configuration's 65 and 66.
"""

import contextlib
import time
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.cli.gateway import (
    DEFAULT_FILE,
    EXIT_BAD_OPTIONS,
    EXIT_NOT_DONE,
    EXIT_SYSTEM,
    ConfigFile,
    complain,
)
from gatepost.cli.setup_steps import NotDone, Owner, find_owner
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.master.backup import BackupError
from gatepost.master.daemon import DEFAULT_USER
from gatepost.master.restore import Lock
from gatepost.migration.carrying import carry_out
from gatepost.migration.envelopes import Told, parse_listing
from gatepost.migration.parts import CURRENT, FIRST
from gatepost.migration.plan import MigrationError, Plan, plan_migration
from gatepost.migration.takeover import Takeover, plan_takeover
from gatepost.migration.taking import Taken, take_over
from gatepost.model.foreign_text import printable
from gatepost.spool.interface import SpoolError
from gatepost.storage.places import store_places
from gatepost.storage.whole_file import replace_file

app = cyclopts.App(name="migrate", help="Bring what is stored to another format; take over another installation.")
LEFT_SHOWN = 200
"""What is left is named one by one up to here; the rest is counted."""
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


@app.command(name="from")
def take_over_from(
    old: Path,
    /,
    *,
    output: Annotated[Path, cyclopts.Parameter(name=["--output", "-o"])] = DEFAULT_FILE,
    state_path: Path = Path("/var/lib/gatepost"),
    listing: list[Path] | None = None,
    user: str = DEFAULT_USER,
    dry_run: DryRun = False,
) -> int:
    """Take over another installation: its configuration, queue, archives, quarantine, templates. It stays as it is.

    Stop it first: what it delivers meanwhile would be delivered twice.

    Parameters
    ----------
    old
        Its configuration: the documented .conf file, or one of an earlier Gatepost.
    output
        Where the new configuration goes. One that is there stays as it is.
    state_path
        State directory of the new gateway.
    listing
        What the old queue or archive tool printed (`--show-all`): whom each message is for.
    user
        Whose the new files are when root makes them, if there is such a user.
    """
    owner = Owner()
    with contextlib.suppress(NotDone):
        owner = find_owner(user)
    try:
        plan = plan_takeover(old.absolute(), state_path.absolute())
        _check_present(output, plan)
        told: dict[str, Told] = {}
        for path in listing or ():
            told |= parse_listing(path.read_bytes().decode("utf-8", "replace"))
        if dry_run:
            taken = take_over(plan, told, time.time(), dry_run=True)
        else:
            owner.make(state_path)
            lock = Lock(state_path)
            try:
                taken = take_over(plan, told, time.time(), dry_run=False)
                _write_configuration(output, plan.text, owner)
            finally:
                lock.release()
    except (MigrationError, BackupError) as error:
        return complain(str(error), EXIT_NOT_DONE)
    except (OSError, SpoolError, ValueError) as error:
        return complain(f"not everything was taken, run it again: {error}", EXIT_SYSTEM)
    _report(taken, dry_run=dry_run)
    if not dry_run:
        print(f"Configuration: {output}. Check it (gatepost config check -c {output}), then start.")
    return 0


def _check_present(output: Path, plan: Takeover) -> None:
    """Refuse to put mail where the configuration that is there already does not look. MigrationError."""
    if not output.exists():
        return
    present = load(output).config
    if present is None:
        raise MigrationError(f"{output} has errors: gatepost config check -c {output}")
    for ours, wanted in (
        (present.relay.state_path, plan.config.relay.state_path),
        (present.path.queue_path, plan.config.path.queue_path),
    ):
        if ours != wanted:
            raise MigrationError(f"{output} names {ours}, mail would go to {wanted}: give --state-path, or --output")
    known = {place.directory for place in store_places(present)}
    missing = sorted({each.target for each in plan.sources if each.kind is not None} - known)
    if missing:
        raise MigrationError(f"{output} names no store {', '.join(missing)}: add it there, or give --output")


def _write_configuration(output: Path, text: str, owner: Owner) -> None:
    if output.exists():
        print(f"{output} is there already and stays as it is.")
        return
    output.parent.mkdir(0o755, parents=True, exist_ok=True)
    replace_file(output, text.encode(), mode=0o640)
    owner.give(output)


def _report(taken: Taken, *, dry_run: bool) -> None:
    verb = "would be taken" if dry_run else "taken"
    for place in sorted(taken.taken.keys() | taken.before.keys()):
        before = f", {taken.before[place]} taken before" if taken.before[place] else ""
        print(f"{place}: {taken.taken[place]} {verb}{before}")
    if taken.left:
        print(f"Left ({len(taken.left)}):")
        for each in taken.left[:LEFT_SHOWN]:
            print(f"  {printable(each.name)}: {printable(each.why)}")
        if len(taken.left) > LEFT_SHOWN:
            print(f"  … and {len(taken.left) - LEFT_SHOWN} more")
