"""What the queue does by the clock, with the shipped times, on a clock that steps: back-off, giving up, reports."""

import email
import email.message
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.clock import DAY, HOUR, MINUTE, SteppedClock
from tests.support.gateway import Gateway
from tests.support.lanes import LaneGateway
from tests.support.mails import plain
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for

MINIMAL_S, MAXIMAL_S, LIFETIME_S = 15 * MINUTE, 4 * HOUR, 5 * DAY
"""The shipped bounds."""
SLACK_S = 30.0
"""Real time that may pass between a plan and our look at it."""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> SteppedClock:
    return SteppedClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def home() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, home: Sink, clock: SteppedClock) -> Iterator[LaneGateway]:
    with LaneGateway(tmp_path_factory.mktemp("times") / "gw", home.port, env=clock.env) as gateway:
        yield gateway
        assert gateway.stop() == 0


def greylist(step: str, _argument: str, _sink: Sink) -> str | None:
    return "451 4.7.1 try again later" if step == "rcpt" else None


def refuse(step: str, _argument: str, _sink: Sink) -> str | None:
    return "550 5.1.1 no such user" if step == "rcpt" else None


def row_of(gateway: Gateway, queue_id: str) -> dict[str, Any] | None:
    """Return the message's row when it waits for its time."""
    return next((row for row in gateway.queue() if (row["queue_id"], row["state"]) == (queue_id, "QUE")), None)


def deferred(gateway: Gateway, queue_id: str, attempts: int) -> dict[str, Any]:
    """Wait for so many attempts to have failed for now; return the message's row."""
    wait_for(lambda: len(gateway.lines("DEFERRED", queue_id)) >= attempts, f"attempt {attempts}")
    return wait_for(lambda: row_of(gateway, queue_id), "it to wait again")


def pass_through(gateway: Gateway, home: Sink) -> None:
    """Send a mail and see it arrive: the relay has had time to do whatever else it thought was due."""
    count = len(home.mails)
    gateway.send(plain("passing through"))
    wait_for(lambda: len(home.mails) > count, "mail to pass")


def reports_to(home: Sink, sender: str, action: str = "failed") -> list[Mail]:
    wanted = f"Action: {action}".encode()
    return [mail for mail in home.mails if mail.recipients == [sender] and wanted in mail.content]


def report_to(home: Sink, sender: str, action: str = "failed") -> Mail:
    return wait_for(lambda: reports_to(home, sender, action), f"a report to {sender}")[0]


def per_recipient(mail: Mail) -> email.message.Message:
    """Return the second block of the delivery status."""
    (_, status, _) = email.message_from_bytes(mail.content).get_payload()
    (_, block) = status.get_payload()
    return block


def test_relay_says_that_its_clock_is_no_real_one(gateway: LaneGateway, clock: SteppedClock) -> None:
    (line,) = gateway.lines("runs on a test clock")
    assert " W]: relay 0 " in line
    queue_id = gateway.send(plain("today"))
    before = clock.now()
    clock.step(30 * DAY)
    later = gateway.send(plain("in a month"))
    received = {each: gateway.lines("RECEIVED", each)[0].split()[0] for each in (queue_id, later)}
    assert received[queue_id] != received[later]
    assert clock.now() - before >= 30 * DAY


def test_without_the_switch_there_is_no_test_clock(tmp_path: Path) -> None:
    with Sink() as sink, Gateway(tmp_path / "gw", sink.port) as gateway:
        assert not gateway.lines("test clock")


@pytest.mark.feature("F-ROUT-06")
def test_retries_keep_between_the_bounds(gateway: LaneGateway, home: Sink, clock: SteppedClock) -> None:
    lane = gateway.lane()
    attempts: list[float] = []

    def busy(step: str, _argument: str, _sink: Sink) -> str | None:
        if step != "rcpt":
            return None
        attempts.append(clock.now())
        return "450 4.2.1 busy" if len(attempts) < 8 else None

    with lane.sink(busy) as sink:
        queue_id = gateway.send(plain("patience"), lane.address())
        for number in range(1, 8):
            due = deferred(gateway, queue_id, number)["next_attempt"]
            clock.step_to(due - SLACK_S)
            pass_through(gateway, home)
            assert len(attempts) == number  # not before its time
            clock.step_to(due)
        wait_for(lambda: sink.mails, "delivery")
    pauses = [later - sooner for sooner, later in itertools.pairwise(attempts)]
    assert all(MINIMAL_S - SLACK_S <= pause <= MAXIMAL_S + SLACK_S for pause in pauses)
    assert pauses[0] < MAXIMAL_S / 2 < max(pauses)
    assert len(gateway.lines("DEFERRED", queue_id)) == 7
    assert "450 4.2.1 busy" in gateway.lines("DEFERRED", queue_id)[0]


