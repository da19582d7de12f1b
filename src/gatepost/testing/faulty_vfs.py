"""A disk in memory that tells synced from unsynced bytes, loses power, fills up and fails to sync.

`SimulatedDisk` is the disk; `SimulatedFiles` (a `FileLayer`) and a SQLite VFS registered by `mounted` both write to
it, so that database and content files share one power cut. After the cut every call fails; `survivor` is what the next
start finds: synced bytes for certain, of the unsynced ones any subset of sectors, of unsynced names any they had.

What it grants is what POSIX grants, no more: fsync of a file keeps its bytes, fsync of a directory keeps its names, a
write harms no neighbouring bytes. That SQLite syncs the directory of a new log by itself is not relied on.
"""

import contextlib
import errno
import os
import random
import threading
import types
from collections.abc import Generator, Iterable

import apsw

from gatepost.spool.files import FileLayer

SECTOR_SIZES = (512, 4096)
"""What a disk writes whole; each cut takes one of them."""

LOG = "log"
DATABASE = "database"
CONTENT = "content"
CONTENT_NAMES = "content-names"
SHARD_NAMES = "shard-names"
SYNCS = (LOG, DATABASE, CONTENT, CONTENT_NAMES, SHARD_NAMES)
"""The classes of sync that can be ignored or made to fail."""


