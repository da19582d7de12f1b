"""Which template relays meet at the one name they know, while others come, are given up, and end."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.support.waiting import wait_for

from gatepost.cli.trial import TrialError, running_template
from gatepost.filter.settings import FilterSettings
from gatepost.master.children import stop_all
from gatepost.master.paths import Paths
from gatepost.master.templates import NotReplaced, Templates

TEMPLATE = """
import json, os, signal, socket, sys
generation = json.loads(sys.stdin.readline())["generation"]
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2])
listener.listen()
if os.path.exists(f"{sys.argv[3]}/slow-{generation}"):
    open(f"{sys.argv[3]}/listens-{generation}", "w").close()
    signal.pause()
why = f"{sys.argv[3]}/why-{generation}"
if os.path.exists(why):
    for piece in open(why):
        sys.stdout.write(piece.rstrip("\\n"))
        sys.stdout.flush()
    print(flush=True)
    sys.exit(1)
print("ready", flush=True)
while True:
    connection = listener.accept()[0]
    connection.sendall(b"%d" % generation)
    connection.close()
"""
"""Listens as a template does, and tells its number to whoever comes; a slow one never gets to being ready."""


class Starts:
    """Starts these in place of templates."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def start(self, _: str, arguments: Sequence[str], *, title: str, piped: bool) -> "subprocess.Popen[bytes]":
        assert title == "filter template"
        assert piped
        command = [sys.executable, "-S", "-E", "-c", TEMPLATE, *arguments, str(self.place)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def answers(paths: Paths) -> int:
    """Return the number of the template that answers; 0: nobody does."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(paths.filters))
        except OSError:
            return 0
        return int(client.recv(100))


async def until(look: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_for, look, "the templates to come so far")


@pytest.mark.parametrize("end", ["a newer one", "its own end"])
def test_a_template_that_is_given_up_leaves_the_former_reachable(tmp_path: Path, end: str) -> None:
    paths = Paths(str(tmp_path))
    paths.run.mkdir()
    (tmp_path / "slow-2").touch()
    if end == "a newer one":
        (tmp_path / "slow-3").touch()

    async def scenario() -> None:
        templates = Templates(Starts(tmp_path), paths, lambda *_: None)  # type: ignore[arg-type]
        try:
            templates.start(FilterSettings())
            await templates.settled.wait()
            assert answers(paths) == 1
            second = asyncio.create_task(templates.replace(FilterSettings(maximum=71)))
            await until((tmp_path / "listens-2").exists)
            assert answers(paths) == 1, "the second listens already, and is not in force"
            if end == "a newer one":
                third = asyncio.create_task(templates.replace(FilterSettings(maximum=72)))
                with pytest.raises(NotReplaced, match="a newer one"):
                    await second
                await until((tmp_path / "listens-3").exists)
                third.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await third
            else:
                assert templates._candidate is not None
                templates._candidate.signal(9)
                with pytest.raises(NotReplaced, match="status -9"):
                    await second
            assert answers(paths) == 1
            await templates.replace(FilterSettings(maximum=73))
            assert answers(paths) == (4 if end == "a newer one" else 3)
        finally:
            rest = templates.dismiss()
            for child in rest:
                child.signal(15)
            await stop_all(rest, 20)

    asyncio.run(scenario())
    wait_for(lambda: [each.name for each in paths.run.iterdir()] == ["filters.sock"], "no other name to be left")


def test_the_reason_of_a_template_that_cannot_start_is_told(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    paths.run.mkdir()
    (tmp_path / "why-2").write_text("the engine\n has no\x1b[2J\n licence")
    said: list[tuple[str, str]] = []

    async def scenario() -> None:
        templates = Templates(Starts(tmp_path), paths, lambda *line: said.append(line))  # type: ignore[arg-type]
        try:
            templates.start(FilterSettings())
            await templates.settled.wait()
            reason = r"the engine has no\S* licence"
            with pytest.raises(NotReplaced, match=f"ended with status 1: {reason}$") as caught:
                await templates.replace(FilterSettings(maximum=71))
            assert "\x1b" not in str(caught.value)
            assert answers(paths) == 1
            assert any(level == "E" and "licence" in text and "cannot start" in text for level, text in said)
        finally:
            rest = templates.dismiss()
            for child in rest:
                child.signal(15)
            await stop_all(rest, 20)

    asyncio.run(scenario())


def test_a_template_that_ends_is_met_at_the_same_name_again(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    paths.run.mkdir()

    async def scenario() -> None:
        templates = Templates(Starts(tmp_path), paths, lambda *_: None)  # type: ignore[arg-type]
        try:
            templates.start(FilterSettings())
            await templates.settled.wait()
            first = templates.current
            assert first is not None
            pid = first.pid
            first.signal(9)
            await until(lambda: first.pid not in (0, pid) and answers(paths) == 1)
        finally:
            rest = templates.dismiss()
            for child in rest:
                child.signal(15)
            await stop_all(rest, 20)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (FilterSettings(engines=("nosuch",)), "engine nosuch is not installed"),
        (FilterSettings(engines=("no_such_module:engine",)), "ModuleNotFoundError: .*no_such_module"),
    ],
)
def test_a_real_template_says_why_it_cannot_start(tmp_path: Path, settings: FilterSettings, reason: str) -> None:
    with pytest.raises(TrialError, match=reason), running_template(settings, tmp_path / "filters.sock"):
        raise AssertionError("it came up")