@pytest.mark.feature("F-ROUT-07")
def test_mail_is_given_up_at_the_end_of_its_life(gateway: LaneGateway, home: Sink, clock: SteppedClock) -> None:
    unreachable, busy = gateway.lane(), gateway.lane()
    with busy.sink(greylist) as sink:
        ids = [
            gateway.send(plain("nowhere 1"), unreachable.address(), sender="nowhere1@example.net"),
            gateway.send(plain("nowhere 2"), unreachable.address(), sender="nowhere2@example.net"),
            gateway.send(plain("too busy"), busy.address(), sender="busy@example.net"),
        ]
        wait_for(lambda: all(row_of(gateway, each) for each in ids), "all of them to wait")
        clock.step(LIFETIME_S - HOUR)
        deferred(gateway, ids[2], 2)
        assert len(sink.times("rcpt")) == 2
        assert {row["queue_id"] for row in gateway.queue()} >= set(ids)  # an hour to live
        clock.step(HOUR)
        for sender, why in (
            ("nowhere1@example.net", "refused"),
            ("nowhere2@example.net", "refused"),
            ("busy@example.net", "451 4.7.1 try again later"),
        ):
            outcome = per_recipient(report_to(home, sender))
            assert outcome["Action"] == "failed"
            assert outcome["Status"] == "5.4.7"
            diagnostic = " ".join(outcome["Diagnostic-Code"].split())
            assert "delivery time expired" in diagnostic
            assert why in diagnostic
    wait_for(lambda: not {row["queue_id"] for row in gateway.queue()} & set(ids), "the queue to be rid of them")


def test_expired_report_ends_silently(gateway: LaneGateway, clock: SteppedClock) -> None:
    there, back = gateway.lane(), gateway.lane()
    with there.sink(refuse):
        queue_id = gateway.send(plain("no way back"), there.address(), sender=back.address("sender"))
        generated = wait_for(lambda: gateway.lines("GENERATED", f"srcid={queue_id}"), "the report")
    report_id = generated[0].partition("] ")[2].partition(":")[0]
    wait_for(lambda: row_of(gateway, report_id), "the report to wait")
    clock.step(LIFETIME_S)
    wait_for(lambda: gateway.lines("status=failed", report_id), "it to be given up")
    assert not gateway.lines("GENERATED", f"srcid={report_id}")


def test_sender_hears_of_a_delay_once(gateway: LaneGateway, home: Sink, clock: SteppedClock) -> None:
    unreachable, busy = gateway.lane(), gateway.lane()
    with busy.sink(greylist) as sink:
        silent = gateway.send(plain("to nowhere"), unreachable.address(), sender="delay1@example.net")
        spoken = gateway.send(plain("to a busy one"), busy.address(), sender="delay2@example.net")
        with gateway.client() as client:
            for sender, wish in (("delay3@example.net", "NEVER"), ("delay4@example.net", "FAILURE")):
                assert client.docmd(f"MAIL FROM:<{sender}>")[0] == 250
                assert client.docmd(f"RCPT TO:<{busy.address()}> NOTIFY={wish}")[0] == 250
                assert client.data(plain("nobody asked"))[0] == 250
        for queue_id in (silent, spoken):
            wait_for(lambda each=queue_id: row_of(gateway, each), "it to wait")
        clock.step(4 * HOUR - 2 * SLACK_S)
        pass_through(gateway, home)
        assert not reports_to(home, "delay1@example.net", "delayed")
        clock.step(3 * SLACK_S)
        for sender, why in (("delay1@example.net", "refused"), ("delay2@example.net", "451 4.7.1 try again later")):
            report = report_to(home, sender, "delayed")
            assert report.sender == ""
            outcome = per_recipient(report)
            assert outcome["Status"].startswith("4.")
            assert why in " ".join(outcome["Diagnostic-Code"].split())
            assert outcome["Will-Retry-Until"]
        clock.step(HOUR)
        deferred(gateway, spoken, 2)
        pass_through(gateway, home)
        for number in (1, 2):
            assert len(reports_to(home, f"delay{number}@example.net", "delayed")) == 1
        for number in (3, 4):
            assert not reports_to(home, f"delay{number}@example.net", "delayed")
        assert sink.times("rcpt")
