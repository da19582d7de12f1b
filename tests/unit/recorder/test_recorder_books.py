"""The recorder's books: views, history and tracking in step; masking; JSON lines that are neither doubled nor missing."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.tracking.support_tracking import NOON, SOURCE, life, mail_id, received, refused

from gatepost.model.ids import format_queue_id
from gatepost.model.record import ENCODER, Deferred, Delivered, Generated, Operated, Record, SignNote, SpamChecked
from gatepost.recorder import answers
from gatepost.recorder.answers import PAGE_LIMIT, Answers
from gatepost.recorder.books import HISTORY_FILE, Books
from gatepost.recorder.frames import Rows
from gatepost.recorder.json_view import NOTE_FILE
from gatepost.recorder.masking import Masking, load_mask_key
from gatepost.recorder.settings import RecorderSettings
from gatepost.recorder.telling import tell_record
from gatepost.recorder.view import Batch
from gatepost.storage.tracking.history import DELAYS_S, find_percentile, read_series

KEY = b"k" * 32


def settings(place: Path, **changes: Any) -> RecorderSettings:
    return RecorderSettings(directory=str(place / "tracking"), socket="", questions="", **changes)


class Recorded:
    """Books, and records given to them as a relay sends them."""

    def __init__(self, place: Path, *views: Any, **changes: Any) -> None:
        self.said: list[tuple[str, str]] = []
        self.settings = settings(place, **changes)
        self.books = Books(self.settings, lambda level, text: self.said.append((level, text)), views)
        self.number = 0

    def add(self, *records: Record) -> None:
        self.books.take(SOURCE, 0, [Rows(self.number + 1, len(records), ENCODER.encode(records))])
        self.number += len(records)

    def answer(self, call: str, **arguments: Any) -> Any:
        self.books.commit()
        return Answers(self.books.directory, lambda: self.books.masking).answer(call, arguments)


class Seen:
    """A view that keeps what it gets, and fails when it is told to."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.flushed = 0
        self.broken = False

    def configure(self, settings: RecorderSettings) -> None:
        del settings

    def consume(self, batch: Batch) -> None:
        if self.broken:
            raise RuntimeError("no more")
        self.batches.append(batch)

    def flush(self) -> None:
        self.flushed += 1

    def close(self) -> None:
        pass


