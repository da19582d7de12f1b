"""Rates: limits that hold over several relays, sliding, in bounded memory."""

import asyncio
import multiprocessing
import os

import pytest
from access_visits import OPEN_TO_OURS, OURS, STRANGER, Clock, access_of, mail_from, services_of, settled
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.schema import Listener
from gatepost.model.envelope import Recipient
from gatepost.relay.admission import SessionTable, create_table
from gatepost.relay.rates import PROBES, SLOTS, RateTable, Share, key_of
from gatepost.relay.visit import Visit

MINUTE = 60.0


@pytest.fixture
def table_fd():
    fd = create_table()
    yield fd
    os.close(fd)


def taken(table, key, limit, now, amount=1):
    return table.take([Share(key, limit, amount)], now, MINUTE) == -1


@pytest.mark.parametrize("relays", [1, 3])
def test_a_limit_counts_all_relays(table_fd, relays):
    tables = [RateTable(table_fd, alone=relays == 1) for _ in range(relays)]
    key = key_of("client_mails", STRANGER)
    answers = [taken(tables[n % relays], key, 5, 600.0) for n in range(8)]
    assert answers == [True] * 5 + [False] * 3
    assert taken(tables[0], key_of("client_mails", "198.51.100.8"), 5, 600.0)
    assert taken(tables[0], key_of("client_recipients", STRANGER), 5, 600.0)


def test_the_interval_slides(table_fd):
    table, key = RateTable(table_fd), key_of("x", "y")
    assert [taken(table, key, 10, 659.0) for _ in range(11)] == [True] * 10 + [False]
    assert not taken(table, key, 10, 661.0)  # no second burst across the edge
    assert taken(table, key, 10, 690.0, amount=5)  # half of the former interval is past
    assert not taken(table, key, 10, 690.0)
    assert taken(table, key, 10, 1000.0, amount=10)
    assert not taken(table, key, 10, 1000.0)


def test_all_or_nothing(table_fd):
    table = RateTable(table_fd)
    a, b = key_of("a", "x"), key_of("b", "x")
    assert table.take([Share(a, 3), Share(b, 1)], 0.0, MINUTE) == -1
    assert table.take([Share(a, 3), Share(b, 1)], 0.0, MINUTE) == 1
    assert table.take([Share(a, 3, 2)], 0.0, MINUTE) == -1  # the refused one was not counted
    assert table.take([Share(a, 3), Share(b, 5)], 0.0, MINUTE) == 0
    assert table.take([Share(b, 2, 1, looked_at_only=True)] * 3, 0.0, MINUTE) == -1
    table.add([Share(b, 2, 7)], 0.0, MINUTE)
    assert table.take([Share(b, 2, 1, looked_at_only=True)], 0.0, MINUTE) == 0


def _take_many(fd, count, results):
    table, key = RateTable(fd), key_of("x", "y")
    results.put(sum(taken(table, key, 1000, 600.0) for _ in range(count)))


def test_processes_at_the_same_time_lose_no_count(table_fd):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_take_many, args=(table_fd, 600, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert sum(results.get(timeout=30) for _ in workers) == 1000
    for worker in workers:
        worker.join(30)


def test_a_flood_of_strangers_neither_locks_out_nor_frees_the_heavy(table_fd):
    table = RateTable(table_fd)
    # All of them want the same place of the table, and there are more than it has room for.
    crowd = [(7 + number * SLOTS).to_bytes(8, "little") for number in range(1, 20 * PROBES)]
    heavy = crowd.pop(10)
    assert taken(table, heavy, 100, 600.0, amount=100)
    assert all(taken(table, key, 100, 600.0) for key in crowd)
    assert not taken(table, heavy, 100, 600.0)
    assert all(taken(table, key, 1, 600.0 + 2 * MINUTE) for key in crowd[:PROBES])  # what is past makes room first


def test_sessions_and_rates_share_the_memory_and_do_not_touch(table_fd):
    sessions, rates = SessionTable(table_fd, 0), RateTable(table_fd)
    assert sessions.enter(STRANGER, incoming=True, total_limit=5, address_limit=1) == ""
    for n in range(2000):
        taken(rates, key_of("x", str(n)), 1, 600.0)
    sessions.clear_column(3)
    assert sessions.totals() == (1, 0)
    assert sessions.enter(STRANGER, incoming=True, total_limit=5, address_limit=1) == "address"
    assert not taken(rates, key_of("x", "1999"), 1, 600.0)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 4)), max_size=60), st.integers(1, 12))
