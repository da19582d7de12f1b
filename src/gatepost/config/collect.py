"""From entries to checked values: which parameter each entry sets, in which table, and whether it may.

First half of the assembler; `gatepost.config.assemble` makes the objects and the `Config`. Every problem is noted
and the rest goes on, so that one look at a file shows all that is wrong with it.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gatepost.config.external import expand_entries
from gatepost.config.parameter import Field, Item, Kind, Required, fold
from gatepost.config.problem import Document, Entry, Form, Origin, Problem, Severity
from gatepost.config.schema import (
    FIELDS,
    MOVED,
    SECTION_BY_NAME,
    find_field,
    find_fields,
    is_older_section,
    normalise_section,
)
from gatepost.config.values import (
    OutOfRange,
    Value,
    check_range,
    parse_item,
    parse_scalar,
    parse_statuses,
    split_items,
)

OVERRIDE = "--set"
"""File name shown for values from the command line."""

Table = tuple[str, int]
"""Section and number of the table in its array (0 for plain sections)."""

_LISTS = (Kind.LIST, Kind.STATUSES)


class Given(msgspec.Struct, frozen=True):
    """A value that was set and is right, and where."""

    value: Value
    origin: Origin


class Collected:
    """What a document sets: values by table and name, and the problems found on the way."""

    def __init__(self, document: Document, overrides: Iterable[Entry] = ()) -> None:
        """Read all entries; values from `overrides` replace those of the document."""
        self.form = document.form
        self.file = document.file
        self.sections = dict(document.sections)
        self.problems = list(document.problems)
        self.tables: dict[Table, dict[str, Given]] = {}
        self._older = any(is_older_section(entry.section) for entry in document.entries)
        self._unknown: set[str] = set()
        self._bad: set[tuple[str, int, str]] = set()
        """Parameters with a bad value: not to be reported as missing as well."""
        self._collect(document.entries, tuple(overrides))
        self._require()

    def note(
        self,
        severity: Severity,
        section: str,
        name: str,
        what: str,
        *,
        origin: Origin | None = None,
        allowed: str = "",
        mend: str = "",
        item: int = 0,
    ) -> None:
        """Add a problem; without an origin it stands at the section's place."""
        place = origin or self.origin_of(section, item, name)
        field = find_field(section, name) if name else None
        shown = field.documented if field is not None and self.form is Form.INI else name
        self.problems.append(Problem(severity, place.file, place.line, section, shown, what, allowed, mend))

    def origin_of(self, section: str, item: int, name: str) -> Origin:
        """Return where a value stands, else where its section begins, else the file."""
        given = self.tables.get((section, item), {}).get(name)
        return given.origin if given else self.sections.get((section, item), Origin(self.file))

    def items_of(self, section: str) -> list[int]:
        """Return the numbers of the tables of an array, in file order."""
        found = {item for name, item in (*self.tables, *self.sections) if name == section}
        return sorted(found)

    def _collect(self, entries: tuple[Entry, ...], overrides: tuple[Entry, ...]) -> None:
        found: dict[tuple[str, int, Field], list[Entry]] = {}
        for source in (entries, overrides):
            fresh: set[tuple[str, int, Field]] = set()
            for entry in expand_entries(source, self.file if source is entries else None):
                if isinstance(entry, Problem):
                    self.problems.append(entry)
                    self._excuse(entry)
                    continue
                key = self._place(entry)
                if key is None:
                    continue
                if source is overrides and key not in fresh:
                    found[key] = []
                fresh.add(key)
                found.setdefault(key, []).append(entry)
        for section, item in self.sections:
            if section and section not in SECTION_BY_NAME:
                self._unknown_section(section, self.sections[section, item])
        for (section, item, field), given in found.items():
            value = self._value(field, given)
            if value is None:
                continue
            self.tables.setdefault((section, item), {})[field.name] = Given(value, given[-1].origin)

    def _excuse(self, problem: Problem) -> None:
        """Do not report as missing what was written and refused."""
        field = find_field(problem.section, problem.name)
        if field is not None:
            self._bad.add((field.section, 0, field.name))

    def _place(self, entry: Entry) -> tuple[str, int, Field] | None:
        section = normalise_section(entry.section)
        if not section:
            what = f"{entry.name[:60]} stands outside any section"
            self.note(Severity.ERROR, "", "", what, origin=entry.origin, mend="Put it below a [section]")
            return None
        known = SECTION_BY_NAME.get(section)
        if known is None:
            self._unknown_section(section, entry.origin)
            return None
        if entry.item and not known.array:
            what = "a section that may occur once is written as an array of tables"
            self.note(Severity.ERROR, section, "", what, origin=entry.origin, mend=f"Write [{section}], once")
            return None
        field = find_field(section, entry.name)
        if field is None:
            names = [
                f.documented if self.form is Form.INI else f.name
                for f in FIELDS[section]
                if self.form is Form.TOML or f.parameter.documented
            ]
            near = difflib.get_close_matches(entry.name, names, n=1)
            mend = f"Did you mean {near[0]}?" if near else "Look it up with 'config explain'"
            homes = find_fields(entry.name) if self.form is Form.TOML and "." not in entry.name else []
            if len(homes) == 1:  # what several sections have is no misplaced one
                mend = f"It belongs to [{homes[0].section}]"
            self.note(
                Severity.WARNING, section, entry.name, "unknown parameter, ignored", origin=entry.origin, mend=mend
            )
            return None
        moved = MOVED.get((section, fold(entry.name)))
        return (moved or section, 0 if moved else entry.item, field)

    def _unknown_section(self, section: str, origin: Origin) -> None:
        if section in self._unknown or any(name.startswith(f"{section}.") for name in SECTION_BY_NAME):
            return
        self._unknown.add(section)
        near = difflib.get_close_matches(section, SECTION_BY_NAME, n=1)
        mend = f"Did you mean [{near[0]}]?" if near else ""
        self.note(Severity.WARNING, section, "", "unknown section, ignored", origin=origin, mend=mend)

    def _value(self, field: Field, entries: list[Entry]) -> Value | None:
        if field.parameter.kind in _LISTS:
            return self._list_value(field, entries)
        entry = entries[-1]
        if len(entries) > 1:
            what = f"given {len(entries)} times, the last one counts"
            self.note(Severity.WARNING, field.section, field.name, what, origin=entry.origin)
        return self._scalar_value(field, entry)

    def read(self, field: Field, text: str, origin: Origin) -> Value | None:
        """Return the value of a parameter that is written as text inside of another one; None: it is noted what is
        wrong.
        """
        return self._value(field, [Entry(field.section, 0, field.name, text, origin)])

    def _scalar_value(self, field: Field, entry: Entry) -> Value | None:
        parameter = field.parameter
        wide = self.form is Form.TOML
        try:
            value = parse_scalar(parameter, entry.value)
            if isinstance(value, int | float) and not isinstance(value, bool):
                check_range(parameter, value, wide=wide)
                self._warn_wide(field, value, entry)
        except (ValueError, OverflowError) as error:
            mend = "Set a value inside the range" if isinstance(error, OutOfRange) else ""
            allowed = parameter.describe_range(wide=wide)
            self._error(field, str(error), entry, allowed=allowed, mend=mend)
            return None
        if parameter.kind is Kind.PATH and isinstance(value, str) and value:
            base = self.file if entry.origin.file == OVERRIDE else entry.origin.file
            return str(Path(base).absolute().parent / value)
        return value

    def _warn_wide(self, field: Field, value: float, entry: Entry) -> None:
        try:
            check_range(field.parameter, value, wide=False)
        except OutOfRange:
            self.note(
                Severity.WARNING,
                field.section,
                field.name,
                f"{field.parameter.describe_value(value)} is outside the documented range",
                origin=entry.origin,
                allowed=field.parameter.describe_range(wide=False),
            )

    def _warn_domain(self, field: Field, text: str, entry: Entry) -> None:
        """Note a domain where masks are of whole addresses: it would match nothing. Routes take it for what it is."""
        mask = field.parameter.item is Item.ADDRESS_MASK and field.section != "route"
        if mask and "." in text and not any(each in text for each in "@*?"):
            what, mend = f"{text[:60]!r} matches no address: it is a domain", f"Write *@{text[:60]}"
            self.note(Severity.WARNING, field.section, field.name, what, origin=entry.origin, mend=mend)

    def _list_value(self, field: Field, entries: list[Entry]) -> tuple[str, ...] | None:
        parameter = field.parameter
        values: list[str] = []
        right = True
        for entry in entries:
            elements = entry.value if isinstance(entry.value, list) else [entry.value]
            for element in elements:
                if not isinstance(element, str):
                    self._error(field, f"{str(element)[:40]!r} is not text", entry, mend="Put it in quotes")
                    right = False
                    continue
                for part in split_items(parameter, element):
                    try:
                        values.append(parse_item(parameter, part))
                    except ValueError as error:
                        allowed = parameter.item.value if parameter.item is not Item.TEXT else ""
                        self._error(field, str(error), entry, allowed=allowed)
                        right = False
                    else:
                        self._warn_domain(field, part, entry)
        if parameter.kind is Kind.STATUSES:
            try:
                return parse_statuses(parameter, values)
            except ValueError as error:
                self._error(field, str(error), entries[-1], allowed=parameter.describe_range(wide=False))
                return None
        return tuple(values) if right else None

    def _error(self, field: Field, what: str, entry: Entry, *, allowed: str = "", mend: str = "") -> None:
        self.note(Severity.ERROR, field.section, field.name, what, origin=entry.origin, allowed=allowed, mend=mend)
        self._bad.add((field.section, entry.item, field.name))

    def _require(self) -> None:
        for section in SECTION_BY_NAME.values():
            items = self.items_of(section.name) if section.array else [0]
            for item in items:
                for field in FIELDS[section.name]:
                    severity = self._demand(field)
                    if severity is not None and (section.name, item, field.name) not in self._bad:
                        self._require_one(severity, item, field)

    def _demand(self, field: Field) -> Severity | None:
        """Return how bad it is when the parameter is missing; None when it may be."""
        required = field.parameter.required
        if field.section == "group" or required is Required.NO:
            return None
        if required is Required.ALWAYS:
            return Severity.ERROR
        if self.form is Form.TOML:
            return None
        # A file of the newest generation does not know what only the older ones demand.
        return Severity.ERROR if self._older or field.parameter.newest else Severity.WARNING

    def _require_one(self, severity: Severity, item: int, field: Field) -> None:
        given = self.tables.get((field.section, item), {}).get(field.name)
        if given is not None and (given.value not in ("", ())):
            return
        name = field.documented if self.form is Form.INI else field.name
        what = f"required parameter is {'missing' if given is None else 'empty'}"
        if severity is Severity.WARNING:
            what += " (older generations demand it); the default is used"
        self.note(
            severity,
            field.section,
            field.name,
            what,
            item=item,
            allowed=field.parameter.describe_range(wide=self.form is Form.TOML),
            mend=f"Add {name} ({field.parameter.meaning})",
        )
