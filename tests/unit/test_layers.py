"""Imports go downwards only: the table of docs/architecture.md, enforced."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "gatepost"

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"model"}),
    frozenset({"smtp", "wire", "mime", "config"}),
    frozenset({"antivirus", "antispam", "authn", "policy", "notices"}),
    frozenset({"spool", "storage", "feeds", "licence", "resolver"}),
    frozenset(
        {"filter", "relay", "recorder", "service", "client", "control", "console", "doctor", "master", "migration"}
    ),
    frozenset({"cli"}),
)
LAYER_OF = {package: level for level, packages in enumerate(LAYERS) for package in packages}

SANS_IO = ("smtp", "wire", "mime", "policy", "model")
"""Packages whose modules may import no socket, event loop, clock or logger."""
IO_MODULES = frozenset({"socket", "asyncio", "time", "logging", "selectors", "subprocess", "threading", "uvloop"})


def imports_of(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def package_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def test_every_package_has_a_layer() -> None:
    known = set(LAYER_OF) | {"testing"}
    packages = {p.name for p in PACKAGE.iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert packages <= known, f"not in the layer table: {sorted(packages - known)}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    package = package_of(path)
    wrong = []
    for line, name in imports_of(path):
        parts = name.split(".")
        if package in SANS_IO and parts[0] in IO_MODULES:
            wrong.append(f"{path}:{line}: {package} is sans-I/O and may not import {parts[0]}")
        if parts[0] != "gatepost" or len(parts) < 2 or package in {"", "testing"}:
            continue
        target = parts[1]
        if target == "testing":
            wrong.append(f"{path}:{line}: product code may not import gatepost.testing")
        elif target in LAYER_OF and LAYER_OF[target] > LAYER_OF[package]:
            wrong.append(f"{path}:{line}: {package} (layer {LAYER_OF[package] + 1}) imports {name}")
    assert not wrong, "\n".join(wrong)


def test_the_check_can_fail(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import socket\nfrom gatepost.relay import reception\n")
    assert [name for _, name in imports_of(bad)] == ["socket", "gatepost.relay.reception"]
    assert LAYER_OF["relay"] > LAYER_OF["smtp"]


def test_what_newer_pythons_have_under_another_name_is_imported_in_one_place() -> None:
    # Elsewhere the import works here and fails with a Python that the tests do not run with.
    home = PACKAGE / "model" / "zstandard.py"
    names = {
        path for path in modules() for _, name in imports_of(path) if name.startswith(("backports", "compression"))
    }
    assert names == {home}
