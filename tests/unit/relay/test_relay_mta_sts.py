"""MTA-STS: records and policies as domains publish them, and how long they are kept."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.relay import sts_store
from gatepost.relay.mta_sts import MAX_AGE_LIMIT_S, POLICY_LIMIT, Mode, StsPolicy, parse_policy, parse_record
from gatepost.relay.outgoing_tls import OutgoingTls
from gatepost.relay.sts_store import RETRY_S, StsStore
from gatepost.resolver.answers import Answer, Kind, Outcome
from gatepost.resolver.resolver import Resolver

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mx1.example.org\r\nmx: *.Backup.example.org.\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "policy_id"),
    [
        ([b"v=STSv1; id=20260101T010101;"], "20260101T010101"),
        ([b"v=STSv1;id=a"], "a"),
        ([b"v=spf1 -all", b"v=STSv1; id=1; more=x"], "1"),
        ([b"v=STSv1; id=1;", b"v=STSv1; id=2;"], ""),
        ([b"v=STSv1; id=;"], ""),
        ([b"v=STSv1; id=not-alphanumeric;"], ""),
        ([b"v=STSv1; id=" + b"x" * 33], ""),
        ([b"v=STSv2; id=1;"], ""),
        ([], ""),
    ],
)
def test_records(texts: list[bytes], policy_id: str) -> None:
    assert parse_record(texts) == policy_id


def test_policy() -> None:
    policy = parse_policy(GOOD)
    assert policy == StsPolicy(Mode.ENFORCE, ("mx1.example.org", "*.backup.example.org"), 604800)
    assert parse_policy(GOOD.replace(b"\r\n", b"\n")) == policy
    assert isinstance(policy, StsPolicy)
    assert policy.allows("MX1.example.org")
    assert policy.allows("a.backup.example.org")
    assert not policy.allows("a.b.backup.example.org")
    assert not policy.allows("mx2.example.org")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ((b"STSv1", b"STSv2"), "version"),
        ((b"enforce", b"strict"), "mode"),
        ((b"max_age: 604800", b"max_age: soon"), "max_age"),
        ((b"max_age: 604800", b"max_age: -1"), "max_age"),
        ((b"max_age: 604800", b""), "max_age"),
        ((b"mx1.example.org", b"mx1 example org"), "no mail host"),
        ((b"mx: mx1.example.org\r\nmx: *.Backup.example.org.\r\n", b""), "names no mail host"),
        ((b"version", b"x" * POLICY_LIMIT), "too long"),
    ],
)
def test_policies_that_do_not_count(change: tuple[bytes, bytes], why: str) -> None:
    assert why in str(parse_policy(GOOD.replace(*change)))


def test_life_is_bounded_and_the_first_of_two_fields_counts() -> None:
    policy = parse_policy(GOOD.replace(b"604800", b"9999999999") + b"mode: none\r\nmax_age: 1\r\nunknown: x\r\n")
    assert policy == StsPolicy(Mode.ENFORCE, ("mx1.example.org", "*.backup.example.org"), MAX_AGE_LIMIT_S)


@given(st.binary(max_size=400))
def test_any_text_is_a_policy_or_a_reason(text: bytes) -> None:
    assert isinstance(parse_policy(text), StsPolicy | str)
    assert isinstance(parse_record([text]), str)


class FakeResolver:
    """TXT records that the test sets; every host has an address."""

    def __init__(self) -> None:
        self.record = b"v=STSv1; id=1;"

    async def ask(self, _name: str, _kind: Kind) -> Answer[bytes]:
        await asyncio.sleep(0)
        return Answer(Outcome.FOUND, (self.record,)) if self.record else Answer(Outcome.NO_NAME)

    async def addresses(self, _host: str) -> Answer[str]:
        return Answer(Outcome.FOUND, ("192.0.2.1",))


class World:
    """A store with a clock to step and policies to hand out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
        self.now = 1000.0
        self.state = state
        self.told: list[str] = []
        self.resolver = FakeResolver()
        self.result: StsPolicy | str = StsPolicy(Mode.ENFORCE, ("mx.example.org",), 3600)
        self.fetches: list[str] = []
        self.store = self.start(0)

        async def fetch(host: str, _addresses: object, _tls: object) -> StsPolicy | str:
            self.fetches.append(host)
            await asyncio.sleep(0)
            return self.result

        monkeypatch.setattr(sts_store, "fetch_policy", fetch)
        monkeypatch.setattr(sts_store, "SAVE_S", 0.0)
        monkeypatch.setattr(sts_store.clock, "now", lambda: 1_700_000_000.0 + self.now)

    def start(self, number: int) -> StsStore:
        """A relay's store, begun on what the state directory holds."""
        store = StsStore(
            cast("Resolver", self.resolver),
            number=number,
            report=lambda level, text: self.told.append(f"{level} {text}"),
            monotonic=lambda: self.now,
        )
        store.configure(cast("OutgoingTls", None), self.state)
        return store

    def file(self, number: int = 0) -> Path:
        return self.state / f"mta-sts-{number}.json"


