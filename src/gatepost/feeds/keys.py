"""Keys that sign databases: Ed25519, public ones as base64 of 32 bytes, private ones as PEM files.

Used by `feeds.manifest` and by the commands that build sets. A signature file holds one line for each key that signed:
`ed25519 ID SIGNATURE`, so that a set can be signed by the old and the new key while keys change.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SHIPPED_KEY = "i7BxjnYdK+pN37ANA+SXT0UstVUhR3wOQe3IPL63hNc="
"""Public half of the key that signs the sets that come with the product."""
SIGNATURE_LIMIT = 4096
"""Bytes of a signature file: some keys, each a line."""
_TAG = "ed25519"

Keys = Mapping[str, Ed25519PublicKey]
"""Public keys by id."""


class BadKey(Exception):  # noqa: N818 - what the key is
    """Text or file that is no key. The text says which, and why."""


class BadSignatureFile(Exception):  # noqa: N818 - what the file is
    """No trusted key signed these bytes. The text says why."""


def key_id(public: Ed25519PublicKey) -> str:
    """Return the id of a key: the first 16 digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(_raw(public)).hexdigest()[:16]


def build_public_text(public: Ed25519PublicKey) -> str:
    """Return a public key as configurations carry it."""
    return base64.b64encode(_raw(public)).decode("ascii")


def parse_public(text: str) -> Ed25519PublicKey:
    """Read a public key. BadKey."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadKey(f"{text[:60]!r} is no public key (base64 of 32 bytes): {error}") from None


def resolve_keys(texts: Iterable[str]) -> Keys:
    """Return the trusted keys: the shipped one and these. BadKey."""
    return {key_id(key): key for key in map(parse_public, (SHIPPED_KEY, *texts))}


def generate_key(path: Path) -> Ed25519PublicKey:
    """Make a key pair, write the private half to a new file only its owner can read. FileExistsError, OSError."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return private.public_key()


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key. BadKey."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{path}: no private key without a passphrase: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path}: not an Ed25519 key")
    return key


def sign(content: bytes, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """Return the signature file of `content`."""
    lines = (
        f"{_TAG} {key_id(key.public_key())} {base64.b64encode(key.sign(content)).decode('ascii')}\n" for key in keys
    )
    return "".join(lines).encode("ascii")


def verify(content: bytes, signature_file: bytes, trusted: Keys) -> str:
    """Return the id of the trusted key that signed `content`. BadSignatureFile."""
    seen: list[str] = []
    for line in signature_file[:SIGNATURE_LIMIT].decode("ascii", "replace").splitlines():
        fields = line.split()
        if len(fields) != 3 or fields[0] != _TAG:
            continue
        seen.append(fields[1][:16])
        key = trusted.get(fields[1])
        if key is None:
            continue
        try:
            key.verify(base64.b64decode(fields[2], validate=True), content)
        except (InvalidSignature, binascii.Error, ValueError):
            raise BadSignatureFile(f"the signature of key {fields[1]} does not fit: it has been changed") from None
        return fields[1]
    if seen:
        raise BadSignatureFile(f"signed by {', '.join(seen)}, which is no trusted key")
    raise BadSignatureFile("the signature file holds no signature")


def _raw(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
