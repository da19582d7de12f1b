"""Compiled forms on disk: `Artefacts`, a directory of ours whose files are believed only when nobody else can have
written them.

Used by `feeds.cache` and `feeds.spam` in the filters' template. A compiled form is native code or close to it, so the
SHA-256 of each stands in an index beside it, and both must belong to us and be writable by nobody else.
"""

import contextlib
import hashlib
import os
import stat
import time
from pathlib import Path

import msgspec

ARTEFACT_LIMIT = 2 * 1024**3
INDEX_FILE = "index.json"
INDEX_LIMIT = 64 * 1024
WRITTEN_S = 3600.0
"""A file that was begun so long ago is not being written any more."""
_FOREIGN_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Artefacts:
    """Files by key; the oldest go when there are more than `kept`."""

    def __init__(self, place: Path, kept: int) -> None:
        self._place = place
        self._kept = kept

    def get(self, key: str) -> bytes | None:
        """Return the compiled form if it is whole and ours, else None."""
        wanted = self._read_index().get(key)
        if wanted is None:
            return None
        raw = _read_own(self._place / f"{key}.image", ARTEFACT_LIMIT)
        return raw if raw is not None and hashlib.sha256(raw).hexdigest() == wanted else None

    def keep(self, key: str, raw: bytes) -> None:
        """Keep a compiled form; a disk that takes none costs the next start a second, nothing else."""
        with contextlib.suppress(OSError):
            self._store(key, raw)

    def _store(self, key: str, raw: bytes) -> None:
        self._place.mkdir(0o700, parents=True, exist_ok=True)
        index = self._read_index()
        index.pop(key, None)
        index[key] = hashlib.sha256(raw).hexdigest()
        for old in list(index)[: -self._kept]:
            del index[old]
        _replace(self._place / f"{key}.image", raw)
        _replace(self._place / INDEX_FILE, msgspec.json.encode(index))
        for path in self._place.glob("*.image"):
            if path.stem not in index:
                path.unlink(missing_ok=True)
        for path in self._place.glob(".*"):  # of a template that was killed while it wrote
            if path.stat().st_mtime < time.time() - WRITTEN_S:
                path.unlink(missing_ok=True)

    def _read_index(self) -> dict[str, str]:
        """Return the digests of compiled forms by name, oldest first."""
        raw = _read_own(self._place / INDEX_FILE, INDEX_LIMIT)
        try:
            return msgspec.json.decode(raw, type=dict[str, str]) if raw is not None else {}
        except ValueError:  # DecodeError is one, text that is no UTF-8 another
            return {}


def _read_own(path: Path, limit: int) -> bytes | None:
    """Return a file that nobody but us can have written, None when it is not there or not such a file."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            facts = os.fstat(file.fileno())
            ours = facts.st_uid in {os.geteuid(), 0} and not facts.st_mode & _FOREIGN_WRITE
            if not ours or not stat.S_ISREG(facts.st_mode) or facts.st_size > limit:
                return None
            return file.read()
    except OSError:
        return None


def _replace(path: Path, raw: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
