"""A real Postfix hands mail to the gateway, with every extension its client speaks. (Its client never sends BDAT.)"""

import re
import smtplib
from collections.abc import Iterator
from typing import NamedTuple

import argon2
import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix, body_of
from tests.peers.tap import Tap
from tests.support.certificates import shared_authority
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port, loopback_network
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

NETWORK = loopback_network()
FRONT, STRANGER = f"{NETWORK}.9.25", f"{NETWORK}.9.77"
PASSWORD = "open sesame"
MEMBERS = ("DSN", "8BITMIME", "PIPELINING", "SIZE 104857600", "ENHANCEDSTATUSCODES", "SMTPUTF8")


class Peers(NamedTuple):
    """Postfix, what listens to it, and where the mail ends up."""

    postfix: int
    program: Postfix
    gateway: Gateway
    sink: Sink
    tap: Tap


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    base = tmp_path_factory.mktemp("upstream")
    authority, certificate = shared_authority(), shared_authority().issue("gw.example.org")
    passwords = base / "passwords"
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    passwords.write_text(f"joe:{hasher.hash(PASSWORD)}\n")
    implicit, submission = free_port(), free_port()
    changes = {
        "[network]\n": f'[network]\ntls_cert = "{certificate.chain}"\ntls_key = "{certificate.key}"\n',
        "[access]\n": f'[access]\npassword_file = "{passwords}"\nxclient_networks = ["{FRONT}/32"]\n',
    }
    listeners = (
        f'\n[[listener]]\naddress = "127.0.0.1:{implicit}"\ntls = "implicit"\n'
        f'\n[[listener]]\naddress = "127.0.0.1:{submission}"\ntls = "required"\nsign_in = "required"\n'
    )
    postfix = Postfix(root_program("postfix"), "postfix.example.net")
    with (
        Sink(extensions=MEMBERS) as sink,
        Gateway(base / "gw", sink.port, settings=listeners, replace=changes) as gateway,
        Tap(gateway.port) as tap,
    ):
        verified = {
            "smtp_tls_security_level": "secure",
            "smtp_tls_CAfile": str(authority.file),
            "smtp_tls_secure_cert_match": "gw.example.org",
            "smtp_tls_loglevel": "1",
        }
        sasl = {
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": f"inline:{{ {{ [127.0.0.1]:{submission} = joe:{PASSWORD} }} }}",
            "smtp_sasl_security_options": "noanonymous",
        }
        postfix.way("plain.example.org", gateway.port)
        postfix.way("tapped.example.org", tap.port)
        postfix.way("verified.example.org", gateway.port, verified)
        postfix.way("implicit.example.org", implicit, verified | {"smtp_tls_wrappermode": "yes"})
        for mechanism in ("plain", "login"):
            only = {"smtp_sasl_mechanism_filter": mechanism}
            postfix.way(f"{mechanism}.auth.example.org", submission, verified | sasl | only)
        forwarding = {"smtp_send_xforward_command": "yes", "smtp_bind_address": FRONT}
        postfix.way("forwarded.example.org", gateway.port, forwarding)
        with_port = postfix.listener({"smtpd_authorized_xforward_hosts": "127.0.0.0/8"})
        with postfix:
            yield Peers(with_port, postfix, gateway, sink, tap)
            assert gateway.queue() == []
            assert gateway.stop() == 0


def send(peers: Peers, recipient: str, content: bytes, *options: str, rcpt: tuple[str, ...] = ()) -> None:
    with smtplib.SMTP("127.0.0.1", peers.postfix, timeout=120) as client:
        client.ehlo("client.example.net")
        client.sendmail("a@example.net", [recipient], content, options, rcpt)


def arrived(peers: Peers, subject: str) -> Mail:
    def look() -> list[Mail]:
        return [m for m in list(peers.sink.mails) if f"\r\nSubject: {subject}\r\n".encode() in m.header]

    try:
        return wait_for(look, f"mail {subject!r}")[0]
    except AssertionError as error:
        raise AssertionError(f"{error}\n{peers.program.log()[-2500:]}") from None


