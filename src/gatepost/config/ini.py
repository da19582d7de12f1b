"""The reader of the documented INI form: `[section]`, `Name=value`, repeated names as lists, `!include`.

Order matters and is kept. A line that is none of these is an error with its place; the rest is read all the same, so
that one check shows everything.
"""

from collections.abc import Iterator
from pathlib import Path

from gatepost.config.external import explain_os_error, read_text
from gatepost.config.problem import Document, Entry, Form, Origin, Problem, Severity
from gatepost.config.schema import normalise_section

MAX_INCLUDE_DEPTH = 16
"""Includes within includes: deeper is a circle."""

MAX_INCLUDED_FILES = 10_000
"""One file per group is the documented use; beyond this the includes multiply."""

_INCLUDE = "!include"
_GROUP_PREFIX = "group:"
_COMMENTS = ("#", ";")


def read_ini(text: str, file: str) -> Document:
    """Return the entries of an INI file and of the files it includes."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    sections: dict[tuple[str, int], Origin] = {}
    section, item, groups = "", 0, 0
    for line, origin in _Lines().of(text, file):
        if isinstance(line, Problem):
            problems.append(line)
        elif line.startswith("["):
            name = line[1:-1].strip() if line.endswith("]") else ""
            if not name:
                what = f"{line[:60]!r} is not a section"
                problems.append(_error(origin, section, what, "Write [section] alone on its line"))
                continue
            section, item = name, 0
            normal = normalise_section(name)
            if normal.startswith(_GROUP_PREFIX):
                section, item = "group", groups
                groups += 1
                label = name.partition(":")[2].strip()
                entries.append(Entry(section, item, "name", label, origin))
            sections.setdefault((normalise_section(section), item), origin)
        else:
            name, equals, value = line.partition("=")
            name = name.strip()
            if not equals or not name:
                what = f"{line[:60]!r} is neither a section nor Name=value"
                problems.append(_error(origin, section, what, "Comments begin with # or ;"))
            elif not section:
                problems.append(
                    _error(origin, "", f"{name[:60]} stands before any section", "Put it below a [section]")
                )
            else:
                entries.append(Entry(section, item, name, value.strip(), origin))
    return Document(Form.INI, file, tuple(entries), sections, tuple(problems))


def _error(origin: Origin, section: str, what: str, mend: str) -> Problem:
    return Problem(Severity.ERROR, origin.file, origin.line, section, "", what, mend=mend)


class _Lines:
    """Lines that say something, of a file and of what it includes."""

    def __init__(self) -> None:
        self._files = 0

    def of(self, text: str, file: str, depth: int = 0) -> Iterator[tuple[str | Problem, Origin]]:
        for number, raw_line in enumerate(text.split("\n"), start=1):
            line = raw_line.strip()
            if not line or line.startswith(_COMMENTS):
                continue
            origin = Origin(file, number)
            if line.split(maxsplit=1)[0].lower() == _INCLUDE:
                yield from self._include(line[len(_INCLUDE) :].strip(), origin, depth)
            else:
                yield line, origin

    def _include(self, path: str, origin: Origin, depth: int) -> Iterator[tuple[str | Problem, Origin]]:
        self._files += 1
        if not Path(path).is_absolute():
            what, mend = f"!include {path!r} is not an absolute path", "Write the path from / on"
        elif depth >= MAX_INCLUDE_DEPTH or self._files > MAX_INCLUDED_FILES:
            what, mend = f"!include {path}: too many includes within each other", "Look for a circle"
        else:
            try:
                text = read_text(path)
            except (OSError, ValueError) as error:
                reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
                what, mend = f"!include {path} cannot be read: {reason}", "Correct the path or its permissions"
            else:
                yield from self.of(text, path, depth + 1)
                return
        yield _error(origin, "", what, mend), origin
