"""A short run of `make prove NAME=tracking`: what it generates is found by every kind of search, and it can go on."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("prove_tracking", TOOLS / "prove_tracking.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "prove_tracking", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROUNDS", 3)
    monkeypatch.setattr(module, "DAYS", 3)
    return module


def test_every_search_finds_what_was_generated(proof: ModuleType, tmp_path: Path) -> None:
    mails = proof.Mails(3000)
    filled = proof.fill(mails, tmp_path)
    rows = {row["name"]: row["found"] for row in proof.ask(mails, tmp_path)}
    assert filled["mails"] == mails.mails
    assert rows["sender, unknown"] == rows["finding and status that never meet"] == 0
    empty = {name for name, found in rows.items() if not found}
    rare = {"recipient and status", "part of a subject (window)"}
    assert empty <= {"sender, unknown", "finding and status that never meet", *rare}
    assert proof.fill(mails, tmp_path)["mails"] == 0
