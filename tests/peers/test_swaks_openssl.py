"""swaks and `openssl s_client` as clients, over every way in that the gateway has."""

import re
import subprocess
from collections.abc import Iterator

import argon2
import pytest
from tests.peers.conftest import program
from tests.support.certificates import shared_authority
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.ports import free_port
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for

PASSWORD = "open sesame"
NO_SUCH_MECHANISM = 28
"""Exit status of swaks: signing in failed."""


class ManyWays(Gateway):
    """A gateway with a listener for every way in; `ports` by name."""

    ports: dict[str, int]


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[ManyWays]:
    base = tmp_path_factory.mktemp("swaks")
    certificate = shared_authority().issue("gw.example.org", "127.0.0.1")
    passwords = base / "passwords"
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    passwords.write_text(f"joe:{hasher.hash(PASSWORD)}\n")
    texts = {
        "implicit": 'tls = "implicit"',
        "submission": 'tls = "required"\nsign_in = "required"',
        "proxy": "proxy_protocol = true",
    }
    ports = {way: free_port() for way in texts}
    listeners = "".join(f'\n[[listener]]\naddress = "127.0.0.1:{ports[way]}"\n{text}\n' for way, text in texts.items())
    changes = {
        "[network]\n": f'[network]\ntls_cert = "{certificate.chain}"\ntls_key = "{certificate.key}"\n',
        "[access]\n": f'[access]\npassword_file = "{passwords}"\nproxy_networks = ["127.0.0.1/32"]\n'
        'xclient_networks = ["127.0.0.1/32"]\n',
    }
    with ManyWays(base / "gw", sink.port, settings=listeners, replace=changes) as one:
        one.ports = {"standard": one.port, **ports}
        yield one
        assert one.stop() == 0


def arrived(sink: Sink, subject: str) -> Mail:
    def look() -> list[Mail]:
        return [m for m in list(sink.mails) if f"\r\nSubject: {subject}\r\n".encode() in m.header]

    return wait_for(look, f"mail {subject!r}")[0]


def received(mail: Mail) -> str:
    """The Received field of ours, unfolded."""
    return re.sub(r"\r\n\t", " ", mail.header.decode("latin-1")).split("\r\n")[0]


def swaks(gateway: ManyWays, way: str, subject: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [program("swaks"), "--server", f"127.0.0.1:{gateway.ports[way]}", "--from", "a@example.net"]
    command += [
        "--to",
        "b@example.org",
        "--ehlo",
        "swaks.example.net",
        "--header",
        f"Subject: {subject}",
        "--timeout",
        "20",
    ]
    return subprocess.run([*command, *options], check=False, capture_output=True, text=True, timeout=120)


def swaks_sends(gateway: ManyWays, way: str, subject: str, *options: str) -> None:
    done = swaks(gateway, way, subject, *options)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-500:]


@pytest.mark.parametrize("option", ["", "--pipeline", "--protocol=SMTP", "--attach-body=grüße"])
def test_swaks_in_the_clear(gateway: ManyWays, sink: Sink, option: str) -> None:
    subject = f"clear {option.strip('-')}".strip().replace("ü", "u").replace("ß", "s")
    swaks_sends(gateway, "standard", subject, *([option] if option else []))
    keyword = "SMTP" if "SMTP" in option else "ESMTP"
    assert f" with {keyword} id " in received(arrived(sink, subject))


@pytest.mark.parametrize(("way", "option"), [("standard", "--tls"), ("implicit", "--tls-on-connect")])
def test_swaks_over_verified_tls(gateway: ManyWays, sink: Sink, way: str, option: str) -> None:
    subject = f"swaks {way}"
    swaks_sends(
        gateway, way, subject, option, "--tls-verify", "--tls-ca-path", str(shared_authority().file), "--pipeline"
    )
    assert re.search(r" with ESMTPS \(TLSv1\.3 TLS_\w+\) id ", received(arrived(sink, subject)))


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_signs_in(gateway: ManyWays, sink: Sink, mechanism: str) -> None:
    signing = ("--tls", "--auth", mechanism, "--auth-user", "joe", "--auth-password")
    subject = f"auth {mechanism}"
    swaks_sends(gateway, "submission", subject, *signing, PASSWORD, "--to", "anywhere@example.com")
    assert " with ESMTPSA (" in received(arrived(sink, subject))
    refused = swaks(gateway, "submission", "never", *signing, "wrong")
    assert refused.returncode == NO_SUCH_MECHANISM, refused.stdout
    assert "<~* 535 5.7.8" in refused.stdout


