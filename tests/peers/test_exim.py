"""A real Exim in front of the gateway and behind it, with every extension it speaks in either role."""

import email
import re
import smtplib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.peers.conftest import root_program
from tests.peers.exim_program import Exim
from tests.peers.postfix_program import body_of
from tests.peers.tap import Tap
from tests.support.certificates import shared_authority
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

ROUTES = "# Where mail goes on to;"
MEMBERS = ("DSN", "8BITMIME", "PIPELINING", "SIZE 104857600", "ENHANCEDSTATUSCODES", "SMTPUTF8")
IN, OUT = "behind.example.org", "home.example.org"
"""Recipient domains: Exim behind us, the sink behind us."""


class Peers(NamedTuple):
    """Exim with a tap on each side of it in clear, the gateway, and the sink behind that."""

    exim: Exim
    gateway: Gateway
    sink: Sink
    into_us: Tap
    out_of_us: Tap


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    base = tmp_path_factory.mktemp("exim")
    authority = shared_authority()
    ours, theirs = authority.issue("gw.example.org", "localhost"), authority.issue("mx.exim.example", "127.0.0.1")
    exim = Exim(root_program("exim4"), "mx.exim.example", theirs)
    hops = {"tls": exim.tls, "verified": exim.tls}
    with Sink(extensions=MEMBERS) as sink, Tap(exim.plain) as out_of_us:
        hops |= {"clear": out_of_us.port}
        routes = "".join(
            f'[[route]]\nrecipients = ["{kind}.{IN}"]\nnext_hop = "[127.0.0.1:{port}]"\n\n'
            for kind, port in hops.items()
        )
        changes = {
            ROUTES: routes + ROUTES,
            "[network]\n": f'[network]\ntls_cert = "{ours.chain}"\ntls_key = "{ours.key}"\n',
        }
        demand = (
            f'\n[tls]\nca_file = "{authority.file}"\n'
            f'\n[[tls_policy]]\ndestinations = ["verified.{IN}"]\nlevel = "verify"\n'
        )
        before = free_port()
        demand += f'\n[[listener]]\naddress = "127.0.0.1:{before}"\nbefore_queue = true\n'
        with Gateway(base / "gw", sink.port, settings=demand, replace=changes) as gateway, Tap(gateway.port) as into_us:
            # With DATA, other than with BDAT, it says QUIT at once.
            exim.way(f"before.{OUT}", before, {"hosts_avoid_tls": "*", "hosts_try_chunking": ""})
            exim.way(f"before-tls.{OUT}", before, {"hosts_require_tls": "*", "hosts_try_chunking": ""})
            exim.way(f"clear.{OUT}", into_us.port, {"hosts_avoid_tls": "*"})
            exim.way(
                f"verified.{OUT}",
                gateway.port,
                {
                    "hosts_require_tls": "*",
                    "tls_verify_certificates": str(exim.readable(authority.file)),
                    "tls_verify_hosts": "*",
                    "tls_verify_cert_hostnames": "*",
                },
            )
            # Reports of its own.
            exim.way("example.net", gateway.port)
            with exim:
                yield Peers(exim, gateway, sink, into_us, out_of_us)
                wait_for(lambda: gateway.queue() == [], "an empty queue")
                assert gateway.stop() == 0


def arrived(peers: Peers, subject: str) -> Mail:
    def look() -> list[Mail]:
        return [m for m in list(peers.sink.mails) if f"\r\nSubject: {subject}\r\n".encode() in m.header]

    try:
        return wait_for(look, f"mail {subject!r}")[0]
    except AssertionError as error:
        raise AssertionError(f"{error}\n{peers.exim.log()[-2500:]}") from None


def submit(peers: Peers, recipients: list[str], content: bytes, options: tuple[str, ...] = (), *rcpt: str) -> None:
    with smtplib.SMTP("127.0.0.1", peers.exim.plain, timeout=120) as client:
        client.ehlo("client.example.net")
        client.sendmail("a@example.net", recipients, content, options, rcpt)


# --- Exim sends


def test_exim_sends_pieces_pipelined_with_dsn_parameters(peers: Peers) -> None:
    content = plain("exim clear", ".\r\n..\r\n", 200_000).replace(b"0123", "grüß".encode("latin-1"))
    options = ("BODY=8BITMIME", "RET=HDRS", "ENVID=order+2B7")
    recipients = [f"b@clear.{OUT}", f"c@clear.{OUT}"]
    submit(peers, recipients, content, options, "NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;orig@x.example")
    mail = arrived(peers, "exim clear")
    assert mail.recipients == recipients
    assert body_of(mail.content) == body_of(content)
    assert b"\r\nBDAT " in peers.into_us.said
    assert b" LAST\r\n" in peers.into_us.said
    assert b"DATA\r\n" not in peers.into_us.said
    assert any(b"MAIL FROM:" in piece and piece.count(b"RCPT TO:") == 2 for piece in peers.into_us.pieces)
    assert {"BODY=8BITMIME", "RET=HDRS", "ENVID=order+2B7"} <= set(mail.mail_arguments.split())
    assert [set(a.split()) for a in mail.rcpt_arguments] == [
        {"NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;orig@x.example"}
    ] * 2


def test_exim_verifies_our_certificate(peers: Peers) -> None:
    submit(peers, [f"b@verified.{OUT}"], plain("exim verified", size=100_000))
    field = re.sub(r"\r\n\t", " ", arrived(peers, "exim verified").header.decode()).split("\r\n")[0]
    assert re.search(r" with ESMTPS \(TLSv1\.3 TLS_\w+\) id ", field), field
    wait_for(lambda: re.search(rf"=> b@verified\.{re.escape(OUT)} .* CV=yes ", peers.exim.log()), "Exim to log it")


