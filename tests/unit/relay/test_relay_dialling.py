"""What the dialler asks of a host before it speaks to it."""

import asyncio
from typing import cast

import pytest

from gatepost.config.load import load_text
from gatepost.config.transport import TlsLevel
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

    async def ask(self, _name: str, _kind: Kind, *, dnssec: bool) -> Answer[Tlsa]:
        assert dnssec
        return Answer(Outcome.FOUND, (UNUSABLE,), authentic=True)


@pytest.mark.parametrize(
    ("otherwise", "proof"),
    [(TlsLevel.MAY, Proof.NONE), (TlsLevel.VERIFY, Proof.AUTHORITY)],
    ids=lambda each: each.value,
)
def test_unusable_tlsa_records_ask_for_encryption_and_do_not_undo_mta_sts(otherwise: TlsLevel, proof: Proof) -> None:
    """RFC 7672 §2.2, RFC 8461 §2."""
    config = load_text('[network]\nhostname = "gw.example.org"\n', "x.toml").config
    assert config is not None

    async def plan() -> object:
        dialler = Dialler(
            resolver=cast("Resolver", OnlyUnusable()),
            slots=cast("SessionSlots", None),
            tasks=cast("Tasks", None),
            count=lambda _: None,
        )
        dialler.configure(config, OutgoingTls(config))
        host = MailHost(NextHop("mx.example.org"), TlsDemand(TlsLevel.DANE, otherwise=otherwise), by_mx=True)
        return await dialler._plan_tls(host, authentic=True)

    planned = asyncio.run(plan())
    assert isinstance(planned, TlsPlan)
    assert (planned.use, planned.proof) == (TlsUse.ENCRYPT, proof)


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
