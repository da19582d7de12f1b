"""What every spool must do with destinations and what is due to them: a second part of `spool_suite`, used alike."""

from gatepost.spool.interface import Destination, Pending, Spool, State, Stored
from gatepost.testing.spool_suite import SMALL, SpoolSuite, new_message


class DestinationSuite(SpoolSuite):
    """The tests; `open_spool` is the subclass's."""

    def test_back_off_moves_the_destination_not_its_mail(self) -> None:
        async def scenario(spool: Spool) -> None:
            new = new_message(spool, 5, SMALL, [Pending(0, "one.example", 10.0)])
            await spool.back_off(Destination("one.example", 0, 0.0, 40.0, 1, "timed out"))
            assert await spool.destinations(99.0) == []
            await spool.accept(new, [])
            assert await spool.destinations(39.0) == []
            assert await spool.destinations(40.0) == [Destination("one.example", 1, 40.0, 40.0, 1, "timed out")]
            assert await spool.next_due() == 40.0
            assert await spool.fetch(5) == new.stored
            await spool.back_off(Destination("one.example", 0, 0.0))
            assert await spool.destinations(10.0) == [Destination("one.example", 1, 10.0)]

        self.run(scenario)

    def test_advanced_mail_is_due_at_once_and_ahead_when_asked(self) -> None:
        async def scenario(spool: Spool) -> None:
            for message_id, dues in ((5, (900.0,)), (6, (10.0, 900.0)), (7, (900.0,)), (8, (900.0,))):
                pending = [Pending(index, "one.example", due) for index, due in enumerate(dues)]
                await spool.accept(new_message(spool, message_id, SMALL, pending), [])
            await spool.accept(new_message(spool, 9), [])
            await spool.hold(8, "operator", [])
            await spool.advance([5, 6, 8, 9, 77], 50.0)
            assert [each.id for each in await spool.due("one.example", 50.0, 9)] == [6, 5]
            both = [await spool.fetch(each) for each in (5, 6)]
            assert [p.due for each in both if isinstance(each, Stored) for p in each.pending] == [50.0, 10.0, 50.0]
            await spool.advance([7], 0.0)
            assert [each.id for each in await spool.due("one.example", 50.0, 9)] == [7, 6, 5]
            assert (await spool.destinations(0.0))[0].domain == "one.example"
            held, waiting = await spool.fetch(8), await spool.fetch(9)
            assert isinstance(held, Stored)
            assert isinstance(waiting, Stored)
            assert (held.state, held.pending[0].due, waiting.state) == (State.HELD, 900.0, State.WAITING)

        self.run(scenario)

    def test_paused_destination_is_never_due_until_taken_up_again(self) -> None:
        async def first(spool: Spool) -> None:
            await spool.accept(new_message(spool, 5, SMALL, [Pending(0, "one.example", 1.0)]), [])
            await spool.pause("one.example", paused=True)
            await spool.pause("two.example", paused=True)
            assert await spool.destinations(9.0) == []
            assert await spool.next_due() is None

        async def second(spool: Spool) -> None:
            assert sorted(await spool.paused()) == ["one.example", "two.example"]
            await spool.accept(new_message(spool, 6, SMALL, [Pending(0, "one.example", 2.0)]), [])
            await spool.back_off(Destination("one.example", 0, 0.0))
            assert await spool.destinations(9.0) == []
            assert await spool.destination_page("", 9) == [
                Destination("one.example", 2, 0.0, paused=True),
                Destination("two.example", 0, 0.0, paused=True),
            ]
            await spool.settle(5, None, [])
            for domain in ("one.example", "two.example"):
                await spool.pause(domain, paused=False)
            assert await spool.paused() == []
            assert await spool.destinations(9.0) == [Destination("one.example", 1, 2.0)]
            assert await spool.destination_page("one.example", 9) == []
            assert await spool.destinations_named(["none.example", "one.example"]) == [
                Destination("one.example", 1, 2.0)
            ]

        self.run(first)
        self.run(second)

    def test_due_gives_the_oldest_first_and_no_more_than_asked(self) -> None:
        async def scenario(spool: Spool) -> None:
            for message_id, due in ((5, 30.0), (6, 10.0), (7, 20.0), (8, 99.0)):
                await spool.accept(new_message(spool, message_id, SMALL, [Pending(0, "one.example", due)]), [])
            found = await spool.due("one.example", 50.0, 10)
            assert [each.id for each in found] == [6, 7, 5]
            assert [each.id for each in await spool.due("one.example", 50.0, 2)] == [6, 7]
            assert [each.id for each in await spool.due("one.example", 50.0, 2, frozenset({6, 99}))] == [7, 5]
            assert await spool.due("one.example", 50.0, 0) == []
            assert await spool.due("other.example", 50.0, 10) == []
            assert await spool.destinations(50.0) == [Destination("one.example", 4, 10.0)]

        self.run(scenario)
