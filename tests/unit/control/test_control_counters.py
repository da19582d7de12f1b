"""Counters from records: each documented name by the unit, runs of the gateway, what a process counts by itself."""

from collections.abc import Sequence

import pytest

from gatepost.control.counters import BOUNDS_S, LATENCY, Counters, Tally, join_counters
from gatepost.model.record import (
    Blocked,
    Deferred,
    Delivered,
    Discarded,
    Generated,
    Held,
    Inspected,
    Notified,
    Received,
    Record,
    Refused,
    Scanned,
    SpamChecked,
)


class Places:
    """The part of a spool that keeps what views have confirmed."""

    def __init__(self) -> None:
        self.notes: dict[str, tuple[int, bytes]] = {}

    def position(self, name: str) -> tuple[int, bytes]:
        return self.notes.get(name, (0, b""))

    def confirm(self, name: str, number: int, note: bytes = b"") -> None:
        self.notes[name] = (number, note)


def counted(*records: Record) -> dict[str, int]:
    counters = Counters(Places())  # type: ignore[arg-type]
    counters.consume(1, records)
    return {name: value for name, value in counters.values.items() if not name.startswith(LATENCY)}


def received(size: int, recipients: int, *, mended: bool = False) -> Received:
    return Received(1, 0.0, "a@example.net", recipients, size, "192.0.2.1", "h", "<m>", "E", mended)


def delivered(*, sent: bool = True, more: bool = False, reply: str = "250 2.0.0 OK", size: int = 100) -> Delivered:
    return Delivered(1, 0.0, "r@example.org", "host", size, sent, reply, 0.3, more=more, elapsed_s=0.015)


def refused(cause: str, stage: str = "rcpt") -> Refused:
    return Refused(0.0, "192.0.2.1", stage, cause, 550)


def scanned(*objects: str, cached: int = 0, blocked: bool = False, modified: bool = False) -> Scanned:
    return Scanned(1, 0.0, "g", 1, ("clean",), 1, (), objects, modified, blocked, cached)


def test_accepted_mail_is_counted_with_its_bytes_and_recipients():
    assert counted(received(100, 2), received(50, 1, mended=True)) == {
        "mta_received_messages": 2,
        "mta_received_bytes": 150,
        "mta_received_recipients": 3,
        "mta_malformed_messages": 1,
    }


def test_mail_that_went_to_several_in_one_transaction_was_sent_once():
    assert counted(delivered(), delivered(more=True), delivered(more=True), delivered(size=7)) == {
        "mta_sent_messages": 2,
        "mta_sent_bytes": 107,
        "mta_sent_recipients": 4,
    }


def test_failures_are_counted_by_what_the_peer_could_not_take():
    assert counted(
        delivered(sent=False, reply="550 5.1.1 no"),
        delivered(sent=False, reply="552 5.3.4 too big"),
        delivered(sent=False, reply="554 5.6.3 no 8 bit"),
        Deferred(1, 0.0, "r@example.org", "host", "451", 9.0),
    ) == {
        "mta_sendings_failed_total": 3,
        "mta_sendings_failed_for_message_size_limit": 1,
        "mta_sendings_failed_for_8bitmime": 1,
        "mta_sendings_deferred": 1,
    }


@pytest.mark.parametrize(
    ("record", "total", "own"),
    [
        (refused("message-size", "mail"), "receivings", "mta_receivings_refused_for_message_size_limit"),
        (refused("session-size", "data"), "receivings", "mta_receivings_refused_for_session_size_limit"),
        (refused("hops", "data"), "receivings", "mta_receivings_refused_for_hops_limit"),
        (
            refused("messages-per-session", "mail"),
            "receivings",
            "mta_receivings_refused_for_messages_per_session_limit",
        ),
        (refused("content", "data"), "receivings", ""),
        (refused("malformed", "data"), "receivings", "mta_malformed_messages"),
        (refused("relaying"), "connections", "mta_incoming_connections_refused_for_relaying"),
        (refused("sessions", "connect"), "connections", "mta_incoming_connections_refused_for_sessions_limit"),
        (
            refused("sessions-per-ip", "connect"),
            "connections",
            "mta_incoming_connections_refused_for_sessions_per_ip_limit",
        ),
        (refused("sign-in", "auth"), "connections", ""),
    ],
)
def test_a_refusal_counts_in_its_total_and_under_its_own_name(record: Refused, total: str, own: str):
    totals = {"receivings": "mta_receivings_refused_total", "connections": "mta_incoming_connections_refused_total"}
    assert counted(record) == {totals[total]: 1, **({own: 1} if own else {})}


