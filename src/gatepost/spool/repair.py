"""Mending a shard whose database is damaged: everything that can be read goes into a new one, which takes its place.

Called by `gatepost queue repair`, with the shard's relay stopped. The damaged shard is never written to: it is renamed
and stays beside the new one (its content files are the same files, by hard links), so that mending can be done again.
What follows from the messages (numbers, destinations of the queue) is made anew by `recount` when a relay opens the
shard. Content of messages whose row is gone is put aside as files, for without a row the next start would remove it.
"""

import errno
import os
import shutil
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apsw
import msgspec

from gatepost.model.ids import format_queue_id
from gatepost.spool.content import parse_content_name
from gatepost.spool.files import FileLayer
from gatepost.spool.interface import SpoolError, State
from gatepost.spool.salvage import UNREADABLE, Table, keys
from gatepost.spool.schema import PAGE_BYTES, TALLIES, VERSION, Tally, close_connection
from gatepost.spool.shard import ShardLock

LEFT = "left-over"
"""Directory of the damaged shard, made by a repair: contents that no message names any more."""

_DATABASE, _LOG, _CONTENT = "spool.db", "spool.db-wal", "content"
_SOUND = [("ok",)]
_TRIED_NUMBERS = 1_000_000
"""Records asked for one by one between two readable ones, at most."""

_INCOMPLETE = """SELECT id FROM message WHERE content NOT IN (SELECT id FROM content)
OR state = ? AND id NOT IN (SELECT message FROM queue) ORDER BY id"""

Say = Callable[[str], None]


class Mending(msgspec.Struct, kw_only=True):
    """What a repair found and did."""

    shard: str
    sound: bool = False
    """The database is whole: nothing was done."""
    messages: int = 0
    """Messages that are in the new database."""
    lost: list[str] = []
    """Queue ids of messages that were here and cannot be read."""
    nameless: int = 0
    """Messages that were here by the counter, beyond those: not even their queue ids can be read."""
    incomplete: list[str] = []
    """Queue ids of messages of which the content or who still waits for it cannot be read: kept, and not sent."""
    left_over: int = 0
    """Contents that no message names any more, put aside as files."""
    kept: str = ""
    """Directory of the damaged shard as it was; "" when nothing was changed."""


