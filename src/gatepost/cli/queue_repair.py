"""`gatepost queue repair`: mends a queue whose database is damaged, while its gateway is stopped."""

from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec

from gatepost.cli.choice import Progress, Yes, confirm
from gatepost.cli.gateway import (
    DEFAULT_FILE,
    EXIT_BAD_OPTIONS,
    EXIT_NOT_DONE,
    EXIT_SYSTEM,
    AsJson,
    ConfigFile,
    complain,
    print_json,
)
from gatepost.config.load import load
from gatepost.control.privileges import become_owner
from gatepost.spool.interface import SpoolError
from gatepost.spool.repair import LEFT, Mending, repair
from gatepost.spool.shard import ShardBusy, list_shards, shard_directory

_SHOWN = 20
"""Queue ids told one by one."""


def repair_queue(
    *,
    relay: Annotated[int | None, cyclopts.Parameter(help="only the queue of this relay: 0, 1, ...")] = None,
    dry_run: Annotated[
        bool, cyclopts.Parameter(name="--dry-run", negative="", help="only look, change nothing")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Mend a queue with a damaged database: all that can be read goes into a new one. The gateway must be stopped.

    The damaged queue is not written to; it stays beside the new one, as relay-N.damaged-DATE. Codes: 0 sound or mended,
    1 bad options, 3 system error, 4 not done.
    """
    loaded = load(conf_file)
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    queue = loaded.config.path.queue_path
    become_owner(Path(queue))
    numbers = list_shards(queue)
    if relay is not None and relay not in numbers:
        return complain(f"{queue} has no queue of a relay {relay}, only of {numbers or 'none'}", EXIT_BAD_OPTIONS)
    code, told = 0, []
    for number in numbers if relay is None else [relay]:
        try:
            mending = _mend(shard_directory(queue, number), dry_run=dry_run, yes=yes, quiet=as_json)
        except ShardBusy:
            return complain(f"{queue}: the gateway runs; stop it first (gatepost stop), then mend", EXIT_NOT_DONE)
        except SpoolError as error:
            code = complain(str(error), EXIT_SYSTEM)
            continue
        told.append(mending)
        if not as_json:
            _show(mending, dry_run=dry_run)
        if not mending.sound and not mending.kept and not dry_run:
            code = EXIT_NOT_DONE
    if as_json:
        print_json(msgspec.to_builtins(told))
    return code


def _mend(directory: str, *, dry_run: bool, yes: bool, quiet: bool) -> Mending:
    """Look first, so that whoever is asked knows what it brings."""
    progress = Progress()

    def run(*, only_look: bool) -> Mending:
        try:
            return repair(directory, lambda text: progress.show(f"{directory}: {text} ..."), dry_run=only_look)
        finally:
            progress.clear()

    if yes or dry_run:
        return run(only_look=dry_run)
    found = run(only_look=True)
    if found.sound:
        return found
    if not quiet:
        _show(found, dry_run=True)
    return run(only_look=False) if confirm(f"put the mended queue in the place of {directory}?") else found


def _show(mending: Mending, *, dry_run: bool) -> None:
    if mending.sound:
        print(f"{mending.shard}: sound, nothing to mend")
    else:
        can = "can be read" if dry_run or not mending.kept else "mended"
        print(f"{mending.shard}: damaged; {mending.messages} message(s) {can}")
    for title, ids in (
        ("lost (the log says who sent them to whom: gatepost trace ID)", mending.lost),
        ("kept, but not whole and never sent, to be removed or exported by you", mending.incomplete),
        ("held, perhaps delivered before: gatepost trace ID, then gatepost queue release or remove", mending.doubtful),
    ):
        if ids:
            more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
            print(f"  {len(ids)} {title}: {' '.join(ids[:_SHOWN])}{more}")
    if mending.log_commits:
        print(f"  the log is damaged; {mending.log_commits} commit(s) behind that are read all the same")
    if mending.nameless:
        print(f"  {mending.nameless} more lost: not even their queue ids can be read")
    if mending.left_over:
        where = Path(mending.kept) / LEFT if mending.kept else f"{mending.shard}.damaged-DATE/{LEFT}"
        print(f"  {mending.left_over} content(s) that no message names any more, as files: {where}")
    if mending.kept:
        print(f"  the damaged queue is kept: {mending.kept}")
