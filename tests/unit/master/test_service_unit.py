"""The systemd unit: systemd itself finds nothing wrong with it, and it says what the program promises."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "packaging" / "systemd" / "gatepost.service"


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


def test_the_doors_of_the_manual_can_be_opened() -> None:
    """The service writes in directories of its own alone, and /run is empty when the host starts."""
    pages = "".join(page.read_text() for page in (ROOT / "docs/manual").glob("*.md"))
    places = set(re.findall(r'address = "unix:(/run/[^/"]+)/', pages))
    assert places == {"/run/gatepost"}
    service = read_unit()["Service"]
    assert (service["RuntimeDirectory"], service["RuntimeDirectoryPreserve"]) == ("gatepost", "yes")
    assert "\nd /run/gatepost 0755 gatepost gatepost -\n" in (ROOT / "packaging/debian/tmpfiles.conf").read_text()