class SimulatedFile:
    """The bytes of one file: as synced, as a reader sees them, and the writes in between."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.current = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []
        """(offset, bytes) of a write, (length, None) of a truncation, in order."""

    def write(self, offset: int, data: bytes) -> None:
        _put(self.current, offset, data)
        self.pending.append((offset, data))

    def truncate(self, length: int) -> None:
        del self.current[length:]
        self.pending.append((length, None))

    def sync(self) -> None:
        for offset, data in self.pending:
            if data is None:
                del self.durable[offset:]
            else:
                _put(self.durable, offset, data)
        self.pending.clear()

    def survivor(self, chance: random.Random, keep: float, sector: int) -> "SimulatedFile":
        """Return the file as found after the cut, each unsynced sector kept with probability `keep`."""
        found = SimulatedFile()
        found.durable = bytearray(self.durable)
        for offset, data in self.pending:
            if data is None:
                if chance.random() < keep:
                    del found.durable[offset:]
                continue
            start = 0
            while start < len(data):
                end = min(len(data), start + sector - (offset + start) % sector)
                if chance.random() < keep:
                    _put(found.durable, offset + start, data[start:end])
                start = end
        found.current = bytearray(found.durable)
        return found


def _put(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


class SimulatedDisk:
    """Files by path, and what of their names is synced. Safe to use from several threads."""

    def __init__(self, cut_after: int | None = None, ignored: Iterable[str] = ()) -> None:
        """`cut_after`: operations until the power goes. `ignored`: classes of sync that do nothing."""
        self.cut_after = cut_after
        self.ignored = frozenset(ignored)
        self.failing: frozenset[str] = frozenset()
        """Classes of sync that fail with an input/output error."""
        self.capacity: int | None = None
        """Bytes of all files together beyond which writes find no space."""
        self.read_only = False
        self.operations = 0
        self.dead = False
        self.names: dict[str, SimulatedFile] = {}
        self.directories: set[str] = set()
        self._durable_names: dict[str, SimulatedFile] = {}
        self._past_names: dict[str, list[SimulatedFile | None]] = {}
        self._lock = threading.RLock()

    def survivor(self, chance: random.Random) -> "SimulatedDisk":
        """Return the disk as the next start finds it."""
        disk = SimulatedDisk()
        disk.directories = set(self.directories)
        sector = chance.choice(SECTOR_SIZES)
        keep = chance.choice((0.0, 0.5, 0.9, 1.0))
        names = dict(self._durable_names)
        for path, states in self._past_names.items():
            state = chance.choice([names.get(path), *states]) if chance.random() < keep else names.get(path)
            names.pop(path, None)
            if state is not None:
                names[path] = state
        for path in list(names):
            parent = os.path.dirname(path)  # noqa: PTH120
            if parent in self.directories and parent not in names:
                del names[path]
        disk.directories &= names.keys()
        files: dict[int, SimulatedFile] = {}
        for path, file in names.items():
            found = files.setdefault(id(file), file.survivor(chance, keep, sector))
            disk.names[path] = found
            disk._durable_names[path] = found
        return disk

    def _step(self) -> None:
        if not self.dead:
            self.operations += 1
            if self.cut_after is not None and self.operations > self.cut_after:
                self.dead = True
        if self.dead:
            raise OSError(errno.EIO, "the power is gone")

    def _rename(self, path: str, file: SimulatedFile | None) -> None:
        if file is None:
            self.names.pop(path, None)
        else:
            self.names[path] = file
        self._past_names.setdefault(path, []).append(file)

    def open(self, path: str, *, create: bool, exclusive: bool = False) -> SimulatedFile:
        with self._lock:
            self._step()
            file = self.names.get(path)
            if file is None:
                if not create:
                    raise FileNotFoundError(errno.ENOENT, "no such file", path)
                self._writable(0)
                file = SimulatedFile()
                self._rename(path, file)
            elif exclusive:
                raise FileExistsError(errno.EEXIST, "there is such a file", path)
            return file

    def _writable(self, more: int) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, "read-only disk")
        if self.capacity is not None and more > 0 and self.used() + more > self.capacity:
            raise OSError(errno.ENOSPC, "disk full")

    def used(self) -> int:
        """Return the bytes of all files."""
        return sum(len(file.current) for file in self.names.values())

    def write(self, file: SimulatedFile, offset: int, data: bytes) -> None:
        with self._lock:
            self._writable(offset + len(data) - len(file.current))
            if not self.dead:
                file.write(offset, bytes(data))
            self._step()

    def read(self, file: SimulatedFile, offset: int, amount: int) -> bytes:
        with self._lock:
            if self.dead:
                self._step()
            return bytes(file.current[offset : offset + amount])

    def truncate(self, file: SimulatedFile, length: int) -> None:
        with self._lock:
            self._step()
            file.truncate(length)

    def sync(self, file: SimulatedFile, kind: str) -> None:
        with self._lock:
            self._step()
            if kind in self.failing:
                raise OSError(errno.EIO, "the disk refuses to sync")
            if kind not in self.ignored:
                file.sync()

    def sync_directory(self, path: str) -> None:
        with self._lock:
            self._step()
            kind = CONTENT_NAMES if path in self.directories else SHARD_NAMES
            if kind in self.failing:
                raise OSError(errno.EIO, "the disk refuses to sync")
            if kind not in self.ignored:
                self._sync_names(path)

    def make_directory(self, path: str) -> None:
        """Create a directory below the one that stands for the whole disk; it is lost like any other name."""
        with self._lock:
            self._step()
            if path not in self.names:
                self._rename(path, SimulatedFile())
                self.directories.add(path)

    def _sync_names(self, directory: str) -> None:
        for path in [each for each in self._past_names if os.path.dirname(each) == directory]:  # noqa: PTH120
            file = self.names.get(path)
            if file is None:
                self._durable_names.pop(path, None)
            else:
                self._durable_names[path] = file
            del self._past_names[path]

    def unlink(self, path: str, *, durably: bool = False) -> None:
        with self._lock:
            self._step()
            self._rename(path, None)
            if durably:
                self._sync_names(os.path.dirname(path))  # noqa: PTH120


class SimulatedFiles(FileLayer):
    """Content files on a simulated disk."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._open: dict[int, SimulatedFile] = {}
        self._next = 1

    def create(self, path: str) -> int:
        file = self._disk.open(path, create=True, exclusive=True)
        self._next += 1
        self._open[self._next] = file
        return self._next

    def write(self, descriptor: int, data: bytes) -> None:
        file = self._open[descriptor]
        self._disk.write(file, len(file.current), data)

    def sync(self, descriptor: int) -> None:
        self._disk.sync(self._open[descriptor], CONTENT)

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def read(self, path: str) -> bytes:
        file = self._disk.open(path, create=False)
        return self._disk.read(file, 0, len(file.current))

    def size(self, path: str) -> int:
        return len(self._disk.open(path, create=False).current)

    def unlink(self, path: str) -> None:
        self._disk.unlink(path)

    def names(self, directory: str) -> list[str]:
        return [os.path.basename(path) for path in self._disk.names if os.path.dirname(path) == directory]  # noqa: PTH119, PTH120

    def make_directory(self, path: str) -> None:
        self._disk.make_directory(path)

    def sync_directory(self, path: str) -> None:
        self._disk.sync_directory(path)


