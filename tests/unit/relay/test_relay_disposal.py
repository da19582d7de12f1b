"""What a disposition leaves behind that cannot be carried out: no notification is told, kept or counted."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gatepost.config.load import load_text
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis, ObjectKind, ObjectReport, ObjectStatus
from gatepost.model.ids import QueueIds
from gatepost.model.record import Notified, Record
from gatepost.policy.group import GroupTable
from gatepost.relay.disposal import Disposal
from gatepost.relay.editing import Editing, Wording
from gatepost.relay.notifying import Notifying
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.saving import Save, Saving
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentRef, NewMessage, SpoolBroken, SpoolError, State, Stored
from gatepost.storage.store import StoreError

CONFIG = """
[network]
hostname = "gw.example.org"
[path]
outgoing_archive_path = "/nowhere/outgoing"
[notices]
limit = 2
[policy]
check = true
block_message = ["infected"]
notify_admin = ["infected"]
admin_notify_address = ["admin@example.org"]
"""
ID = 1 << 40


class Content:
    """Staged content that knows what became of it."""

    def __init__(self, number: int) -> None:
        self.ref = ContentRef(number, 0, False)
        self.data = b""
        self.discarded = False

    def write(self, chunk: bytes) -> None:
        self.data += chunk

    def read(self) -> bytes:
        return self.data

    def discard(self) -> None:
        self.discarded = True


class Case:
    """A disposal over a store and a spool that fail as they are told, one failure for each call."""

    def __init__(self, stores: Sequence[Exception | None] = (), spool: Sequence[Exception | None] = ()) -> None:
        config = load_text(CONFIG, "x.toml").config
        assert config is not None
        self.store_failures, self.spool_failures = list(stores), list(spool)
        self.staged: list[Content] = []
        self.committed: list[tuple[Sequence[Record], Sequence[NewMessage]]] = []
        nobody: Any = None
        case = self

        class Stores(Saving):
            async def save(self, saves: Sequence[Save]) -> list[Any]:
                failure = case.store_failures.pop(0) if saves and case.store_failures else None
                if failure is not None:
                    raise failure
                return []

        me: Any = self
        ids, saving, editing = QueueIds(0, 0), Stores(lambda *_: None), Editing()
        saving.configure(config)
        wording = Wording(hostname="gw.example.org")
        editing.configure(wording)
        notifying = Notifying(me, ids, saving, OwnMark(nobody), lambda: 1_790_000_000_000, lambda _: None, nobody)
        groups = GroupTable.from_config(config.groups, config.ave, 60.0)
        notifying.configure(config.notices, wording, groups.groups)
        self.partition = [(groups.groups[-1], (0,))]
        self.disposal = Disposal(
            spool=me,
            ids=ids,
            delivery=nobody,
            saving=saving,
            editing=editing,
            notifying=notifying,
            reports=nobody,
            clock_ms=lambda: 1_790_000_000_000,
        )

    def stage(self, number: int) -> Content:
        self.staged.append(Content(number))
        return self.staged[-1]

    async def dispose(
        self, _: int, copies: Sequence[Stored], records: Sequence[Record], generated: Sequence[NewMessage]
    ) -> None:
        failure = self.spool_failures.pop(0) if self.spool_failures else None
        if failure is not None:
            raise failure
        assert not copies
        self.committed.append((records, tuple(generated)))

    async def attempt(self) -> None:
        """Dispose of an infected message that is blocked."""
        report = ObjectReport(parent=-1, kind=ObjectKind.MEMBER, status=ObjectStatus.INFECTED, threat="Bad")
        envelope = Envelope("s@example.net", (Recipient("a@example.org"),), Client("192.0.2.1"))
        stored = Stored(ID, ID, State.WAITING, 1.0, envelope, ContentRef(ID, 5, False), b"")
        done = self.disposal.dispose(Work(stored, b"x: y\r\n"), self.partition, Analysis((report,)))
        assert done is not None
        await done


def test_a_store_that_cannot_be_written_makes_no_notifications() -> None:
    full = StoreError("full")
    case = Case(stores=[full, full, full, full])

    async def run() -> None:
        for _ in range(4):
            with pytest.raises(StoreError):
                await case.attempt()
        assert not case.staged
        await case.attempt()

    asyncio.run(run())
    ((records, generated),) = case.committed  # told at once: the failures have not used up the limit
    assert [record.recipients for record in records if isinstance(record, Notified)] == [1]
    assert [new.content for new in generated] == case.staged


def test_a_notification_that_cannot_be_archived_leaves_nothing() -> None:
    case = Case(stores=[None, StoreError("full")])
    with pytest.raises(StoreError):
        asyncio.run(case.attempt())
    assert [content.discarded for content in case.staged] == [True]


@pytest.mark.parametrize(("failure", "discarded"), [(SpoolError("full"), True), (SpoolBroken("fsync"), False)])
def test_notifications_go_with_a_commit_that_failed_and_stay_when_nobody_knows(
    failure: SpoolError, discarded: bool
) -> None:
    case = Case(spool=[failure])
    with pytest.raises(type(failure)):
        asyncio.run(case.attempt())
    assert [content.discarded for content in case.staged] == [discarded]
