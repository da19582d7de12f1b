"""`make prove NAME=tracking`: what recording costs, and how fast searches are among ten million records.

Records of a month are made as relays would send them and given to the recorder's own books, in steps that can be broken
off and taken up again (build/prove-tracking/). Then each kind of search is asked many times, its answers compared with
what was generated. The result goes into docs/performance.md. `--records` makes a short run of it.
"""

import argparse
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.gateway import Gateway  # noqa: E402
from tests.support.sink import Sink  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from gatepost.model.ids import EPOCH_MS, format_queue_id  # noqa: E402
from gatepost.model.record import (  # noqa: E402
    ENCODER,
    Blocked,
    Deferred,
    Delivered,
    Inspected,
    Received,
    Record,
    Refused,
    Saved,
    Scanned,
    SignNote,
    SpamChecked,
)
from gatepost.recorder.answers import Answers  # noqa: E402
from gatepost.recorder.books import Books  # noqa: E402
from gatepost.recorder.frames import Rows  # noqa: E402
from gatepost.recorder.settings import RecorderSettings  # noqa: E402
from gatepost.storage.tracking.postings import SEGMENT_MAILS  # noqa: E402
from result_pages import DOCS, made_at, write_section  # noqa: E402

PLACE = ROOT / "build" / "prove-tracking"
RECORDS = 10_000_000
DAYS = 30
DAY_S = 86_400
FIRST_MOMENT = 1_790_000_000 // DAY_S * DAY_S
"""The generated month is always the same one: what is there is taken up again."""
BATCH_MAILS = 64
"""Mails of one commit under load."""
SEARCH_LIMIT_MS = 200.0
RECORDING_LIMIT_MS = 0.10
COST_MAILS = 300
"""Of one turn of a gateway: more take it no nearer, more turns do."""
BOOKS_ROUNDS = 5
SAMPLE_MAILS = 40_000
"""What the recorder's own work is measured with."""
ROUNDS = 40
SOURCE = "prove"
UNBOUND = {"part of a subject (window)", "counts of a month"}
"""Not promised within the limit: a window's work is bounded, a month is added up."""

SETTLE_S = 2.5
"""For what is written behind the mail: the recorder's commit, the confirmation."""
CONTENT = b"Subject: cost of recording\r\n\r\n" + b"0123456789abcdef" * 120 + b"\r\n"

WORDS = [
    "invoice",
    "report",
    "meeting",
    "order",
    "update",
    "offer",
    "question",
    "project",
    "delivery",
    "account",
    "summer",
    "contract",
    "request",
    "reminder",
    "payment",
    "schedule",
    "answer",
    "photos",
    "travel",
    "ticket",
    "proposal",
    "budget",
    "review",
    "release",
    "notes",
    "minutes",
    "agenda",
    "newsletter",
]


def scattered(number: int, salt: int) -> int:
    """Return 32 bits that look like chance, the same ones each time."""
    mixed = (number + 1) * 0x9E3779B97F4A7C15 + salt * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 31) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return mixed >> 32


def skewed(number: int, salt: int, limit: int) -> int:
    """Return a number below a limit: few are common, most are rare."""
    return int(limit * (scattered(number, salt) / 2**32) ** 4)