@pytest.fixture
def world(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]:
    async def whole(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        await scenario(World(monkeypatch, tmp_path))

    return lambda scenario: asyncio.run(whole(scenario))


Run = Callable[[Callable[[World], Coroutine[Any, Any, None]]], None]


def test_policy_is_kept_for_its_life_unless_its_id_changes(world: Run) -> None:
    async def scenario(w: World) -> None:
        first = w.result
        assert await w.store.find("example.org") == first
        w.now += 3599
        assert await w.store.find("example.org") == first
        assert w.fetches == ["mta-sts.example.org"]
        w.resolver.record, w.result = b"v=STSv1; id=2;", StsPolicy(Mode.TESTING, ("other.example.org",), 60)
        assert await w.store.find("example.org") == w.result
        w.now += 61
        assert await w.store.find("example.org") == w.result
        assert len(w.fetches) == 3

    world(scenario)


def test_mails_that_ask_at_once_share_one_policy(world: Run) -> None:
    async def scenario(w: World) -> None:
        found = await asyncio.gather(*(w.store.find("example.org") for _ in range(3)))
        assert found == [w.result] * 3
        assert w.fetches == ["mta-sts.example.org"]

    world(scenario)


def test_valid_policy_holds_when_record_or_server_are_gone(world: Run) -> None:
    """An attacker who can suppress both must not get rid of the policy (RFC 8461 §3.3, §10.2)."""

    async def scenario(w: World) -> None:
        first = await w.store.find("example.org")
        w.resolver.record = b""
        assert await w.store.find("example.org") == first
        w.resolver.record, w.result = b"v=STSv1; id=2;", "HTTP status 404"
        assert await w.store.find("example.org") == first
        w.now += 3600
        assert await w.store.find("example.org") is None

    world(scenario)


def test_server_that_fails_is_let_alone_for_a_while(world: Run) -> None:
    async def scenario(w: World) -> None:
        w.result = "no answer in time"
        assert await w.store.find("example.org") is None
        w.now += RETRY_S - 1
        assert await w.store.find("example.org") is None
        assert len(w.fetches) == 1
        w.now += 1
        w.result = StsPolicy(Mode.ENFORCE, ("mx.example.org",), 60)
        assert await w.store.find("example.org") == w.result

    world(scenario)


def test_many_mails_at_once_fetch_once(world: Run) -> None:
    async def scenario(w: World) -> None:
        found = await asyncio.gather(*(w.store.find("example.org") for _ in range(20)))
        assert found == [w.result] * 20
        assert len(w.fetches) == 1

    world(scenario)


def test_domain_without_a_record_is_not_fetched_and_none_is_no_policy(world: Run) -> None:
    async def scenario(w: World) -> None:
        w.resolver.record = b""
        assert await w.store.find("example.org") is None
        assert not w.fetches
        w.resolver.record, w.result = b"v=STSv1; id=3;", StsPolicy(Mode.NONE, (), 60)
        assert await w.store.find("example.org") is None

    world(scenario)


def test_policy_outlives_its_relay(world: Run) -> None:
    """Who can suppress record and server must not be rid of the policy because a relay starts anew (RFC 8461 §10.2)."""

    async def scenario(w: World) -> None:
        first = await w.store.find("example.org")
        await w.store.close()
        w.now += 3599
        w.resolver.record = b""
        for number in (0, 1):  # the same relay, and another one that has learnt nothing itself
            assert await w.start(number).find("example.org") == first
        w.now += 1
        assert await w.start(0).find("example.org") is None
        assert not w.told

    world(scenario)


def test_of_two_relays_files_the_later_policy_counts(world: Run) -> None:
    async def scenario(w: World) -> None:
        await w.store.find("example.org")
        other = w.start(1)
        w.now += 10
        w.resolver.record, w.result = b"v=STSv1; id=2;", StsPolicy(Mode.ENFORCE, ("new.example.org",), 3600)
        await other.find("example.org")
        await w.store.close()
        await other.close()
        w.resolver.record = b""
        for number in (0, 1, 2):
            assert await w.start(number).find("example.org") == w.result
        assert len(w.fetches) == 2

    world(scenario)


def test_policy_that_was_superseded_does_not_come_back_from_another_relay(world: Run) -> None:
    """Its successor lives for a shorter time: `none` for a day is how domains end a policy (RFC 8461 §8.3)."""

    async def scenario(w: World) -> None:
        await w.store.find("example.org")
        other = w.start(1)
        w.now += 10
        w.resolver.record, w.result = b"v=STSv1; id=2;", StsPolicy(Mode.NONE, (), 60)
        await other.find("example.org")
        await w.store.close()
        await other.close()
        w.now += 61
        w.resolver.record = b""
        assert await w.start(2).find("example.org") is None

    world(scenario)


def test_clock_that_was_ahead_makes_no_policy_live_longer_than_it_says(world: Run) -> None:
    async def scenario(w: World) -> None:
        w.now += 1e8
        first = await w.store.find("example.org")
        await w.store.close()
        w.now -= 1e8
        w.resolver.record = b""
        store = w.start(0)
        w.now += 3599
        assert await store.find("example.org") == first
        w.now += 1
        assert await store.find("example.org") is None

    world(scenario)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"example.org": {"id": "1"}}', b"\xff\xfe"])
