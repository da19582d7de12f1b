"""`make deb`: the Debian package, from a clean tree to `build/deb/gatepost_VERSION_ARCHITECTURE.deb`.

The locked environment (requirements/base.lock: hashes checked, wheels only) goes below /usr/lib/gatepost together with
the program; recipe and scripts of the package are in packaging/debian. The same tree, lock and Python make the same
bytes, wherever and whenever: files have the time of the newest commit (or SOURCE_DATE_EPOCH), owners are root, bytecode
is tied to no time and compiled in one order. `make prove NAME=package` compares two. Needs dpkg-deb, and the Python
version of the Debian release that the package is for: wheels are made for one version. `--tree` makes it of another
checkout, as it was then.
"""

import argparse
import email.utils
import gzip
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "deb"
PREFIX = Path("usr/lib/gatepost")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NEXT_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor + 1}"
SCRIPTS = ("config", "postinst", "prerm", "postrm")
CONTAINER_START = "run-in-container"
COMMANDS = ("gatepost", "mailgw", "gw-license", "gw-update")
RECIPE_FILES = {
    "sysusers.conf": "usr/lib/sysusers.d/gatepost.conf",
    "tmpfiles.conf": "usr/lib/tmpfiles.d/gatepost.conf",
    "logrotate": "etc/logrotate.d/gatepost",
    "apparmor": "etc/apparmor.d/gatepost",
    "lintian-overrides": "usr/share/lintian/overrides/gatepost",
}
"""Files of the recipe, and where they are installed. Those below /etc are the administrator's to change."""
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
COMPILERS = 4
"""Processes that compile, whatever the machine has: bytecode depends on what its process has compiled before."""
COMPRESSION = ("-Zxz", "-z1")
NOT_SHIPPED = ("bin", "share", "apsw/sqlite_extra_binaries")
"""What libraries bring besides modules: commands and manual pages of their own."""
MAINTAINER = "{} <{}>".format(
    os.environ.get("DEBFULLNAME", "Gatepost maintainers"), os.environ.get("DEBEMAIL", "gatepost@example.org")
)
"""Whoever builds packages for others says so in the variables that Debian's own tools read."""


