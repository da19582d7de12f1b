"""Reading backups: what one holds and whether it is whole (`open_backup`), and putting it in place (`put_in_place`).

Used by `gatepost restore` and `gatepost backup verify`. The file is taken for hostile: only plain files with plain
names are read out of it, into a fresh directory below the state directory; nothing is put in place before all of it has
been compared with its manifest; where it goes the caller says, never the file. What was there is kept beside.
"""

import contextlib
import fcntl
import gzip
import hashlib
import os
import shutil
import tarfile
import time
import zlib
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec

from gatepost.master.backup import (
    CONFIGURATION,
    FORMAT,
    KEPT_BESIDE,
    MANIFEST,
    OUTSIDE,
    STATE,
    BackupError,
    Manifest,
)
from gatepost.master.backup_seal import MAGIC, SealedReader, SealError
from gatepost.master.paths import Paths
from gatepost.migration.stamp import FILE as FORMAT_FILE

FILES_LIMIT: Final = 1_000_000
MANIFEST_LIMIT: Final = 512 * 1024 * 1024
"""Bytes: a million names of 255 characters with their digests."""
SPARE: Final = 64 * 1024 * 1024
"""Bytes that must stay free on the disk."""
_CHUNK: Final = 1024 * 1024
_ASIDE: Final = ("-wal", "-shm", "-journal")
_FORBIDDEN: Final = frozenset(("run", "queue"))
"""First names below the state directory that no backup has: of a running gateway, and mail."""


