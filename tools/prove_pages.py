"""`make prove NAME=pages`: how long an administrator waits for pages and answers when there is very much.

Pages about mail of the past are made by the console's application over the ten million records of `prove_tracking`, as
if it were their last day. Pages of queue and quarantine come from a running gateway with 100,000 waiting mails and
100,000 stored ones. Besides: what recording costs while others search, and how far the log of the file grows. The
result goes into docs/performance.md. Smaller numbers make a short run of it.
"""

import argparse
import http.client
import shutil
import statistics
import sys
import tempfile
import threading
import time
import types
import urllib.parse
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tools"))

from tests.support.gateway import Gateway  # noqa: E402
from tests.support.ports import free_port  # noqa: E402
from tests.support.scripted_console import ScriptedGateway, visit  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

import prove_scale  # noqa: E402
import prove_tracking as tracking  # noqa: E402
from gatepost.config.load import load  # noqa: E402
from gatepost.console.pages import dashboard  # noqa: E402
from gatepost.model.envelope import Client, Envelope, Recipient  # noqa: E402
from gatepost.model.ids import format_queue_id  # noqa: E402
from gatepost.recorder.answers import Answers  # noqa: E402
from gatepost.recorder.books import Books  # noqa: E402
from gatepost.recorder.frames import Rows  # noqa: E402
from gatepost.recorder.settings import RecorderSettings  # noqa: E402
from gatepost.spool.shard import shard_directory  # noqa: E402
from gatepost.storage.index import Index  # noqa: E402
from gatepost.storage.item import Item, StoreKind, item_id, status_code  # noqa: E402
from gatepost.storage.layout import Layout  # noqa: E402
from result_pages import DOCS, made_at, write_section  # noqa: E402

QUEUED = 100_000
STORED = 100_000
ROUNDS = 7
PAGE_LIMIT_MS = 1000.0
"""CPU of one page, whoever spends it: longer and a person waits. Files of thousands of rows are not pages."""
WAL_LIMIT_MB = 64.0
SEARCHED_MAILS = 30_000
"""Mails taken while others search: half a day of an ordinary site."""
PASSWORD = "correct horse battery"

Row = dict[str, Any]


def timed(name: str, work: Callable[[], Any], busy: Callable[[], float] = time.process_time) -> Row:
    """Do it several times after one that warms up; return its times and CPU times in ms."""
    work()
    times, spent = [], []
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), busy()
        work()
        times.append(1000 * (time.perf_counter() - began))
        spent.append(1000 * (busy() - used))
    row = {"name": name, "p50": statistics.median(times), "worst": max(times), "cpu": statistics.median(spent)}
    print(f"{name:52} {row['p50']:8.0f} {row['worst']:8.0f} {row['cpu']:8.0f} ms", flush=True)
    return row


# --- pages about mail of the past


def past_pages(records: int) -> list[Row]:
    """Return the times of the pages about mail of the past."""
    mails = tracking.Mails(records)
    place = tracking.PLACE / str(records)
    tracking.fill(mails, place)
    last = mails.at(mails.mails)
    books = Books(RecorderSettings(directory=str(place / "tracking"), socket="", questions=""), print)
    answers = Answers(place / "tracking", lambda: books.masking)

    def ask(call: str) -> Callable[[dict[str, Any]], Any]:
        return lambda arguments: answers.answer(call, arguments)

    calls = ("tracking.search", "tracking.mail", "tracking.counts", "tracking.series")
    gateway = ScriptedGateway({call: ask(call) for call in calls})
    setattr(dashboard, "time", types.SimpleNamespace(time=lambda: last))  # noqa: B010 - for it, the month ends just now
    day = time.strftime("%Y-%m-%d", time.gmtime(last - tracking.DAY_S))
    month = f"since={time.strftime('%Y-%m-%d', time.gmtime(tracking.FIRST_MOMENT))}&until={day}"
    middle = mails.mails // 2
    pages = {
        "dashboard": "/?span=day",
        "dashboard, its live part": "/dashboard/now",
        "statistics of a day": f"/reports?since={day}&until={day}",
        "statistics of the month": f"/reports?{month}",
        "statistics of the month, as CSV": f"/reports/file/senders?{month}",
        "mail, the newest": "/tracking",
        "mail of a recipient": "/tracking?" + urllib.parse.urlencode({"recipient": mails.recipient(middle)}),
        "mail by words of the subject": "/tracking?" + urllib.parse.urlencode({"subject": mails.subject(middle)}),
        "life of a mail": f"/tracking/{format_queue_id(mails.id(middle))}",
        "mail as CSV, all rows of a file": "/tracking/file.csv?status=delivered",
    }
    rows = []
    for name, path in pages.items():
        answer = visit(gateway, path, fragment=path.startswith("/dashboard/"))
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        rows.append(timed(name, partial(visit, gateway, path, fragment=path.startswith("/dashboard/"))))
    books.close()
    return rows


