"""What every spool must do with releases out of stores: a third part of `spool_suite`, used the same way."""

import asyncio

import msgspec
import pytest

from gatepost.spool import clock
from gatepost.spool.interface import RELEASES_KEPT_S, NewMessage, Pending, ReleasedAlready, Spool
from gatepost.testing.destination_suite import DestinationSuite
from gatepost.testing.spool_suite import SMALL, failure_of, new_message


class ReleaseSuite(DestinationSuite):
    """The tests; `open_spool` is the subclass's."""

    def test_a_release_is_accepted_once(self) -> None:
        async def scenario(spool: Spool) -> None:
            await spool.accept(new_message(spool, 5), [], release="A#1")
            again = new_message(spool, 6)
            with pytest.raises(ReleasedAlready) as told:
                await spool.accept(again, [], release="A#1")
            again.content.discard()
            assert told.value.message_id == 5
            assert await spool.fetch(6) is None
            await spool.accept(new_message(spool, 7), [], release="A#2")
            assert [await spool.released(each) for each in ("A#1", "A#2", "A#3")] == [5, 7, None]

        self.run(scenario)

    def test_of_two_at_once_one_is_accepted(self) -> None:
        async def scenario(spool: Spool) -> None:
            attempts = [spool.accept(new_message(spool, each), [], release="A#1") for each in (5, 6, 7)]
            other = spool.accept(new_message(spool, 8), [])
            outcomes = await asyncio.gather(*attempts, other, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes].count(ReleasedAlready) == 2
            assert (await spool.counts())["waiting"] == 2

        self.run(scenario)

    def test_a_release_is_remembered_when_its_message_is_gone(self) -> None:
        async def first(spool: Spool) -> None:
            await spool.accept(new_message(spool, 5, SMALL, [Pending(0, "one.example", 1.0)]), [], release="A#1")
            await spool.settle(5, None, [])

        async def second(spool: Spool) -> None:
            assert await spool.released("A#1") == 5
            assert isinstance(await failure_of(spool.accept(new_message(spool, 6), [], release="A#1")), ReleasedAlready)

        self.run(first)
        self.run(second)

    def test_a_release_is_forgotten_after_a_month(self) -> None:
        async def scenario(spool: Spool) -> None:
            await spool.accept(received_at(new_message(spool, 5), 100.0), [], release="A#1")
            await spool.accept(received_at(new_message(spool, 6), 100.0 + RELEASES_KEPT_S), [], release="B#1")
            assert await spool.released("A#1") == 5
            await spool.accept(received_at(new_message(spool, 7), 101.0 + RELEASES_KEPT_S), [], release="C#1")
            assert [await spool.released(each) for each in ("A#1", "B#1", "C#1")] == [None, 6, 7]

        self.run(scenario)

    def test_a_clock_that_is_not_believed_makes_no_release_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def scenario(spool: Spool) -> None:
            await spool.accept(received_at(new_message(spool, 5), 100.0), [], release="A#1")
            monkeypatch.setattr(clock, "is_believed", lambda: False)
            ahead = 101.0 + RELEASES_KEPT_S
            await spool.accept(received_at(new_message(spool, 6), ahead), [], release="B#1")
            again = spool.accept(received_at(new_message(spool, 7), ahead), [], release="A#1")
            assert isinstance(await failure_of(again), ReleasedAlready)

        self.run(scenario)


def received_at(new: NewMessage, moment: float) -> NewMessage:
    """Return the message as it would be had it come at another moment."""
    return msgspec.structs.replace(new, stored=msgspec.structs.replace(new.stored, received_at=moment))
