"""Greylisting: who is asked to come again, who is not, and what is remembered over processes."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from access_visits import BASE, STRANGER, Clock, TableResolver, access_of, causes, config_of, found, services_of

from gatepost.config.schema import Config, Listener
from gatepost.relay import greylist_store
from gatepost.relay.greylist_store import GreylistStore, Terms
from gatepost.relay.greylisting import FILE, Greylisting, build_greylisting
from gatepost.relay.visit import Visit
from gatepost.resolver.answers import Answer, Kind
from gatepost.spool import clock

DAY = 86400.0
TERMS = Terms(delay_s=300.0, retry_within_s=2 * DAY, lifetime_s=35 * DAY, known_good_after=3)


class Names(TableResolver):
    def cached(self, name: str, kind: Kind) -> None:
        return None

    def prefetch(self, name: str, kind: Kind) -> bool:
        return True

    async def ask(self, name: str, kind: Kind, *, deadline_s: float | None = None) -> Answer:
        return await self._answer(kind.name, name)

    async def confirmed_name(self, ip: str, *, deadline_s: float | None = None) -> Answer:
        return await self._answer("confirmed", ip)


class Bench:
    """Greylisting on a clock, in one directory; `again` is another relay, or the next process."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.clock = Clock(1_790_000_000.0)
        self.names = Names()
        self.told: list[str] = []
        self.config = self.configured("")
        self.made: list[Greylisting] = []
        self.greylisting = self.again()

    def configured(self, text: str) -> Config:
        base = f'[relay]\nstate_path = "{self.state}"\n[greylisting]\nenabled = true\nknown_good_after = 3\n'
        return config_of(BASE + base + text)

    def again(self) -> Greylisting:
        made = build_greylisting(self.config, self.names, self.clock, self.told.append)
        assert made is not None
        self.made.append(made)
        return made

    def close(self) -> None:
        for each in self.made:
            each.memory.close()

    def wait(self, recipient: str = "r@example.org", **visit: Any) -> float:
        """Return how long one attempt has to wait."""

        async def ask() -> float:
            answer = self.greylisting.judge(visit_of(**visit), recipient)
            return 0.0 if answer is None else await answer

        return asyncio.run(ask())

    def passes_without_a_question(self, recipient: str = "r@example.org", **visit: Any) -> bool:
        return self.greylisting.judge(visit_of(**visit), recipient) is None


def visit_of(ip: str = STRANGER, sender: str = "s@example.net", **facts: Any) -> Visit:
    visit = Visit(ip, 4711, Listener())
    visit.sender = sender
    visit.helo = "helo.example.net"
    for name, value in facts.items():
        setattr(visit, name, value)
    return visit


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_a_first_attempt_waits_and_a_retry_after_the_delay_passes(bench: Bench):
    assert bench.wait() == 300.0
    bench.clock.now += 299
    assert bench.wait() == pytest.approx(1.0)
    bench.clock.now += 1
    assert bench.wait() == 0.0
    assert bench.passes_without_a_question()


def test_each_pair_of_sender_and_recipient_waits_for_itself_whatever_the_case(bench: Bench):
    assert bench.wait() == 300.0
    bench.clock.now += 300
    assert bench.wait("other@example.org") == 300.0
    assert bench.wait(sender="t@example.net") == 300.0
    assert bench.wait("R@Example.ORG", sender="S@example.net") == 0.0


def test_a_retry_may_come_to_another_relay_and_after_a_restart(bench: Bench):
    assert bench.wait() == 300.0
    bench.greylisting = bench.again()
    bench.clock.now += 300
    assert bench.wait() == 0.0
    bench.greylisting = bench.again()
    assert bench.wait() == 0.0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("198.51.100.7", "198.51.100.200", True),
        ("198.51.100.7", "198.51.101.7", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:198.51.100.7", "198.51.100.8", True),
    ],
)
def test_a_retry_may_come_from_another_address_of_the_network(bench: Bench, first: str, second: str, same: bool):
    assert bench.wait(ip=first) == 300.0
    bench.clock.now += 300
    assert (bench.wait(ip=second) == 0.0) is same


def test_a_retry_may_come_from_another_address_of_a_pool_with_names(bench: Bench):
    bench.names.table["confirmed", "198.51.100.7"] = found("out1.mail.example.net")
    bench.names.table["confirmed", "203.0.113.7"] = found("out2.mail.example.net")
    assert bench.wait(ip="198.51.100.7") == 300.0
    bench.clock.now += 300
    assert bench.wait(ip="203.0.113.7") == 0.0
    assert bench.wait(ip="192.0.2.7") == 300.0


