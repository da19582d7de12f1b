"""All network checks of a message: one deadline, no fault that spreads, and what filters are told of a message."""

import asyncio
import json
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import pytest
from lookup_bench import STRANGER, config_of

from gatepost.config.masks import NetworkSet
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.finding import ScanOptions
from gatepost.model.spam import Method, NetworkFacts, SpamFacts, SpamOptions
from gatepost.relay.lookups import checks as checks_module
from gatepost.relay.lookups.base import TROUBLES_LIMIT, EnvelopeFacts, NetworkNotes, Query
from gatepost.relay.lookups.checks import OUT_OF_TIME_LIMIT, NetworkChecks
from gatepost.relay.lookups.hops import foreign_hops, is_public
from gatepost.relay.lookups.service import RECIPIENTS_LIMIT, NetworkService
from gatepost.relay.lookups.zones import Zones
from gatepost.resolver.inquiry import Silence
from gatepost.spool.interface import ContentRef, State, Stored

METHODS = frozenset((Method.UDS,))
ENVELOPE = Envelope("s@example.net", (Recipient("r@example.org"),), Client(STRANGER, helo="h", name="n"))


BUDGET_S = 0.3
"""For checks that hang. Long enough for those that do not, on a machine that others share."""


class Behaviour:
    """A lookup and its query; does what it is told."""

    methods = METHODS

    def __init__(self, name: str, how: str) -> None:
        self.name = name
        self.how = how
        self.cancelled = 0
        self.deadline = 0.0

    def begin(self, facts: EnvelopeFacts) -> Query | None:
        if self.how == "fails at once":
            raise ValueError("broken")
        return None if self.how == "not wanted" else self

    def finish(self, spam: SpamFacts, notes: NetworkNotes, deadline: float) -> Awaitable[None] | None:
        self.deadline = deadline
        notes.sign(Method.UDS, self.name, "seen", 1.0)
        if self.how == "fails":
            raise ValueError("broken")
        return None if self.how == "is quick" else self._later(notes)

    async def _later(self, notes: NetworkNotes) -> None:
        if self.how == "fails late":
            await asyncio.sleep(0)
            raise ValueError("broken")
        if self.how == "hangs":
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        notes.uds = self.name

    def cancel(self) -> None:
        self.cancelled += 1

    def status(self) -> dict[str, object]:
        return {}


def ask(
    *lookups: Behaviour, budget_s: float = BUDGET_S, limit_s: float | None = None
) -> tuple[NetworkFacts, list[str]]:
    told: list[str] = []

    async def whole() -> NetworkFacts:
        clock = asyncio.get_running_loop().time
        nobody: Any = None
        zones = Zones(nobody, clock, lambda *_: None)
        checks = NetworkChecks(lookups, budget_s, zones, clock, lambda level, text: told.append(f"{level} {text}"))
        ongoing = checks.begin("Q", ENVELOPE, METHODS)
        assert ongoing is not None
        facts = await ongoing.finish(None, limit_s)
        ongoing.cancel()
        return facts

    return asyncio.run(whole()), told


def test_one_that_hangs_is_cut_off_and_what_others_found_counts():
    hanging, slow, quick = Behaviour("hanging", "hangs"), Behaviour("slow", "is slow"), Behaviour("quick", "is quick")
    facts, _ = ask(hanging, slow, quick)
    assert [sign.name for sign in facts.signs] == ["hanging", "slow", "quick"]
    assert facts.uds == "slow"
    assert facts.troubles == ("hanging: not done within 0.3 s",)
    assert facts.elapsed_ms >= 300
    assert hanging.cancelled


def test_a_shorter_limit_holds_and_one_of_nothing_still_gives_an_answer():
    for limit in (0.01, 0.0, -3.0):
        facts, _ = ask(Behaviour("hanging", "hangs"), Behaviour("quick", "is quick"), budget_s=60.0, limit_s=limit)
        assert "quick" in [sign.name for sign in facts.signs]
        assert len(facts.troubles) == 1


@pytest.mark.parametrize("how", ["fails at once", "fails", "fails late"])
def test_a_fault_of_ours_in_one_check_costs_no_other(how: str):
    facts, told = ask(Behaviour("faulty", how), Behaviour("slow", "is slow"))
    assert facts.uds == "slow"
    assert len(facts.troubles) == len(told) == 1
    assert "faulty" in told[0]
    assert "broken" in told[0]
    assert told[0].startswith("E")


def test_nothing_is_waited_for_when_everything_is_known():
    facts, _ = ask(Behaviour("quick", "is quick"), Behaviour("none", "not wanted"))
    assert [sign.name for sign in facts.signs] == ["quick"]
    assert facts.troubles == ()


