"""A backup of the gateway in one file: configuration, lists, accounts, what was learned, keys, own databases.

Used by `gatepost backup`; works on the files, beside a running gateway or without one: small files are replaced whole
by whoever writes them, databases (SQLite) are copied by their own means, and logs only grow. It holds no mail: neither
queue nor stores, whose indexes are made anew from the items. What became of mails (tracking) is a matter of choice.

The file is a gzipped tar, sealed where there is a passphrase (`master.backup_seal`): `state/…` (below the state
directory), `configuration/NAME`, `outside/N-NAME` (files elsewhere that the configuration names or includes), and at
the end `manifest.json`, which knows the SHA-256 of each.
"""

import hashlib
import os
import stat
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import apsw
import msgspec

from gatepost import __version__
from gatepost.config.load import Loaded
from gatepost.config.parameter import Kind
from gatepost.config.schema import FIELDS, Config
from gatepost.master.backup_seal import SealedWriter
from gatepost.storage.places import store_places

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
STATE: Final = "state"
CONFIGURATION: Final = "configuration"
OUTSIDE: Final = "outside"
KEPT_BESIDE: Final = "before-restore-"
"""Beginning of the directory in which a restore keeps what was there."""
_DERIVED: Final = frozenset(
    (
        "run",
        "bases-cache",
        "delivered",
        "told",
        "learn",
        "log",
        "bypass.json",
        "clock.json",
        "problems.json",
        "migrations",
    )
)
"""Below the state directory: of a running gateway or this machine's clock, or made anew, or (the bypass) not to come
back by surprise."""
_TRACKING: Final = "tracking"
_SQLITE: Final = b"SQLite format 3\x00"
_CHUNK: Final = 1024 * 1024


class BackupError(Exception):
    """It cannot be made, or not be used; the text says why."""