@pytest.mark.parametrize("way", ["before", "before-tls"])
def test_exim_says_quit_and_ends_its_side_while_its_mail_is_judged(peers: Peers, way: str) -> None:
    submit(peers, [f"b@{way}.{OUT}"], plain(f"exim {way}"))
    arrived(peers, f"exim {way}")
    wait_for(lambda: re.search(rf"=> b@{way}\.{re.escape(OUT)} .* C=\"250 ", peers.exim.log()), "Exim to hear of it")
    assert "in response to end of data" not in peers.exim.log()


def test_exim_sends_internationalised_addresses(peers: Peers) -> None:
    with Wire(peers.exim.plain) as wire:
        wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
        wire.expect(
            ("MAIL FROM:<jörg@example.net> SMTPUTF8 BODY=8BITMIME", "250"), (f"RCPT TO:<用户@clear.{OUT}>", "250")
        )
        assert wire.data(plain("exim utf8").replace(b"<user@", "<用户@".encode())).startswith("250 ")
    mail = arrived(peers, "exim utf8")
    assert mail.sender.encode("latin-1").decode() == "jörg@example.net"
    assert [r.encode("latin-1").decode() for r in mail.recipients] == [f"用户@clear.{OUT}"]
    assert "SMTPUTF8" in mail.mail_arguments.split()


# --- Exim receives


def test_exim_takes_pieces_byte_for_byte(peers: Peers) -> None:
    contents = {f"to exim {n}": plain(f"to exim {n}", ".\r\n..\r\n.x\r\n", n * 120_000) for n in range(5)}
    for content in contents.values():
        peers.gateway.send(content, [f"user@clear.{IN}", f"other@clear.{IN}"])
    for subject, content in contents.items():
        mail = peers.exim.arrived(subject)
        assert body_of(mail) == body_of(content)
        envelope = re.search(rb"^Envelope-to: ([^\n]*(?:\n[ \t][^\n]*)*)", mail, re.MULTILINE)
        assert envelope is not None
        assert sorted(re.findall(rb"[^\s,]+", envelope[1])) == [f"{n}@clear.{IN}".encode() for n in ("other", "user")]
    assert peers.out_of_us.said.count(b" LAST\r\n") == len(contents)
    assert b"DATA\r\n" not in peers.out_of_us.said


@pytest.mark.parametrize("kind", ["tls", "verified"])
def test_exim_takes_mail_over_tls(peers: Peers, kind: str) -> None:
    peers.gateway.send(plain(f"exim {kind}"), f"user@{kind}.{IN}")
    assert re.search(rb"with esmtps +\(TLS1\.3\)", peers.exim.arrived(f"exim {kind}"))


def test_exim_takes_internationalised_addresses_and_eight_bits(peers: Peers) -> None:
    with Wire(peers.gateway.port) as wire:
        wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
        wire.expect(("MAIL FROM:<søren@example.net> SMTPUTF8 BODY=8BITMIME", "250 "))
        wire.expect((f"RCPT TO:<jörg@clear.{IN}>", "250 "))
        assert wire.data(plain("utf8 to exim").replace(b"hello", "grüße".encode())).startswith("250 ")
    mail = peers.exim.arrived("utf8 to exim")
    assert "Return-path: <søren@example.net>\n".encode() in mail
    assert f"Envelope-to: jörg@clear.{IN}\n".encode() in mail
    assert b" with utf8esmtp " in mail
    assert "grüße".encode() in mail


def test_exim_reports_success_and_refuses_recipients_singly(peers: Peers) -> None:
    peers.out_of_us.forget()
    with Wire(peers.gateway.port) as wire:
        wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
        # No octet that needs encoding: Exim would report it still encoded.
        wire.expect(("MAIL FROM:<told@example.net> RET=HDRS ENVID=x-y", "250 "))
        for name in ("user", "nobody"):
            address = f"{name}@clear.{IN}"
            wire.expect((f"RCPT TO:<{address}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{address}", "250 "))
        assert wire.data(plain("reported by exim")).startswith("250 ")

    def reports() -> dict[str, tuple[str, str, str]]:
        found = {}
        for mail in [m for m in list(peers.sink.mails) if m.recipients == ["told@example.net"]]:
            message = email.message_from_bytes(mail.content)
            payload = message.get_payload()
            assert isinstance(payload, list)
            about, recipient = payload[1].get_payload()
            assert isinstance(about, email.message.Message)
            assert isinstance(recipient, email.message.Message)
            assert about["Original-Envelope-Id"] == "x-y"
            found[recipient["Action"]] = about["Reporting-MTA"], recipient["Final-Recipient"], recipient["Status"]
        return found

    wait_for(lambda: len(reports()) == 2, "both reports")
    by_exim, by_us = reports()["delivered"], reports()["failed"]
    assert "mx.exim.example" in by_exim[0]
    assert by_exim[1].replace(" ", "") == f"rfc822;user@clear.{IN}"
    assert by_exim[2] == "2.0.0"
    # Exim answers without an enhanced code.
    assert by_us == ("dns; gw.example.org", f"rfc822; nobody@clear.{IN}", "5.0.0")
    assert b"NOTIFY=SUCCESS,FAILURE" in peers.out_of_us.said
