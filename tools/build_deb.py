"""`make deb`: the Debian package, from a clean tree to `build/deb/gatepost_VERSION_ARCHITECTURE.deb`.

The locked environment (requirements/base.lock: hashes checked, wheels only) goes below /usr/lib/gatepost together with
the program; recipe and scripts of the package are in packaging/debian. The same tree, lock and Python make the same
bytes: files have the time of the newest commit (or SOURCE_DATE_EPOCH), owners are root, bytecode is tied to no time.
Needs dpkg-deb, and the Python version of the Debian release that the package is for: wheels are made for one version.
"""

import argparse
import compileall
import gzip
import hashlib
import importlib.metadata
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "deb"
RECIPE = ROOT / "packaging" / "debian"
UNITS = ROOT / "packaging" / "systemd"
CONTAINER = ROOT / "packaging" / "container"
PREFIX = Path("usr/lib/gatepost")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NEXT_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor + 1}"
SCRIPTS = ("config", "postinst", "prerm", "postrm")
CONTAINER_START = "run-in-container"
COMMANDS = ("gatepost", "mailgw", "gw-license", "gw-update")
PROGRAM = """\
#!/usr/lib/gatepost/bin/python3 -I
import sys
from {module} import {function}
sys.exit({function}())
"""
VENV = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
LOCK_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==.*(?:\n[ \t]+.*)*", re.MULTILINE)
GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_")
LEAST_GLIBC = (2, 17)
"""manylinux2014."""
NOT_SHIPPED = ("bin", "share", "apsw/sqlite_extra_binaries")
"""What libraries bring besides modules: commands and manual pages of their own."""
MAINTAINER = "{} <{}>".format(
    os.environ.get("DEBFULLNAME", "Gatepost maintainers"), os.environ.get("DEBEMAIL", "gatepost@example.org")
)
"""Whoever builds packages for others says so in the variables that Debian's own tools read."""


def build_package(version: str, out: Path = OUT) -> Path:
    """Return the package that is made of the tree as it stands. SystemExit says what is missing."""
    if shutil.which("dpkg-deb") is None:
        raise SystemExit("dpkg-deb is not installed: a Debian package is made on Debian or Ubuntu")
    epoch = _epoch()
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    stage = out / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    site = stage / PREFIX / "lib" / f"python{PYTHON}" / "site-packages"
    site.parent.mkdir(parents=True)
    shutil.copytree(_environment(out), site, symlinks=True)
    _product(site, out)
    glibc = _glibc(site)
    _compile(site, stage)
    _programs(stage)
    _files(stage)
    _documents(stage, version, epoch)
    return _pack(stage, out, version, epoch, glibc)


def _epoch() -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    done = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else int((ROOT / "CHANGELOG.md").stat().st_mtime)


def needed(project: dict[str, Any]) -> frozenset[str]:
    """Return the distributions that a project needs here, at all removes: what only builds it is not among them.

    Its own needs are those of pyproject.toml: what is installed from this tree may have been installed before the last
    of them was added.
    """
    found: set[str] = set()
    waiting = [Requirement(text) for text in project["dependencies"]]
    while waiting:
        wanted = waiting.pop()
        key = f"{canonicalize_name(wanted.name)}[{','.join(sorted(wanted.extras))}]"
        if key in found or not _counts(wanted, ()):
            continue
        found.add(key)
        here = [Requirement(text) for text in importlib.metadata.requires(wanted.name) or ()]
        waiting += [each for each in here if _counts(each, wanted.extras)]
    return frozenset(key.partition("[")[0] for key in found)


def _counts(wanted: Requirement, extras: Iterable[str]) -> bool:
    return wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _project() -> dict[str, Any]:
    """Return the project's table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def _lock() -> str:
    text = (ROOT / "requirements" / "base.lock").read_text()
    names = needed(_project())
    # Some have an entry for older and one for newer Pythons; pip takes the one that holds here.
    entries = [(str(canonicalize_name(each[1])), each[0]) for each in LOCK_ENTRY.finditer(text)]
    return "\n".join(entry for name, entry in sorted(entries) if name in names) + "\n"


def _environment(out: Path) -> Path:
    """Return the directory of the locked libraries; it is made once for a lock and a Python."""
    lock = _lock()
    name = hashlib.sha256(f"{sys.version} {lock}".encode()).hexdigest()[:16]
    made = out / f"environment-{name}"
    if made.is_dir():
        return made
    for old in out.glob("environment-*"):
        shutil.rmtree(old)
    out.mkdir(parents=True, exist_ok=True)
    file, half = out / "base.lock", out / "environment.new"
    file.write_text(lock)
    shutil.rmtree(half, ignore_errors=True)
    _pip(
        "install", "--require-hashes", "--only-binary=:all:", "--no-deps", "--no-compile", "--target", half, "-r", file
    )
    installed = {canonicalize_name(each.name) for each in importlib.metadata.distributions(path=[str(half)])}
    if missing := needed(_project()) - installed:
        raise SystemExit(f"requirements/base.lock lacks {', '.join(sorted(missing))}: make lock")
    for each in NOT_SHIPPED:
        shutil.rmtree(half / each, ignore_errors=True)
    half.rename(made)
    return made


def _product(site: Path, out: Path) -> None:
    wheels = out / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    _pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", wheels, ROOT)
    (wheel,) = wheels.glob("gatepost-*.whl")
    _pip("install", "--no-deps", "--no-compile", "--no-index", "--upgrade", "--target", site, wheel)
    shutil.rmtree(site / "bin", ignore_errors=True)
    # Where it was installed from is of this machine.
    for each in site.glob("gatepost-*.dist-info/direct_url.json"):
        each.unlink()


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True)


def _glibc(site: Path) -> str:
    """Return the oldest C library that all wheels run with, by what they say themselves."""
    least = LEAST_GLIBC
    for file in site.glob("*.dist-info/WHEEL"):
        tags = [(int(each[1]), int(each[2])) for each in GLIBC.finditer(file.read_text())]
        if tags:
            least = max(least, min(tags))
    return ".".join(map(str, least))


def _compile(site: Path, stage: Path) -> None:
    """Bytecode comes along: the gateway may not write there, and an installation is quick."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(site, quiet=2, workers=0, stripdir=str(stage), prependdir="/", invalidation_mode=mode)


