"""Authentication on a real gateway, against a DNS server on loopback: SPF, DKIM and DMARC in what arrives."""

import base64
import re
from collections.abc import Iterator

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.support.dns import StubDns
from tests.support.gateway import Gateway
from tests.support.sink import Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

SETTINGS = """
[antispam]
filter_dns_timeout = "5 s"
[resolve]
name_servers = ["{dns}"]
[[group]]
name = "unchecked"
recipients = ["unchecked@example.org"]
use_spf = false
use_authentication = false
"""
RATE = re.compile(rb"^X-SpamTest-Rate: (\d+)", re.MULTILINE)
METHOD = re.compile(rb"^X-SpamTest-Method: ([^\r\n]*)", re.MULTILINE)
STRANGER = "198.51.100.7"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def dns() -> Iterator[StubDns]:
    public = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    record = f"v=DKIM1; k=rsa; p={public}"
    with StubDns() as server:
        server.add_ptr(STRANGER, "mail.example.net.")
        server.add("mail.example.net", "A", STRANGER)
        server.add("forbids.example", "TXT", '"v=spf1 ip4:192.0.2.0/24 -all"')
        server.add("s._domainkey.strict.example", "TXT", f'"{record[:200]}" "{record[200:]}"')
        server.add("_dmarc.strict.example", "TXT", '"v=DMARC1; p=reject"')
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, dns: StubDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Believes what 127.0.0.1 tells of its clients by XCLIENT."""
    replace = {
        "[access]\n": '[access]\nxclient_networks = ["127.0.0.1/32"]\n',
        '"127.0.0.0/8", "::1/128",': '"127.0.0.1/32",',
    }
    state = tmp_path_factory.mktemp("authentication") / "gw"
    with Gateway(
        state, sink.port, settings=SETTINGS.format(dns=dns.address), replace=replace, antispam=True, spam_fields=True
    ) as one:
        yield one


def write(author: str, number: int, *, to: str = "user@example.org") -> bytes:
    return (
        f"From: Ann <{author}>\r\nTo: {to}\r\nSubject: minutes {number}\r\nDate: Sun, 22 Nov 2026 08:00:00 +0000\r\n"
        f"Message-ID: <{number}@mail.example.net>\r\n\r\nHello Bob,\r\n\r\n  the minutes are ready.  \r\n\r\n"
    ).encode()


def sign(mail: bytes) -> bytes:
    private = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return dkim.sign(mail, b"s", b"strict.example", private, canonicalize=(b"relaxed", b"simple")) + mail


def send(gateway: Gateway, sink: Sink, mail: bytes, sender: str, to: str = "user@example.org") -> tuple[int, bytes]:
    """Send a stranger's mail; return what the fields of it say, as (rate, methods)."""
    before = len(sink.mails)
    with Wire(gateway.port) as wire:
        wire.expect(
            ("", "220 "),
            ("EHLO proxy.example", "250"),
            (f"XCLIENT ADDR={STRANGER}", "220 "),
            ("EHLO mail.example.net", "250"),
            (f"MAIL FROM:<{sender}>", "250"),
            (f"RCPT TO:<{to}>", "250"),
            ("DATA", "354"),
            (mail.decode() + ".", "250 "),
        )
    wait_for(lambda: len(sink.mails) > before, "the mail")
    header = sink.mails[before].header
    found = RATE.search(header)
    assert found is not None, header
    return int(found[1]), b", ".join(METHOD.findall(header))


@pytest.mark.feature("F-AS-09")
def test_a_forbidden_client_raises_the_rating_and_the_policy_is_asked_for_once(
    gateway: Gateway, sink: Sink, dns: StubDns
):
    sender = "ann@forbids.example"
    to = "unchecked@example.org"
    unchecked, methods = send(gateway, sink, write(sender, 1, to=to), sender, to)
    assert b"SPF" not in methods
    assert dns.count("forbids.example", "TXT") == 0
    first, methods = send(gateway, sink, write(sender, 2), sender)
    assert first > unchecked
    assert b"SPF" in methods
    second, _ = send(gateway, sink, write(sender, 3), sender)
    assert second == first
    assert dns.count("forbids.example", "TXT") == 1


def test_a_signed_mail_of_a_strict_domain_passes_and_a_forged_one_does_not(gateway: Gateway, sink: Sink):
    author, sender = "ann@strict.example", "bounce@mail.example.net"
    signed, methods = send(gateway, sink, sign(write(author, 4)), sender)
    assert b"DMARC" not in methods
    forged, methods = send(gateway, sink, write(author, 5), sender)
    assert b"DMARC" in methods
    assert forged > signed + 5
    changed, methods = send(gateway, sink, sign(write(author, 6)).replace(b"minutes are", b"minutes  are"), sender)
    assert b"DMARC" in methods
    assert changed == forged
