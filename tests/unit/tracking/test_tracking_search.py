"""Searches find what a look at every mail finds, newest first, page by page, whether it is in the index or not."""

import random
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tracking.support_tracking import NOON, Filled, life, mail_id, received, refused

from gatepost.model.ids import format_queue_id
from gatepost.model.record import Inspected
from gatepost.storage.tracking import search as searching
from gatepost.storage.tracking.layout import day_of
from gatepost.storage.tracking.postings import pack_places, places_of, unpack_places
from gatepost.storage.tracking.query import Query, QueryError, parse_query
from gatepost.storage.tracking.readers import Readers
from gatepost.storage.tracking.search import search
from gatepost.storage.tracking.summary import Summary

MAILS = 400


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days: one in the index, with late records; one half in it; one not at all."""
    filled = Filled(tmp_path_factory.mktemp("tracking"))
    store = filled.store
    for days in (2, 1, 0):
        at = NOON - days * 86_400
        late = []
        for number in range(MAILS):
            records = life(number, at)
            if number % 10 == 1:
                late.append(records.pop())
            filled.add(*records)
            if number % 20 == 0:
                filled.add(refused(number, at))
            if number % 100 == 99:
                store.commit()
                if days == 2 or (days == 1 and number < MAILS // 2):
                    store._days[day_of(mail_id(0, at))].seal(1)
        filled.add(*late)
        store.commit()
        if days == 2:
            while store._days[day_of(mail_id(0, at))].seal(1):
                pass
    store.close()
    return filled.directory


def everything(place: Path) -> list[Summary]:
    return (
        search(Readers(place), Query(), 1000).mails
        + search(Readers(place), Query(), 1000, search(Readers(place), Query(), 1000).before).mails
    )


ARGUMENTS: list[dict[str, Any]] = [
    {"sender": "s3@from0.example"},
    {"sender": "S3@From0.Example"},
    {"sender": "<s3@from0.example>"},
    {"sender": "s3*"},
    {"sender": "@from2.example"},
    {"sender": "from2.example"},
    {"sender": "nobody@from2.example"},
    {"recipient": "r5@to1.example", "status": "quarantined"},
    {"recipient": "r1*", "finding": "bad-link"},
    {"subject": "word3"},
    {"subject": "word3 mail"},
    {"subject": "word1*"},
    {"subject": "*of mail 12*"},
    {"client": "192.0.2.7"},
    {"client": "192.0.2.1*"},
    {"client": "mx.example", "status": "delivered"},
    {"message_id": "<17@id.example>"},
    {"message_id": "17@id*"},
    {"finding": "some.virus"},
    {"threat": "some.virus"},
    {"finding": "relaying"},
    {"hop": "mx1.example"},
    {"hop": "203.0.113.1", "status": "infected"},
    {"status": "spam"},
    {"status": "refused"},
    {"status": "delivered", "finding": "bad-link"},
    {"status": ["infected", "quarantined"]},
    {"text": "r5@to1.example"},
    {"text": "@to2.example"},
    {"text": "192.0.2.3"},
    {"text": "word7 of mail"},
    {"text": "spam"},
    {"text": "17@id.example"},
    {"since": NOON - 86_400 + 0.05, "until": NOON - 86_400 + 0.15},
    {"since": NOON - 86_400, "sender": "s1@from1.example", "until": NOON + 0.1},
    {"sender": "*@FROM1*"},
    {"text": "r1@to1.example mail s1@from1.example"},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("domains", [(), ("to1.example", "from2.example")], ids=["all", "domains"])
def test_a_search_finds_what_a_look_at_every_mail_finds(
    place: Path, arguments: dict[str, Any], domains: tuple[str, ...]
) -> None:
    query = parse_query(arguments, domains)
    expected = [mail.id for mail in everything(place) if query.matches(mail)]
    found: list[int] = []
    before = 0
    while True:
        page = search(Readers(place), query, 37, before)
        found += [mail.id for mail in page.mails]
        before = page.before
        if not before:
            break
    assert found == expected
    if not domains:
        assert bool(expected) == ("nobody" not in str(arguments) and arguments != ARGUMENTS[25])


@pytest.mark.parametrize("indexed", [False, True], ids=["fresh", "indexed"])
@pytest.mark.parametrize(
    ("text", "numbers"),
    [("re-4711.b", [0, 4]), ("RE-4711*", [0, 1, 4]), ("4711-re", []), ("e-4711.b", []), ("from1.example", [1, 4])],
)
def test_one_word_with_a_dash_or_a_dot_is_looked_for_in_subjects_too(
    tmp_path: Path, text: str, numbers: list[int], *, indexed: bool
) -> None:
    filled = Filled(tmp_path)
    subjects = ("Invoice RE-4711.b", "re-4711.c, corrected", "4711 re b", "re 4711 b", "(re-4711.b)")
    for number, subject in enumerate(subjects):
        filled.add(received(number), Inspected(mail_id(number), NOON + 1, subject, 1.0, 4.0))
    filled.store.commit()
    while indexed and filled.store._days[day_of(mail_id(0))].seal(1):
        pass
    found = search(Readers(tmp_path), parse_query({"text": text}), 10)
    assert [mail.id for mail in reversed(found.mails)] == [mail_id(number) for number in numbers]
    filled.store.close()


@pytest.mark.parametrize("indexed", [False, True], ids=["fresh", "indexed"])
@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("s0@from0.example r0@to0.example", [0]),
        ("<r0@to0.example>  S0@From0.example", [0]),
        ("s0@from0.example r1@to1.example", []),
        ("offer r1@to1.example", [1]),
        ("offer s0@from0.example", []),
        ("ask boss@far.example please", [2]),
        ("boss@far.example r2@to2.example", [2]),
        ("s1@* r1@to1.example", [1]),
        ("s0@from0.example ??? r0@to0.example", [0]),
    ],
)
def test_addresses_and_words_together(tmp_path: Path, text: str, numbers: list[int], *, indexed: bool) -> None:
    filled = Filled(tmp_path)
    for number, subject in enumerate(("Invoice", "Our offer", "Please ask boss@far.example")):
        filled.add(received(number), Inspected(mail_id(number), NOON + 1, subject, 1.0, 4.0))
    filled.store.commit()
    while indexed and filled.store._days[day_of(mail_id(0))].seal(1):
        pass
    found = search(Readers(tmp_path), parse_query({"text": text}), 10)
    assert [mail.id for mail in reversed(found.mails)] == [mail_id(number) for number in numbers]
    filled.store.close()


def test_everything_is_there_newest_first(place: Path) -> None:
    mails = everything(place)
    assert len(mails) == 3 * (MAILS + MAILS // 20)
    assert [mail.id for mail in mails] == sorted((mail.id for mail in mails), reverse=True)


def test_a_scan_stops_at_its_window_and_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "SCAN_LIMIT", 100)
    query = parse_query({"subject": "*mail 7 *"})
    page = search(Readers(place), query, 50)
    assert page.mails == []
    assert page.before
    assert NOON - 86_400 < page.back_until < NOON + 1
    rounds = 1
    while page.before:
        page = search(Readers(place), query, 50, page.before)
        rounds += 1
    assert rounds >= len(everything(place)) // 100


def test_candidates_that_are_none_are_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "LOOK_LIMIT", 10)
    query = parse_query({"status": "delivered", "since": NOON - 3 * 86_400})
    found = []
    page = search(Readers(place), query, 1000)
    assert len(page.mails) <= 10
    while page.before:
        found += page.mails
        page = search(Readers(place), query, 1000, page.before)
    found += page.mails
    assert len({mail.id for mail in found}) == sum(mail.outcome == "delivered" for mail in everything(place))


def test_terms_asked_of_the_index_are_bounded_over_all_segments(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Counting(searching._Budget):
        def __init__(self) -> None:
            super().__init__()
            asked.append(0)

        def __setattr__(self, name: str, value: int) -> None:
            if name == "terms" and value < searching.TERMS_LIMIT:
                asked[-1] = searching.TERMS_LIMIT - value
            super().__setattr__(name, value)

    monkeypatch.setattr(searching, "_Budget", Counting)
    for arguments in ({"sender": "s*", "hop": "nobody*"}, {"sender": "s*", "recipient": "r*"}, {"sender": "s3*"}):
        query = parse_query(arguments)
        monkeypatch.setattr(searching, "TERMS_LIMIT", 10_000)
        whole = [mail.id for mail in search(Readers(place), query, 10_000).mails]
        all_asked = asked[-1]
        monkeypatch.setattr(searching, "TERMS_LIMIT", 1)
        asked.clear()
        found, before = [], 0
        while True:
            page = search(Readers(place), query, 10_000, before)
            found += [mail.id for mail in page.mails]
            if not page.before:
                break
            assert not before or page.before < before
            assert page.back_until > 0
            before = page.before
        assert found == whole
        assert len(asked) > 2
        assert max(asked) < all_asked


def test_one_mail_by_its_id_within_ones_domains(place: Path) -> None:
    mail = mail_id(17)
    assert [found.id for found in search(Readers(place), Query(id=mail), 5).mails] == [mail]
    assert [found.id for found in search(Readers(place), Query(id=mail, domains=("to1.example",)), 5).mails] == [mail]
    assert search(Readers(place), Query(id=mail, domains=("to0.example",)), 5).mails == []


def test_the_id_of_a_stored_message_means_its_mail() -> None:
    item = f"{format_queue_id(mail_id(17))}-0A1B2C"
    for text in (item, f" {item.lower()} "):
        assert parse_query({"text": text}) == Query(id=mail_id(17))
    assert parse_query({"text": "mail-server1"}).id == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"sender": "*"}, "finds everything"),
        ({"sender": 7}, "is no text"),
        ({"id": "short"}, "13 characters"),
        ({"subject": "?!"}, "no word"),
        ({"since": "yesterday"}, "no moment"),
        ({"sender": "x" * 401}, "longer than 400"),
        ({"status": ["spam"] * 25}, "conditions"),
        ({"status": "nonsense"}, "no status 'nonsense': there are waiting, "),
        ({"status": "dropped*"}, "no status"),
    ],
)
def test_what_cannot_be_looked_for_is_told(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(QueryError, match=why):
        parse_query(arguments)


@pytest.mark.parametrize("size", [1, 2, 15, 64, 1000, 8192])
def test_places_are_the_same_after_packing(size: int) -> None:
    dice = random.Random(size)
    for share in (0.01, 0.06, 0.07, 0.5, 1.0):
        places = sorted(dice.sample(range(size), max(1, int(size * share))))
        packed = pack_places(places, size)
        assert sorted(places_of(unpack_places(packed))) == places
        assert list(places_of(unpack_places(packed))) == places[::-1]
        assert len(packed) <= 2 + 2 * len(places)
