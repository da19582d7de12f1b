"""TLS, PROXY headers and sign-in at reception: one gateway, a listener for each way in."""

import contextlib
import re
import smtplib
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.support_gateway import memory_kib
from tests.support.certificates import Certificate, shared_authority
from tests.support.gateway import GATEPOST, Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for
from tests.support.wire import Wire

WAYS = ("implicit", "required", "proxy", "both", "submission", "off")

PASSWORD = "correct horse"


class TlsGateway(Gateway):
    """A gateway with a certificate and, besides the shipped listener, one for each of `WAYS`."""

    def __init__(self, state: Path, sink_port: int, certificate: Certificate) -> None:
        self.ports = {way: free_port() for way in WAYS}
        users = state / "users"
        texts = {
            "implicit": 'tls = "implicit"',
            "required": 'tls = "required"',
            "proxy": "proxy_protocol = true",
            "both": 'proxy_protocol = true\ntls = "implicit"',
            "submission": 'tls = "required"\nsign_in = "required"',
            "off": 'tls = "off"',
        }
        listeners = "".join(
            f'\n[[listener]]\naddress = "127.0.0.1:{self.ports[way]}"\nname = "{way}"\n{text}\n'
            for way, text in texts.items()
        )
        super().__init__(
            state,
            sink_port,
            settings=listeners,
            replace={
                "[network]\n": f'[network]\ntls_cert = "{certificate.chain}"\ntls_key = "{certificate.key}"\n'
                'trusted_networks = ["127.0.0.1/32"]\n',
                "[access]\n": f'[access]\nproxy_networks = ["127.0.0.1/32"]\npassword_file = "{users}"\n',
                '"127.0.0.0/8", "::1/128",': '"127.0.0.1/32",',
            },
        )
        added = subprocess.run(
            [*GATEPOST, "password", "add", str(users), "ann", "--stdin"],
            input=PASSWORD + "\n",
            text=True,
            check=False,
            env=self.env,
        )
        assert added.returncode == 0


class TlsWire(Wire):
    """A conversation that can become encrypted."""

    def start_tls(self, context: ssl.SSLContext | None = None) -> None:
        """Make the handshake and talk encrypted from here on."""
        context = context or shared_authority().client_context()
        self._sock = context.wrap_socket(self._sock, server_hostname="gw.example.org")
        self._stream = self._sock.makefile("rb")

    @property
    def tls(self) -> ssl.SSLSocket:
        assert isinstance(self._sock, ssl.SSLSocket)
        return self._sock

    def mail(self, subject: str) -> str:
        """Send one mail after EHLO; return the last reply."""
        self.expect(("EHLO client.example.net", "250"), ("MAIL FROM:<a@example.net>", "250"))
        self.expect(("RCPT TO:<b@example.org>", "250"))
        return self.data(plain(subject))


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return shared_authority().issue("gw.example.org")


@pytest.fixture(scope="module")
def gateway(sink: Sink, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsGateway]:
    with TlsGateway(tmp_path_factory.mktemp("tls") / "gw", sink.port, certificate) as one:
        yield one


def arrived(sink: Sink, subject: str) -> Mail:
    def look() -> list[Mail]:
        return [m for m in list(sink.mails) if f"\r\nSubject: {subject}\r\n".encode() in m.header]

    return wait_for(look, f"mail {subject!r}")[0]


def received(mail: Mail) -> str:
    """The Received field of ours, unfolded."""
    return re.sub(r"\r\n\t", " ", mail.content.decode("latin-1").partition("\r\n\r\n")[0]).split("\r\n")[0]


# --- TLS


def test_starttls_is_offered_and_mail_goes_through_it(gateway: TlsGateway, sink: Sink) -> None:
    with TlsWire(gateway.port) as wire:
        wire.expect(("", "220 "))
        assert "250-STARTTLS" in wire.ask("EHLO client.example.net").splitlines()
        wire.expect(("STARTTLS", "220 2.0.0"))
        wire.start_tls()
        assert wire.tls.version() == "TLSv1.3"
        assert "STARTTLS" not in wire.ask("EHLO client.example.net")
        assert wire.mail("over tls").startswith("250 ")
        wire.expect(("STARTTLS", "503"), ("QUIT", "221"))
        assert wire.reply() == ""
    wait_for(lambda: gateway.lines(", flags=E, tls=TLSv1.3/TLS_"), "TLS in the log")
    field = received(arrived(sink, "over tls"))
    assert re.search(r" with ESMTPS \(TLSv1\.3 TLS_[A-Z0-9_]+\) id [0-9A-Z]{13};", field), field


