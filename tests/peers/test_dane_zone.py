"""A signed zone on a real NSD, validated by a real Unbound: what DANE needs to know arrives, and what is forged does not."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.peers.conftest import program
from tests.support.gateway import free_port
from tests.support.waiting import wait_for

from gatepost.config.load import load_text
from gatepost.resolver.answers import Kind, Mx, Outcome, Tlsa
from gatepost.resolver.resolver import Resolver

DIGEST = "c0ffee" * 10 + "00ff"
FORGED = "badbad" * 10 + "00ff"
ZONE = """\
$ORIGIN {zone}.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
@ MX 10 mx
mx A 127.0.0.9
_25._tcp.mx TLSA 3 1 1 {digest}
alias CNAME mx
bogus A 127.0.0.9
_25._tcp.bogus TLSA 3 1 1 {digest_to_forge}
"""
NSD = """\
server:
  ip-address: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  zonesdir: "{base}"
  database: ""
  pidfile: "{base}/nsd.pid"
  xfrdfile: "{base}/xfrd.state"
  zonelistfile: "{base}/zone.list"
  logfile: "{base}/nsd.log"
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: signed.test
  zonefile: signed.zone
zone:
  name: plain.test
  zonefile: plain.zone
"""
UNBOUND = """\
server:
  interface: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  directory: "{base}"
  pidfile: "{base}/unbound.pid"
  logfile: "{base}/unbound.log"
  use-syslog: no
  num-threads: 1
  do-not-query-localhost: no
  local-zone: "test." nodefault
  trust-anchor-file: "{base}/anchor.key"
  module-config: "validator iterator"
remote-control:
  control-enable: no
stub-zone:
  name: signed.test
  stub-addr: 127.0.0.1@{authority}
stub-zone:
  name: plain.test
  stub-addr: 127.0.0.1@{authority}
"""


def sign(base: Path) -> None:
    """Write both zones, sign one, and forge a record behind the signature."""
    (base / "plain.zone").write_text(ZONE.format(zone="plain.test", digest=DIGEST, digest_to_forge=DIGEST))
    unsigned = base / "signed.unsigned"
    unsigned.write_text(ZONE.format(zone="signed.test", digest=DIGEST, digest_to_forge="abcdef" * 10 + "00ff"))

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=base, check=True, capture_output=True, text=True, timeout=120).stdout.strip()

    key = run(program("ldns-keygen"), "-k", "-a", "ECDSAP256SHA256", "signed.test")
    run(program("ldns-signzone"), "-f", "signed.zone", str(unsigned), key)
    (base / "anchor.key").write_text((base / f"{key}.key").read_text())
    signed = (base / "signed.zone").read_text()
    assert "abcdef" * 10 in signed
    (base / "signed.zone").write_text(signed.replace("abcdef" * 10, FORGED[:60]))


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """Run a server in the foreground until it is no longer needed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def listens() -> bool:
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        wait_for(listens, f"{command[0]} on port {port}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.fixture(scope="module")
def validating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a validating resolver for `signed.test` and `plain.test`."""
    base = tmp_path_factory.mktemp("dane")
    nsd, unbound = program("nsd"), program("unbound")
    sign(base)
    authority, port = free_port(), free_port()
    (base / "nsd.conf").write_text(NSD.format(base=base, port=authority))
    (base / "unbound.conf").write_text(UNBOUND.format(base=base, port=port, authority=authority))
    with (
        running([nsd, "-d", "-c", str(base / "nsd.conf")], authority),
        running([unbound, "-d", "-c", str(base / "unbound.conf")], port),
    ):
        yield f"127.0.0.1:{port}"


def ask(server: str, scenario: Callable[[Resolver], object]) -> None:
    rows = f'[resolve]\nname_servers = ["{server}"]\nio_network_timeout = 10\n'
    loaded = load_text(f'[network]\nhostname = "mx.test"\nlisten_on = ["127.0.0.1:2525"]\n{rows}', "/nowhere/g.toml")
    assert loaded.config is not None
    config = loaded.config

    async def whole() -> None:
        resolver = Resolver(config)
        try:
            await asyncio.wait_for(scenario(resolver), 30)  # type: ignore[arg-type]
        finally:
            await resolver.close()

    asyncio.run(whole())


@pytest.mark.parametrize("dnssec", [True, False])
def test_a_signed_zone_is_authentic_from_mx_to_certificate(validating: str, dnssec: bool) -> None:
    async def scenario(resolver: Resolver) -> None:
        hosts = await resolver.mail_hosts("signed.test", dnssec=dnssec)
        assert (hosts.hosts, hosts.authentic) == ((Mx(10, "mx.signed.test"),), True)
        addresses = await resolver.addresses("mx.signed.test", dnssec=dnssec)
        assert (addresses.values, addresses.authentic) == (("127.0.0.9",), True)
        tlsa = await resolver.ask("_25._tcp.mx.signed.test", Kind.TLSA, dnssec=dnssec)
        assert (tlsa.values, tlsa.authentic) == ((Tlsa(3, 1, 1, bytes.fromhex(DIGEST)),), True)

    ask(validating, scenario)


def test_an_alias_of_a_signed_zone_is_authentic(validating: str) -> None:
    async def scenario(resolver: Resolver) -> None:
        alias = await resolver.ask("alias.signed.test", Kind.CNAME, dnssec=True)
        assert (alias.values, alias.authentic) == (("mx.signed.test",), True)
        assert (await resolver.addresses("alias.signed.test", dnssec=True)).authentic
        none = await resolver.ask("mx.signed.test", Kind.CNAME, dnssec=True)
        assert (none.outcome, none.authentic) == (Outcome.NO_DATA, True)
        assert not (await resolver.ask("alias.plain.test", Kind.CNAME, dnssec=True)).authentic

    ask(validating, scenario)


def test_that_there_is_no_certificate_record_is_authentic_too(validating: str) -> None:
    async def scenario(resolver: Resolver) -> None:
        answer = await resolver.ask("_25._tcp.none.signed.test", Kind.TLSA, dnssec=True)
        assert (answer.outcome, answer.authentic) == (Outcome.NO_NAME, True)

    ask(validating, scenario)


def test_an_unsigned_zone_is_found_and_not_authentic(validating: str) -> None:
    async def scenario(resolver: Resolver) -> None:
        tlsa = await resolver.ask("_25._tcp.mx.plain.test", Kind.TLSA, dnssec=True)
        assert (tlsa.outcome, tlsa.authentic) == (Outcome.FOUND, False)

    ask(validating, scenario)


def test_a_forged_record_is_a_temporary_failure(validating: str) -> None:
    async def scenario(resolver: Resolver) -> None:
        tlsa = await resolver.ask("_25._tcp.bogus.signed.test", Kind.TLSA, dnssec=True)
        assert (tlsa.outcome, tlsa.values, tlsa.authentic) == (Outcome.FAILED, (), False)
        assert "SERVFAIL" in tlsa.reason
        assert (await resolver.addresses("bogus.signed.test", dnssec=True)).authentic

    ask(validating, scenario)
