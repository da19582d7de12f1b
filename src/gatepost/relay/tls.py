"""TLS on the receiving side: the certificate's context, and one encrypted connection sans-I/O.

The context is built once per configuration (`relay.intake`; the master tries it first); `relay.reception` feeds a
`TlsStream` what the socket gives and writes what it puts out. So a handshake is under the session's own limits and
times, and bytes that were read before it began (behind a PROXY header) are not lost.
"""

import contextlib
import ssl
from typing import Final

from gatepost.config.doors import Door, DoorTls
from gatepost.config.schema import Config
from gatepost.config.transport import ListenerTls, MinimumTls

HANDSHAKE_S: Final = 30.0
"""Time for a handshake: two round trips over the worst line, and no place for those who never end it."""
_READ_SIZE: Final = 64 * 1024
_VERSIONS: Final = {MinimumTls.V1_2: ssl.TLSVersion.TLSv1_2, MinimumTls.V1_3: ssl.TLSVersion.TLSv1_3}


class TlsSetupError(ValueError):
    """The configured certificate cannot be used; the text says which file and why."""


class TlsFault(Exception):  # noqa: N818 - what happened to one connection
    """The peer broke the TLS protocol, or refused ours; what `take_output` still gives may be sent, then close."""


def build_server_context(config: Config) -> ssl.SSLContext | None:
    """Return the context of network.tls_cert, None when there is none. TlsSetupError says what is wrong with it.

    Only modern TLS: 1.2 and later (tls.minimum_version), forward secrecy, no compression, no renegotiation.
    """
    network = config.network
    if not network.tls_cert:
        for listener in config.listeners:
            if listener.tls in (ListenerTls.REQUIRED, ListenerTls.IMPLICIT):
                raise TlsSetupError(
                    f"listener {listener.name or listener.address} has tls = {listener.tls.value!r}, "
                    "but network.tls_cert names no certificate"
                )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.tls.minimum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 1  # a server that comes again resumes with one
    what = f"network.tls_cert {network.tls_cert} with network.tls_key {network.tls_key}"
    try:
        context.load_cert_chain(network.tls_cert, network.tls_key, password=_no_password)
    except ssl.SSLError as error:
        reason = "the key does not belong to the certificate" if error.reason == "KEY_VALUES_MISMATCH" else ""
        raise TlsSetupError(f"{what}: {reason or 'not a PEM certificate chain with its key'} ({error})") from error
    except OSError as error:
        raise TlsSetupError(f"{what}: cannot be read: {error.strerror}") from error
    return context


def build_door_context(config: Config, door: Door) -> ssl.SSLContext | None:
    """Return what a door encrypts with, None for one in clear. TlsSetupError."""
    if door.tls is DoorTls.OFF:
        return None
    context = build_server_context(config)
    if context is None:
        raise TlsSetupError(f"door {door.name} has tls = {door.tls.value!r}, but network.tls_cert names no certificate")
    if door.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(door.client_ca)
        except (ssl.SSLError, OSError) as error:
            raise TlsSetupError(f"door {door.name}: client_ca {door.client_ca} cannot be used: {error}") from error
    return context


def _no_password() -> str:
    raise TlsSetupError("network.tls_key is locked with a passphrase; nobody is there to type it: store it unlocked")


class TlsStream:
    """The server's end of one encrypted connection: ciphertext and plaintext in and out, nothing else."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ended", "established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        """The handshake is over."""
        self.ended = False
        """The peer has said that it sends nothing more."""

    def feed(self, data: bytes) -> bytes:
        """Take what the socket gave; return the plaintext in it, b"" during the handshake. TlsFault."""
        if self.ended:
            return b""  # OpenSSL would read it no more, and keep it
        self._incoming.write(data)
        pieces: list[bytes] = []
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while piece := self._object.read(_READ_SIZE):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise TlsFault(error.reason or "TLS failed") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """Return what is to be written for `data`, and for what TLS itself has to say. TlsFault."""
        if data:
            try:
                self._object.write(data)
            except ssl.SSLError as error:
                raise TlsFault(error.reason or "TLS failed") from error
        return self._outgoing.read()

    def take_output(self) -> bytes:
        """Return what TLS itself has to say: its part of the handshake, alerts."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return the notice that we send nothing more."""
        with contextlib.suppress(ssl.SSLError):  # it waits for the peer's notice, or is broken: no matter
            self._object.unwrap()
        return self._outgoing.read()

    @property
    def version(self) -> str:
        """Protocol version, as `TLSv1.3`."""
        return self._object.version() or ""

    @property
    def cipher(self) -> str:
        """Name of the cipher suite."""
        cipher = self._object.cipher()
        return cipher[0] if cipher else ""
