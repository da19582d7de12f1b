"""Encryption of outgoing sessions: levels, certificates, DANE, MTA-STS, and peers whose TLS is broken."""

import contextlib
import hashlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.certificates import Authority, Certificate
from tests.support.dns import StubDns, Trouble
from tests.support.mailnet import MailNet, MailNetGateway, new_address
from tests.support.mails import plain
from tests.support.sink import CLOSE, STALL, Sink
from tests.support.waiting import wait_for

LEVELS = ("none", "may", "encrypt", "verify", "dane", "dane_only")
NAMED = "named.example.com"


@pytest.fixture(scope="module")
def net() -> Iterator[MailNet]:
    with StubDns() as dns:
        yield MailNet(dns)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Certificate:
    return authority.issue("gw.example.org")


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, net: MailNet, authority: Authority, client: Certificate
) -> Iterator[MailNetGateway]:
    settings = f"""
[tls]
ca_file = "{authority.file}"
mta_sts = true

[[tls_policy]]
destinations = ["{NAMED}"]
level = "verify"
names = ["*.elsewhere.example"]
client_cert = "{client.chain}"
client_key = "{client.key}"
"""
    settings += "".join(
        f'\n[[tls_policy]]\ndestinations = ["*.{level.replace("_", "-")}.example"]\nlevel = "{level}"\n'
        for level in LEVELS
    )
    limits = {"[timeouts]\n": '[timeouts]\nsending_hello_timeout = "2 s"\n'}
    with Sink() as home:
        place = tmp_path_factory.mktemp("tls") / "gw"
        with MailNetGateway(place, home, net, settings=settings, replace=limits) as gateway:
            yield gateway
            assert gateway.stop() == 0


def domain_of_level(net: MailNet, level: str) -> str:
    return net.domain().partition(".")[0] + f".{level.replace('_', '-')}.example"


def deferral(gateway: MailNetGateway, queue_id: str) -> str:
    return wait_for(lambda: gateway.lines("DEFERRED", queue_id), "a deferral")[0]


def delivered(gateway: MailNetGateway, sink: Sink, queue_id: str) -> str:
    wait_for(lambda: sink.mails, "the mail")
    return wait_for(lambda: gateway.lines("status=sent", queue_id), "its outcome")[0]


def good(net: MailNet, authority: Authority, *, authentic: bool = False) -> tuple[str, str, Certificate]:
    """Return name and address of a new host, and a certificate of the authority for it."""
    name, ip = net.host(authentic=authentic)
    return name, ip, authority.issue(name)


# --- levels


@pytest.mark.parametrize(
    ("level", "certificate", "version"),
    [
        ("none", "good", ""),
        ("may", "good", "TLSv1.3"),
        ("may", "stranger", "TLSv1.3"),
        ("may", "absent", ""),
        ("encrypt", "stranger", "TLSv1.3"),
        ("encrypt", "absent", None),
        ("verify", "good", "TLSv1.3"),
        ("verify", "stranger", None),
        ("verify", "wrong name", None),
        ("verify", "expired", None),
        ("verify", "absent", None),
        ("dane", "absent", ""),
        ("dane_only", "good", None),
    ],
)
def test_levels(
    gateway: MailNetGateway,
    net: MailNet,
    authority: Authority,
    tmp_path: Path,
    level: str,
    certificate: str,
    version: str | None,
) -> None:
    """`version` None: the mail waits and nothing was sent."""
    name, ip = net.host()
    domain = domain_of_level(net, level)
    net.mx(domain, f"10 {name}")
    issued = {
        "good": lambda: authority.issue(name),
        "stranger": lambda: Authority(tmp_path / "stranger").issue(name),
        "wrong name": lambda: authority.issue("other.example"),
        "expired": lambda: authority.issue(name, days=(-30, -1)),
    }
    tls = issued[certificate]().server_context() if certificate in issued else None
    with net.sink(ip, tls=tls) as sink:
        queue_id = gateway.send(plain(level), f"user@{domain}")
        if version is None:
            assert "4.7." in deferral(gateway, queue_id)
            assert not sink.times("mail")
            gateway.command("queue", "remove", "--yes", queue_id)
            return
        line = delivered(gateway, sink, queue_id)
        assert sink.encrypted == [version]
        proof = "verified" if level == "verify" else "unverified"
        assert (f"{version}/{proof}" in line) == bool(version)


