"""The tracking store: records come once, out of order, late, for copies; days come and go."""

import contextlib
from pathlib import Path

import apsw
import pytest
from tests.unit.tracking.support_tracking import NOON, SOURCE, Filled, life, mail_id, received, refused

from gatepost.model.ids import format_queue_id
from gatepost.model.record import (
    DECODER,
    Blocked,
    Deferred,
    Delivered,
    Discarded,
    Generated,
    Held,
    Inspected,
    Notified,
    Operated,
    Record,
    Refused,
    Removed,
    Saved,
    Scanned,
    SpamChecked,
    Split,
)
from gatepost.storage.tracking.fields import VALUES, terms_of
from gatepost.storage.tracking.history import read_series
from gatepost.storage.tracking.layout import day_file, day_of, list_days
from gatepost.storage.tracking.query import Query, parse_query
from gatepost.storage.tracking.readers import Readers
from gatepost.storage.tracking.reports import read_report
from gatepost.storage.tracking.search import find_mail, read_life, search
from gatepost.storage.tracking.store import refusal_id
from gatepost.storage.tracking.summary import Summary


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    return Filled(tmp_path / "tracking")


def outcome(filled: Filled, number: int = 0) -> str:
    filled.store.commit()
    summary = find_mail(Readers(filled.directory), mail_id(number))
    assert summary is not None
    return summary.outcome


def kinds(filled: Filled, mail: int) -> list[str]:
    batches = read_life(Readers(filled.directory), mail)
    return [type(record).__name__ for batch in batches for record in DECODER.decode(batch)]


def delivered(number: int, recipient: str = "r0@to0.example", sent: bool = True) -> Delivered:
    return Delivered(mail_id(number), NOON + 5, recipient, "mx.example", 1000, sent, "250 ok", 5.0)


MAIL = mail_id(0)
R0 = "r0@to0.example"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], "waiting"),
        ([Deferred(MAIL, NOON, R0, "mx", "451", NOON + 9)], "deferred"),
        ([Held(MAIL, NOON, "looked at")], "held"),
        ([Held(MAIL, NOON, "looked at"), Operated(MAIL, NOON, "release", "")], "waiting"),
        ([delivered(0)], "delivered"),
        ([delivered(0, sent=False)], "failed"),
        ([Blocked(MAIL, NOON, (R0,), 1)], "blocked"),
        ([Saved(MAIL, NOON, "quarantine", "X"), Blocked(MAIL, NOON, (R0,), 1)], "quarantined"),
        ([Saved(MAIL, NOON, "backup", "X"), Blocked(MAIL, NOON, (R0,), 1)], "blocked"),
        ([Discarded(MAIL, NOON, (R0,), 1)], "discarded"),
        ([Removed(MAIL, NOON, "by an operator")], "removed"),
    ],
)
def test_what_became_of_a_mail(filled: Filled, records: list[Record], expected: str) -> None:
    filled.add(received(0), *records)
    assert outcome(filled) == expected


def test_outcome_of_several_recipients(filled: Filled) -> None:
    filled.add(received(0, recipients=2, addresses=("a@x.example", "b@x.example")), delivered(0, "a@x.example"))
    assert outcome(filled) == "waiting"
    filled.add(delivered(0, "b@x.example", sent=False))
    assert outcome(filled) == "partly"


def test_redirected_spam_is_delivered_when_its_new_recipient_has_it(filled: Filled) -> None:
    redirected = SpamChecked(MAIL, NOON, "g", 2, "spam", 99, (), MAIL, action="redirect", to=("boss@x.example",))
    filled.add(received(0, recipients=2), redirected, delivered(0, "boss@x.example"))
    assert outcome(filled) == "delivered"


def test_copies_are_told_in_the_life_of_their_mail(filled: Filled) -> None:
    one, two = mail_id(1), mail_id(2, NOON + 86_400)
    filled.add(received(0, recipients=2, addresses=("a@x.example", "b@y.example")))
    filled.add(
        Split(one, NOON, "x.example", 1, MAIL, "gx", ("a@x.example",)),
        Scanned(one, NOON, "gx", 1, ("clean",), MAIL, ()),
        Split(two, NOON, "y.example", 1, MAIL, "gy", ("b@y.example",)),
        Delivered(one, NOON, "a@x.example", "mx", 1, True),
    )
    filled.store.commit()
    filled.add(Delivered(two, NOON + 90_000, "b@y.example", "mx", 1, True))
    filled.store.commit()
    summary = find_mail(Readers(filled.directory), two)
    assert summary is not None
    assert (summary.id, summary.outcome, summary.sent, summary.groups) == (MAIL, "delivered", 2, ["gx"])
    assert kinds(filled, MAIL) == ["Received", "Split", "Scanned", "Split", "Delivered", "Delivered"]
    assert [mail.id for mail in search(Readers(filled.directory), Query(), 10).mails] == [MAIL]


