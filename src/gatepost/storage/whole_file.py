"""Files that are there whole or not at all: `replace_file` for our own, `rewrite_file` for an administrator's.

Called by whoever keeps a small file that is written anew each time. Promises: after a crash or a power failure the file
is the old one or the new one; when it cannot be written the old one stays alone, and OSError says why.
"""

import os
import tempfile
from pathlib import Path


def replace_file(
    path: Path, raw: bytes, *, mode: int = 0o600, owner: os.stat_result | None = None, group_only: bool = False
) -> None:
    """Put `raw` in a file's place. One writer at a time: what a broken-off one left behind is overwritten.

    `owner`: whose the file is to be, as far as we may give it away; with `group_only` it stays ours, and only its group
    becomes that of `owner`.
    """
    fresh = path.with_name(f".{path.name}.new")
    # Root writes into the gateway's directories, too: a link laid there must not lead it to a file of its own.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb"):
            os.fchmod(descriptor, mode)
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, -1 if group_only else owner.st_uid, owner.st_gid)
            _fill(descriptor, raw)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync_names(path.parent)


def rewrite_file(path: Path, raw: bytes) -> None:
    """Put `raw` in the place of a file that people edit, too: links are followed, owner and permissions stay."""
    place = path.resolve()
    before = place.stat() if place.exists() else None
    descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with os.fdopen(descriptor, "wb"):
            if before is not None:
                os.fchmod(descriptor, before.st_mode & 0o7777)
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
            _fill(descriptor, raw)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_names(place.parent)


def _fill(descriptor: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _sync_names(directory: Path) -> None:
    """Make the change of names durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