def test_other_names_and_a_client_certificate_by_policy(
    gateway: MailNetGateway, net: MailNet, authority: Authority
) -> None:
    name, ip = net.host()
    net.mx(NAMED, f"10 {name}", ttl=1)
    context = authority.issue("mx.elsewhere.example").server_context(ask_client=authority)
    with net.sink(ip, tls=context) as sink:
        delivered(gateway, sink, gateway.send(plain("named"), f"user@{NAMED}"))
        assert sink.client_certificates == 1


def test_session_of_a_weaker_demand_is_not_used_for_a_stronger(
    gateway: MailNetGateway, net: MailNet, tmp_path: Path
) -> None:
    name, ip = net.host()
    weak, strong = domain_of_level(net, "may"), domain_of_level(net, "verify")
    net.mx(weak, f"10 {name}")
    net.mx(strong, f"10 {name}")
    with net.sink(ip, tls=Authority(tmp_path / "stranger").issue(name).server_context()) as sink:
        delivered(gateway, sink, gateway.send(plain("weak"), f"user@{weak}"))
        queue_id = gateway.send(plain("strong"), f"user@{strong}")
        assert "4.7.5" in deferral(gateway, queue_id)
        assert len(sink.mails) == 1
        gateway.command("queue", "remove", "--yes", queue_id)


def test_large_mail_is_identical_under_tls(gateway: MailNetGateway, net: MailNet, authority: Authority) -> None:
    name, ip, certificate = good(net, authority)
    domain = domain_of_level(net, "verify")
    net.mx(domain, f"10 {name}")
    content = plain("large", size=4_000_000)
    with net.sink(ip, tls=certificate.server_context()) as sink:
        delivered(gateway, sink, gateway.send(content, f"user@{domain}"))
        assert sink.mails[0].without_trace() == content


def test_renewed_certificate_is_shown_after_a_reload_and_a_broken_one_refuses_it(
    gateway: MailNetGateway, net: MailNet, authority: Authority, client: Certificate
) -> None:
    name, ip = net.host()
    net.mx(NAMED, f"10 {name}", ttl=1)
    shown: list[bytes] = []

    class Noting(Sink):
        def note_client(self, certificate: bytes | None) -> None:
            shown.append(certificate or b"")

    renewed = authority.issue("gw.example.org")
    context = authority.issue("mx.elsewhere.example").server_context(ask_client=authority)
    with Noting(25, host=ip, tls=context) as sink:
        gateway.send(plain("before"), f"user@{NAMED}")
        wait_for(lambda: len(sink.mails) == 1, "the first mail")
        old_chain, old_key = client.chain.read_bytes(), client.key.read_bytes()
        try:
            client.chain.write_bytes(b"nonsense")
            refused = gateway.command("reload")
            assert refused.returncode != 0
            assert str(client.chain) in refused.stderr
            wait_for(lambda: not sink.open, "the end of the session, so that the next mail needs another")
            gateway.send(plain("meanwhile"), f"user@{NAMED}")
            wait_for(lambda: len(sink.mails) == 2, "the mail under the former certificate")
            client.chain.write_bytes(renewed.chain.read_bytes())
            client.key.write_bytes(renewed.key.read_bytes())
            assert gateway.command("reload").returncode == 0
            gateway.send(plain("after"), f"user@{NAMED}")
            wait_for(lambda: len(sink.mails) == 3, "the last mail")
        finally:
            client.chain.write_bytes(old_chain)
            client.key.write_bytes(old_key)
    assert shown == [client.der, client.der, renewed.der]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("level", ["verify", "may"])
