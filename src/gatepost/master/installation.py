"""Are the program's own files whole? Compared with the digests that the installer wrote beside them (RECORD).

Asked by `master.daemon` before a start (return code 70) and by `gatepost doctor`. A source tree has no such record, and
is not compared.
"""

import base64
import csv
import hashlib
from pathlib import Path

import gatepost

SHOWN = 5
"""Damaged files named."""


def find_damage(package: Path = Path(gatepost.__file__).parent) -> tuple[str, ...]:
    """Return the package's files that are missing, unreadable or changed, the first few of them."""
    damaged: list[str] = []
    for record in package.parent.glob(f"{package.name}-*.dist-info/RECORD"):
        with record.open(newline="", encoding="utf-8") as file:
            for name, digest, _ in csv.reader(file):
                if name.startswith(f"{package.name}/") and digest and not _is_whole(package.parent / name, digest):
                    damaged.append(name)
                    if len(damaged) == SHOWN:
                        return tuple(damaged)
    return tuple(damaged)


def _is_whole(path: Path, digest: str) -> bool:
    kind, _, expected = digest.partition("=")
    try:
        found = hashlib.new(kind, path.read_bytes()).digest()
    except (OSError, ValueError):
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == expected
