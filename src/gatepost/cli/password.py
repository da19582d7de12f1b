"""`gatepost password add|remove|check FILE USER`: the users that may sign in (`access.password_file`).

The file is replaced whole, readable for its owner only, so that a running gateway never sees half of it. Exit codes: 0
done (check: the password is right), 1 wrong options, 2 the file cannot be read or written, 4 no such user or wrong
password.
"""

import contextlib
import fcntl
import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.cli.choice import Yes, agreed
from gatepost.relay.passwords import PASSWORD_LIMIT, PasswordFileError, check_name, hasher, read_passwords, verify
from gatepost.storage.whole_file import rewrite_file

DONE = 0
WRONG_OPTIONS = 1
UNUSABLE = 2
NOT_DONE = 4

_HEADING = "# Users that may sign in: name:hash. Written by `gatepost password`.\n"

app = cyclopts.App(name="password", help="Users that may sign in.")

_Stdin = Annotated[
    bool, cyclopts.Parameter(name="--stdin", negative="", help="read the password from standard input, one line")
]


@app.command
def add(file: Path, user: str, *, stdin: _Stdin = False) -> int:
    """Add a user, or give one another password. The file is made when it is missing.

    Parameters
    ----------
    file
        The password file.
    user
        The name; capitals make no difference.
    """
    try:
        name = check_name(user)
        password = _ask(stdin=stdin, twice=True)
        if not password or len(password) > PASSWORD_LIMIT:
            return _say(f"a password has 1 to {PASSWORD_LIMIT} characters", WRONG_OPTIONS)
        hashed = hasher().hash(password)
        with _changing(file):
            users = read_passwords(file) if file.exists() else {}
            known = name in users
            users[name] = hashed
            _write(file, users)
    except PasswordFileError as error:
        return _say(str(error), UNUSABLE)
    except OSError as error:
        return _say(f"{file}: {error.strerror or error}", UNUSABLE)
    print(f"{name}: {'new password set' if known else 'added'}")
    return DONE


@app.command
def remove(file: Path, user: str, *, yes: Yes = False) -> int:
    """Remove a user, having asked.

    Parameters
    ----------
    file
        The password file.
    user
        The name.
    """
    try:
        name = check_name(user)
        if name in read_passwords(file) and not agreed(f"remove the user {name}?", yes=yes):
            return NOT_DONE
        with _changing(file):
            users = read_passwords(file)
            if users.pop(name, None) is None:
                return _say(f"{file} has no user {name}", NOT_DONE)
            _write(file, users)
    except PasswordFileError as error:
        return _say(str(error), UNUSABLE)
    except OSError as error:
        return _say(f"{file}: {error.strerror or error}", UNUSABLE)
    print(f"{name}: removed")
    return DONE


@app.command
def check(file: Path, user: str, *, stdin: _Stdin = False) -> int:
    """Tell whether a password is a user's.

    Parameters
    ----------
    file
        The password file.
    user
        The name.
    """
    try:
        name = check_name(user)
        hashed = read_passwords(file).get(name)
        if hashed is None:
            return _say(f"{file} has no user {name}", NOT_DONE)
        if not verify(hashed, _ask(stdin=stdin, twice=False)):
            return _say(f"{name}: wrong password", NOT_DONE)
    except PasswordFileError as error:
        return _say(str(error), UNUSABLE)
    print(f"{name}: right password")
    return DONE


def _ask(*, stdin: bool, twice: bool) -> str:
    """Return a password, typed unseen or from standard input."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if twice and getpass.getpass("Once more: ") != password:
        raise PasswordFileError("the two passwords differ")
    return password


@contextlib.contextmanager
def _changing(file: Path) -> Iterator[None]:
    """Keep two commands from changing the file at the same time: the directory is locked."""
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _write(file: Path, users: dict[str, str]) -> None:
    """Replace the file."""
    text = _HEADING + "".join(f"{name}:{hashed}\n" for name, hashed in sorted(users.items()))
    rewrite_file(file, text.encode())


def _say(text: str, code: int) -> int:
    print(f"gatepost password: {text}", file=sys.stderr)
    return code