def test_a_server_that_wants_a_certificate_of_ours_is_told_as_that_or_served_in_clear(
    gateway: MailNetGateway, net: MailNet, authority: Authority, level: str, version: ssl.TLSVersion
) -> None:
    """With TLS 1.3 the handshake is over for us when it refuses: that was a lost connection, again and again."""
    name, ip, certificate = good(net, authority)
    domain = domain_of_level(net, level)
    net.mx(domain, f"10 {name}")
    context = certificate.server_context(ask_client=authority)
    context.maximum_version = version
    with net.sink(ip, tls=context) as sink:
        queue_id = gateway.send(plain("wanted"), f"user@{domain}")
        if level == "may":
            assert " tls=" not in delivered(gateway, sink, queue_id)
            return
        told = deferral(gateway, queue_id)
        if version is ssl.TLSVersion.TLSv1_3:
            assert "451 4.7.5" in told
            assert "the server refuses our certificate, or wants one: certificate required" in told
        else:
            assert "TLS handshake: sslv3 alert handshake failure" in told
        gateway.command("queue", "remove", "--yes", queue_id)


# --- peers whose TLS is broken


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("starttls", "454 4.7.0 not now"),
        ("starttls", CLOSE),
        ("handshake", CLOSE),
        ("handshake", "HTTP/1.0 400 what?\r\n\r\n"),
        ("handshake", STALL),
        ("starttls", "220 go\r\n250 injected"),
    ],
)
def test_broken_tls_is_done_without_where_it_may_be(
    gateway: MailNetGateway, net: MailNet, authority: Authority, step: str, answer: str
) -> None:
    name, ip, certificate = good(net, authority)
    may, must = domain_of_level(net, "may"), domain_of_level(net, "encrypt")
    for domain in (may, must):
        net.mx(domain, f"10 {name}")

    def broken(at: str, _argument: str, _sink: Sink) -> str | None:
        return answer if at == step else None

    with net.sink(ip, broken, tls=certificate.server_context()) as sink:
        waits = gateway.send(plain("must"), f"user@{must}")
        deferral(gateway, waits)
        assert not sink.times("mail")
        handshake = step == "handshake" or answer == "454 4.7.0 not now"
        queue_id = gateway.send(plain("may"), f"user@{may}")
        if handshake:
            delivered(gateway, sink, queue_id)
            assert sink.encrypted == [""]
        else:
            deferral(gateway, queue_id)  # not a failed handshake: an attacker, or a server in trouble
        for each in (waits, queue_id):
            gateway.command("queue", "remove", "--yes", each)


def test_next_host_is_tried_when_the_certificate_is_wrong(
    gateway: MailNetGateway, net: MailNet, authority: Authority
) -> None:
    bad, bad_ip = net.host()
    name, ip, certificate = good(net, authority)
    domain = domain_of_level(net, "verify")
    net.mx(domain, f"10 {bad}", f"20 {name}")
    wrong = authority.issue("other.example").server_context()
    with net.sink(bad_ip, tls=wrong) as first, net.sink(ip, tls=certificate.server_context()) as second:
        delivered(gateway, second, gateway.send(plain("fall over"), f"user@{domain}"))
        assert not first.times("mail")


# --- DANE


def tlsa(certificate: Certificate, usage: int = 3) -> str:
    if usage == 3:
        return f"3 1 1 {hashlib.sha256(certificate.public_key_der).hexdigest()}"
    raise AssertionError


@pytest.mark.parametrize("level", ["dane", "dane_only"])
def test_dane_end_entity(gateway: MailNetGateway, net: MailNet, tmp_path: Path, level: str) -> None:
    name, ip = net.host(authentic=True)
    domain = domain_of_level(net, level)
    net.mx(domain, f"10 {name}", authentic=True)
    # Neither name nor dates nor authority count (RFC 7671 §5.1).
    certificate = Authority(tmp_path / "unknown").issue("whatever.example", days=(-9, -1))
    net.dns.add(f"_25._tcp.{name}", "TLSA", tlsa(certificate), authentic=True)
    with net.sink(ip, tls=certificate.server_context()) as sink:
        line = delivered(gateway, sink, gateway.send(plain("dane"), f"user@{domain}"))
        assert "/dane" in line


