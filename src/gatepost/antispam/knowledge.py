"""The anti-spam databases as the checks get them: `Knowledge`, files by name.

Loaded once by the template process.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec


class Knowledge(msgspec.Struct, frozen=True):
    """Files of the databases in use."""

    files: dict[str, bytes] = {}
    """By path below the set, with slashes."""

    def by_suffix(self, suffix: str) -> list[tuple[str, bytes]]:
        """Return (path, data) of the files with this suffix, in order of their paths."""
        return [(path, self.files[path]) for path in sorted(self.files) if path.endswith(suffix)]


def load_packaged() -> Knowledge:
    """Return the databases the product comes with."""
    found: dict[str, bytes] = {}

    def visit(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                visit(entry, f"{prefix}{entry.name}/")
            else:
                found[prefix + entry.name] = entry.read_bytes()

    visit(files("gatepost.antispam") / "rules", "")
    return Knowledge(found)
