"""What the commands on stores do: list, show, export, release, delete, reindex, prune.

Called by `cli.store_apps` and, for the documented options of the archive, `cli.archive`. Codes: 0 done, 1 bad options,
2 directory unreadable, 3 system error, 4 not done.
"""

import contextlib
import getpass
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatepost.cli.choice import Progress, agreed
from gatepost.cli.gateway import (
    EXIT_BAD_OPTIONS,
    EXIT_NOT_DONE,
    EXIT_SYSTEM,
    Caller,
    complain,
    print_json,
)
from gatepost.cli.store_choice import EVERYTHING, Failed, Stores
from gatepost.cli.store_view import list_line, print_raw, row_json, summary, summary_json
from gatepost.master.releasing import ITEMS_LIMIT
from gatepost.spool import clock
from gatepost.storage.container import Damaged
from gatepost.storage.query import ItemFilter
from gatepost.storage.release import check_recipients
from gatepost.storage.retention import plan_sweep, without_doubt
from gatepost.storage.store import DELETE_AT_ONCE, Store

LIMIT = 1000
"""Messages listed when not told otherwise."""
DRY_RUN_LIMIT = 1_000_000
"""Messages looked at to say what a prune would delete."""


def guarded(work: Callable[[], int]) -> int:
    """Do a command's work; what goes wrong becomes a sentence and a code."""
    try:
        return work()
    except Failed as failed:
        return failed.say()
    except Damaged as error:
        return complain(f"damaged: {error}", EXIT_SYSTEM)
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    except BrokenPipeError:
        return 0
    except OSError as error:
        return complain(str(error), EXIT_SYSTEM)


def list_items(stores: Stores, chosen: ItemFilter, limit: int, *, json: bool) -> int:
    """List items, the newest first, and the documented total line: number and bytes."""
    if json:
        separator = "["
        for _, row in stores.rows(chosen, limit):
            print(separator, row_json(row), sep="\n", end="")
            separator = ","
        print("[]" if separator == "[" else "\n]")
        return 0
    shown = 0
    for _, row in stores.rows(chosen, limit):
        print(list_line(row))
        shown += 1
    totals = stores.totals(chosen)
    what = "stored messages" if chosen == EVERYTHING else "stored messages match"
    rest = f"; the newest {shown} are shown, --limit 0 shows all" if totals.items > shown else ""
    print(f"{totals.items} {what}, {totals.bytes} bytes{rest}")
    why = "" if totals.items else stores.explain_empty(chosen)
    return complain(why, 0) if why else 0


def show_item(stores: Stores, item: str, *, raw: bool, json: bool) -> int:
    """Show everything known of an item, or the message itself."""
    store, item_id = find(stores, item)
    if raw:
        print_raw(store.content(item_id))
        return 0
    container = store.container(item_id)
    if json:
        print_json(summary_json(container))
    else:
        for line in summary(container):
            print(line)
    return 0


def find(stores: Stores, item: str) -> tuple[Store, str]:
    """Return the store that holds an item; `Failed` with the documented code when none does."""
    try:
        return stores.find(item)
    except OSError as error:
        raise Failed(str(error), EXIT_NOT_DONE) from error


def pick(
    stores: Stores, items: Sequence[str], chosen: ItemFilter, *, everything: bool, unreleased: bool = False
) -> Iterator[tuple[Store, str]]:
    """Yield what is meant: the items named, those a filter chooses, or all; `unreleased`: of many those only that have
    not been released, unless the filter names states. ValueError unless one way was used.
    """
    if sum((bool(items), chosen != EVERYTHING, everything)) != 1:
        raise ValueError("say which messages: ids, a filter (--sender, --status …), or --all")
    if items:
        return iter([find(stores, item) for item in items])
    left_out = "released" if unreleased and not chosen.states else ""
    return ((store, row.id) for store, row in stores.rows(chosen) if row.state != left_out)


def explain_none(stores: Stores, chosen: ItemFilter, *, unreleased: bool = False) -> str:
    """Return why `pick` by a filter has found nothing, "" = no idea: whoever asks a second time, or in the wrong store,
    would take "no message" for an answer about the mail.
    """
    if unreleased and not chosen.states:
        released = stores.totals(msgspec.structs.replace(chosen, states=("released",))).items
        if released:
            return f"{released} released before; --again releases once more"
    return stores.explain_empty(chosen)


def agree(
    verb: str, picked: list[tuple[Store, str]], *, yes: bool, dry_run: bool, why: Callable[[], str] = str
) -> int | None:
    """Return the code to end with before anything is done, None to go on. `why` explains that nothing is picked."""
    if not picked:
        reason = why()
        if dry_run:
            print(f"0 message(s) to {verb}")
            return complain(reason, EXIT_NOT_DONE) if reason else EXIT_NOT_DONE
        return complain(f"no message matches{reason and f': {reason}'}", EXIT_NOT_DONE)
    if dry_run:
        print(f"{len(picked)} message(s) to {verb}")
        return 0
    return None if agreed(f"{verb} {len(picked)} message(s)?", yes=yes) else EXIT_NOT_DONE


