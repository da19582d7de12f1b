"""Licence keys: text documents with an Ed25519 signature (specification management.md §13). Pure.

    gatepost licence key 1
    product: gatepost
    serial: 2026-000417
    ...
    ed25519 ID SIGNATURE

`parse_key` believes only what an issuer has signed; `build_key` is what issuers use. Read by `licence.store`.
"""

import datetime as dt
import enum
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatepost.feeds.keys import BadSignatureFile, Keys, sign, verify

PRODUCT: Final = "gatepost"
HEADING: Final = "gatepost licence key 1"
KEY_LIMIT: Final = 16 * 1024
"""Bytes of a key file."""
TEXT_LIMIT: Final = 200
NUMBER_LIMIT: Final = 1_000_000_000
DAYS_LIMIT: Final = 36_500
"""A hundred years: dates have an end, and a term beyond it could not be counted."""
_NEVER: Final = "never"
_SIGNED_WITH: Final = "ed25519 "


class LicenceError(Exception):
    """A key that cannot be used. The text says why."""


class LicenceCorrupt(LicenceError):  # noqa: N818 - what it is
    """It is damaged, or was changed: it is not what its issuer signed."""


class Kind(enum.StrEnum):
    """Types of keys."""

    COMMERCIAL = "commercial"
    TRIAL = "trial"
    """Its end ends the service: no gateway starts with it afterwards."""


class Right(enum.StrEnum):
    """What a key allows."""

    ANTIVIRUS = "av"
    ANTISPAM = "as"


class LicenceKey(msgspec.Struct, frozen=True, kw_only=True):
    """What an issuer has signed."""

    serial: str
    kind: Kind
    issuer: str
    holder: str = ""
    created: dt.date
    expires: dt.date | None = None
    """Last day of its term when it is the first key; None: without end."""
    days: int = 0
    """Life span: of an additional key the term, from the day it becomes active; 0 = without end."""
    users: int = 0
    """Protected addresses that may get mail; 0 = any number."""
    megabytes: int = 0
    """Of mail received in a day; 0 = any amount."""
    rights: tuple[Right, ...] = (Right.ANTIVIRUS, Right.ANTISPAM)
    product: str = PRODUCT


_NAMES: Final = {
    "product": "product", "serial": "serial", "type": "kind", "issuer": "issuer", "holder": "holder",
    "created": "created", "expires": "expires", "life span": "days", "users": "users",
    "megabytes a day": "megabytes", "rights": "rights",
}  # fmt: skip
"""Line of the file -> member."""


def build_key(key: LicenceKey, private: Ed25519PrivateKey) -> bytes:
    """Return the file of a key. ValueError: a text in it cannot stand on one line."""
    told = msgspec.to_builtins(key)
    lines = [HEADING]
    for name, member in _NAMES.items():
        value = told[member]
        text = ", ".join(value) if isinstance(value, list | tuple) else _NEVER if value is None else str(value)
        if not text.isprintable() or len(text) > TEXT_LIMIT:
            raise ValueError(f"{name}: {text[:60]!r} does not fit on a line of {TEXT_LIMIT} characters")
        lines.append(f"{name}: {text}".rstrip())
    content = ("\n".join(lines) + "\n").encode()
    return content + sign(content, [private])


def parse_key(raw: bytes, issuers: Keys) -> LicenceKey:
    """Return a key that one of the issuers has signed. LicenceCorrupt, LicenceError."""
    if len(raw) > KEY_LIMIT:
        raise LicenceCorrupt(f"larger than {KEY_LIMIT} bytes: no licence key")
    raw = raw.replace(b"\r\n", b"\n")
    content, mark, signature = raw.partition(f"\n{_SIGNED_WITH}".encode())
    if not mark or not content.startswith(HEADING.encode() + b"\n"):
        raise LicenceCorrupt(
            f"no licence key: it does not begin with {HEADING!r} and end with a signature; "
            "take the file as its issuer sent it"
        )
    content += b"\n"
    try:
        verify(content, _SIGNED_WITH.encode() + signature, issuers)
    except BadSignatureFile as error:
        text = str(error)
        if "no trusted key" in text:
            raise LicenceError(f"{text}; whom else to believe is said by `licence.issuers`") from None
        raise LicenceCorrupt(f"{text}; take the file as its issuer sent it") from None
    return _read(content)


def _read(content: bytes) -> LicenceKey:
    found: dict[str, object] = {}
    try:
        for line in content.decode().splitlines()[1:]:
            name, colon, value = line.partition(":")
            member = _NAMES.get(name.strip())
            if not colon or member is None:
                raise LicenceError(f"{line[:60]!r}: a newer program is needed for this key")
            found[member] = _value(member, value.strip())
        key = msgspec.convert(found, LicenceKey, strict=False)
    except (UnicodeDecodeError, msgspec.ValidationError) as error:
        raise LicenceCorrupt(f"no licence key: {error}") from None
    if key.product != PRODUCT:
        raise LicenceError(f"a key for {key.product!r}, not for {PRODUCT!r}")
    counts = (key.users, key.megabytes)
    if not 0 <= key.days <= DAYS_LIMIT or min(counts) < 0 or max(counts) > NUMBER_LIMIT:
        raise LicenceError("a number in it is out of range")
    return key


def _value(member: str, text: str) -> object:
    if member == "rights":
        return [part.strip() for part in text.split(",") if part.strip()]
    if member == "expires" and text == _NEVER:
        return None
    return text
