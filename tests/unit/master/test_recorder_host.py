"""The recorder as the master starts it: for tracking, or for what is written besides."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.support.waiting import WAIT_S

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.config.tracking import Tracking
from gatepost.control.desk import Desk
from gatepost.control.rights import local_caller
from gatepost.control.socket import ControlError, Request
from gatepost.master import recorder
from gatepost.master.fork_server import ForkServer
from gatepost.master.paths import Paths
from gatepost.master.recorder import RecorderHost, recorder_settings


class NoForks:
    """A fork server that starts nothing."""

    def start(self, *_: Any, **__: Any) -> Any:
        raise OSError("not here")


def config_of(*, tracking: bool = False, json_file: str = "", av_statistics: str = "") -> Config:
    loaded = load_text(build_default_config(state_path="/nowhere"), "gatepost.toml").config
    assert loaded is not None
    return msgspec.structs.replace(
        loaded,
        tracking=Tracking(enabled=tracking, json_file=json_file),
        options=msgspec.structs.replace(loaded.options, av_statistics=av_statistics),
    )


def started(place: Path, config: Config) -> tuple[bool, dict[str, Any]]:
    """Start a host; tell whether there is a socket for relays, and its status."""

    async def start() -> tuple[bool, dict[str, Any]]:
        host = RecorderHost(cast("ForkServer", NoForks()), Paths(str(place)), lambda _, __: None)
        host.start(config)
        status = host.status()
        if not status["enabled"]:
            desk = Desk()
            host.register(desk)
            with pytest.raises(ControlError, match="nothing is kept"):
                await desk.handle(Request("tracking.search", {}), local_caller("root"))
        host.dismiss()
        return bool(host.socket) or status["state"] != "stopped", status

    return asyncio.run(start())


def test_nobody_is_started_where_nothing_is_kept(tmp_path: Path) -> None:
    assert started(tmp_path, config_of()) == (
        False,
        {"enabled": False, "state": "stopped", "pid": 0, "restarts": 0},
    )


@pytest.mark.parametrize("wanted", [{"json_file": "/x/records.jsonl"}, {"av_statistics": "/x/av"}, {"tracking": True}])
def test_any_view_starts_the_recorder(tmp_path: Path, wanted: dict[str, Any]) -> None:
    runs, status = started(tmp_path, config_of(**wanted))
    assert runs
    assert status["enabled"] == ("tracking" in wanted)


def test_a_reload_says_what_begins_at_the_next_start_only(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    host = RecorderHost(cast("ForkServer", NoForks()), Paths(str(tmp_path)), lambda *line: said.append(line))
    host.start(config_of())
    host.configure(config_of())
    assert not said
    host.configure(config_of(av_statistics="/x/av"))
    ((level, text),) = said
    assert (level, "next start" in text, host.current) == ("W", True, None)


def test_a_reload_does_not_change_whether_tracking_is_kept(tmp_path: Path) -> None:
    settings = recorder_settings(config_of(tracking=True, json_file="/x"), Paths(str(tmp_path)), tracking=False)
    assert (settings.tracking, settings.json_file) == (False, "/x")


def test_what_the_recorder_complains_of_is_kept_for_the_problem_and_told_to_who_asks(tmp_path: Path) -> None:
    class Forks:
        """A fork server whose recorder complains, then ends."""

        def start(self, *_: Any, **__: Any) -> Any:
            script = "echo 'I ready'; echo 'E tracking cannot be written: disk is full'; exit 30"
            return subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    async def complain() -> bool:
        ended = asyncio.Event()

        def say(_: str, text: str) -> None:
            if "ended" in text and child.ends > 1:
                ended.set()

        host = RecorderHost(cast("ForkServer", Forks()), Paths(str(tmp_path)), say)
        host.start(config_of(tracking=True))
        child = host.current
        assert child is not None
        desk = Desk()
        host.register(desk)
        async with asyncio.timeout(120):
            await ended.wait()
        with pytest.raises(ControlError, match="disk is full"):
            await desk.handle(Request("tracking.search", {}), local_caller("root"))
        settled = child.settled
        host.dismiss()
        assert await child.wait(120)
        return settled

    assert not asyncio.run(complain())


@pytest.mark.parametrize("answers", ["cat >&2", 'while read -r line; do echo "T "; done', "exit 30"])
def test_a_reload_waits_until_the_recorder_works_by_it_unless_it_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    class Forks:
        def start(self, *_: Any, **__: Any) -> Any:
            return subprocess.Popen(
                ["/bin/sh", "-c", answers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )

    silent = answers.startswith("cat")
    monkeypatch.setattr(recorder, "SETTLE_S", 0.2 if silent else 10 * WAIT_S)
    said: list[str] = []

    async def reload() -> None:
        host = RecorderHost(cast("ForkServer", Forks()), Paths(str(tmp_path)), lambda _, text: said.append(text))
        await host.settle()  # there is none
        host.start(config_of(tracking=True))
        host.configure(config_of(tracking=True))
        host.configure(config_of(tracking=True))
        async with asyncio.timeout(WAIT_S):
            await host.settle()
        (child,) = host.dismiss()
        assert await child.wait(WAIT_S)

    asyncio.run(reload())
    assert any("stands still" in text for text in said) == silent
