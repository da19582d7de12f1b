"""What others may leave in the watched folders: nothing but files of their own is read, and nobody waits for one."""

import os
import pwd
from pathlib import Path

import pytest

from gatepost.master import learner
from gatepost.master.learner import read_file, ready_files
from gatepost.master.learning import has_messages

FAR = 4e9
"""Time at which every file is old enough."""


def test_a_message_is_read_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    path.write_bytes(b"Subject: x\r\n\r\nx")
    assert ready_files(tmp_path, FAR) == [path]
    assert has_messages(tmp_path)
    assert not has_messages(tmp_path / "missing")
    assert read_file(path) == (b"Subject: x\r\n\r\nx", pwd.getpwuid(os.getuid()).pw_name)


@pytest.mark.parametrize("kind", ["symlink", "pipe", "directory", "gone", "dangling"])
def test_what_is_no_file_of_its_own_is_not_read(tmp_path: Path, kind: str) -> None:
    """Also when it took the place of a message after the folder was read."""
    other, path = tmp_path / "other", tmp_path / "watched" / "a.eml"
    path.parent.mkdir()
    other.write_bytes(b"Subject: of somebody else\r\n\r\nx")
    match kind:
        case "symlink":
            path.symlink_to(other)
        case "dangling":
            path.symlink_to(tmp_path / "nothing")
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    assert ready_files(path.parent, FAR) == []
    assert not has_messages(path.parent), "the learner would be started for nothing, again and again"
    with pytest.raises((OSError, ValueError)):
        read_file(path)


def test_a_huge_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "MESSAGE_LIMIT", 1000)
    path = tmp_path / "a.eml"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ValueError, match="too large"):
        read_file(path)


def test_what_somebody_still_writes_waits(tmp_path: Path) -> None:
    for name in (".hidden", "part.tmp", "a.eml"):
        (tmp_path / name).write_bytes(b"x")
    written = (tmp_path / "a.eml").stat().st_mtime
    assert ready_files(tmp_path, written + 0.5) == []
    assert ready_files(tmp_path, written + 2) == [tmp_path / "a.eml"]
    assert ready_files(tmp_path / "missing", FAR) == []
