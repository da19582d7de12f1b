"""Local reputation: what is learned, how it is weighed, and that it stays within bounds."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from lookup_bench import STRANGER, config_of

from gatepost.model.authn import AuthnResults
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method, NetworkFacts, Sign, SpamFacts
from gatepost.relay import reputation as reputation_module
from gatepost.relay.lookups.base import NetworkNotes
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.reputation import BAD_LIMIT, COUNT_LIMIT, GOOD_LIMIT, Reputation, ReputationTable, judge, names_of

DAY = 86400.0
NOW = 1_790_000_000.0
ENVELOPE = Envelope("s@example.net", (Recipient("r@example.org"),), Client(STRANGER))
NETWORK = [("network", "198.51.100.0/24")]


def learned(path: Path, spam: int, ham: int, now: float = NOW) -> Reputation:
    made = Reputation(path, 14 * DAY, lambda *_: None)
    for _ in range(spam):
        made.observe(NETWORK, spam=True, now=now)
    for _ in range(ham):
        made.observe(NETWORK, spam=False, now=now)
    return made


def weight(reputation: Reputation, now: float = NOW) -> float:
    notes = NetworkNotes()
    reputation.weigh(NETWORK, notes, now)
    assert all(sign.method is Method.REPUTATION for sign in notes.signs)
    return sum(sign.weight for sign in notes.signs)


def test_bad_mail_makes_a_bad_name_and_good_mail_a_good_one_within_bounds(tmp_path: Path):
    path = tmp_path / "r.bin"
    assert weight(learned(path, 0, 0)) == 0.0
    assert weight(learned(path, 2, 0)) == 0.0
    assert 0.5 < weight(learned(path, 4, 0)) < BAD_LIMIT
    assert weight(learned(path, 5000, 0)) == BAD_LIMIT
    assert weight(learned(path, 0, 5000)) == GOOD_LIMIT
    assert weight(learned(path, 50, 50)) == pytest.approx(0.0)


def test_it_is_forgotten_and_a_change_of_manners_shows_within_days(tmp_path: Path):
    made = learned(tmp_path / "r.bin", 20, 0)
    assert weight(made) == BAD_LIMIT
    assert 0 < weight(made, NOW + 28 * DAY) < BAD_LIMIT
    assert weight(made, NOW + 60 * DAY) == 0.0
    assert weight(made, NOW - DAY) == BAD_LIMIT
    long = learned(tmp_path / "r.bin", 100_000 // 50, 0)
    table = ReputationTable(14 * DAY)
    for _ in range(3000):
        table.observe(b"k", spam=True, now=NOW)
    _, bad, _ = table.weigh(b"k", NOW)
    assert bad <= COUNT_LIMIT
    for _ in range(1000):
        table.observe(b"k", spam=False, now=NOW + 14 * DAY)
    assert table.weigh(b"k", NOW + 14 * DAY)[0] < 0.0
    assert weight(long) == BAD_LIMIT


def test_names_together_weigh_no_more_than_one(tmp_path: Path):
    made = Reputation(tmp_path / "r.bin", 14 * DAY, lambda *_: None)
    names = [("network", "198.51.100.0/24"), ("domain", "example.net"), ("domain", "example.com")]
    for _ in range(100):
        made.observe(names, spam=True, now=NOW)
    notes = NetworkNotes()
    made.weigh(names, notes, NOW)
    (sign,) = notes.signs
    assert sign.weight == BAD_LIMIT
    assert "198.51.100.0/24" in sign.evidence
    assert "example.net" in sign.evidence


def test_a_sender_that_nobody_proves_has_no_name():
    assert names_of(ENVELOPE, ()) == NETWORK
    assert names_of(ENVELOPE, ("mail.example.net", "example.net", "example.com")) == [
        *NETWORK,
        ("domain", "example.net"),
        ("domain", "example.com"),
    ]
    private = Envelope("s@example.net", ENVELOPE.recipients, Client("10.0.0.1"))
    assert names_of(private, ()) == []
    six = Envelope("s@example.net", ENVELOPE.recipients, Client("2001:db8:1:2:3::4"))
    assert names_of(six, ()) == [("network", "2001:db8:1:2::/64")]


@pytest.mark.parametrize(
    ("spam", "network", "verdict"),
    [
        (SpamFacts(signs=(Sign(Method.CONTENT, "s", "e", 6.0),)), NetworkFacts(), True),
        (SpamFacts(signs=(Sign(Method.CONTENT, "s", "e", 3.0),)), NetworkFacts(), None),
        (SpamFacts(), NetworkFacts(), False),
        (SpamFacts(), NetworkFacts(dnsbl_sum=120), True),
        (SpamFacts(), NetworkFacts(signs=(Sign(Method.REPUTATION, "s", "e", 90.0),)), False),
        (SpamFacts(trouble="a check failed"), NetworkFacts(), None),
        (None, NetworkFacts(), None),
        (SpamFacts(), None, None),
    ],
)
def test_it_learns_from_all_signs_but_its_own(spam: Any, network: Any, verdict: bool | None):
    assert judge(Analysis((), spam=spam, network=network)) is verdict


def test_what_was_learned_outlives_the_process(tmp_path: Path):
    path = tmp_path / "state" / "r.bin"
    made = learned(path, 20, 0)
    asyncio.run(made.save())
    assert weight(learned(path, 0, 0)) == BAD_LIMIT
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert made.status()["learned_spam"] == 20
    assert made.status()["known"] == 1


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x81\xc4\x01k\x93\xcb" + b"\x7f\xf8" + bytes(6) + b"\x00\x00"])
def test_a_file_that_is_not_ours_is_an_empty_memory_and_said(tmp_path: Path, content: bytes):
    path = tmp_path / "r.bin"
    path.write_bytes(content)
    told: list[str] = []
    made = Reputation(path, DAY, lambda level, text: told.append(f"{level} {text}"))
    assert made.status()["known"] == 0
    assert len(told) == 1
    assert told[0].startswith("W")


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path):
    (tmp_path / ".r.bin.new").mkdir()
    told: list[str] = []
    made = Reputation(tmp_path / "r.bin", DAY, lambda _, text: told.append(text))
    made.observe(NETWORK, spam=True, now=NOW)
    asyncio.run(made.save())
    asyncio.run(made.save())
    assert len(told) == 1


def test_the_number_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reputation_module, "ENTRIES_LIMIT", 10)
    table = ReputationTable(DAY)
    for number in range(50):
        table.observe(number.to_bytes(8), spam=True, now=NOW)
    assert len(table) == 10
    again = ReputationTable(DAY)
    again.load(table.dump())
    assert len(again) == 10
    assert math.isfinite(again.weigh((49).to_bytes(8), NOW)[1])


def test_the_relay_learns_and_weighs_only_when_it_is_switched_on(tmp_path: Path):
    async def whole() -> tuple[list[Sign], list[Sign]]:
        nobody: Any = None
        service = NetworkService(nobody, asyncio.get_running_loop().time, lambda *_: None, 3)
        state = f'reputation = true\n[relay]\nstate_path = "{tmp_path}"\n'
        network = NetworkFacts(dnsbl_sum=120, authn=AuthnResults(authenticated=("example.net",)))
        analysis = Analysis((), spam=SpamFacts(), network=network)

        async def signs() -> list[Sign]:
            ongoing = service._checks.begin("Q", ENVELOPE, frozenset((Method.REPUTATION,)))
            return list((await ongoing.finish(SpamFacts())).signs) if ongoing is not None else []

        service.configure(config_of(f'[relay]\nstate_path = "{tmp_path}"\n'))
        for _ in range(9):
            service.learn(ENVELOPE, analysis)
        before = await signs()
        service.configure(config_of(state))
        for _ in range(9):
            service.learn(ENVELOPE, analysis)
        after = await signs()
        await service.close()
        return before, after

    before, after = asyncio.run(whole())
    assert before == []
    assert [sign.name for sign in after] == ["bad-reputation"]
    assert (tmp_path / "reputation-3.bin").exists()
