"""Mending a shard whose database is damaged: everything that can be read goes into a new one, which takes its place.

Called by `gatepost queue repair`, with the shard's relay stopped. The damaged shard is never written to: it is renamed
and stays beside the new one (its content files are the same files, by hard links), so that mending can be done again.
What follows from the messages (numbers, destinations of the queue) is made anew by `recount` when a relay opens the
shard. Content of messages whose row is gone is put aside as files, for without a row the next start would remove it.
Contents are compared with their checksums, in a sound database, too: what a relay will not send is told before.
"""

import errno
import itertools
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
from gatepost.spool.content import content_path, parse_content_name, read_content_file
from gatepost.spool.files import FileLayer
from gatepost.spool.interface import ContentRef, SpoolError, State, Stored
from gatepost.spool.page_file import PageFile
from gatepost.spool.reading import Reader
from gatepost.spool.salvage import copy_rows
from gatepost.spool.schema import PAGE_BYTES, TABLES, TALLIES, VERSION, Tally, close_connection
from gatepost.spool.shard import ShardLock, finish_mending, mended_name

LEFT = "left-over"
"""Directory of the damaged shard, made by a repair: contents that no message names any more."""

_DATABASE, _LOG, _CONTENT = "spool.db", "spool.db-wal", "content"
_SOUND = [("ok",)]
_DOUBT = "found in a damaged queue: perhaps delivered before"

Say = Callable[[str], None]


class Mending(msgspec.Struct, kw_only=True):
    """What a repair found and did."""

    shard: str
    sound: bool = False
    """The database is whole: nothing was done, and beside `incomplete` nothing is told."""
    messages: int = 0
    """Messages that are in the new database."""
    lost: list[str] = []
    """Queue ids of messages that were here and cannot be read."""
    nameless: int = 0
    """Messages that were here by the counter, beyond those: not even their queue ids can be read."""
    doubtful: list[str] = []
    """Queue ids of messages that may have been delivered before: kept, and held."""
    log_commits: int = 0
    """Commits that a start would leave out, because the log is damaged before them: they are read."""
    incomplete: list[str] = []
    """Queue ids of messages of which the content or who still waits for it cannot be read, or whose content is not what
    was accepted: kept, and not sent."""
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
    finish_mending(directory)
    if not (shard / _DATABASE).exists():
        raise SpoolError(f"{shard}/{_DATABASE} is missing: there is nothing to read from")
    lock = ShardLock(directory)
    fresh = shard.with_name(f".{shard.name}.fresh")
    kept = _free_name(shard.with_name(f"{shard.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"))
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        # Of a repair that was killed before its shard went out of the way: this one makes it anew, under that name.
        shutil.rmtree(mended_name(directory), ignore_errors=True)
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


def _free_name(place: Path) -> Path:
    """Return the name, or one like it: a repair that was killed a moment ago may have it."""
    return next(
        each for number in itertools.count() if not (each := place.with_name(f"{place.name}{'+' * number}")).exists()
    )


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
        source = PageFile(shard / _DATABASE, shard / _LOG, PAGE_BYTES)
    except OSError as error:
        raise SpoolError(f"cannot open {shard}/{_DATABASE}: {error.strerror}") from error
    try:
        if source.version > VERSION:
            raise SpoolError(f"the database says it has version {source.version}; this program knows version {VERSION}")
        say("looking for damage")
        mending.log_commits = source.log.behind
        mending.sound = source.log.damaged_at < 0 and _is_sound(shard, mending, say)
        if not mending.sound:
            _save(source, shard, fresh, mending, say)
    except apsw.Error as error:
        raise SpoolError(f"{shard}: {error}") from error
    finally:
        source.close()
    return mending


def _is_sound(shard: Path, mending: Mending, say: Say) -> bool:
    """Let SQLite look at all of it. SpoolError: the file cannot be opened at all."""
    try:
        source = _open_damaged(shard)
        try:
            if source.execute("PRAGMA integrity_check(1)").fetchall() != _SOUND:
                return False
            mending.incomplete = _find_incomplete(source, shard, say)
            return True
        finally:
            close_connection(source)
    except (apsw.CantOpenError, apsw.PermissionsError, apsw.BusyError) as error:
        raise SpoolError(f"cannot open {shard}/{_DATABASE}: {error}") from error
    except (apsw.Error, UnicodeDecodeError):
        return False


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


