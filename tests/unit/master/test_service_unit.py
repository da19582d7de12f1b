"""The systemd unit: systemd itself finds nothing wrong with it, and it says what the program promises."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[3] / "packaging" / "systemd" / "gatepost.service"


def read_unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser


def test_systemd_verifies_it(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: the unit is not verified")
    copy = tmp_path / "gatepost.service"
    # Programs and users of an installation are not here.
    text = UNIT.read_text().replace("/usr/bin/gatepost ", "/bin/true ")
    copy.write_text(text.replace("User=gatepost", "User=root").replace("Group=gatepost", "Group=root"))
    found = subprocess.run(
        [program, "verify", "--man=no", copy], check=False, capture_output=True, text=True, timeout=60
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_a_wrong_unit_would_be_found(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    wrong = tmp_path / "gatepost.service"
    wrong.write_text("[Service]\nType=notify\nExecStart=/no/such/program\nWatchDog=1\n")
    found = subprocess.run(
        [program, "verify", "--man=no", wrong], check=False, capture_output=True, text=True, timeout=60
    )
    assert found.returncode != 0


def test_it_says_what_the_program_does() -> None:
    service = read_unit()["Service"]
    assert service["Type"] == "notify"
    assert service["User"] == "gatepost"
    assert service["WatchdogSec"]
    assert service["ExecStart"].startswith("/usr/bin/gatepost run ")
    assert service["ExecReload"].startswith("/usr/bin/gatepost reload ")
    assert set(service["RestartPreventExitStatus"].split()) == {"1", "64", "65", "66", "70"}
