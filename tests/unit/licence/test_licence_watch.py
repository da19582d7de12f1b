"""What the running gateway tells of its licence, and when."""

import asyncio
from pathlib import Path

import pytest
from tests.support import licences

from gatepost.config.default import build_default_config
from gatepost.config.load import load_text
from gatepost.licence.usage import DAY_S, FILE, UsageBook
from gatepost.master.licensing import LicenceWatch
from gatepost.spool import clock

MIDNIGHT = 20_000 * DAY_S
MEGABYTE = 1_000_000


class Scene:
    """A gateway's watch, with a clock of its own."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = build_default_config(state_path=str(place)) + licences.SETTINGS
        config = load_text(text + '\n[watch]\naddresses = ["admin@example.org"]\n', "gatepost.toml").config
        assert config is not None
        self.subjects: list[str] = []
        self._monkeypatch = monkeypatch
        self._book = UsageBook(place / FILE)
        self._number = 0
        self.watch = LicenceWatch(
            config=lambda: config,
            usage_directory=place,
            announce=self._announce,
            reload=self._reload,
            say=lambda _, __: None,
        )

    async def _announce(self, *, subject: str, **_: object) -> str:
        self.subjects.append(subject)
        return ""

    async def _reload(self) -> None:
        pass

    def receive(self, at: float, size: int) -> None:
        """Have mail of so many bytes counted."""
        self._number += 1
        self._book.fresh("test", self._number, 1)
        self._book.add_bytes(size, at)
        self._book.flush()

    def look(self, at: float) -> list[str]:
        """Look at a moment; return the subjects of what is told."""
        self._monkeypatch.setattr(clock, "now", lambda: at)
        self.subjects.clear()
        asyncio.run(self.watch.look())
        return list(self.subjects)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    licences.install(tmp_path / "licence", megabytes=1)
    return Scene(tmp_path, monkeypatch)


def test_traffic_above_the_limit_just_before_midnight_is_told_after_it_and_once(scene: Scene) -> None:
    assert scene.look(MIDNIGHT - 70) == []
    assert scene.look(MIDNIGHT + 50) == []
    scene.receive(MIDNIGHT + DAY_S - 5, 2 * MEGABYTE)
    (subject,) = scene.look(MIDNIGHT + DAY_S + 50)
    assert "licence exceeded: 2 of 1 megabytes of mail on 2024-10-04" in subject
    assert scene.look(MIDNIGHT + DAY_S + 110) == []
    assert scene.look(MIDNIGHT + 2 * DAY_S + 10) == []


def test_traffic_above_the_limit_is_told_once_whatever_the_day(scene: Scene) -> None:
    scene.receive(MIDNIGHT - 20, 2 * MEGABYTE)
    (subject,) = scene.look(MIDNIGHT - 10)
    assert "megabytes of mail today" in subject
    assert scene.look(MIDNIGHT + 10) == []


def test_a_key_is_not_told_of_a_day_it_was_not_there(scene: Scene, tmp_path: Path) -> None:
    scene.look(MIDNIGHT - 70)
    scene.receive(MIDNIGHT - 5, 2 * MEGABYTE)
    (tmp_path / "licence" / "state.json").unlink()  # as with a first key
    licences.install(tmp_path / "licence", "2", megabytes=1)
    assert scene.look(MIDNIGHT + 50) == []
    assert scene.look(MIDNIGHT + 110) == []


def test_a_clock_that_leapt_ends_no_term_when_it_is_put_back(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.look(MIDNIGHT)
    noted = (tmp_path / "licence" / "state.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(clock, "is_believed", lambda: False)
        assert scene.look(MIDNIGHT + 365 * DAY_S) == []
    assert (tmp_path / "licence" / "state.json").read_bytes() == noted
    scene.look(MIDNIGHT + DAY_S)
    assert (tmp_path / "licence" / "state.json").read_bytes() != noted
