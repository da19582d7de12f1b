"""Back-off of destinations: in memory at once, in the spool soon, and not for ever."""

import asyncio

from gatepost.relay.destinations import Destinations
from gatepost.relay.retry import RetryRules
from gatepost.spool.interface import Pending
from gatepost.testing.memory_spool import MemorySpool
from gatepost.testing.spool_suite import new_message

RULES = RetryRules(minimal_backoff_s=10.0, maximal_backoff_s=40.0, lifetime_s=1000.0)


def test_rest_doubles_counts_once_while_it_lasts_and_ends_with_an_answer() -> None:
    async def scenario() -> None:
        spool = MemorySpool(asyncio.get_running_loop())
        await spool.start()
        await spool.accept(new_message(spool, 1, pending=[Pending(0, "one.example", 0.0)]), [])
        destinations = Destinations(spool, trouble=lambda _: None, changed=lambda: None)
        destinations.configure(RULES)
        destinations.rest("one.example", "refused", 100.0)
        destinations.rest("one.example", "refused", 105.0)
        assert destinations.retry_at("one.example") == 110.0
        destinations.rest("one.example", "refused again", 110.0)
        assert destinations.retry_at("one.example") == 130.0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (stored,) = await spool.destinations(1000.0)
        assert (stored.retry_at, stored.failures, stored.reason) == (130.0, 2, "refused again")
        destinations.answered("one.example")
        assert destinations.retry_at("one.example") == 0.0

    asyncio.run(scenario())


def test_what_fails_for_trouble_of_ours_does_not_rest_ever_longer() -> None:
    """Mail waited for up to four hours after an hour without name servers."""

    async def scenario() -> None:
        spool = MemorySpool(asyncio.get_running_loop())
        await spool.start()
        silent = False
        destinations = Destinations(spool, trouble=lambda _: None, changed=lambda: None, ours=lambda: silent)
        destinations.configure(RULES)
        now = 100.0
        destinations.rest("one.example", "no answer in time", now)
        silent = True
        for _ in range(5):
            now = destinations.retry_at("one.example")
            destinations.rest("one.example", "no answer in time", now)
            destinations.rest("new.example", "no answer in time", now)
            assert destinations.retry_at("one.example") == destinations.retry_at("new.example") == now + 10.0
        silent = False
        now += 10.0
        destinations.rest("one.example", "refused", now)
        assert destinations.retry_at("one.example") == now + 20.0

    asyncio.run(scenario())


def test_destination_nobody_writes_to_any_more_is_forgotten() -> None:
    async def scenario() -> None:
        spool = MemorySpool(asyncio.get_running_loop())
        await spool.start()
        destinations = Destinations(spool, trouble=lambda _: None, changed=lambda: None)
        destinations.configure(RULES)
        for domain, now in (("old.example", 100.0), ("young.example", 150.0)):
            destinations.rest(domain, "refused", now)
        destinations.forget_unused(151.0)
        assert destinations.reason("old.example") == ""
        assert destinations.reason("young.example") == "refused"

    asyncio.run(scenario())
