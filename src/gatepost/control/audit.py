"""The audit log: who changed what, who looked at whose mail, from where, and what came of it.

A directory of JSON lines, only ever appended to. Each entry carries the hash of the line before it, over all files: a
line that is changed, left out or moved breaks the chain from there on (`verify`). An entry is written when the act is
over, and synced within a moment.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.control.rights import Caller

FILE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of one file: then the next begins."""
FILES_LIMIT: Final = 100
"""Files kept: some four million entries; the oldest goes."""
TEXT_LIMIT: Final = 200
"""Characters of one text of the arguments."""
ARGUMENTS_LIMIT: Final = 2000
"""Bytes of all of them."""
ITEMS_LIMIT: Final = 20
"""Of one list."""
OUTCOME_LIMIT: Final = 500
LINE_LIMIT: Final = 16 * 1024
PAGE_LIMIT: Final = 500
_SECRET_WORDS: Final = ("password", "secret", "code", "ticket", "credential", "assertion", "attestation", "passphrase")
_CONCEALED: Final = "…"
NEW_FILE: Final = "audit.file"
"""The first entry of every file but the first one."""
LOG_ITSELF: Final = Caller("gatepost", frozenset(), via="master")
_BEGINNING: Final = "0" * 64
"""The hash before the first entry there ever was."""


class Entry(msgspec.Struct, frozen=True):
    """One act."""

    number: int
    at: str
    """ISO 8601, UTC."""
    who: str
    via: str
    address: str
    call: str
    arguments: dict[str, Any]
    outcome: str
    """"" = done, else why not."""
    former: str
    """SHA-256 of the line before, hexadecimal."""


class Verified(msgspec.Struct, frozen=True):
    """What `verify` found."""

    entries: int
    first: int
    """Number of the oldest entry that is kept."""
    last: int
    trouble: str = ""
    """Where the chain breaks, and how; "" = nowhere."""


class AuditLog:
    """The log of one gateway; the master alone writes it."""

    def __init__(self, directory: Path) -> None:
        """OSError when the directory cannot be used."""
        self._directory = directory
        directory.mkdir(0o700, parents=True, exist_ok=True)
        self._number, self._former, self._file = 0, _BEGINNING, directory / _name(1)
        self._unsynced = False
        files = _files(directory)
        if files:
            self._file = files[-1]
        torn = False
        for path in files[-2:]:  # the last may be new and empty
            for raw in _lines(path):
                torn = not raw.endswith(b"\n")
                self._former = _hash(raw)
                self._number += 1
                entry = _decode(raw)
                if entry is not None:
                    self._number = entry.number
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if torn:
            os.write(self._descriptor, b"\n")

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last line that was written."""
        return self._number, self._former

    def write(self, caller: Caller, call: str, arguments: Mapping[str, Any], outcome: str) -> None:
        """Append an entry. OSError: it is not there."""
        if os.fstat(self._descriptor).st_size >= FILE_LIMIT:
            self._begin_file()
            self.write(LOG_ITSELF, NEW_FILE, {"file": self._file.name}, "")
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        entry = Entry(
            self._number + 1,
            now,
            caller.name,
            caller.via,
            caller.address,
            call,
            conceal(arguments),
            outcome[:OUTCOME_LIMIT],
            self._former,
        )
        raw = msgspec.json.encode(entry) + b"\n"
        written = os.write(self._descriptor, raw)
        self._number, self._former, self._unsynced = entry.number, _hash(raw[:written]), True
        if written < len(raw):
            os.write(self._descriptor, b"\n")

    def sync(self) -> None:
        """Make what was written durable (may be called in a thread). OSError."""
        if self._unsynced:
            self._unsynced = False
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Sync and close: nothing can be written from here on."""
        descriptor, self._descriptor = self._descriptor, -1  # the number may soon be another file's
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _begin_file(self) -> None:
        """Go on in a new file, and let the oldest go."""
        number = int(self._file.stem.rpartition("-")[2]) + 1
        path = self._directory / _name(number)
        fresh = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fdatasync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor, self._file = fresh, path
        for old in _files(self._directory)[:-FILES_LIMIT]:
            old.unlink()