@dataclass(frozen=True)
class Tree:
    """A checkout that a package is made of."""

    root: Path = ROOT

    @property
    def recipe(self) -> Path:
        return self.root / "packaging" / "debian"

    @property
    def units(self) -> Path:
        return self.root / "packaging" / "systemd"

    @property
    def container(self) -> Path:
        return self.root / "packaging" / "container"

    def project(self) -> dict[str, Any]:
        """Return the project's table of pyproject.toml."""
        table: dict[str, Any] = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]
        return table

    def lock(self) -> str:
        text = (self.root / "requirements" / "base.lock").read_text()
        names = needed(self.project())
        # Some have an entry for older and one for newer Pythons; pip takes the one that holds here.
        entries = [(str(canonicalize_name(each[1])), each[0]) for each in LOCK_ENTRY.finditer(text)]
        return "\n".join(entry for name, entry in sorted(entries) if name in names) + "\n"

    def epoch(self) -> int:
        """Return the time of all files, seconds."""
        given = os.environ.get("SOURCE_DATE_EPOCH")
        if given:
            return int(given)
        command = ["git", "-C", str(self.root), "log", "-1", "--format=%ct"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return int(done.stdout) if done.returncode == 0 else int((self.root / "CHANGELOG.md").stat().st_mtime)


HERE = Tree()


def build_package(version: str, out: Path = OUT, tree: Tree = HERE, *, borrowed: Path | None = None) -> Path:
    """Return the package that is made of the tree as it stands. SystemExit says what is missing.

    `borrowed`: a directory of libraries that the package points at instead of bringing its own; it has no manual pages
    and no completion either. Such a package is made in seconds, for trials of everything else, and of no use elsewhere.
    """
    if shutil.which("dpkg-deb") is None:
        raise SystemExit("dpkg-deb is not installed: a Debian package is made on Debian or Ubuntu")
    epoch = tree.epoch()
    stage = out / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    site = stage / PREFIX / "lib" / f"python{PYTHON}" / "site-packages"
    site.parent.mkdir(parents=True)
    if borrowed is None:
        shutil.copytree(_environment(out, tree), site, symlinks=True)
    else:
        site.mkdir()
        (site / "borrowed.pth").write_text(f"{borrowed}\n")
    _product(site, out, tree, epoch)
    glibc = _glibc(site)
    correct_records(site)
    compile_modules(site, stage)
    _programs(stage, tree)
    _files(stage, tree)
    _documents(stage, version, epoch, tree)
    if borrowed is None:
        _manual_pages(stage, tree)
    _control(stage, version, glibc, tree)
    package = out / f"gatepost_{version}_{_architecture()}.deb"
    pack(stage, package, epoch, () if borrowed is None else ("-Znone",))
    shutil.rmtree(stage)
    return package


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


def _environment(out: Path, tree: Tree) -> Path:
    """Return the directory of the locked libraries; it is made once for a lock and a Python."""
    lock = tree.lock()
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
    if missing := needed(tree.project()) - installed:
        raise SystemExit(f"requirements/base.lock lacks {', '.join(sorted(missing))}: make lock")
    for each in NOT_SHIPPED:
        shutil.rmtree(half / each, ignore_errors=True)
    half.rename(made)
    return made


def _product(site: Path, out: Path, tree: Tree, epoch: int) -> None:
    wheels = out / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    _pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", wheels, tree.root, SOURCE_DATE_EPOCH=str(epoch))
    (wheel,) = wheels.glob("gatepost-*.whl")
    _pip("install", "--no-deps", "--no-compile", "--no-index", "--upgrade", "--target", site, wheel)
    shutil.rmtree(site / "bin", ignore_errors=True)
    # Where it was installed from is of this machine.
    for each in site.glob("gatepost-*.dist-info/direct_url.json"):
        each.unlink()


def _pip(*arguments: str | Path, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True, env={**os.environ, **environment})


def _glibc(site: Path) -> str:
    """Return the oldest C library that all wheels run with, by what they say themselves."""
    least = LEAST_GLIBC
    for file in site.glob("*.dist-info/WHEEL"):
        tags = [(int(each[1]), int(each[2])) for each in GLIBC.finditer(file.read_text())]
        if tags:
            least = max(least, min(tags))
    return ".".join(map(str, least))


def correct_records(site: Path) -> None:
    """Have the lists of files name what is there: commands that were left out were made for this machine's Python."""
    for record in site.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines()
        kept = sorted(line for line in lines if (site / line.rsplit(",", 2)[0].strip('"')).exists())
        record.write_text("".join(f"{line}\n" for line in kept))


def compile_modules(site: Path, stage: Path) -> None:
    """Bytecode comes along: the gateway may not write there, and an installation is quick."""
    modules = sorted(str(each) for each in site.rglob("*.py"))
    # Without the site module: what other packages of this machine load at a start would count, too.
    command = [sys.executable, "-I", "-S", "-m", "compileall", "-qq", "-s", str(stage), "-p", "/"]
    command += ["--invalidation-mode", "unchecked-hash", "-i", "-"]
    shares = [modules[first::COMPILERS] for first in range(COMPILERS)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in shares]
    for process, share in zip(running, shares, strict=True):
        assert process.stdin is not None
        process.stdin.write("".join(f"{each}\n" for each in share))
        process.stdin.close()
    # Some libraries bring templates and modules for newer Pythons: what does not compile is not needed here.
    for process in running:
        process.wait()


def _programs(stage: Path, tree: Tree) -> None:
    venv, programs, links = stage / PREFIX, stage / PREFIX / "bin", stage / "usr/bin"
    programs.mkdir()
    links.mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(VENV)
    (programs / "python3").symlink_to(f"../../../bin/python{PYTHON}")
    scripts = tree.project()["scripts"]
    for name in COMMANDS:
        module, _, function = scripts[name].partition(":")
        program = programs / name
        program.write_text(PROGRAM.format(module=module, function=function))
        (links / name).symlink_to(f"../lib/gatepost/bin/{name}")
    shutil.copyfile(tree.container / CONTAINER_START, venv / CONTAINER_START)


def _files(stage: Path, tree: Tree) -> None:
    for source, target in (
        *((unit, f"lib/systemd/system/{unit.name}") for unit in sorted(tree.units.iterdir())),
        *((tree.recipe / name, target) for name, target in RECIPE_FILES.items()),
    ):
        if source.exists():  # older trees have fewer
            place = stage / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)