def test_swaks_finds_no_sign_in_without_tls_and_no_other_mechanism(gateway: ManyWays) -> None:
    for options in (["--auth", "PLAIN"], ["--tls", "--auth", "CRAM-MD5"]):
        refused = swaks(gateway, "submission", "never", *options, "--auth-user", "joe", "--auth-password", PASSWORD)
        assert refused.returncode == NO_SUCH_MECHANISM, refused.stdout


def test_swaks_says_by_xclient_who_the_client_is(gateway: ManyWays, sink: Sink) -> None:
    told = ["--xclient-addr", "198.51.100.77", "--xclient-name", "far.example.com", "--xclient-helo", "teller.example"]
    swaks_sends(gateway, "standard", "xclient", *told)
    field = received(arrived(sink, "xclient"))
    assert "(far.example.com [198.51.100.77])" in field
    # What EHLO says after XCLIENT counts.
    assert field.startswith("Received: from swaks.example.net ")


@pytest.mark.parametrize(
    ("version", "family", "source"),
    [
        (1, "TCP4", "198.51.100.7"),
        (1, "TCP6", "2001:db8::7"),
        (2, "AF_INET", "198.51.100.8"),
        (2, "AF_INET6", "2001:db8::8"),
    ],
)
def test_swaks_behind_a_balancer(gateway: ManyWays, sink: Sink, version: int, family: str, source: str) -> None:
    dest = "2001:db8::1" if ":" in source else "192.0.2.1"
    told = ["--proxy-version", str(version), "--proxy-family", family, "--proxy-source", source]
    told += ["--proxy-source-port", "40000", "--proxy-dest", dest, "--proxy-dest-port", "25"]
    if version == 2:
        told += ["--proxy-command", "PROXY", "--proxy-protocol", "STREAM"]
    subject = f"proxy {version} {family}"
    swaks_sends(gateway, "proxy", subject, *told)
    shown = f"[IPv6:{source}]" if ":" in source else f"[{source}]"
    assert shown in received(arrived(sink, subject))


def test_swaks_without_a_proxy_header_is_not_served(gateway: ManyWays) -> None:
    assert swaks(gateway, "proxy", "never", "--proxy", "PROXY GARBAGE").returncode != 0


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("way", ["standard", "implicit"])
def test_openssl_s_client(gateway: ManyWays, sink: Sink, way: str, version: str) -> None:
    subject = f"openssl {way} {version[1:]}"
    # The `crlf` option would double ours; a line that begins with Q or R would be a command of its own without `ign_eof`.
    command = [
        program("openssl"),
        "s_client",
        "-connect",
        f"127.0.0.1:{gateway.ports[way]}",
        "-quiet",
        "-ign_eof",
        version,
    ]
    command += ["-CAfile", str(shared_authority().file), "-verify_return_error", "-verify_ip", "127.0.0.1"]
    command += ["-starttls", "smtp", "-name", "client.example.net"] if way == "standard" else []
    dialogue = (
        b"EHLO client.example.net\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
        + plain(subject)
        + b".\r\nQUIT\r\n"
    )
    done = subprocess.run(command, input=dialogue, check=False, capture_output=True, timeout=120)
    assert b"queued as " in done.stdout, done.stdout[-500:] + done.stderr[-500:]
    assert b"\r\n221 " in done.stdout
    keyword = version[1:].replace("tls1_", "TLSv1.")
    assert f" with ESMTPS ({keyword} " in received(arrived(sink, subject))


def test_openssl_finds_nothing_old(gateway: ManyWays) -> None:
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{gateway.ports['implicit']}", "-tls1_1"]
    command += ["-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(command, input=b"", check=False, capture_output=True, timeout=120)
    assert done.returncode != 0
    assert b"alert protocol version" in done.stderr, done.stderr[-500:]
