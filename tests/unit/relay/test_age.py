"""How long a message has waited, under clocks that were right, ahead and behind."""

import pytest
from tests.support.clock import DAY

from gatepost.model.envelope import Client, Envelope
from gatepost.model.ids import EPOCH_MS, QueueIds
from gatepost.relay import age
from gatepost.relay.age import is_delayed, is_outlived, waits_since
from gatepost.relay.retry import RetryRules
from gatepost.spool import clock
from gatepost.spool.interface import ContentRef, State, Stored

NOW = EPOCH_MS / 1000 + 1000 * DAY
YEAR = 365 * DAY


def stored(received_at: float, came_at: float) -> Stored:
    """A message dated `received_at`, whose id was given out at `came_at`."""
    number = QueueIds(0, 0).next(int(came_at * 1000))
    return Stored(
        number,
        1,
        State.READY,
        received_at,
        Envelope("a@example.org", (), Client("192.0.2.9")),
        ContentRef(1, 1, False),
        b"",
    )


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(clock, "_record", "")


@pytest.mark.parametrize(("waited", "is_over"), [(3599.99, False), (3600, True), (YEAR, True)])
def test_life_ends_at_its_limit(waited: float, is_over: bool) -> None:
    assert is_outlived(stored(NOW - waited, NOW - waited), 3600) is is_over


def test_mail_of_a_clock_that_was_a_year_behind_is_as_old_as_its_id() -> None:
    """Ids go on rising while the clock is behind: they are of the moment before it was put back."""
    mail = stored(NOW - YEAR, NOW - 60)
    assert waits_since(mail, NOW) == pytest.approx(NOW - 60)
    assert not is_outlived(mail, 3600)


def test_mail_of_a_clock_that_was_ahead_is_as_old_as_it_is_dated() -> None:
    """Ids given out after that clock are ahead still; the date is right."""
    mail = stored(NOW - 7200, NOW + YEAR)
    assert waits_since(mail, NOW) == NOW - 7200
    assert is_outlived(mail, 3600)


def test_a_copy_made_later_is_as_old_as_its_original() -> None:
    assert waits_since(stored(NOW - 7200, NOW - 60), NOW) == NOW - 7200


def test_under_a_doubted_clock_nothing_is_outlived_and_nobody_is_told_of_a_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mail = stored(NOW - YEAR, NOW - YEAR)
    rules = RetryRules(60, 600, 3600, 1800)
    assert is_outlived(mail, 3600)
    assert is_delayed(mail, rules)
    monkeypatch.setattr(age.clock, "is_believed", lambda: False)
    assert not is_outlived(mail, 3600)
    assert not is_delayed(mail, rules)
