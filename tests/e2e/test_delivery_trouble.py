"""Delivery when peers refuse, lie, hang up or fall silent: nothing is lost, nothing waits for ever."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.lanes import Lane, LaneGateway
from tests.support.mails import plain
from tests.support.sink import CLOSE, STALL, THEN_CLOSE, Sink
from tests.support.waiting import wait_for

MINIMAL_S, MAXIMAL_S = 1.0, 2.0
TIMEOUT_S = 2
SETTINGS = {
    'minimal_backoff_time = "15 min"': 'minimal_backoff_time = "1 s"',
    'maximal_backoff_time = "4 h"': 'maximal_backoff_time = "2 s"',
    "[timeouts]\n": "[timeouts]\n"
    + "".join(
        f'{name} = "{TIMEOUT_S} s"\n'
        for name in (
            "sending_initial_timeout",
            "sending_hello_timeout",
            "sending_mail_timeout",
            "sending_rcpt_timeout",
            "sending_data_initiation_timeout",
            "sending_data_termination_timeout",
            "sending_quit_timeout",
            "write_timeout",
        )
    ),
}
STEPS = ["connect", "ehlo", "mail", "rcpt", "data", "end"]
SLACK_S = 6.0
"""How much later than planned something may happen on a busy machine."""


@pytest.fixture(scope="module")
def home() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, home: Sink) -> Iterator[LaneGateway]:
    with LaneGateway(tmp_path_factory.mktemp("trouble") / "gw", home.port, replace=SETTINGS) as gateway:
        yield gateway
        assert gateway.stop() == 0


def first_time(step: str, answer: str) -> Callable[[str, str, Sink], str | None]:
    """Answer so when the step is reached for the first time, as usual ever after."""
    return lambda at, _argument, sink: answer if at == step and len(sink.times(step)) == 1 else None


def arrived(sink: Sink, count: int = 1) -> None:
    wait_for(lambda: len(sink.mails) >= count, f"{count} mails at the sink")


def deferred_and_delivered_once(gateway: LaneGateway, sink: Sink, content: bytes, to: str) -> None:
    queue_id = gateway.send(content, to)
    arrived(sink)
    wait_for(lambda: gateway.lines("status=sent", queue_id), "the outcome")
    assert gateway.lines("DEFERRED", queue_id)
    assert [mail.without_trace() for mail in sink.mails] == [content]


@pytest.mark.feature("F-ROUT-08")
def test_outcome_is_per_recipient(gateway: LaneGateway, home: Sink) -> None:
    lane = gateway.lane()

    def not_bad(step: str, argument: str, _sink: Sink) -> str | None:
        return "550 5.1.1 no such user" if step == "rcpt" and argument.startswith("bad@") else None

    with lane.sink(not_bad) as sink:
        queue_id = gateway.send(
            plain("one of two"), [lane.address("good"), lane.address("bad")], sender="one-of-two@example.net"
        )
        arrived(sink)
        reports = wait_for(lambda: [m for m in home.mails if "one-of-two@example.net" in m.recipients], "the report")
        wait_for(lambda: len(gateway.lines("DELIVERED", queue_id)) == 2, "both outcomes")
        assert [m.recipients for m in sink.mails] == [[lane.address("good")]]
        assert len(reports) == 1
        assert lane.address("bad").encode() in reports[0].content
        assert lane.address("good").encode() not in reports[0].content.partition(b"rfc822-headers")[0]
        assert len(sink.times("mail")) == 1  # a permanent error ends at once


def test_only_the_deferred_recipient_is_tried_again(gateway: LaneGateway) -> None:
    lane = gateway.lane()

    def one_busy(step: str, argument: str, sink: Sink) -> str | None:
        return "451 4.7.1 greylisted" if step == "rcpt" and "slow@" in argument and not sink.mails else None

    with lane.sink(one_busy) as sink:
        gateway.send(plain("grey"), [lane.address("quick"), lane.address("slow")])
        arrived(sink, 2)
        assert [m.recipients for m in sink.mails] == [[lane.address("quick")], [lane.address("slow")]]
        assert sink.mails[0].without_trace() == sink.mails[1].without_trace()


@pytest.mark.parametrize("step", STEPS)
def test_421_at_any_step_defers(gateway: LaneGateway, step: str) -> None:
    lane = gateway.lane()
    with lane.sink(first_time(step, "421 4.3.2 shutting down" + THEN_CLOSE)) as sink:
        deferred_and_delivered_once(gateway, sink, plain("421 " + step), lane.address())


@pytest.mark.parametrize("step", [*STEPS, "content"])
def test_hang_up_at_any_step_defers(gateway: LaneGateway, step: str) -> None:
    lane = gateway.lane()
    with lane.sink(first_time(step, CLOSE)) as sink:
        deferred_and_delivered_once(gateway, sink, plain("hang up " + step, size=300_000), lane.address())


LONG = "x" * 70_000
GARBAGE = [(step, garbage) for step in STEPS for garbage in ("what?", LONG)] + [
    ("end", garbage) for garbage in ("2", "252_OK", "999 5.0.0 odd", "252-never\r\n350 mixed", "\xff\xfe\0")
]


@pytest.mark.parametrize(("step", "garbage"), GARBAGE, ids=lambda text: repr(text[:12]))
def test_garbage_is_temporary(gateway: LaneGateway, step: str, garbage: str) -> None:
    lane = gateway.lane()
    with lane.sink(first_time(step, garbage)) as sink:
        queue_id = gateway.send(plain("garbage"), lane.address())
        wait_for(lambda: gateway.lines("status=sent", queue_id), "the outcome")
        assert len(sink.mails) == 1
        assert not gateway.lines("status=failed", queue_id)


@pytest.mark.feature("F-ROUT-09")
def test_stall_at_each_step_is_abandoned_in_time(gateway: LaneGateway) -> None:
    """All stages at once, each at its own peer: that many seconds less."""
    lanes = {step: gateway.lane() for step in (*STEPS, "content")}
    sinks = {step: lane.sink(first_time(step, STALL)) for step, lane in lanes.items()}
    try:
        for step, lane in lanes.items():
            size = 5_000_000 if step == "content" else 0
            gateway.send(plain("stall " + step, size=size), lane.address())
        for step, sink in sinks.items():
            arrived(sink)
            stalled, again = sink.times(step)[0], sink.times("connect")[1]
            assert TIMEOUT_S * 0.9 <= again - stalled <= TIMEOUT_S + MAXIMAL_S + SLACK_S, step
            assert len(sink.mails) == 1, step
    finally:
        for sink in sinks.values():
            sink.close()


@pytest.mark.feature("F-ROUT-09")
def test_stall_at_quit_is_abandoned_in_time(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    with lane.sink(lambda step, _argument, _sink: STALL if step == "quit" else None) as sink:
        gateway.send(plain("quit"), lane.address())
        (asked,) = wait_for(lambda: sink.times("quit"), "our QUIT")
        assert established(lane)
        wait_for(lambda: not established(lane), "the end of the connection")
        # Its clock ran before the peer, which shares a machine with others, noted the command.
        assert TIMEOUT_S * 0.5 <= time.time() - asked <= TIMEOUT_S + SLACK_S


def established(lane: Lane) -> bool:
    """Tell whether the kernel has an open connection to the lane's host."""
    address = "".join(f"{int(part):02X}" for part in reversed(lane.host.split(".")))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(remote.startswith(address) and state == "01" for _, _, remote, state, *_ in rows)


def test_refused_connection_rests_the_destination_and_rewrites_no_message(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    ids = [gateway.send(plain(f"refused {number}"), lane.address()) for number in range(5)]
    wait_for(
        lambda: sum("not reached" in line and lane.label in line for line in gateway.log().splitlines()) >= 2,
        "two attempts",
    )
    rows = [row for row in gateway.queue() if row["queue_id"] in ids]
    assert len(rows) == 5
    assert all("refused" in row["reason"].lower() for row in rows)
    attempts = [line for line in gateway.log().splitlines() if "not reached" in line and lane.label in line]
    assert len(attempts) < 5 + 5  # the destination is tried, not each of its messages
    with lane.sink() as sink:
        arrived(sink, 5)
        assert set(sink.recipients().values()) == {5}
        for queue_id in ids:
            wait_for(lambda each=queue_id: gateway.lines("status=sent", each), "the outcome")
            assert len(gateway.lines("DEFERRED", queue_id)) <= 1