def test_a_commit_tells_how_far_everything_is_kept(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.add(*life(0))
    recorded.add(*life(1))
    assert recorded.books.commit() == {SOURCE: recorded.number}
    assert recorded.books.commit() == {}


def test_records_that_cannot_be_read_hold_up_nothing(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.books.take(SOURCE, 0, [Rows(1, 3, b"\xff\xff")])
    recorded.number = 3
    recorded.add(*life(0))
    assert recorded.books.commit() == {SOURCE: recorded.number}
    assert [level for level, _ in recorded.said] == ["E"]
    assert len(recorded.answer("tracking.search")["mails"]) == 1


def test_rows_that_come_at_once_are_one_batch_but_for_what_cannot_be_read(tmp_path: Path) -> None:
    """A row that cannot be read, or a gap, parts batches; what stands around it is kept under its own numbers."""
    seen = Seen()
    recorded = Recorded(tmp_path, seen)
    one, two, three, four = (life(number) for number in range(4))
    rows, number = [], 1
    for records in (one, two, [], three, four):
        count = len(records) or 3
        rows.append(Rows(number, count, ENCODER.encode(records) if records else b"\xff\xff"))
        number += count + (records is three)  # one number that nobody has
    recorded.books.take(SOURCE, 0, rows)
    assert [(batch.first, list(batch.records)) for batch in seen.batches] == [
        (1, one + two),
        (rows[3].first, three),
        (rows[4].first, four),
    ]
    assert recorded.books.commit() == {SOURCE: number - 1}
    assert [level for level, _ in recorded.said] == ["E"]
    recorded.books.take(SOURCE, 0, rows)  # as after a kill of the relay
    assert len(recorded.answer("tracking.search")["mails"]) == 4
    told = recorded.answer("tracking.mail", id=format_queue_id(four[0].id))["records"]
    assert [{**each, "shard": 0} for each in told] == [{**tell_record(each), "shard": 0} for each in four]


def test_a_view_that_fails_is_told_once_and_stops_no_other(tmp_path: Path) -> None:
    broken, sound = Seen(), Seen()
    recorded = Recorded(tmp_path, broken, sound)
    broken.broken = True
    for number in range(3):
        recorded.add(*life(number))
    recorded.books.commit()
    assert [batch.first for batch in sound.batches] == [1, 1 + len(life(0)), 1 + len(life(0)) + len(life(1))]
    assert sound.flushed
    assert recorded.said == [("E", "Seen failed: RuntimeError: no more")]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_lines_hold_every_record_once_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "log" / "records.jsonl"
    first = Recorded(tmp_path, json_file=str(path))
    records = [record for number in range(6) for record in life(number)]
    for record in records[:10]:
        first.add(record)
    first.books.commit()
    for record in records[10:20]:
        first.add(record)
    for view in first.books._views:
        view.flush()  # killed between the view's write and the commit, in the middle of a line
    with path.open("ab") as file:
        file.write(b'{"source":"0123456789abcdef","number":21,"ty')
    (tmp_path / "tracking" / NOTE_FILE).unlink()
    again = Recorded(tmp_path, json_file=str(path))
    for record in records:
        again.add(record)
    again.books.commit()
    assert [line["number"] for line in lines(path)] == list(range(1, len(records) + 1))
    first_line = {"source": SOURCE, "number": 1, "shard": 0, **tell_record(records[0])}
    assert lines(path)[0] == json.loads(json.dumps(first_line))
    assert {line["about"] for line in lines(path) if line["type"] == "scanned"} <= {
        line["id"] for line in lines(path) if "id" in line
    }


def test_without_tracking_there_are_only_the_views(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    recorded = Recorded(tmp_path, json_file=str(path), tracking=False)
    recorded.add(*life(0))
    recorded.books.sample(NOON, 0, (1, 2, 3))
    assert recorded.books.commit() == {SOURCE: recorded.number}
    recorded.books.seal()
    recorded.books.tend(NOON)
    recorded.books.close()
    assert [line["number"] for line in lines(path)] == list(range(1, recorded.number + 1))
    assert not [*(tmp_path / "tracking").glob("*.tracking"), *(tmp_path / "tracking").glob(HISTORY_FILE)]


@pytest.mark.parametrize("told", [True, False])
def test_json_lines_are_not_doubled_by_a_rotation_before_a_kill(tmp_path: Path, *, told: bool) -> None:
    path = tmp_path / "records.jsonl"
    first = Recorded(tmp_path, json_file=str(path))
    first.add(*life(0))
    path.rename(tmp_path / "records.1")
    if told:
        first.books.configure(first.settings)
    first.add(*life(1))
    first.books.commit()
    again = Recorded(tmp_path, json_file=str(path))
    again.add(*life(0))
    again.add(*life(1))
    again.books.commit()
    assert len(lines(tmp_path / "records.1")) == 0 or len(lines(tmp_path / "records.1")) == len(life(0))
    found = lines(tmp_path / "records.1") + lines(path)
    assert [line["number"] for line in found] == list(range(1, len(found) + 1))


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_loses_lines_and_says_so_once(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, json_file="/dev/full")
    for number in range(3):
        recorded.add(*life(number))
        recorded.books.commit()
    assert [level for level, _ in recorded.said].count("E") == 1
    assert len(recorded.answer("tracking.search")["mails"]) == 3


@pytest.mark.parametrize("subjects", ["full", "hash", "none"])
@pytest.mark.parametrize("addresses", ["full", "hash-local", "hash"])
def test_what_is_hidden_is_in_no_file_and_is_found_by_its_whole_value(
    tmp_path: Path, subjects: str, addresses: str
) -> None:
    path = tmp_path / "records.jsonl"
    recorded = Recorded(tmp_path, json_file=str(path), subjects=subjects, addresses=addresses)
    for number in range(8):
        recorded.add(*life(number))
    note = SignNote("content", "mentions", 1.0, "Hello <r0@to0.example>")
    recorded.add(
        SpamChecked(mail_id(0), NOON, "g", 1, "spam", 9, (), mail_id(0), notes=(note,)),
        Deferred(mail_id(0), NOON, "r0@to0.example", "mx", "450 <r0@to0.example> is away", NOON),
        Operated(mail_id(0), NOON, "reroute", "X out of /y by z to <r0@to0.example>, without checks"),
    )
    found = recorded.answer("tracking.search", recipient="r3@to3.example")["mails"]
    assert [mail["id"] for mail in found] == [
        recorded.answer("tracking.search", text="<R3@to3.example>")["mails"][0]["id"]
    ]
    by_subject = recorded.answer("tracking.search", subject="Word3 of mail 3")["mails"] if subjects != "none" else found
    assert by_subject == found
    by_domain = recorded.answer("tracking.search", recipient="@to3.example")["mails"]
    assert bool(by_domain) == (addresses != "hash")
    recorded.books.close()
    written = b"".join(each.read_bytes() for each in [*tmp_path.rglob("*.tracking"), path])
    assert (b"Word3 of mail" in written) == (subjects == "full")
    assert (b"r0@" in written) == (addresses == "full")
    assert (b"@to0.example" in written) == (addresses != "hash")


def test_masks_are_the_same_after_a_restart_and_others_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    key = load_mask_key(tmp_path / "a")
    assert load_mask_key(tmp_path / "a") == key
    assert load_mask_key(tmp_path / "b") != key
    assert (tmp_path / "a" / "mask.key").stat().st_mode & 0o777 == 0o600
    masking = Masking("hash", "hash-local", key)
    assert masking.address("A@B.example") == masking.address("a@b.example").replace("b.example", "B.example")
    assert Masking("full", "full", KEY).needed is False
    (tmp_path / "a" / "mask.key").write_bytes(b"short")
    with pytest.raises(OSError, match="no key"):
        load_mask_key(tmp_path / "a")


def test_a_life_is_told_with_what_belongs_to_it_within_ones_domains(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.add(*life(7))
    mail = recorded.answer("tracking.search")["mails"][0]["id"]
    told = recorded.answer("tracking.mail", id=mail)
    assert [record["type"] for record in told["records"]] == [
        "received",
        "inspected",
        "scanned",
        "spam-checked",
        "saved",
        "blocked",
    ]
    assert recorded.answer("tracking.mail", id=mail, domains=["elsewhere.example"])["mail"] is None
    assert recorded.answer("tracking.mail", id=mail, domains=["TO3.example"])["mail"]["id"] == mail
    assert recorded.answer("tracking.mail", id="0000000000000")["mail"] is None


def test_other_peoples_addresses_stay_out_of_ones_domains(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    addresses = ("me@mine.example", "you@yours.example")
    mail = mail_id(0)
    recorded.add(
        received(0, sender="x@outside.example", recipients=2, addresses=addresses),
        Delivered(mail, NOON + 1, "me@mine.example", "mx", 1, True),
        Delivered(mail, NOON + 2, "you@yours.example", "mx", 1, True),
        received(1, sender="me@mine.example", recipients=2, addresses=addresses, direction="outbound"),
    )
    queue_ids = [each["id"] for each in recorded.answer("tracking.search", domains=["mine.example"])["mails"]]
    own, foreign = (recorded.answer("tracking.mail", id=each, domains=["mine.example"]) for each in queue_ids)
    assert own["mail"]["recipients"] == list(addresses)
    assert foreign["mail"]["recipients"] == ["me@mine.example"]
    assert [record.get("recipient") for record in foreign["records"]] == [None, "me@mine.example"]
    assert "yours" not in str(foreign)
    assert "yours" in str(recorded.answer("tracking.mail", id=queue_ids[1]))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "not in To: Me@mine.example, YOU@yours.example; also <you@yours.example.> and x.you@yours.example",
            "not in To: Me@mine.example, …; also <….> and x.you@yours.example",
        ),
        ("bounce+you=yours.example@list.example", "bounce+…@list.example"),
        ("prvs=1234=You%yours.example@relay.example", "prvs=1234=…@relay.example"),
        ("you=yours.example and a.you=yours.example, me=mine.example", "… and a.you=yours.example, me=mine.example"),
        ("you and yours.example, 100 %", "you and yours.example, 100 %"),
    ],
)
def test_other_peoples_addresses_stay_out_of_the_evidence_too(tmp_path: Path, said: str, told: str) -> None:
    recorded = Recorded(tmp_path)
    recorded.add(
        received(0, sender="x@outside.example", recipients=2, addresses=("me@mine.example", "you@yours.example")),
        SpamChecked(
            mail_id(0), NOON, "g", 1, "spam", 9, (), mail_id(0), notes=(SignNote("headers", "to-unnamed", 0.3, said),)
        ),
    )
    own, whole = (
        recorded.answer("tracking.mail", id=format_queue_id(mail_id(0)), domains=domains)["records"][-1]["notes"][0]
        for domains in (["mine.example"], [])
    )
    assert own["evidence"] == told
    assert whole["evidence"] == said


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("bounces+17-you=yours.example@list.example", "bounces+17-…@list.example"),
        (
            "return path list-return-9-YOU=Yours.example@list.example, odd",
            "return path list-return-9-…@list.example, odd",
        ),
        ("you=yours.example", "…"),
        ("by <you%yours.example@relay.example>", "by <…@relay.example>"),
        ("x.you=yours.example@list.example, you=yours.example.org@list.example", None),
        ("thank=you, 3%you, yours.example", None),
        ("x+you=yours.example@outside.example", None),
        ("me%yours.example@mine.example", None),
    ],
)
def test_people_inside_of_other_addresses_stay_out_too(tmp_path: Path, said: str, seen: str | None) -> None:
    """As lists with a sender for each recipient write them, and relays. What is said of the sender, and of one's own, stays."""
    recorded = Recorded(tmp_path)
    sender = "x+you=yours.example@outside.example"
    addresses = ("me@mine.example", "you@yours.example", "me%yours.example@mine.example", "me@yours.example")
    notes = (SignNote("headers", "to-unnamed", 0.3, said),)
    recorded.add(
        received(0, sender=sender, recipients=4, addresses=addresses),
        SpamChecked(mail_id(0), NOON, "g", 1, "spam", 9, (), mail_id(0), notes=notes),
    )
    told = recorded.answer("tracking.mail", id=format_queue_id(mail_id(0)), domains=["mine.example"])
    assert told["records"][-1]["notes"][0]["evidence"] == (said if seen is None else seen)
    assert told["mail"]["sender"] == told["records"][0]["sender"] == sender
    assert told["records"][0]["addresses"] == ["me@mine.example", "me%yours.example@mine.example"]


