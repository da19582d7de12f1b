"""Loading a configuration file: `load(path)` gives the `Config` or everything that is wrong with the file.

Called by the master (start and reload), by every `gatepost` command that needs the configuration, and by tests.
Never raises for what a file holds.
"""

import os
import re
from collections.abc import Iterable, Sequence

import msgspec

from gatepost.config.assemble import assemble
from gatepost.config.collect import OVERRIDE, Collected
from gatepost.config.consistency import check_consistency
from gatepost.config.external import explain_os_error, read_text
from gatepost.config.ini import read_ini
from gatepost.config.problem import DEFAULT, Document, Entry, Form, Origin, Problem, Severity
from gatepost.config.schema import SECTIONS, Config, normalise_section
from gatepost.config.toml import read_toml

DEFAULT_PATH = "/etc/gatepost/gatepost.toml"

EXIT_NOT_LOADABLE = 65
"""The file is missing, unreadable or not parseable."""
EXIT_ERRORS = 66
"""The file was read and has errors."""

_OVERRIDE = re.compile(r"\s*([^=]+)\.([^=.]+?)\s*=(.*)\Z", re.DOTALL)


class Loaded(msgspec.Struct, frozen=True):
    """What came of loading a file."""

    config: Config | None
    """None when there is any error."""
    problems: tuple[Problem, ...]
    origins: dict[str, Origin]
    """Where each explicit value stands: `limits.log_level`, `group[0].check`. What is missing has its default."""
    form: Form
    readable: bool
    file: str
    state_path: str = ""
    """Where the gateway of this file keeps its state, also when the file has errors: a running one must stay within
    reach of its commands. Empty when the file cannot be read.
    """

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the file from being used."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def exit_code(self) -> int:
        """0, 65 (not loadable) or 66 (errors)."""
        if not self.readable:
            return EXIT_NOT_LOADABLE
        return EXIT_ERRORS if self.errors else 0

    def origin_of(self, key: str) -> Origin:
        """Return where the value of `section.name` comes from."""
        return self.origins.get(key, DEFAULT)


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Loaded:
    """Read the file at `path`; `overrides` are `Section.Name=value` texts that win over it."""
    name = os.fspath(path)
    try:
        text = read_text(name)
    except (OSError, ValueError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
        mend = "Name the file with -c; what is lost comes back by `gatepost config recover`"
        problem = Problem(Severity.ERROR, name, 0, "", "", f"cannot be read: {reason}", mend=mend)
        return Loaded(None, (problem,), {}, choose_form(name), readable=False, file=name)
    return load_text(text, name, overrides=overrides)


def load_text(text: str, file: str, form: Form | None = None, overrides: Sequence[str] = ()) -> Loaded:
    """Read a configuration from text; `file` names it in problems and is where relative paths count from."""
    form = form or choose_form(file)
    document = read_toml(text, file) if form is Form.TOML else read_ini(text, file)
    if not document.readable:
        return Loaded(None, document.problems, {}, form, readable=False, file=file)
    entries, problems = _parse_overrides(overrides, document)
    collected = Collected(document, entries)
    config = assemble(collected)
    check_consistency(config, collected)
    found = (*problems, *collected.problems)
    order = {file: -1, OVERRIDE: len(found)}
    ranked = sorted(found, key=lambda problem: (order.get(problem.file, 0), problem.file, problem.line))
    broken = any(problem.severity is Severity.ERROR for problem in ranked)
    return Loaded(
        None if broken else config,
        tuple(ranked),
        _origins(collected),
        form,
        readable=True,
        file=file,
        state_path=config.relay.state_path,
    )


def choose_form(file: str) -> Form:
    """Return how a file is written: TOML when its name ends in `.toml`, else the documented INI form."""
    return Form.TOML if file.lower().endswith(".toml") else Form.INI


def _parse_overrides(overrides: Iterable[str], document: Document) -> tuple[list[Entry], list[Problem]]:
    entries: list[Entry] = []
    problems: list[Problem] = []
    groups = {
        str(entry.value): entry.item
        for entry in document.entries
        if normalise_section(entry.section) == "group" and entry.name == "name"
    }
    for number, text in enumerate(overrides, start=1):
        origin = Origin(OVERRIDE, number)
        found = _OVERRIDE.match(text)
        if found is None:
            what = f"{text[:60]!r} is not Section.Name=value"
            problems.append(Problem(Severity.ERROR, OVERRIDE, number, "", "", what))
            continue
        section, item = found[1].strip(), 0
        if normalise_section(section).startswith("group:"):
            label = section.partition(":")[2]
            if label not in groups:
                what = f"there is no group {label[:60]!r}"
                problems.append(Problem(Severity.ERROR, OVERRIDE, number, "group", "", what))
                continue
            section, item = "group", groups[label]
        entries.append(Entry(section, item, found[2].strip(), found[3].strip(), origin))
    return entries, problems


def _origins(collected: Collected) -> dict[str, Origin]:
    arrays = {section.name for section in SECTIONS if section.array}
    return {
        (f"{section}[{item}].{name}" if section in arrays else f"{section}.{name}"): given.origin
        for (section, item), table in collected.tables.items()
        for name, given in table.items()
    }