def test_dane_trust_anchor(gateway: MailNetGateway, net: MailNet, tmp_path: Path) -> None:
    name, ip = net.host(authentic=True)
    domain = domain_of_level(net, "dane")
    net.mx(domain, f"10 {name}", authentic=True)
    own = Authority(tmp_path / "own")
    from cryptography.hazmat.primitives.serialization import Encoding

    digest = hashlib.sha512(own.certificate.public_bytes(Encoding.DER)).hexdigest()
    net.dns.add(f"_25._tcp.{name}", "TLSA", f"2 0 2 {digest}", authentic=True)
    with net.sink(ip, tls=own.issue(name).server_context()) as sink:
        assert "/dane" in delivered(gateway, sink, gateway.send(plain("anchor"), f"user@{domain}"))


def test_dane_mismatch_waits(gateway: MailNetGateway, net: MailNet, authority: Authority) -> None:
    name, ip = net.host(authentic=True)
    domain = domain_of_level(net, "dane")
    net.mx(domain, f"10 {name}", authentic=True)
    net.dns.add(f"_25._tcp.{name}", "TLSA", tlsa(authority.issue(name)), authentic=True)
    with net.sink(ip, tls=authority.issue(name).server_context()) as sink:  # another key
        queue_id = gateway.send(plain("mismatch"), f"user@{domain}")
        assert "matches no TLSA record" in deferral(gateway, queue_id)
        assert not sink.times("mail")
        gateway.command("queue", "remove", "--yes", queue_id)


@pytest.mark.parametrize("unsigned", ["mx", "address", "tlsa"])
def test_records_that_are_not_authentic_do_not_count(
    gateway: MailNetGateway, net: MailNet, authority: Authority, unsigned: str
) -> None:
    name, ip = net.host(authentic=unsigned != "address")
    domain = domain_of_level(net, "dane")
    net.mx(domain, f"10 {name}", authentic=unsigned != "mx")
    net.dns.add(f"_25._tcp.{name}", "TLSA", tlsa(authority.issue(name)), authentic=unsigned != "tlsa")
    with net.sink(ip) as sink:  # no TLS at all: as `may`
        delivered(gateway, sink, gateway.send(plain("unsigned"), f"user@{domain}"))


def test_tlsa_that_cannot_be_asked_for_makes_mail_wait(gateway: MailNetGateway, net: MailNet) -> None:
    name, ip = net.host(authentic=True)
    domain = domain_of_level(net, "dane")
    net.mx(domain, f"10 {name}", authentic=True)
    net.dns.trouble(f"_25._tcp.{name}", Trouble.SERVFAIL)
    with net.sink(ip) as sink:
        queue_id = gateway.send(plain("bogus"), f"user@{domain}")
        assert "4.7.5" in deferral(gateway, queue_id)
        assert not sink.connections
        gateway.command("queue", "remove", "--yes", queue_id)


def test_only_unusable_tlsa_records_ask_for_encryption(gateway: MailNetGateway, net: MailNet, tmp_path: Path) -> None:
    name, ip = net.host(authentic=True)
    domain = domain_of_level(net, "dane")
    net.mx(domain, f"10 {name}", authentic=True)
    net.dns.add(f"_25._tcp.{name}", "TLSA", "1 1 1 " + "00" * 32, authentic=True)
    with net.sink(ip) as clear:
        queue_id = gateway.send(plain("must encrypt"), f"user@{domain}")
        assert "4.7.4" in deferral(gateway, queue_id)
        assert not clear.times("mail")
    certificate = Authority(tmp_path / "unknown").issue("whatever.example")
    with net.sink(ip, tls=certificate.server_context()) as sink:
        assert "/unverified" in delivered(gateway, sink, queue_id)


# --- MTA-STS


