"""The recipe of the Debian package. What becomes of it is tried in `test_package_installed` and `test_package_host`."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from tests.peers.conftest import program
from tests.support.gateway import run_here

from gatepost.cli import setup
from gatepost.cli.setup_answers import Answers
from gatepost.cli.setup_host import Host

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "packaging" / "debian"


def answered() -> dict[str, str]:
    """Return {name in the answer file: debconf question} of the postinst."""
    return dict(re.findall(r"^\s+answer(?:_flag)? (\S+) (\S+)$", (RECIPE / "postinst").read_text(), re.MULTILINE))


def asked(file: str) -> set[str]:
    return set(re.findall(r"gatepost/([a-z-]+)", re.sub(r"/[a-z]+/gatepost/\S+", "", (RECIPE / file).read_text())))


def test_every_question_has_its_text_and_answers_what_setup_asks() -> None:
    texts = set(re.findall(r"^Template: gatepost/(\S+)$", (RECIPE / "templates").read_text(), re.MULTILINE))
    assert asked("config") == texts - {"purge-data"}
    assert set(answered().values()) <= texts
    assert answered().keys() <= set(Answers.__struct_fields__)
    assert asked("config") == set(answered().values()), "what is asked is passed on"


@pytest.mark.parametrize("script", ["config", "postinst", "prerm", "postrm"])
def test_scripts_are_sound(script: str) -> None:
    for shell in ("dash", "bash"):
        if program := shutil.which(shell):
            subprocess.run([program, "-n", RECIPE / script], check=True, timeout=20)
    assert "set -e\n" in (RECIPE / script).read_text()


def test_what_debconf_was_told_becomes_answers_that_setup_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "domains": "example.org, *.example.com", "hostname": "mx.example.org", "listen": "127.0.0.1:2525", "networks": "10.0.0.0/8",
        "forward": "[127.0.0.1:1025]", "uds": "false", "account": "admin", "password": 'a "quoted\\" one\x07',
    }  # fmt: skip
    text = (RECIPE / "postinst").read_text()
    functions = text[text.index("quote() {") : text.index("may_start() {")]
    answers = tmp_path / "answers.toml"
    debconf = 'db_get() { RET="$(cat "$told/${1#gatepost/}" 2>/dev/null || true)"; }\n'
    debconf += 'db_set() { printf %s "$2" >"$told/${1#gatepost/}"; }\n'
    (tmp_path / "told").mkdir()
    for name, value in told.items():
        (tmp_path / "told" / name).write_text(value)
    script = f"set -e\ntold={tmp_path}/told\nanswers={answers}\n{debconf}{functions}\nwrite_answers\n"
    subprocess.run(["sh", "-c", script], check=True, timeout=20)
    read = tomllib.loads(answers.read_text())
    assert read["console_password"] == 'a "quoted\\" one', "control characters are not for files"
    assert read["postmaster"] == "postmaster@example.org"
    assert read["uds_consent"] is False
    monkeypatch.setattr(setup, "look_at_host", Host)
    done = run_here("setup", "--answers", str(answers), "--dry-run", "-c", str(tmp_path / "gatepost.toml"))
    assert done.returncode == 0, done.stderr
    for part in ('"example.org"', '"*.example.com"', "[127.0.0.1:1025]", "10.0.0.0/8"):
        assert part in done.stdout


def test_all_that_the_program_needs_is_packed_and_what_builds_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    build_deb = importlib.import_module("build_deb")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packed = build_deb.needed(project)
    wanted = {re.match(r"[A-Za-z0-9.-]+", each)[0].replace(".", "-") for each in project["dependencies"]}  # type: ignore[index]
    assert wanted - packed <= {"backports-zstd"}, "newer Pythons have it"
    assert {"cffi", "attrs"} <= packed, "needs of needs"
    assert not packed & {"hatchling", "editables", "pytest", "ruff"}


def test_the_same_files_make_the_same_package_whenever_and_wherever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    build_deb = importlib.import_module("build_deb")
    made = [
        make_small(build_deb, tmp_path / each, list(order))
        for each, order in (("one", SMALL), ("on/other", reversed(SMALL)))
    ]
    assert made[0].read_bytes() == made[1].read_bytes()
    listed = subprocess.run(
        ["dpkg-deb", "-c", made[0]],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TZ": "UTC"},
    ).stdout
    assert "__pycache__/a.cpython" in listed
    assert {line.split()[1] for line in listed.splitlines()} == {"root/root"}
    assert {line.split()[3] for line in listed.splitlines()} == {"2023-11-14"}, "the time of the tree, and no other"
    assert str(tmp_path).encode() not in b"".join(each.read_bytes() for each in tmp_path.rglob("*.pyc"))
    record = next((tmp_path / "one").rglob("RECORD")).read_text()
    assert "bin/command" not in record, "made for this machine's Python, and not packed"
    assert "a.py" in record


SMALL = ("a.py", "b.py", "c/__init__.py", "c/d.py", "e.py")


def make_small(build_deb: ModuleType, place: Path, names: list[str]) -> Path:
    """Return a package of a few modules, which are written in that order, with modes that depend on the order, too."""
    site = place / "stage" / "usr/lib/gatepost/lib"
    for number, name in enumerate(names):
        file = site / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            f"NAMES = {{'x', 'y', '{name}'}}\n\ndef look(at):\n    return at in {{'one', 'two', '{name}'}}\n"
        )
        file.chmod(0o600 + number)
    record = site / "a.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("".join(f"{name},sha256={name},1\n" for name in names) + f"../../bin/command,sha256={place},9\n")
    build_deb.correct_records(site)
    build_deb.compile_modules(site, place / "stage")
    control = place / "stage" / "DEBIAN"
    control.mkdir()
    control.joinpath("control").write_text(
        "Package: small\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: small\n"
    )
    package: Path = place / "small.deb"
    build_deb.pack(place / "stage", package, 1_700_000_000)
    return package


def test_units_of_the_updater_are_what_systemd_takes(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: the units are not verified")
    for unit in (ROOT / "packaging" / "systemd").glob("gatepost-update.*"):
        text = unit.read_text().replace("/usr/bin/gatepost ", "/bin/true ")
        (tmp_path / unit.name).write_text(text.replace("=gatepost\n", "=root\n"))
    found = subprocess.run(
        [program, "verify", "--man=no", tmp_path / "gatepost-update.service", tmp_path / "gatepost-update.timer"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")


def test_the_profile_is_what_apparmor_takes() -> None:
    profile = RECIPE / "apparmor"
    done = subprocess.run(
        [program("apparmor_parser"), "--skip-kernel-load", "--skip-cache", "--warn=all", profile],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for unit in (ROOT / "packaging" / "systemd").glob("*.service"):
        assert "AppArmorProfile=-gatepost\n" in unit.read_text()
    assert "profile gatepost " in profile.read_text()


def test_the_profile_lets_python_ask_where_libseccomp_is() -> None:
    looked_for = "import ctypes.util; assert ctypes.util.find_library('seccomp')"
    done = subprocess.run(
        [program("strace"), "-f", "-qq", "-e", "trace=execve", sys.executable, "-I", "-c", looked_for],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    run = {Path(line.split('"')[1]).name for line in done.stderr.splitlines() if line.endswith("= 0")}
    assert "ldconfig" in run
    assert "/{usr/,}sbin/ldconfig mrix,\n" in (RECIPE / "apparmor").read_text()
