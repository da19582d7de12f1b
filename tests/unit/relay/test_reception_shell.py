"""The shell of a connection on a stepped clock: what ends when, and what waiting for a decision may not change."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import shared_authority

from gatepost.config.load import load_text
from gatepost.config.schema import Config
from gatepost.model.ids import QueueIds
from gatepost.model.record import Refused
from gatepost.model.reply import reply
from gatepost.relay.access import ACCEPTED, Ruling, Services
from gatepost.relay.admission import SessionTable, create_table
from gatepost.relay.disposal import Disposition
from gatepost.relay.intake import Intake
from gatepost.relay.rates import RateTable
from gatepost.relay.reception import LINGER_S, PROXY_S, Reception
from gatepost.relay.rules import Fact
from gatepost.relay.tls import HANDSHAKE_S
from gatepost.relay.wheel import TICK_S
from gatepost.resolver.resolver import Resolver
from gatepost.testing.memory_spool import MemorySpool

BASE = """
[network]
hostname = "gw.example.org"
protected_domains = ["example.org"]
trusted_networks = [{networks}"10.0.0.0/8"]
{network}
[access]
relay_rule = ["allow from any to @protected"]
proxy_networks = ["192.0.2.7"]
{access}
[timeouts]
receiving_command_timeout = "300 s"
receiving_data_initiation_timeout = "600 s"
receiving_data_termination_timeout = "300 s"
read_timeout = "120 s"
[[listener]]
address = "127.0.0.1:25"
{listener}
"""
DENIED = Ruling(reply(554, "5.7.1", "No"), "denied-client")


def config_of(*, network: str = "", networks: str = "", access: str = "", listener: str = "") -> Config:
    loaded = load_text(BASE.format(network=network, networks=networks, access=access, listener=listener), "x.toml")
    assert loaded.config is not None, loaded.problems
    return loaded.config


class Loop:
    """A clock, and the loop behind it for what else is asked of it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def run_in_executor(self, *arguments: Any) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(*arguments)


