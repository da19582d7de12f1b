"""A small state directory with something in every part, and a look at all of it.

`python -m tests.support.state_sample OUT.tar.xz` keeps one, as this program writes it, for the tests of later versions
(`tests/unit/migration`): run it once for each format, when the format is new, and never again.
"""

import asyncio
import contextlib
import io
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gatepost.antispam.classifier.training import Step
from gatepost.control.accounts import Account, AccountBook
from gatepost.control.rights import Role
from gatepost.licence.usage import FILE as USAGE_FILE
from gatepost.licence.usage import UsageBook, read_usage
from gatepost.master.digest_state import DigestState, Run
from gatepost.master.learning_journal import Entry, Journal
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.ids import EPOCH_MS
from gatepost.model.record import ENCODER, Received
from gatepost.recorder.books import HISTORY_FILE
from gatepost.spool.interface import Pending
from gatepost.spool.writer import SqliteSpool
from gatepost.storage.item import Item, StoreKind, item_id
from gatepost.storage.query import ItemFilter
from gatepost.storage.store import New, Store
from gatepost.storage.tracking.history import History, read_series
from gatepost.storage.tracking.readers import Readers
from gatepost.storage.tracking.search import find_mail
from gatepost.storage.tracking.store import TrackingStore
from gatepost.testing.spool_suite import LARGE, SMALL, new_message

AT = 1_790_000_000.0
ID = (int(AT * 1000) - EPOCH_MS) << 22
RECORD = Received(ID, AT, "from@client.example", 2, len(SMALL), "192.0.2.1", "client", "<m@client.example>", "E")
ITEM_CONTENT = b"Subject: kept\r\n\r\nbody\r\n"


def make_sample(state: Path) -> None:
    """Write one."""
    asyncio.run(_fill_queue(str(state / "queue" / "relay-0")))
    tracking = state / "tracking"
    tracking.mkdir()
    store = TrackingStore(tracking, lambda *_: None)
    store.apply("s", 0, 1, [RECORD], [ENCODER.encode(RECORD)])
    store.commit()
    store.close()
    history = History(tracking / HISTORY_FILE)
    history.apply("s", 1, [RECORD])
    history.commit()
    history.close()
    usage = UsageBook(tracking / USAGE_FILE)
    usage.fresh("s", 1, 1)
    usage.add_address("to@one.example", AT)
    usage.add_bytes(100, AT)
    usage.close()
    (state / "learned").mkdir()
    journal = Journal(state / "learned" / "journal.db")
    step = Step(True, 0.5, np.zeros(3, np.float16), 0.5, (0.0, 0.0, 0.0))
    journal.replace(None, Entry(0, b"digest", True, AT, "admin", "operator", "", 0.25, b"packed", step))
    journal.close()
    digests = DigestState(state / "user-quarantine")
    digests.turn(AT, 86400.0)
    digests.note_used(b"link", AT + 86400, AT)
    digests.put_run("default", Run(AT - 60, AT, done=True))
    digests.close()
    AccountBook(state / "accounts.json").put(Account("admin", Role.ADMIN, "no password"))
    with Store(str(state / "quarantine"), create=True) as kept:
        envelope = Envelope("from@client.example", (Recipient("to@one.example"),), Client("192.0.2.1"))
        item = Item(
            item_id(ID, StoreKind.QUARANTINE), StoreKind.QUARANTINE, "", "", AT, AT, envelope, len(ITEM_CONTENT), "INF"
        )
        assert kept.put([New(item, lambda: [ITEM_CONTENT])]) == [None]


async def _fill_queue(directory: str) -> None:
    spool = SqliteSpool.open(directory, asyncio.get_running_loop())
    await spool.start()
    await spool.accept(new_message(spool, ID, SMALL), [RECORD])
    await spool.accept(new_message(spool, ID + 1, LARGE, [Pending(0, "one.example", AT)]), [])
    await spool.close()


async def _read_queue(directory: str) -> Any:
    spool = SqliteSpool.open(directory, asyncio.get_running_loop())
    records: list[object] = []
    spool.consume("sample", lambda _, new: records.extend(new))
    await spool.start()
    try:
        waiting, ready = [await spool.fetch(number) for number in (ID, ID + 1)]
        return (
            [recipient.address for recipient in waiting.envelope.recipients],  # type: ignore[union-attr]
            await spool.content(waiting.content) == SMALL,  # type: ignore[union-attr]
            await spool.content(ready.content) == LARGE,  # type: ignore[union-attr]
            [each.id - ID for each in await spool.due("one.example", AT, 10)],
            records == [RECORD],
        )
    finally:
        await spool.close()


SEEN: dict[str, Any] = {
    "queue": (["to@one.example", "to@two.example"], True, True, [1], True),
    "tracking": ("from@client.example", len(SMALL)),
    "history": 1,
    "usage": (1, 100),
    "learned": [("admin", True, 0.25, 0.5)],
    "digests": (True, False, Run(AT - 60, AT, done=True), 1),
    "accounts": [("admin", "no password")],
    "quarantine": [("INF", ITEM_CONTENT)],
}
"""What `look` finds in one that is whole."""


def look(state: Path) -> dict[str, Any]:
    """Read all of it with the modules that the gateway reads it with."""
    with contextlib.closing(Readers(state / "tracking")) as readers:
        mail = find_mail(readers, ID)
    series = read_series(state / "tracking" / HISTORY_FILE, AT - 60, AT + 60, 60)
    usage = read_usage(state / "tracking" / USAGE_FILE, AT)
    journal = Journal(state / "learned" / "journal.db")
    digests = DigestState(state / "user-quarantine")
    try:
        learned = [(entry.who, entry.spam, entry.opinion, entry.step.text) for entry in journal.entries()]
        links = digests.is_used(b"link"), digests.is_used(b"other"), digests.run_of("default"), len(digests.keys)
    finally:
        journal.close()
        digests.close()
    with Store(str(state / "quarantine")) as kept:
        rows = kept.page(ItemFilter(), AT)
        quarantine = [(row.code, b"".join(kept.content(row.id))) for row in rows]
    assert mail is not None
    return {
        "queue": asyncio.run(_read_queue(str(state / "queue" / "relay-0"))),
        "tracking": (mail.sender, mail.size),
        "history": sum(series["columns"]["received"]),
        "usage": (usage.users, usage.bytes_today),
        "learned": learned,
        "digests": links,
        "accounts": [(each.name, each.password) for each in AccountBook(state / "accounts.json").all],
        "quarantine": quarantine,
    }


def pack(state: Path, target: Path) -> None:
    """Keep a state directory in an archive."""
    with tarfile.open(target, "w:xz") as archive:
        for path in sorted(state.rglob("*")):
            if path.is_file() and not path.name.endswith(("-shm", "-wal", "lock")):
                info = tarfile.TarInfo(str(path.relative_to(state)))
                info.size, info.mode = path.stat().st_size, 0o600
                archive.addfile(info, io.BytesIO(path.read_bytes()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        make_sample(Path(name))
        assert look(Path(name)) == SEEN
        pack(Path(name), Path(sys.argv[1]))