def test_broken_file_is_told_and_costs_only_what_it_knew(world: Run, raw: bytes) -> None:
    async def scenario(w: World) -> None:
        w.file(7).write_bytes(raw)
        store = w.start(0)
        assert [text for text in w.told if text.startswith("W") and "mta-sts-7.json cannot be used" in text]
        assert await store.find("example.org") == w.result
        await store.close()
        assert b"mx.example.org" in w.file().read_bytes()

    world(scenario)


def test_file_that_promises_too_much_is_not_believed(world: Run) -> None:
    async def scenario(w: World) -> None:
        await w.store.find("example.org")
        await w.store.close()
        w.file().write_bytes(
            w.file().read_bytes().replace(b'"max_age_s":3600', b'"max_age_s":%d' % (MAX_AGE_LIMIT_S + 1))
        )
        w.resolver.record = b""
        assert await w.start(0).find("example.org") is None

    world(scenario)


def test_disk_that_takes_nothing_is_told_once_and_policies_hold(world: Run) -> None:
    async def scenario(w: World) -> None:
        w.file().mkdir()
        for domain in ("example.org", "example.net"):
            assert await w.store.find(domain) == w.result
            while w.store._saving is not None:  # noqa: ASYNC110 - the write is a thread's
                await asyncio.sleep(0.01)
        assert [text for text in w.told if text.startswith("E")] == [
            next(text for text in w.told if text.startswith("E MTA-STS policies cannot be written"))
        ]
        w.file().rmdir()
        assert await w.store.find("example.com") == w.result
        await w.store.close()
        assert w.file().read_bytes().count(b"mx.example.org") == 3

    world(scenario)


def test_policy_in_use_is_fetched_anew_before_it_ends_and_mail_does_not_wait(world: Run) -> None:
    async def scenario(w: World) -> None:
        first = await w.store.find("example.org")
        w.now += 1799
        await w.store.find("example.org")
        assert len(w.fetches) == 1
        w.now += 1
        w.result = "HTTP status 503"
        assert await w.store.find("example.org") == first
        await asyncio.gather(*w.store._fetching.values())
        assert len(w.fetches) == 2
        assert await w.store.find("example.org") == first
        assert len(w.fetches) == 2  # a server that fails is let alone for a while
        w.now += RETRY_S
        w.result = StsPolicy(Mode.TESTING, ("mx.example.org",), 3600)
        assert await w.store.find("example.org") == first  # beside the mail, which does not wait for it
        await asyncio.gather(*w.store._fetching.values())
        assert await w.store.find("example.org") == w.result
        w.now += 1799
        w.resolver.record = b""
        assert await w.store.find("example.org") == w.result  # its life counts from the last fetch
        assert len(w.fetches) == 3

    world(scenario)


def test_servers_that_never_end_keep_no_thread_of_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those threads read and sync content: mail must not wait for servers of policies."""

    async def scenario() -> None:
        over = threading.Event()
        monkeypatch.setattr(sts_store._Request, "run", lambda _: "given up" if over.wait(200) else "")
        fetches = [
            asyncio.create_task(sts_store.fetch_policy(f"mta-sts.{n}.example", (), cast("OutgoingTls", None)))
            for n in range(40)
        ]
        try:
            async with asyncio.timeout(100):
                assert await asyncio.to_thread(lambda: "read") == "read"
            assert not any(fetch.done() for fetch in fetches)
        finally:
            over.set()
        assert set(await asyncio.gather(*fetches)) == {"given up"}

    asyncio.run(scenario())


def test_a_fetch_given_up_tries_no_further_address(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    request = sts_store._Request("mta-sts.example", ("192.0.2.1", "192.0.2.2"), cast("OutgoingTls", None))

    def connect(address: tuple[str, int], _timeout_s: float) -> None:
        tried.append(address[0])
        request.cancel()
        raise OSError("no route")

    monkeypatch.setattr(sts_store.socket, "create_connection", connect)
    assert request.run() == "no route"
    assert tried == ["192.0.2.1"]
