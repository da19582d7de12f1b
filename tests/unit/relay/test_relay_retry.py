"""When an attempt is repeated, and what its outcome means: plans without clocks or sockets."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.envelope import Recipient
from gatepost.model.reply import reply
from gatepost.relay.retry import (
    REPLY_LIMIT,
    Attempt,
    RetryRules,
    describe,
    expiry_reply,
    plan_aftermath,
    plan_backoff,
)
from gatepost.spool.interface import Pending

RULES = RetryRules(minimal_backoff_s=60, maximal_backoff_s=600, lifetime_s=3600)


def attempt(code: int, index: int = 0, attempts: int = 0) -> Attempt:
    pending = Pending(index, "example.org", 5.0, attempts)
    return Attempt(pending, Recipient(f"r{index}@example.org"), reply(code, f"{code // 100}.0.0", "said"))


def test_pauses_double_from_the_minimum_to_the_maximum() -> None:
    assert [plan_backoff(failures, RULES) for failures in range(1, 7)] == [60, 120, 240, 480, 600, 600]


@given(
    st.integers(min_value=-5, max_value=10**9), st.floats(1, 1e5), st.floats(1, 1e6), st.floats(0, 0.5), st.floats(0, 1)
)
def test_pauses_stay_between_the_bounds_whatever_chance_says(
    failures: int, low: float, high: float, jitter: float, chance: float
) -> None:
    rules = RetryRules(low, high, 1, jitter=jitter)
    assert min(low, high) <= plan_backoff(failures, rules, chance) <= high


def test_chance_spreads_pauses_by_the_share_that_is_set() -> None:
    rules = msgspec.structs.replace(RULES, jitter=0.1)
    assert [plan_backoff(2, rules, chance) for chance in (0, 0.5, 1)] == pytest.approx([108, 120, 132])
    assert plan_backoff(1, rules, 0.0) == 60  # never below the shortest
    assert plan_backoff(9, rules, 1.0) == 600


def test_each_recipient_has_an_outcome_of_its_own() -> None:
    after = plan_aftermath([attempt(250, 0), attempt(550, 1), attempt(450, 2, attempts=2)], 1000.0, RULES)
    assert [a.recipient.address for a in after.sent] == ["r0@example.org"]
    assert [a.recipient.address for a in after.failed] == ["r1@example.org"]
    assert [a.recipient.address for a in after.deferred] == ["r2@example.org"]
    assert after.pending == (Pending(2, "example.org", 1240.0, 3, "450 4.0.0 said"),)


def test_temporary_refusal_past_the_life_is_final_and_says_why() -> None:
    after = plan_aftermath([attempt(450), attempt(250, 1), attempt(550, 2)], 3600.0, RULES, too_old=True)
    assert after.pending == ()
    assert [(a.reply.code, a.reply.enhanced) for a in after.failed] == [(554, "5.4.7"), (550, "5.0.0")]
    assert after.failed[0].reply.text == "delivery time expired: 450 4.0.0 said"
    assert len(after.sent) == 1


def test_expiry_without_a_known_cause() -> None:
    assert expiry_reply("").text == "delivery time expired"


def test_long_replies_are_cut() -> None:
    assert len(describe(reply(450, "", "x" * 10_000))) == REPLY_LIMIT
    assert describe(reply(250, "", "a", "b")) == "250 a b"
