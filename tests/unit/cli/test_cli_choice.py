"""How commands say which messages they mean."""

import pytest

from gatepost.cli.choice import ALL, NOTHING, Chosen, resolve_choice
from gatepost.model.ids import format_queue_id
from gatepost.relay.queue_filter import QueueFilter

ID = format_queue_id(1 << 40)


def test_options_become_a_filter() -> None:
    chosen = Chosen(state=["hld"], sender=["<>"], domain=["One.Example"], older="90 s", younger="2d")
    assert chosen.build() == QueueFilter(
        states=("HLD",), senders=("<>",), domains=("one.example",), older_than_s=90.0, younger_than_s=172_800.0
    )
    assert NOTHING.build() == ALL


@pytest.mark.parametrize("bad", [Chosen(state=["NOP"]), Chosen(older="soon"), Chosen(younger="3 moons")])
def test_bad_options_are_said(bad: Chosen) -> None:
    with pytest.raises(ValueError, match=r"NOP|soon|moons"):
        bad.build()


def test_one_way_of_choosing_and_no_accident() -> None:
    held = Chosen(state=["HLD"])
    assert resolve_choice([ID], NOTHING, everything=False) == [1 << 40]
    assert resolve_choice([], held, everything=False) == QueueFilter(states=("HLD",))
    assert resolve_choice([], NOTHING, everything=True) == ALL
    for ids, chosen, everything in (([], NOTHING, False), ([ID], held, False), ([ID], NOTHING, True), ([], held, True)):
        with pytest.raises(ValueError, match="which messages"):
            resolve_choice(ids, chosen, everything=everything)
    with pytest.raises(ValueError, match="13 characters"):
        resolve_choice(["nonsense"], NOTHING, everything=False)