class PolicyServer:
    """`https://mta-sts.DOMAIN/.well-known/mta-sts.txt` at an address of its own."""

    def __init__(self, context_of: Certificate, text: str, status: int = 200) -> None:
        self.requests: list[str] = []
        self.address = new_address()
        requests = self.requests

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(f"{self.headers['Host']}{self.path}")
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "https://elsewhere.example/")
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((self.address, 443), Handler)
        self._server.socket = context_of.server_context().wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def policy(net: MailNet, authority: Authority, domain: str, text: str, status: int = 200) -> Iterator[PolicyServer]:
    server = PolicyServer(authority.issue(f"mta-sts.{domain}"), text, status)
    net.dns.add(f"_mta-sts.{domain}", "TXT", '"v=STSv1; id=20260101;"')
    net.dns.add(f"mta-sts.{domain}", "A", server.address)
    try:
        yield server
    finally:
        server.close()


def text_of(mode: str, *hosts: str) -> str:
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), "max_age: 86400"]
    return "\r\n".join(lines) + "\r\n"


def test_enforced_policy_wants_a_verified_host_of_its_list(
    gateway: MailNetGateway, net: MailNet, authority: Authority, tmp_path: Path
) -> None:
    listed, listed_ip, certificate = good(net, authority)
    other, other_ip, other_certificate = good(net, authority)
    domain = net.domain()
    net.mx(domain, f"10 {other}", f"20 {listed}")
    with (
        policy(net, authority, domain, text_of("enforce", listed)) as server,
        net.sink(other_ip, tls=other_certificate.server_context()) as not_listed,
        net.sink(listed_ip, tls=certificate.server_context()) as sink,
    ):
        for number in range(2):
            gateway.send(plain(f"enforced {number}"), f"user@{domain}")
        wait_for(lambda: len(sink.mails) == 2, "both mails")
        assert not not_listed.connections
        assert server.requests == [f"mta-sts.{domain}/.well-known/mta-sts.txt"]
        wait_for(lambda: gateway.lines(f"{listed}:25 TLSv1.3/verified"), "the proof in the log")


@pytest.mark.parametrize(
    ("mode", "status", "goes"),
    [("enforce", 200, False), ("testing", 200, True), ("none", 200, True), ("enforce", 302, True)],
)
def test_modes_and_policies_that_cannot_be_fetched(
    gateway: MailNetGateway, net: MailNet, authority: Authority, mode: str, status: int, goes: bool
) -> None:
    name, ip = net.host()
    domain = net.domain()
    net.mx(domain, f"10 {name}")
    with policy(net, authority, domain, text_of(mode, name), status), net.sink(ip) as sink:  # a host without TLS
        queue_id = gateway.send(plain(f"{mode} {status}"), f"user@{domain}")
        if goes:
            delivered(gateway, sink, queue_id)
        else:
            assert "4.7.4" in deferral(gateway, queue_id)
            assert not sink.times("mail")
            gateway.command("queue", "remove", "--yes", queue_id)


def test_enforced_policy_outlives_its_gateway(gateway: MailNetGateway, net: MailNet, authority: Authority) -> None:
    """Killed and started again, with record and policy server out of reach: no mail to a host that is not listed."""
    listed, listed_ip, certificate = good(net, authority)
    other, other_ip, other_certificate = good(net, authority)
    domain = net.domain()
    net.mx(domain, f"10 {listed}")
    with policy(net, authority, domain, text_of("enforce", listed)):
        with net.sink(listed_ip, tls=certificate.server_context()) as sink:
            delivered(gateway, sink, gateway.send(plain("while it is there"), f"user@{domain}"))
        wait_for(lambda: any(domain in file.read_text() for file in gateway.state.glob("mta-sts-*.json")), "the file")
    gateway.kill_all()
    net.dns.remove(f"_mta-sts.{domain}")
    net.dns.remove(domain)
    net.mx(domain, f"10 {other}")
    gateway.start()
    with net.sink(other_ip, tls=other_certificate.server_context()) as not_listed:
        queue_id = gateway.send(plain("after it"), f"user@{domain}")
        assert "is one that its MTA-STS policy allows" in deferral(gateway, queue_id)
        assert not not_listed.connections
    gateway.command("queue", "remove", "--yes", queue_id)