def test_homes_of_one_provider_are_no_pool(bench: Bench):
    bench.names.table["confirmed", "198.51.100.7"] = found("198-51-100-7.dyn.example.net")
    bench.names.table["confirmed", "203.0.113.7"] = found("203-0-113-7.dyn.example.net")
    assert bench.wait(ip="198.51.100.7") == 300.0
    bench.clock.now += 300
    assert bench.wait(ip="203.0.113.7") == 300.0


def test_a_retry_may_come_from_any_address_that_may_send_for_the_domain(bench: Bench):
    bench.names.table["TXT", "example.net"] = found(b"v=spf1 ip4:198.51.0.0/16 -all")
    assert bench.wait(ip="198.51.100.7") == 300.0
    bench.clock.now += 300
    assert bench.wait(ip="198.51.200.7") == 0.0
    assert bench.wait(ip="203.0.113.7") == 300.0


@pytest.mark.parametrize("purge_s", [greylist_store.PURGE_EVERY_S, 1e9])
def test_a_network_whose_mail_came_again_often_enough_is_known_good(
    bench: Bench, purge_s: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(greylist_store, "PURGE_EVERY_S", purge_s)
    for number in range(3):
        assert bench.wait(f"r{number}@example.org") == 300.0
    bench.clock.now += 300
    for number in range(3):
        assert bench.wait(f"r{number}@example.org") == 0.0
    assert bench.wait("new@example.org", sender="new@example.com") == 0.0
    assert bench.passes_without_a_question("newer@example.org", sender="new@example.com")
    bench.clock.now += 36 * DAY
    assert bench.wait("newest@example.org") == 300.0


def test_one_triplet_that_comes_again_and_again_counts_once(bench: Bench):
    assert bench.wait() == 300.0
    for _ in range(9):
        bench.clock.now += 700
        assert bench.wait() == 0.0
    assert bench.wait("other@example.org") == 300.0


@pytest.mark.parametrize("purge_s", [greylist_store.PURGE_EVERY_S, 1e9])
def test_what_came_too_late_is_new_and_what_passed_is_remembered_long(
    bench: Bench, purge_s: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(greylist_store, "PURGE_EVERY_S", purge_s)
    assert bench.wait() == 300.0
    bench.clock.now += 2 * DAY + 1
    assert bench.wait() == 300.0
    bench.clock.now += 300
    assert bench.wait() == 0.0
    bench.clock.now += 34 * DAY
    assert bench.wait() == 0.0
    bench.clock.now += 34 * DAY
    assert bench.wait() == 0.0
    bench.clock.now += 36 * DAY
    assert bench.wait() == 300.0


def test_a_clock_that_is_not_believed_makes_nobody_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    assert bench.wait("known@example.org") > 0
    bench.clock.now += 400
    assert bench.wait("known@example.org") == 0
    assert bench.wait("waiting@example.org") > 0
    bench.clock.now += 365 * DAY
    monkeypatch.setattr(clock, "is_believed", lambda: False)
    bench.greylisting = bench.again()
    assert bench.wait("known@example.org") == 0
    assert bench.wait("waiting@example.org") == 0
    assert bench.wait("new@example.org") > 0
    bench.clock.now -= 365 * DAY
    monkeypatch.setattr(clock, "is_believed", lambda: True)
    bench.greylisting = bench.again()
    assert bench.wait("known@example.org") == 0
    assert 0 < bench.wait("new@example.org") <= TERMS.delay_s


def test_a_clock_that_is_put_back_makes_nobody_wait_longer_than_the_delay(bench: Bench):
    assert bench.wait() == 300.0
    bench.clock.now -= 10 * DAY
    assert bench.wait() == 300.0
    bench.clock.now += 300
    assert bench.wait() == 0.0


@pytest.mark.parametrize(
    ("facts", "recipient"),
    [
        ({"trusted": True}, "r@example.org"),
        ({"user": "somebody"}, "r@example.org"),
        ({"hidden": True}, "r@example.org"),
        ({"spared": True}, "r@example.org"),
        ({"sender": ""}, "r@example.org"),
        ({}, "Postmaster@example.org"),
        ({"ip": "203.0.113.9"}, "r@example.org"),
        ({"sender": "news@partner.example"}, "r@example.org"),
        ({}, "hotline@example.org"),
        ({"ip": "unknown"}, "r@example.org"),
    ],
)
def test_these_are_never_asked_to_come_again(bench: Bench, tmp_path: Path, facts: dict[str, Any], recipient: str):
    skips = (
        'skip_clients = ["203.0.113.0/24"]\nskip_senders = ["*@partner.example"]\n'
        'skip_recipients = ["hotline@example.org"]\n'
    )
    bench.config = bench.configured(skips)
    bench.greylisting = bench.again()
    assert bench.passes_without_a_question(recipient, **facts)
    assert not (tmp_path / FILE).exists()


def test_off_is_the_default_and_costs_no_file(tmp_path: Path):
    config = config_of(BASE + f'[relay]\nstate_path = "{tmp_path}"\n')
    assert build_greylisting(config, Names(), Clock(), print) is None
    assert not list(tmp_path.iterdir())


def test_a_new_configuration_keeps_the_memory_and_switching_off_lets_it_go(bench: Bench):
    assert bench.wait() == 300.0
    memory = bench.greylisting.memory
    bench.config = bench.configured('delay = "600 s"\n')
    made = build_greylisting(bench.config, bench.names, bench.clock, print, bench.greylisting)
    assert made is not None
    assert made.memory is memory
    bench.greylisting = made
    bench.clock.now += 300
    assert bench.wait() == 300.0
    off = config_of(BASE + f'[relay]\nstate_path = "{bench.state}"\n')
    assert build_greylisting(off, bench.names, bench.clock, print, made) is None
    assert bench.wait() == 0.0  # whoever still goes by the old one takes mail


def test_mail_is_taken_when_the_memory_cannot_be_used_and_it_is_said_once(bench: Bench, tmp_path: Path):
    (tmp_path / FILE).mkdir()
    assert bench.wait() == 0.0
    assert bench.wait() == 0.0
    assert len(bench.told) == 1
    assert FILE in bench.told[0]


def test_a_damaged_file_is_set_aside_and_begun_anew(bench: Bench, tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"this is no database, and it is long enough to be looked at" * 100)
    assert bench.wait() == 300.0
    bench.clock.now += 300
    assert bench.wait() == 0.0
    assert (tmp_path / f"{FILE}.bad").exists()
    assert len(bench.told) == 1


def test_a_file_of_another_version_is_set_aside(tmp_path: Path):
    path = tmp_path / FILE
    GreylistStore(path).close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    store = GreylistStore(path)
    assert "99" in store.trouble
    assert store.counts() == (0, 0)
    store.close()


class Broken:
    """A connection to a file that has become malformed."""

    def execute(self, *_: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("damaged", [True, False])
def test_a_file_that_breaks_is_replaced_unless_another_relay_has_done_so(tmp_path: Path, damaged: bool):
    path = tmp_path / FILE
    store = GreylistStore(path)
    assert store.judge((b"k" * 16,), b"c" * 16, 1000.0, TERMS).wait_s == 300.0
    store.close()
    store._db = Broken()  # type: ignore[assignment]
    if damaged:
        path.write_bytes(b"x" * path.stat().st_size)
    wait_s = store.judge((b"k" * 16,), b"c" * 16, 1100.0, TERMS).wait_s
    assert wait_s == (300.0 if damaged else 200.0)
    assert bool(store.trouble) is damaged
    store.close()


def test_what_is_past_its_time_is_forgotten_and_the_number_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(greylist_store, "ROWS_LIMIT", 50)
    monkeypatch.setattr(greylist_store, "PURGE_ROWS", 20)
    store = GreylistStore(tmp_path / FILE)
    for number in range(60):
        store.judge((number.to_bytes(16),), b"c" * 16, 1000.0 + number / 100, TERMS)
    assert store.counts()[0] == 60
    store.judge((b"n" * 16,), b"c" * 16, 1100.0, TERMS)
    assert store.counts()[0] == 41  # twenty went at once, so that it is not done for every row
    for turn in range(5):
        store.judge((b"m" * 16,), b"c" * 16, 1000.0 + 3 * DAY + turn * 100, TERMS)
    assert store.counts()[0] == 1
    store.close()


def test_the_client_hears_451_at_rcpt_and_is_counted_when_it_comes_again(tmp_path: Path):
    clock = Clock()
    services = services_of(Names(), clock)
    text = (
        f'[access]\nrelay_rule = ["allow from any to @protected"]\n[relay]\nstate_path = "{tmp_path}"\n'
        '[greylisting]\nenabled = true\ndelay = "1 s"\n[rates]\nclient_recipients = 1\n'
    )
    access = access_of(text, services=services)
    two = ("a@example.org", "b@example.org")
    assert causes(access, recipients=(*two, "x@elsewhere.example")) == [
        "",
        "",
        "",
        "greylisted",
        "greylisted",
        "relaying",
    ]
    assert services.greylisting is not None
    services.greylisting._terms = Terms(0.0, 2 * DAY, 35 * DAY, 0)  # as if the second were over
    assert causes(access, recipients=two) == ["", "", "", "", "rate"]
    services.greylisting.memory.close()
