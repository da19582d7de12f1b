"""`make prove NAME=package`: the Debian package on a fresh host: dpkg -i, filtered mail, upgrade, removal, purge.

Builds the package of the newest commit twice, at two places that differ in all that should not matter, and compares
them; builds one of an older commit, whose stored state has another format; makes a debootstrap folder from the source
that apt is configured with (all is kept below build/package); checks with lintian, and runs the host's tests of
tests/peers/test_package_host.py. Needs root, debootstrap and lintian. The result goes into docs/reliability.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import build_deb
from result_pages import made_at, write_section

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "package"
INCLUDED = "python3,systemd,systemd-sysv,init-system-helpers,debconf,logrotate,ca-certificates,iproute2,procps"
"""What the package depends on or recommends; iproute2 and procps are for the tests."""
NOTES = PLACE / "made"
"""What is told of the packages that are there."""
TESTS = "tests/peers/test_package_host.py"
OLDER = "72ca7da"
"""The last commit whose stored state has format 1; its package is a version below that of the program."""


class Build(NamedTuple):
    """How one package is made."""

    place: str
    commit: str = ""
    """"" is the newest."""
    suffix: str = ""
    """What is added to the version."""
    environment: Mapping[str, str] = {}
    umask: int = 0o022


BUILDS = (
    Build("one", environment={"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"}),
    Build("another/place", environment={"TZ": "Asia/Tokyo", "LC_ALL": "POSIX", "PYTHONHASHSEED": "77"}, umask=0o077),
    Build("older", OLDER, "~older"),
)
UNITS = ("gatepost.service", "gatepost-update.service")


def make_root() -> Path:
    """Return the archive of a fresh Debian; it is made once."""
    archive = PLACE / "root.tar"
    if archive.exists():
        return archive
    uri, release = apt_source()
    with tempfile.TemporaryDirectory(prefix="package-root-") as place:
        command = ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", release, place, uri]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        Path(place).chmod(0o755)  # it becomes the host's /, and a temporary directory is its owner's alone
        subprocess.run(["tar", "-C", place, "--one-file-system", "-cf", PLACE / "root.new", "."], check=True)
    (PLACE / "root.new").rename(archive)
    return archive


def apt_source() -> tuple[str, str]:
    """Return where apt gets this release of Debian from, and its name."""
    release = re.search(r"^VERSION_CODENAME=(\S+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert release, "Debian names its releases"
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Identifier: Packages"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for line in listed:
        uri, _, suite = line.partition(" ")
        if suite == release[1]:
            return uri, suite
    raise SystemExit(f"apt has no source for {release[1]}: apt-get update")


def lint(package: Path) -> tuple[int, int]:
    """Return how many errors and warnings lintian finds; print them."""
    done = subprocess.run(
        ["lintian", "--no-tag-display-limit", "--profile", "debian", package],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))]
    print("\n".join(found))
    return sum(line.startswith("E:") for line in found), sum(line.startswith("W:") for line in found)


def exposure(unit: str) -> str:
    """Return systemd's word on the walls around a service, 0 (none to climb) to 10."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", ROOT / "packaging" / "systemd" / unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for \S+: (\S+ \S+)", done.stdout)
    return found[1] if found else "not told"


def build_all() -> None:
    """Make the package, the same elsewhere, and the older one, at the same time."""
    newest = _git("rev-parse", "HEAD").decode().strip()  # others may commit meanwhile
    began = time.monotonic()
    running = [_begin_build(build, build.commit or newest) for build in BUILDS]
    failed = [place for place, process in running if process.wait()]
    if failed:
        raise SystemExit(f"no package was made in {', '.join(map(str, failed))}: see the file `log` there")
    NOTES.write_text(f"made in {time.monotonic() - began:.0f} s, of commit {newest[:7]}")


def _begin_build(build: Build, commit: str) -> tuple[Path, "subprocess.Popen[bytes]"]:
    place = PLACE / build.place
    tree = place / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", tree], input=_git("archive", commit), check=True)
    moment = _git("log", "-1", "--format=%ct", commit).decode().strip()
    for old in (place / "out").glob("*.deb"):
        old.unlink()
    version = build_deb.Tree(tree).project()["version"] + build.suffix
    # What is older is made by the newest builder, all else of it as it was then.
    builder = PLACE / BUILDS[0].place / "tree" / "tools" / "build_deb.py"
    command = [sys.executable, builder, "--tree", tree, "--out", place / "out", "--version", version]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, umask=build.umask,
            env={**os.environ, **build.environment, "SOURCE_DATE_EPOCH": moment},
        )  # fmt: skip
    return place, process


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="neither lintian nor a page of results")
    parser.add_argument("--built", action="store_true", help="with the packages that an earlier run has made")
    options = parser.parse_args()
    for program in ("debootstrap", "lintian", "dpkg-deb", "nsenter"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed: nothing is proved")
    if os.geteuid() != 0:
        raise SystemExit("only root can boot a host in a folder: nothing is proved")
    PLACE.mkdir(parents=True, exist_ok=True)
    if not options.built:
        build_all()
    package, same, older = (next((PLACE / build.place / "out").glob("*.deb")) for build in BUILDS)
    identical = package.read_bytes() == same.read_bytes()
    print(f"{package} and {same} are {'the same' if identical else 'DIFFERENT'}")
    for old in PLACE.glob("*.deb"):
        old.unlink()
    for made in (package, older):
        shutil.copyfile(made, PLACE / made.name)
    make_root()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-s", "-v", "-p", "no:cacheprovider", "--timeout=900", TESTS],
        cwd=ROOT, env={**os.environ, "GATEPOST_PACKAGES": str(PLACE)}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout[-8000:], done.stderr[-2000:])
    if done.returncode or not identical:
        return 1
    if options.quick:
        return 0
    errors, warnings = lint(package)
    passed = re.search(r"(\d+) passed", done.stdout)
    if passed is None or re.search(r"\d+ skipped", done.stdout):
        print("tests were skipped: nothing is proved")
        return 1
    told = re.findall(r"^measured: (.+)$", done.stdout, re.MULTILINE)
    lines = [
        f"{passed[1]} tests on a fresh Debian host with systemd: set up by debconf's presets, its dialogue, and from",
        "an answer file without and with a licence key; mail filtered, databases updated by the service, the gateway",
        "killed, upgraded from an older commit with mail waiting, removed, installed again, purged; all files of the",
        "host compared before and after; the steps of the container file run in a folder.",
        "",
        f"- three packages at once {NOTES.read_text()}; {package.stat().st_size / 1e6:.0f} MB; two of them, of one",
        "  commit at different places with other locale, time zone and modes: the same bytes",
        *(f"- {each}" for each in told),
        f"- lintian: {errors} errors, {warnings} warnings; overrides, each with its reason: `packaging/debian`",
        f"- systemd-analyze security: {', '.join(f'{unit} {exposure(unit)}' for unit in UNITS)}",
        f"- older version: commit {OLDER}, stored state of format 1",
    ]
    write_section("the Debian package", "\n".join([*lines, "", made_at()]))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
