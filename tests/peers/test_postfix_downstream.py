"""A real Postfix takes mail from the gateway, with every extension its server offers and with each of them missing."""

import re
import socketserver
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.peers.conftest import root_program
from tests.peers.postfix_program import Postfix, body_of
from tests.peers.tap import Tap
from tests.support.certificates import shared_authority
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import Sink
from tests.support.waiting import join, wait_for
from tests.support.wire import Wire

ROUTES = "# Where mail goes on to;"
QUICK = {
    'minimal_backoff_time = "15 min"': 'minimal_backoff_time = "1 s"',
    'maximal_backoff_time = "4 h"': 'maximal_backoff_time = "1 s"',
}
NAMES = ("user", "other", "jörg")
KINDS = ("plain", "tapped", "tls", "verified", "wrong", "greylisting", "small", "bare")


class Greylist(socketserver.ThreadingTCPServer):
    """A policy service as greylisting programs are: the first time a recipient is asked about, it is put off."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", free_port()), _PolicyDialogue)
        self.asked: dict[str, int] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        join(self._thread)
        self.server_close()

    def decide(self, recipient: str) -> str:
        self.asked[recipient] = self.asked.get(recipient, 0) + 1
        return "DEFER_IF_PERMIT Greylisted, come again" if self.asked[recipient] == 1 else "DUNNO"


class _PolicyDialogue(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Greylist)
        facts: dict[str, str] = {}
        for raw_line in self.rfile:
            key, _, value = raw_line.decode().rstrip("\n").partition("=")
            if key:
                facts[key] = value
                continue
            self.wfile.write(f"action={self.server.decide(facts['recipient'])}\n\n".encode())
            facts = {}


class Peers(NamedTuple):
    """The gateway, Postfix behind it, what greylists there, and reports that came back."""

    gateway: Gateway
    postfix: Postfix
    greylist: Greylist
    home: Sink
    tap: Tap


def domain(kind: str) -> str:
    return f"{kind}.example.org"


def route(kind: str, port: int) -> str:
    return f'[[route]]\nrecipients = ["{domain(kind)}"]\nnext_hop = "[127.0.0.1:{port}]"\n\n'


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    base = tmp_path_factory.mktemp("downstream")
    authority = shared_authority()
    right, wrong = authority.issue("127.0.0.1", "mx.example.org"), authority.issue("elsewhere.example.com")
    client = authority.issue("gw.example.org")
    postfix = Postfix(root_program("postfix"), "mx.example.org")
    postfix.mailboxes(*(f"{name}@{domain(kind)}" for kind in KINDS for name in NAMES))
    postfix.settings["smtpd_reject_unlisted_recipient"] = "yes"
    tls = {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_CAfile": str(authority.file),
        "smtpd_tls_ask_ccert": "yes",
        "smtpd_tls_received_header": "yes",
        "smtpd_tls_chain_files": f"{right.key} {right.chain}",
    }
    with Greylist() as greylist, Sink() as home:
        bare = "dsn chunking 8bitmime smtputf8 pipelining size enhancedstatuscodes starttls silent-discard"
        policy = f"check_policy_service inet:127.0.0.1:{greylist.server_address[1]}"
        ports = {
            "plain": postfix.listener(),
            "tls": postfix.listener(tls),
            "verified": postfix.listener(tls | {"smtpd_tls_security_level": "encrypt"}),
            "wrong": postfix.listener(tls | {"smtpd_tls_chain_files": f"{wrong.key} {wrong.chain}"}),
            "greylisting": postfix.listener({"smtpd_recipient_restrictions": policy}),
            "small": postfix.listener({"message_size_limit": "20000"}),
            "bare": postfix.listener({"smtpd_discard_ehlo_keywords": bare}),
        }
        with postfix, Tap(ports["plain"]) as tap:
            routes = "".join(route(kind, port) for kind, port in (ports | {"tapped": tap.port}).items())
            changes = {
                ROUTES: routes + ROUTES,
                'protected_domains = ["example.org"]': 'protected_domains = ["example.org", "*.example.org"]',
                **QUICK,
            }
            demands = "".join(
                f'\n[[tls_policy]]\ndestinations = ["{domain(kind)}"]\nlevel = "verify"\n'
                for kind in ("verified", "wrong")
            )
            shown = (
                f'\n[tls]\nca_file = "{authority.file}"\nclient_cert = "{client.chain}"\nclient_key = "{client.key}"\n'
            )
            with Gateway(base / "gw", home.port, settings=shown + demands, replace=changes) as gateway:
                yield Peers(gateway, postfix, greylist, home, tap)
                assert gateway.stop() == 0


def test_content_arrives_byte_for_byte_by_bdat(peers: Peers) -> None:
    contents = [plain(f"downstream {number}", ".\r\n..\r\n.x\r\n", number * 70_000) for number in range(9)]
    for content in contents:
        peers.gateway.send(content, f"user@{domain('tapped')}")
    for number, content in enumerate(contents):
        assert body_of(peers.postfix.arrived(f"user@{domain('tapped')}", f"downstream {number}")) == body_of(content)
    assert b"CHUNKING" in peers.tap.answered
    assert peers.tap.said.count(b" LAST\r\n") == len(contents)
    assert b"DATA\r\n" not in peers.tap.said


def test_content_arrives_byte_for_byte_where_nothing_is_offered(peers: Peers) -> None:
    content = plain("nothing offered", ".\r\n..\r\n.x\r\n", 300_000)
    peers.gateway.send(content, [f"user@{domain('bare')}", f"other@{domain('bare')}"])
    for name in ("user", "other"):
        assert body_of(peers.postfix.arrived(f"{name}@{domain('bare')}", "nothing offered")) == body_of(content)


def test_encryption_when_offered_shows_the_client_certificate(peers: Peers) -> None:
    peers.gateway.send(plain("may"), f"user@{domain('tls')}")
    mail = peers.postfix.arrived(f"user@{domain('tls')}", "may")
    assert re.search(rb"\(using TLSv1\.3 with cipher TLS_", mail)
    assert re.search(rb'\(Client CN "gw\.example\.org", Issuer "Test CA" \(verified OK\)\)', mail), mail
    assert b" with ESMTPS id " in mail


def test_verified_encryption_and_no_mail_to_a_wrong_name(peers: Peers) -> None:
    peers.gateway.send(plain("verified"), f"user@{domain('verified')}")
    assert b" with ESMTPS id " in peers.postfix.arrived(f"user@{domain('verified')}", "verified")
    queue_id = peers.gateway.send(plain("wrong name"), f"user@{domain('wrong')}")
    wait_for(lambda: peers.gateway.lines("DEFERRED", queue_id), "the deferral")
    assert peers.postfix.mails(f"user@{domain('wrong')}") == []
    removed = peers.gateway.command("queue", "remove", "--yes", queue_id)
    assert removed.returncode == 0, removed.stdout + removed.stderr


def test_internationalised_recipient(peers: Peers) -> None:
    subject = "utf8 down"
    with Wire(peers.gateway.port) as wire:
        wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
        wire.expect(("MAIL FROM:<søren@example.net> SMTPUTF8 BODY=8BITMIME", "250 "))
        wire.expect((f"RCPT TO:<jörg@{domain('plain')}>", "250 "))
        assert wire.data(plain(subject).replace(b"hello", "grüße".encode())).startswith("250 ")
    mail = peers.postfix.arrived(f"jörg@{domain('plain')}", subject)
    assert "Return-Path: <søren@example.net>".encode() in mail
    assert b" with UTF8SMTP id " in mail
    assert "grüße".encode() in mail


def test_internationalised_mail_fails_where_it_cannot_go(peers: Peers) -> None:
    with Wire(peers.gateway.port) as wire:
        wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
        wire.expect(("MAIL FROM:<plain@example.net> SMTPUTF8", "250 "), (f"RCPT TO:<jörg@{domain('bare')}>", "250 "))
        reply = wire.data(plain("utf8 nowhere"))
        assert reply.startswith("250 ")
    queue_id = reply.rpartition(" ")[2]
    wait_for(lambda: peers.gateway.lines("status=failed", queue_id), "the failure")
    assert peers.postfix.mails(f"jörg@{domain('bare')}") == []


def test_dsn_parameters_are_passed_on(peers: Peers) -> None:
    peers.tap.forget()
    with Wire(peers.gateway.port) as wire:
        wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
        wire.expect(("MAIL FROM:<a@example.net> RET=HDRS ENVID=x+2By", "250 "))
        wire.expect((f"RCPT TO:<user@{domain('tapped')}> NOTIFY=FAILURE,DELAY ORCPT=rfc822;first@x.example", "250 "))
        assert wire.data(plain("dsn on")).startswith("250 ")
    peers.postfix.arrived(f"user@{domain('tapped')}", "dsn on")
    mail_line = re.search(rb"MAIL FROM:<a@example\.net>([^\r]*)", peers.tap.said)
    assert mail_line is not None
    assert {b"RET=HDRS", b"ENVID=x+2By"} <= set(mail_line[1].split())
    rcpt_line = re.search(rb"RCPT TO:<user@tapped\.example\.org>([^\r]*)", peers.tap.said)
    assert rcpt_line is not None
    assert set(rcpt_line[1].split()) == {b"NOTIFY=FAILURE,DELAY", b"ORCPT=rfc822;first@x.example"}


def test_mail_above_the_announced_size_fails_without_being_sent(peers: Peers) -> None:
    queue_id = peers.gateway.send(plain("too large", size=30_000), f"user@{domain('small')}", sender="big@example.net")
    wait_for(lambda: peers.gateway.lines("status=failed", queue_id), "the failure")
    peers.gateway.send(plain("small enough", size=9_000), f"user@{domain('small')}")
    peers.postfix.arrived(f"user@{domain('small')}", "small enough")
    assert len(peers.postfix.mails(f"user@{domain('small')}")) == 1
    report = wait_for(lambda: [m for m in peers.home.mails if m.recipients == ["big@example.net"]], "the report")[0]
    assert b"\r\nStatus: 5.3.4\r\n" in report.content
    assert b"\r\nAction: failed\r\n" in report.content


def test_recipients_are_refused_singly(peers: Peers) -> None:
    recipients = [f"{name}@{domain('plain')}" for name in ("user", "nobody", "other", "nobody2")]
    queue_id = peers.gateway.send(plain("singly"), recipients, sender="singly@example.net")
    for name in ("user", "other"):
        peers.postfix.arrived(f"{name}@{domain('plain')}", "singly")
    report = wait_for(lambda: [m for m in peers.home.mails if m.recipients == ["singly@example.net"]], "the report")[0]
    failed = re.findall(rb"Final-Recipient: rfc822; ?(\S+)\r\nAction: failed\r\nStatus: 5\.1\.1\r\n", report.content)
    assert sorted(failed) == sorted([recipients[1].encode(), recipients[3].encode()]), report.content
    wait_for(lambda: len(peers.gateway.lines("status=failed", queue_id)) == 2, "both failures in the log")


def test_greylisted_recipients_get_it_later_and_once(peers: Peers) -> None:
    recipients = [f"{name}@{domain('greylisting')}" for name in ("user", "other")]
    # The second mail comes when one of its recipients is known already.
    first = peers.gateway.send(plain("grey one"), recipients[:1])
    wait_for(lambda: peers.greylist.asked.get(recipients[0]), "the first visit")
    peers.gateway.send(plain("grey two"), recipients)
    for recipient, subject in ((recipients[0], "grey one"), (recipients[0], "grey two"), (recipients[1], "grey two")):
        peers.postfix.arrived(recipient, subject)
    (put_off,) = peers.gateway.lines("DEFERRED", first)
    assert "450 4.7.1" in put_off, put_off
    wait_for(lambda: peers.gateway.queue() == [], "an empty queue")
    assert [len(peers.postfix.mails(recipient)) for recipient in recipients] == [2, 1]


def test_a_postfix_that_goes_away_loses_nothing(peers: Peers) -> None:
    """A reload in the middle: sessions end with 421 or without a word, and every mail arrives once."""
    count = 40
    address = f"other@{domain('plain')}"
    for number in range(count):
        if number == count // 2:
            peers.postfix.reload()
        peers.gateway.send(plain(f"reloaded {number}"), address)
    for number in range(count):
        peers.postfix.arrived(address, f"reloaded {number}")
    wait_for(lambda: peers.gateway.queue() == [], "an empty queue")
    assert sum(b"\nSubject: reloaded " in mail for mail in peers.postfix.mails(address)) == count
