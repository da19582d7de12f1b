"""Who already has a message that its client was told to send again.

Used by `service.proxy_onward` where one answer holds for all recipients (SMTP, and programs for one message): when the
next hop took the message for some of them only, the client hears a temporary failure, and comes again for all. Whoever
is remembered does not get it twice. And by `service.told_senders`, for reports to senders.

One small file for each such message, in a directory that all relays of a gateway share, so that it does not matter
where the client comes again, and that outlives reloads, restarts and kills. Nothing waits for the disk: after a power
failure, or with a full disk, there is a duplicate, never a loss. While nothing is remembered a message costs one look
at the directory.
"""

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ENTRIES_LIMIT: Final = 4096
"""Messages remembered, 16 KB at most each; the oldest go first."""
ADDRESSES_LIMIT: Final = 1000
"""Addresses remembered of one message."""
KEEP_S: Final = 5 * 86_400.0
"""Mail systems try for so long."""
TIDY_S: Final = 3600.0
"""Pause between two looks for what is too old, or too much ..."""
TIDY_NOTES: Final = 256
"""... and notes after which there is one sooner."""
_SETTLED_NS: Final = 1_000_000_000
"""What changes within one tick of the file system's clock leaves the directory's time as it is: what was seen of a
directory counts for longer only when it had not changed for so long."""
_DIGEST: Final = 16
"""Bytes kept of an address: two with the same ones are not found."""
_MARKS: Final = re.compile(rb"\n(?:message-id|received|date):", re.IGNORECASE)
_OPEN: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class DeliveredMemory:
    """What was delivered in part, by one door."""

    def __init__(self, directory: Path | None, scope: str) -> None:
        """`directory`: shared by whoever serves the door; None: one of this user among the temporary files. `scope`:
        the door and where it leads: another one may yet have to get the same message.
        """
        self._directory = directory or Path(tempfile.gettempdir()) / f"gatepost-delivered-{os.geteuid()}"
        self._scope = scope.encode() + b"\0"
        self._seen_ns = -1
        """The directory's time of change when it was looked into; -1: it is to be looked into."""
        self._any = False
        self._tidy_at = 0.0
        self._notes = 0

    def key(self, sender: str, pieces: Iterable[bytes]) -> str:
        """Return what tells a message from others: the door, its sender and all of its content."""
        digest = hashlib.blake2b(self._scope + sender.encode() + b"\0", digest_size=16)
        for piece in pieces:
            digest.update(piece)
        return digest.hexdigest()

    def holds_any(self, now: float) -> bool:
        """Tell whether anything is remembered: else no key need be made. `now`: Unix time."""
        try:
            found = self._directory.lstat()
        except OSError:
            return False
        if not _is_ours(found):
            return False
        if now >= self._tidy_at:
            self._tidy(now)
        if found.st_mtime_ns != self._seen_ns:
            try:
                with os.scandir(self._directory) as entries:
                    self._any = next(entries, None) is not None
            except OSError:
                return False
            settled = time.time_ns() - found.st_mtime_ns > _SETTLED_NS
            self._seen_ns = found.st_mtime_ns if settled else -1
        return self._any

    def recall(self, key: str, addresses: Iterable[str], now: float) -> frozenset[str]:
        """Return who of these has it already."""
        have = self._read(key, now)
        return frozenset(each for each in addresses if _digest(key, each) in have) if have else frozenset()

    def _read(self, key: str, now: float) -> frozenset[bytes]:
        try:
            with (self._directory / key).open("rb") as file:
                if now - os.fstat(file.fileno()).st_mtime > KEEP_S:
                    return frozenset()
                raw = file.read(ADDRESSES_LIMIT * _DIGEST)
        except OSError:
            return frozenset()
        return frozenset(raw[at : at + _DIGEST] for at in range(0, len(raw), _DIGEST))

    def note(self, key: str, addresses: Iterable[str], now: float) -> None:
        """Remember that these have the message with this key. OSError: it cannot be."""
        digests = [_digest(key, each) for each in dict.fromkeys(addresses)]
        if not digests:
            return
        self._directory.mkdir(0o700, exist_ok=True)
        if not _is_ours(self._directory.lstat()):
            raise PermissionError(1, "it is not a directory of this user alone", str(self._directory))
        have = self._read(key, now)  # a client that comes twenty times tells of the same ones each time
        raw = b"".join([each for each in digests if each not in have][: ADDRESSES_LIMIT - len(have)])
        descriptor = os.open(self._directory / key, _OPEN, 0o600)
        try:
            os.write(descriptor, raw)  # at the end, whoever else writes: no relay takes back what another has noted
            os.utime(descriptor, (now, now))
        finally:
            os.close(descriptor)
        self._notes += 1
        if self._notes >= TIDY_NOTES:
            self._tidy(now)

    def forget(self, key: str) -> None:
        """Everybody has it now."""
        with contextlib.suppress(OSError):
            (self._directory / key).unlink()

    def _tidy(self, now: float) -> None:
        """Remove what is too old, and the oldest of what is too much."""
        self._tidy_at, self._notes = now + TIDY_S, 0
        found: list[tuple[float, str]] = []
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
        found.sort()
        surplus = len(found) - ENTRIES_LIMIT
        for number, (noted_at, path) in enumerate(found):
            if number < surplus or now - noted_at > KEEP_S:
                with contextlib.suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - of four thousand, as they were listed


def is_one_of_a_kind(content: bytes) -> bool:
    """Tell whether a message (its beginning, with the header) says which one it is. The same words of a device that
    writes no more than these are news each time, and must not be taken for what was dealt with before: of these there
    is a duplicate instead.
    """
    head = content.partition(b"\r\n\r\n")[0]
    return _MARKS.search(b"\n" + head) is not None


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _digest(key: str, address: str) -> bytes:
    return hashlib.blake2b(address.encode(), key=key.encode(), digest_size=_DIGEST).digest()
