"""Paused destinations are kept in a file that is whole at any moment."""

from pathlib import Path

import pytest

from gatepost.master.pauses import PAUSES_LIMIT, PauseError, Pauses


def test_pauses_outlive_the_process(tmp_path: Path) -> None:
    file = tmp_path / "paused.json"
    pauses = Pauses(file)
    assert pauses.change("One.Example", paused=True)
    assert pauses.change("two.example", paused=True)
    assert not pauses.change("one.example", paused=True)
    assert Pauses(file).domains == ("one.example", "two.example")
    assert pauses.change("one.example", paused=False)
    assert not pauses.change("one.example", paused=False)
    assert Pauses(file).domains == ("two.example",)
    assert [path.name for path in tmp_path.iterdir()] == ["paused.json"]


@pytest.mark.parametrize("bad", ["", " ", "a b", "user@one.example", "*.example", "x" * 300])
def test_what_is_no_domain_is_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(PauseError, match="not a domain"):
        Pauses(tmp_path / "paused.json").change(bad, paused=True)


def test_more_than_fit_a_message_are_refused(tmp_path: Path) -> None:
    pauses = Pauses(tmp_path / "paused.json")
    for number in range(PAUSES_LIMIT):
        pauses.change(f"d{number}.example", paused=True)
    with pytest.raises(PauseError, match="switch sending off"):
        pauses.change("one.more.example", paused=True)
    assert len(Pauses(tmp_path / "paused.json").domains) == PAUSES_LIMIT


def test_file_that_cannot_be_read_or_written_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "paused.json"
    file.write_text("[1, ")
    with pytest.raises(PauseError, match="cannot be read"):
        Pauses(file)
    pauses = Pauses(tmp_path / "nowhere" / "paused.json")
    with pytest.raises(PauseError, match="cannot be written"):
        pauses.change("one.example", paused=True)
    assert pauses.domains == ()
