"""What the dialler asks of a host before it speaks to it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from tests.support.loop import in_loop
from tests.support.ports import free_port, loopback_network
from tests.support.silence import silent_address
from tests.support.sink import Sink

from gatepost.config.load import load_text
from gatepost.config.transport import TlsLevel
from gatepost.relay import dialling
from gatepost.relay.connection import ClientConnection, NoSession, Owner
from gatepost.relay.dialling import CONNECTIONS, ERRORS, FAILED, THROUGH_CACHE, Dialler
from gatepost.relay.mailhosts import HostPlan, MailHost
from gatepost.relay.outgoing_tls import OutgoingTls, Proof, TlsPlan
from gatepost.relay.own_addresses import OwnAddresses
from gatepost.relay.routing import NextHop
from gatepost.relay.slots import SessionSlots
from gatepost.relay.tasks import Tasks
from gatepost.relay.tls_policy import TlsDemand
from gatepost.resolver.answers import Answer, Kind, Outcome, Tlsa
from gatepost.resolver.resolver import Resolver
from gatepost.smtp.client import ClientSettings, TlsUse

LONG_S = 3600.0
"""A head start that no test waits for."""
UNUSABLE = Tlsa(1, 1, 1, bytes(32))


class OnlyUnusable:
    """Has authentic TLSA records that SMTP cannot use."""

    async def ask(self, _name: str, kind: Kind, *, dnssec: bool) -> Answer[Tlsa]:
        assert dnssec
        if kind is Kind.CNAME:
            return Answer(Outcome.NO_DATA)
        return Answer(Outcome.FOUND, (UNUSABLE,), authentic=True)


def plan_with(resolver: object, otherwise: TlsLevel = TlsLevel.MAY) -> object:
    """Return what is planned for mx.example.org, whose address is authentic."""
    config = load_text('[network]\nhostname = "gw.example.org"\n', "x.toml").config
    assert config is not None

    async def plan() -> object:
        dialler = Dialler(
            resolver=cast("Resolver", resolver),
            slots=cast("SessionSlots", None),
            tasks=cast("Tasks", None),
            count=lambda _: None,
        )
        dialler.configure(config, OutgoingTls(config))
        host = MailHost(NextHop("mx.example.org"), TlsDemand(TlsLevel.DANE, otherwise=otherwise), by_mx=True)
        return await dialler._plan_tls(host, authentic=True)

    return asyncio.run(plan())


@pytest.mark.parametrize(
    ("otherwise", "proof"),
    [(TlsLevel.MAY, Proof.NONE), (TlsLevel.VERIFY, Proof.AUTHORITY)],
    ids=lambda each: each.value,
)
def test_unusable_tlsa_records_ask_for_encryption_and_do_not_undo_mta_sts(otherwise: TlsLevel, proof: Proof) -> None:
    """RFC 7672 §2.2, RFC 8461 §2."""
    planned = plan_with(OnlyUnusable(), otherwise)
    assert isinstance(planned, TlsPlan)
    assert (planned.use, planned.proof) == (TlsUse.ENCRYPT, proof)


class Aliases:
    """A zone of aliases, and of TLSA records at some of the names; names in `silent` are not answered for."""

    def __init__(self, aliases: dict[str, str], *named: str, silent: str = "", unsigned: str = "") -> None:
        self._aliases = aliases
        self._named = {f"_25._tcp.{name}": Tlsa(3, 1, 1, name.encode().ljust(32)) for name in named}
        self._silent = silent
        self._unsigned = unsigned

    async def ask(self, name: str, kind: Kind, *, dnssec: bool) -> Answer[Any]:
        assert dnssec
        if name == self._silent:
            return Answer(Outcome.FAILED, reason="silence")
        found = self._aliases.get(name) if kind is Kind.CNAME else self._named.get(name)
        if found is None:
            return Answer(Outcome.NO_NAME, authentic=True)
        return Answer(Outcome.FOUND, (found,), authentic=name != self._unsigned)


CHAIN = {"mx.example.org": "a.example.net", "a.example.net": "b.example.com"}
CIRCLE = {"mx.example.org": "a.example.net", "a.example.net": "mx.example.org"}


@pytest.mark.parametrize(
    ("zone", "host"),
    [
        (Aliases({}, "mx.example.org"), "mx.example.org"),
        (Aliases(CHAIN, "b.example.com", "mx.example.org"), "b.example.com"),
        (Aliases(CHAIN, "mx.example.org"), "mx.example.org"),
        (Aliases(CHAIN, "a.example.net"), None),
        (Aliases(CHAIN, "b.example.com", unsigned="a.example.net"), None),
        (Aliases(CIRCLE, "mx.example.org"), "mx.example.org"),
        (Aliases(CHAIN, "mx.example.org", silent="a.example.net"), "waits"),
        (Aliases(CHAIN, "mx.example.org", silent="_25._tcp.b.example.com"), "waits"),
    ],
    ids=["no alias", "both", "own name", "between", "unsigned on the way", "circle", "silent alias", "silent target"],
)
def test_tlsa_records_of_what_a_mail_host_stands_for_come_first(zone: Aliases, host: str | None) -> None:
    """RFC 7672 §2.2.2: of the end of a chain that is signed all along, else of the name itself."""
    planned = plan_with(zone)
    if host == "waits":
        assert isinstance(planned, NoSession)
        assert planned.reply.enhanced == "4.7.5"
        return
    assert isinstance(planned, TlsPlan)
    assert (planned.proof is Proof.DANE) == (host is not None)
    if host is not None:
        assert planned.host == host
        assert planned.records[0].data.strip() == host.encode()


@pytest.mark.parametrize(
    ("ip", "port", "ours"),
    [
        ("127.0.0.1", 25, True),
        ("127.0.0.1", 2525, False),
        ("127.0.0.2", 25, False),
        ("::ffff:127.0.0.1", 25, True),
        ("::1", 2525, True),
        ("::1", 25, False),
        ("0.0.0.0", 25, True),
        ("::", 465, True),
        ("::ffff:0.0.0.0", 25, True),
        ("127.0.0.77", 587, True),
        ("192.0.2.1", 587, False),
    ],
)
def test_our_own_listeners_are_known_however_dns_writes_them(ip: str, port: int, ours: bool) -> None:
    listeners = "".join(
        f'\n[[listener]]\naddress = "{address}"\n' for address in ("127.0.0.1:25", "[::1]:2525", "0.0.0.0:587")
    )
    config = load_text('[network]\nhostname = "gw.example.org"\n' + listeners, "x.toml").config
    assert config is not None
    assert OwnAddresses(config).holds(ip, port) is ours


# --- several addresses of one host, over real sockets


class FreeSlots:
    """No limits; counts what is held."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()

    def take(self, label: str) -> str:
        self.held[label] += 1
        return ""

    def give_back(self, label: str) -> None:
        self.held[label] -= 1


