"""What is wrong with a configuration, and where each value came from. Readers and the assembler make these values;
the command line, the master (at start and reload) and tests show them.
"""

import enum

import msgspec


class Severity(enum.StrEnum):
    """How bad it is."""

    ERROR = "error"
    """The file is not used (exit code 66)."""
    WARNING = "warning"
    """The file is used; the administrator should look."""


class Form(enum.StrEnum):
    """How the file is written."""

    TOML = "toml"
    INI = "ini"


class Origin(msgspec.Struct, frozen=True):
    """Where a value stands. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        """Return `file:line`, or `file` alone."""
        return f"{self.file}:{self.line}" if self.line else self.file


DEFAULT = Origin("default")
"""Origin of a value nobody set."""


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong: what, what is allowed, and how to mend it."""

    severity: Severity
    file: str
    line: int
    section: str
    name: str
    what: str
    allowed: str = ""
    mend: str = ""

    def __str__(self) -> str:
        """Return the line that `config check` prints."""
        place = " ".join(word for word in (f"[{self.section}]" if self.section else "", self.name) if word)
        text = f"{Origin(self.file, self.line)}: {self.severity}: " + (f"{place}: " if place else "") + self.what
        if self.allowed:
            text += f" (allowed: {self.allowed})"
        return f"{text}. {self.mend}" if self.mend else text


class Entry(msgspec.Struct, frozen=True):
    """One `name = value` as a reader found it."""

    section: str
    """Section as written, for example `mailgw.limits`, `limits`, `group`."""
    item: int
    """Which table of an array of tables; 0 for plain sections."""
    name: str
    value: object
    """Text (INI) or a TOML value."""
    origin: Origin


class Document(msgspec.Struct, frozen=True):
    """A file as its reader understood it, before the schema has looked at it."""

    form: Form
    file: str
    entries: tuple[Entry, ...]
    sections: dict[tuple[str, int], Origin]
    """Where each (section, item) begins, sections without entries included."""
    problems: tuple[Problem, ...] = ()
    readable: bool = True
    """False: missing, unreadable or not parseable (exit code 65)."""
