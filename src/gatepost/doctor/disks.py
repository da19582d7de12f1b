"""Directories and disks: is everything there that the gateway writes to, may it write there, and is there room?"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State
from gatepost.storage.places import store_places
from gatepost.storage.tracking.damage import ASIDE

AREA: Final = "disk"
SHORT_BYTES: Final = 512 * 1024**2
"""Free bytes below which a warning is given: a gateway under load writes some 50 MB a second ..."""
SCARCE_BYTES: Final = 64 * 1024**2
"""... and an error: databases can no longer be taken anew."""
SHORT_INODES: Final = 5000
_NAMES_SHOWN: Final = 3


def check_disks(config: Config) -> Iterator[Finding]:
    """Look at every directory the gateway writes to."""
    state = Path(config.relay.state_path)
    places = {
        str(state): "state",
        config.path.queue_path: "queue",
        config.path.control_path: "control files",
        config.path.bases_path: "databases",
        **{place.directory: "store" for place in store_places(config)},
    }
    if config.tracking.enabled:
        places[str(state / "tracking")] = "tracking"
        yield from _check_aside(state / "tracking")
    log = config.options.log_filename
    if log not in {"", "syslog"}:
        places.setdefault(str(Path(log).parent), "log")
    owner = _owner(state)
    devices: set[int] = set()
    reserve = config.limits.minimal_queue_free_space_size
    for directory, what in places.items():
        yield from _check_directory(Path(directory), what, owner)
        try:
            device = Path(directory).stat().st_dev
        except OSError:
            continue
        if device not in devices or what == "queue":
            devices.add(device)
            yield from _check_room(directory, what, reserve if what == "queue" else 0)
    if log not in {"", "syslog"}:
        yield from _check_log(Path(log), owner)


def _check_aside(tracking: Path) -> Iterator[Finding]:
    names = sorted(path.name for path in tracking.glob(f"*{ASIDE}*") if not path.name.endswith(("-wal", "-shm")))
    if names:
        shown = ", ".join(names[:_NAMES_SHOWN]) + (" …" if len(names) > _NAMES_SHOWN else "")
        text = f"files of tracking were damaged and put aside in {tracking}: {shown}; what is in them is not found"
        mend = "look at the disk and the kernel's log; remove them when nobody wants to try to read them any more"
        yield Finding("tracking:aside", AREA, State.WARNING, text, mend)


def _owner(directory: Path) -> int:
    try:
        return directory.stat().st_uid
    except OSError:
        return os.geteuid()


def _check_directory(directory: Path, what: str, owner: int) -> Iterator[Finding]:
    key = f"directory:{directory}"
    try:
        found = directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        yield _judge_absent(directory, what, owner)
        return
    except OSError as error:
        mend = "give the gateway's user the right to enter it and those above it"
        yield Finding(key, AREA, State.ERROR, f"{what} directory {directory}: {error.strerror}", mend)
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding(key, AREA, State.ERROR, f"{directory} is no directory", f"move it away: {what} belongs there")
    elif not _may_write(directory, found, owner):
        mend = f"chown -R {owner} {directory}, or mount it writable (`fsck` first, if its disk failed)"
        yield Finding(key, AREA, State.ERROR, f"{what} directory {directory} cannot be written", mend)
    elif found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX:
        mend = f"chmod o-w {directory}"
        yield Finding(key, AREA, State.ERROR, f"{what} directory {directory}: everybody may write there", mend)
    else:
        yield Finding(key, AREA, State.OK, f"{what} directory {directory}")


def _judge_absent(directory: Path, what: str, owner: int) -> Finding:
    """Judge a directory that is not there: may it be made where it is to be?"""
    key = f"directory:{directory}"
    above = next(each for each in directory.parents if each.exists())
    if not above.is_dir():
        mend = f"move {above} away, or name another directory in the configuration"
        text = f"{what} directory {directory} cannot be made: {above} is no directory"
        return Finding(key, AREA, State.ERROR, text, mend)
    if _may_write(above, above.stat(), owner):
        return Finding(key, AREA, State.OK, f"{what} directory {directory}: made when it is needed")
    mend = f"mkdir -p {directory} && chown {owner} {directory}, or name another directory in the configuration"
    text = f"{what} directory {directory} is not there and cannot be made: {above} cannot be written"
    return Finding(key, AREA, State.ERROR, text, mend)


def _may_write(directory: Path, found: os.stat_result, owner: int) -> bool:
    if os.statvfs(directory).f_flag & os.ST_RDONLY or not _takes_files(directory):
        return False
    if os.geteuid() == 0 and owner != 0:  # root may anything: what counts is the gateway's user
        return found.st_uid == owner or bool(found.st_mode & 0o022)
    return os.access(directory, os.W_OK | os.X_OK)


def _takes_files(directory: Path) -> bool:
    """Tell whether the file system takes a file: one that fell read-only after an error may still call itself writable.
    The file has no name, and leaves nothing.
    """
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:  # anything else says little: not every file system knows files without names
        return error.errno not in {errno.EROFS, errno.EIO}
    return True


def _check_room(directory: str, what: str, reserve: int) -> Iterator[Finding]:
    room = os.statvfs(directory)
    free, inodes = room.f_bavail * room.f_frsize, room.f_favail
    key, text = f"space:{directory}", f"{free / 1024**2:.0f} MiB free for {what} ({directory})"
    mend = "make room: old files in stores (`gatepost quarantine`), logs, other programs"
    if free < max(SCARCE_BYTES, reserve):
        why = ": reception pauses" if reserve and free < reserve else ""
        yield Finding(key, AREA, State.ERROR, f"{text}{why}", mend)
    elif free < max(SHORT_BYTES, 2 * reserve):
        yield Finding(key, AREA, State.WARNING, text, mend)
    else:
        yield Finding(key, AREA, State.OK, text)
    if room.f_files and inodes < SHORT_INODES:
        yield Finding(
            f"inodes:{directory}", AREA, State.ERROR, f"{inodes} files can still be made in {directory}", mend
        )


def _check_log(log: Path, owner: int) -> Iterator[Finding]:
    try:
        found = log.stat()
    except OSError:
        return
    if os.geteuid() == 0 and owner != 0:
        writable = found.st_uid == owner or bool(found.st_mode & 0o022)
    else:
        writable = os.access(log, os.W_OK)
    if not writable:
        mend = f"chown {owner} {log}, then reload"
        yield Finding(f"log:{log}", AREA, State.ERROR, f"log {log} cannot be written: lines are lost", mend)