def delete_items(picked: list[tuple[Store, str]]) -> int:
    """Delete items for good."""
    refused = 0
    progress = Progress()
    done = 0
    for store, part in _batches(picked, DELETE_AT_ONCE):
        failures = store.delete(part)
        for item_id, why in failures.items():
            refused += 1
            complain(f"{item_id}: {why}", 0)
        done += len(part) - len(failures)
        progress.show(f"{done} deleted …")
    progress.clear()
    print(f"{done} message(s) deleted")
    return EXIT_NOT_DONE if refused else 0


def release_items(
    picked: list[tuple[Store, str]],
    caller: Caller,
    *,
    to: Sequence[str],
    checked: bool,
    again: bool,
    json: bool = False,
) -> int:
    """Have the running gateway release items. ValueError for recipients that are none."""
    check_recipients(to)
    code = 0
    outcomes: dict[str, Any] = {}
    try:
        for store, part in _batches(picked, ITEMS_LIMIT):
            answer = caller(
                "release",
                directory=store.layout.directory,
                items=part,
                who=_who(),
                recipients=list(to),
                checked=checked,
                again=again,
            )
            outcomes |= answer
            for item_id in part:
                outcome = answer[item_id]
                if outcome.get("refused") or outcome.get("before"):
                    code = EXIT_NOT_DONE
                if not json:
                    _tell(item_id, outcome)
    except KeyboardInterrupt:
        rest = "" if again else "; the same command does the rest, and none twice"
        complain(f"interrupted: {len(outcomes)} of {len(picked)} done, others may be under way{rest}", 0)
        raise
    if json:
        print_json(outcomes)
    elif checked and any(not (each.get("refused") or each.get("before")) for each in outcomes.values()):
        complain(
            "it is checked again and may be stopped again: `gatepost trace NEW-ID` tells; --no-check releases without",
            0,
        )
    return code


def learn_items(picked: list[tuple[Store, str]], conf_file: Path) -> int:
    """Teach the running gateway's anti-spam that items are wanted. Told on standard error, as it comes second."""
    from gatepost.cli.spam_learn import teach_stored  # noqa: PLC0415 - brings in filters, which few commands need

    mails = ((item_id, b"".join(store.content(item_id))) for store, item_id in picked)
    told, whole = teach_stored(mails, conf_file)
    complain(f"anti-spam: {told}", 0)
    return 0 if whole else EXIT_NOT_DONE


def _tell(item_id: str, outcome: dict[str, Any]) -> None:
    if outcome.get("refused"):
        complain(f"{item_id}: not released: {outcome['refused']}", 0)
    elif outcome.get("before"):
        told = f"released before by {outcome['who']} as {outcome['queue_id']}"
        complain(f"{item_id}: {told}; --again releases it once more", 0)
    else:
        print(f"{item_id}: released as {outcome['queue_id']}")


def _who() -> str:
    """Return who is at work: behind sudo the person, not root."""
    try:
        user = getpass.getuser()
    except OSError:
        user = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER", "")
    return f"{behind} (as {user})" if behind and behind != user else user


def _batches(picked: Iterable[tuple[Store, str]], most: int) -> Iterator[tuple[Store, list[str]]]:
    """Yield the items of one store after the other, at most so many at once."""
    by_store: dict[str, tuple[Store, list[str]]] = {}
    for store, item_id in picked:
        by_store.setdefault(store.layout.directory, (store, []))[1].append(item_id)
    for store, ids in by_store.values():
        for start in range(0, len(ids), most):
            yield store, ids[start : start + most]


def export_items(picked: list[tuple[Store, str]], output: Path) -> int:
    """Write messages as files that only the caller can read: `output` is a directory, or the file of a single one."""
    single = len(picked) == 1 and not output.is_dir()
    for store, item_id in picked:
        target = output if single else output / f"{item_id}.eml"
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return complain(f"{target} exists: nothing is overwritten", EXIT_NOT_DONE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(store.content(item_id))
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink()
            raise
        print(f"{target}: {target.stat().st_size} bytes")
    return 0


def reindex(stores: Stores) -> int:
    """Make the indexes anew from the files."""
    for store in stores.each():
        print(f"{store.layout.directory}: {store.reindex()} message(s)")
    return 0


def prune(stores: Stores, *, dry_run: bool) -> int:
    """End what is past its time, as the gateway does by itself, at once."""
    if not clock.is_believed():
        print("the clock has leapt ahead (gatepost doctor tells more): nothing is ended for its age")
    for place in stores.places:
        store = Store(place.directory)
        if not store.layout.exists:
            continue
        number = size = 0
        while True:
            step = plan_sweep(store, without_doubt(place), clock.now(), DRY_RUN_LIMIT if dry_run else DELETE_AT_ONCE)
            number += len(step)
            size += sum(each for _, each in step)
            if dry_run or not step:
                break
            store.delete([item_id for item_id, _ in step])
        verb = "to be deleted" if dry_run else "deleted"
        print(f"{place.kind.value} {place.directory}: {number} message(s), {size} bytes {verb}")
    return 0