def test_own_mail_stands_by_itself_and_in_the_life_it_is_about(filled: Filled) -> None:
    report, notice = mail_id(5), mail_id(6)
    filled.add(received(0), delivered(0, sent=False))
    filled.add(Generated(report, NOON + 6, "dsn-failed", MAIL, "s0@from0.example", 900))
    filled.add(Notified(notice, NOON + 7, "admin", 1, 800, MAIL, addresses=("admin@x.example",)))
    filled.add(Delivered(report, NOON + 8, "s0@from0.example", "mx", 900, True))
    filled.store.commit()
    found = find_mail(Readers(filled.directory), report)
    assert found is not None
    assert (found.kind, found.what, found.outcome, found.source) == ("own", "dsn-failed", "delivered", MAIL)
    assert kinds(filled, MAIL) == ["Received", "Delivered", "Generated", "Notified"]
    assert outcome(filled) == "failed"


def test_a_release_makes_a_mail_that_knows_what_it_was(filled: Filled) -> None:
    again = mail_id(50, NOON + 86_400)
    filled.add(received(0), Inspected(MAIL, NOON, "Hello"), Saved(MAIL, NOON, "quarantine", "X"))
    detail = f"{format_queue_id(MAIL)}-7A7A7A out of /var by admin to <r0@to0.example>, without checks"
    filled.add(Operated(again, NOON + 86_400, "release", detail), Delivered(again, NOON + 86_401, R0, "mx", 1, True))
    filled.store.commit()
    found = find_mail(Readers(filled.directory), again)
    assert found is not None
    assert (found.kind, found.subject, found.source, found.outcome) == ("released", "Hello", MAIL, "delivered")
    assert kinds(filled, MAIL)[-1] == "Operated"


def test_refused_attempts_are_found_and_have_rows_of_their_own(filled: Filled) -> None:
    filled.add(refused(0), refused(0), received(0))
    filled.add(Refused(NOON, "198.51.100.9", "data", "content", 554, id=mail_id(9), size=5000))
    filled.store.commit()
    found = search(Readers(filled.directory), parse_query({"status": "refused"}), 10).mails
    assert sorted(mail.what for mail in found) == ["data content", "rcpt relaying", "rcpt relaying"]
    assert refusal_id(NOON, 0, 1) in [mail.id for mail in found]
    assert len(search(Readers(filled.directory), parse_query({"finding": "relaying"}), 10).mails) == 2


def test_a_message_refused_at_its_content_is_found_by_everybody_it_was_for(filled: Filled) -> None:
    people = ("anna@example.org", "lee@example.org")
    filled.add(Refused(NOON, "198.51.100.9", "data", "malformed", 550, "x@bad.example", addresses=people))
    filled.store.commit()
    for one in people:
        (mail,) = search(Readers(filled.directory), parse_query({"recipient": one}), 10).mails
        assert (mail.outcome, mail.recipients) == ("refused", list(people))


def test_names_of_objects_are_no_threats_but_find_their_mail(filled: Filled) -> None:
    names = ("Some.Virus", "figures.zip")
    actions = (("figures.zip", "protected", "placeholder"), ("tool.exe", "infected", "placeholder"))
    filled.add(received(0), Scanned(MAIL, NOON, "policy", 1, ("infected", "protected"), MAIL, names, actions=actions))
    filled.store.commit()
    (mail,) = search(Readers(filled.directory), parse_query({"finding": "figures.zip"}), 10).mails
    assert mail.threats == ["Some.Virus"]
    assert not search(Readers(filled.directory), parse_query({"threat": "figures.zip"}), 10).mails


def test_records_that_come_again_change_nothing(tmp_path: Path) -> None:
    filled = Filled(tmp_path)
    filled.lives(range(40))
    filled.add(refused(1))
    filled.store.commit()
    before = [
        (mail.id, mail.outcome, mail.sent, mail.deferrals) for mail in search(Readers(tmp_path), Query(), 100).mails
    ]
    lives = [kinds(filled, mail_id(number)) for number in range(40)]
    filled.number = 0
    filled.lives(range(40))
    filled.add(refused(1))
    filled.store.close()
    again = Filled(tmp_path)
    again.lives(range(20))
    again.store.close()
    assert [
        (mail.id, mail.outcome, mail.sent, mail.deferrals) for mail in search(Readers(tmp_path), Query(), 100).mails
    ] == before
    assert [kinds(filled, mail_id(number)) for number in range(40)] == lives
    assert read_report(Readers(tmp_path), NOON - 3600, NOON + 3600).counts["kind/mail"] == 40


