"""Versions of the configuration file: each that was applied through the gateway, and those found edited by hand.

Kept below the state directory, one file each, readable for the gateway's user only; the oldest go first. Called by
`master.configuration`, and by `master.profiles` for rule sets.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

import msgspec

from gatepost.config.file_text import digest_of
from gatepost.control.socket import NotThere
from gatepost.storage.whole_file import replace_file

VERSIONS_LIMIT = 200
"""Kept versions: more than a year of weekly changes and what comes in between."""
BYTES_LIMIT = 64 * 1024 * 1024
"""Of all versions together: a long list in the file makes each of them long."""
COMMENT_LIMIT = 500
FOUND = "file"
"""`Version.via` of what somebody has written into the file."""
DIFF_LINES = 2000
"""Lines of a difference that are shown."""


class Version(msgspec.Struct, frozen=True):
    """One version of the file."""

    number: int
    at: float
    """Unix time."""
    who: str
    """"" = somebody who edited the file."""
    via: str
    comment: str
    digest: str
    text: str


class VersionRow(msgspec.Struct, frozen=True):
    """A version as it is listed."""

    number: int
    at: float
    who: str
    via: str
    comment: str
    current: bool
    """It is what the file says now."""
    diff: str = ""
    """What it changed, as a unified difference; secrets are not shown."""


class History:
    """The versions in one directory. One writer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def numbers(self) -> list[int]:
        """Return the numbers of the kept versions in order."""
        if not self._directory.is_dir():
            return []
        return sorted(int(path.stem) for path in self._directory.glob("*.json") if path.stem.isdigit())

    def written_by_gateway(self) -> bool:
        """Tell whether the gateway itself wrote a kept version: the file is its own user's then, who may write it."""
        return any(version.via != FOUND for version in map(self.read, self.numbers()) if version is not None)

    def read(self, number: int) -> Version | None:
        """Return a version, None when it is not kept any more, or damaged."""
        try:
            return msgspec.json.decode(self._path(number).read_bytes(), type=Version)
        except (OSError, msgspec.MsgspecError):
            return None

    def note_found(self, text: str, at: float) -> None:
        """Keep what the file says when it is not what we wrote last: somebody has edited it. OSError."""
        numbers = self.numbers()
        last = self.read(numbers[-1]) if numbers else None
        if last is None or last.digest != digest_of(text):
            comment = "as it was found" if last is None else "edited in the file"
            self._keep(Version(self._next(numbers), at, "", FOUND, comment, digest_of(text), text))

    def add(self, text: str, *, at: float, who: str, via: str, comment: str) -> int:
        """Keep a version that is about to be applied; return its number. OSError."""
        number = self._next(self.numbers())
        self._keep(Version(number, at, who, via, comment[:COMMENT_LIMIT], digest_of(text), text))
        return number

    def drop(self, number: int) -> None:
        """Forget a version: it was not applied after all."""
        self._path(number).unlink(missing_ok=True)

    def rows(self, digest: str, number: int | None, limit: int, diff: Callable[[str, str], str]) -> list[VersionRow]:
        """Return the newest versions without what they changed, or `number` alone, with it; `digest`: of what is in
        force now. NotThere.
        """
        numbers = self.numbers()
        chosen = numbers[-max(1, limit) :] if number is None else [int(number)]
        rows = []
        for each in reversed(chosen):
            version = self.read(each)
            if version is None:
                if number is not None:
                    raise NotThere(f"version {each} is not kept")
                continue
            changed = ""
            if number is not None:
                place = numbers.index(each)
                former = self.read(numbers[place - 1]) if place else None
                changed = diff(former.text if former is not None else "", version.text)
            current = version.digest == digest and each == max(numbers)
            rows.append(VersionRow(each, version.at, version.who, version.via, version.comment, current, changed))
        return rows

    def _next(self, numbers: list[int]) -> int:
        return numbers[-1] + 1 if numbers else 1

    def _keep(self, version: Version) -> None:
        self._directory.mkdir(0o700, parents=True, exist_ok=True)
        replace_file(self._path(version.number), msgspec.json.encode(version))
        room = BYTES_LIMIT
        for kept, number in enumerate(reversed(self.numbers())):
            room -= self._path(number).stat().st_size
            if kept >= VERSIONS_LIMIT or (room < 0 and kept > 1):
                self.drop(number)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:06}.json"


def build_diff(before: str, after: str, old: str, new: str) -> str:
    """Return the unified difference of two texts, "" when they are equal; a very long one is cut."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), old, new, lineterm="", n=2))
    if len(lines) > DIFF_LINES:
        lines = [*lines[:DIFF_LINES], f"… {len(lines) - DIFF_LINES} more lines"]
    return "\n".join(lines)
