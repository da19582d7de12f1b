"""Updates of databases by call: what the updater says is passed on, one at a time, and what takes long goes on."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import wait_for

from gatepost.control.desk import Desk, Refused
from gatepost.control.rights import RIGHTS_OF, Caller, Role, local_caller
from gatepost.control.socket import ControlError, Request, Unfit
from gatepost.master import database_updates
from gatepost.master.database_updates import DatabaseUpdates

ROOT = local_caller("root")


def _updater(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def _scene(code: str, work: Any) -> Any:
    desk = Desk()
    DatabaseUpdates(Path("gatepost.toml"), _updater(code)).register(desk)

    def call(name: str, caller: Caller = ROOT, **arguments: Any) -> Coroutine[Any, Any, Any]:
        return desk.handle(Request(f"databases.{name}", arguments), caller)

    return asyncio.run(work(call))


@pytest.mark.parametrize(("code", "changed"), [(0, False), (1, True)])
def test_what_the_updater_says_is_passed_on(code: int, *, changed: bool) -> None:
    """With the words it was called by, and whether anything changed."""

    async def work(call: Any) -> Any:
        return await call("rollback", names=["base", "antispam/base"])

    done = _scene(f"import sys; print(*sys.argv[1:]); sys.exit({code})", work)
    assert done == {
        "text": "update rollback base antispam/base -c gatepost.toml",
        "changed": changed,
        "under_way": False,
    }


def test_a_failure_is_told() -> None:
    """As the updater says it, or by its code."""

    async def work(call: Any) -> Any:
        return await call("update")

    with pytest.raises(ControlError, match="no source is configured"):
        _scene("import sys; print('no source is configured'); sys.exit(75)", work)
    with pytest.raises(ControlError, match="code 10"):
        _scene("import sys; sys.exit(10)", work)


def test_what_takes_long_goes_on_and_ends_with_the_gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The caller gets an answer, a second run is refused, and nothing outlives the loop."""
    monkeypatch.setattr(database_updates, "PATIENCE_S", 0.0)
    pid_file = tmp_path / "pid"

    async def work(call: Any) -> Any:
        first = await call("update")
        with pytest.raises(ControlError, match="under way"):
            await call("update")
        await asyncio.to_thread(wait_for, pid_file.is_symlink, "the updater to run")
        return first

    code = f"import os, time; os.symlink(str(os.getpid()), {str(pid_file)!r}); time.sleep(600)"
    assert _scene(code, work) == {"text": "", "changed": False, "under_way": True}
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.readlink().name), 0)


def test_names_are_names() -> None:
    """Nothing else becomes a word of a command line."""

    async def work(call: Any) -> None:
        for name in ("--trust-root=/tmp/x", "-c", "../base", "a b", "", "mouse/base", "antispam/-c", "/base"):
            with pytest.raises(Unfit):
                await call("rollback", names=[name])
        with pytest.raises(Refused):
            await call("update", caller=Caller("rod", RIGHTS_OF[Role.READ_ONLY]))

    _scene("raise SystemExit(0)", work)