class OneHost:
    """Knows the addresses of any name: of all the same."""

    def __init__(self, ips: Sequence[str]) -> None:
        self._ips = tuple(ips)

    async def addresses(self, _host: str, *, dnssec: bool) -> Answer[str]:
        assert not dnssec
        return Answer(Outcome.FOUND, self._ips)


class Quiet:
    """An owner that wants to know nothing."""

    def lost(self, _connection: ClientConnection, _event: object) -> None:
        pass


class Line:
    """A dialler, and a host with some addresses at one port."""

    def __init__(self, ips: Sequence[str], port: int) -> None:
        config = load_text('[network]\nhostname = "gw.example.org"\n', "x.toml").config
        assert config is not None
        self.slots = FreeSlots()
        self.counts: Counter[str] = Counter()
        self._dialler = Dialler(
            resolver=cast("Resolver", OneHost(ips)),
            slots=cast("SessionSlots", self.slots),
            tasks=cast("Tasks", None),
            count=self._count,
        )
        self._dialler.configure(config, OutgoingTls(config))
        self._port = port

    def _count(self, name: str) -> None:
        self.counts[name] += 1

    def take_counts(self) -> dict[str, int]:
        taken, self.counts = dict(self.counts), Counter()
        return taken

    async def reach(self, name: str = "mx.example.org") -> str:
        """Open and end a session; return the address it was with, or why there is none."""
        host = MailHost(NextHop(name, self._port), TlsDemand(TlsLevel.NONE), by_mx=True)
        result = await self._dialler.dial(
            HostPlan(((host,),)), ClientSettings("gw.example.org"), cast("Owner", Quiet())
        )
        if isinstance(result, NoSession):
            assert not +self.slots.held
            return result.reply.text
        assert list((+self.slots.held).values()) == [1]
        server = result.server
        result.abort()
        self.slots.give_back(result.label)
        return server


@pytest.fixture
def hosts() -> list[str]:
    """Three addresses of one's own."""
    network = loopback_network()
    return [f"{network}.9.{last}" for last in (1, 2, 3)]


