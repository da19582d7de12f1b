"""Making a set of databases: every file compiled, named in a manifest, the manifest signed.

Called by `gatepost bases build`; nothing in a running gateway builds sets.
"""

import datetime as dt
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatepost.antivirus.compiling import count_records
from gatepost.antivirus.sources import BadSource, Source
from gatepost.feeds.keys import sign
from gatepost.feeds.manifest import (
    MANIFEST_FILE,
    MANIFEST_FORMAT,
    NAME_FORM,
    PATH_FORM,
    SIGNATURE_FILE,
    BadSet,
    DatabaseSet,
    FileEntry,
    Manifest,
)


def build_set(
    directory: Path, name: str, number: int, issued: dt.date, keys: Sequence[Ed25519PrivateKey]
) -> DatabaseSet:
    """Compile every file below `directory`, write manifest and signature. BadSource, BadSet, OSError."""
    if NAME_FORM.match(name) is None:
        raise BadSet(f"{name!r} is no name of a set: small letters, digits, - and _")
    entries = []
    for path in sorted(_list_files(directory)):
        data = (directory / path).read_bytes()
        records = count_records(Source(path, data, name))
        entries.append(FileEntry(path, len(data), hashlib.sha256(data).hexdigest(), records))
    if not entries:
        raise BadSet(f"{directory}: no files to make a set of")
    total = sum(entry.records for entry in entries)
    manifest = Manifest(MANIFEST_FORMAT, name, number, issued, total, tuple(entries))
    raw = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    # The signature first: a reader in between sees a manifest that its signature does not fit, and refuses.
    _write(directory / SIGNATURE_FILE, sign(raw, keys))
    _write(directory / MANIFEST_FILE, raw)
    return DatabaseSet(directory, manifest, hashlib.sha256(raw).hexdigest())


def _list_files(directory: Path) -> Iterable[str]:
    for place in directory.rglob("*"):
        path = place.relative_to(directory).as_posix()
        if not place.is_file() or path in {MANIFEST_FILE, SIGNATURE_FILE}:
            continue
        if PATH_FORM.match(path) is None or place.is_symlink():
            raise BadSource(f"{path}: not a name a file of a set may have")
        yield path


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