def conceal(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as they are written down: without secrets, cut."""
    kept: dict[str, Any] = {}
    room = ARGUMENTS_LIMIT
    for name, value in list(arguments.items())[:ITEMS_LIMIT]:
        shown = _CONCEALED if _is_secret(name) and value else _shorten(value, 3)
        room -= len(msgspec.json.encode(shown)) + len(name)
        if room < 0:
            kept["…"] = "cut"
            break
        kept[name[:TEXT_LIMIT]] = shown
    return kept


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)


def _shorten(value: Any, depth: int) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT] + "…"
        case _ if depth == 0:
            return "…"
        case list() | tuple():
            rest = [f"… {len(value) - ITEMS_LIMIT} more"] if len(value) > ITEMS_LIMIT else []
            return [_shorten(item, depth - 1) for item in value[:ITEMS_LIMIT]] + rest
        case dict():
            return {
                str(name)[:TEXT_LIMIT]: _CONCEALED if _is_secret(str(name)) and item else _shorten(item, depth - 1)
                for name, item in list(value.items())[:ITEMS_LIMIT]
            }
        case _:
            return _shorten(str(value), depth)


def read(
    directory: Path, *, before: int = 0, limit: int = 50, who: str = "", call: str = "", text: str = ""
) -> list[Entry]:
    """Return entries, the newest first: of somebody, of a call (or all that begin so: `queue.`), containing a text.
    `before`: only older ones than this number.
    """
    found: list[Entry] = []
    limit = min(limit, PAGE_LIMIT)
    raw_text = text.lower().encode("utf-8", "replace")
    # Looked for in the raw line first: of millions of entries few are worth reading.
    wanted = [b'"who":' + msgspec.json.encode(who)] if who else []
    wanted += [b'"call":' + msgspec.json.encode(call)[:-1]] if call else []
    for path in reversed(_files(directory)):
        for raw in reversed(list(_lines(path))):
            if not all(part in raw for part in wanted) or (raw_text and raw_text not in raw.lower()):
                continue
            entry = _decode(raw)
            if entry is None or (before and entry.number >= before):
                continue
            if raw_text and raw_text not in raw[: raw.rfind(b'"former"')].lower():
                continue  # it was found in the hash
            if (who and entry.who != who) or (call and entry.call != call and not entry.call.startswith(f"{call}.")):
                continue
            found.append(entry)
            if len(found) >= limit:
                return found
    return found


def verify(directory: Path, head: tuple[int, str] | None = None) -> Verified:
    """Check the whole chain. `head`: number and hash the last line must have, as the running gateway knows them."""
    count = first = last = 0
    former = ""
    for path in _files(directory):
        for raw in _lines(path):
            entry = _decode(raw)
            count += 1
            if entry is None:
                # A power failure tears the last line; the entry after it vouches for what is left.
                last += 1
                former = _hash(raw)
                continue
            where = f"{path.name}: entry {entry.number}"
            if not first:
                first = entry.number
                begins = entry.former == _BEGINNING if entry.number == 1 else entry.call == NEW_FILE
                if not begins:
                    return Verified(count, first, entry.number, f"{where} does not begin a file: others are missing")
            elif entry.number != last + 1:
                return Verified(count, first, last, f"{where} follows entry {last}")
            elif entry.former != former:
                return Verified(count, first, last, f"{where}: the entry before it has been changed")
            last, former = entry.number, _hash(raw)
    if head is not None and head != (last, former or _BEGINNING):
        return Verified(count, first, last, f"ends at entry {last}, but {head[0]} were written")
    return Verified(count, first, last)


def _name(number: int) -> str:
    return f"audit-{number:06}.jsonl"


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("audit-*.jsonl"))


def _lines(path: Path) -> Iterator[bytes]:
    """Yield lines with their ends; a line longer than any of ours comes in pieces."""
    with path.open("rb") as file:
        while raw := file.readline(LINE_LIMIT):
            yield raw


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw.rstrip(b"\n")).hexdigest()


def _decode(raw: bytes) -> Entry | None:
    try:
        return msgspec.json.decode(raw, type=Entry)
    except msgspec.MsgspecError:
        return None