def test_nothing_that_came_in_clear_behind_starttls_is_ever_read(gateway: TlsGateway, sink: Sink) -> None:
    injected = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
    with TlsWire(gateway.port) as wire:
        wire.expect(("", "220 "), ("EHLO client.example.net", "250"))
        wire.send(b"STARTTLS\r\n" + injected)
        wire.expect(("", "220 2.0.0"))
        wire.start_tls()
        wire.expect(("RCPT TO:<b@example.org>", "503"), ("NOOP", "250"), ("MAIL FROM:<a@example.net>", "503"))
        assert wire.mail("after injection").startswith("250 ")
    assert arrived(sink, "after injection").sender == "a@example.net"
    # The other order: the transaction before the handshake is forgotten with everything else.
    with TlsWire(gateway.port) as wire:
        wire.begin()
        wire.expect(("STARTTLS", "503"), ("RSET", "250"), ("STARTTLS", "220"))
        wire.start_tls()
        wire.expect(("DATA", "503"))


def test_implicit_tls(gateway: TlsGateway, sink: Sink) -> None:
    with TlsWire(gateway.ports["implicit"]) as wire:
        wire.start_tls()
        wire.expect(("", "220 gw.example.org ESMTP"))
        assert wire.mail("implicit").startswith("250 ")
    assert " with ESMTPS " in received(arrived(sink, "implicit"))


def test_required_tls_comes_before_mail_and_off_is_off(gateway: TlsGateway, sink: Sink) -> None:
    with TlsWire(gateway.ports["required"]) as wire:
        wire.expect(("", "220 "), ("EHLO c.example", "250"), ("MAIL FROM:<a@example.net>", "530 5.7.0"))
        wire.expect(("STARTTLS", "220"))
        wire.start_tls()
        assert wire.mail("required").startswith("250 ")
    arrived(sink, "required")
    with TlsWire(gateway.ports["off"]) as wire:
        wire.expect(("", "220 "))
        assert "STARTTLS" not in wire.ask("EHLO c.example")
        wire.expect(("STARTTLS", "502"))


def test_a_handshake_that_fails_ends_the_session_and_is_recorded(gateway: TlsGateway) -> None:
    with TlsWire(gateway.port) as wire:
        wire.expect(("", "220 "), ("EHLO c.example", "250"), ("STARTTLS", "220"))
        wire.send(b"this is no handshake\r\n")
        wire.drain()
    with TlsWire(gateway.ports["implicit"]) as wire:
        wire.send(b"EHLO c.example\r\n")
        wire.drain()
    wait_for(lambda: len(gateway.lines("stage=starttls, cause=handshake")) == 2, "both to be recorded")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with TlsWire(gateway.ports["implicit"]) as wire, pytest.raises((ssl.SSLError, ConnectionError)):
        wire.start_tls(old)


def test_large_mail_and_pieces_through_tls(gateway: TlsGateway, sink: Sink) -> None:
    content = plain("large over tls", size=3_000_000)
    with TlsWire(gateway.port) as wire:
        wire.expect(("", "220 "), ("EHLO c.example", "250"), ("STARTTLS", "220"))
        wire.start_tls()
        wire.expect(("EHLO c.example", "250"), ("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<b@example.org>", "250"))
        wire.send(b"BDAT 1000000\r\n" + content[:1_000_000])
        wire.expect(("", "250 "))
        rest = content[1_000_000:]
        wire.send(b"BDAT %d LAST\r\n" % len(rest) + rest + b"NOOP\r\nQUIT\r\n")
        wire.expect(("", "250 2.0.0 OK queued"), ("", "250"), ("", "221"))
    assert arrived(sink, "large over tls").without_trace() == content


