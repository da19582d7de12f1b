"""Pages of several shards become one, with nothing missed and nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from gatepost.relay.queue_pages import Page, cut_page, merge_pages


def test_page_ends_where_the_first_open_shard_stopped() -> None:
    merged = merge_pages([Page([1, 5, 9], 9, 3, ended=False), Page([2, 3], 3, 2, ended=False)], 10)
    assert merged == Page([1, 2, 3], 3, 5, ended=False)


def test_ended_shards_hold_nobody_up() -> None:
    assert merge_pages([Page([1, 9], 9, 2, ended=True), Page([4], 4, 1, ended=True)], 10) == Page(
        [1, 4, 9], 9, 3, ended=True
    )
    assert merge_pages([], 10) == Page([], 0, 0, ended=True)


def test_cut_page_goes_on_behind_its_last_item() -> None:
    rows = [{"id": 3}, {"id": 7}, {"id": 8}]
    assert cut_page(Page(rows, 20, 9, ended=True), 2) == Page(rows[:2], 7, 9, ended=False)
    assert cut_page(Page(rows, 20, 9, ended=True), 3) == Page(rows, 20, 9, ended=True)


@given(
    st.lists(st.sets(st.integers(1, 60), max_size=25), min_size=1, max_size=4),
    st.integers(1, 7),
    st.integers(1, 7),
)
def test_walk_over_all_pages_sees_every_message_once(shards: list[set[int]], step: int, limit: int) -> None:
    owned = [sorted(shard - set().union(*shards[:number])) for number, shard in enumerate(shards)]
    seen: list[int] = []
    after, ended = 0, False
    for _ in range(200):
        pages = []
        for shard in owned:
            found = [each for each in shard if each > after][:step]
            left = [each for each in shard if each > after][step:]
            pages.append(Page(found, found[-1] if found else after, len(found), ended=not left))
        page = merge_pages(pages, limit)
        seen += page.items
        assert page.ended or page.upto > after
        after, ended = page.upto, page.ended
        if ended:
            break
    assert ended
    assert seen == sorted(each for shard in owned for each in shard)
