"""Power cuts: nothing promised is lost, and every single sync is needed for that."""

import pytest

from gatepost.testing.faulty_vfs import SYNCS
from gatepost.testing.power_trial import PowerTrial


@pytest.mark.parametrize("seed", range(5))
def test_nothing_promised_is_lost(seed):
    trial = PowerTrial(seed)
    trial.run(5)
    assert trial.problems == []
    assert trial.cuts == 5
    assert trial.promises > 0


@pytest.mark.parametrize("sync", SYNCS)
def test_a_missing_sync_is_noticed(sync):
    for seed in range(20):
        trial = PowerTrial(seed, [sync])
        trial.run(5)
        if trial.problems:
            return
    pytest.fail(f"100 cuts without the sync of {sync}, and nothing seemed lost")
