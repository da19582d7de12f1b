import json
import os
import subprocess
import sys
from pathlib import Path

import landlock
import pytest

from gatepost.control import walling

PROBE = Path(__file__).with_name("sandbox_probe.py")
WORKING = ("thread", "clock", "some memory")
LIMITS = ("grow a file", "much memory", "many descriptors", "raise a limit")
FILES = ("read a file", "write a file", "create a file", "list a folder", "make a folder", "remove")

has_landlock = pytest.mark.skipif(landlock.landlock_abi_version() < 1, reason="this kernel has no Landlock")
has_seccomp = pytest.mark.skipif(walling.pyseccomp is None, reason="libseccomp is not installed")


def probe(folder: Path, leave_out: str = "all") -> dict[str, object]:
    folder.chmod(0o777)
    (folder / "existing").write_text("x")
    (folder / "existing").chmod(0o666)
    done = subprocess.run(
        [sys.executable, str(PROBE), leave_out, str(folder)], capture_output=True, check=True, timeout=60
    )
    result: dict[str, object] = json.loads(done.stdout)
    assert "failed" not in result
    assert (folder / "existing").read_text() == "x"
    return result


@has_landlock
@has_seccomp
def test_behind_all_walls_only_computing_is_left(tmp_path: Path) -> None:
    result = probe(tmp_path)
    assert result.pop("missing") == []
    assert result.pop("uid") == (65534 if os.geteuid() == 0 else os.geteuid())
    assert result.pop("inherited descriptor") == "EBADF"
    assert {name: result.pop(name) for name in WORKING} == dict.fromkeys(WORKING, "works")
    assert {name: result.pop(name) for name in LIMITS} == {
        "grow a file": "EFBIG",
        "much memory": "ENOMEM",
        "many descriptors": "EMFILE",
        "raise a limit": "ValueError",
    }
    assert result.pop("clone3") == "ENOSYS"
    assert set(result.values()) == {"EPERM"}
    assert len(result) > 20
    assert [entry.name for entry in tmp_path.iterdir()] == ["existing"]


@has_landlock
def test_without_seccomp_files_stay_out_of_reach_and_it_is_said(tmp_path: Path) -> None:
    result = probe(tmp_path, "seccomp")
    (missing,) = result["missing"]  # type: ignore[misc]
    assert missing.startswith("seccomp: ")
    assert {result[name] for name in FILES} == {"EACCES"}


@has_seccomp
def test_without_landlock_files_stay_out_of_reach_and_it_is_said(tmp_path: Path) -> None:
    result = probe(tmp_path, "landlock")
    (missing,) = result["missing"]  # type: ignore[misc]
    assert missing.startswith("landlock: ")
    assert {result[name] for name in FILES} == {"EPERM"}


def test_a_child_whose_template_has_gone_does_not_start(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from gatepost.filter import sandbox\n"
        "prepared = sandbox.Sandbox(sandbox.Walls(512 << 20, 65534, 65534))\n"
        "try:\n"
        "    sandbox.enter(prepared, frozenset({0, 1, 2}), os.getpid())\n"
        "except ProcessLookupError:\n"
        "    os._exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 7