class Entry(msgspec.Struct, frozen=True):
    """One file of a backup."""

    name: str
    """In the backup."""
    size: int
    sha256: str
    mode: int = 0o600
    place: str = ""
    """Where it was, for `outside/`."""


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds."""

    format: int
    version: str
    """Of the program that made it."""
    made_at: float
    hostname: str
    state_path: str
    configuration: str
    """Where its configuration file was."""
    tracking: bool
    files: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()
    """Directories below the state directory that stay as they are when it is restored: queue and stores."""


class Source(msgspec.Struct, frozen=True):
    """A file that belongs into a backup."""

    name: str
    path: Path
    place: str = ""


def plan_backup(loaded: Loaded, *, tracking: bool) -> list[Source]:
    """Return what belongs into a backup, databases last: what they refer to is then in it already. BackupError."""
    config = loaded.config
    if config is None:
        raise BackupError("the configuration has errors: " + "; ".join(str(problem) for problem in loaded.errors))
    file = Path(loaded.file).absolute()
    state = Path(config.relay.state_path)
    below = [Source(f"{STATE}/{path.relative_to(state)}", path) for path in _below(state, config, tracking=tracking)]
    inside = {os.path.realpath(source.path) for source in below}
    named = sorted(path for path in _named(loaded, config) if path.absolute() != file)
    elsewhere = [path for path in named if os.path.realpath(path) not in inside]
    outside = [Source(f"{OUTSIDE}/{number:04}-{path.name}", path, str(path)) for number, path in enumerate(elsewhere)]
    sources = [Source(f"{CONFIGURATION}/{file.name}", file), *outside, *below]
    return sorted(sources, key=lambda source: _is_database(source.path))


def write_backup(
    target: BinaryIO, loaded: Loaded, sources: list[Source], *, tracking: bool, passphrase: str = "", now: float = 0.0
) -> Manifest:
    """Write a backup. OSError, BackupError."""
    assert loaded.config is not None
    sealed = SealedWriter(target, passphrase) if passphrase else None
    packed = _Packed(sealed or target)
    entries: list[Entry] = []
    with tarfile.open(fileobj=cast("BinaryIO", packed), mode="w|") as archive, tempfile.TemporaryDirectory() as scratch:
        for source in sources:
            entry = _add(archive, source, Path(scratch))
            if entry is not None:
                entries.append(entry)
        manifest = Manifest(
            FORMAT,
            __version__,
            now or time.time(),
            loaded.config.network.hostname,
            loaded.config.relay.state_path,
            str(Path(loaded.file).absolute()),
            tracking,
            tuple(entries),
            tuple(sorted(_mail_below(loaded.config))),
        )
        _add_bytes(archive, MANIFEST, msgspec.json.encode(manifest))
    packed.close()
    if sealed is not None:
        sealed.close()
    return manifest


class _Packed:
    """Gzips what is written to it (RFC 1952); it can do what a stream of tar needs. What fails fails once:
    `gzip.GzipFile` tries again when it is collected, where nobody can take the error.
    """

    def __init__(self, file: "BinaryIO | SealedWriter") -> None:
        self._file = file
        self._packing = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self._file.write(self._packing.compress(data))

    def close(self) -> None:
        """Write the end and leave the file below open."""
        self._file.write(self._packing.flush())


def _mail_below(config: Config) -> Iterator[str]:
    """Yield the directories with mail below the state directory, relative to it."""
    state = Path(config.relay.state_path)
    for directory in {config.path.queue_path, *(place.directory for place in store_places(config))}:
        if Path(directory).is_relative_to(state):
            yield str(Path(directory).relative_to(state))


def _below(state: Path, config: Config, *, tracking: bool) -> Iterator[Path]:
    """Yield the files below the state directory that belong into a backup; links are not followed."""
    out = {os.path.realpath(state / name) for name in _DERIVED}
    out |= {os.path.realpath(place.directory) for place in store_places(config)}
    out |= {os.path.realpath(config.path.queue_path), os.path.realpath(config.path.control_path)}
    if not tracking:
        out.add(os.path.realpath(state / _TRACKING))
    for directory, names, files in os.walk(state):
        here = Path(directory)
        names[:] = sorted(
            name
            for name in names
            if os.path.realpath(here / name) not in out
            and not name.startswith(KEPT_BESIDE)
            and not (here / name).is_symlink()
        )
        for name in sorted(files):
            path = here / name
            temporary = name.endswith(("-wal", "-shm", "-journal")) or (name.startswith(".") and name.endswith(".new"))
            if not temporary and str(path) not in out and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _named(loaded: Loaded, config: Config) -> set[Path]:
    """Return the files that the configuration includes or names: certificates, keys, templates, lists."""
    found = {Path(origin.file) for origin in loaded.origins.values()}
    data: Any = msgspec.to_builtins(config)
    for section, fields in FIELDS.items():
        tables = _tables(data, section)
        for field in fields:
            if field.parameter.kind is Kind.PATH:
                found |= {Path(str(table[field.name])) for table in tables if table.get(field.name)}
    found |= set(_files_in(config.path.license_path))
    log = config.options.log_filename
    return {path for path in found if path.is_file() and str(path) not in {log, config.tracking.json_file}}


def _files_in(directory: str) -> list[Path]:
    try:
        return list(Path(directory).iterdir())
    except OSError:
        return []


def _tables(data: Any, section: str) -> list[dict[str, Any]]:
    """Return the tables of a section in a configuration as plain values."""
    named = {
        "listener": "listeners",
        "door": "doors",
        "engine": "engines",
        "group": "groups",
        "tls_policy": "tls_policies",
    }
    found = data
    for part in named.get(section, section).split("."):
        found = found.get(part, []) if isinstance(found, dict) else []
    return found if isinstance(found, list) else [found] if isinstance(found, dict) else []


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _add(archive: tarfile.TarFile, source: Source, scratch: Path) -> Entry | None:
    """Add one file; None: it is gone."""
    path = source.path
    try:
        mode = path.stat().st_mode & 0o777
        if _is_database(path):
            path = _copy_database(path, scratch / "copy.db")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            reader = _Hashing(file, size)
            archive.addfile(_info(source.name, size), reader)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackupError(f"{source.path}: {error.strerror or error}") from error
    return Entry(source.name, size, reader.sha256.hexdigest(), mode, source.place)


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(data)
        file.seek(0)
        archive.addfile(_info(name, len(data)), file)


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info


def _copy_database(path: Path, copy: Path) -> Path:
    """Return a copy of a database as of one moment, whoever writes to it. BackupError."""
    copy.unlink(missing_ok=True)
    try:
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        target = apsw.Connection(str(copy))
        try:
            source.set_busy_timeout(5000)
            with target.backup("main", source, "main") as work:
                while not work.done:
                    work.step(1024)
            target.execute("PRAGMA journal_mode = DELETE")
        finally:
            target.close()
            source.close()
    except apsw.Error as error:
        raise BackupError(f"{path}: {error}") from error
    return copy


class _Hashing:
    """Reads exactly `size` bytes of a file, whatever grows behind them, and knows their digest."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = self._file.read(min(size if size >= 0 else _CHUNK, self._left))
        if len(data) < min(size, self._left):
            raise OSError("it became shorter while it was read")
        self._left -= len(data)
        self.sha256.update(data)
        return data