def repair(directory: str, say: Say, *, dry_run: bool = False) -> Mending:
    """Put a sound database in the place of a damaged one; with `dry_run` only tell what that would bring.

    SpoolError says why it cannot be (the shard is in use, too little space, nothing can be read); nothing is changed
    then. `say` is told what is being done: a million messages take minutes.
    """
    shard = Path(directory)
    if not (shard / _DATABASE).exists():
        raise SpoolError(f"{shard}/{_DATABASE} is missing: there is nothing to read from")
    lock = ShardLock(directory)
    fresh = shard.with_name(f".{shard.name}.fresh")
    kept = shard.with_name(f"{shard.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        _check_room(shard)
        fresh.mkdir(0o700)
        mending = _read(shard, fresh, say)
        if not mending.sound and not dry_run:
            say("putting it in place")
            _link_contents(shard, fresh)
            _sync(fresh)
            _put_in_place(shard, fresh, kept)
            mending.kept = str(kept)
    except OSError as error:
        raise SpoolError(f"{error.filename or directory}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        lock.release()
    return mending


def _check_room(shard: Path) -> None:
    need = sum((shard / name).stat().st_size for name in (_DATABASE, _LOG) if (shard / name).exists())
    free = shutil.disk_usage(shard).free
    if free < need:
        raise SpoolError(
            f"{shard}: {need >> 20} MB of free space are needed for the new database, there are {free >> 20}"
        )


def _read(shard: Path, fresh: Path, say: Say) -> Mending:
    """Read the damaged database; what can be read goes below `fresh`."""
    mending = Mending(shard=str(shard))
    try:
        source = _open_damaged(shard)
    except apsw.Error as error:
        raise SpoolError(f"cannot open {shard}/{_DATABASE}: {error}") from error
    try:
        say("looking for damage")
        try:
            if source.execute("PRAGMA integrity_check(1)").fetchall() == _SOUND:
                mending.sound = True
                return mending
        except UNREADABLE:
            pass
        _save(source, _open_fresh(source, fresh), shard, fresh, mending, say)
    except UNREADABLE as error:
        raise SpoolError(
            f"{shard}/{_DATABASE}: not even the list of its tables can be read ({error}); "
            f"the files in {shard}/{_CONTENT} are mails as they were received"
        ) from error
    except apsw.Error as error:
        raise SpoolError(f"{shard}: {error}") from error
    finally:
        close_connection(source)
    return mending


def _open_damaged(shard: Path) -> apsw.Connection:
    """Open the database so that neither it nor its log is changed."""
    path = shard / _DATABASE
    if not (shard / _LOG).exists():
        uri = f"file:{urllib.parse.quote(str(path))}?immutable=1"
        source = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        source.execute("PRAGMA writable_schema=1")  # a file shorter than it says is read, too
        return source
    source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    source.execute("PRAGMA writable_schema=1")
    # Alone in it there is no index of the log to be made; and nothing of the log is copied home.
    source.execute("PRAGMA locking_mode=EXCLUSIVE")
    source.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    source.execute("PRAGMA query_only=1")
    return source


def _open_fresh(source: apsw.Connection, fresh: Path) -> apsw.Connection:
    """Return a new database with the tables of the damaged one and nothing in them."""
    version = source.pragma("user_version")
    if not 0 < version <= VERSION:
        raise SpoolError(f"the database says it has version {version}; this program knows version {VERSION}")
    made: list[Any] = source.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    target = apsw.Connection(str(fresh / _DATABASE))
    (fresh / _DATABASE).chmod(0o600)
    target.execute(f"PRAGMA page_size={PAGE_BYTES}")
    for (statement,) in made:
        target.execute(statement)
    target.execute(f"PRAGMA user_version={version}")
    return target


def _save(
    source: apsw.Connection, target: apsw.Connection, shard: Path, fresh: Path, mending: Mending, say: Say
) -> None:
    """Copy row by row, in one transaction, and put aside what belongs to no message."""
    names = {name for (name,) in source.execute("SELECT name FROM sqlite_schema WHERE type='table'")}

    def copy(name: str, key: str, known: Callable[[], Iterable[Any]]) -> set[Any]:
        if name not in names:  # a table of a later version than the database's
            return set()
        say(f"reading {name}")
        return Table(source, name, key).copy(target, known)

    try:
        with target:
            lost = copy("message", "id", lambda: _message_ids(source))
            copy("queue", "message", lambda: keys(target, "SELECT id FROM message"))
            copy("content", "id", lambda: keys(target, "SELECT content FROM message"))
            copy("destination", "id", lambda: keys(target, "SELECT DISTINCT destination FROM queue"))
            copy("outbox", "first", lambda: _record_numbers(target))
            copy("view", "name", tuple)
            copy("release", "id", lambda: keys(source, "SELECT id FROM release INDEXED BY release_at"))
            mending.left_over = _put_aside(target, shard, fresh)
        mending.messages = len(keys(target, "SELECT id FROM message"))
        mending.lost = sorted(map(format_queue_id, lost))
        mending.nameless = max(0, _counted(source) - mending.messages - len(lost))
        incomplete: list[Any] = target.execute(_INCOMPLETE, (State.READY.value,)).fetchall()
        mending.incomplete = [format_queue_id(number) for (number,) in incomplete]
        say("checking the new database")
        if target.execute("PRAGMA integrity_check(1)").fetchall() != _SOUND:
            raise SpoolError("the new database is not sound: the disk does not keep what is written to it")
    finally:
        close_connection(target)


def _message_ids(source: apsw.Connection) -> set[Any]:
    """Return the ids of messages that other places name."""
    return (
        keys(source, "SELECT id FROM message INDEXED BY message_state")
        | keys(source, "SELECT message FROM queue")
        | keys(source, "SELECT message FROM queue INDEXED BY queue_due")
    )


def _counted(source: apsw.Connection) -> int:
    """Return how many messages there were by the counter, which each commit keeps; 0: it cannot be read."""
    try:
        row: Any = source.execute("SELECT numbers FROM tally").fetchone()
        tally = TALLIES.decode(row[0]) if row else Tally()
    except (*UNREADABLE, msgspec.DecodeError):
        return 0
    return tally.waiting + tally.ready + tally.held


def _record_numbers(target: apsw.Connection) -> Iterable[int]:
    """Return the numbers that records between the readable ones may have."""
    row: Any = target.execute("SELECT min(first), max(first) FROM outbox").fetchone()
    first, last = row
    return range(first, min(last, first + _TRIED_NUMBERS)) if first is not None else ()


def _put_aside(target: apsw.Connection, shard: Path, fresh: Path) -> int:
    """Take contents that no message names out of the new database into files; return their number."""
    number = 0
    left = fresh / LEFT
    orphans = "FROM content WHERE id NOT IN (SELECT content FROM message)"
    for content_id, crc, data in target.execute(f"SELECT id, crc, data {orphans}"):
        if data is not None and zlib.crc32(data) == crc:
            left.mkdir(0o700, exist_ok=True)
            place = left / format_queue_id(content_id)
            place.write_bytes(data)
            place.chmod(0o600)
            number += 1
    target.execute(f"DELETE {orphans}")
    known = keys(target, "SELECT id FROM content WHERE data IS NULL")
    for place in (shard / _CONTENT).iterdir() if (shard / _CONTENT).is_dir() else ():
        content_id = parse_content_name(place.name)
        if content_id is not None and content_id not in known:
            left.mkdir(0o700, exist_ok=True)
            os.link(place, left / place.name)
            number += 1
    return number


def _link_contents(shard: Path, fresh: Path) -> None:
    (fresh / _CONTENT).mkdir(0o700)
    for place in (shard / _CONTENT).iterdir() if (shard / _CONTENT).is_dir() else ():
        os.link(place, fresh / _CONTENT / place.name)


def _put_in_place(shard: Path, fresh: Path, kept: Path) -> None:
    """Exchange the two, so that at each moment there is a shard of this name: without one, a gateway that is started
    after a kill would make an empty one.
    """
    shutil.rmtree(shard / LEFT, ignore_errors=True)  # of a repair that was killed here: the same contents
    if (fresh / LEFT).exists():
        (fresh / LEFT).rename(shard / LEFT)
    files = FileLayer()
    fresh.rename(kept)  # under the first name the next repair would remove it, whichever of the two it is by then
    try:
        files.exchange(str(kept), str(shard))
    except OSError as error:
        kept.rename(fresh)
        if error.errno not in {errno.EINVAL, errno.ENOSYS}:
            raise
        shard.rename(kept)
        fresh.rename(shard)
    files.sync_directory(str(shard.parent))


def _sync(fresh: Path) -> None:
    files = FileLayer()
    for place in (*fresh.rglob("*"), fresh):
        if place.is_dir():
            files.sync_directory(str(place))
        elif place.name == _DATABASE or place.parent.name == LEFT:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            try:
                files.sync(descriptor)
            finally:
                os.close(descriptor)
