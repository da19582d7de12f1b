"""Routes with several next hops, LMTP, pieces instead of dots, and shares of the sessions among destinations."""

import email
import email.policy
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.lanes import Lane, LaneGateway
from tests.support.mailnet import QUICK_TIMES
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import CLOSE, Sink
from tests.support.waiting import WAIT_S, join, wait_for

SPARE = 200
"""Numbers of lanes whose routes are written here."""
CHUNKING = ("PIPELINING", "SIZE 104857600", "8BITMIME", "CHUNKING", "DSN")


def route(domain: str, *lanes: Lane, **more: str) -> str:
    hops = ", ".join(f'"[{lane.host}:{lane.port}]"' for lane in lanes)
    lines = [
        f'recipients = ["{domain}"]',
        f"next_hop = [{hops}]",
        *(f'{name} = "{value}"' for name, value in more.items()),
    ]
    return "\n[[route]]\n" + "\n".join(lines) + "\n"


class Routes:
    """Lanes for routes of several hops."""

    def __init__(self) -> None:
        port = free_port()
        lanes = [Lane(SPARE + number, port) for number in range(8)]
        self.failover, self.turns, self.lmtp = lanes[0:3], lanes[3:6], lanes[6]
        self.settings = (
            route("failover.example.org", *self.failover)
            + route("turns.example.org", *self.turns, order="round_robin")
            + route("lmtp.example.org", self.lmtp, transport="lmtp")
        )


@pytest.fixture(scope="module")
def routes() -> Routes:
    return Routes()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, routes: Routes) -> Iterator[LaneGateway]:
    comment = "# Where mail goes on to;"
    limits = {
        "[options]\n": "[options]\nreencode_eight_bit = true\n",
        "outgoing_sessions = 100": "outgoing_sessions = 12",
        "maximal_outgoing_sessions_per_host = 20": "maximal_outgoing_sessions_per_host = 10",
    }
    with (
        Sink() as home,
        LaneGateway(
            tmp_path_factory.mktemp("routes") / "gw",
            home.port,
            replace=QUICK_TIMES
            | limits
            | {'[[route]]\nrecipients = ["*"]': routes.settings + '\n[[route]]\nrecipients = ["*"]'},
        ) as gateway,
    ):
        assert comment in gateway.config.read_text()
        yield gateway
        assert gateway.stop() == 0


def arrived(sink: Sink, count: int = 1) -> None:
    wait_for(lambda: len(sink.mails) >= count, f"{count} mails at the sink")


def test_first_next_hop_that_answers_gets_the_mail(gateway: LaneGateway, routes: Routes) -> None:
    _, second, third = routes.failover
    with second.sink() as middle, third.sink() as last:
        queue_id = gateway.send(plain("fail over"), "user@failover.example.org")
        arrived(middle)
        assert not last.connections
        wait_for(lambda: gateway.lines("status=sent", queue_id), "its outcome")
        assert second.label in gateway.lines("status=sent", queue_id)[0]
        assert not gateway.lines("DEFERRED", queue_id)


def test_next_hops_take_turns_and_a_dead_one_is_passed_over(gateway: LaneGateway, routes: Routes) -> None:
    one, _, three = routes.turns
    with one.sink() as first, three.sink() as third:
        for number in range(12):
            gateway.send(plain(f"turn {number}"), "user@turns.example.org")
        wait_for(lambda: len(first.mails) + len(third.mails) == 12, "all mails")
        assert min(len(first.mails), len(third.mails)) >= 3
        assert not gateway.lines("DEFERRED, rcpt=<user@turns")


def test_lmtp_has_an_outcome_for_each_recipient(gateway: LaneGateway, routes: Routes) -> None:
    def full(step: str, argument: str, _sink: Sink) -> str | None:
        return "452 4.2.2 mailbox full" if step == "end" and "full@" in argument else None

    with Sink(routes.lmtp.port, full, host=routes.lmtp.host, lmtp=True) as sink:
        content = plain("lmtp", ".\r\n..\r\n")
        queue_id = gateway.send(content, ["one@lmtp.example.org", "full@lmtp.example.org", "two@lmtp.example.org"])
        arrived(sink)
        wait_for(lambda: len(gateway.lines("status=sent", queue_id)) == 2, "two outcomes")
        assert sink.commands[0].startswith("LHLO ")
        assert sink.mails[0].recipients == ["one@lmtp.example.org", "two@lmtp.example.org"]
        assert sink.mails[0].without_trace() == content
        assert "452 4.2.2" in wait_for(lambda: gateway.lines("DEFERRED", queue_id), "the third to wait")[0]
        wait_for(lambda: len(sink.times("end")) > 3, "another attempt, for the third alone")


@pytest.mark.parametrize("size", [100, 300_000])
def test_content_goes_in_pieces_where_they_are_taken(gateway: LaneGateway, size: int) -> None:
    lane = gateway.lane()
    content = plain("pieces", ".\r\n..\r\n", size=size)
    with lane.sink(extensions=CHUNKING) as sink:
        gateway.send(content, lane.address())
        arrived(sink)
        assert sink.mails[0].without_trace() == content
        assert not sink.times("data")


def test_connection_lost_in_the_middle_of_pieces_waits(gateway: LaneGateway) -> None:
    lane = gateway.lane()

    def lose(step: str, _argument: str, sink: Sink) -> str | None:
        return CLOSE if step == "end" and len(sink.times("end")) == 1 else None

    with lane.sink(lose, extensions=CHUNKING) as sink:
        queue_id = gateway.send(plain("lost"), lane.address())
        arrived(sink)
        assert len(gateway.lines("DEFERRED", queue_id)) == 1