@contextlib.contextmanager
def at(hosts: Sequence[str], port: int, script: object = None) -> Iterator[list[Sink]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Sink(port, host=host, script=cast("Any", script))) for host in hosts]


def refuse(step: str, _argument: str, _sink: Sink) -> str | None:
    return "421 not now" if step == "connect" else None


@in_loop
async def test_the_next_address_is_tried_beside_one_that_says_nothing_and_first_from_then_on(
    hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "HEAD_START_S", 0.05)
    port = free_port()
    line = Line(hosts[:2], port)
    with silent_address(hosts[0], port), at(hosts[1:2], port) as (sink,):
        assert await line.reach() == hosts[1]
        assert line.take_counts() == {CONNECTIONS: 2, FAILED: 1}
        assert await line.reach() == hosts[1]
        assert line.take_counts() == {CONNECTIONS: 1}
        assert sink.connections == 2
        line._dialler.forget_unreachable()
        assert await line.reach() == hosts[1]
        assert line.take_counts() == {CONNECTIONS: 2, FAILED: 1}


@in_loop
async def test_an_address_that_lost_is_tried_when_the_others_fail(
    hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "HEAD_START_S", LONG_S)
    port = free_port()
    line = Line(hosts[:2], port)
    with at(hosts[1:2], port):
        assert await line.reach() == hosts[1]  # the first refuses, nobody being there
    with at(hosts[:1], port):
        assert await line.reach() == hosts[0]
        line.take_counts()
        assert await line.reach() == hosts[0]
        assert line.take_counts() == {CONNECTIONS: 1}


@in_loop
async def test_one_connection_alone_where_the_first_address_answers(
    hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "HEAD_START_S", LONG_S)
    port = free_port()
    line = Line(hosts, port)
    with at(hosts, port) as sinks:
        for _ in range(3):
            assert await line.reach() == hosts[0]
        assert [sink.connections for sink in sinks] == [3, 0, 0]
    assert line.take_counts() == {CONNECTIONS: 3}


@in_loop
async def test_addresses_left_are_tried_when_a_server_refuses(
    hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "HEAD_START_S", LONG_S)
    port = free_port()
    line = Line(hosts, port)
    with at(hosts[1:2], port, refuse), at(hosts[2:], port):
        assert await line.reach() == hosts[2]
    assert line.take_counts() == {CONNECTIONS: 3, FAILED: 1, ERRORS: 1}


@in_loop
async def test_an_address_given_up_for_a_server_that_refuses_has_its_time_again(
    hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "HEAD_START_S", 0.05)
    monkeypatch.setattr(dialling, "CONNECT_LIMIT_S", 3.0)
    port = free_port()
    line = Line(hosts[:2], port)
    with silent_address(hosts[0], port), at(hosts[1:2], port, refuse):
        assert "421 not now" in await line.reach()
    assert line.take_counts() == {CONNECTIONS: 3, FAILED: 2, ERRORS: 1}


@in_loop
async def test_no_address_answers(hosts: list[str]) -> None:
    port = free_port()
    line = Line(hosts[:2], port)
    assert (await line.reach()).startswith(f"connect to mx.example.org:{port} [{hosts[1]}]: Connect")
    assert await line.reach() == f"mx.example.org:{port} could not be reached a moment ago"
    assert line.take_counts() == {CONNECTIONS: 2, FAILED: 3, THROUGH_CACHE: 1}


@in_loop
async def test_a_family_that_is_silent_at_three_hosts_comes_last_at_the_next(
    hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8305 §4 lets what is known of the addresses' families decide their order."""
    monkeypatch.setattr(dialling, "HEAD_START_S", 0.05)
    port = free_port()
    line = Line(["::1", hosts[0]], port)
    with silent_address("::1", port), at(hosts[:1], port):
        for number in range(4):
            line._dialler._slow.clear()  # as if each host had addresses of its own
            assert await line.reach(f"mx{number}.example.org") == hosts[0]
            assert line.take_counts() == ({CONNECTIONS: 2, FAILED: 1} if number < 3 else {CONNECTIONS: 1})
    with at(["::1"], port):
        assert await line.reach("mx5.example.org") == "::1"  # tried last, but tried
        line.take_counts()
        with at(hosts[:1], port):
            assert await line.reach("mx6.example.org") == "::1"
            assert line.take_counts() == {CONNECTIONS: 1}