def ours(mail: Mail) -> str:
    """The Received field of the gateway, unfolded."""
    return re.sub(r"\r\n\t", " ", mail.header.decode("latin-1")).split("\r\n")[0]


def test_many_mails_of_many_sizes_in_the_clear(peers: Peers) -> None:
    contents = {
        f"upstream {number}": plain(f"upstream {number}", ".\r\n..\r\n", number * 90_000) for number in range(9)
    }
    with smtplib.SMTP("127.0.0.1", peers.postfix, timeout=120) as client:
        for content in contents.values():
            client.sendmail("a@example.net", ["b@plain.example.org", "c@plain.example.org"], content)
    for subject, content in contents.items():
        mail = arrived(peers, subject)
        assert body_of(mail.content) == body_of(content)
        assert mail.recipients == ["b@plain.example.org", "c@plain.example.org"]


def test_pipelined_with_dsn_parameters_and_eight_bits(peers: Peers) -> None:
    peers.tap.forget()
    content = plain("extended").replace(b"hello", "grüße".encode("latin-1"))
    options = ("BODY=8BITMIME", "RET=HDRS", "ENVID=order+2B7")
    send(peers, "b@tapped.example.org", content, *options, rcpt=("NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;orig@x.example"))
    mail = arrived(peers, "extended")
    assert any(piece.startswith(b"MAIL FROM") and b"\r\nRCPT TO" in piece for piece in peers.tap.pieces), "pipelined"
    assert b" SIZE=" in peers.tap.said
    assert {"BODY=8BITMIME", "RET=HDRS", "ENVID=order+2B7"} <= set(mail.mail_arguments.split())
    assert set(mail.rcpt_arguments[0].split()) == {"NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;orig@x.example"}
    assert "grüße".encode("latin-1") in mail.content


def test_certificate_is_verified_over_starttls_and_over_implicit_tls(peers: Peers) -> None:
    for way in ("verified", "implicit"):
        send(peers, f"b@{way}.example.org", plain(f"tls {way}"))
        assert re.search(r" with ESMTPS \(TLSv1\.3 TLS_\w+\) id ", ours(arrived(peers, f"tls {way}")))
    verified = "Verified TLS connection established to 127.0.0.1"
    wait_for(lambda: len(peers.program.lines(verified)) == 2, "Postfix to log both")


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_postfix_signs_in(peers: Peers, mechanism: str) -> None:
    send(peers, f"b@{mechanism}.auth.example.org", plain(f"auth {mechanism}"))
    assert " with ESMTPSA (" in ours(arrived(peers, f"auth {mechanism}"))


def test_internationalised_addresses(peers: Peers) -> None:
    with Wire(peers.postfix) as wire:
        wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
        answer = wire.ask("MAIL FROM:<jörg@example.net> SMTPUTF8 BODY=8BITMIME")
        assert answer.startswith("250 "), answer
        wire.expect(("RCPT TO:<用户@plain.example.org>", "250 "))
        assert wire.data(plain("utf8").replace(b"<user@", "<用户@".encode())).startswith("250 ")
    mail = arrived(peers, "utf8")
    assert " with UTF8SMTP id " in ours(mail)
    # The sink reads octets.
    assert mail.sender.encode("latin-1").decode() == "jörg@example.net"
    assert [r.encode("latin-1").decode() for r in mail.recipients] == ["用户@plain.example.org"]
    assert "SMTPUTF8" in mail.mail_arguments.split()
    assert "To: <用户@example.org>".encode() in mail.content


def test_xforward_names_the_client_of_the_front_relay(peers: Peers) -> None:
    with Wire(peers.postfix, STRANGER) as wire:
        wire.begin(["b@forwarded.example.org"])
        assert wire.data(plain("forwarded")).startswith("250 ")
    field = ours(arrived(peers, "forwarded"))
    assert field.startswith("Received: from client.example.net ("), field
    assert f"[{STRANGER}])" in field
    # Nothing is believed of who may not tell.
    send(peers, "b@plain.example.org", plain("not forwarded"))
    assert "[127.0.0.1])" in ours(arrived(peers, "not forwarded"))
