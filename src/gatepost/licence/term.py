"""The last day of the licence term: `read_expiry`.

Called by the master before databases are chosen: one issued after that day is not used (row F-AV-24). Without the file
the term has no end (open mode).
"""

import datetime as dt
from pathlib import Path

import msgspec

TERM_FILE = "licence.json"
"""In the licence directory: `{"expires": "2027-01-31"}`."""
SIZE_LIMIT = 64 * 1024


class LicenceError(Exception):
    """The licence cannot be read. The text says which file, and why."""


class _Term(msgspec.Struct, frozen=True):
    expires: dt.date


def read_expiry(directory: Path) -> dt.date | None:
    """Return the last day of the term, None when it has no end. LicenceError."""
    path = directory / TERM_FILE
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(SIZE_LIMIT), type=_Term).expires
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LicenceError(f"{path}: {error}") from error
