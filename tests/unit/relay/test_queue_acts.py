"""Acts of an operator: claimed while they last, refused with a reason, durable when reported."""

import asyncio
from types import SimpleNamespace
from typing import Any

from gatepost.model.record import Operated
from gatepost.relay.queue_acts import IN_WORK, act_on
from gatepost.relay.verbs import Verb
from gatepost.spool.interface import Pending, SpoolError, State, Stored
from gatepost.testing.memory_spool import MemorySpool
from gatepost.testing.spool_suite import SMALL, new_message

LATER = 4e9


class Stages:
    """What acts see of a pipeline: a spool, and stages that note what is asked of them."""

    def __init__(self, spool: MemorySpool) -> None:
        self.spool = spool
        self.busy: set[int] = set()
        self.forgotten: list[int] = []
        self.looked_again: list[int] = []
        self.woken: list[str] = []
        self.inspection = SimpleNamespace(
            forget=self.forgotten.append, look_again=self.looked_again.append, take_first=lambda entry: None
        )
        self.delivery = SimpleNamespace(
            claimed=set(),
            running=False,
            wake=asyncio.Event(),
            destinations=SimpleNamespace(wake_up=self.woken.append, is_paused=lambda domain: False),
        )

    def in_work(self, message_id: int) -> bool:
        return message_id in self.busy


def run(scenario: Any) -> None:
    async def whole() -> None:
        spool = MemorySpool(asyncio.get_running_loop())
        await spool.start()
        for message_id in (5, 6, 7):
            await spool.accept(new_message(spool, message_id, SMALL, [Pending(0, "one.example", LATER)]), [])
        await spool.accept(new_message(spool, 8), [])
        await scenario(Stages(spool))

    asyncio.run(whole())


async def act(stages: Stages, verb: Verb, *ids: int, text: str = "") -> tuple[list[int], dict[int, str]]:
    acts = await act_on([stages], verb, ids, text)  # type: ignore[list-item]
    return acts.done, acts.refused


def test_mail_in_work_is_refused_and_unknown_mail_left_to_others() -> None:
    async def scenario(stages: Stages) -> None:
        stages.busy.add(6)
        assert await act(stages, Verb.REMOVE, 5, 6, 99) == ([5], {6: IN_WORK})
        assert await stages.spool.fetch(5) is None
        assert await stages.spool.fetch(6) is not None
        assert stages.forgotten == [5]

    run(scenario)


def test_messages_are_claimed_exactly_while_they_are_acted_on() -> None:
    async def scenario(stages: Stages) -> None:
        claims: list[set[int]] = []
        fetch = stages.spool.fetch

        async def watched(message_id: int) -> Any:
            claims.append(set(stages.delivery.claimed))
            return await fetch(message_id)

        stages.spool.fetch = watched  # type: ignore[method-assign]
        first = asyncio.ensure_future(act(stages, Verb.HOLD, 5, 6, text="why"))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(act(stages, Verb.REMOVE, 6, 7))
        assert await first == ([5, 6], {})
        assert await second == ([7], {6: IN_WORK})
        assert all({5, 6} <= claimed for claimed in claims[:2])
        assert stages.delivery.claimed == set()
        # What was passed over meanwhile is looked for again.
        assert min(stages.looked_again) == 4
        assert stages.delivery.wake.is_set()

    run(scenario)


def test_claims_end_when_the_spool_refuses() -> None:
    async def scenario(stages: Stages) -> None:
        stages.spool.failure = SpoolError("no space left")
        assert await act(stages, Verb.HOLD, 5) == ([], {5: "the spool refuses: no space left"})
        assert stages.delivery.claimed == set()
        assert stages.looked_again == [4]

    run(scenario)


def test_each_act_suits_some_states_only() -> None:
    async def scenario(stages: Stages) -> None:
        await stages.spool.hold(7, "held", [])
        ready, waiting, held = 5, 8, 7
        for verb, fitting in (
            (Verb.RELEASE, {held}),
            (Verb.RETRY, {ready}),
            (Verb.SEND_FIRST, {ready}),
            (Verb.SCAN_FIRST, {waiting}),
        ):
            done, refused = await act(stages, verb, *sorted({ready, waiting, held} - fitting))
            assert done == [], verb
            assert len(refused) == 2, verb
        for verb in (Verb.BOUNCE, Verb.REROUTE):
            assert await act(stages, verb, waiting) == ([], {8: "it has not been inspected"})
        assert await act(stages, Verb.RESCAN, waiting) == ([], {8: "it awaits inspection already"})

    run(scenario)


def test_retry_is_due_now_and_ends_the_rest_of_its_destination() -> None:
    async def scenario(stages: Stages) -> None:
        assert await act(stages, Verb.RETRY, 5, 6) == ([5, 6], {})
        assert stages.woken == ["one.example"]
        for message_id, sooner in ((5, True), (6, True), (7, False)):
            entry = await stages.spool.fetch(message_id)
            assert isinstance(entry, Stored)
            assert (entry.pending[0].due < LATER) is sooner
        notes = [(record.id, record.act) for record in stages.spool._records if isinstance(record, Operated)]
        assert notes == [(5, "retry"), (6, "retry")]

    run(scenario)


def test_reroute_changes_the_queue_it_waits_in_and_clear_brings_it_back() -> None:
    async def scenario(stages: Stages) -> None:
        await act(stages, Verb.REROUTE, 5, text="[Relay.example:2525]")
        entry = await stages.spool.fetch(5)
        assert isinstance(entry, Stored)
        assert (entry.route, entry.pending[0].domain) == ("[Relay.example:2525]", "[relay.example:2525]")
        await act(stages, Verb.REROUTE, 5)
        entry = await stages.spool.fetch(5)
        assert isinstance(entry, Stored)
        assert (entry.route, entry.pending[0].domain) == ("", "one.example")

    run(scenario)


def test_rescan_keeps_only_those_who_still_wait() -> None:
    async def scenario(stages: Stages) -> None:
        assert await act(stages, Verb.RESCAN, 5) == ([5], {})
        entry = await stages.spool.fetch(5)
        assert isinstance(entry, Stored)
        assert entry.state is State.WAITING
        assert entry.pending == ()
        assert [each.address for each in entry.envelope.recipients] == ["to@one.example"]

    run(scenario)


def test_a_bounce_whose_report_cannot_be_made_is_not_done() -> None:
    async def scenario(stages: Stages) -> None:
        stages.delivery.has = lambda _: False
        stages.delivery.give_up = lambda entry, answer: None  # the report fails, the message waits again
        done, refused = await act(stages, Verb.BOUNCE, 5)
        assert done == []
        assert "report" in refused[5]
        stages.delivery.give_up = lambda entry, answer: stages.spool.remove(entry.id, [])
        assert await act(stages, Verb.BOUNCE, 6) == ([6], {})

    run(scenario)
