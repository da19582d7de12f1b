"""A migration and a takeover that are killed (SIGKILL) on their way: the next run does the rest, and nothing is lost."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.gateway import run_here
from tests.support.state_sample import AT, SEEN, look
from tests.unit.migration.test_migration import numbers, sample, state_of
from tests.unit.migration.test_takeover import MESSAGE, old_installation, queue_of, seen

from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.migration.carrying import COPIES, LIST, Copy, carry_out
from gatepost.migration.parts import CURRENT, FIRST, FORMATS, PARTS
from gatepost.migration.plan import plan_migration
from gatepost.migration.settling import settle_format
from gatepost.migration.stamp import read_stamp
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import Store

PLACES = 12
"""Kills of one kind, spread over all lines of a run."""


def follow(act: Callable[[], object], see: Callable[[int], object]) -> None:
    """Do something, and tell the number of each line of migrations before it is executed."""
    number = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal number
        if "/gatepost/migration/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            number += 1
            see(number)
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(former)


def killed(act: Callable[[], object], line: int) -> bool:
    """Do something in a child that is killed before this line; tell whether it was."""
    pid = os.fork()
    if not pid:
        try:
            follow(act, lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == line else None)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def lines_of(act: Callable[[], object]) -> Iterator[int]:
    """Yield where to kill, from the first line to the last."""
    last = [0]
    follow(act, lambda number: last.__setitem__(0, number))
    step = max(1, last[0] // (PLACES - 1))
    yield from range(1, last[0] + 1, step)


def laid_out(fresh: Path, state: Path) -> None:
    """Have a state directory as it was in the beginning."""
    shutil.rmtree(state)
    shutil.copytree(fresh, state)


def bring_up(config: Config) -> None:
    """Do what a start does."""
    settle_format(config, AT)


def bring_back(config: Config) -> None:
    """Do what `gatepost migrate --back` does."""
    carry_out(plan_migration(config, FIRST), config, AT)


@pytest.mark.parametrize(("start", "end"), [(FIRST, CURRENT), (CURRENT, FIRST)], ids=["up", "back"])
def test_a_migration_that_is_killed_anywhere_is_finished_by_the_next(tmp_path: Path, start: int, end: int) -> None:
    config, fresh = sample(tmp_path, start), tmp_path / "fresh"
    state = state_of(config)
    shutil.copytree(state, fresh)
    before = numbers(config)
    finish = bring_back if end != CURRENT else bring_up
    met = 0
    for place, line in enumerate(lines_of(lambda: finish(config))):
        laid_out(fresh, state)
        met += killed(lambda: finish(config), line)
        # Each file is as it was, or as it is to be.
        for name, number in numbers(config).items():
            assert number in {before[name], FORMATS[end][name]}, (line, name)
        if end != CURRENT and place % 2:  # the next is no second try, but a start of the program that knows both
            settle_format(config, AT + 1)
        else:
            finish(config)
            assert numbers(config) == at_format(end)
            assert format_of(state) == end
            _check_copies(state, before, end)
            settle_format(config, AT + 1)
        assert numbers(config) == at_format(CURRENT), line
        assert format_of(state) == CURRENT
        assert look(state) == SEEN, line
    assert met >= PLACES - 1


def at_format(number: int) -> dict[str, int]:
    return {name: version for name, version in FORMATS[number].items() if name != "accounts"}


def format_of(state: Path) -> int:
    stamp = read_stamp(state)
    assert stamp is not None
    return stamp.format


def _check_copies(state: Path, before: dict[str, int], end: int) -> None:
    """Of everything that was changed there is a whole copy, and of nothing half a one."""
    kept = {}
    for folder in (state / COPIES).iterdir():
        for copy in msgspec.json.decode((folder / LIST).read_bytes(), type=list[Copy]):
            assert (folder / copy.copy).stat().st_size > 0
            kept[Path(copy.place).name] = copy.version
    changed = {part.name for part in PARTS if before.get(part.name, FORMATS[end][part.name]) != FORMATS[end][part.name]}
    assert len(kept) == len(changed) > 0
    assert set(kept.values()) == {before[name] for name in changed}


def test_a_takeover_that_is_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    old, state, output = tmp_path / "old", tmp_path / "new", tmp_path / "gatepost.toml"
    conf = old_installation(old)
    for name in ("one", "two"):
        (old / "queue" / f"{name}.eml").write_bytes(MESSAGE % name.encode())
        (old / "queue" / f"{name}.env").write_text(f"MAIL FROM:<a@b.example>\nRCPT TO:<{name}@example.org>\n")
        (old / "quarantine" / f"{name}.eml").write_bytes(MESSAGE % name.encode())
    before = seen(old)

    def take() -> None:
        done = run_here("migrate", "from", str(conf), "-o", str(output), "--state-path", str(state))
        assert done.returncode == 0, done.stderr

    met = 0
    for line in lines_of(take):
        shutil.rmtree(state)
        output.unlink()
        met += killed(take, line)
        take()
        assert sorted(each[0].envelope.recipients[0].address for each in queue_of(state)) == [
            "one@example.org",
            "two@example.org",
        ], line
        with Store(str(state / "quarantine")) as store:
            assert sorted(row.subject for row in store.page(ItemFilter(), AT)) == ["one", "two"], line
        config = load(output).config
        assert config is not None
        assert Path(config.options.dsn_template).read_text() == "text of %HOSTNAME%\n"
        assert seen(old) == before
    assert met >= PLACES - 1
