"""An issuer of licence keys for tests, and keys of his."""

import datetime as dt
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatepost.feeds.keys import build_public_text, key_id
from gatepost.licence.key import Kind, LicenceKey, build_key

PRIVATE: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED: Final = {key_id(PRIVATE.public_key()): PRIVATE.public_key()}
SETTINGS: Final = f'\n[licence]\nissuers = ["{build_public_text(PRIVATE.public_key())}"]\n'
DAY: Final = dt.date(2026, 6, 1)
"""Today, where a test says what day it is."""


def days(number: int) -> dt.date:
    return DAY + dt.timedelta(number)


def licence(serial: str = "1", **said: Any) -> bytes:
    """Return the file of a key; unless said otherwise a commercial one without limits and without end."""
    values = {"kind": Kind.COMMERCIAL, "issuer": "tests", "holder": "tests", "created": dt.date(2026, 1, 1)} | said
    return build_key(LicenceKey(serial=serial, **values), PRIVATE)


def install(directory: Path, serial: str = "1", *, name: str = "active.key", **said: Any) -> None:
    """Put a key into a licence directory, as it would be there after some time."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(licence(serial, **said))
