"""Compiled forms on disk: kept, thinned out, and no rest of those that could not be written."""

import os
from collections.abc import Iterator
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, getrlimit, setrlimit

import pytest

from gatepost.feeds.artefacts import WRITTEN_S, Artefacts

SMALL_DISK = 10_000


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file takes more than so many bytes: what a write into a full disk looks like to its writer."""
    _, hard = getrlimit(RLIMIT_FSIZE)
    assert hard == RLIM_INFINITY
    setrlimit(RLIMIT_FSIZE, (SMALL_DISK, hard))
    yield
    setrlimit(RLIMIT_FSIZE, (hard, hard))


def names(place: Path) -> list[str]:
    return sorted(each.name for each in place.iterdir())


@pytest.mark.usefixtures("small_disk")
def test_what_finds_no_room_leaves_no_rest_and_what_was_kept_stays(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path, 2)
    artefacts.keep("small", b"compiled")
    artefacts.keep("large", bytes(2 * SMALL_DISK))
    assert names(tmp_path) == ["index.json", "small.image"]
    assert artefacts.get("small") == b"compiled"
    assert artefacts.get("large") is None


def test_rest_of_a_writer_that_was_killed_goes_with_the_next_that_is_kept(tmp_path: Path) -> None:
    killed, writing = tmp_path / ".old.image.1", tmp_path / ".new.image.2"
    for each in (killed, writing):
        each.write_bytes(b"half")
    long_ago = killed.stat().st_mtime - WRITTEN_S - 1
    os.utime(killed, (long_ago, long_ago))
    Artefacts(tmp_path, 2).keep("whole", b"compiled")
    assert names(tmp_path) == [writing.name, "index.json", "whole.image"]
