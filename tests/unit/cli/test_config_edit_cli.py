"""`gatepost config set` and `unset` without a running gateway: the file is edited where it lies, or left alone."""

import os
import tomllib
from pathlib import Path

import pytest
from tests.support.gateway import run_here

from gatepost.config.default import build_default_config
from gatepost.master.configuration_history import History


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gatepost.toml"
    text = build_default_config(state_path=str(tmp_path / "state"), hostname="mx.corp.example")
    path.write_text(text + '\n[[group]]\nname = "sales"\nrecipients = ["*@sales.example"]\n')
    return path


def test_values_are_set_and_unset_in_any_spelling(file: Path) -> None:
    done = run_here(
        "config", "set", "IncomingSessions=77", "policy.block_message=infected,error", "group:sales.Check=no",
        "antispam.white_list=a@x.example", "antispam.white_list=@y.example  # until 2031-01-01 a note", "-c", str(file),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "+incoming_sessions = 77" in done.stdout
    data = tomllib.loads(file.read_text())
    assert data["limits"]["incoming_sessions"] == 77
    assert data["policy"]["block_message"] == ["infected", "error"]
    assert data["group"][0]["check"] is False
    assert data["antispam"]["white_list"] == ["a@x.example", "@y.example  # until 2031-01-01 a note"]
    assert "# Received fields a message may have before it counts as a loop." in file.read_text()
    assert run_here("config", "unset", "limits.incoming_sessions", "-c", str(file)).returncode == 0
    assert "incoming_sessions" not in tomllib.loads(file.read_text())["limits"]


def test_a_lost_file_comes_back_from_the_copies(file: Path, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    text = file.read_text()
    refused = run_here("config", "recover", *state, "-c", str(file))
    assert (refused.returncode, "is there" in refused.stderr) == (1, True)
    file.unlink()
    missing = run_here("status", "-c", str(file))
    assert (missing.returncode, "gatepost config recover" in missing.stderr) == (65, True)
    bare = run_here("config", "recover", *state, "-c", str(file))
    assert (bare.returncode, "no copy can be read" in bare.stderr) == (1, True)
    copies = tmp_path / "state" / "configuration"
    history = History(copies)
    history.note_found("# the first\n", 1.0)
    history.note_found(text, 2.0)
    (copies / "000003.json").write_text("torn")
    done = run_here("config", "recover", *state, "-c", str(file))
    assert (done.returncode, file.read_text()) == (0, text), done.stderr
    assert "version 2" in done.stdout
    assert file.stat().st_mode & 0o777 == 0o640
    file.unlink()
    assert run_here("config", "recover", "1", *state, "-c", str(file)).returncode == 0
    assert file.read_text() == "# the first\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_hands_the_file_to_the_gateways_user_only_when_it_was_his(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    copies = tmp_path / "state" / "configuration"
    history = History(copies)
    history.note_found(text, 1.0)
    os.chown(copies, 65534, 65533)

    def recovered() -> tuple[int, int, int]:
        file.unlink()
        done = run_here("config", "recover", "--state", str(tmp_path / "state"), "-c", str(file))
        assert done.returncode == 0, done.stderr
        facts = file.stat()
        return facts.st_uid, facts.st_gid, facts.st_mode & 0o777

    assert recovered() == (0, 65533, 0o640)
    history.add(text + "# by the console\n", at=2.0, who="a", via="console", comment="")
    assert recovered() == (65534, 65533, 0o640)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["set", "options.log_level=77"], 66, "out of range"),
        (["set", "options.nonsense=1"], 1, "no parameter"),
        (["set", "name=1"], 1, "one of"),
        (["set", "options.log_level"], 1, "Name=value"),
        (["unset", "options.log_level=4"], 1, "stands alone"),
        (["set", "group:nobody.check=no"], 1, "no group"),
        (["set", "network.tls_cert=/nowhere.pem"], 66, "tls_key"),
        (["set"], 1, "name parameters"),
    ],
)
def test_what_is_wrong_leaves_the_file_alone(file: Path, words: list[str], code: int, why: str) -> None:
    before = file.read_bytes()
    done = run_here("config", *words, "-c", str(file))
    assert done.returncode == code, done
    assert why in done.stderr
    assert file.read_bytes() == before


def test_a_dry_run_shows_the_difference_only(file: Path) -> None:
    before = file.read_bytes()
    done = run_here("config", "set", "options.log_level=5", "--dry-run", "-c", str(file))
    assert done.returncode == 0
    assert "+log_level = 5" in done.stdout
    assert file.read_bytes() == before


def test_history_needs_a_running_gateway(file: Path) -> None:
    done = run_here("config", "history", "-c", str(file))
    assert done.returncode == 1
    assert "no gateway answers" in done.stderr
