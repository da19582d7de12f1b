"""What is remembered of links that were used, whatever the clock does."""

from pathlib import Path

import pytest

from gatepost.master.digest_state import DigestState
from gatepost.spool import clock

NOW = 1_800_000_000.0
DAY = 86400.0


@pytest.mark.parametrize("believed", [True, False])
def test_used_links_are_forgotten_at_their_end_by_a_clock_that_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, believed: bool
) -> None:
    """One that has leapt may be put back, and the link would be good once more."""
    state = DigestState(tmp_path / "digests")
    try:
        state.note_used(b"one", NOW + DAY, NOW)
        monkeypatch.setattr(clock, "is_believed", lambda: believed)
        state.note_used(b"two", NOW + 400 * DAY, NOW + 365 * DAY)
        assert state.is_used(b"one") is not believed
        assert state.is_used(b"two")
    finally:
        state.close()
