"""clamdscan asks our clamd door, and clamd itself: the same words, the same exit codes."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.clamd_program import MARKER, Clamd
from tests.peers.conftest import open_directory, program
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge, ruling

from gatepost.config.doors import Door, DoorKind
from gatepost.model.filtering import Request, Ruling, Threat
from gatepost.service import clamd_door


def decide(_: Request, content: bytes) -> Ruling:
    return ruling(threats=(Threat("Test.Marker.UNOFFICIAL", "infected"),)) if MARKER in content else ruling()


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    program("clamdscan")
    program("clamd")
    with open_directory("clamdscan") as directory:
        files = directory / "files"
        files.mkdir()
        (files / "bad.txt").write_bytes(b"x" + MARKER)
        (files / "good.txt").write_bytes(b"good")
        (files / "large.bin").write_bytes(bytes(3_000_000))
        for file in files.iterdir():
            file.chmod(0o644)
        yield directory


@pytest.fixture(scope="module")
def configurations(place: Path) -> Iterator[tuple[Path, Path]]:
    """clamdscan's configuration for the original, and for ours."""
    door = Door(name="av", kind=DoorKind.CLAMD, scan_paths=(str(place / "files"),), size_limit=2 * 1024 * 1024)
    with (
        Clamd(place),
        ListeningDoor(clamd_door.make, ScriptedJudge(decide), door, path=place / "ours.sock") as ours,
    ):
        configuration = place / "ours.conf"
        configuration.write_text(f"LocalSocket {ours.path}\nStreamMaxLength 2M\n")
        yield place / "clamd.conf", configuration


def run(configuration: Path, *options: str, data: bytes = b"") -> tuple[int, str]:
    """Return exit code and what was said, without times."""
    command = [program("clamdscan"), "-c", str(configuration), *options]
    done = subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)
    said = re.sub(r"(?m)^(Time|Start Date|End Date):.*\n", "", done.stdout.decode() + done.stderr.decode())
    return done.returncode, re.sub(r"fd\[\d+\]", "fd", said)


@pytest.mark.parametrize("how", ["--stream", "--fdpass", "--no-summary", "--multiscan"])
def test_files(configurations, place, how):
    for names in (["bad.txt"], ["good.txt"], ["bad.txt", "good.txt"]):
        files = [str(place / "files" / name) for name in names]
        theirs, ours = (run(each, how, *files) for each in configurations)
        assert ours == theirs
        assert ours[0] == int("bad.txt" in names)


def test_standard_input(configurations):
    for data in (b"hello", b"x" + MARKER):
        theirs, ours = (run(each, "--stream", "-", data=data) for each in configurations)
        assert ours == theirs


def test_a_directory(configurations, place):
    """The order of files is nobody's promise."""
    theirs, ours = (run(each, "--stream", str(place / "files")) for each in configurations)
    assert theirs[0] == ours[0]
    assert sorted(ours[1].splitlines()) == sorted(theirs[1].splitlines())


def test_ping_and_version(configurations):
    theirs, ours = (run(each, "--ping", "1") for each in configurations)
    assert ours == theirs
    code, said = run(configurations[1], "-V")
    assert code == 0
    assert said.startswith("Gatepost ")


def test_it_does_not_reload(configurations):
    """freshclam asks for that; nobody may over a door."""
    assert run(configurations[0], "--reload")[0] == 0
    assert run(configurations[1], "--reload")[0] != 0