# --- recording while others search


def _search_on(answers: Answers, ended: threading.Event, asked: Counter[str]) -> None:
    searches = [{"status": "quarantined"}, {"recipient": "person7@org7.example"}, {"subject": "*77*"}, {}]
    while not ended.is_set():
        answers.answer("tracking.search", searches[asked.total() % len(searches)])
        asked["searches"] += 1


def searched_while_recording(place: Path) -> dict[str, float]:
    """Take mails with and without somebody who searches all the while; return what a mail cost, and the log's size."""
    mails = tracking.Mails(tracking.RECORDS)
    cost: dict[str, float] = {}
    largest = 0
    for name in ("alone", "searched"):
        directory = place / name
        books = Books(RecorderSettings(directory=str(directory), socket="", questions="", retention_days=10**5), print)
        ended = threading.Event()
        asked = Counter[str]()
        look = partial(_search_on, Answers(directory, partial(getattr, books, "masking")), ended, asked)
        readers = [threading.Thread(target=look) for _ in range(2 * (name == "searched"))]
        number = 0
        for reader in readers:
            reader.start()
        for _, raw_records, count in tracking.batches(mails, 0, SEARCHED_MAILS):
            used = time.thread_time()
            books.take("prove", 0, [Rows(number + 1, count, raw_records)])
            number += count
            if books.full:
                books.commit()
                books.seal()
                largest = max([largest, *(path.stat().st_size for path in directory.glob("*-wal"))])
            cost[name] = cost.get(name, 0.0) + time.thread_time() - used
        ended.set()
        for reader in readers:
            reader.join()
        books.close()
        print(f"recording, {name}: {1000 * cost[name] / SEARCHED_MAILS:.3f} ms CPU a mail, {asked.total()} searches")
    facts = {f"{name}_ms": 1000 * spent / SEARCHED_MAILS for name, spent in cost.items()}
    return {**facts, "wal_mb": largest / 1e6}


# --- a running gateway with much in it


def fill_store(directory: Path, stored: int) -> None:
    """Enter spam of a month into the index of a store: lists and searches read nothing else."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    layout = Layout(str(directory))
    layout.make()
    if Path(layout.index).exists():
        return
    mails = tracking.Mails(stored * 5)
    now = time.time()
    index = Index(layout.index, fresh=True)
    with index.writing():
        for number in range(stored):
            message = mails.id(number)
            saved = now - (stored - number) * 20
            envelope = Envelope(
                mails.sender(number), (Recipient(mails.recipient(number)),), Client(mails.ip(number), 25, "mx.example")
            )
            index.put(
                Item(
                    id=item_id(message, StoreKind.SPAM_QUARANTINE),
                    store=StoreKind.SPAM_QUARANTINE,
                    queue_id=format_queue_id(message),
                    source=format_queue_id(message),
                    saved_at=saved,
                    received_at=saved,
                    envelope=envelope,
                    size=20_000,
                    code=status_code(StoreKind.SPAM_QUARANTINE, ("spam",)),
                    group="policy",
                    statuses=("spam",),
                    rate=95,
                    subject=mails.subject(number),
                )
            )
    index.filled()
    index.close()


class Browser:
    """Somebody who is signed in."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookie = ""
        status, fields = self._ask("POST", "/sign-in", {"name": "ada", "password": PASSWORD})
        assert status == 303, status
        self._cookie = "; ".join(line.partition(";")[0] for line in fields.get_all("Set-Cookie") or ())

    def get(self, path: str) -> None:
        """Ask for a page. AssertionError when there is none."""
        status, _ = self._ask("GET", path)
        assert status == 200, f"{path}: {status}"

    def _ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        fields = {"Host": f"localhost:{self._port}", "Cookie": self._cookie}
        if form is not None:
            fields |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://localhost:{self._port}"}
        connection.request(method, path, urllib.parse.urlencode(form) if form is not None else None, fields)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers


