"""Public keys in the DNS (RFC 6376 §3.6, RFC 8463): from a record to a key, and what a key says of a signature.

Called by `dkim` and `arc` in the relay.
"""

import functools

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gatepost.authn.tags import TagError, parse_tags, read_base64, require, split_list

RSA_LEAST = 1024
"""Bits (RFC 8301 §3.2): what a shorter key signed proves nothing."""
RSA_MOST = 8192
"""Bits: longer ones cost time and nobody has them (RFC 8301 §3.2 asks for 4,096)."""
EXPONENT_MOST = 33
"""Bits of a public exponent: signers use 17; a long one would cost as much as signing."""
ED25519_SIZE = 32
DIGEST_SIZE = 32
"""Of SHA-256; a filter's word is not taken for it."""
RECORD_LIMIT = 8192
"""Octets of a record that are read: the longest honest key takes 1,500."""
RECORDS_LIMIT = 4
"""Records of one name that are tried (RFC 6376 §3.6.2.2 allows one)."""

_PADDING = PKCS1v15()
_PREHASHED = Prehashed(SHA256())


class Key(msgspec.Struct, frozen=True):
    """One key record, read."""

    public: RSAPublicKey | Ed25519PublicKey
    short: bool = False
    """Too short to prove anything."""
    testing: bool = False
    """`t=y`: the signer only tries."""
    strict: bool = False
    """`t=s`: no signatures for subdomains (`i=`)."""

    @property
    def kind(self) -> str:
        return "rsa" if isinstance(self.public, RSAPublicKey) else "ed25519"

    def verifies(self, algorithm: str, digest: bytes, signature: bytes) -> bool:
        """Tell whether `signature` over the SHA-256 `digest` was made with this key."""
        if algorithm.partition("-")[0] != self.kind or len(digest) != DIGEST_SIZE:
            return False
        try:
            if isinstance(self.public, RSAPublicKey):
                self.public.verify(signature, digest, _PADDING, _PREHASHED)
            else:
                self.public.verify(signature, digest)
        except InvalidSignature:
            return False
        return True


def choose_key(texts: tuple[bytes, ...]) -> Key | str:
    """Return the first usable key of a name's records, or why there is none."""
    reason = "no key record"
    for raw in texts[:RECORDS_LIMIT]:
        key = parse_key(raw)
        if isinstance(key, Key):
            return key
        reason = key
    return reason


@functools.lru_cache(maxsize=1024)
def parse_key(raw: bytes) -> Key | str:
    """Return the key of a record, or what is wrong with it."""
    try:
        return _parse(raw)
    except TagError as error:
        return f"key record: {error}"
    except (ValueError, UnsupportedAlgorithm):
        return "key record: no key in tag p"


def _parse(raw: bytes) -> Key | str:
    if len(raw) > RECORD_LIMIT:
        return "key record too long"
    tags = parse_tags(raw.decode("utf-8", "replace"), unicode=True)
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        return "no DKIM key record"
    if tags.get("p") == "":
        return "the key has been revoked"
    require(tags, "p")
    if "h" in tags and "sha256" not in split_list(tags["h"]):
        return "the key allows no hash in use"
    if "s" in tags and not {"*", "email"} & set(split_list(tags["s"])):
        return "the key is not for mail"
    flags = split_list(tags.get("t", ""))
    data = read_base64(tags["p"], "p")
    kind = tags.get("k", "rsa")
    if kind == "ed25519":
        if len(data) != ED25519_SIZE:
            return "key record: no key in tag p"
        return Key(Ed25519PublicKey.from_public_bytes(data), testing="y" in flags, strict="s" in flags)
    if kind != "rsa":
        return "key of an unknown kind"
    public = load_der_public_key(data)
    if not isinstance(public, RSAPublicKey):
        return "key of another kind than it says"
    if public.key_size > RSA_MOST or public.public_numbers().e.bit_length() > EXPONENT_MOST:
        return "key longer than anybody needs"
    return Key(public, public.key_size < RSA_LEAST, "y" in flags, "s" in flags)
