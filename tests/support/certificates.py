"""Certificates for tests, made at run time: an authority of our own, and what it signs."""

import datetime as dt
import functools
import ipaddress
import itertools
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = dt.timedelta(days=1)


class Certificate(msgspec.Struct, frozen=True):
    """A certificate with its key. Files are PEM; `chain` begins with the certificate itself."""

    chain: Path
    key: Path
    value: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate itself."""
        return self.value.public_bytes(serialization.Encoding.DER)

    @property
    def public_key_der(self) -> bytes:
        """Its SubjectPublicKeyInfo."""
        return self.value.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def server_context(self, *, ask_client: "Authority | None" = None) -> ssl.SSLContext:
        """Return what a TLS server shows this certificate with; `ask_client`: it wants one of that authority's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        if ask_client is not None:
            context.load_verify_locations(ask_client.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """A certificate authority below `directory`; keys are P-256, made in a millisecond."""

    def __init__(self, directory: Path, name: str = "Test CA") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._numbers = itertools.count(1)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 365 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(_key_usage(signs=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = directory / "ca.pem"
        """The authority's own certificate, PEM."""
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str, days: Sequence[int] = (-1, 30)) -> Certificate:
        """Return a new certificate for host names (wildcards too) and IP addresses; `days` of its life, from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "nobody")]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * _DAY)
            .not_valid_after(now + days[1] * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        number = next(self._numbers)
        chain, key_file = self._directory / f"{number}.pem", self._directory / f"{number}.key"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + self.file.read_bytes())
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key_file.chmod(0o600)
        return Certificate(chain, key_file, certificate)

    def client_context(self, certificate: Certificate | None = None, *, names: bool = True) -> ssl.SSLContext:
        """Return what a TLS client that trusts this authority uses, and shows `certificate` with; `names` are checked."""
        context = ssl.create_default_context(cafile=str(self.file))
        context.check_hostname = names
        if certificate is not None:
            context.load_cert_chain(certificate.chain, certificate.key)
        return context


@functools.cache
def shared_authority() -> Authority:
    """Return the authority of this test process, in a directory that is removed with it."""
    return Authority(Path(_directory().name))


@functools.cache
def _directory() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="gatepost-ca-")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