def test_never_more_than_twice_nor_less_than_nothing(steps, limit):
    """Within one fixed interval never more than the limit; a quiet interval later all of it is free again."""
    fd = create_table()
    table, key, now = RateTable(fd, alone=True), key_of("x", "y"), 0.0
    per_interval: dict[int, int] = {}
    for pause, amount in steps:
        now += pause
        if taken(table, key, limit, now, amount):
            number = int(now / MINUTE)
            per_interval[number] = per_interval.get(number, 0) + amount
    assert all(count <= limit for count in per_interval.values())
    assert taken(table, key, limit, now + 2 * MINUTE, limit)
    os.close(fd)


# What is counted for whom.


def rated(rates, extra="", clock=None, services=None):
    return access_of(f"[rates]\ninterval = '60 s'\n{rates}\n[access]\n{OPEN_TO_OURS}{extra}", None, clock, services)


def visited(access, client=STRANGER, **facts):
    visit = Visit(client, 1, Listener())
    ruling = asyncio.run(settled(access.connect(visit)))
    for name, value in facts.items():
        setattr(visit, name, value)
    return visit, ruling


def mail(access, visit, sender="s@example.net", size=0):
    return access.mail(visit, mail_from(sender, size), queue_full=False)


def rcpt(access, visit, address="user@example.org"):
    return access.recipient(visit, Recipient(address))


def test_connections_of_a_client():
    access = rated("client_connections = 2", "allow_clients = ['198.51.100.99']\n")
    assert [visited(access)[1].cause for _ in range(3)] == ["", "", "rate"]
    refusal = visited(access)[1].reply
    assert (refusal.code, refusal.enhanced, refusal.closes) == (421, "4.7.0", True)
    assert visited(access, "198.51.100.8")[1].cause == ""
    assert [visited(access, "198.51.100.99")[1].cause for _ in range(9)] == [""] * 9
    # IPv6 by the /64, which one customer has to itself; an IPv4 address is itself in either form
    assert [visited(access, f"2001:db8::{n}")[1].cause for n in range(1, 4)] == ["", "", "rate"]
    assert visited(access, "2001:db8:0:1::1")[1].cause == ""
    assert visited(access, "::ffff:198.51.100.7")[1].cause == "rate"


def test_mails_and_bytes_of_a_client():
    clock = Clock()
    access = rated("client_mails = 2\nclient_bytes = '100 KiB'", clock=clock)
    visit, _ = visited(access)
    assert mail(access, visit, size=100 * 1024 + 1).cause == "rate"
    assert mail(access, visit, size=100 * 1024).cause == ""
    access.message_done(visit, 100 * 1024)
    refused = mail(access, visit)
    assert (refused.reply.code, "data" in refused.reply.text) == (450, True)
    clock.now += 121
    assert [mail(access, visit).cause for _ in range(3)] == ["", "", "rate"]


def test_recipients_of_a_client_count_when_they_are_taken():
    access = rated("client_recipients = 2")
    visit, _ = visited(access)
    mail(access, visit)
    answers = [
        rcpt(access, visit, a).cause for a in ("x@elsewhere.example", "a@example.org", "b@example.org", "c@example.org")
    ]
    assert answers == ["relaying", "", "", "rate"]


