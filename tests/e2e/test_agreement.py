"""All views of the records agree to the unit, also after kills: a short run of `make prove NAME=agreement`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import prove_agreement


def test_views_agree_after_kills_of_recorder_and_relay(tmp_path: Path) -> None:
    told: list[str] = []
    assert prove_agreement.prove(120, tmp_path, console=False, say=told.append) == []
    assert [line.rpartition(" ")[2] for line in told[:3]] == ["True", "False", "True"], told