def test_what_a_mail_is_about_is_told_to_those_who_may_see_it(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    origin, report = mail_id(0), mail_id(1)
    recorded.add(
        received(0, sender="x@outside.example", addresses=("you@yours.example",)),
        Generated(report, NOON + 1, "dsn-failed", origin, "me@mine.example", 900),
    )
    whole = recorded.answer("tracking.mail", id=format_queue_id(report))
    part = recorded.answer("tracking.mail", id=format_queue_id(report), domains=["mine.example"])
    assert [mail["id"] for mail in whole["related"]] == [format_queue_id(origin)]
    assert part["mail"]["recipients"] == ["me@mine.example"]
    assert part["related"] == []


def test_a_forged_sender_shows_nobody_other_peoples_mail(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    both = ("me@mine.example", "you@yours.example")
    attempt = msgspec.structs.replace(refused(2), sender="boss@mine.example", recipient="you@yours.example")
    recorded.add(
        received(0, sender="boss@mine.example", addresses=("you@yours.example",), direction="inbound"),
        Delivered(mail_id(0), NOON + 1, "you@yours.example", "mx", 1, True),
        received(1, sender="boss@mine.example", recipients=2, addresses=both, direction="inbound"),
        attempt,
        received(3, sender="boss@mine.example", addresses=("you@yours.example",), direction="outbound"),
        msgspec.structs.replace(attempt, at=attempt.at + 1, user="boss@mine.example"),
    )
    mine = {"domains": ["mine.example"]}
    seen = recorded.answer("tracking.search", **mine)["mails"]
    assert [(mail["kind"], mail["direction"], mail["recipients"]) for mail in seen] == [
        ("refusal", "", ["you@yours.example"]),
        ("", "outbound", ["you@yours.example"]),
        ("", "inbound", ["me@mine.example"]),
    ]
    assert recorded.answer("tracking.mail", id=format_queue_id(mail_id(0)), **mine)["mail"] is None
    assert "yours" not in str(recorded.answer("tracking.mail", id=format_queue_id(mail_id(1)), **mine))


def test_who_else_got_a_mail_is_neither_found_by_guessing_nor_counted(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    both = ("me@mine.example", "you@yours.example")
    recorded.add(received(0, sender="x@outside.example", recipients=2, addresses=both))
    mine = {"domains": ["mine.example"]}
    assert recorded.answer("tracking.search", recipient="me@mine.example", **mine)["mails"]
    for guess in ({"recipient": "you@yours.example"}, {"recipient": "@yours.example"}, {"text": "*you@*"}):
        assert recorded.answer("tracking.search", **guess)["mails"]
        assert not recorded.answer("tracking.search", **guess, **mine)["mails"]
    counted = recorded.answer("tracking.counts", since=NOON - 10, until=NOON + 10, **mine)
    assert counted["tops"]["recipients"] == [("me@mine.example", 1)]


def test_counts_of_ones_domains_are_of_these_only(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    for number in range(40):
        recorded.add(*life(number))
    recorded.add(refused(1))
    span = {"since": NOON - 60, "until": NOON + 60}
    whole = recorded.answer("tracking.counts", **span)
    part = recorded.answer("tracking.counts", **span, domains=["to1.example"])
    assert whole["counts"]["kind/mail"] == 40
    assert whole["counts"]["cause/relaying"] == 1
    assert part["counts"]["kind/mail"] == 10
    assert [domain for domain, _ in part["tops"]["recipient_domains"]] == ["to1.example"]


def test_counts_of_ones_domains_go_beyond_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(tmp_path)
    mails = 2 * PAGE_LIMIT + 1
    for number in range(mails):
        recorded.add(received(number, addresses=("me@mine.example",)))
    span = {"since": NOON - 60, "until": NOON + 60, "domains": ["mine.example"], "top": 1}
    told = recorded.answer("tracking.counts", **span)
    assert (told["counts"]["kind/mail"], told["exact"], told["back_until"]) == (mails, True, 0.0)
    assert told["tops"]["recipients"] == [("me@mine.example", mails)]
    monkeypatch.setattr(answers, "COUNTED_LIMIT", 2 * PAGE_LIMIT)
    cut = recorded.answer("tracking.counts", **span)
    assert (cut["counts"]["kind/mail"], cut["exact"]) == (mails - 1, False)
    assert cut["back_until"] == pytest.approx(NOON + 0.001)
    assert len(recorded.answer("tracking.search", limit=mails)["mails"]) == PAGE_LIMIT


def test_history_counts_by_minute_and_hour_and_never_twice(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    for number in range(40):
        recorded.add(*life(number))
    recorded.books.sample(NOON, 0, (5, 3, 1))
    recorded.books.sample(NOON, 1, (1, 0, 0))
    recorded.books.commit()
    recorded.number = 0
    for number in range(40):
        recorded.add(*life(number))
    recorded.books.close()
    path = tmp_path / "tracking" / HISTORY_FILE
    for since, until, step in ((NOON - 60, NOON + 120, 60), (NOON - 3600, NOON + 7200, 3600)):
        series = read_series(path, since, until, step)
        columns = series["columns"]
        assert series["at"] == [int(since) + step * index for index in range(3)]
        assert columns["received"] == [0, 40, 0]
        assert columns["spam"] == [0, sum(number % 5 == 2 for number in range(40)), 0]
        assert columns["infected"] == [0, sum(number % 13 == 5 for number in range(40)), 0]
        assert columns["waiting"] == [None, 6, None]
        assert 1.0 <= columns["delay_p50"][1] <= 2.0
        assert columns["delay_p95"][0] is None
    begun = read_series(path, NOON - 60, NOON + 0.5)  # now, half a second after the minute began
    assert begun["columns"]["received"] == [0, 40]
    assert read_series(path, NOON - 60, NOON)["columns"]["received"] == [0]
    assert read_series(tmp_path / "none.db", NOON, NOON + 60)["columns"]["received"] == [0]
    for span, step in (((NOON, NOON), 0), ((NOON, NOON + 86_400), 7), ((0.0, NOON), 60)):
        with pytest.raises(ValueError, match=r"span|step"):
            read_series(path, *span, step)


def test_percentiles_lie_in_their_class() -> None:
    classes = [0] * (len(DELAYS_S) + 1)
    assert find_percentile(classes, DELAYS_S, 50) is None
    classes[3] = 100
    assert find_percentile(classes, DELAYS_S, 50) == pytest.approx((DELAYS_S[2] + DELAYS_S[3]) / 2)
    classes[-1] = 100
    assert find_percentile(classes, DELAYS_S, 99) == DELAYS_S[-1]
    assert received(0).at == NOON


def test_nothing_recorded_is_dropped_by_a_clock_that_is_not_believed(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    for number in range(10):
        recorded.add(*life(number))
    recorded.books.commit()
    days = sorted((tmp_path / "tracking").glob("20*"))
    assert days
    recorded.books.tend(None)
    assert sorted((tmp_path / "tracking").glob("20*")) == days
    recorded.books.tend(NOON + 1000 * 86_400)
    assert not sorted((tmp_path / "tracking").glob("20*.db"))
    recorded.books.close()