def _programs(stage: Path) -> None:
    venv, programs, links = stage / PREFIX, stage / PREFIX / "bin", stage / "usr/bin"
    programs.mkdir()
    links.mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(VENV)
    (programs / "python3").symlink_to(f"../../../bin/python{PYTHON}")
    scripts = _project()["scripts"]
    for name in COMMANDS:
        module, _, function = scripts[name].partition(":")
        program = programs / name
        program.write_text(PROGRAM.format(module=module, function=function))
        (links / name).symlink_to(f"../lib/gatepost/bin/{name}")
    shutil.copyfile(CONTAINER / CONTAINER_START, venv / CONTAINER_START)


def _files(stage: Path) -> None:
    for source, target in (
        *((unit, f"lib/systemd/system/{unit.name}") for unit in sorted(UNITS.iterdir())),
        (RECIPE / "sysusers.conf", "usr/lib/sysusers.d/gatepost.conf"),
        (RECIPE / "tmpfiles.conf", "usr/lib/tmpfiles.d/gatepost.conf"),
        (RECIPE / "logrotate", "etc/logrotate.d/gatepost"),
        (RECIPE / "lintian-overrides", "usr/share/lintian/overrides/gatepost"),
    ):
        place = stage / target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def _documents(stage: Path, version: str, epoch: int) -> None:
    documents = stage / "usr/share/doc/gatepost"
    shutil.copytree(ROOT / "docs" / "manual", documents / "manual")
    shutil.copyfile(RECIPE / "copyright", documents / "copyright")
    _zip(documents / "NEWS.gz", (ROOT / "CHANGELOG.md").read_bytes())
    date = subprocess.run(
        ["date", "--utc", "--rfc-email", f"--date=@{epoch}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    entry = f"gatepost ({version}) stable; urgency=medium\n\n  * See NEWS.gz.\n\n -- {MAINTAINER}  {date}\n"
    _zip(documents / "changelog.gz", entry.encode())
    share = stage / "usr/share"
    subprocess.run([sys.executable, ROOT / "tools" / "man_pages.py", share], check=True, stdout=2)
    for page in sorted((share / "man").rglob("*.[1-8]")):
        _zip(page.with_name(f"{page.name}.gz"), page.read_bytes())
        page.unlink()
    # Debian's zsh looks for completion of packages elsewhere.
    (share / "zsh/site-functions").rename(share / "zsh/vendor-completions")


def _zip(place: Path, raw: bytes) -> None:
    place.write_bytes(gzip.compress(raw, compresslevel=9, mtime=0))


def _pack(stage: Path, out: Path, version: str, epoch: int, glibc: str) -> Path:
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    files = sorted(each for each in stage.rglob("*") if each.is_file() and not each.is_symlink())
    control = stage / "DEBIAN"
    control.mkdir()
    text = (RECIPE / "control.in").read_text()
    size = sum(each.stat().st_size for each in files) // 1024
    (control / "control").write_text(
        text.format(
            version=version,
            maintainer=MAINTAINER,
            architecture=architecture,
            size=size,
            glibc=glibc,
            python=PYTHON,
            next_python=NEXT_PYTHON,
        )
    )
    (control / "conffiles").write_text("/etc/logrotate.d/gatepost\n")
    sums = (f"{hashlib.md5(each.read_bytes()).hexdigest()}  {each.relative_to(stage)}\n" for each in files)  # noqa: S324 - dpkg's format
    (control / "md5sums").write_text("".join(sums))
    shutil.copyfile(RECIPE / "templates", control / "templates")
    for each in SCRIPTS:
        shutil.copyfile(RECIPE / each, control / each)
    programs = {
        *(stage / PREFIX / "bin").iterdir(),
        stage / PREFIX / CONTAINER_START,
        *(control / each for each in SCRIPTS),
    }
    for path in [*sorted(stage.rglob("*")), stage]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    package = out / f"gatepost_{version}_{architecture}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", stage, package], check=True, stdout=2)
    shutil.rmtree(stage)
    return package


def main() -> int:
    """Make it; print where it is."""
    version = _project()["version"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default=version, help="version of the package; that of the program unless told")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    print(build_package(options.version, options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
