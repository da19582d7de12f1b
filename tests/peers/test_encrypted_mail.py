"""Mail that OpenSSL and GnuPG have encrypted, through a running gateway: it passes and is told, or is `protected`."""

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers.conftest import program
from tests.support.gateway import Gateway
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for

SETTINGS = """
[[group]]
name = "strict"
recipients = ["*@strict.example.org"]
encrypted_mail = "protected"
add_x_headers = true
block_message = []

[[group]]
name = "plain"
recipients = ["*@example.org"]
add_x_headers = true
"""
TEXT = b"Subject: inside\r\nContent-Type: text/plain\r\n\r\nThe meeting is at noon.\r\n"
TIMEOUT_S = 120


def run(*arguments: str, data: bytes = b"", **environment: str) -> bytes:
    done = subprocess.run(
        arguments, input=data, capture_output=True, timeout=TIMEOUT_S, check=False, env=environment or None
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


class SMime:
    """A certificate for tests, and what is encrypted with it."""

    def __init__(self, directory: Path) -> None:
        self._openssl = program("openssl")
        self._certificate = str(directory / "certificate.pem")
        run(
            self._openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=reader", "-days", "2",
            "-keyout", str(directory / "key.pem"), "-out", self._certificate,
        )  # fmt: skip

    def encrypt(self, *options: str) -> bytes:
        """Return DER or, with -stream, BER."""
        return run(self._openssl, "cms", "-encrypt", "-outform", "DER", *options, self._certificate, data=TEXT)


class GnuPG:
    """A key for tests, and what is encrypted with it, or with a password."""

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o700)
        self._gpg = program("gpg")
        self._home = str(directory)
        self._run("--passphrase", "", "--quick-generate-key", "reader@example.org", "default", "default", "never")

    def _run(self, *arguments: str, data: bytes = b"") -> bytes:
        common = ("--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--trust-model", "always")
        return run(self._gpg, "--homedir", self._home, *common, *arguments, data=data)

    def encrypt(self, *options: str) -> bytes:
        return self._run("--recipient", "reader@example.org", "--encrypt", *options, data=TEXT)

    def sign(self) -> bytes:
        return self._run("--passphrase", "", "--armor", "--sign", data=TEXT)

    def lock(self, *options: str) -> bytes:
        return self._run("--passphrase", "noon", "--symmetric", *options, data=TEXT)

    def close(self) -> None:
        run(program("gpgconf"), "--homedir", self._home, "--kill", "all")


@pytest.fixture(scope="module")
def smime(tmp_path_factory: pytest.TempPathFactory) -> SMime:
    return SMime(tmp_path_factory.mktemp("smime"))


@pytest.fixture(scope="module")
def gnupg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GnuPG]:
    one = GnuPG(tmp_path_factory.mktemp("g"))  # sockets have short names
    yield one
    one.close()


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("encrypted") / "gw", sink.port, settings=SETTINGS) as one:
        yield one


def leaf(content_type: str, data: bytes) -> bytes:
    encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    return f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + encoded


def by_smime(data: bytes) -> bytes:
    """RFC 8551 §3.4: the envelope is the message."""
    return b"From: a@sender.example\r\nMIME-Version: 1.0\r\n" + leaf('application/pkcs7-mime; name="smime.p7m"', data)


def by_pgp_mime(armoured: bytes) -> bytes:
    """RFC 3156 §4."""
    armoured = armoured.replace(b"\n", b"\r\n")
    return (
        b"From: a@sender.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/encrypted; boundary=e;"
        b' protocol="application/pgp-encrypted"\r\n\r\n--e\r\nContent-Type: application/pgp-encrypted\r\n\r\n'
        b"Version: 1\r\n\r\n--e\r\nContent-Type: application/octet-stream; name=encrypted.asc\r\n\r\n"
        + armoured
        + b"\r\n--e--\r\n"
    )


def in_the_text(armoured: bytes) -> bytes:
    return b"From: a@sender.example\r\nSubject: x\r\n\r\nHello\r\n\r\n" + armoured.replace(b"\n", b"\r\n")


