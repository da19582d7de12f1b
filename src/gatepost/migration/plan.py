"""What is to be done to bring a state directory to a format: `plan_migration`. Reads, and changes nothing.

Asked at a start (`settling`) and by `gatepost migrate`, with the directory's lock held: no gateway runs in it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec

from gatepost.config.schema import Config
from gatepost.migration.parts import CURRENT, FIRST, FORMATS, PARTS, Kind, Part
from gatepost.migration.stamp import StampError, read_stamp

BUSY_MS = 5000
"""A process that has just been told to end may need a moment to let go of its files."""


class MigrationError(Exception):
    """It cannot be done, and nothing was; the text says why and what to do."""


class Move(msgspec.Struct, frozen=True):
    """One file that goes from one version of its part to another."""

    part: Part
    path: Path
    start: int
    end: int


class Plan(msgspec.Struct, frozen=True):
    """What is to be done."""

    start: int
    """The directory's format as it is; 0 = nothing is stored yet."""
    end: int
    moves: tuple[Move, ...]
    """In the order of `PARTS`."""
    files: int
    """Files that were looked at."""
    stamped: bool
    """The directory says its format."""

    @property
    def needed(self) -> bool:
        """Tell whether anything is to be written, be it the stamp alone."""
        return bool(self.moves) or self.start != self.end or not self.stamped


def plan_migration(config: Config, end: int = CURRENT) -> Plan:
    """Return what brings the state of a gateway to a format. MigrationError."""
    if end not in FORMATS:
        raise MigrationError(f"there is no format {end}; this program knows {FIRST} to {CURRENT}")
    try:
        stamp = read_stamp(Path(config.relay.state_path))
    except StampError as error:
        raise MigrationError(str(error)) from error
    if stamp is not None and stamp.format not in FORMATS:
        raise MigrationError(
            f"{config.relay.state_path} was written by version {stamp.version[:40]} (format {stamp.format}); this "
            f"program knows formats {FIRST} to {CURRENT}. Start that version, or have it bring the format back: "
            f"gatepost migrate --to {CURRENT}"
        )
    files = [(part, path) for part in PARTS for path in part.find(config) if path.is_file()]
    moves = []
    for part, path in files:
        found = _read_number(part, path)
        if found is None:
            continue
        if found > part.version:
            raise MigrationError(
                f"{path} has version {found}; this program knows version {part.version}: start the one that wrote it"
            )
        wanted = FORMATS[end][part.name]
        # Older than its format: an earlier attempt was cut off, or the file was put there from elsewhere.
        if found != wanted:
            moves.append(Move(part, path, found, wanted))
    start = stamp.format if stamp is not None else FIRST if moves else end if files else 0
    return Plan(start, end, tuple(moves), len(files), stamp is not None)


def _read_number(part: Part, path: Path) -> int | None:
    """Return the version of a file, None when it was not finished. MigrationError."""
    try:
        if part.kind is Kind.JSON:
            return msgspec.json.decode(path.read_bytes(), type=_Numbered).version
        if not path.stat().st_size:
            return None
        with open_alone(path) as connection:
            number = int(connection.pragma("user_version"))
            empty = not number and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    except (OSError, apsw.Error, msgspec.MsgspecError) as error:
        raise MigrationError(f"{path} cannot be read: {error}") from error
    return None if empty or number < part.oldest else number


class _Numbered(msgspec.Struct, frozen=True):
    version: int = 1


@contextlib.contextmanager
def open_alone(path: Path) -> Iterator[apsw.Connection]:
    """Open a database that nobody else has open. apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(BUSY_MS)
        # As the spool has it: its log is read without an index in shared memory, which would be left behind.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        # What is only looked at stays as it is, its log included.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        yield connection
    finally:
        connection.close(force=True)
