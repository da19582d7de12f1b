"""`gatepost policy move` and `delete`: the order of groups in a file, and nothing else of it."""

from pathlib import Path

import pytest
from tests.support.gateway import run_here
from tests.unit.config.documented_ini import ini_text

from gatepost.config.default import build_default_config
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.policy.group import GroupTable

GROUPS = """
# The first of them.
[[group]]
name = "staff"
recipients = ["*@example.org"]  # everybody

# Those at the top.
# They want less.
[[group]]
name = "board"
recipients = [
    "chair@example.org",
]

[[group]]
name = "guests"
recipients = ["*@guests.example.org"]

# Not a group.
[antispam]
preset = "recommended"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gatepost.toml"
    path.write_text(build_default_config(state_path=str(tmp_path), hostname="gw.example.org") + GROUPS)
    path.chmod(0o640)
    return path


def config_of(path: Path) -> Config:
    config = load(path).config
    assert config is not None
    return config


def winner(path: Path) -> str:
    config = config_of(path)
    return GroupTable.from_config(config.groups, config.ave, 60.0).resolve("a@b.example", "chair@example.org").name


@pytest.mark.feature("F-GRP-08")
def test_a_move_changes_the_winner_and_nothing_else(file: Path) -> None:
    text = file.read_text()
    assert winner(file) == "staff"
    done = run_here("policy", "move", "board", "--before", "staff", "-c", str(file))
    assert done.returncode == 0, done.stderr
    assert "groups now: board, staff, guests, policy" in done.stdout
    assert winner(file) == "board"
    assert sorted(file.read_text().splitlines()) == sorted(text.splitlines())
    assert '# They want less.\n[[group]]\nname = "board"' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640
    assert run_here("policy", "move", "staff", "--before", "board", "-c", str(file)).returncode == 0
    assert file.read_text() == text


@pytest.mark.feature("F-GRP-08")
@pytest.mark.parametrize("command", [["delete"], ["move"]])
def test_the_policy_stays_and_stays_last(file: Path, command: list[str]) -> None:
    text = file.read_text()
    refused = run_here("policy", *command, "policy", "-c", str(file))
    assert refused.returncode == 1
    assert "cannot be" in refused.stderr
    assert file.read_text() == text


def test_a_group_goes_to_the_end_or_away(file: Path) -> None:
    assert run_here("policy", "move", "staff", "-c", str(file)).returncode == 0
    assert [group.name for group in config_of(file).groups] == ["board", "guests", "staff", "policy"]
    asked = run_here("policy", "delete", "guests", "-c", str(file))
    assert (asked.returncode, asked.stderr) == (1, "nothing done; --yes does not ask\n")
    assert [group.name for group in config_of(file).groups] == ["board", "guests", "staff", "policy"]
    assert run_here("policy", "delete", "guests", "--yes", "-c", str(file)).returncode == 0
    assert [group.name for group in config_of(file).groups] == ["board", "staff", "policy"]
    assert "# Not a group." in file.read_text()


@pytest.mark.parametrize("arguments", [("move", "nobody"), ("move", "staff", "--before", "nobody"), ("delete", "x")])
def test_groups_that_are_not_there_are_told(file: Path, arguments: tuple[str, ...]) -> None:
    refused = run_here("policy", *arguments, "-c", str(file))
    assert refused.returncode == 1
    assert "there are: " in refused.stderr


def test_groups_of_the_ini_form_are_moved_too(tmp_path: Path) -> None:
    text = ini_text(
        {}, "; about a\n[mailgw.group:a]\nSenders=x@y.example\n; about b\n[mailgw.group:b]\nSenders=z@y.example\n"
    )
    path = tmp_path / "mailgw.conf"
    path.write_text(text)
    assert run_here("policy", "move", "b", "--before", "a", "-c", str(path)).returncode == 0
    moved = path.read_text()
    assert moved.index("; about b\n[mailgw.group:b]") < moved.index("; about a\n[mailgw.group:a]")
    assert [group.name for group in config_of(path).groups] == ["b", "a", "policy"]