class Transport:
    """What a client would see."""

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.out = b""
        self.closing = False
        self.aborted = False
        self.reading = True

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return self.ip, 4711

    def write(self, data: bytes) -> None:
        self.out += data

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class House:
    """One intake, and connections to it."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.loop = Loop()
        self.spool = MemorySpool(asyncio.get_running_loop())
        self.refused: list[Refused] = []
        self.spool.enter = self.refused.extend  # type: ignore[method-assign]
        self.faults: list[str] = []
        self.submitted: list[Any] = []
        self.config = config
        table = create_table()
        self.disposition: Disposition | None = None
        self.intake = Intake(
            loop=self.loop,  # type: ignore[arg-type]
            spool=self.spool,
            ids=QueueIds(0, 0),
            table=SessionTable(table, 0, alone=True),
            services=Services(Resolver(config), RateTable(table, alone=True)),
            clock_ms=lambda: 1_790_000_000_000,
            submit=self.submitted.append,
            send=self.submitted.append,
            judge=self.judge,
            backlog=lambda: (0, 0),
            oldest=lambda: 0,
            report=lambda _, text: self.faults.append(text),
            trouble=lambda error: self.faults.append(str(error)),
        )
        self.intake.configure(config, str(folder))

    async def judge(self, *_: object) -> Disposition | None:
        return self.disposition

    def connect(self, ip: str = "192.0.2.1") -> tuple[Reception, Transport]:
        transport = Transport(ip)
        session = Reception(self.intake, self.config.listeners[0])
        session.connection_made(transport)  # type: ignore[arg-type]
        return session, transport

    def pass_time(self, seconds: float) -> None:
        """Let time go by, the wheel turning."""
        end = self.loop.now + seconds
        while self.loop.now < end:
            self.loop.now = min(end, self.loop.now + 1.0)
            for session in self.intake.wheel.turn(self.loop.now):
                session.check(self.loop.now)


def in_house(folder: Path, scenario: Callable[[House], Awaitable[None]], **texts: str) -> None:
    async def run() -> None:
        await scenario(House(folder, config_of(**texts)))

    asyncio.run(run())


async def settled() -> None:
    """Let tasks under way come to their end."""
    for _ in range(20):
        await asyncio.sleep(0)


MAIL = b"EHLO c\r\nMAIL FROM:<a@example.net>\r\n"
RCPT = b"RCPT TO:<b@example.org>\r\n"


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ([b""], 300),
        ([b"EHLO c\r\n"], 300),
        ([b"EHLO c\r\n", b"NOO"], 300),
        ([MAIL, RCPT], 600),
        ([MAIL, RCPT, RCPT], 600),
        ([MAIL + RCPT, b"DATA\r\n", b"Subject: x\r\n"], 120),
    ],
)
def test_a_silent_client_is_dropped_when_its_wait_is_over_and_no_sooner(tmp_path, sent, seconds):
    async def scenario(house: House) -> None:
        session, transport = house.connect()
        for piece in sent:
            session.data_received(piece) if piece else None
        house.pass_time(seconds - 1)
        assert not transport.closing
        house.pass_time(1 + 2 * TICK_S)
        assert transport.closing
        assert transport.out.endswith(b"closing connection\r\n")
        assert not transport.aborted
        house.pass_time(LINGER_S + 2 * TICK_S)
        assert transport.aborted, "it reads nothing, and its place is needed"

    in_house(tmp_path, scenario)


def test_each_command_starts_the_wait_anew_and_recipients_do_not(tmp_path):
    async def scenario(house: House) -> None:
        session, transport = house.connect()
        for _ in range(5):
            session.data_received(b"EHLO c\r\n")
            house.pass_time(290)
        session.data_received(MAIL + RCPT)
        for _ in range(5):
            house.pass_time(110)
            assert not transport.closing
            session.data_received(RCPT)
        house.pass_time(60)
        assert transport.closing

    in_house(tmp_path, scenario)


def test_content_may_trickle_as_long_as_it_comes_at_an_honest_rate(tmp_path):
    async def scenario(house: House) -> None:
        session, transport = house.connect()
        session.data_received(MAIL + RCPT + b"DATA\r\n")
        for _ in range(100):
            session.data_received((b"x" * 62 + b"\r\n") * 1024)
            house.pass_time(60)
            assert not transport.closing
        slow, dropped = house.connect()
        slow.data_received(MAIL + RCPT + b"DATA\r\n")
        for _ in range(7):
            slow.data_received(b"x\r\n")
            house.pass_time(50)
        assert dropped.closing

    in_house(tmp_path, scenario)


def test_a_sessions_place_is_given_back_whatever_its_stage(tmp_path):
    async def scenario(house: House) -> None:
        for pieces in ([], [b"EHLO c\r\n"], [MAIL + RCPT + b"DATA\r\nx"]):
            session, _ = house.connect()
            for piece in pieces:
                session.data_received(piece)
            session.connection_lost(None)
        assert not house.intake.sessions
        assert len(house.intake.wheel) == 0
        assert house.intake._table.totals() == (0, 0)

    in_house(tmp_path, scenario)


def test_one_network_of_addresses_is_one_client_unless_it_is_ours(tmp_path):
    async def scenario(house: House) -> None:
        limit = house.config.limits.maximal_incoming_sessions_per_ip
        strangers = [house.connect(f"2001:db8::{n:x}") for n in range(1, limit + 2)]
        assert [transport.out[:4] for _, transport in strangers] == [b"220 "] * limit + [b"421 "]
        assert house.connect("2001:db8:0:1::1")[1].out[:4] == b"220 "
        ours = [house.connect(f"fd00::{n:x}") for n in range(1, limit + 2)]
        assert [transport.out[:4] for _, transport in ours] == [b"220 "] * (limit + 1)
        for session in list(house.intake.sessions):
            session.connection_lost(None)
        assert house.intake._table.totals() == (0, 0)
        assert house.connect("2001:db8::1")[1].out[:4] == b"220 "

    in_house(tmp_path, scenario, networks='"fd00::/64", ')


# --- decisions that are waited for


def waiting_access(house: House, name: str) -> "asyncio.Future[Ruling]":
    """Make one decision of access wait for the future returned."""
    answer: asyncio.Future[Ruling] = asyncio.get_running_loop().create_future()
    setattr(house.intake.access, name, lambda *_, **__: asyncio.shield(answer))
    return answer


@pytest.mark.parametrize("name", ["hello", "mail", "recipient"])
def test_replies_keep_their_order_while_a_decision_is_waited_for(tmp_path, name):
    async def scenario(house: House) -> None:
        answer = waiting_access(house, name)
        session, transport = house.connect()
        session.data_received(MAIL + RCPT + b"NOOP\r\nQUIT\r\n")
        await settled()
        house.pass_time(1000)
        assert not transport.closing, "the client's clock stands still"
        assert b"221 " not in transport.out
        answer.set_result(ACCEPTED)
        await settled()
        codes = [line[:3] for line in transport.out.split(b"\r\n") if line[3:4] == b" "]
        assert codes == [b"220", b"250", b"250", b"250", b"250", b"221"]
        assert transport.closing

    in_house(tmp_path, scenario)


def test_the_time_for_recipients_goes_on_where_it_stood_when_we_decided(tmp_path):
    async def scenario(house: House) -> None:
        session, transport = house.connect()
        session.data_received(MAIL + RCPT)
        house.pass_time(500)
        answer = waiting_access(house, "recipient")
        session.data_received(RCPT)
        await settled()
        house.pass_time(1000)
        answer.set_result(ACCEPTED)
        await settled()
        house.pass_time(90)
        assert not transport.closing
        house.pass_time(15)
        assert transport.closing

    in_house(tmp_path, scenario)


def test_what_a_client_sends_while_we_decide_costs_it_no_time(tmp_path):
    async def scenario(house: House) -> None:
        session, transport = house.connect()
        session.data_received(MAIL + RCPT)
        house.pass_time(500)
        answer = waiting_access(house, "recipient")
        session.data_received(RCPT)
        await settled()
        house.pass_time(1000)
        session.data_received(b"RCPT TO:<c@example.org>")
        await settled()
        answer.set_result(ACCEPTED)
        await settled()
        house.pass_time(90)
        assert not transport.closing
        house.pass_time(15)
        assert transport.closing

    in_house(tmp_path, scenario)


def test_a_fault_behind_a_decision_closes_instead_of_hanging(tmp_path):
    async def scenario(house: House) -> None:
        answer = waiting_access(house, "recipient")
        session, transport = house.connect()
        session.data_received(MAIL + RCPT)
        await settled()
        session._dialogue._incoming = None  # as no code of ours leaves it
        answer.set_result(ACCEPTED)
        await settled()
        assert transport.out.endswith(b"421 4.3.2 Service not available, closing\r\n")
        assert transport.closing
        assert "AssertionError" in house.faults[0]

    in_house(tmp_path, scenario)


def test_accepted_mail_that_nobody_takes_on_is_our_trouble(tmp_path):
    async def scenario(house: House) -> None:
        house.intake._submit = lambda _: 1 / 0
        session, transport = house.connect()
        session.data_received(MAIL + RCPT + b"DATA\r\n")
        session.data_received(b"Date: x\r\n\r\n.\r\n")
        await settled()
        assert b"250 2.0.0 OK queued as " in transport.out
        assert house.faults == ["division by zero"]

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("name", ["connect", "hello", "mail", "recipient"])
def test_a_client_that_goes_meanwhile_does_no_harm(tmp_path, name):
    async def scenario(house: House) -> None:
        answer = waiting_access(house, name)
        session, _ = house.connect()
        session.data_received(MAIL + RCPT)
        await settled()
        session.connection_lost(ConnectionResetError())
        answer.set_result(ACCEPTED)
        await settled()
        assert not house.intake.sessions
        assert len(house.intake.wheel) == 0
        assert not house.faults

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("name", ["hello", "mail", "recipient"])
def test_a_decision_that_fails_is_a_temporary_refusal(tmp_path, name):
    async def scenario(house: House) -> None:
        answer = waiting_access(house, name)
        session, transport = house.connect()
        session.data_received(MAIL + RCPT)
        await settled()
        answer.set_exception(ZeroDivisionError("a fault"))
        await settled()
        assert b"\r\n451 " in transport.out
        assert "ZeroDivisionError" in house.faults[0]
        assert house.refused[0].cause == "undecided"
        assert not transport.closing

    in_house(tmp_path, scenario)


@pytest.mark.parametrize("late", [False, True])
def test_who_may_not_connect_is_told_instead_of_greeted(tmp_path, late):
    async def scenario(house: House) -> None:
        answer = waiting_access(house, "connect")
        if not late:
            house.intake.access.connect = lambda _: DENIED  # type: ignore[method-assign]
        session, transport = house.connect()
        if late:
            session.data_received(b"EHLO c\r\n")
            await settled()
            assert transport.out == b""
            answer.set_result(DENIED)
            await settled()
        assert transport.out == b"554 5.7.1 No\r\n"
        assert transport.closing
        session.connection_lost(None)
        assert house.intake._table.totals() == (0, 0)

    in_house(tmp_path, scenario)


def test_a_client_that_sends_on_while_we_decide_is_not_read_from(tmp_path):
    async def scenario(house: House) -> None:
        answer = waiting_access(house, "mail")
        session, transport = house.connect()
        session.data_received(MAIL)
        await settled()
        for _ in range(6):
            session.data_received((b"NOOP ".ljust(2046, b"x") + b"\r\n") * 25)
        assert not transport.reading
        answer.set_result(ACCEPTED)
        await settled()
        assert transport.reading

    in_house(tmp_path, scenario)


# --- before the session


def test_half_a_proxy_header_has_its_own_short_time(tmp_path):
    async def scenario(house: House) -> None:
        session, transport = house.connect("192.0.2.7")
        session.data_received(b"PROXY TCP4 192.")
        house.pass_time(PROXY_S - 1)
        assert not transport.closing
        house.pass_time(1 + 2 * TICK_S)
        assert transport.aborted
        assert transport.out == b""
        session.connection_lost(None)
        assert not house.intake._fronted

    in_house(tmp_path, scenario, listener="proxy_protocol = true")


def test_headers_that_never_come_are_bounded_in_number(tmp_path):
    async def scenario(house: House) -> None:
        limit = house.config.limits.incoming_sessions
        held = [house.connect("192.0.2.7") for _ in range(limit)]
        _, surplus = house.connect("192.0.2.7")
        assert surplus.out.startswith(b"421 ")
        assert surplus.closing
        held[0][0].connection_lost(None)
        _, next_one = house.connect("192.0.2.7")
        assert not next_one.closing

    in_house(tmp_path, scenario, listener="proxy_protocol = true")


@pytest.fixture
def tls_text() -> str:
    certificate = shared_authority().issue("gw.example.org")
    return f'tls_cert = "{certificate.chain}"\ntls_key = "{certificate.key}"'


@pytest.mark.parametrize("implicit", [False, True])
def test_a_handshake_that_stalls_has_its_own_time(tmp_path, tls_text, implicit):
    async def scenario(house: House) -> None:
        session, transport = house.connect()
        if not implicit:
            session.data_received(b"EHLO c\r\nSTARTTLS\r\n")
            assert transport.out.endswith(b"220 2.0.0 Ready to start TLS\r\n")
        session.data_received(bytes.fromhex("16030102000100"))
        house.pass_time(HANDSHAKE_S - 1)
        assert not transport.closing
        house.pass_time(1 + 2 * TICK_S)
        assert transport.aborted

    in_house(tmp_path, scenario, network=tls_text, listener='tls = "implicit"' if implicit else "")


def test_the_greeting_waits_for_strangers_only(tmp_path):
    async def scenario(house: House) -> None:
        _, stranger = house.connect()
        _, ours = house.connect("10.1.2.3")
        assert ours.out.startswith(b"220 ")
        house.pass_time(9)
        assert stranger.out == b""
        house.pass_time(1 + 2 * TICK_S)
        assert stranger.out.startswith(b"220 ")
        early, told = house.connect()
        early.data_received(b"E")
        assert told.out.startswith(b"554 ")
        assert told.closing
        assert house.refused[-1].cause == "early-talker"

    in_house(tmp_path, scenario, access='greeting_pause = "10 s"')


# --- before the queue


def test_no_verdict_no_message(tmp_path):
    async def scenario(house: House) -> None:
        session, transport = house.connect()
        session.data_received(MAIL + RCPT + b"DATA\r\nSubject: x\r\n\r\n.\r\nNOOP\r\n")
        await settled()
        assert transport.out.split(b"\r\n")[-3:-1] == [
            b"451 4.3.2 Message could not be inspected in time, try again later",
            b"250 2.0.0 OK",
        ]
        assert (await house.spool.counts())["bytes"] == 0
        assert house.refused[-1].cause == "not-inspected"
        assert not house.submitted

    in_house(tmp_path, scenario, listener="before_queue = true")


@pytest.mark.parametrize("politely", [False, True])
def test_inspection_is_withdrawn_when_the_client_goes(tmp_path, politely):
    async def scenario(house: House) -> None:
        ended: list[str] = []

        async def never(*_: object) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("withdrawn")
                raise

        house.intake._judge = never
        session, transport = house.connect()
        session.data_received(MAIL + RCPT + b"DATA\r\nSubject: x\r\n\r\n.\r\n")
        await settled()
        if politely:
            assert not session.eof_received()
            assert transport.aborted
        session.connection_lost(None)
        await settled()
        assert ended == ["withdrawn"]
        assert (await house.spool.counts())["bytes"] == 0
        assert not house.submitted

    in_house(tmp_path, scenario, listener="before_queue = true")


def test_what_was_asked_about_a_client_that_goes_is_dropped(tmp_path):
    async def scenario(house: House) -> None:
        session, _ = house.connect()
        asked = asyncio.get_running_loop().create_task(asyncio.sleep(3600, result=None))
        session._visit.facts[Fact.NAMED] = asked
        session.connection_lost(None)
        await settled()
        assert asked.cancelled()

    in_house(tmp_path, scenario)


# --- peers that speak for others


def test_a_client_that_is_not_named_has_not_the_rights_of_the_relay_in_front(tmp_path):
    async def scenario(house: House) -> None:
        session, transport = house.connect("10.0.0.25")
        session.data_received(b"EHLO front\r\nXFORWARD NAME=mx.example.net ADDR=[UNAVAILABLE]\r\n")
        visit = session._visit
        assert (visit.hidden, visit.ours, visit.name) == (True, False, "mx.example.net")
        session.data_received(b"XFORWARD ADDR=198.51.100.7\r\n")
        assert (visit.hidden, visit.ours, visit.ip) == (False, False, "198.51.100.7")
        session.data_received(b"MAIL FROM:<a@example.net>\r\nRSET\r\nXFORWARD ADDR=[UNAVAILABLE] SOURCE=LOCAL\r\n")
        assert (visit.hidden, visit.ours) == (False, True), "the relay's own mail"
        session.data_received(b"MAIL FROM:<a@example.net>\r\nRSET\r\nMAIL FROM:<a@example.net>\r\n")
        assert (visit.hidden, visit.ours) == (True, False)
        assert b"\r\n5" not in transport.out

    in_house(tmp_path, scenario, network='front_relays = ["10.0.0.25"]')


def test_xclient_without_an_address_is_not_taken_for_the_peer_itself(tmp_path):
    async def scenario(house: House) -> None:
        session, transport = house.connect("10.0.0.26")
        session.data_received(b"EHLO proxy\r\n")
        session.data_received(b"XCLIENT NAME=x ADDR=[UNAVAILABLE]\r\n")
        assert transport.out.endswith(b"451 4.3.0 Cannot decide now, try again later\r\n")
        session.data_received(b"XCLIENT ADDR=198.51.100.7\r\n")
        assert transport.out.endswith(b"\r\n220 gw.example.org ESMTP\r\n")
        assert session._visit.ours is False

    in_house(tmp_path, scenario, access='xclient_networks = ["10.0.0.26"]')