def test_objects_are_counted_by_status_and_the_cured_among_the_infected():
    assert counted(
        scanned("clean", "infected", "disinfected", "suspicious", "protected", "filtered", "error", cached=1),
        scanned(blocked=True, modified=True),
    ) == {
        "antiviral_checked_messages_total": 1,
        "antiviral_checked_messages_infected": 1,
        "antiviral_checked_objects_total": 7,
        "antiviral_checked_objects_through_cache": 1,
        "antiviral_checked_objects_infected": 2,
        "antiviral_infected_objects": 1,
        "antiviral_checked_objects_disinfected_objects": 1,
        "antiviral_checked_objects_suspicious_objects": 1,
        "antiviral_checked_objects_protected_objects": 1,
        "antiviral_checked_objects_filtered_objects": 1,
        "antiviral_check_checked_objects_error": 1,
        "antiviral_checked_messages_blocked": 1,
        "antiviral_checked_messages_modified": 1,
    }


def test_spam_verdicts_notices_and_ends_have_counters():
    spam = SpamChecked(1, 0.0, "g", 1, "spam", 99, (), 1, withheld=True, obscene=True)
    assert counted(
        spam,
        SpamChecked(1, 0.0, "g", 1, "not_detected", 0, (), 1),
        Generated(1, 0.0, "dsn-failed", 1, "r@example.org", 10),
        Generated(1, 0.0, "bcc", 1, "r@example.org", 10),
        Notified(1, 0.0, "admin", 1, 10, 1, 3),
        Notified(1, 0.0, "sender", 1, 10, 1),
        Notified(1, 0.0, "recipient", 1, 10, 1),
        Blocked(1, 0.0, (), 1),
        Discarded(1, 0.0, (), 1),
        Held(1, 0.0, "why"),
    ) == {
        "antispam_checked_messages_total": 2,
        "antispam_checked_messages_spam": 1,
        "antispam_checked_messages_not_detected": 1,
        "antispam_checked_messages_obscene": 1,
        "antispam_checked_messages_blocked": 1,
        "mta_dsn_generated": 1,
        "antiviral_notifications_generated_for_admin": 3,
        "antiviral_notifications_generated_for_sender": 1,
        "antiviral_notifications_generated_for_recipients": 1,
        "mta_blocked_messages": 1,
        "mta_discarded_messages": 1,
        "mta_held_messages": 1,
    }


def test_times_fall_into_the_first_bucket_whose_bound_they_do_not_pass():
    bounds = BOUNDS_S["inspection"]
    counters = Counters(Places())  # type: ignore[arg-type]
    times: Sequence[float] = (bounds[0], bounds[0] * 1.5, bounds[-1] * 2)
    counters.consume(1, [Inspected(1, 0.0, elapsed_ms=each * 1000) for each in times])
    values = counters.values
    assert [values.get(f"{LATENCY}inspection_{i}", 0) for i in range(len(bounds) + 1)] == [
        1,
        1,
        *[0] * (len(bounds) - 2),
        1,
    ]
    assert values[f"{LATENCY}inspection_ms"] == round(sum(times) * 1000)


def test_values_survive_and_a_run_counts_from_its_start():
    places = Places()
    first = Counters(places)  # type: ignore[arg-type]
    first.begin_run("one")
    first.consume(1, [received(10, 1)])
    first.add("extra", 4)
    first.save()
    again = Counters(places)  # type: ignore[arg-type]
    again.begin_run("one")
    again.consume(2, [received(10, 1)])
    assert again.values["mta_received_messages"] == 2
    assert again.since_start()["mta_received_messages"] == 2
    assert again.since_start()["extra"] == 4
    again.save()
    later = Counters(places)  # type: ignore[arg-type]
    later.begin_run("two")
    later.consume(3, [received(10, 1)])
    assert later.values["mta_received_messages"] == 3
    assert later.since_start()["mta_received_messages"] == 1
    assert later.since_start()["extra"] == 0


def test_what_was_replayed_before_the_run_belongs_to_the_former_one():
    places = Places()
    counters = Counters(places)  # type: ignore[arg-type]
    counters.consume(1, [received(10, 1)])
    counters.begin_run("two")
    assert counters.since_start()["mta_received_messages"] == 0


def test_own_counts_are_brought_in_once_and_begin_anew_after_a_restart():
    places = Places()
    counts = {"mta_dns_queries_total": 5}
    counters = Counters(places)  # type: ignore[arg-type]
    counters.fold = Tally(counters, lambda: counts).fold
    counters.save()
    counters.fold()
    assert counters.values["mta_dns_queries_total"] == 5
    counts["mta_dns_queries_total"] = 7
    counters.save()
    counts["mta_dns_queries_total"] = 2
    counters.save()
    assert Counters(places).values["mta_dns_queries_total"] == 9  # type: ignore[arg-type]


def test_joined_counters_add_up_by_name():
    assert join_counters([{"a": 1, "b": 2}, {}, {"b": 3}]) == {"a": 1, "b": 5}