def _open_fresh(fresh: Path) -> apsw.Connection:
    """Return a new database with all tables and nothing in them."""
    target = apsw.Connection(str(fresh / _DATABASE))
    (fresh / _DATABASE).chmod(0o600)
    target.execute(f"PRAGMA page_size={PAGE_BYTES}")
    target.execute(TABLES)
    target.execute(f"PRAGMA user_version={VERSION}")
    return target


def _save(source: PageFile, shard: Path, fresh: Path, mending: Mending, say: Say) -> None:
    """Copy row by row, in one transaction, and put aside what belongs to no message."""
    target = _open_fresh(fresh)
    try:
        with target:
            say("reading its pages")
            found = copy_rows(source, target)
            saved = _ids(target, "SELECT id FROM message")
            if not saved and not found.named and not found.tally:
                raise SpoolError(
                    f"{shard}/{_DATABASE}: nothing in it can be read; "
                    f"the files in {shard}/{_CONTENT} are mails as they were received"
                )
            _hold(target, found.doubtful)
            mending.left_over = _put_aside(target, shard, fresh)
        mending.messages = len(saved)
        mending.lost = sorted(map(format_queue_id, found.named - saved))
        mending.doubtful = sorted(map(format_queue_id, found.doubtful))
        mending.nameless = max(0, _counted(found.tally) - mending.messages - len(mending.lost))
        mending.incomplete = _find_incomplete(target, shard, say)
        say("checking the new database")
        if target.execute("PRAGMA integrity_check(1)").fetchall() != _SOUND:
            raise SpoolError("the new database is not sound: the disk does not keep what is written to it")
    finally:
        close_connection(target)


def _ids(target: apsw.Connection, statement: str) -> set[int]:
    rows: Any = target.execute(statement)
    return {number for (number,) in rows}


def _find_incomplete(database: apsw.Connection, shard: Path, say: Say) -> list[str]:
    """Return the queue ids of messages that no relay will send, found as it finds them."""
    say("comparing contents with their checksums")
    contents, files = str(shard / _CONTENT), FileLayer()
    reader = Reader(database, contents, files)
    whole: dict[int, bool] = {}  # by content, which copies of a message share
    incomplete = []
    for number in sorted(_ids(database, "SELECT id FROM message")):
        stored = reader.fetch(number)
        if isinstance(stored, Stored):
            ref = stored.content
            if ref.id not in whole:
                whole[ref.id] = _is_readable(reader, ref, contents, files)
            if whole[ref.id]:
                continue
        incomplete.append(format_queue_id(number))
    return incomplete


def _is_readable(reader: Reader, ref: ContentRef, contents: str, files: FileLayer) -> bool:
    try:
        found = reader.content(ref)
        if isinstance(found, int):
            read_content_file(files, content_path(contents, ref.id), found)
    except SpoolError:
        return False
    return True


def _hold(target: apsw.Connection, messages: Iterable[int]) -> None:
    """Let messages wait for an operator that may have been delivered before."""
    for number in messages:
        target.execute("UPDATE message SET state=?, reason=? WHERE id=?", (State.HELD.value, _DOUBT, number))
        target.execute("UPDATE queue SET due=NULL WHERE message=?", (number,))


def _counted(numbers: bytes) -> int:
    """Return how many messages there were by the counter, which each commit keeps; 0: it cannot be read."""
    try:
        tally = TALLIES.decode(numbers) if numbers else Tally()
    except msgspec.DecodeError:
        return 0
    return tally.waiting + tally.ready + tally.held


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
    known = _ids(target, "SELECT id FROM content WHERE data IS NULL")
    for place in (shard / _CONTENT).iterdir() if (shard / _CONTENT).is_dir() else ():
        content_id = parse_content_name(place.name)
        if content_id is not None and content_id not in known:
            left.mkdir(0o700, exist_ok=True)
            os.link(place, left / place.name, follow_symlinks=False)
            number += 1
    return number


def _link_contents(shard: Path, fresh: Path) -> None:
    (fresh / _CONTENT).mkdir(0o700)
    for place in (shard / _CONTENT).iterdir() if (shard / _CONTENT).is_dir() else ():
        os.link(place, fresh / _CONTENT / place.name, follow_symlinks=False)


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
        if error.errno not in {errno.EINVAL, errno.ENOSYS}:
            kept.rename(fresh)
            raise
        # Not to be had everywhere (NFS). A start or a repair that finds no shard, and this name, goes on from here.
        kept.rename(mended_name(str(shard)))
        files.sync_directory(str(shard.parent))
        shard.rename(kept)
        finish_mending(str(shard))
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
