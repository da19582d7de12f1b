"""Inspection of mail that is not accepted yet: a verdict in time, or none; never anything left in hand."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gatepost.config.load import load_text
from gatepost.filter.pool import FilterFailed, FilterUnavailable
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus
from gatepost.model.ids import QueueIds
from gatepost.model.record import Blocked, Inspected, Scanned
from gatepost.model.spam import NetworkFacts
from gatepost.policy.group import GroupTable
from gatepost.relay import inspection as inspection_module
from gatepost.relay.disposal import Disposal, Disposition
from gatepost.relay.editing import Editing, Wording
from gatepost.relay.inspection import ACTIVE_LIMIT, Inspection
from gatepost.relay.lookups.service import NetworkService
from gatepost.relay.notifying import Notifying
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.saving import Saving
from gatepost.spool.interface import ContentRef, State, Stored

CONFIG = """
[network]
hostname = "gw.example.org"
[policy]
check = true
block_message = ["infected", "error"]
[[group]]
name = "unchecked"
recipients = ["*@unchecked.example.org"]
check = false
"""


def analysis(status: ObjectStatus) -> Analysis:
    return Analysis((ObjectReport(parent=-1, kind=ObjectKind.MEMBER, status=status),))


class Pool:
    """Answers as it is told; `None` never."""

    def __init__(self, answer: Analysis | Exception | None) -> None:
        self.answer = answer

    async def inspect(self, *_: object) -> Analysis:
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


DEADLINE_S = 60.0
OVER_S = 0.05
"""For a filter that never answers."""


def judged(
    answer: Analysis | Exception | None,
    *addresses: str,
    prepare: Callable[[Inspection], None] = lambda _: None,
    network: Any = None,
    log: list[str] | None = None,
) -> Disposition | None:
    """Return what becomes of one message; afterwards nothing may be in hand. `log` takes what is said."""

    async def run() -> Disposition | None:
        config = load_text(CONFIG, "x.toml").config
        assert config is not None
        told: list[str] = [] if log is None else log
        nobody: Any = None
        saving = Saving(lambda *_: None)
        ids = QueueIds(0, 0)
        editing = Editing()
        editing.configure(Wording(hostname="gw.example.org"))
        disposal = Disposal(
            spool=nobody,
            ids=ids,
            delivery=nobody,
            saving=saving,
            editing=editing,
            notifying=Notifying(nobody, ids, saving, OwnMark(nobody), lambda: 1_790_000_000_000, nobody, nobody),
            reports=nobody,
            clock_ms=lambda: 1_790_000_000_000,
        )
        inspection = Inspection(
            spool=nobody,
            pool=Pool(answer),  # type: ignore[arg-type]
            network=network or NetworkService(nobody, lambda: 0.0, lambda *_: None),
            disposal=disposal,
            suspects=nobody,
            report=lambda _, text: told.append(text),
            trouble=lambda error: told.append(str(error)),
        )
        inspection.configure(GroupTable.from_config(config.groups, config.ave, 60.0))
        prepare(inspection)
        before = inspection.backlog()
        recipients = tuple(Recipient(each) for each in addresses or ("a@example.org",))
        envelope = Envelope("s@example.net", recipients, Client("192.0.2.1"))
        stored = Stored(1 << 40, 1 << 40, State.WAITING, 1.0, envelope, ContentRef(1 << 40, 5, False), b"")
        waiting: Awaitable[Disposition | None] = inspection.judge(
            stored, b"x: y\r\n", None, DEADLINE_S if answer is not None else OVER_S
        )
        result = await waiting
        assert inspection.backlog() == before
        return result

    return asyncio.run(run())


def test_clean_mail_is_ready_to_be_delivered_in_the_same_commit():
    result = judged(analysis(ObjectStatus.CLEAN))
    assert result is not None
    (copy,) = result.copies
    assert (copy.id, copy.state) == (1 << 40, State.READY)
    assert [pending.domain for pending in copy.pending] == ["example.org"]
    assert [type(record) for record in result.records] == [Inspected, Scanned]


class HangingChecks:
    """Network checks that use all of their time, and then say so."""

    def __init__(self) -> None:
        self.limits: list[float | None] = []
        self.cancelled = 0

    def begin(self, *_: object) -> "HangingChecks":
        return self

    def describe(self, options: object, _: object) -> object:
        return options

    async def finish(self, _: object, limit_s: float | None) -> NetworkFacts:
        self.limits.append(limit_s)
        await asyncio.sleep(max(0.0, limit_s or 0.0))
        return NetworkFacts(troubles=tuple(f"trouble {number}" for number in range(5)))

    def learn(self, *_: object) -> None:
        pass

    def tell(self, *_: object) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled += 1


def test_network_checks_leave_time_for_the_verdict(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inspection_module, "DECISION_S", DEADLINE_S - 0.01)
    checks, log = HangingChecks(), list[str]()
    result = judged(analysis(ObjectStatus.CLEAN), network=checks, log=log)
    assert ["network checks: trouble 0; trouble 1; trouble 2; and 2 more" in line for line in log] == [True]
    assert result is not None
    assert len(result.copies) == 1
    (limit,) = checks.limits
    assert limit is not None
    assert limit <= 0.01
    assert checks.cancelled
    slow = HangingChecks()
    assert judged(None, network=slow) is None
    assert slow.limits == []
    assert slow.cancelled


def test_blocked_mail_has_no_copies_and_mixed_mail_those_that_are_not():
    infected = analysis(ObjectStatus.INFECTED)
    result = judged(infected)
    assert result is not None
    assert not result.copies
    assert [type(record) for record in result.records] == [Inspected, Scanned, Blocked]
    mixed = judged(infected, "a@example.org", "b@unchecked.example.org")
    assert mixed is not None
    (copy,) = mixed.copies
    assert [each.address for each in copy.envelope.recipients] == ["b@unchecked.example.org"]
    assert copy.source == 1 << 40
    assert any(isinstance(record, Blocked) and record.recipients == ("a@example.org",) for record in mixed.records)


def test_what_takes_two_filters_with_it_is_judged_as_an_error():
    result = judged(FilterFailed("killed twice"))
    assert result is not None
    assert not result.copies


@pytest.mark.parametrize("answer", [None, FilterUnavailable("none"), OSError("no file")], ids=repr)
def test_no_verdict_in_time(answer):
    assert judged(answer) is None


def test_no_verdict_when_scanning_is_off_or_there_is_too_much_in_hand():
    clean = analysis(ObjectStatus.CLEAN)

    def off(inspection: Inspection) -> None:
        inspection.running = False

    def full(inspection: Inspection) -> None:
        inspection._active.update(dict.fromkeys(range(ACTIVE_LIMIT), 0))

    assert judged(clean, prepare=off) is None
    assert judged(clean, prepare=full) is None


def test_the_oldest_message_is_known_by_its_id():
    def look(inspection: Inspection) -> None:
        assert inspection.oldest() == 0
        inspection._active[70] = 0
        assert inspection.oldest() == 70
        inspection._oldest_left = 60
        assert inspection.oldest() == 60
        inspection._active.clear()
        assert inspection.oldest() == 60
        inspection._oldest_left = 0

    judged(analysis(ObjectStatus.CLEAN), prepare=look)
