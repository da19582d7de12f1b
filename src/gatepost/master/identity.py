"""Whom the gateway runs as: root becomes the gateway's user before anything listens, and keeps one capability, to bind
ports below 1024.

Used by `master.daemon`, once, before there is any other process or thread. Filters, and every child that is executed,
lose that capability too.
"""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gatepost.control import privileges
from gatepost.master.exit_code import ExitCode, StartError

_NET_BIND_SERVICE: Final = 1 << 10
_NO_USER: Final = "there is no such user; make it (useradd --system), or name another one with --user"
_SHORTEST_TREE: Final = 3
"""Parts of a path whose whole tree may change its owner: `/var` is never ours."""


def become(user: str, trees: Iterable[Path], files: Iterable[Path]) -> None:
    """Become `user`, who then owns `trees` (made when missing) and `files` (made with their directories when missing).

    StartError 44: the user does not exist, or this process may not.
    """
    try:
        who = pwd.getpwnam(user)
        if os.getuid() != 0 and os.getuid() == who.pw_uid:
            return
        for tree in trees:
            _give_tree(tree, who)
        for file in files:
            _give_file(file, who)
        _switch(who)
    except (KeyError, OSError) as error:
        reason = _NO_USER if isinstance(error, KeyError) else str(error)
        raise StartError(ExitCode.IDENTITY, f"cannot become user {user}: {reason}") from error


def check_user(user: str) -> None:
    """Tell before anything is stopped or made whether `user` can be taken. StartError 44: it does not exist."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise StartError(ExitCode.IDENTITY, f"cannot become user {user}: {_NO_USER}") from None


def _give_tree(tree: Path, who: pwd.struct_passwd) -> None:
    if len(tree.parts) < _SHORTEST_TREE:
        raise OSError(f"{tree} is too near the root of the file system to be given to anybody")
    tree.mkdir(0o700, parents=True, exist_ok=True)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, who.pw_uid, who.pw_gid, follow_symlinks=False)


def _give_file(file: Path, who: pwd.struct_passwd) -> None:
    """Make a file and give it away; its directory goes along only when it is new: /var/log stays whose it is."""
    if not file.parent.exists():
        file.parent.mkdir(0o755, parents=True)
        os.chown(file.parent, who.pw_uid, who.pw_gid)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640))
    os.chown(file, who.pw_uid, who.pw_gid, follow_symlinks=False)


def _switch(who: pwd.struct_passwd) -> None:
    if who.pw_uid == 0:  # who wants root has it: without its capabilities no filter could become anybody else
        return
    privileges.prctl(privileges.PR_SET_KEEPCAPS, 1)
    os.initgroups(who.pw_name, who.pw_gid)
    os.setgid(who.pw_gid)
    os.setuid(who.pw_uid)
    try:
        privileges.set_capabilities(_NET_BIND_SERVICE)
    except OSError:  # there was none to keep
        privileges.set_capabilities()
    privileges.prctl(privileges.PR_SET_KEEPCAPS, 0)