def test_sessions_count_while_their_handshake_lasts(gateway: TlsGateway) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(Wire(gateway.ports["implicit"]))
        wait_for(lambda: gateway.counter("mta_incoming_connections_current") >= 10, "the silent ones to be counted")
        wire = stack.enter_context(TlsWire(gateway.ports["implicit"]))
        wire.start_tls()
        wire.expect(("", "220 "), ("QUIT", "221"))
    wait_for(lambda: gateway.counter("mta_incoming_connections_current") == 0, "all to be forgotten")


def test_openssl_gets_through(gateway: TlsGateway) -> None:
    command = ["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{gateway.port}", "-brief", "-crlf", "-CAfile", str(shared_authority().file), "-verify_return_error", "-verify_hostname", "gw.example.org"]  # fmt: skip
    talk = subprocess.run(
        [*command, "-quiet"], input=b"EHLO c.example\nQUIT\n", capture_output=True, timeout=120, check=False
    )
    assert b"221 2.0.0" in talk.stdout, talk


def test_a_foreign_client_signs_in_and_may_send_anywhere(gateway: TlsGateway, sink: Sink) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.ports["submission"], timeout=120, source_address=("127.0.0.5", 0)) as client:
        client._host = "gw.example.org"  # type: ignore[attr-defined] # the name its certificate check asks for
        client.starttls(context=shared_authority().client_context())
        client.login("ann", PASSWORD)
        client.sendmail("ann@example.org", ["b@far.example.com"], plain("signed in"))
    mail = arrived(sink, "signed in")
    assert mail.recipients == ["b@far.example.com"]
    assert " with ESMTPSA " in received(mail)
    wait_for(lambda: gateway.lines(", user=<ann>"), "the user in the log")


# --- sign-in


def test_what_a_user_sent_under_any_sender_is_chosen_by_their_name(gateway: TlsGateway) -> None:
    gateway.switch("send", on=False)
    try:
        with smtplib.SMTP("127.0.0.1", gateway.ports["submission"], timeout=60) as client:
            client.starttls(context=shared_authority().client_context(names=False))
            client.login("ann", PASSWORD)
            for sender in ("ann@example.org", "someone@spoofed.example"):
                client.sendmail(sender, ["b@elsewhere.example"], plain("of ann"))
        gateway.send(plain("of nobody"))
        wait_for(lambda: [row["state"] for row in gateway.queue()] == ["QUE"] * 3, "all of them to wait for delivery")
        assert gateway.command("queue", "remove", "--user", "ann", "--yes").stdout == "2 message(s): removed\n"
        assert [row["sender"] for row in gateway.queue()] == ["sender@example.net"]
        assert gateway.command("queue", "hold", "--user", "*", "--yes").stderr == "no message matches\n"
    finally:
        gateway.switch("send", on=True)


def test_sign_in_over_tls_only(gateway: TlsGateway) -> None:
    with TlsWire(gateway.ports["submission"], "127.0.0.5") as wire:
        wire.expect(("", "220 "))
        assert "AUTH" not in wire.ask("EHLO c.example")
        wire.expect(("STARTTLS", "220"))
        wire.start_tls()
        assert "250-AUTH PLAIN LOGIN" in wire.ask("EHLO c.example").splitlines()
        wire.expect(("MAIL FROM:<a@example.net>", "530 5.7.0"), ("AUTH PLAIN AGFubgB3cm9uZw==", "535 5.7.8"))
        wire.expect(("AUTH LOGIN", "334"), ("YW5u", "334"), ("Y29ycmVjdCBob3JzZQ==", "235 2.7.0"))
        wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<b@far.example.com>", "250"))
    wait_for(lambda: gateway.lines("stage=auth"), "the failure in the log")
    assert "wrong" not in gateway.log()


# --- PROXY


def v2_header(source: str, port: int) -> bytes:
    body = socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", port, 25)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(body)) + body


@pytest.mark.parametrize(
    "header", [b"PROXY TCP4 127.0.0.77 127.0.0.1 4711 25\r\n", v2_header("127.0.0.77", 4711)], ids=["v1", "v2"]
)
def test_the_client_of_a_balancer_is_the_one_it_names(gateway: TlsGateway, sink: Sink, header: bytes) -> None:
    subject = f"proxy v{1 + (header[:1] == chr(13).encode())}"
    with Wire(gateway.ports["proxy"]) as wire:
        wire.send(header[:9])
        wire.send(header[9:])
        wire.expect(("", "220 "))
        assert "[127.0.0.77]" in wire.ask("EHLO client.example.net")
        wire.expect(("MAIL FROM:<a@example.net>", "250"), ("RCPT TO:<b@far.example.com>", "554 5.7.1"))
        wire.expect(("RCPT TO:<b@example.org>", "250"))
        assert wire.data(plain(subject)).startswith("250 ")
    assert "[127.0.0.77]" in received(arrived(sink, subject))


