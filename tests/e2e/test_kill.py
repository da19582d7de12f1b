"""SIGKILL under load, a short run of `make prove NAME=kill`: what got 250 arrives."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from prove_kill import run_rounds


@pytest.mark.timeout(300)
@pytest.mark.feature("F-ARCH-02")
@pytest.mark.parametrize(("relays", "seed"), [(1, 11), (3, 12)])
def test_every_accepted_mail_survives_kills(relays: int, seed: int) -> None:
    totals = run_rounds(10, relays, seed)
    assert totals["rounds"] == 10
    assert totals["accepted"] > 50
