"""Files of mail systems: read with mode and owner, replaced in one step, compared. Used by `client.setup`."""

import difflib
import os
import stat
from pathlib import Path
from typing import Final

from gatepost.client.setup.values import Change, FileState, SetupError

FILE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a file that set-up touches; the largest is a program."""


def read_state(path: Path) -> FileState | None:
    """Return a file's state, None when it is not there. SetupError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SetupError(f"{path} is no plain file")
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise SetupError(f"{path} is larger than any configuration")
    return FileState(content, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def write_state(path: Path, state: FileState | None) -> None:
    """Make a file what `state` says, in one step that a power cut does not halve. OSError."""
    if state is None:
        path.unlink(missing_ok=True)
        _sync(path.parent)
        return
    new = path.with_name(f".{path.name}.gatepost")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(state.content)
            file.flush()
            owner = os.fstat(descriptor)
            if (owner.st_uid, owner.st_gid) != (state.uid, state.gid):
                os.fchown(descriptor, state.uid, state.gid)
            os.fchmod(descriptor, state.mode)  # behind the owner: a change of that takes set-user-id away
            os.fsync(descriptor)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def diff_of(change: Change) -> str:
    """Return a change as people read it: a unified diff, with mode and owner where they differ."""
    return describe_difference(change.path, change.before, change.after)


def describe_difference(path: str, old: FileState | None, new: FileState | None) -> str:
    """Return what differs between two states of a file."""
    notes = []
    if old is not None and new is not None:
        if old.mode != new.mode:
            notes.append(f"# {path}: mode {old.mode:o} -> {new.mode:o}\n")
        if (old.uid, old.gid) != (new.uid, new.gid):
            notes.append(f"# {path}: owner {old.uid}:{old.gid} -> {new.uid}:{new.gid}\n")
    elif new is not None:
        notes.append(f"# {path}: new, mode {new.mode:o}, owner {new.uid}:{new.gid}\n")
        if not new.mode & 0o077:  # a secret: what is shown ends in terminals' histories and in logs
            return f"{notes[0]}# its content is for its owner only, and not shown\n"
    texts = [_lines(old), _lines(new)]
    if None in texts:
        sizes = [f"{len(each.content)} bytes" if each else "not there" for each in (old, new)]
        return "".join((*notes, f"# {path}: a program, {sizes[0]} -> {sizes[1]}\n"))
    first, second = (path if each is not None else "/dev/null" for each in (old, new))
    lines = difflib.unified_diff(texts[0] or [], texts[1] or [], first, second)
    ended = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return "".join((*notes, *ended))


def _lines(state: FileState | None) -> list[str] | None:
    """Return the lines of a text, None for anything else."""
    if state is None:
        return []
    if b"\0" in state.content:
        return None
    return state.content.decode("utf-8", "backslashreplace").splitlines(keepends=True)