def _sqlite_error(error: OSError, code: int) -> Exception:
    """Return what SQLite is to be told: its code of the failing operation, or that there is no space."""
    return apsw.exception_for(apsw.SQLITE_FULL if error.errno == errno.ENOSPC else code)


class _OpenFile:
    """An open file as SQLite uses it. Locks mean nothing: one connection has the disk."""

    def __init__(self, disk: SimulatedDisk, file: SimulatedFile, path: str) -> None:
        self._disk = disk
        self._file = file
        self._kind = LOG if path.endswith(("-wal", "-journal")) else DATABASE

    def excepthook(self, *_error: object) -> None:
        """Swallow what SQLite itself does not pass on: a dead disk also refuses the clean-up."""

    def xClose(self) -> None:  # noqa: N802
        pass

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        try:
            return self._disk.read(self._file, offset, amount)
        except OSError as error:
            raise _sqlite_error(error, apsw.SQLITE_IOERR_READ) from error

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        try:
            self._disk.write(self._file, offset, data)
        except OSError as error:
            raise _sqlite_error(error, apsw.SQLITE_IOERR_WRITE) from error

    def xTruncate(self, length: int) -> None:  # noqa: N802
        try:
            self._disk.truncate(self._file, length)
        except OSError as error:
            raise _sqlite_error(error, apsw.SQLITE_IOERR_TRUNCATE) from error

    def xSync(self, _flags: int) -> None:  # noqa: N802
        try:
            self._disk.sync(self._file, self._kind)
        except OSError as error:
            raise _sqlite_error(error, apsw.SQLITE_IOERR_FSYNC) from error

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._file.current)

    def xLock(self, _level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, _level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, _operation: int, _pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE


class SimulatedVfs(apsw.VFS):
    """SQLite's view of a simulated disk."""

    def __init__(self, name: str, disk: SimulatedDisk) -> None:
        super().__init__(name, base="")
        self._disk = disk

    def excepthook(
        self,
        etype: type[BaseException] | None,  # noqa: ARG002
        evalue: BaseException | None,  # noqa: ARG002
        etraceback: types.TracebackType | None,  # noqa: ARG002
    ) -> bool:
        """Swallow what SQLite itself does not pass on: a dead disk also refuses the clean-up."""
        return True

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        try:
            file = self._disk.open(path, create=bool(flags[0] & apsw.SQLITE_OPEN_CREATE)) if path else SimulatedFile()
        except OSError as error:
            raise _sqlite_error(error, apsw.SQLITE_CANTOPEN) from error
        flags[1] = flags[0]
        return _OpenFile(self._disk, file, path)  # type: ignore[return-value]

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        if filename not in self._disk.names:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE_NOENT)
        try:
            self._disk.unlink(filename, durably=syncdir)
        except OSError as error:
            raise _sqlite_error(error, apsw.SQLITE_IOERR_DELETE) from error

    def xAccess(self, pathname: str, _flags: int) -> bool:  # noqa: N802
        return pathname in self._disk.names


@contextlib.contextmanager
def mounted(disk: SimulatedDisk) -> Generator[str]:
    """Register a VFS over `disk`; yields its name."""
    name = f"simulated-{id(disk):x}"
    vfs = SimulatedVfs(name, disk)
    try:
        yield name
    finally:
        vfs.unregister()
