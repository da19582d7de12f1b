"""Files below the state directory."""

from pathlib import Path

import pytest

from gatepost.master.paths import Paths


def test_a_snapshot_that_finds_no_room_names_its_file(tmp_path: Path) -> None:
    """`gatepost reload` said "No space left on device", and not where."""
    paths = Paths(str(tmp_path))
    file = paths.snapshot(3)
    file.parent.mkdir(parents=True, exist_ok=True)
    paths.write_snapshot(3, b"configuration")
    assert file.read_bytes() == b"configuration"
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(OSError, match=f"No space left on device: '{file}'"):
        paths.write_snapshot(3, b"configuration")
