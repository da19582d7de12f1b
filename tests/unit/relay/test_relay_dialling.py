"""What the dialler asks of a host before it speaks to it."""

import asyncio
from typing import Any, cast

import pytest

from gatepost.config.load import load_text
from gatepost.config.transport import TlsLevel
from gatepost.relay.connection import NoSession
from gatepost.relay.dialling import Dialler, OwnAddresses
from gatepost.relay.mailhosts import MailHost
from gatepost.relay.outgoing_tls import OutgoingTls, Proof, TlsPlan
from gatepost.relay.routing import NextHop
from gatepost.relay.slots import SessionSlots
from gatepost.relay.tasks import Tasks
from gatepost.relay.tls_policy import TlsDemand
from gatepost.resolver.answers import Answer, Kind, Outcome, Tlsa
from gatepost.resolver.resolver import Resolver
from gatepost.smtp.client import TlsUse

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
