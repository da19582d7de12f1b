"""Why a process of pages ended is told: in the log, and where its problem is shown."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.ports import free_port

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.control.desk import Desk
from gatepost.control.rights import local_caller
from gatepost.control.standard_error import WAITING_LIMIT, StandardError
from gatepost.master.complaints import KEPT, TOLD, Complaints
from gatepost.master.console import CONSOLE, ConsoleHost


@pytest.mark.parametrize(
    ("script", "told"),
    [
        pytest.param("raise ValueError('no such thing')", ["ValueError: no such thing"], id="traceback"),
        pytest.param("print('a\\x1b[1mb\\n\\n  ', file=sys.stderr)", ["a?[1mb"], id="what-moves-cursors"),
        pytest.param("print('x' * 100_000, file=sys.stderr)", ["x" * TOLD], id="endless-line"),
        pytest.param("pass", [], id="nothing"),
    ],
)
def test_the_last_line_is_told_once(script: str, told: list[str]) -> None:
    async def hear(process: subprocess.Popen[bytes]) -> list[str]:
        heard: list[str] = []
        assert process.stderr is not None
        Complaints(process.stderr, StandardError(), lambda last, _: heard.append(last))
        async with asyncio.timeout(120):
            while not process.stderr.closed:  # noqa: ASYNC110 - it has no event to tell of its end
                await asyncio.sleep(0.01)
        return heard

    command = [sys.executable, "-c", f"import sys; {script}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        heard = asyncio.run(hear(process))
    assert TOLD < KEPT
    assert heard == told


def test_a_console_that_cannot_start_says_why(tmp_path: Path) -> None:
    text = build_default_config(state_path=str(tmp_path)) + f'\n[console]\nlisten = ["127.0.0.1:{free_port()}"]\n'
    config = load_text(text, "gatepost.toml").config
    assert config is not None
    pages = msgspec.structs.replace(CONSOLE, module="gatepost.nothing_like_that")
    said: list[str] = []

    async def start() -> str:
        ended = asyncio.Event()

        def say(_: str, line: str) -> None:
            said.append(line)
            if "ended with" in line:
                ended.set()

        async def nobody(*_: Any) -> Any:
            return local_caller("root")

        host = ConsoleHost(Desk(), nobody, say, pages)  # type: ignore[arg-type]
        host.configure(config)
        child = host.current
        assert child is not None
        async with asyncio.timeout(120):
            await ended.wait()
        trouble = child.trouble
        for each in host.dismiss():
            assert await each.wait(120)
        return trouble

    assert "No module named gatepost.nothing_like_that" in asyncio.run(start())
    assert any(line.startswith("console ended with: ") for line in said)


def test_nobody_waits_for_a_standard_error_that_is_not_read() -> None:
    """A pipe nobody empties: the loop goes on, what finds no room is counted, the last line is told all the same."""
    unread, ours = os.pipe()
    script = f"import sys; print('x' * {3 * WAITING_LIMIT}, file=sys.stderr); print('why it ended', file=sys.stderr)"

    async def hear(process: subprocess.Popen[bytes]) -> list[tuple[str, int]]:
        heard: list[tuple[str, int]] = []
        told = asyncio.Event()

        def tell(last: str, lost: int) -> None:
            heard.append((last, lost))
            told.set()

        assert process.stderr is not None
        Complaints(process.stderr, StandardError(ours), tell)
        async with asyncio.timeout(120):
            await told.wait()
        return heard

    command = [sys.executable, "-c", script]
    try:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            ((last, lost),) = asyncio.run(hear(process))
    finally:
        os.close(unread)
        os.close(ours)
    assert last == "why it ended"
    assert WAITING_LIMIT <= lost <= 3 * WAITING_LIMIT
