"""Office files behind a password ([MS-OFFCRYPTO]): opened with the passwords at hand.

Called by `ole`. The cipher work is the library's (msoffcrypto); how often a key is derived is bounded here, since the
file says how dear each trial is. Excel opens files locked with its standard password without asking, so those are no
secret.
"""

import io
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Final

import msoffcrypto  # type: ignore[import-untyped]

from gatepost.antivirus.compound import MAGIC
from gatepost.antivirus.openers.taking import pay
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.zip_records import LOCAL_MARK

_FORMATS: Final = tuple(import_module(f"msoffcrypto.format.{form}") for form in ("doc97", "xls97", "ppt97", "ooxml"))
_PARTS: Final = tuple(map(import_module, ("xml.dom.expatbuilder", "cryptography.hazmat.backends.openssl.backend")))
"""Modules that the library would load at first use: behind the filter's walls it cannot."""


class _NoFiles:
    """Stands in for `tempfile` in the library, which puts its work into a file there: a filter can write none."""

    TemporaryFile = io.BytesIO


for _format in _FORMATS:
    if hasattr(_format, "tempfile"):
        _format.tempfile = _NoFiles  # type: ignore[attr-defined]

STANDARD: Final = ("VelvetSweatshop", "/01Hannes Ruescher/01")
"""What Excel and PowerPoint try by themselves."""
SPINS_LIMIT: Final = 1_500_000
"""Hash steps for all trials on one file, about 3 s; Office sets 100,000 for each."""
TRIALS_LIMIT: Final = 12
"""Keys of the older form: cheap, but each trial reads the whole file's tables."""
_SPINS = re.compile(rb'spinCount="(\d{1,10})"')
_DEFAULT_SPINS: Final = 50_000
"""Of the form that does not state it."""


def open_encrypted(data: bytes, name: str, info: bytes, opening: Opening) -> Iterator[Member]:
    """Yield the file without its encryption, or that it is protected. `info`: the stream EncryptionInfo. OverBudget."""
    stated = _SPINS.search(info)
    spins = max(1, int(stated[1]) if stated else _DEFAULT_SPINS)
    trials = min(TRIALS_LIMIT, SPINS_LIMIT // spins)
    for password in (*STANDARD, *opening.passwords)[:trials]:
        opening.budget.take_member()  # looks at the time, too
        opened = _decrypt(data, password)
        if opened:
            pay(opening.budget, len(opened))
            yield Member(name or "document", opened, secret=password not in STANDARD)
            return
    yield Member(name or "document", protected=True)


def _decrypt(data: bytes, password: str) -> bytes:
    """Return the decrypted file, b"" when the password does not fit or the file makes no sense to the library."""
    try:
        office = msoffcrypto.OfficeFile(io.BytesIO(data))
        office.load_key(password=password)  # unverified: the check refuses right passwords of some writers
        out = io.BytesIO()
        office.decrypt(out)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever a library says of hostile bytes: this password does not open it
        return b""
    opened = out.getvalue()
    return opened if opened.startswith((LOCAL_MARK, MAGIC)) else b""
