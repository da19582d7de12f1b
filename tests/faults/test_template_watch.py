"""A filter template that hangs: found by its silence, killed, and nobody else is."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.support_template import Template
from tests.support.loop import in_loop

from gatepost.filter.settings import FilterSettings
from gatepost.master import template_watch
from gatepost.master.template_watch import LOOKS, greets, watch_template

PATIENCE_S = 0.3


class Kept:
    """A template as the master keeps it."""

    work = True

    def __init__(self, pid: int, send: Callable[[int, int], None] = os.kill) -> None:
        self.current = self
        self.pid = pid
        self._send = send
        self.signalled = asyncio.Event()

    def signal(self, number: int) -> None:
        self._send(self.pid, number)
        self.signalled.set()


def greeting(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return client.recv(1)


@pytest.fixture
def template(tmp_path: Path) -> Iterator[Template]:
    made = Template(tmp_path / "filters", FilterSettings(maximum=1, minimum=0))
    assert made.ready
    yield made
    made.end()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_watch, "LOOK_S", 0.01)
    monkeypatch.setattr(template_watch, "PATIENCE_S", PATIENCE_S)


@in_loop
async def test_one_that_hangs_is_killed_and_told(template: Template) -> None:
    said: list[tuple[str, str]] = []
    kept = Kept(template.process.pid)
    assert await greets(template.path, 30.0)
    os.kill(kept.pid, signal.SIGSTOP)
    watching = asyncio.create_task(watch_template(kept, template.path, lambda *line: said.append(line)))
    try:
        await asyncio.wait_for(kept.signalled.wait(), 60)
    finally:
        watching.cancel()
    assert await asyncio.to_thread(template.process.wait, 60) == -signal.SIGKILL
    assert said == [("E", "the filter template does not answer: it is killed, and starts again")]
    assert await greets(template.path, 30.0), "it is gone, and does not hang"


@in_loop
async def test_one_so_many_wait_for_that_no_more_are_taken_hangs(template: Template) -> None:
    os.kill(template.process.pid, signal.SIGSTOP)
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    try:
        for each in waiting:
            each.setblocking(False)
        assert any(each.connect_ex(str(template.path)) for each in waiting)
        assert not await greets(template.path, PATIENCE_S)
    finally:
        for each in waiting:
            each.close()
        os.kill(template.process.pid, signal.SIGCONT)
    await asyncio.to_thread(greeting, template.path)  # it has taken those that have gone
    assert await greets(template.path, 30.0)


@in_loop
async def test_a_silence_that_ends_and_a_process_that_is_another_by_then_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals: list[tuple[int, int]] = []
    kept = Kept(1, lambda *sent: signals.append(sent))
    answers = [*[False] * (LOOKS - 1), True] * 3
    enough = asyncio.Event()

    async def answer(*_: object) -> bool:
        if answers:
            return answers.pop()
        kept.pid += 1  # it says nothing, and has been started again before that is known
        if kept.pid > 3 * LOOKS:
            enough.set()
        return False

    monkeypatch.setattr(template_watch, "greets", answer)
    watching = asyncio.create_task(watch_template(kept, tmp_path, lambda *_: None))
    await asyncio.wait_for(enough.wait(), 60)
    watching.cancel()
    assert signals == []


@in_loop
async def test_nobody_there_is_nobody_who_hangs(tmp_path: Path) -> None:
    assert await greets(tmp_path / "none", PATIENCE_S)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    assert await greets(tmp_path / "left", PATIENCE_S)
