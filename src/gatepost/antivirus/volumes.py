"""Files that were split into volumes: told by their names, and put together again.

Called by the stage. Programs join `x.7z.001`, `x.7z.002` … and `x.z01` … `x.zip` by name, whatever the pieces look
like: a first volume of three bytes is no archive to anybody who looks at it alone. Pure.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

_NUMBERED = re.compile(r"(?P<stem>.*?)\.(?P<number>\d{3})", re.DOTALL)
_SPANNED = re.compile(r"(?P<stem>.*?)\.(?:z(?P<number>\d\d)|zip|zx(?P<long>\d\d)|zipx)", re.DOTALL)
_ARCHIVES: Final = frozenset({
    "7z", "zip", "zipx", "rar", "tar", "gz", "tgz", "bz2", "xz", "zst", "iso", "img", "exe", "arj", "ace", "cab", "wim",
    "lzh",
})  # fmt: skip
_LAST: Final = 1_000
"""Number of the volume that a spanned zip archive ends with."""
VOLUMES: Final = 200
"""Volumes of one file that are put together."""
EVIDENCE: Final = "a volume of an archive that was split: by itself it cannot be opened"


def volume_of(name: str) -> tuple[str, int] | None:
    """Return (name of the whole file in lower case, number) of a volume, None when a name is none of one."""
    lower = name.rstrip(" .").lower()
    found = _NUMBERED.fullmatch(lower)
    if found is not None:
        return found["stem"], int(found["number"])
    found = _SPANNED.fullmatch(lower)
    if found is None:
        return None
    number = found["number"] or found["long"]
    return f"{found['stem']}.zip", int(number) if number else _LAST


def is_volume(name: str) -> bool:
    """Tell whether a file is a piece of another by its name. The last of a spanned zip archive is called as any archive
    is: alone it is one, and broken.
    """
    volume = volume_of(name)
    return volume is not None and volume[1] != _LAST


def is_volume_of_archive(name: str) -> bool:
    """Tell whether a file is a piece of an archive by its name, and no whole one."""
    volume = volume_of(name)
    if volume is None or volume[1] == _LAST:
        return False
    stem, dot, extension = volume[0].rpartition(".")
    return bool(dot and stem) and extension in _ARCHIVES


def join_volumes(volumes: Iterable[tuple[str, bytes, int]]) -> Iterator[tuple[str, bytes, int]]:
    """Yield (name, content, place) of the files whose volumes are there, two or more in a row. A volume is given by
    name, content and place; the place of a file is that of its first volume.
    """
    sets: dict[str, dict[int, tuple[bytes, int]]] = {}
    for name, data, place in volumes:
        volume = volume_of(name)
        if volume is not None:
            sets.setdefault(volume[0], {}).setdefault(volume[1], (data, place))
    for stem, pieces in sets.items():
        first = min(pieces)
        row: list[tuple[bytes, int]] = []
        while len(row) < VOLUMES and first + len(row) in pieces:
            row.append(pieces[first + len(row)])
        if first != _LAST and _LAST in pieces:
            row.append(pieces[_LAST])
        if first <= 1 and len(row) > 1:
            yield stem, b"".join(data for data, _ in row), row[0][1]