def test_proxy_header_and_handshake_in_one_piece(gateway: TlsGateway, sink: Sink) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = shared_authority().client_context().wrap_bio(incoming, outgoing, server_hostname="gw.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with socket.create_connection(("127.0.0.1", gateway.ports["both"]), timeout=120) as sock:
        sock.sendall(b"PROXY TCP4 127.0.0.78 127.0.0.1 4711 25\r\n" + outgoing.read())
        text = b""
        while b"\r\n" not in text:
            data = sock.recv(65536)
            assert data, "closed"
            incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
                sock.sendall(outgoing.read())
                text += client.read(1000)
        assert text.startswith(b"220 gw.example.org")


def test_no_header_and_no_right_to_one(gateway: TlsGateway) -> None:
    with Wire(gateway.ports["proxy"]) as wire:
        wire.send(b"EHLO client.example.net\r\n")
        assert wire.reply().startswith("421 ")
        assert wire.reply() == ""
    with Wire(gateway.ports["proxy"], "127.0.0.9") as wire:
        wire.send(b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 25\r\n")
        assert wire.reply().startswith("421 ")
        assert wire.reply() == ""
    wait_for(lambda: len(gateway.lines("cause=proxy")) >= 2, "the refusals in the log")
    with Wire(gateway.ports["proxy"]) as wire:
        wire.send(b"PROXY UNKNOWN\r\n")
        wire.expect(("", "220 "))


# --- floods


def test_stalled_handshakes_half_headers_and_wrong_passwords_leave_room_for_others(
    gateway: TlsGateway, sink: Sink
) -> None:
    pid = gateway.relay_pids()[0]
    before = memory_kib(pid)
    hello = bytes.fromhex("16030102000100")
    with contextlib.ExitStack() as stack:
        for way, half in (("implicit", hello), ("proxy", b"PROXY TCP4 127."), ("both", b"PROXY")):
            for _ in range(100):
                stack.enter_context(Wire(gateway.ports[way])).send(half)
        assert memory_kib(pid) - before < 20 * 1024
        for _ in range(20):
            guesser = stack.enter_context(TlsWire(gateway.ports["submission"], "127.0.0.200"))
            guesser.expect(("", "220 "), ("EHLO c.example", "250"), ("STARTTLS", "220"))
            guesser.start_tls()
            guesser.ask("EHLO c.example")
            guesser.send(b"AUTH PLAIN AGFubgB3cm9uZw==\r\n")
        with TlsWire(gateway.port) as wire:
            wire.expect(("", "220 "), ("EHLO c.example", "250"), ("STARTTLS", "220"))
            wire.start_tls()
            assert wire.mail("in spite of them").startswith("250 ")
        arrived(sink, "in spite of them")
    wait_for(lambda: gateway.counter("mta_incoming_connections_current") == 0, "all to be forgotten")
    assert gateway.relay_pids() == [pid]


# --- reload: the last tests, they change the gateway


def test_reload_brings_a_new_certificate_and_a_broken_one_changes_nothing(
    gateway: TlsGateway, certificate: Certificate
) -> None:
    def shown() -> bytes:
        with TlsWire(gateway.ports["implicit"]) as wire:
            wire.start_tls()
            return wire.tls.getpeercert(binary_form=True) or b""

    assert shown() == certificate.der
    fresh = shared_authority().issue("gw.example.org")
    certificate.chain.write_bytes(fresh.chain.read_bytes())
    broken = gateway.command("reload")
    assert broken.returncode != 0
    assert "network.tls_cert" in broken.stdout + broken.stderr
    assert shown() == certificate.der
    certificate.key.write_bytes(fresh.key.read_bytes())
    assert gateway.command("reload").returncode == 0
    wait_for(lambda: shown() == fresh.der, "the new certificate to be shown")