# --- content and addresses that not every peer takes


def test_eight_bit_mail_is_encoded_for_a_peer_that_takes_seven(gateway: LaneGateway) -> None:
    narrow, wide = gateway.lane(), gateway.lane()
    text = "eight bits: \u00e4\u00f6\u00fc\r\n"
    head = "From: <s@example.net>\r\nSubject: bits\r\nMIME-Version: 1.0\r\n"
    content = (
        head + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text
    ).encode()
    with narrow.sink(extensions=("PIPELINING",)) as seven, wide.sink() as eight:
        gateway.send(content, [narrow.address(), wide.address()], options=["BODY=8BITMIME"])
        arrived(seven)
        arrived(eight)
        assert eight.mails[0].without_trace() == content
        sent = seven.mails[0].without_trace()
        assert sent.isascii()
        assert "BODY" not in seven.mails[0].mail_arguments
        decoded = email.message_from_bytes(sent, policy=email.policy.default)
        assert decoded.get_content().replace("\n", "\r\n").replace("\r\r", "\r") == text


def test_signed_eight_bit_mail_fails_rather_than_lose_its_signature(gateway: LaneGateway) -> None:
    narrow, home = gateway.lane(), gateway.lane()
    signed = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; h=from; bh=AA==; b=AA==\r\n"
    content = signed + plain("signed", "\u00e4\r\n")
    with narrow.sink(extensions=("PIPELINING",)) as seven, home.sink() as back:
        gateway.send(content, narrow.address(), sender=home.address("s"), options=["BODY=8BITMIME"])
        arrived(back)
        assert b"Status: 5.6.3" in back.mails[0].content
        assert not seven.times("mail")


def test_international_addresses_go_to_peers_that_know_them(gateway: LaneGateway) -> None:
    able, unable, home = gateway.lane(), gateway.lane(), gateway.lane()
    name = "j\u00fcrgen"
    with able.sink(extensions=(*Sink.EXTENSIONS, "SMTPUTF8")) as knows, unable.sink() as ignorant, home.sink() as back:
        with gateway.client() as client:
            client.command_encoding = "utf-8"
            assert client.docmd(f"MAIL FROM:<{home.address('s')}> SMTPUTF8 BODY=8BITMIME")[0] == 250
            for lane in (able, unable):
                assert client.docmd(f"RCPT TO:<{lane.address(name)}>")[0] == 250
            assert client.data(plain("utf8"))[0] == 250
        arrived(knows)
        assert "SMTPUTF8" in knows.mails[0].mail_arguments
        assert knows.mails[0].recipients[0].encode("latin-1").decode() == able.address(name)
        arrived(back)
        assert b"utf-8; j\\x{FC}rgen@" in back.mails[0].content
        assert not ignorant.times("rcpt")


# --- fair shares


def send_many(gateway: LaneGateway, recipients: list[str], count: int) -> None:
    with gateway.client() as client:
        for number in range(count):
            client.sendmail("sender@example.net", recipients[number % len(recipients)], plain(f"many {number}"))


HELD = 400
"""Far more than a destination gets at once."""


def test_tarpit_delays_nobody_else(gateway: LaneGateway) -> None:
    """Hundreds of mails for a host that never answers the end of data; and others' mail is through before any of them."""
    slow, quick = gateway.lane(), gateway.lane()
    release = threading.Event()

    def tar(step: str, _argument: str, _sink: Sink) -> None:
        if step == "end":
            release.wait(100)

    with slow.sink(tar) as pit, quick.sink() as sink:
        threads = [threading.Thread(target=send_many, args=(gateway, [slow.address()], HELD // 4)) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: pit.open, "the pit to hold sessions")
        send_many(gateway, [quick.address()], 50)  # while they are coming in
        join(*threads)
        send_many(gateway, [quick.address()], 50)
        arrived(sink, 100)
        assert not pit.mails  # all of it while the pit still held everything
        status = gateway.status()["relays"][0]
        assert status["in_work"]["delivery"] <= 150  # the rest waits in the spool
        release.set()
        wait_for(lambda: len(pit.mails) == HELD, "what was held")
        assert len({mail.content for mail in pit.mails}) == HELD


def test_sessions_are_shared_when_all_are_taken(tmp_path: Path) -> None:
    """Three slow destinations, each of which could use all four sessions: a fourth one gets its turn."""
    limits = {
        "outgoing_sessions = 100": "outgoing_sessions = 4",
        "maximal_outgoing_sessions_per_host = 20": "maximal_outgoing_sessions_per_host = 4",
    }

    all_there = threading.Event()

    def slow(step: str, _argument: str, _sink: Sink) -> None:
        if step == "end":
            assert all_there.wait(WAIT_S)
            time.sleep(0.05)

    with Sink() as home, LaneGateway(tmp_path / "gw", home.port, replace=limits | QUICK_TIMES) as gateway:
        lanes = [gateway.lane() for _ in range(3)]
        late = gateway.lane()
        with (
            lanes[0].sink(slow) as one,
            lanes[1].sink(slow) as two,
            lanes[2].sink(slow) as three,
            late.sink() as sink,
        ):
            send_many(gateway, [lane.address() for lane in lanes], 180)
            send_many(gateway, [late.address()], 3)
            all_there.set()
            arrived(sink, 3)
            done = len(one.mails) + len(two.mails) + len(three.mails)
            assert done < 180  # it did not have to wait for all the others
            wait_for(lambda: len(one.mails) + len(two.mails) + len(three.mails) == 180, "the rest")
            assert max(one.most_open, two.most_open, three.most_open) <= 4