def is_sealed(path: Path) -> bool:
    """Tell whether a passphrase is needed. OSError."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_backup(path: Path, passphrase: str, into: Path | None) -> Manifest:
    """Return the manifest of a backup that is whole; with `into`, a fresh directory, its files are laid there.

    BackupError says what is wrong; then what was laid there is not to be used.
    """
    try:
        with path.open("rb") as file:
            raw: BinaryIO = file
            if file.read(len(MAGIC)) == MAGIC:
                if not passphrase:
                    raise BackupError("it is sealed: a passphrase is needed")
                raw = cast("BinaryIO", SealedReader(file, passphrase))
            else:
                file.seek(0)
            with gzip.GzipFile(fileobj=raw, mode="rb") as packed:
                return _read(packed, into)
    except (OSError, EOFError, zlib.error, tarfile.TarError, SealError, UnicodeError) as error:
        raise BackupError(f"{path}: {error}") from error


def _read(packed: gzip.GzipFile, into: Path | None) -> Manifest:
    found: dict[str, tuple[int, str]] = {}
    manifest: Manifest | None = None
    with tarfile.open(fileobj=packed, mode="r|") as archive:
        for member in archive:
            if manifest is not None:
                raise BackupError(f"{member.name[:100]!r} stands behind the manifest")
            if not member.isreg() or member.issparse():
                raise BackupError(f"{member.name[:100]!r} is no plain file")
            content = archive.extractfile(member)
            assert content is not None
            if member.name == MANIFEST:
                manifest = _read_manifest(cast("BinaryIO", content), member.size)
                continue
            check_name(member.name)
            if member.name in found or len(found) >= FILES_LIMIT:
                raise BackupError(f"{member.name[:100]!r} is there twice, or there are too many files")
            found[member.name] = member.size, _lay(cast("BinaryIO", content), member.size, into, member.name)
    while rest := packed.read(_CHUNK):  # to the end, where its checksum is
        if rest.strip(b"\0"):
            raise BackupError("something follows its end")
    if manifest is None:
        raise BackupError("it has no manifest: it is cut off, or no backup")
    told = {entry.name: (entry.size, entry.sha256) for entry in manifest.files}
    for name in sorted(told.keys() | found.keys()):
        if told.get(name) != found.get(name):
            raise BackupError(f"{name[:100]!r} is not what the manifest says")
    return manifest


def check_name(name: str, *, mail: bool = False) -> None:
    """Refuse what is no plain name in one of the three places of a backup. `mail`: the queue is one. BackupError."""
    parts = name.split("/")
    plain = all(part not in {"", ".", ".."} and part.isprintable() and len(part) <= 255 for part in parts)
    depth = {STATE: 32, CONFIGURATION: 2, OUTSIDE: 2}.get(parts[0], 0)
    if (
        not plain
        or not 2 <= len(parts) <= depth
        or "\\" in name
        or (parts[0] == STATE and parts[1] in _FORBIDDEN and not mail)
    ):
        raise BackupError(f"{name[:100]!r} is no name of a file in a backup")


def _read_manifest(content: BinaryIO, size: int) -> Manifest:
    if size > MANIFEST_LIMIT:
        raise BackupError("its manifest is too large")
    raw = content.read()
    try:
        # Of another format nothing but its number and its maker is known.
        head = msgspec.json.decode(raw, type=_Head)
        if head.format != FORMAT:
            raise BackupError(f"it was made by version {head.version[:40]} in another format: restore it with that")
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BackupError(f"its manifest is damaged: {error}") from error


class _Head(msgspec.Struct, frozen=True):
    format: int
    version: str


def _lay(content: BinaryIO, size: int, into: Path | None, name: str) -> str:
    """Return the SHA-256 of a file, and lay it below `into`."""
    sha256 = hashlib.sha256()
    if into is None:
        while data := content.read(_CHUNK):
            sha256.update(data)
        return sha256.hexdigest()
    if size > shutil.disk_usage(into).free - SPARE:
        raise BackupError(f"there is no room for {name[:100]!r} ({size} bytes)")
    target = into / name
    target.parent.mkdir(0o700, parents=True, exist_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        while data := content.read(_CHUNK):
            sha256.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return sha256.hexdigest()


class Lock:
    """Keeps a gateway from being started in a state directory while it is restored. BackupError: one runs."""

    def __init__(self, state: Path) -> None:
        self._path = path = Paths(str(state)).lock
        self._made = not path.parent.exists()
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise BackupError(f"a gateway runs in {state}: stop it first (gatepost stop)") from error

    def release(self) -> None:
        """Let go, and leave nothing behind that was not there."""
        if self._made:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._path.parent.rmdir()
        os.close(self._fd)


def list_exchanged(manifest: Manifest) -> list[str]:
    """Return the first names below the state directory that a backup brings, and that are exchanged for its own."""
    return sorted({entry.name.split("/")[1] for entry in manifest.files if entry.name.startswith(f"{STATE}/")})


def put_in_place(laid: Path, manifest: Manifest, state: Path, conf_file: Path, now: float = 0.0) -> Path:
    """Put the files laid out in `laid` (below `state`) in place, and return where what was there is kept.

    Each first name below the state directory is exchanged as a whole; whose the state directory is, owns what comes.
    """
    beside = state / f"{KEPT_BESIDE}{time.strftime('%Y%m%d-%H%M%S', time.localtime(now or time.time()))}"
    beside.mkdir(0o700)
    owner = state.stat()
    for entry in manifest.files:
        path = laid / entry.name
        path.chmod(entry.mode & 0o750)
    for path in (laid, *laid.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    if (laid / STATE).is_dir():
        for path in sorted((laid / STATE).iterdir()):
            # What SQLite keeps next to a database would be played into the one that comes.
            for name in (path.name, *(path.name + ending for ending in _ASIDE)):
                if os.path.lexists(state / name):
                    (state / name).rename(beside / name)
            path.rename(state / path.name)
        # A backup from before there were formats: the next start looks at what it brought.
        if not any(entry.name == f"{STATE}/{FORMAT_FILE}" for entry in manifest.files):
            (state / FORMAT_FILE).unlink(missing_ok=True)
        _leave_mail(state, beside, manifest)
    if (laid / OUTSIDE).is_dir():
        (laid / OUTSIDE).rename(beside / "files-from-elsewhere")
    for path in (laid / CONFIGURATION).iterdir() if (laid / CONFIGURATION).is_dir() else ():
        _place_configuration(path, conf_file, beside)
    return beside


def _leave_mail(state: Path, beside: Path, manifest: Manifest) -> None:
    """Put queue and stores back that lie deeper in what was exchanged."""
    for place in manifest.left_out:
        check_name(f"{STATE}/{place}", mail=True)
        parts = [beside.joinpath(*place.split("/")[: depth + 1]) for depth in range(place.count("/") + 1)]
        if all(part.is_dir() and not part.is_symlink() for part in parts) and not os.path.lexists(state / place):
            (state / place).parent.mkdir(0o700, parents=True, exist_ok=True)
            parts[-1].rename(state / place)


def _place_configuration(path: Path, conf_file: Path, beside: Path) -> None:
    """Put the configuration file in place, by copying: it may be on another disk."""
    mode = 0o640
    if conf_file.exists():
        mode = conf_file.stat().st_mode & 0o777
        shutil.copyfile(conf_file, beside / conf_file.name)
        (beside / conf_file.name).chmod(0o600)
    conf_file.parent.mkdir(0o755, parents=True, exist_ok=True)
    fresh = conf_file.with_name(f".{conf_file.name}.restored")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(path.read_bytes())
        os.fsync(file.fileno())
    if conf_file.exists() and os.geteuid() == 0:
        before = conf_file.stat()
        os.chown(fresh, before.st_uid, before.st_gid)
    fresh.replace(conf_file)
