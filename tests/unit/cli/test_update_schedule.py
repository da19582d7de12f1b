"""The updater's entry in a table of cron, by a `crontab` that keeps tables in files (row F-UPD-09); `gw-update`."""

import io
import os
import stat
import sys
from pathlib import Path

import pytest
from tests.support.gateway import run_here

from gatepost.cli import update
from gatepost.cli.schedule import ScheduleError, plan_times

CRONTAB = """#!/bin/sh
table="$TABLES/$(id -un)"
[ "$1" = -u ] && { table="$TABLES/$2"; shift 2; }
case "$1" in
-l) [ -f "$table" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }; cat "$table" ;;
-) cat >"$table" ;;
esac
"""
OTHER = "0 5 * * 1 /usr/bin/tidy"


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(CRONTAB)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    tables = tmp_path / "tables"
    tables.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TABLES", str(tables))
    return tables


def schedule(*arguments: str) -> tuple[int, str]:
    done = run_here("update", "schedule", *arguments)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.feature("F-UPD-09")
def test_the_entry_is_made_replaced_shown_and_taken_out_and_others_stay(tables: Path, tmp_path: Path) -> None:
    table = tables / "gatepost"
    table.write_text(f"{OTHER}\n")
    conf = tmp_path / "a 100% conf.toml"
    assert schedule("show", "-u", "gatepost") == (0, "there is no entry\n")
    for minutes, times in (("60", "17 * * * *"), ("20", "*/20 * * * *")):
        code, _ = schedule("install", "--minutes", minutes, "-u", "gatepost", "-c", str(conf))
        assert code == 0
        first, second = table.read_text().splitlines()
        assert first == OTHER
        assert second.startswith(f"{times} {Path(sys.executable).with_name('gatepost')} update --quiet -c ")
        assert f"'{conf}'".replace("%", "\\%") in second
    assert schedule("show", "-u", "gatepost") == (0, f"{second}\n")
    assert schedule("uninstall", "-u", "gatepost") == (0, "taken out\n")
    assert schedule("uninstall", "-u", "gatepost") == (0, "there was no entry\n")
    assert table.read_text() == f"{OTHER}\n"


@pytest.mark.parametrize(
    ("minutes", "times"),
    [(3, "*/3 * * * *"), (30, "*/30 * * * *"), (60, "17 * * * *"), (180, "17 */3 * * *"), (1440, "17 3 * * *")],
)
def test_pauses_of_the_documented_range_can_be_said(minutes: int, times: str) -> None:
    assert plan_times(minutes) == times


@pytest.mark.parametrize("minutes", [0, 2, 7, 90, 300, 1441])
def test_pauses_that_cron_cannot_say_are_refused(minutes: int) -> None:
    with pytest.raises(ScheduleError):
        plan_times(minutes)


def test_without_cron_the_other_way_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, told = schedule("install")
    assert code == 10
    assert "timer of systemd" in told


# --- the documented options


def old(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        update.run_gw_update(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("option", ["-h", "-v", "-i"])
def test_help_version_and_products(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert old(option) == 0
    assert {"-h": "usage", "-v": "gw-update", "-i": "gatepost  "}[option] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["-c", "/x"], ("update", {"quiet": False, "log_file": "", "conf_file": Path("/x")})),
        (["-run", "-q", "-l", "/l"], ("update", {"quiet": True, "log_file": "/l"})),
        (["-u", "/m"], ("mirror_feed", {0: Path("/m")})),
        (["-b", "/b"], ("save_bases", {0: Path("/b")})),
        (["-r"], ("rollback", {"yes": True})),
        (["-rollback"], ("rollback", {"yes": True})),
        (["-stop"], ("stop_update", {})),
        (["-end"], ("stop_update", {})),
        (["-install", "-user", "u"], ("schedule_install", {"user": "u"})),
        (["-uninstall"], ("schedule_uninstall", {"user": ""})),
    ],
)
def test_options_do_what_they_are_documented_to_do(
    arguments: list[str], called: tuple[str, dict[object, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, dict[object, object]]] = []
    for name in (
        "update",
        "mirror_feed",
        "save_bases",
        "rollback",
        "stop_update",
        "schedule_install",
        "schedule_uninstall",
    ):

        def note(*given: object, name: str = name, **named: object) -> int:
            calls.append((name, {**dict(enumerate(given)), **named}))
            return 7

        monkeypatch.setattr(update, name, note)
    assert old(*arguments) == 7
    ((name, given),) = calls
    assert name == called[0]
    assert called[1].items() <= given.items()


def test_the_entry_is_made_only_when_that_is_agreed_to(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, wanted in (("n\n", 0), ("", 0), ("y\n", 1)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert old("-prompt-install", "-user", "gatepost") == 0
        assert len(list(tables.iterdir())) == wanted


@pytest.mark.parametrize("arguments", [["-x"], ["-u"], ["-p", "other"]])
def test_wrong_options_are_a_matter_of_configuration(arguments: list[str]) -> None:
    assert old(*arguments) == 75