def test_outbound_mail_of_a_sender():
    access = rated("sender_mails = 2\nsender_recipients = 3")
    visit, _ = visited(access, OURS)

    def send(sender, *recipients):
        assert mail(access, visit, sender).cause == ""
        return [rcpt(access, visit, recipient).cause for recipient in recipients]

    assert send("joe@example.org", *["in@example.org"] * 5) == [""] * 5  # internal mail is not counted
    assert send("joe@example.org", "a@x.example", "b@x.example") == ["", ""]
    assert send("JOE@example.org", "a@x.example", "b@x.example") == ["", "rate"]
    assert send("joe@example.org", "a@x.example") == ["rate"]
    assert send("ann@example.org", "a@x.example") == [""]
    assert send("", *["a@x.example"] * 5) == [""] * 5  # reports have no sender


def test_users_are_counted_wherever_they_are():
    services = services_of()
    access = rated("user_mails = 2\nuser_recipients = 3", services=services)
    first, _ = visited(access, STRANGER, user="joe")
    second, _ = visited(access, "203.0.113.9", user="Joe")
    assert [mail(access, visit).cause for visit in (first, second, first)] == ["", "", "rate"]
    assert [rcpt(access, second, "a@x.example").cause for _ in range(4)] == ["", "", "", "rate"]
    stranger, _ = visited(access)
    assert [mail(access, stranger).cause for _ in range(5)] == [""] * 5
    # a reload takes nothing back
    assert mail(rated("user_mails = 2", services=services), first).cause == "rate"


def test_a_front_relay_is_not_counted_but_its_clients_are():
    text = "front_relays = ['192.0.2.25']\n[rates]\nclient_connections = 1\nclient_mails = 1\n"
    front = access_of(text)
    rulings = [visited(front, "192.0.2.25") for _ in range(3)]
    assert [ruling.cause for _, ruling in rulings] == [""] * 3
    visit = rulings[0][0]
    assert [mail(front, visit).cause for _ in range(3)] == [""] * 3
    visit.forward(STRANGER)
    assert [mail(front, visit).cause for _ in range(2)] == ["", "rate"]


def test_our_own_clients_are_held_by_the_limits_of_senders_and_users():
    access = rated("client_connections = 1\nclient_mails = 1\nclient_recipients = 1")
    visit = [visited(access, OURS) for _ in range(3)][-1][0]
    assert [mail(access, visit).cause for _ in range(3)] == [""] * 3
    assert [rcpt(access, visit).cause for _ in range(3)] == [""] * 3
    signed_in, ruling = visited(access, user="joe")
    assert ruling.cause == ""
    assert [mail(access, signed_in).cause for _ in range(3)] == [""] * 3
    assert visited(access)[1].cause == "rate"  # before it has signed in it is a stranger


def test_nothing_is_counted_when_nothing_is_limited():
    services = services_of()
    services.rates.take = services.rates.add = None  # any use would fail
    access = access_of(f"[access]\n{OPEN_TO_OURS}", services=services)
    visit, ruling = visited(access)
    assert ruling.cause == mail(access, visit).cause == rcpt(access, visit).cause == ""
    access.message_done(visit, 1000)


def colliding(count):
    """Keys that all want the same place of the table."""
    return [(7 + number * SLOTS).to_bytes(8, "little") for number in range(1, count + 1)]


def test_two_new_counts_that_want_one_place_are_both_kept(table_fd):
    table, (a, b) = RateTable(table_fd), colliding(2)
    assert table.take([Share(a, 1), Share(b, 1)], 600.0, MINUTE) == -1
    assert not taken(table, a, 1, 600.0)
    assert not taken(table, b, 1, 600.0)


def test_what_is_past_makes_room_before_what_is_small(table_fd):
    table, keys = RateTable(table_fd), colliding(PROBES + 2)
    for key in keys[:PROBES]:
        assert taken(table, key, 100, 600.0, amount=50)
    later = 600.0 + 3 * MINUTE
    small, new = keys[PROBES:]
    assert taken(table, small, 1, later)
    assert taken(table, new, 1, later)
    assert not taken(table, small, 1, later)
