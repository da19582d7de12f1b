"""The anti-spam databases as the checks get them: `Knowledge`, files by name.

Loaded once by the template process (`feeds.spam`); also made by whoever builds and signs a set, to see that every check
can read it.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Protocol

import msgspec

BASE_SET: Final = "spam-base"
"""Name of the set that comes with the product."""


class Keeper(Protocol):
    """Where compiled forms are kept between two starts."""

    def get(self, key: str) -> bytes | None:
        """Return what was kept under a key, byte for byte, or None."""

    def keep(self, key: str, raw: bytes) -> None:
        """Keep it if that can be done; never raises."""


class Knowledge(msgspec.Struct, frozen=True):
    """Files of the databases in use."""

    files: dict[str, bytes] = {}
    """By path below the set, with slashes; of a set other than the base, with the set's name and a colon in front."""
    keeper: Keeper | None = None

    def by_suffix(self, suffix: str) -> list[tuple[str, bytes]]:
        """Return (path, data) of the files with this suffix, in order of their paths."""
        return [(path, self.files[path]) for path in sorted(self.files) if path.endswith(suffix)]

    def compiled(self, what: str, sources: Iterable[bytes], make: Callable[[], bytes]) -> bytes:
        """Return the compiled form of `sources`, from the keeper if it has it, else made and kept.

        `what` names the form, its version and the library that reads it.
        """
        digest = hashlib.sha256(what.encode())
        for source in sources:
            digest.update(hashlib.sha256(source).digest())
        key = digest.hexdigest()
        kept = self.keeper.get(key) if self.keeper is not None else None
        if kept is not None:
            return kept
        made = make()
        if self.keeper is not None:
            self.keeper.keep(key, made)
        return made


def merge_sets(sets: Iterable[tuple[str, Mapping[str, bytes]]], keeper: Keeper | None = None) -> Knowledge:
    """Return the files of several sets, each (name, files by path), as one."""
    merged: dict[str, bytes] = {}
    for name, found in sets:
        prefix = "" if name == BASE_SET else f"{name}:"
        merged.update((prefix + path, data) for path, data in found.items())
    return Knowledge(merged, keeper)


def load_packaged() -> Knowledge:
    """Return the databases the product comes with."""
    found: dict[str, bytes] = {}

    def visit(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                visit(entry, f"{prefix}{entry.name}/")
            elif prefix or not entry.name.startswith("manifest."):
                found[prefix + entry.name] = entry.read_bytes()

    visit(files("gatepost.antispam") / "rules", "")
    return Knowledge(found)


def read_lines(path: str, data: bytes) -> list[tuple[int, str]]:
    """Return (number, line) of the lines of a list that say something; `#` begins a comment. ValueError: no text."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
    found = ((number, line.strip()) for number, line in enumerate(lines, 1))
    return [(number, line) for number, line in found if line and not line.startswith("#")]


def count_records(data: bytes) -> int:
    """Return the number of records in a file: its lines that say something, 1 for a file that is not of lines."""
    try:
        return len(read_lines("", data))
    except ValueError:
        return 1
