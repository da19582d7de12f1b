"""`make prove NAME=package`: the Debian package on a fresh host: dpkg -i, filtered mail, upgrade, removal, purge.

Builds two versions of the package, makes a debootstrap folder from the source that apt is configured with (both are
kept below build/package), checks with lintian, and runs the host's tests of tests/peers/test_package.py. Needs root,
debootstrap and lintian. The result goes into docs/reliability.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import build_deb
from result_pages import made_at, write_section

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "package"
INCLUDED = "python3,systemd,systemd-sysv,init-system-helpers,debconf,logrotate,ca-certificates,iproute2,procps"
"""What the package depends on or recommends; iproute2 and procps are for the tests."""
TESTS = "tests/peers/test_package.py"
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


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="neither lintian nor a page of results")
    options = parser.parse_args()
    for program in ("debootstrap", "lintian", "dpkg-deb", "nsenter"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed: nothing is proved")
    if os.geteuid() != 0:
        raise SystemExit("only root can boot a host in a folder: nothing is proved")
    PLACE.mkdir(parents=True, exist_ok=True)
    for old in PLACE.glob("*.deb"):
        old.unlink()
    began = time.monotonic()
    packages = []
    for version in ("0.1.0", "0.1.0+second"):
        made = build_deb.build_package(version)
        packages.append(made.rename(PLACE / made.name))
    built_s = time.monotonic() - began
    make_root()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-s", "-p", "no:cacheprovider", "--timeout=900", TESTS],
        cwd=ROOT, env={**os.environ, "GATEPOST_PACKAGES": str(PLACE)}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout[-8000:], done.stderr[-2000:])
    if done.returncode:
        return 1
    if options.quick:
        return 0
    errors, warnings = lint(packages[0])
    told = re.search(r"from dpkg -i: (.+)", done.stdout)
    passed = re.search(r"(\d+) passed", done.stdout)
    count = passed[1] if passed else "?"
    lines = [
        f"{count} tests on a fresh Debian host with systemd: installed from an answer file without and with a licence",
        "key, filtered, updated by its service, killed, upgraded with mail in the queue, removed, installed again,",
        "purged; all files of the host compared before and after.",
        "",
        f"- two packages built in {built_s:.0f} s, {packages[0].stat().st_size / 1e6:.0f} MB each",
        f"- from dpkg -i: {told[1] if told else '?'}",
        f"- lintian: {errors} errors, {warnings} warnings; overrides, each with its reason: `packaging/debian`",
        f"- systemd-analyze security: {', '.join(f'{unit} {exposure(unit)}' for unit in UNITS)}",
    ]
    write_section("the Debian package", "\n".join([*lines, "", made_at()]))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