def test_when_nobody_answers_any_more_mail_waits_less_until_somebody_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks_module, "HASTE_S", 0.2)
    told: list[str] = []
    lookup = Behaviour("lookup", "hangs")

    async def whole() -> None:
        clock = asyncio.get_running_loop().time
        nobody: Any = None
        zones = Zones(nobody, clock, lambda *_: None)
        checks = NetworkChecks((lookup,), BUDGET_S, zones, clock, lambda level, text: told.append(f"{level} {text}"))

        async def waited() -> str:
            ongoing = checks.begin("Q", ENVELOPE, METHODS)
            assert ongoing is not None
            return " ".join((await ongoing.finish(None)).troubles)

        for _ in range(OUT_OF_TIME_LIMIT):
            assert "0.3 s" in await waited()
        assert "0.2 s" in await waited()
        lookup.how = "is slow"
        assert await waited() == ""
        lookup.how = "hangs"
        assert "0.3 s" in await waited()

    asyncio.run(whole())
    assert [each[0] for each in told] == ["W", "I"]


def test_notes_are_bounded():
    notes = NetworkNotes()
    for number in range(1000):
        notes.sign(Method.DNSBL, "s", "x" * 1000, 1.0)
        notes.trouble(f"{number} " + "x" * 1000)
    notes.trouble("0")
    facts = notes.facts(1.0)
    assert len(facts.signs) <= 100
    assert len(facts.troubles) == TROUBLES_LIMIT
    assert max(len(each) for each in facts.troubles) <= 300


def test_hops_are_those_of_strangers():
    ours, front = NetworkSet(("203.0.113.0/24",)), NetworkSet(("192.0.2.1",))
    hops = ("192.0.2.1", "203.0.113.9", "", "198.51.100.8", "198.51.100.8", "10.0.0.1", "198.51.100.9")
    assert foreign_hops(hops, STRANGER, ours, front, 0) == ()
    assert foreign_hops(hops, STRANGER, ours, front, 1) == ()
    assert foreign_hops(hops, STRANGER, ours, front, 2) == ("198.51.100.8",)
    assert foreign_hops(hops, STRANGER, ours, front, 100) == ("198.51.100.8", "198.51.100.9")


def test_private_addresses_and_texts_are_not_public():
    for ip in ("10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "127.0.0.1", "0.0.0.0"):
        assert not is_public(ip)
    for ip in ("::", "::1", "fe80::1", "fc00::1", "ff02::1", "224.0.0.1", "::ffff:10.0.0.1", "", "localhost"):
        assert not is_public(ip)
    for ip in ("198.51.100.7", "2001:db8::1", "::ffff:198.51.100.7"):
        assert is_public(ip)


def stored(recipients: int = 1) -> Stored:
    everyone = tuple(Recipient(f"r{number}@example.org") for number in range(recipients))
    envelope = Envelope("s@example.net", everyone, Client(STRANGER, helo="h", name="n"), direction=Direction.INBOUND)
    return Stored(1 << 40, 1 << 40, State.WAITING, 1234.5, envelope, ContentRef(1 << 40, 5, False), b"")


def service(resolver: Any = None) -> NetworkService:
    made = NetworkService(resolver, lambda: 0.0, lambda *_: None)
    made.configure(config_of('dnsbl.service = ["one.example 60"]\nown_names = ["Jane Doe <jane@example.org>"]\n'))
    return made


def test_filters_are_told_of_the_message_only_when_they_look_for_spam():
    options = ScanOptions()
    assert service().describe(options, stored()) is options
    told = service().describe(ScanOptions(spam=SpamOptions(office=True)), stored(1000)).spam
    assert told is not None
    assert told.office
    assert (told.sender, told.client_ip, told.client_name, told.helo) == ("s@example.net", STRANGER, "n", "h")
    assert told.recipients[0] == "r0@example.org"
    assert len(told.recipients) == RECIPIENTS_LIMIT
    assert (told.direction, told.now) == (Direction.INBOUND, 1234.5)
    assert told.own_names == (("Jane Doe", "jane@example.org"),)
    assert (told.own_domains, told.hostname) == (("example.org",), "gw.example.org")


@pytest.mark.parametrize("silence", [None, Silence(1000.0, ("192.0.2.53: no answer in time",))])
def test_the_status_is_json_and_names_every_check_that_is_asked(silence):
    resolver = SimpleNamespace(silence=silence)
    status = json.loads(json.dumps(service(resolver).status()))
    told = {"since": 1000.0, "servers": ["192.0.2.53: no answer in time"]}
    assert status["silent_name_servers"] == (told if silence else {})
    assert set(status["checks"]) >= {"reverse DNS", "DNSBL"}
    assert status["checks"]["DNSBL"]["asked"] == 0
    assert status["lists_off"] == {}