def present_pages(place: Path, queued: int, stored: int) -> list[Row]:
    """Return the times of the pages of queue and quarantine; CPU is that of all of the gateway's processes."""
    state = place / "gateway"
    prove_scale.fill(shard_directory(str(state / "queue"), 0), queued)
    gateway = Gateway(state, free_port(), console=True)
    loaded = load(gateway.config)
    assert loaded.config is not None, loaded.errors
    store = Path(loaded.config.groups[-1].spam_quarantine_path)
    fill_store(store, stored)
    with gateway:
        wait_for(lambda: gateway.ask("console.status")["up"], "the console", 60)
        gateway.ask("accounts.add", name="ada", role="admin", password=PASSWORD)
        assert gateway.status()["queue"]["ready"] == queued
        shown = gateway.ask("stores.list", kinds=["spam-quarantine"], totals=True)["totals"]["items"]
        assert shown == stored, f"{shown} items are in the list"
        browser = Browser(gateway.console_port)
        pages = {
            "queue": "/queue",
            "queue, mail of a domain": "/queue?domain=d7.example",
            "queue, a sender that nobody is": "/queue?sender=nobody@nowhere.example",
            "quarantine": "/quarantine",
            "quarantine, words of the subject": "/quarantine?text=invoice+budget",
            "quarantine, a sender": "/quarantine?sender=*@d7.example",
            "dashboard of a running gateway": "/",
            "service": "/service",
            "problems": "/problems",
        }
        pids = gateway.pids()
        busy = partial(tracking.cpu_of, pids)
        return [timed(name, partial(browser.get, path), busy) for name, path in pages.items()]


def report(past: Sequence[Row], present: Sequence[Row], facts: dict[str, float], options: argparse.Namespace) -> str:
    """Return the section of docs/performance.md."""

    def table(rows: Sequence[Row]) -> list[str]:
        head = ["| page | median ms | worst ms | ms of CPU |", "|---|---|---|---|"]
        return [
            *head,
            *(f"| {row['name']} | {row['p50']:.0f} | {row['worst']:.0f} | {row['cpu']:.0f} |" for row in rows),
        ]

    return "\n".join(
        [
            f"Among {options.records:,} records, answers and page together:",
            "",
            *table(past),
            "",
            f"A running gateway, {options.queued:,} mails waiting and {options.stored:,} stored; CPU of all processes:",
            "",
            *table(present),
            "",
            f"Recording {SEARCHED_MAILS:,} mails of 5.4 records: {facts['alone_ms']:.3f} ms CPU a mail, and "
            f"{facts['searched_ms']:.3f} while two threads search without a pause; the log of the file stays below "
            f"{facts['wal_mb']:.0f} MB.",
            "",
            f"`make prove NAME=pages`, {made_at()}; other work on the machine at the same time.",
        ]
    )


def main() -> int:
    """Measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=tracking.RECORDS)
    parser.add_argument("--queued", type=int, default=QUEUED)
    parser.add_argument("--stored", type=int, default=STORED)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="pages"))
    try:
        facts = searched_while_recording(place)
        present = present_pages(place, options.queued, options.stored)
        past = past_pages(options.records)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if (options.records, options.queued, options.stored) == (tracking.RECORDS, QUEUED, STORED):
        write_section("pages", report(past, present, facts, options), DOCS / "performance.md")
    slow = [row["name"] for row in (*past, *present) if row["cpu"] > PAGE_LIMIT_MS and "all rows" not in row["name"]]
    if slow:
        print(f"more than {PAGE_LIMIT_MS:.0f} ms: {', '.join(slow)}", file=sys.stderr)
    if facts["wal_mb"] > WAL_LIMIT_MB:
        print(f"the log grows to {facts['wal_mb']:.0f} MB", file=sys.stderr)
    return bool(slow or facts["wal_mb"] > WAL_LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