def attached(data: bytes, name: str) -> bytes:
    return (
        b"From: a@sender.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nSee the file.\r\n--b\r\n"
        + leaf(f'application/octet-stream; name="{name}"', data)
        + b"\r\n--b--\r\n"
    )


def arrived(gateway: Gateway, sink: Sink, content: bytes, recipient: str) -> Mail:
    queue_id = gateway.send(content, [recipient])
    found: list[Mail] = []

    def is_there() -> bool:
        found[:] = [mail for mail in list(sink.mails) if queue_id.encode() in mail.content]
        return bool(found)

    wait_for(is_there, "the mail")
    return found[0]


def check_both(gateway: Gateway, sink: Sink, content: bytes, encryption: str) -> None:
    """Ordinary recipients get it as it is, with a word about it; the strict group gets the placeholder."""
    mail = arrived(gateway, sink, content, "anna@example.org")
    field = re.search(rb"^X-Anti-Virus: ([^\r\n]*)", mail.content, re.MULTILINE)
    assert field is not None
    assert field[1].endswith(f" clean (encrypted: {encryption})".encode())
    assert mail.content.endswith(content[content.index(b"\r\n\r\n") :])
    wait_for(
        lambda: any(
            f"encrypted for its recipient ({encryption})" in str(record)
            for found in gateway.ask("tracking.search", finding="encrypted-content", limit=100)["mails"]
            for record in gateway.ask("tracking.mail", id=found["id"])["records"]
        ),
        "the mail to be tracked",
    )
    strict = arrived(gateway, sink, content, "anna@strict.example.org")
    assert b"(encrypted:" not in strict.content
    assert re.search(rb"^X-Anti-Virus: .* protected\r\n", strict.content, re.MULTILINE) is not None
    assert content[-200:] not in strict.content


@pytest.mark.parametrize(
    "options", [("-aes-256-cbc",), ("-aes-128-gcm",), ("-aes-256-cbc", "-stream")], ids=["cbc", "gcm", "in-pieces"]
)
def test_smime(gateway: Gateway, sink: Sink, smime: SMime, options: tuple[str, ...]) -> None:
    check_both(gateway, sink, by_smime(smime.encrypt(*options)), "S/MIME")


def test_openpgp_by_mime(gateway: Gateway, sink: Sink, gnupg: GnuPG) -> None:
    check_both(gateway, sink, by_pgp_mime(gnupg.encrypt("--armor")), "OpenPGP")


def test_openpgp_in_the_text(gateway: Gateway, sink: Sink, gnupg: GnuPG) -> None:
    check_both(gateway, sink, in_the_text(gnupg.encrypt("--armor")), "OpenPGP")


@pytest.mark.parametrize("options", [(), ("--hidden-recipient", "reader@example.org"), ("--rfc4880",)])
@pytest.mark.parametrize("name", ["contract.gpg", "contract.dat"])
def test_openpgp_as_a_file(gateway: Gateway, sink: Sink, gnupg: GnuPG, options: tuple[str, ...], name: str) -> None:
    check_both(gateway, sink, attached(gnupg.encrypt(*options), name), "OpenPGP")


@pytest.mark.parametrize("options", [(), ("--armor",)])
def test_what_a_password_opens_is_protected_for_everybody(
    gateway: Gateway, sink: Sink, gnupg: GnuPG, options: tuple[str, ...]
) -> None:
    mail = arrived(gateway, sink, attached(gnupg.lock(*options), "contract.gpg"), "bert@strict.example.org")
    assert re.search(rb"^X-Anti-Virus: .* protected\r\n", mail.content, re.MULTILINE) is not None


def test_what_is_signed_only_is_not_encrypted(gateway: Gateway, sink: Sink, gnupg: GnuPG) -> None:
    signed = gnupg.sign()
    mail = arrived(gateway, sink, in_the_text(signed), "anna@strict.example.org")
    assert re.search(rb"^X-Anti-Virus: .* clean\r\n", mail.content, re.MULTILINE) is not None
