"""Files that are written anew: whole or not at all, with the permissions they are to have."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gatepost.storage.whole_file import replace_file, rewrite_file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for raw in (b"first", b"second " * 100_000, b""):
        replace_file(path, raw)
        assert path.read_bytes() == raw
    assert mode_of(path) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_permissions_do_not_depend_on_the_umask_nor_on_what_was_left_behind(tmp_path: Path) -> None:
    (tmp_path / ".state.new").write_bytes(b"half of something longer")
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "state", b"new", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "state").read_bytes() == b"new"
    assert mode_of(tmp_path / "state") == 0o644


def test_a_link_in_the_place_of_the_new_file_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"of somebody else")
    (tmp_path / ".state.new").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(tmp_path / "state", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"of somebody else"


@pytest.mark.parametrize("write", [replace_file, rewrite_file])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, f"no space for {descriptor}")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]  # half of the new one would take what room there is


def test_an_edited_file_keeps_permissions_and_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    place = tmp_path / "real" / "gatepost.toml"
    place.write_bytes(b"old")
    place.chmod(0o640)
    link = tmp_path / "gatepost.toml"
    link.symlink_to(place)
    rewrite_file(link, b"new")
    assert link.is_symlink()
    assert place.read_bytes() == b"new"
    assert mode_of(place) == 0o640
    assert list(place.parent.iterdir()) == [place]


def test_an_edited_file_that_is_not_there_yet_is_for_its_owner_only(tmp_path: Path) -> None:
    rewrite_file(tmp_path / "users", b"a:b\n")
    assert (tmp_path / "users").read_bytes() == b"a:b\n"
    assert mode_of(tmp_path / "users") == 0o600
