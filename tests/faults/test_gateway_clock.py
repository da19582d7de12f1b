"""Queue ids when the clock misbehaves: unique and rising all the same."""

from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.ids import EPOCH_MS, SEQUENCE_LIMIT, QueueIds, format_queue_id

NOW_MS = EPOCH_MS + 90_000_000_000


@given(st.lists(st.integers(-86_400_000, 86_400_000), min_size=1, max_size=300))
def test_ids_rise_whatever_the_clock_does(steps: list[int]) -> None:
    ids = QueueIds(1, 2)
    given_out = [ids.next(NOW_MS + step) for step in steps]
    assert given_out == sorted(set(given_out))


def test_ids_of_a_relay_restarted_under_an_earlier_clock_follow_the_last_one_on_disk() -> None:
    before = QueueIds(0, 3)
    last = [before.next(NOW_MS) for _ in range(5)][-1]
    after = QueueIds(0, 3, last)
    assert after.next(NOW_MS - 3_600_000) > last


def test_standing_clock_gives_more_ids_than_one_moment_has_room_for() -> None:
    ids = QueueIds(0, 0)
    given_out = [ids.next(NOW_MS) for _ in range(3 * SEQUENCE_LIMIT)]
    assert len({format_queue_id(each) for each in given_out}) == 3 * SEQUENCE_LIMIT


def test_relays_and_nodes_never_share_an_id_at_the_same_moment() -> None:
    sources = [QueueIds(node, relay) for node in (0, 63) for relay in (0, 31)]
    given_out = [source.next(NOW_MS) for source in sources for _ in range(100)]
    assert len(set(given_out)) == len(given_out)