def _documents(stage: Path, version: str, epoch: int, tree: Tree) -> None:
    documents = stage / "usr/share/doc/gatepost"
    shutil.copytree(tree.root / "docs" / "manual", documents / "manual")
    shutil.copyfile(tree.recipe / "copyright", documents / "copyright")
    _zip(documents / "NEWS.gz", (tree.root / "CHANGELOG.md").read_bytes())
    date = email.utils.formatdate(epoch)
    entry = f"gatepost ({version}) stable; urgency=medium\n\n  * See NEWS.gz.\n\n -- {MAINTAINER}  {date}\n"
    _zip(documents / "changelog.gz", entry.encode())


def _manual_pages(stage: Path, tree: Tree) -> None:
    share = stage / "usr/share"
    subprocess.run(
        [sys.executable, tree.root / "tools" / "man_pages.py", share],
        check=True, stdout=2, env={**os.environ, "PYTHONPATH": str(tree.root / "src")},
    )  # fmt: skip
    for page in sorted((share / "man").rglob("*.[1-8]")):
        _zip(page.with_name(f"{page.name}.gz"), page.read_bytes())
        page.unlink()
    # Debian's zsh looks for completion of packages elsewhere.
    (share / "zsh/site-functions").rename(share / "zsh/vendor-completions")


def _zip(place: Path, raw: bytes) -> None:
    place.write_bytes(gzip.compress(raw, compresslevel=9, mtime=0))


def _control(stage: Path, version: str, glibc: str, tree: Tree) -> None:
    files = sorted(each for each in stage.rglob("*") if each.is_file() and not each.is_symlink())
    control = stage / "DEBIAN"
    control.mkdir()
    text = (tree.recipe / "control.in").read_text()
    size = sum(each.stat().st_size for each in files) // 1024
    (control / "control").write_text(
        text.format(
            version=version,
            maintainer=MAINTAINER,
            architecture=_architecture(),
            size=size,
            glibc=glibc,
            python=PYTHON,
            next_python=NEXT_PYTHON,
        )
    )
    kept = [f"/{each.relative_to(stage)}\n" for each in files if each.is_relative_to(stage / "etc")]
    (control / "conffiles").write_text("".join(kept))
    sums = (f"{hashlib.md5(each.read_bytes()).hexdigest()}  {each.relative_to(stage)}\n" for each in files)  # noqa: S324 - dpkg's format
    (control / "md5sums").write_text("".join(sums))
    shutil.copyfile(tree.recipe / "templates", control / "templates")
    for each in SCRIPTS:
        shutil.copyfile(tree.recipe / each, control / each)


def _architecture() -> str:
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def pack(stage: Path, package: Path, epoch: int, compression: Sequence[str] = ()) -> None:
    """Make a package of a staged tree: modes and times are set, and nothing of this machine is left."""
    programs = {
        *(stage / PREFIX / "bin").glob("*"),
        stage / PREFIX / CONTAINER_START,
        *(stage / "DEBIAN" / each for each in SCRIPTS),
    }
    for path in [*sorted(stage.rglob("*")), stage]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    command = ["dpkg-deb", "--root-owner-group", *(compression or COMPRESSION), "--build", str(stage), str(package)]
    subprocess.run(command, check=True, stdout=2, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)})


def main() -> int:
    """Make it; print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", help="version of the package; that of the program unless told")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--tree", type=Path, default=ROOT, help="checkout that it is made of")
    options = parser.parse_args()
    tree = Tree(options.tree.resolve())
    print(build_package(options.version or tree.project()["version"], options.out, tree))
    return 0


if __name__ == "__main__":
    sys.exit(main())
