"""Delivery to scripted peers of all kinds: routes, sessions, capabilities, identical content."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import Gateway
from tests.support.lanes import Lane, LaneGateway
from tests.support.mails import EICAR, plain, with_attachment
from tests.support.sink import CLOSE, THEN_CLOSE, Sink
from tests.support.waiting import join, wait_for

TIMES = {
    'minimal_backoff_time = "15 min"': 'minimal_backoff_time = "1 s"',
    'maximal_backoff_time = "4 h"': 'maximal_backoff_time = "2 s"',
}
FIVE_MB = 5_000_000


@pytest.fixture(scope="module")
def home() -> Iterator[Sink]:
    """Where everything goes that has no lane: reports to senders."""
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, home: Sink) -> Iterator[LaneGateway]:
    with LaneGateway(tmp_path_factory.mktemp("delivery") / "gw", home.port, replace=TIMES) as gateway:
        yield gateway
        assert gateway.stop() == 0


def arrived(sink: Sink, count: int = 1) -> None:
    wait_for(lambda: len(sink.mails) >= count, f"{count} mails at the sink")


# --- routes


@pytest.mark.feature("F-ROUT-01")
def test_routes_lead_to_their_hosts_and_ports(gateway: LaneGateway, home: Sink) -> None:
    lane, standard = gateway.lane(), gateway.standard_port_lane
    try:
        socket.create_server((standard.host, standard.port)).close()
    except PermissionError:
        pytest.skip("port 25 of a loopback address needs CAP_NET_BIND_SERVICE")
    with lane.sink() as first, standard.sink() as second:
        queue_id = gateway.send(plain("two ways"), [lane.address("a"), standard.address("b"), lane.address("c")])
        arrived(first)
        arrived(second)
        assert first.mails[0].recipients == [lane.address("a"), lane.address("c")]
        assert second.mails[0].recipients == [standard.address("b")]
        assert (first.connections, second.connections) == (1, 1)
        wait_for(lambda: len(gateway.lines("DELIVERED", queue_id)) == 3, "three outcomes")
        assert f"server={standard.host}:25" in "".join(gateway.lines("DELIVERED", queue_id))
    assert not any("two ways" in mail.content.decode() for mail in home.mails)


# --- sessions


def test_sessions_are_used_again(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    with lane.sink() as sink:
        for number in range(30):
            gateway.send(plain(f"again {number}"), lane.address())
            arrived(sink, number + 1)
        assert sink.connections <= 2
        assert not any(command == "RSET" for command in sink.commands)


class Sessions:
    """Sessions at all sinks together; one ends with its QUIT, before the client hears the answer."""

    def __init__(self) -> None:
        self.most = self._open = 0
        self._lock = threading.Lock()

    def note(self, step: str) -> None:
        with self._lock:
            self._open += {"connect": 1, "quit": -1}.get(step, 0)
            self.most = max(self.most, self._open)


@pytest.mark.feature("F-ROUT-05")
@pytest.mark.parametrize("relays", [1, 3])
def test_limits_of_outgoing_sessions_hold_across_relays(tmp_path: Path, relays: int) -> None:
    limits = {
        "outgoing_sessions = 100": "outgoing_sessions = 4",
        "maximal_outgoing_sessions_per_host = 20": "maximal_outgoing_sessions_per_host = 3",
    }
    sessions = Sessions()
    # The first three at one host must be open at the same time, then four at both; one more would be counted.
    three, four = threading.Barrier(3), threading.Barrier(4)

    def meet(step: str, _argument: str, _sink: Sink) -> None:
        sessions.note(step)
        together = four if three.broken or second.connections else three
        if step == "end" and not together.broken:
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(5)  # a kept connection without mail may be the last of them

    with Sink() as home, LaneGateway(tmp_path / "gw", home.port, relays=relays, replace=limits | TIMES) as gateway:
        lanes = [gateway.lane(), gateway.lane()]
        with lanes[0].sink(meet) as first, lanes[1].sink(meet) as second:
            _send_to([lanes[0]], gateway)
            arrived(first, 60)
            assert first.most_open == 3
            _send_to(lanes, gateway)
            arrived(first, 120)
            arrived(second, 60)
            assert first.most_open == 3
            assert second.most_open <= 3
            assert sessions.most == 4
            assert [sorted(each.recipients().values()) for each in (first, second)] == [[120], [60]]


def _send_to(lanes: list[Lane], gateway: Gateway) -> None:
    """Send sixty mails to each of them, at the same time."""
    senders = [
        threading.Thread(target=_send_many, args=(gateway, lane.address(), 10)) for lane in lanes for _ in range(6)
    ]
    for thread in senders:
        thread.start()
    join(*senders)


def _send_many(gateway: Gateway, recipient: str, count: int) -> None:
    with gateway.client() as client:
        for number in range(count):
            client.sendmail("sender@example.net", recipient, plain(f"many {number}"))


def test_peer_that_takes_few_sessions_is_not_hammered(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    gate = threading.Event()

    def one_at_a_time(step: str, _argument: str, sink: Sink) -> str | None:
        if step == "connect" and sink.open > 1:
            return "421 4.7.0 too many connections from you" + THEN_CLOSE
        if step == "end":
            gate.wait(120)
        return None

    with lane.sink(one_at_a_time) as sink:
        threads = [threading.Thread(target=_send_many, args=(gateway, lane.address(), 10)) for _ in range(4)]
        for thread in threads:
            thread.start()
        join(*threads)
        refused = sink.connections
        gate.set()
        arrived(sink, 40)
        assert refused <= 45  # not more than one attempt a mail while the first session is busy
        assert sink.connections <= 60


def test_kept_connection_closed_by_the_peer_costs_no_deferral(gateway: LaneGateway) -> None:
    lane = gateway.lane()

    def hang_up_on_second(step: str, _argument: str, sink: Sink) -> str | None:
        return CLOSE if step == "mail" and len(sink.times("mail")) == 2 else None

    with lane.sink(hang_up_on_second) as sink:
        gateway.send(plain("kept 1"), lane.address())
        arrived(sink)
        queue_id = gateway.send(plain("kept 2"), lane.address())
        arrived(sink, 2)
        assert sink.connections == 2
        wait_for(lambda: gateway.lines("DELIVERED", queue_id), "its outcome")
        assert not gateway.lines("DEFERRED", queue_id)


def test_idle_timeout_of_the_peer_that_crosses_our_mail_costs_no_deferral(gateway: LaneGateway) -> None:
    lane = gateway.lane()

    def leave_on_second(step: str, _argument: str, sink: Sink) -> str | None:
        return "421 4.4.2 idle for too long" + THEN_CLOSE if step == "mail" and len(sink.times("mail")) == 2 else None

    with lane.sink(leave_on_second) as sink:
        gateway.send(plain("idle 1"), lane.address())
        arrived(sink)
        queue_id = gateway.send(plain("idle 2"), lane.address())
        arrived(sink, 2)
        wait_for(lambda: gateway.lines("DELIVERED", queue_id), "its outcome")
        assert not gateway.lines("DEFERRED", queue_id)


# --- what peers can do


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param(None, id="everything"),
        pytest.param(("SIZE", "8BITMIME"), id="no pipelining"),
        pytest.param(("PIPELINING",), id="pipelining alone"),
        pytest.param(("X-NONSENSE =?", "AUTH=LOGIN", "SIZE many"), id="odd extensions"),
    ],
)
def test_any_set_of_extensions_gets_the_same_bytes(gateway: LaneGateway, extensions: tuple[str, ...] | None) -> None:
    lane = gateway.lane()
    content = plain("extensions", ".\r\n..\r\n.x\r\n\r\n.\r\n\r\n")
    with lane.sink(extensions=extensions) as sink:
        gateway.send(content, [lane.address("a"), lane.address("b")])
        arrived(sink)
        assert sink.mails[0].without_trace() == content
        assert sink.mails[0].recipients == [lane.address("a"), lane.address("b")]


def test_peer_that_knows_only_helo(gateway: LaneGateway) -> None:
    lane = gateway.lane()

    def old(step: str, _argument: str, _sink: Sink) -> str | None:
        return "502 5.5.1 what?" if step == "ehlo" else None

    with lane.sink(old) as sink:
        gateway.send(plain("helo"), lane.address(), options=["RET=HDRS", "ENVID=x"])
        arrived(sink)
        assert sink.commands[:2] == ["EHLO gw.example.org", "HELO gw.example.org"]
        assert sink.mails[0].mail_arguments == ""


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail", "rcpt", "data", "end"])
def test_multi_line_replies(gateway: LaneGateway, step: str) -> None:
    lane = gateway.lane()
    code = {"connect": 220, "data": 354}.get(step, 250)

    def wordy(at: str, _argument: str, _sink: Sink) -> str | None:
        return f"{code}-one\r\n{code}-two\r\n{code}-\r\n{code} end" if at == step else None

    with lane.sink(wordy) as sink:
        queue_id = gateway.send(plain("wordy"), lane.address())
        arrived(sink)
        wait_for(lambda: gateway.lines("status=sent", queue_id), "the outcome")
        assert len(sink.mails) == 1
        assert not gateway.lines("DEFERRED", queue_id)


CODES_ALONE = dict.fromkeys(("ehlo", "mail", "rcpt", "end"), "250") | {"connect": "220", "data": "354", "quit": "221"}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(CODES_ALONE, id="codes alone"),
        pytest.param({"ehlo": "250-sink\r\n250-pipelining\r\n250-8BitMime\r\n250 size"}, id="small letters"),
        pytest.param({"rcpt": "251 2.1.5 User not local; will forward"}, id="forwarded"),
        pytest.param({"rcpt": "252 2.1.5 cannot verify", "mail": "250 2.1.0 " + "x" * 2000}, id="unverified, endless"),
        pytest.param({"ehlo": "250-sink\n250-PIPELINING\n250 SIZE", "connect": "220-hi\n220 there"}, id="line feeds"),
        pytest.param({"connect": "220 gr\xfc\xdfe", "end": "250 2.6.0 \xfc\x00\x1b[31m taken"}, id="no ASCII"),
        pytest.param({"mail": "250 5.1.1 whatever", "rcpt": "250 9.9.9 x"}, id="wrong enhanced codes"),
    ],
)
def test_odd_replies_are_replies(gateway: LaneGateway, said: dict[str, str]) -> None:
    lane = gateway.lane()
    content = plain("odd replies")
    with lane.sink(lambda step, _argument, _sink: said.get(step)) as sink:
        queue_id = gateway.send(content, lane.address())
        arrived(sink)
        wait_for(lambda: gateway.lines("status=sent", queue_id), "the outcome")
        assert [mail.without_trace() for mail in sink.mails] == [content]
        assert not gateway.lines("DEFERRED", queue_id)
        assert "\x1b" not in gateway.log()


@pytest.mark.feature("F-ROUT-14")
def test_peer_with_smaller_size_or_without_8bitmime_fails_with_a_report(gateway: LaneGateway, home: Sink) -> None:
    small, narrow = gateway.lane(), gateway.lane()
    by_size = gateway.counter("mta_sendings_failed_for_message_size_limit")
    by_eight_bit = gateway.counter("mta_sendings_failed_for_8bitmime")
    with small.sink(extensions=("SIZE 1000",)) as first, narrow.sink(extensions=("PIPELINING", "SIZE 0")) as second:
        gateway.send(plain("too large here", size=5000), small.address(), sender="size@example.net")
        gateway.send(
            plain("eight bits", "\u00e4\r\n"), narrow.address(), sender="eight@example.net", options=["BODY=8BITMIME"]
        )
        for sender, status in (("size@example.net", b"Status: 5.3.4"), ("eight@example.net", b"Status: 5.6.3")):
            report = wait_for(lambda who=sender: [m for m in home.mails if who in m.recipients], "a report")[0]
            assert report.sender == ""
            assert status in report.content
        wait_for(
            lambda: (
                gateway.counter("mta_sendings_failed_for_message_size_limit") == by_size + 1
                and gateway.counter("mta_sendings_failed_for_8bitmime") == by_eight_bit + 1
            ),
            "the two counters",
        )
        assert not any(command.startswith("MAIL") for command in first.commands + second.commands)


@pytest.mark.feature("F-DSN-01")
def test_dsn_parameters_reach_a_peer_that_knows_them(gateway: LaneGateway) -> None:
    lane, plain_lane = gateway.lane(), gateway.lane()
    envelope = "RET=HDRS ENVID=QQ+2B314159"
    with lane.sink() as sink, plain_lane.sink(extensions=("PIPELINING",)) as ignorant:
        with gateway.client() as client:
            assert client.docmd(f"MAIL FROM:<dsn@example.net> {envelope}")[0] == 250
            for address in (lane.address("a"), plain_lane.address()):
                orcpt = "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Balias@example.com"
                assert client.docmd(f"RCPT TO:<{address}> {orcpt}")[0] == 250
            assert client.docmd(f"RCPT TO:<{lane.address('b')}> NOTIFY=NEVER")[0] == 250
            assert client.data(plain("dsn"))[0] == 250
        arrived(sink)
        arrived(ignorant)
        assert {"RET=HDRS", "ENVID=QQ+2B314159"} <= set(sink.mails[0].mail_arguments.split())
        first, second = (set(arguments.split()) for arguments in sink.mails[0].rcpt_arguments)
        assert first == {"NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;first+2Balias@example.com"}
        assert "NOTIFY=NEVER" in second
        assert ignorant.mails[0].rcpt_arguments == [""]
        assert "ENVID" not in ignorant.mails[0].mail_arguments


# --- content and numbers


def test_thousand_recipients_of_one_mail(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    everyone = [lane.address(f"r{number}") for number in range(1000)]
    with lane.sink() as sink:
        queue_id = gateway.send(plain("thousand"), everyone)
        wait_for(lambda: sum(sink.recipients().values()) >= 1000, "all recipients")
        assert set(sink.recipients()) == set(everyone)
        assert set(sink.recipients().values()) == {1}
        wait_for(lambda: len(gateway.lines("DELIVERED", queue_id)) == 1000, "all outcomes")


def test_peer_that_takes_ten_recipients_at_once_gets_them_all_without_waiting(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    taken = [0]

    def ten(step: str, _argument: str, _sink: Sink) -> str | None:
        if step == "mail":
            taken[0] = 0
        elif step == "rcpt":
            taken[0] += 1
            return "452 4.5.3 too many recipients" if taken[0] > 10 else None
        return None

    with lane.sink(ten) as sink:
        queue_id = gateway.send(plain("tens"), [lane.address(f"r{number}") for number in range(35)])
        wait_for(lambda: sum(sink.recipients().values()) >= 35, "all recipients")
        assert set(sink.recipients().values()) == {1}
        assert not gateway.lines("DEFERRED", queue_id)


def test_large_mail_is_identical(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    content = plain("large", size=FIVE_MB)
    with lane.sink() as sink:
        gateway.send(content, lane.address())
        arrived(sink)
        assert sink.mails[0].without_trace() == content


def test_dots_at_every_border_survive(gateway: LaneGateway) -> None:
    """Dots where lines begin, around the sizes of the pieces that files and sockets are read in."""
    lane = gateway.lane()
    lines = [b"." * (length % 70) for length in range(2_000)] * 20
    content = plain("dots") + b"\r\n".join(lines) + b"\r\n.\r\n..\r\n"
    assert len(content) > 1_000_000
    with lane.sink() as sink:
        gateway.send(content, lane.address())
        arrived(sink)
        assert sink.mails[0].without_trace() == content


def test_edited_large_mail_keeps_every_other_byte(gateway: LaneGateway) -> None:
    lane = gateway.lane()
    before, after = plain("edit").partition(b"\r\n\r\n")[2], b"MARK" * 16 + b"\r\n"
    mail = with_attachment(b"CURE-" + EICAR, "c.com")
    head, _, body = mail.partition(b"\r\n\r\n")
    boundary = mail.partition(b'boundary="')[2].partition(b'"')[0]
    filler = b"--" + boundary + b"\r\nContent-Type: text/plain\r\n\r\n" + before + after * 60_000
    content = head + b"\r\n\r\n" + filler + b"\r\n" + body
    assert len(content) > 3_900_000
    with lane.sink() as sink:
        gateway.send(content, lane.address())
        arrived(sink)
        received = sink.mails[0].without_trace()
    assert received.startswith(head)
    assert filler in received
    assert received != content
    assert b"Q1VSRUQ" in received  # "CURED" in base64: the disinfected attachment
