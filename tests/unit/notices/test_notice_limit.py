"""Limits of notifications: what is told singly, what is summed up, and what is bounded."""

import pytest

from gatepost.notices.group import Role
from gatepost.notices.limit import KEYS_LIMIT, NAMES_LIMIT, OTHERS, Key, NoticeLimiter, Told

ADMIN = Key(Role.ADMIN, "admin@example.org", "policy")
RECIPIENT = Key(Role.RECIPIENT, "user@example.org", "policy")
HOUR = 3600.0


def told(number: int, at: float = 0.0, *threats: str, blocked: bool = True) -> Told:
    return Told(number, at, f"s{number % 3}@example.net", threats or (f"threat-{number}",), blocked)


def limiter(limit: int = 3, interval_s: float = HOUR) -> NoticeLimiter:
    made = NoticeLimiter()
    made.configure(limit, interval_s)
    return made


@pytest.mark.parametrize("key", [ADMIN, RECIPIENT])
def test_single_notices_up_to_the_limit_then_a_summary_of_the_rest(key):
    limit = limiter(3)
    assert [limit.admit(key, told(n, float(n)), float(n)) for n in range(10)] == [True] * 3 + [False] * 7
    assert limit.due(HOUR - 1) == []
    (summary,) = limit.due(HOUR)
    assert (summary.messages, summary.first.id, summary.last.id) == (7, 3, 9)
    assert summary.threats == {f"threat-{n}": 1 for n in range(3, 10)}
    assert summary.senders == {"<s0@example.net>": 3, "<s1@example.net>": 2, "<s2@example.net>": 2}
    assert limit.due(HOUR) == []


def test_an_outbreak_is_one_notice_and_its_sums():
    limit = limiter(10)
    single = sum(limit.admit(ADMIN, told(n, n, "Worm.A"), float(n)) for n in range(1000))
    sums = limit.due(HOUR)
    assert single == 1
    assert [(each.messages, each.blocked, each.threats) for each in sums] == [(999, 999, {"Worm.A": 999})]
    # It goes on: only sums now, but something new is told at once.
    assert not limit.admit(ADMIN, told(1, HOUR, "Worm.A"), HOUR + 1)
    assert limit.admit(ADMIN, told(2, HOUR, "Worm.B"), HOUR + 2)
    assert [each.messages for each in limit.due(2 * HOUR)] == [1]
    # It is over: the next one counts as new.
    assert limit.due(3 * HOUR) == []
    assert limit.admit(ADMIN, told(3, HOUR, "Worm.A"), 3 * HOUR + 1)


def test_a_recipient_hears_of_each_message_up_to_the_limit():
    limit = limiter(2)
    assert [limit.admit(RECIPIENT, told(n, 0, "Worm.A"), 0) for n in range(4)] == [True, True, False, False]
    limit.due(HOUR)
    assert not limit.admit(RECIPIENT, told(5, HOUR, "Worm.A"), HOUR)


def test_addresses_roles_and_groups_have_limits_of_their_own():
    limit = limiter(1)
    keys = [ADMIN, RECIPIENT, ADMIN._replace(group="other"), ADMIN._replace(address="b@example.org")]
    assert all(limit.admit(key, told(1), 0) for key in keys)
    assert not any(limit.admit(key, told(2), 0) for key in keys)


def test_no_limit():
    limit = limiter(0)
    assert all(limit.admit(ADMIN, told(1), 0) for _ in range(1000))
    assert limit.due(2 * HOUR) == limit.drain() == []


def test_a_stop_takes_everything_and_a_reload_nothing():
    limit = limiter(1)
    for number in range(5):
        limit.admit(ADMIN, told(number), 0)
    limit.configure(5, 60.0)
    (summary,) = limit.drain()
    assert summary.messages == 4
    limit.keep(summary)
    assert limit.due(0) == [summary]


def test_a_clock_that_is_put_back_holds_nothing_up():
    limit = limiter(1)
    limit.admit(ADMIN, told(1), 1000.0)
    limit.admit(ADMIN, told(2), 1000.0)
    assert len(limit.due(10.0)) == 1


def test_memory_is_bounded_and_what_is_pushed_out_is_summed_up_early():
    limit = limiter(1)
    for number in range(3 * NAMES_LIMIT):
        limit.admit(ADMIN, Told(number, 0, f"s{number}@example.net", (f"t{number}",), True), 0)
    for number in range(KEYS_LIMIT):
        limit.admit(RECIPIENT._replace(address=f"u{number}@example.org"), told(1), 0)
    assert len(limit._windows) == KEYS_LIMIT
    (summary,) = limit.due(1)
    assert summary.messages == 3 * NAMES_LIMIT - 1
    assert len(summary.threats) == len(summary.senders) == NAMES_LIMIT + 1
    assert summary.threats[OTHERS] == 2 * NAMES_LIMIT - 1
