"""A short run of `make prove NAME=scale`: the steps work, nothing is lost, memory and judgement are right."""

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import prove_scale

needs_driver = pytest.mark.skipif(
    not (prove_scale.BENCH / "relay_bench.py").exists(), reason=f"no load driver at {prove_scale.BENCH}"
)


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    monkeypatch.setattr(prove_scale, "PLACE", tmp_path)
    few = "--queued 3000 --clients 300 --many 10 --recipients 100 --mails 60 --reps 1"
    return prove_scale.options(few.split())


@needs_driver
def test_long_queue(arguments: argparse.Namespace) -> None:
    result = prove_scale.prove_queue(arguments)
    assert result["memory_mb"] < prove_scale.MEMORY_LIMIT_MB
    assert result["commit"]["count"] > 0
    assert set(result["answers_s"]) == {"status", "page", "summary", "step of a search", "page of a domain"}


@needs_driver
def test_idle_clients(arguments: argparse.Namespace) -> None:
    result = prove_scale.prove_clients(arguments)
    # Ten thousand of them, and the relay itself, have to fit the limit.
    assert result["kb_each"] * 10_000 / 1024 + 100 < prove_scale.MEMORY_LIMIT_MB


def test_many_recipients(arguments: argparse.Namespace) -> None:
    result = prove_scale.prove_recipients(arguments)
    assert result["recipients"] == 1000
    assert result["memory_mb"] < prove_scale.MEMORY_LIMIT_MB


def good() -> dict[str, Any]:
    commit = {"p50_ms": 1.0, "p99_ms": 9.0, "longest_ms": 20.0}
    return {
        "queue": {
            "start_s": 2.0,
            "start_killed_s": 3.0,
            "memory_mb": 60.0,
            "share": 0.9,
            "commit": commit,
            "answers_s": {"page": 0.1},
        },
        "clients": {"memory_mb": 100.0, "share": 0.9},
        "growth": {"recipients": {"1": 1.0, "10": 4.0, "100": 50.0}},
    }


@pytest.mark.parametrize(
    ("step", "name", "value"),
    [
        ("queue", "start_s", 11.0),
        ("queue", "start_killed_s", 11.0),
        ("queue", "memory_mb", 301.0),
        ("queue", "share", 0.79),
        ("queue", "commit", {"p99_ms": 51.0}),
        ("queue", "answers_s", {"page": 1.1}),
        ("clients", "memory_mb", 301.0),
        ("clients", "share", 0.7),
        ("growth", "recipients", {"1": 1.0, "10": 16.0}),
    ],
)
def test_each_broken_promise_is_found(step: str, name: str, value: object) -> None:
    results = good()
    assert prove_scale.faults(results) == []
    results[step][name] = value
    assert len(prove_scale.faults(results)) == 1
