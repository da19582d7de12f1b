"""Session limits over several relays: one table, a column each."""

import os
from collections.abc import Iterator

import pytest

from gatepost.relay.admission import PROBES, SLOTS, SessionTable, create_table

LIMITS = {"total_limit": 5, "address_limit": 2}


@pytest.fixture
def tables() -> Iterator[list[SessionTable]]:
    fd = create_table()
    yield [SessionTable(fd, column) for column in range(3)]
    os.close(fd)


def test_limit_of_an_address_counts_all_relays(tables: list[SessionTable]) -> None:
    assert tables[0].enter("192.0.2.1", incoming=True, **LIMITS) == ""
    assert tables[1].enter("192.0.2.1", incoming=True, **LIMITS) == ""
    assert tables[2].enter("192.0.2.1", incoming=True, **LIMITS) == "address"
    assert tables[2].enter("192.0.2.2", incoming=True, **LIMITS) == ""
    tables[0].leave("192.0.2.1", incoming=True)
    assert tables[2].enter("192.0.2.1", incoming=True, **LIMITS) == ""


def test_total_limit_counts_all_addresses(tables: list[SessionTable]) -> None:
    for number in range(5):
        assert tables[number % 3].enter(f"192.0.2.{number}", incoming=True, **LIMITS) == ""
    assert tables[0].enter("192.0.2.99", incoming=True, **LIMITS) == "total"
    assert tables[0].totals() == (5, 0)


def test_both_directions_are_counted_apart(tables: list[SessionTable]) -> None:
    for incoming in (True, False):
        assert tables[0].enter("h:25", incoming=incoming, **LIMITS) == ""
        assert tables[0].enter("h:25", incoming=incoming, **LIMITS) == ""
        assert tables[0].enter("h:25", incoming=incoming, **LIMITS) == "address"
    assert tables[0].totals() == (2, 2)


def test_what_a_dead_relay_had_counted_is_forgotten(tables: list[SessionTable]) -> None:
    for _ in range(2):
        tables[1].enter("192.0.2.1", incoming=True, **LIMITS)
    tables[0].enter("192.0.2.3", incoming=False, **LIMITS)
    tables[2].clear_column(1)
    assert tables[0].totals() == (0, 1)
    assert tables[0].enter("192.0.2.1", incoming=True, **LIMITS) == ""


def test_many_addresses_come_and_go(tables: list[SessionTable]) -> None:
    limits = {"total_limit": 10**6, "address_limit": 1}
    addresses = [f"host{number}:25" for number in range(SLOTS // 4)]
    for _ in range(2):
        assert {tables[0].enter(a, incoming=False, **limits) for a in addresses} == {""}
        assert {tables[1].enter(a, incoming=False, **limits) for a in addresses[:50]} == {"address"}
        for address in addresses:
            tables[0].leave(address, incoming=False)
        assert tables[0].totals() == (0, 0)


def test_full_table_refuses_instead_of_forgetting(tables: list[SessionTable]) -> None:
    limits = {"total_limit": 10**6, "address_limit": 1}
    answers = [tables[0].enter(f"h{number}", incoming=False, **limits) for number in range(SLOTS + PROBES)]
    assert "address" in answers
    assert answers.count("") <= SLOTS
    assert tables[0].totals() == (0, answers.count(""))


def test_a_relay_alone_counts_like_any_and_shares_what_it_counted_later() -> None:
    fd = create_table()
    alone = SessionTable(fd, 0, alone=True)
    assert [alone.enter("192.0.2.1", incoming=True, **LIMITS) for _ in range(3)] == ["", "", "address"]
    assert [alone.enter("h:25", incoming=False, **LIMITS) for _ in range(3)] == ["", "", "address"]
    assert alone.enter("192.0.2.2", incoming=True, **LIMITS) == ""
    alone.leave("192.0.2.2", incoming=True)
    assert alone.enter("192.0.2.3", incoming=True, total_limit=2, address_limit=2) == "total"
    assert alone.totals() == (2, 2)
    other = SessionTable(fd, 1)
    assert other.totals() == (0, 0)
    alone.share()
    assert other.totals() == alone.totals() == (2, 2)
    assert other.enter("192.0.2.1", incoming=True, total_limit=9, address_limit=3) == ""
    assert alone.enter("192.0.2.1", incoming=True, total_limit=9, address_limit=3) == "address"
    alone.leave("h:25", incoming=False)
    assert other.enter("h:25", incoming=False, **LIMITS) == ""
    os.close(fd)


def test_where_another_relay_still_counts_nobody_is_alone() -> None:
    fd = create_table()
    dismissed = SessionTable(fd, 1)
    dismissed.enter("192.0.2.1", incoming=True, **LIMITS)
    successor = SessionTable(fd, 0, alone=True)
    assert successor.enter("192.0.2.1", incoming=True, **LIMITS) == ""
    assert successor.enter("192.0.2.1", incoming=True, **LIMITS) == "address"
    assert dismissed.totals() == (2, 0)
    os.close(fd)