class Mails:
    """The generated month: mail n is always the same."""

    def __init__(self, records: int) -> None:
        self.mails = records * 10 // 54
        """Of ten mails come about 54 records."""

    def at(self, number: int) -> float:
        return FIRST_MOMENT + number * (DAYS * DAY_S - 1) / self.mails

    def id(self, number: int) -> int:
        return (int(self.at(number) * 1000) - EPOCH_MS) << 22 | (number & 1023)

    def sender(self, number: int) -> str:
        return f"user{skewed(number, 1, 200_000)}@d{skewed(number, 2, 50_000)}.example"

    def recipient(self, number: int) -> str:
        return f"person{scattered(number, 3) % 20_000}@org{scattered(number, 4) % 40}.example"

    def subject(self, number: int) -> str:
        first, second, third = (WORDS[scattered(number, salt) % len(WORDS)] for salt in (5, 6, 7))
        return f"{first.title()} {second} {third} {number % 1_000_003}"

    def ip(self, number: int) -> str:
        dice = scattered(number, 8)
        return f"192.{skewed(number, 9, 250)}.{dice % 250}.{dice // 250 % 250}"

    def message_id(self, number: int) -> str:
        return f"<{number:x}.{number * 2_654_435_761 % 2**32:08x}@mailer{number % 977}.example>"

    def records(self, number: int) -> list[Record]:
        mail, at = self.id(number), self.at(number)
        sender, recipient, subject = self.sender(number), self.recipient(number), self.subject(number)
        made: list[Record] = []
        if number % 4 == 0:
            refused = Refused(at, self.ip(number + 1), "rcpt", "dnsbl", 554, sender, recipient, "spam.example")
            made.append(refused)
        made.append(
            Received(
                mail, at, sender, 1, 20_000 + number % 9000, self.ip(number), "mail.example", self.message_id(number),
                "E", tls="TLSv1.3 TLS_AES_256_GCM_SHA384", addresses=(recipient,), listener="192.0.2.1:25",
                direction="inbound",
            )
        )  # fmt: skip
        spam, infected, deferred = number % 10 == 3, number % 100 == 7, number % 20 == 11
        made.append(Inspected(mail, at + 0.02, subject, 1.5, 9.0, (("filter", 4.0), ("network", 8.0)), 3))
        made.append(
            Scanned(
                mail, at + 0.02, "policy", 1, ("infected",) if infected else ("clean",), mail,
                ("Trojan.Test",) if infected else (), ("clean", "clean", "clean"),
            )
        )  # fmt: skip
        signs = ("surbl-hit", "html-only") if spam else ("dkim-pass",)
        notes = tuple(SignNote("content", name, 1.5, "seen in the second part") for name in signs)
        status, rate = ("spam", 95) if spam else ("not_detected", 3)
        made.append(
            SpamChecked(mail, at + 0.02, "policy", 1, status, rate, ("content",), mail, spam, False, signs, notes)
        )
        if spam:
            made.append(Saved(mail, at + 0.02, "spam-quarantine", f"{format_queue_id(mail)}-7A7A7A", (status,)))
            made.append(Blocked(mail, at + 0.03, (recipient,), 20_000, "spam"))
            return made
        hop = f"mx{number % 40}.example"
        if deferred:
            made.append(Deferred(mail, at + 0.1, recipient, hop, "451 4.3.0 try again", at + 900, "203.0.113.9", hop))
        when = at + (900 if deferred else 0.1)
        made.append(
            Delivered(
                mail, when, recipient, hop, 20_000, True, "250 2.0.0 Ok: queued as 4XyZ", when - at, "203.0.113.9",
                hop, "TLSv1.3", 0.05,
            )
        )  # fmt: skip
        return made