def test_what_was_not_committed_comes_once_after_a_kill(tmp_path: Path) -> None:
    """Records over two days: one file was committed when the process was killed, the other was not."""
    filled = Filled(tmp_path)
    yesterday, today = received(0, NOON - 86_400), received(1)
    filled.add(yesterday, today)
    first, second = sorted(filled.store._days)  # the fault is between two files of one commit
    filled.store._days[first].commit({SOURCE: 2})
    del filled.store._days[second]
    again = Filled(tmp_path)
    again.add(yesterday, today)
    again.store.close()
    assert len(search(Readers(tmp_path), Query(), 10).mails) == 2
    for mail in (yesterday, today):
        assert kinds(again, mail.id) == ["Received"]


def test_the_same_numbers_of_another_outbox_are_other_records(tmp_path: Path) -> None:
    one, two = Filled(tmp_path), Filled(tmp_path, "another")
    one.add(received(0))
    one.store.close()
    two.store.close()
    two = Filled(tmp_path, "another")
    two.add(received(1))
    two.store.close()
    assert len(search(Readers(tmp_path), Query(), 10).mails) == 2


def test_late_records_go_to_the_day_of_the_mail(filled: Filled) -> None:
    filled.add(received(0))
    filled.store.commit()
    filled.add(Delivered(MAIL, NOON + 3 * 86_400, R0, "mx", 1, True))
    filled.store.commit()
    assert list_days(filled.directory) == [day_of(MAIL)]
    assert outcome(filled) == "delivered"


def test_days_older_than_the_retention_are_dropped(filled: Filled) -> None:
    for days in range(5):
        filled.add(received(0, NOON - days * 86_400))
    filled.store.commit()
    dropped = filled.store.retain(2, NOON)
    assert [len(list_days(filled.directory)), len(dropped)] == [3, 2]
    assert len(search(Readers(filled.directory), Query(), 10).mails) == 3
    filled.add(received(9, NOON - 4 * 86_400))
    filled.store.commit()
    assert len(list_days(filled.directory)) == 4


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    path = day_file(tmp_path, day_of(MAIL))
    path.write_bytes(b"no database at all " * 1000)
    filled = Filled(tmp_path)
    filled.add(received(0))
    filled.store.close()
    assert outcome_of(tmp_path) == ["waiting"]
    assert [path.name.partition(".damaged")[0] for path in tmp_path.glob("*damaged*")] == [path.name]
    assert [level for level, _ in filled.said] == ["E"]


def outcome_of(directory: Path) -> list[str]:
    return [mail.outcome for mail in search(Readers(directory), Query(), 10).mails]


def test_a_file_that_is_only_being_made_has_nothing_in_it(tmp_path: Path) -> None:
    message = mail_id(0)
    with contextlib.closing(apsw.Connection(str(day_file(tmp_path, day_of(message))))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        assert find_mail(Readers(tmp_path), message) is None
        assert search(Readers(tmp_path), Query(), 10).mails == []
        assert read_report(Readers(tmp_path), NOON - 1, NOON + 1).counts == {}
    path = tmp_path / "history"
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        assert set(read_series(path, NOON - 60, NOON, 0)["columns"]["received"]) == {0}


def test_terms_are_all_values_of_all_fields(filled: Filled) -> None:
    filled.lives(range(60))
    filled.add(refused(3), Generated(mail_id(99), NOON, "dsn-failed", MAIL, "", 1))
    filled.store.commit()
    mails = search(Readers(filled.directory), Query(), 100).mails
    assert len(mails) == 62
    odd = Summary(
        1, 0.0, sender="A@B.Example", recipients=["Postmaster", "ß@É.example"], user="Me", client="Cl.Example"
    )
    for summary in [*mails, odd]:
        spelled = {field.value + value for field, values in VALUES.items() for value in values(summary) if value}
        assert terms_of(summary) == spelled


def test_counts_follow_what_becomes_of_mails(filled: Filled) -> None:
    filled.lives(range(80))
    filled.store.commit()
    filled.add(Delivered(mail_id(7), NOON + 9, "r7@to3.example", "mx", 1, True))
    filled.store.commit()
    while filled.store._days[day_of(MAIL)].seal(1):
        pass
    report = read_report(Readers(filled.directory), NOON - 3600, NOON + 3600)
    mails = search(Readers(filled.directory), Query(), 100).mails
    for name in ("delivered", "deferred", "quarantined"):
        assert report.counts[f"outcome/{name}"] == sum(mail.outcome == name for mail in mails)
    assert report.counts["virus/infected"] == len([n for n in range(80) if n % 13 == 5])
    assert report.named_tops()["senders"]["s0@from0.example"] == sum(m.sender == "s0@from0.example" for m in mails)
    assert sum(life(n)[0].at < NOON + 0.04 for n in range(80)) == 40
    half = read_report(Readers(filled.directory), NOON, NOON + 0.04)
    assert sum(half.named_tops()["senders"].values()) == 40
