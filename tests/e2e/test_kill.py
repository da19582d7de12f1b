"""SIGKILL under load, a short run of `make prove NAME=kill`: what got 250 arrives."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from prove_kill import VICTIMS, run_rounds

ROUNDS = 4
SEED = 148
"""With it everybody is killed in so few rounds: all, relay, master, a filter."""


@pytest.mark.feature("F-ARCH-02")
@pytest.mark.parametrize("relays", [1, 3])
def test_every_accepted_mail_survives_kills(relays: int) -> None:
    totals = run_rounds(ROUNDS, relays, SEED)
    assert totals["rounds"] == ROUNDS
    assert all(totals[f"killed_{victim}"] for victim in VICTIMS)
    assert totals["accepted"] > 50
