"""Passwords: the users that may sign in, from a file of `name:argon2 hash` lines, and the checking of a password.

Called by `relay.access` and by `gatepost password`. A check takes tens of milliseconds on purpose, so it happens in a
thread of its own; who fails again and again from one address has to wait.
"""

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from gatepost.config.external import explain_os_error

FILE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a password file: a hundred thousand users."""
PASSWORD_LIMIT: Final = 1024
"""Characters of a password: beyond that nobody types, and hashing must stay cheap."""
THREADS: Final = 2
"""Checks at the same time in one relay: each takes 64 MiB and a core for a moment."""
WAITING_LIMIT: Final = 64
"""Checks that may wait for a thread: beyond that clients are told to come back."""
FAILURES_FREE: Final = 3
"""Wrong passwords from one address before it has to wait."""
FAILURE_PAUSE_S: Final = 2.0
"""First pause; it doubles with each further failure."""
FAILURE_PAUSE_LIMIT_S: Final = 900.0
FAILURES_FORGOTTEN_S: Final = 3600.0
"""After so long without one the failures of an address are forgotten."""
ADDRESSES_LIMIT: Final = 10_000
"""Addresses with failures that are remembered; the oldest are forgotten first."""
_NAME_LIMIT: Final = 255


class PasswordFileError(Exception):
    """The file cannot be used; says why, with the line."""


def hasher() -> argon2.PasswordHasher:
    """Return the hasher of new passwords: Argon2id with the parameters of RFC 9106 §4 for little memory."""
    return argon2.PasswordHasher()


def parse_passwords(text: str, path: str = "") -> dict[str, str]:
    """Return hashes by user name (folded). Blank lines and comments are skipped. PasswordFileError for others."""
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, hashed = line.strip().rpartition(":")
        if not colon or not hashed.startswith("$argon2"):
            raise PasswordFileError(f"{path}:{number}: not `name:argon2 hash`")
        name = check_name(name, f"{path}:{number}: ")
        if name in users:
            raise PasswordFileError(f"{path}:{number}: user {name!r} is given twice")
        users[name] = hashed
    return users


def read_passwords(path: Path) -> dict[str, str]:
    """Read a password file. PasswordFileError."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
        if len(data) > FILE_LIMIT:
            raise PasswordFileError(f"{path}: larger than {FILE_LIMIT} bytes")
        return parse_passwords(data.decode("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else error
        raise PasswordFileError(f"{path}: {reason}") from error


def check_name(name: str, where: str = "") -> str:
    """Return a user name in the form it is compared in. PasswordFileError when it cannot be one."""
    if not name or len(name) > _NAME_LIMIT or not name.isprintable() or name != name.strip() or name[0] == "#":
        raise PasswordFileError(f"{where}{name[:60]!r} cannot be a user name")
    return name.casefold()


def verify(hashed: str, password: str) -> bool:
    """Tell whether a password has this hash. Slow. PasswordFileError when the hash is none."""
    try:
        return hasher().verify(hashed, password)
    except VerifyMismatchError:
        return False
    except (InvalidHashError, VerificationError) as error:
        raise PasswordFileError("a hash cannot be read") from error


class FailureLog:
    """Failed attempts by address. Sans-I/O: the time is given. Threads may share it."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def blocked(self, address: str, now: float) -> bool:
        """Tell whether an address has to wait before it may try again."""
        count, last = self._failures.get(address, (0, 0.0))
        return now < last + _pause(count)

    def failed(self, address: str, now: float) -> None:
        """Note a failure."""
        with self._lock:
            count, last = self._failures.pop(address, (0, now))
            self._failures[address] = ((count if now - last < FAILURES_FORGOTTEN_S else 0) + 1, now)
            if len(self._failures) > ADDRESSES_LIMIT:
                self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget its failures."""
        with self._lock:
            self._failures.pop(address, None)


class PasswordFile:
    """The users of one configuration; the file is read anew when it changes."""

    def __init__(
        self,
        path: str,
        failures: FailureLog,
        clock: Callable[[], float] = time.monotonic,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`report` is told, once, of a file that cannot be used."""
        self._report = report
        self._told = ""
        self._path = Path(path)
        self._failures = failures
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, "password")
        self._waiting = 0
        self._read_as: tuple[int, int, int] | None = None
        self._broken_as: tuple[int, int, int] | None = None
        self._why_broken = ""
        """What the file was when it could not be used, and why: asked at each mail, it is read once."""
        self._users: dict[str, str] = {}
        self._secret = secrets.token_bytes(32)
        self._right: dict[str, tuple[str, bytes]] = {}
        """By user the hash in force and a keyed digest of the password that was found to have it: a program that signs
        in for every mail is checked the dear way once."""

    async def check(self, address: str, user: str, password: str) -> bool | None:
        """Tell whether a user at an address may sign in; None: cannot be told now, or the address has to wait."""
        if self._failures.blocked(address, self._clock()) or self._waiting >= WAITING_LIMIT:
            return None
        if len(password) > PASSWORD_LIMIT:
            return False
        self._waiting += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._check, address, user, password
            )
        except PasswordFileError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._report(f"nobody can sign in: {error}")
            return None
        finally:
            self._waiting -= 1
        self._told = ""
        return right

    def has_changed(self, user: str, credential: str) -> bool:
        """Tell whether this is no longer the hash of the user's password. A file that cannot be used (which is told at
        the next sign-in) says nothing new.
        """
        with contextlib.suppress(PasswordFileError):
            self._current()
        return self._read_as is not None and self.hash_of(user) != credential

    def hash_of(self, user: str) -> str:
        """Return the hash of a user's password as the file was read last, "" for nobody."""
        return self._users.get(user.casefold(), "")

    def _check(self, address: str, user: str, password: str) -> bool | None:
        """In a thread. None: others from the address have guessed wrong while this one waited for its turn."""
        if self._failures.blocked(address, self._clock()):
            return None
        right = self._is_right(user, password)
        if right:
            self._failures.succeeded(address)
        else:
            self._failures.failed(address, self._clock())
        return right

    def _is_right(self, user: str, password: str) -> bool:
        hashed = self._current().get(user.casefold())
        if hashed is None:
            # As slow as for a user there is, so that the time does not tell who exists.
            hasher().hash(password)
            return False
        digest = hashlib.blake2b(password.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=32).digest()
        former = self._right.get(user.casefold())
        if former is not None and former[0] == hashed and hmac.compare_digest(former[1], digest):
            return True
        right = verify(hashed, password)
        if right:
            self._right[user.casefold()] = (hashed, digest)
        return right

    def _current(self) -> dict[str, str]:
        try:
            state = self._path.stat()
        except OSError as error:
            raise PasswordFileError(f"{self._path}: {explain_os_error(error)}") from error
        read_as = (state.st_mtime_ns, state.st_size, state.st_ino)
        if read_as not in {self._read_as, self._broken_as}:
            try:
                users = read_passwords(self._path)
            except PasswordFileError as error:
                self._broken_as, self._why_broken = read_as, str(error)
            else:
                self._users, self._right, self._read_as = users, {}, read_as
        if read_as != self._read_as:
            raise PasswordFileError(self._why_broken)
        return self._users


def _pause(count: int) -> float:
    if count < FAILURES_FREE:
        return 0.0
    return min(FAILURE_PAUSE_S * 2.0 ** min(count - FAILURES_FREE, 16), FAILURE_PAUSE_LIMIT_S)
