"""The protocol of a release on the store's side: one claim, one end, whoever asks."""

import pytest
from tests.unit.storage.store_items import NOW, new, open_store, put

from gatepost.storage.container import Event
from gatepost.storage.release import (
    Elsewhere,
    ReleasedBefore,
    abandon_release,
    begin_release,
    check_recipients,
    end_release,
    take_over_release,
)
from gatepost.storage.store import UnknownItem


def wanted(shard: int = 0, who: str = "one", **more) -> Event:
    return Event("releasing", NOW, shard=shard, who=who, **more)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


@pytest.fixture
def item(store):
    return put(store, new())[0]


def test_the_first_claim_holds_for_its_shard(store, item):
    claim, _ = begin_release(store, item, wanted(recipients=("a@b.example",), checked=False))
    assert claim.release == f"{item}#1"
    second, _ = begin_release(store, item, wanted(who="two"))
    assert second == claim
    with pytest.raises(Elsewhere) as told:
        begin_release(store, item, wanted(shard=1))
    assert told.value.claim == claim
    assert [row.id for row in store.releasing()] == [item]


def test_it_ends_once_and_is_not_released_again_unless_asked(store, item):
    claim, _ = begin_release(store, item, wanted())
    first = end_release(store, item, claim, "QUEUEID1", NOW + 1)
    assert end_release(store, item, claim, "QUEUEID2", NOW + 2) == first
    assert store.releasing() == []
    with pytest.raises(ReleasedBefore) as told:
        begin_release(store, item, wanted(who="two"))
    assert (told.value.release.queue_id, told.value.release.who) == ("QUEUEID1", "one")
    again, _ = begin_release(store, item, wanted(who="two", shard=5), again=True)
    assert again.release == f"{item}#2"


def test_an_abandoned_release_leaves_the_item_as_it_was(store, item):
    claim, _ = begin_release(store, item, wanted())
    abandon_release(store, item, claim, NOW)
    assert store.row(item).state == "stored"
    abandon_release(store, item, claim, NOW)
    next_claim, container = begin_release(store, item, wanted(shard=2))
    assert next_claim.release == claim.release  # nothing was released under it
    assert container.releases == ()


def test_a_claim_is_taken_over_once(store, item):
    claim, _ = begin_release(store, item, wanted(shard=7, recipients=("a@b.example",), checked=False))
    assert take_over_release(store, item, claim, 0)
    assert not take_over_release(store, item, claim, 1)
    mine, _ = begin_release(store, item, wanted(shard=0))
    assert (mine.release, mine.recipients, mine.checked, mine.who) == (claim.release, ("a@b.example",), False, "one")


def test_what_is_not_there_is_not_released(store, item):
    store.delete([item])
    with pytest.raises(UnknownItem):
        begin_release(store, item, wanted())


@pytest.mark.parametrize("address", ["nobody", "@b.example", "a@", "a b@c.example", "<a@b.example>", "a@b.example\r\n"])
def test_recipients_must_be_addresses(address):
    with pytest.raises(ValueError, match="no address"):
        check_recipients([address])


def test_recipients_are_bounded():
    check_recipients(["a@b.example"] * 1000)
    with pytest.raises(ValueError, match="1000"):
        check_recipients(["a@b.example"] * 1001)
