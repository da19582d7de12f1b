"""The administrator's own samples and images as items: which there are, and one taken away. `OwnItems` reads nothing of
what they hold, so that the master can; `feeds.own_store` adds and compiles them.
"""

import contextlib
import enum
from pathlib import Path

import msgspec

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")
_NAME_LIMIT = 100


class Sort(enum.StrEnum):
    """What an item is; the values are the directories' names."""

    SAMPLE = "samples"
    IMAGE = "images"


class OwnItem(msgspec.Struct, frozen=True):
    """One item as it is listed."""

    name: str
    category: str
    size: int
    """Bytes without the line that says the category."""


class OwnError(Exception):
    """It cannot be done. The text says why."""


class OwnItems:
    """Items below one directory."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def items(self, sort: Sort) -> list[OwnItem]:
        """Return the items in order of their names. OwnError, OSError."""
        found = []
        for path in self._files(sort):
            category, content = _split(path)
            found.append(OwnItem(path.name, category, len(content)))
        return found

    def remove(self, sort: Sort, name: str) -> None:
        """Forget an item. OwnError, OSError."""
        try:
            self._path(sort, name).unlink()
        except FileNotFoundError:
            raise OwnError(f"there is no {name}: `list` shows what there is") from None

    def _files(self, sort: Sort) -> list[Path]:
        folder = self._place / sort
        with contextlib.suppress(FileNotFoundError):
            return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        return []

    def _path(self, sort: Sort, name: str) -> Path:
        if not name or name.startswith(".") or not _NAME_CHARACTERS.issuperset(name) or len(name) > _NAME_LIMIT:
            raise OwnError(f"{name!r} is no name: up to {_NAME_LIMIT} letters, digits, dots and - + _, no dot in front")
        return self._place / sort / name


def make_name(path: Path) -> str:
    """Return a name for an item from a file's, of the characters that names have."""
    return "".join(each if each in _NAME_CHARACTERS else "-" for each in path.stem).lstrip(".")[:_NAME_LIMIT] or "item"


def _split(path: Path) -> tuple[str, bytes]:
    first, _, content = path.read_bytes().partition(b"\n")
    return first.removeprefix(b"=").strip().decode("ascii", "replace"), content
