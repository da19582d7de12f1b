"""Problems: since when, when they count, what is mailed once, what the day's summary says."""

import msgspec

from gatepost.doctor.finding import Finding, State
from gatepost.master.problem_book import DAY_S, ENDED_LIMIT, Book, describe_day, describe_new

DOWN = Finding("engine:clam", "engine", State.ERROR, "engine clam is down: refused", "start it")
OLD = Finding("database:base", "databases", State.WARNING, "database base is old")
FINE = Finding("disk", "disk", State.OK, "room enough")
START = 1_000_000.0


def keys(book: Book) -> list[str]:
    return [problem.finding.key for problem in book.standing()]


def date(at: float) -> str:
    return f"<{at - START:g}>"


def test_a_problem_counts_when_two_looks_in_a_row_have_seen_it() -> None:
    book = Book()
    assert book.look([DOWN, FINE], START)
    assert keys(book) == []
    book.look([FINE], START + 30)
    book.look([DOWN], START + 60)
    assert keys(book) == []
    assert not book.ended, "what never counted is not over either"
    book.look([DOWN], START + 90)
    assert keys(book) == ["engine:clam"]
    assert book.standing()[0].since == START + 60
    assert not book.look([DOWN], START + 120), "nothing has changed"


def test_the_worst_come_first_then_the_oldest() -> None:
    book = Book()
    late = msgspec.structs.replace(DOWN, key="engine:late")
    for moment, found in ((0, [OLD]), (1, [OLD, DOWN]), (2, [OLD, DOWN, late]), (3, [OLD, DOWN, late])):
        book.look(found, START + moment)
    assert keys(book) == ["engine:clam", "engine:late", "database:base"]


def test_an_error_is_mailed_once_a_warning_never() -> None:
    book = Book()
    for moment in range(3):
        book.look([DOWN, OLD], START + moment)
    assert [each.finding for each in book.untold()] == [DOWN]
    book.note_told(book.untold(), START + 3)
    book.look([DOWN, OLD], START + 4)
    assert book.untold() == []
    # Gone and back within the day: not told again.
    book.look([OLD], START + 5)
    book.look([DOWN, OLD], START + 6)
    book.look([DOWN, OLD], START + 7)
    assert keys(book)[0] == "engine:clam"
    assert book.untold() == []
    # A day after it was told, gone and back: news.
    book.look([OLD], START + 3 + DAY_S)
    book.look([DOWN, OLD], START + 4 + DAY_S)
    book.look([DOWN, OLD], START + 5 + DAY_S)
    assert [each.finding for each in book.untold()] == [DOWN]


def test_one_that_stands_for_days_is_not_told_again() -> None:
    book = Book()
    for day in range(4):
        book.look([DOWN], START + day * DAY_S)
        book.note_told(book.untold(), START + day * DAY_S)
    book.look([DOWN], START + 9 * DAY_S)
    assert book.untold() == []


def test_a_summary_a_day_while_there_is_something_to_tell() -> None:
    book = Book()
    book.look([], START)
    assert not book.summary_due(START + DAY_S + 1), "a good day needs no mail"
    book.look([OLD], START + DAY_S + 2)
    book.look([OLD], START + DAY_S + 3)
    assert not book.summary_due(START + DAY_S + 4)
    assert book.summary_due(START + 2 * DAY_S + 2)
    book.look([], START + 2 * DAY_S + 3)
    subject, text = describe_day(book, "gw.example.org", date)
    assert subject == "[gw.example.org] 0 error(s), 0 warning(s), 1 mended"
    assert "- <86402> to <172803>: database base is old" in text
    book.note_summed(START + 2 * DAY_S + 4)
    assert not book.summary_due(START + 4 * DAY_S)


def test_what_is_remembered_is_bounded() -> None:
    book = Book()
    for number in range(3 * ENDED_LIMIT):
        finding = msgspec.structs.replace(DOWN, key=f"engine:{number}")
        for offset, found in ((0.0, [finding]), (0.1, [finding]), (0.2, [])):
            book.look(found, START + number + offset)
        book.note_told(book.untold(), START + number)
    assert len(book.ended) == ENDED_LIMIT
    book.look([], START + 2 * DAY_S)
    assert not book.told


def test_it_is_kept_whole() -> None:
    book = Book()
    book.look([DOWN], START)
    book.look([DOWN], START + 1)
    book.note_told(book.untold(), START + 1)
    again = msgspec.json.decode(msgspec.json.encode(book), type=Book)
    assert again == book
    again.look([DOWN], START + 2)
    assert again.untold() == []
    assert again.standing()[0].since == START


def test_a_mail_says_what_since_when_and_how_to_mend_it() -> None:
    book = Book()
    for moment in range(2):
        book.look([DOWN, msgspec.structs.replace(DOWN, key="other")], START + moment)
    subject, text = describe_new(book.standing(), "gw.example.org", date)
    assert subject == "[gw.example.org] engine clam is down: refused and 1 more"
    assert "- error, since <0>: engine clam is down: refused\n  To mend it: start it\n" in text
