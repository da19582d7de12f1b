"""A set of databases: a directory with `manifest.json`, its signature `manifest.sig`, and the files it names.

`feeds.building` makes one, `read_set` reads one and believes nothing of it that a trusted key has not signed: the
manifest names every file with size and SHA-256, so whatever was changed, added to a file or cut from it is refused.
"""

import contextlib
import datetime as dt
import enum
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from gatepost.antivirus.sources import SetFacts, Source
from gatepost.feeds.keys import SIGNATURE_LIMIT, BadSignatureFile, Keys, verify

MANIFEST_FORMAT = 1
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"
MANIFEST_LIMIT = 4 * 1024 * 1024
FILES_LIMIT = 10_000
SET_LIMIT = 1024**3
"""Bytes of all files of a set: more would not fit into the memory of the filters' template."""
PIECE = 64 * 1024
"""Bytes read at once of what is only compared: far below what an allocator keeps for later."""
TRIAL = "trial/"
"""Where a set keeps samples that it is tried with (`feeds.trial_samples`); everything else is signatures."""
PATH_FORM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*){0,7}\Z")
NAME_FORM = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}\Z")


class BadSet(Exception):  # noqa: N818 - what the set is
    """A directory that is no usable set. The text names it, and says what is wrong."""


class Kind(enum.StrEnum):
    """What a set is for; the values are also the packages whose `rules` are the set that comes with the product."""

    ANTIVIRUS = "antivirus"
    ANTISPAM = "antispam"


class FileEntry(msgspec.Struct, frozen=True):
    """One file of a set."""

    path: str
    size: int
    sha256: str
    records: int


class Manifest(msgspec.Struct, frozen=True):
    """What the signer vouches for."""

    format: int
    name: str
    """Of the set: of several with one name the highest number is used."""
    number: int
    issued: dt.date
    records: int
    """Signatures in all files."""
    files: tuple[FileEntry, ...]
    kind: Kind = Kind.ANTIVIRUS


class DatabaseSet(msgspec.Struct, frozen=True):
    """A set that has been read; `signer` "": its signature was not asked for."""

    directory: Path
    manifest: Manifest
    digest: str
    """SHA-256 of the manifest: stands for every byte of the set."""
    signer: str = ""

    @property
    def facts(self) -> SetFacts:
        """Return what is shown of it."""
        manifest = self.manifest
        return SetFacts(manifest.name, manifest.number, manifest.issued.isoformat(), manifest.records, self.digest)


def read_set(directory: Path, trusted: Keys | None) -> DatabaseSet:
    """Read manifest and signature; `trusted` None: the signature is not looked at. BadSet."""
    raw = _read(directory, MANIFEST_FILE, MANIFEST_LIMIT)
    signer = ""
    if trusted is not None:
        try:
            signer = verify(raw, _read(directory, SIGNATURE_FILE, SIGNATURE_LIMIT), trusted)
        except BadSignatureFile as error:
            raise BadSet(f"{directory}: {error}") from None
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except ValueError as error:  # DecodeError is one, text that is no UTF-8 another
        raise BadSet(f"{directory / MANIFEST_FILE}: {error}") from None
    if manifest.format != MANIFEST_FORMAT:
        raise BadSet(f"{directory}: format {manifest.format}; this version reads {MANIFEST_FORMAT}")
    if not manifest.files or len(manifest.files) > FILES_LIMIT or sum(f.size for f in manifest.files) > SET_LIMIT:
        raise BadSet(f"{directory}: no files, or more than {FILES_LIMIT} or than {SET_LIMIT} bytes")
    wrong = next((entry.path for entry in manifest.files if PATH_FORM.match(entry.path) is None), None)
    if wrong is not None:
        raise BadSet(f"{directory}: {wrong!r} is no path of a file in a set")
    return DatabaseSet(directory, manifest, hashlib.sha256(raw).hexdigest(), signer)


def read_sources(database: DatabaseSet) -> Iterable[Source]:
    """Yield the files with signatures of a set, each as its manifest says. BadSet."""
    return _read_files(database, [entry for entry in database.manifest.files if not entry.path.startswith(TRIAL)])


def read_trial(database: DatabaseSet) -> Iterable[Source]:
    """Yield the other files: the samples it is tried with. BadSet."""
    return _read_files(database, [entry for entry in database.manifest.files if entry.path.startswith(TRIAL)])


def _read_files(database: DatabaseSet, entries: Iterable[FileEntry]) -> Iterable[Source]:
    for entry in entries:
        data = _read(database.directory, entry.path, entry.size)
        _compare(database, entry, len(data), hashlib.sha256(data).hexdigest())
        yield Source(entry.path, data, database.manifest.name)


def check_set(database: DatabaseSet) -> None:
    """Compare every file of a set with its manifest, a piece at a time: who has verified a great set is no larger for
    it afterwards. BadSet.
    """
    for entry in database.manifest.files:
        digest, size = hashlib.sha256(), 0
        with _opened(database.directory, entry.path) as file:
            while size <= entry.size and (piece := file.read(PIECE)):
                digest.update(piece)
                size += len(piece)
        _compare(database, entry, size, digest.hexdigest())


def _compare(database: DatabaseSet, entry: FileEntry, size: int, digest: str) -> None:
    if size > entry.size:
        raise BadSet(f"{database.directory / entry.path}: longer than {entry.size} bytes")
    if size != entry.size or digest != entry.sha256:
        raise BadSet(f"{database.directory / entry.path}: not what the manifest says: it has been changed or cut")


def _read(directory: Path, path: str, limit: int) -> bytes:
    """Return a regular file's content, at most `limit` bytes. BadSet."""
    with _opened(directory, path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BadSet(f"{directory / path}: longer than {limit} bytes")
    return data


@contextlib.contextmanager
def _opened(directory: Path, path: str) -> Iterator[BinaryIO]:
    """Open a regular file; no link leads out of the set. BadSet, also for what goes wrong while it is read."""
    place = directory / path
    try:
        if not place.resolve().is_relative_to(directory.resolve()):
            raise BadSet(f"{place}: leads out of the set")
        with os.fdopen(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadSet(f"{place}: not a file")
            yield file
    except OSError as error:
        raise BadSet(f"{place}: {error.strerror}") from None
