"""The certificate's context, and the sans-I/O end of an encrypted connection."""

import random
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.certificates import Certificate, shared_authority

from gatepost.config.load import load_text
from gatepost.relay.tls import TlsFault, TlsSetupError, TlsStream, build_server_context

HOST = "gw.example.org"


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return shared_authority().issue(HOST)


def context_of(chain: Path | str, key: Path | str, extra: str = "") -> ssl.SSLContext | None:
    text = f'[network]\nhostname = "{HOST}"\ntls_cert = "{chain}"\ntls_key = "{key}"\n{extra}'
    config = load_text(text, "x.toml").config
    assert config is not None
    return build_server_context(config)


class Client:
    """A TLS client without a socket."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or shared_authority().client_context()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname=HOST)

    def shake(self, stream: TlsStream, cut: random.Random) -> None:
        """Make the handshake, what is sent cut into pieces."""
        done = False
        while not (done and stream.established):
            try:
                self.object.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            data = self.outgoing.read()
            while data:
                size = cut.randint(1, len(data))
                assert stream.feed(data[:size]) == b""
                data = data[size:]
            self.incoming.write(stream.take_output())


@pytest.mark.parametrize("seed", range(5))
def test_what_is_sent_arrives_whole_however_it_is_cut(certificate, seed):
    cut = random.Random(seed)
    context = context_of(certificate.chain, certificate.key)
    assert context is not None
    stream, client = TlsStream(context), Client()
    client.shake(stream, cut)
    assert stream.version == "TLSv1.3"
    assert stream.cipher.startswith("TLS_")
    plain = cut.randbytes(200_000)
    client.object.write(plain)
    data, got = client.outgoing.read(), b""
    while data:
        size = cut.randint(1, len(data))
        got += stream.feed(data[:size])
        data = data[size:]
    assert got == plain
    client.incoming.write(stream.encrypt(b"220 hello\r\n" * 10_000))
    back = b""
    while len(back) < 110_000:
        back += client.object.read(100_000)
    assert back == b"220 hello\r\n" * 10_000
    with pytest.raises(ssl.SSLWantReadError):
        client.object.unwrap()
    assert stream.feed(client.outgoing.read()) == b""
    assert stream.ended
    for _ in range(100):
        assert stream.feed(b"x" * 65536) == b"", "nothing counts behind the notice"
    assert stream._incoming.pending == 0, "and nothing is kept"
    assert stream.end()


def test_plaintext_in_the_handshake_or_behind_it_is_a_fault(certificate):
    context = context_of(certificate.chain, certificate.key)
    assert context is not None
    with pytest.raises(TlsFault):
        TlsStream(context).feed(b"EHLO client.example.net\r\n")
    stream, client = TlsStream(context), Client()
    client.shake(stream, random.Random(1))
    with pytest.raises(TlsFault):
        stream.feed(b"MAIL FROM:<a@example.net>\r\n")


def test_only_modern_versions_are_spoken(certificate):
    client_context = shared_authority().client_context()
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    context = context_of(certificate.chain, certificate.key)
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    stream, client = TlsStream(context), Client(client_context)
    client.shake(stream, random.Random(2))
    assert stream.version == "TLSv1.2"
    strict = context_of(certificate.chain, certificate.key, '[tls]\nminimum_version = "1.3"\n')
    assert strict is not None
    with pytest.raises(TlsFault):
        Client(client_context).shake(TlsStream(strict), random.Random(3))


def test_what_cannot_be_used_is_named(certificate, tmp_path):
    other = shared_authority().issue(HOST)
    garbage = tmp_path / "garbage"
    garbage.write_text("no certificate")
    locked = tmp_path / "locked.key"
    key = serialization.load_pem_private_key(certificate.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    for chain, key_file, word in (
        (certificate.chain, other.key, "does not belong"),
        (garbage, certificate.key, "PEM"),
        (certificate.chain, garbage, "PEM"),
        (tmp_path / "missing", certificate.key, "No such file"),
        (certificate.chain, locked, "passphrase"),
    ):
        with pytest.raises(TlsSetupError, match=word) as caught:
            context_of(chain, key_file)
        assert "network.tls_" in str(caught.value)
    assert context_of("", "") is None
