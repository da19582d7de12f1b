"""What every spool must do: subclass `SpoolSuite` in a test module, give it `open_spool`, and pytest runs the lot.

Only what the interface promises is asked here; what a disk does to it is tested beside the implementation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.record import Held, Record
from gatepost.model.verdict import Splice
from gatepost.spool.interface import (
    Brief,
    Destination,
    Found,
    NewMessage,
    Pending,
    Spool,
    SpoolError,
    State,
    Stored,
    UnknownMessage,
)

if TYPE_CHECKING:
    from gatepost.spool.writer import SqliteSpool
    from gatepost.testing.memory_spool import MemorySpool

    def _both_are_spools(sqlite: SqliteSpool, memory: MemorySpool) -> tuple[Spool, Spool]:
        return sqlite, memory


SMALL = b"Subject: small\r\n\r\nbody\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 20_000


def record(token: str) -> Held:
    """Return a record that can be told from all others."""
    return Held(0, 0.0, token)


def new_message(
    spool: Spool, message_id: int, data: bytes = SMALL, pending: Sequence[Pending] = (), kind: str = ""
) -> NewMessage:
    """Stage `data` and return a message of it: WAITING, or READY when it has pending recipients."""
    staged = spool.stage(message_id)
    for start in range(0, len(data), 50_000):
        staged.write(data[start : start + 50_000])
    stored = Stored(
        id=message_id,
        source=message_id,
        state=State.READY if pending else State.WAITING,
        received_at=100.0,
        envelope=Envelope(
            "from@client.example", (Recipient("to@one.example"), Recipient("to@two.example")), Client("::1")
        ),
        content=staged.ref,
        prefix=b"Received: by gateway.example\r\n",
        pending=tuple(pending),
        kind=kind,
    )
    return NewMessage(stored, staged)


async def failure_of(awaitable: Awaitable[object]) -> SpoolError:
    """Return the SpoolError the awaitable ends with; AssertionError when it ends well."""
    try:
        await awaitable
    except SpoolError as error:
        return error
    raise AssertionError("the spool accepted what it had to refuse")


class SpoolSuite:
    """The tests; `open_spool` is the subclass's."""

    def open_spool(self, loop: asyncio.AbstractEventLoop) -> Any:
        """Return a spool not yet started; called again after `close`, the same spool as it was left."""
        raise NotImplementedError

    def run(self, scenario: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """Start a spool, run the scenario on it, and close it."""

        async def whole() -> None:
            spool = self.open_spool(asyncio.get_running_loop())
            await spool.start()
            try:
                await scenario(spool)
            finally:
                await spool.close()

        asyncio.run(whole())

    def test_accepted_message_comes_back_whole(self) -> None:
        async def scenario(spool: Spool) -> None:
            for message_id, data in ((5, SMALL), (6, LARGE), (7, b"")):
                new = new_message(spool, message_id, data)
                await spool.accept(new, [record("in")])
                assert new.content.read() == data
                assert await spool.fetch(message_id) == new.stored
                assert await spool.content(new.stored.content) == data
            assert await spool.counts() == {
                "waiting": 3,
                "ready": 0,
                "held": 0,
                "bytes": len(SMALL) + len(LARGE),
            }
            assert await spool.fetch(8) is None

        self.run(scenario)

    def test_accepted_with_its_disposition_in_one_go(self) -> None:
        async def scenario(spool: Spool) -> None:
            for base, data in ((10, SMALL), (20, LARGE)):
                new = new_message(spool, base, data)
                ready = msgspec.structs.replace(
                    new.stored, id=base + 1, state=State.READY, pending=(Pending(0, "one.example", 9.0),)
                )
                await spool.accept(new, [record("in"), record("copy")], [new.stored, ready])
                assert await spool.fetch(base) == new.stored
                assert await spool.fetch(base + 1) == ready
                await spool.remove(base, [])
                assert await spool.content(ready.content) == data
                await spool.settle(base + 1, None, [])
                await failure_of(spool.content(ready.content))
                other = new_message(spool, base + 2, data)
                moved = msgspec.structs.replace(other.stored, id=base + 3, state=State.READY, pending=ready.pending)
                await spool.accept(other, [], [moved])
                assert await spool.fetch(base + 2) is None
                assert [each.id for each in await spool.due("one.example", 9.0, 10)] == [base + 3]
                await spool.settle(base + 3, None, [])
            assert await spool.counts() == {"waiting": 0, "ready": 0, "held": 0, "bytes": 0}
            assert await spool.destinations(99.0) == []

        self.run(scenario)

    def test_it_is_still_there_after_a_restart(self) -> None:
        async def first(spool: Spool) -> None:
            await spool.accept(new_message(spool, 5, LARGE), [])
            await spool.accept(new_message(spool, 6, SMALL, [Pending(0, "one.example", 9.0, 2, "450 no")]), [])
            await spool.back_off(Destination("one.example", 0, 0.0, 20.0, 3, "refused"))

        async def second(spool: Spool) -> None:
            assert not spool.unclean
            assert spool.last_id == 6
            found = await spool.fetch(5)
            assert isinstance(found, Stored)
            assert await spool.content(found.content) == LARGE
            assert await spool.destinations(30.0) == [Destination("one.example", 1, 20.0, 20.0, 3, "refused")]

        self.run(first)
        self.run(second)

    def test_same_id_twice_is_refused_and_harms_nobody(self) -> None:
        async def scenario(spool: Spool) -> None:
            await spool.accept(new_message(spool, 5), [])
            second = new_message(spool, 5, LARGE)
            neighbours = [spool.accept(new_message(spool, each), []) for each in (6, 7)]
            error = await failure_of(spool.accept(second, []))
            second.content.discard()
            assert not isinstance(error, UnknownMessage)
            await asyncio.gather(*neighbours)
            found = await spool.fetch(5)
            assert isinstance(found, Stored)
            assert await spool.content(found.content) == SMALL
            assert (await spool.counts())["waiting"] == 3

        self.run(scenario)

    def test_clean_mail_needs_accept_and_settle_only(self) -> None:
        async def scenario(spool: Spool) -> None:
            for message_id, data in ((5, SMALL), (6, LARGE)):
                await spool.accept(new_message(spool, message_id, data), [])
                await spool.settle(message_id, None, [])
            assert await spool.listing(0, 10) == []
            assert await spool.counts() == {"waiting": 0, "ready": 0, "held": 0, "bytes": 0}
            await spool.settle(5, None, [])

        self.run(scenario)

    def test_deferral_carries_the_disposition(self) -> None:
        async def scenario(spool: Spool) -> None:
            new = new_message(spool, 5)
            await spool.accept(new, [])
            deferred = msgspec.structs.replace(
                new.stored,
                state=State.READY,
                group="staff",
                splices=(Splice(0, 0, b"X: y\r\n"),),
                pending=(Pending(0, "one.example", 60.0, 1, "450 later"), Pending(1, "two.example", 70.0)),
            )
            await spool.settle(5, deferred, [])
            assert await spool.fetch(5) == deferred
            assert await spool.due("one.example", 59.0, 10) == []
            assert await spool.due("one.example", 60.0, 10) == [deferred]
            assert await spool.due("one.example", 60.0, 10, frozenset({5})) == []
            left = msgspec.structs.replace(deferred, pending=deferred.pending[1:], route="[127.0.0.1:2525]", told=True)
            await spool.settle(5, left, [])
            assert await spool.fetch(5) == left
            assert [each.domain for each in await spool.destinations(99.0)] == ["two.example"]

        self.run(scenario)

    def test_settling_does_not_bring_a_removed_message_back(self) -> None:
        async def scenario(spool: Spool) -> None:
            new = new_message(spool, 5, SMALL, [Pending(0, "one.example", 1.0)])
            await spool.accept(new, [])
            await spool.remove(5, [])
            await spool.settle(5, new.stored, [])
            assert await spool.fetch(5) is None
            assert await spool.destinations(9.0) == []

        self.run(scenario)

    def test_copies_share_one_content_until_the_last_goes(self) -> None:
        async def scenario(spool: Spool) -> None:
            for message_id, data in ((5, SMALL), (50, LARGE)):
                new = new_message(spool, message_id, data)
                await spool.accept(new, [])
                copies = [
                    msgspec.structs.replace(
                        new.stored,
                        id=message_id + step,
                        source=message_id,
                        state=State.READY,
                        group=f"g{step}",
                        pending=(Pending(step % 2, "one.example", 1.0),),
                    )
                    for step in range(3)
                ]
                await spool.dispose(message_id, copies, [])
                assert await spool.listing(message_id - 1, 3) == copies
                counts = await spool.counts()
                assert (counts["ready"], counts["bytes"]) == (3, len(data))
                await spool.settle(message_id, None, [])
                await spool.settle(message_id + 2, None, [])
                assert await spool.content(copies[1].content) == data
                await spool.settle(message_id + 1, None, [])
                assert (await spool.counts())["bytes"] == 0
                assert await failure_of(spool.content(copies[1].content))

        self.run(scenario)

    def test_disposing_of_no_copies_removes(self) -> None:
        async def scenario(spool: Spool) -> None:
            await spool.accept(new_message(spool, 5), [])
            await spool.dispose(5, [], [])
            assert await spool.fetch(5) is None
            assert isinstance(await failure_of(spool.dispose(5, [], [])), UnknownMessage)

        self.run(scenario)

    def test_generated_mail_comes_with_the_change_or_not_at_all(self) -> None:
        async def scenario(spool: Spool) -> None:
            notice = new_message(spool, 8, b"a notice", [Pending(0, "client.example", 2.0)], "notice-admin")
            await spool.accept(new_message(spool, 5), [], (), [notice])
            assert await spool.fetch(8) == notice.stored
            dsn = new_message(spool, 9, b"a DSN", [Pending(0, "client.example", 2.0)], "dsn-failed")
            await failure_of(spool.dispose(4, [], [], [dsn]))
            assert await spool.fetch(9) is None
            await spool.settle(5, None, [], [dsn])
            assert await spool.fetch(5) is None
            assert await spool.fetch(9) == dsn.stored

        self.run(scenario)

    def test_generated_mail_that_is_large_belongs_to_the_spool_once_it_is_durable(self) -> None:
        async def scenario(spool: Spool) -> None:
            notices = [new_message(spool, number, LARGE, [Pending(0, "client.example", 2.0)]) for number in (7, 8, 9)]
            await spool.accept(new_message(spool, 5), [], (), [notices[0]])
            await spool.accept(new_message(spool, 6), [], (), [notices[1]])
            await spool.settle(5, None, [], [notices[2]])
            for notice in notices:
                notice.content.discard()
                assert await spool.content(notice.stored.content) == LARGE

        self.run(scenario)

    def test_hold_and_release_lead_back_to_where_it_was(self) -> None:
        async def scenario(spool: Spool) -> None:
            waiting = new_message(spool, 5)
            ready = new_message(spool, 6, SMALL, [Pending(0, "one.example", 50.0)])
            await spool.accept(waiting, [])
            await spool.accept(ready, [])
            await spool.strike([5, 6, 7])
            await spool.strike([5, 6])
            await spool.pardon([5, 6, 7])
            await spool.strike([5, 6, 7])
            for message_id in (5, 6):
                await spool.hold(message_id, "operator", [])
            assert await spool.destinations(99.0) == []
            assert await spool.next_due() is None
            held = await spool.listing(0, 9, State.HELD)
            assert [(each.id, each.reason, each.strikes) for each in held if isinstance(each, Stored)] == [
                (5, "operator", 1),
                (6, "operator", 1),
            ]
            for message_id in (5, 6):
                await spool.release(message_id, 7.0, [])
            assert await spool.fetch(5) == waiting.stored
            assert await spool.fetch(6) == msgspec.structs.replace(
                ready.stored, pending=(Pending(0, "one.example", 7.0),)
            )
            assert await spool.next_due() == 7.0
            assert not isinstance(await failure_of(spool.release(5, 8.0, [])), UnknownMessage)
            assert isinstance(await failure_of(spool.hold(77, "", [])), UnknownMessage)
            assert isinstance(await failure_of(spool.release(77, 8.0, [])), UnknownMessage)
            assert isinstance(await failure_of(spool.remove(77, [])), UnknownMessage)

        self.run(scenario)

    def test_removing_a_held_message_leaves_nothing(self) -> None:
        async def scenario(spool: Spool) -> None:
            await spool.accept(new_message(spool, 6, LARGE, [Pending(0, "one.example", 50.0)]), [])
            await spool.hold(6, "operator", [])
            await spool.remove(6, [])
            assert await spool.counts() == {"waiting": 0, "ready": 0, "held": 0, "bytes": 0}
            assert await spool.destinations(99.0) == []

        self.run(scenario)

    def test_search_looks_at_so_many_and_says_how_far_it_got(self) -> None:
        async def scenario(spool: Spool) -> None:
            assert await spool.search(0, 5) == Found((), 0, 0, ended=True)
            for message_id in range(11, 18):
                pending = [Pending(0, "one.example", 1.0)] if message_id % 2 else []
                await spool.accept(new_message(spool, message_id, SMALL, pending), [])
            await spool.hold(13, "operator", [])
            assert await spool.search(0, 3) == Found((11, 12, 13), 13, 3, ended=False)
            assert await spool.search(13, 9, State.READY) == Found((15, 17), 17, 2, ended=True)
            seen = []

            def wanted(brief: Brief) -> bool:
                seen.append(brief)
                return brief.id in (13, 16)

            assert await spool.search(11, 5, wanted=wanted) == Found((13, 16), 16, 5, ended=False)
            assert seen[1] == Brief(
                13,
                State.HELD,
                len(SMALL),
                100.0,
                "from@client.example",
                ("to@one.example", "to@two.example"),
                "operator",
            )
            assert await spool.oldest_waiting() == 12

        self.run(scenario)

    def test_pages_are_in_id_order(self) -> None:
        async def scenario(spool: Spool) -> None:
            for message_id in (9, 3, 7, 5):
                await spool.accept(new_message(spool, message_id), [])
            await spool.hold(5, "", [])
            assert [each.id for each in await spool.waiting(0, 2)] == [3, 7]
            assert [each.id for each in await spool.waiting(7, 2)] == [9]
            assert [each.id for each in await spool.listing(3, 10)] == [5, 7, 9]

        self.run(scenario)

    def test_views_see_each_record_once_and_in_order(self) -> None:
        seen: list[tuple[int, Record]] = []

        def watch(first: int, records: Sequence[Record]) -> None:
            seen.extend(enumerate(records, first))

        async def first() -> None:
            spool = self.open_spool(asyncio.get_running_loop())
            spool.consume("log", watch)
            assert spool.position("log") == (0, b"")
            await spool.start()
            await asyncio.gather(
                *(
                    spool.accept(new_message(spool, each), [record(f"a{each}"), record(f"b{each}")])
                    for each in (1, 2, 3)
                )
            )
            await asyncio.sleep(0)
            assert [number for number, _ in seen] == [1, 2, 3, 4, 5, 6]
            assert [each.reason for _, each in seen if isinstance(each, Held)] == ["a1", "b1", "a2", "b2", "a3", "b3"]
            spool.confirm("log", 3, b"note")
            await spool.close()

        async def second() -> None:
            seen.clear()
            spool = self.open_spool(asyncio.get_running_loop())
            spool.consume("log", watch)
            assert spool.position("log") == (3, b"note")
            await spool.start()
            await spool.settle(1, None, [record("gone")])
            await asyncio.sleep(0)
            assert [number for number, _ in seen] == [4, 5, 6, 7]
            assert seen[0][1] == record("b2")
            assert seen[-1][1] == record("gone")
            await spool.close()

        asyncio.run(first())
        asyncio.run(second())

    def test_entered_records_are_there_after_a_close(self) -> None:
        seen: list[Record] = []

        async def first(spool: Spool) -> None:
            spool.enter([record("refused")])

        async def second() -> None:
            spool = self.open_spool(asyncio.get_running_loop())
            spool.consume("log", lambda _first, records: seen.extend(records))
            await spool.start()
            await spool.close()

        self.run(first)
        asyncio.run(second())
        assert seen == [record("refused")]

    def test_discarded_content_leaves_nothing(self) -> None:
        async def scenario(spool: Spool) -> None:
            for data in (SMALL, LARGE):
                new = new_message(spool, 5, data)
                assert new.content.read() == data
                new.content.discard()
                new.content.discard()
            accepted = new_message(spool, 6, LARGE)
            await spool.accept(accepted, [])
            accepted.content.discard()
            assert await spool.content(accepted.stored.content) == LARGE

        self.run(scenario)