def batches(mails: Mails, start: int, stop: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield (mail number behind the batch, encoded records, count) as one relay commits them."""
    for first in range(start, stop, BATCH_MAILS):
        last = min(first + BATCH_MAILS, stop)
        records = [record for number in range(first, last) for record in mails.records(number)]
        yield last, ENCODER.encode(records), len(records)


def fill(mails: Mails, place: Path, stop: int = 0, json_file: str = "") -> dict[str, float]:
    """Have the books take what is missing of the month, or of its first `stop` mails; return what that cost."""
    (place / "tracking").mkdir(parents=True, exist_ok=True)
    done_file = place / "done"
    done, number = map(int, done_file.read_text().split()) if done_file.exists() else (0, 0)
    settings = RecorderSettings(
        directory=str(place / "tracking"), socket="", questions="", retention_days=100_000, json_file=json_file
    )
    books = Books(settings, print)
    cpu = 0.0
    begun = done
    told = time.monotonic()
    for last, raw_records, count in batches(mails, done, stop or mails.mails):
        began = time.process_time()
        books.take(SOURCE, 0, [Rows(number + 1, count, raw_records)])
        number += count
        if books.full:
            books.commit()
            books.seal()
            cpu += time.process_time() - began
            done_file.write_text(f"{last} {number}")
        else:
            cpu += time.process_time() - began
        done = last
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"  {done:,} of {mails.mails:,} mails, {number:,} records", flush=True)
    began = time.process_time()
    books.commit()
    books.tend(mails.at(mails.mails))
    books.close()
    cpu += time.process_time() - began
    done_file.write_text(f"{done} {number}")
    return {"mails": done - begun, "records": number, "ms": 1000 * cpu / max(1, done - begun)}


def searches(mails: Mails) -> dict[str, Callable[[random.Random], tuple[dict[str, Any], int | None]]]:
    """Return the kinds of search: each gives arguments, and the number of a mail that must be found (None: some)."""

    def some(dice: random.Random) -> int:
        return dice.randrange(mails.mails)

    def rare(name: str, value: Callable[[int], str]) -> Callable[[random.Random], tuple[dict[str, Any], int]]:
        def make(dice: random.Random) -> tuple[dict[str, Any], int]:
            number = some(dice)
            return {name: value(number)}, number

        return make

    def subject(dice: random.Random) -> tuple[dict[str, Any], int]:
        number = some(dice)
        return {"subject": mails.subject(number)}, number

    def rare_sender(dice: random.Random) -> tuple[dict[str, Any], None]:
        return {"sender": mails.sender(some(dice))}, None

    return {
        "queue id": rare("id", lambda n: format_queue_id(mails.id(n))),
        "message id": rare("message_id", mails.message_id),
        "message id, its beginning": rare("message_id", lambda n: mails.message_id(n)[1:14] + "*"),
        "sender": rare_sender,
        "sender, its beginning": lambda dice: ({"sender": mails.sender(some(dice))[:-9] + "*"}, None),
        "sender, one letter of it": lambda _: ({"sender": "u*"}, None),
        "sender, unknown": lambda dice: ({"sender": f"nobody{dice.random()}@nowhere.example"}, None),
        "domain of the sender": lambda dice: ({"sender": "@" + mails.sender(some(dice)).partition("@")[2]}, None),
        "recipient": lambda dice: ({"recipient": mails.recipient(some(dice))}, None),
        "recipient and status": lambda dice: (
            {"recipient": mails.recipient(some(dice)), "status": "quarantined"},
            None,
        ),
        "words of the subject": subject,
        "client": lambda dice: ({"client": mails.ip(some(dice))}, None),
        "next hop": lambda dice: ({"hop": f"mx{dice.randrange(40)}.example"}, None),
        "finding": lambda _: ({"finding": "surbl-hit"}, None),
        "status": lambda dice: ({"status": dice.choice(["delivered", "quarantined", "refused", "infected"])}, None),
        "finding and status that never meet": lambda _: ({"finding": "dkim-pass", "status": "quarantined"}, None),
        "a span of time": lambda dice: ({"since": (at := mails.at(some(dice))), "until": at + 600}, None),
        "whatever somebody has": lambda dice: ({"text": mails.recipient(some(dice))}, None),
        "part of a subject (window)": lambda dice: ({"subject": f"*{dice.randrange(10**5):05}*"}, None),
    }


def ask(mails: Mails, place: Path) -> list[dict[str, Any]]:
    """Ask each kind of search many times; return its times. AssertionError when something is not found."""
    settings = RecorderSettings(directory=str(place / "tracking"), socket="", questions="")
    books = Books(settings, print)
    answers = Answers(place / "tracking", lambda: books.masking)
    rows = []
    for name, make in searches(mails).items():
        dice = random.Random(4711)
        times, work, found = [], [], []
        for _ in range(ROUNDS):
            arguments, wanted = make(dice)
            began, busy = time.perf_counter(), time.process_time()
            answer = answers.answer("tracking.search", arguments)
            times.append(1000 * (time.perf_counter() - began))
            work.append(1000 * (time.process_time() - busy))
            found.append(len(answer["mails"]))
            ids = [mail["id"] for mail in answer["mails"]]
            assert ids == sorted(ids, reverse=True), f"{name}: not newest first"
            if wanted is not None:
                assert format_queue_id(mails.id(wanted)) in ids, f"{name}: {arguments} did not find mail {wanted}"
        rows.append(
            {"name": name, "p50": statistics.median(times), "worst": max(times), "cpu": max(work), "found": max(found)}
        )
    last = mails.at(mails.mails)
    for name, call, arguments in (
        ("life of a mail", "tracking.mail", {"id": format_queue_id(mails.id(mails.mails // 2))}),
        ("counts of a day", "tracking.counts", {"since": last - 2 * DAY_S, "until": last - DAY_S}),
        ("counts of a month", "tracking.counts", {"since": FIRST_MOMENT, "until": last}),
        ("series of a day", "tracking.series", {"since": last - DAY_S, "until": last}),
        ("series of a month", "tracking.series", {"since": FIRST_MOMENT, "until": last}),
    ):
        times, work = [], []
        for _ in range(5):
            began, busy = time.perf_counter(), time.process_time()
            answers.answer(call, arguments)
            times.append(1000 * (time.perf_counter() - began))
            work.append(1000 * (time.process_time() - busy))
        rows.append({"name": name, "p50": statistics.median(times), "worst": max(times), "cpu": max(work), "found": 1})
    books.close()
    return rows


def cpu_of(pids: Iterable[int]) -> float:
    """Return the CPU seconds that the threads of processes have used, to the nanosecond: ticks are 10 ms."""
    total = 0
    for pid in pids:
        for schedule in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(schedule.read_text().split()[0])
    return total / 1e9


def _has_sent(gateway: Gateway, mails: int) -> bool:
    return gateway.counter("mta_sent_messages") >= mails


def undisturbed(turns: Sequence[float]) -> float:
    """Return the mean of the least third of what turns took: what others do on the cores only ever adds to it."""
    return statistics.mean(sorted(turns)[: max(1, len(turns) // 3)])


def measure_books(mails: Mails) -> float:
    """Return the CPU ms a mail of five to six records costs the recorder with JSON lines, all of it in the index."""
    costs = []
    for _ in range(BOOKS_ROUNDS):
        with tempfile.TemporaryDirectory() as sample:
            costs.append(fill(mails, Path(sample), 2 * SEGMENT_MAILS, json_file=f"{sample}/records.jsonl")["ms"])
    return min(costs)


def measure_cost(place: Path, mails: int, rounds: int) -> dict[str, float]:
    """Return the CPU ms a mail that recording costs a gateway, and what of that is the recorder's: three gateways in
    turns, one without, one with tracking, one with JSON lines besides. Each round begins with another of them.
    """
    kinds = {
        "without": "enabled = false\n",
        "tracking": "enabled = true\n",
        "tracking and JSON lines": f'json_file = "{place}/records.jsonl"\n',
    }
    spent: dict[str, list[float]] = {name: [] for name in kinds}
    recorder: dict[str, list[float]] = {name: [] for name in kinds}
    with Sink() as sink, contextlib.ExitStack() as stack:
        gateways = {}
        for number, (name, settings) in enumerate(kinds.items()):
            gateways[name] = stack.enter_context(
                Gateway(
                    place / f"cost-{number}",
                    sink.port,
                    settings=f"\n[tracking]\n{settings}",
                    replace={"\ncheck = true\n": "\ncheck = false\n"},
                )
            )
        names = list(kinds)
        for turn in range(rounds + 1):
            for name in (*names[turn % 3 :], *names[: turn % 3]):
                gateway = gateways[name]
                pids, mine = gateway.pids(), gateway.ask("tracking.status")["pid"]
                before, of_recorder = cpu_of(pids), cpu_of([mine])
                with gateway.client() as client:
                    for _ in range(mails):
                        client.sendmail("sender@example.net", ["user@example.org"], CONTENT)
                wait_for(partial(_has_sent, gateway, mails * (turn + 1)), "the mails to go out", 120)
                time.sleep(SETTLE_S)
                if turn:  # the first turn warms up
                    spent[name].append(1000 * (cpu_of(pids) - before) / mails)
                    recorder[name].append(1000 * (cpu_of([mine]) - of_recorder) / mails)
    cost = {"without": undisturbed(spent["without"])}
    for name in names[1:]:
        cost[name] = undisturbed(spent[name]) - cost["without"]
        cost[f"{name}, of that the recorder"] = undisturbed(recorder[name])
    return cost


def report(filled: dict[str, float], rows: list[dict[str, Any]], size: int) -> str:
    """Return the section of docs/performance.md."""
    mails = filled["records"] * 10 / 54
    lines = [
        f"{filled['records']:,.0f} records of about {mails:,.0f} mails and refused attempts over {DAYS} days, "
        f"{size / 1e9:.1f} GB ({size / filled['records']:,.0f} bytes a record, index included).",
        f"The recorder needed {filled['ms']:.3f} ms CPU a mail for tracking and history, index included.",
        "",
        "| search | median ms | worst ms | worst ms of CPU | found on the page |",
        "|---|---|---|---|---|",
        *(f"| {r['name']} | {r['p50']:.1f} | {r['worst']:.1f} | {r['cpu']:.1f} | {r['found']} |" for r in rows),
    ]
    return "\n".join([*lines, "", f"`make prove NAME=tracking`, {made_at()}; the core's neighbours were as they are."])


def main() -> int:
    """Fill, ask, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--place", type=Path, default=PLACE)
    parser.add_argument("--cost", type=int, default=0, metavar="ROUNDS", help="only what recording costs a gateway")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    options = parser.parse_args()
    place = options.place / str(options.records)
    if options.cost:
        with tempfile.TemporaryDirectory() as scratch:
            cost = measure_cost(Path(scratch), COST_MAILS, options.cost)
        cost["the recorder, of mail with inspection and with the index"] = measure_books(Mails(RECORDS))
        told = ", ".join(f"{name} {ms:.3f}" for name, ms in cost.items())
        print(f"CPU ms a mail: {told}")
        return max(ms for name, ms in cost.items() if name != "without") > RECORDING_LIMIT_MS
    if options.fresh:
        shutil.rmtree(place, ignore_errors=True)
    mails = Mails(options.records)
    filled = fill(mails, place)
    with tempfile.TemporaryDirectory() as sample:
        filled["ms"] = fill(mails, Path(sample), min(SAMPLE_MAILS, mails.mails))["ms"]
    print(f"{filled['records']:,.0f} records; {filled['ms']:.3f} ms CPU a mail")
    rows = ask(mails, place)
    for row in rows:
        print(f"{row['name']:40} {row['p50']:8.1f} {row['worst']:8.1f} {row['cpu']:8.1f} ms   {row['found']}")
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    if options.records == RECORDS:
        write_section("tracking", report(filled, rows, size), DOCS / "performance.md")
    slow = [row["name"] for row in rows if row["cpu"] > SEARCH_LIMIT_MS and row["name"] not in UNBOUND]
    if slow:
        print(f"slower than {SEARCH_LIMIT_MS:.0f} ms: {', '.join(slow)}", file=sys.stderr)
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main())
