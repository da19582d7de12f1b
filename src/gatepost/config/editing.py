"""Edits of the configuration file: `edit(text, file, changes)` gives the text with the changes in it and nothing else
changed; comments, order and white space stay.

Called by the master for console, API and `gatepost config set`. Nothing is written here. Whatever the splices of
`editing_toml` and `editing_ini` make is read again, and compared with what it must mean: an edit that would change
something else, or does not take, is refused (`EditError`), never written.
"""

import enum
from collections.abc import Callable, Sequence

import msgspec

from gatepost.config.editing_ini import IniText
from gatepost.config.editing_toml import Plain, TomlText, Unsuitable, What
from gatepost.config.guarding import names_file
from gatepost.config.ini import read_ini
from gatepost.config.load import choose_form
from gatepost.config.parameter import Field, Kind, fold
from gatepost.config.problem import Document, Entry, Form
from gatepost.config.schema import FIELDS, MOVED, SECTION_BY_NAME, find_field, normalise_section
from gatepost.config.toml import read_toml
from gatepost.config.values import parse_flag, split_items

EDIT_LIMIT = 8 * 1024 * 1024
"""Characters of a file that is edited: lists that are longer belong into files of their own."""
CHANGES_LIMIT = 500
"""Changes in one go: more than the largest form has fields."""

_LISTS = (Kind.LIST, Kind.STATUSES)


class Verb(enum.StrEnum):
    """What a change does."""

    SET = "set"
    UNSET = "unset"
    """The file says nothing of it any more: the default counts, in a group the policy's value."""
    ADD = "add"
    """A new table in an array, as number `item`; at the end when `item` is -1. `value`: its name, where it has one."""
    REMOVE = "remove"
    """A table of an array."""
    MOVE = "move"
    """A table of an array, to number `to`."""


class Change(msgspec.Struct, frozen=True):
    """One change. Each sees what those before it have made."""

    section: str
    name: str = ""
    verb: Verb = Verb.SET
    value: bool | int | float | str | list[str] | None = None
    item: int = 0
    """Number of the table in its array, from 0; 0 for plain sections."""
    to: int = 0


class EditError(Exception):
    """A change that is not made; nothing is. Says which, and why."""

    def __init__(self, text: str, section: str = "", item: int = 0, name: str = "") -> None:
        super().__init__(text)
        self.section, self.item, self.name = section, item, name


class Placed(msgspec.Struct, frozen=True):
    """The parameter, or the section, on a line of a file."""

    section: str
    item: int
    name: str


Model = dict[str, list[dict[str, object]]]
"""What a file says: values by section, table and parameter; INI values as lists of texts."""


def edit(text: str, file: str, changes: Sequence[Change]) -> str:
    """Return the text with the changes. EditError: none of them is made."""
    if len(changes) > CHANGES_LIMIT:
        raise EditError(f"{len(changes)} changes at once: {CHANGES_LIMIT} are the most")
    if len(text) > EDIT_LIMIT:
        raise EditError(f"{file} is longer than {EDIT_LIMIT} characters: edit it by hand")
    form = choose_form(file)
    before = _read(text, file, form)
    wanted = build_model(before)
    editor: TomlText | IniText = TomlText(text) if form is Form.TOML else IniText(text)
    for change in changes:
        field = _check(change)
        try:
            _refuse_external(before, change, file)
            value = None if field is None or change.verb is not Verb.SET else shape_value(field, change.value)
            _apply(wanted, change, field, value, form)
            if isinstance(editor, TomlText):
                _edit_toml(editor, change, value)
            else:
                _edit_ini(editor, change, field, value)
        except (ValueError, IndexError) as error:
            words = str(error) if isinstance(error, ValueError) else "there is no such table"
            raise EditError(f"[{change.section}] {change.name}: {words}", *_place(change)) from error
    after = editor.text
    made = read_toml(after, file) if form is Form.TOML else read_ini(after, file)
    if made.problems or _essence(build_model(made)) != _essence(wanted):
        what = f"{file} is written in a way that cannot be edited here without changing more: edit it by hand"
        raise EditError(what, *_place(changes[0]))
    return after


def _essence(model: Model) -> Model:
    """Return it without plain sections that say nothing: their header may be there or not."""
    arrays = {name for name, section in SECTION_BY_NAME.items() if section.array}
    return {name: tables for name, tables in model.items() if any(tables) or (tables and name in arrays)}


def find_places(text: str, file: str) -> Callable[[int], Placed | None]:
    """Return what tells which parameter stands on a line (from 1) of a readable file."""
    if choose_form(file) is Form.INI:
        ini = IniText(text)

        def of_ini(line: int) -> Placed | None:
            found = ini.at_line(line)
            return Placed(*found) if found is not None else None

        return of_ini
    toml = TomlText(text)

    def of_toml(line: int) -> Placed | None:
        found = toml.at_line(line)
        if found is None:
            return None
        field = found.field
        if field is None:
            return Placed(found.section, found.item, "" if found.what is not What.KEY else found.path[-1])
        return Placed(field.section, 0 if field.section != found.section else found.item, field.name)

    return of_toml


def shape_value(field: Field, raw: object) -> Plain:
    """Return a value as the file has it, of what a form or a command line gives. ValueError."""
    kind = field.parameter.kind
    if kind in _LISTS:
        if isinstance(raw, str):
            return [raw] if raw.strip() else []
        if isinstance(raw, list) and all(isinstance(each, str) for each in raw):
            return [each.strip() for each in raw if each.strip()]
        raise ValueError("not a list of texts")
    if kind is Kind.FLAG:
        return parse_flag(raw)
    if isinstance(raw, bool) or raw is None or isinstance(raw, list):
        raise ValueError(f"not a value of this parameter ({kind.value})")
    if kind in (Kind.COUNT, Kind.SIZE, Kind.TIME):
        if isinstance(raw, int | float):
            return raw
        words = str(raw).strip()
        return int(words) if words.isascii() and words.isdigit() and len(words) <= 18 else words
    return str(raw).strip() if kind is Kind.PATH else str(raw)


def build_model(document: Document) -> Model:
    """Return what a file says."""
    model: Model = {}
    for section, item in document.sections:
        _table(model, normalise_section(section), item)
    for entry in document.entries:
        section, item, name = _entry_place(entry)
        table = _table(model, section, item)
        if document.form is Form.INI:
            found = table.setdefault(name, [])
            assert isinstance(found, list)
            field = find_field(section, name)
            found.extend([str(entry.value)] if field is None else _elements(field, str(entry.value)))
        else:
            table[name] = entry.value
    return model


def _elements(field: Field, text: str) -> list[str]:
    return split_items(field.parameter, text) if field.parameter.kind in _LISTS else [text]


def _entry_place(entry: Entry) -> tuple[str, int, str]:
    section = normalise_section(entry.section)
    field = find_field(section, entry.name)
    if field is None:
        return section, entry.item, entry.name
    moved = (section, fold(entry.name)) in MOVED
    return field.section, 0 if moved else entry.item, field.name


def _table(model: Model, section: str, item: int) -> dict[str, object]:
    tables = model.setdefault(section, [])
    while len(tables) <= item:
        tables.append({})
    return tables[item]


def _read(text: str, file: str, form: Form) -> Document:
    document = read_toml(text, file) if form is Form.TOML else read_ini(text, file)
    if document.problems:
        raise EditError(f"the file has to be mended by hand first: {document.problems[0]}")
    return document


def _place(change: Change) -> tuple[str, int, str]:
    return change.section, change.item, change.name


def _check(change: Change) -> Field | None:
    """Return the parameter a change is about, None when it is about a table. EditError."""
    section = SECTION_BY_NAME.get(change.section)
    if section is None:
        raise EditError(f"there is no section {change.section[:60]!r}")
    if change.item < -1 or (change.item and not section.array) or (change.item < 0 and change.verb is not Verb.ADD):
        raise EditError(f"[{change.section}] has no table number {change.item + 1}", *_place(change))
    if change.verb in (Verb.SET, Verb.UNSET):
        field = next((each for each in FIELDS[change.section] if each.name == change.name), None)
        if field is None:
            raise EditError(f"[{change.section}] has no parameter {change.name[:60]!r}", *_place(change))
        return field
    if not section.array:
        raise EditError(f"[{change.section}] is there once: nothing to {change.verb.value}", *_place(change))
    return None


def _refuse_external(document: Document, change: Change, file: str) -> None:
    """Refuse what stands in, or comes from, an external file (row F-WEB-01). Unsuitable."""
    for entry in document.entries:
        section, item, name = _entry_place(entry)
        if section != change.section:
            continue
        outside = entry.origin.file != file
        if change.verb in (Verb.SET, Verb.UNSET):
            if (item, name) != (change.item, change.name):
                continue
        elif not outside:
            continue
        if outside:
            raise Unsuitable(f"it is held in the external file {entry.origin.file}: edit it there")
        field = find_field(section, name)
        values = entry.value if isinstance(entry.value, list) else [entry.value]
        for value in values:
            if field is not None and isinstance(value, str) and names_file(field, value):
                raise Unsuitable(f"its values are held in an external file ({value[:200]}): edit them there")


def _apply(model: Model, change: Change, field: Field | None, value: Plain | None, form: Form) -> None:
    tables = model.setdefault(change.section, [])
    match change.verb:
        case Verb.ADD:
            tables.insert(len(tables) if change.item < 0 else min(change.item, len(tables)), _new_table(change, form))
        case Verb.REMOVE:
            del tables[change.item]
        case Verb.MOVE:
            tables.insert(max(0, change.to), tables.pop(change.item))
        case Verb.UNSET:
            if change.item < len(tables):
                tables[change.item].pop(change.name, None)
        case Verb.SET:
            assert field is not None
            if change.item and change.item >= len(tables):
                raise IndexError
            table = _table(model, change.section, change.item)
            table[change.name] = value if form is Form.TOML else _ini_values(field, value)
    if not tables and change.verb in (Verb.REMOVE, Verb.UNSET):
        del model[change.section]


def _new_table(change: Change, form: Form) -> dict[str, object]:
    if change.section == "group" and form is Form.INI:
        return {"name": [str(change.value or "").strip()]}
    return {"name": str(change.value)} if change.value else {}


def _ini_values(field: Field, value: Plain | None) -> list[str]:
    if isinstance(value, list):
        return [part for each in value for part in _elements(field, each)]
    return [_ini_text(value)]


def _ini_text(value: Plain | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _edit_toml(editor: TomlText, change: Change, value: Plain | None) -> None:
    section, item = change.section, change.item
    match change.verb:
        case Verb.ADD:
            number = editor.add(section, item)
            if change.value:
                editor.set(section, number, "name", str(change.value))
        case Verb.REMOVE:
            editor.remove(section, item)
        case Verb.MOVE:
            editor.move(section, item, max(0, change.to))
        case Verb.UNSET:
            editor.unset(section, item, change.name)
        case Verb.SET:
            assert value is not None
            editor.set(section, item, change.name, value)


def _edit_ini(editor: IniText, change: Change, field: Field | None, value: Plain | None) -> None:
    section, item = change.section, change.item
    match change.verb:
        case Verb.ADD:
            editor.add(section, item, str(change.value or ""))
        case Verb.REMOVE:
            editor.remove(section, item)
        case Verb.MOVE:
            editor.move(section, item, max(0, change.to))
        case Verb.UNSET:
            editor.unset(section, item, change.name)
        case Verb.SET:
            assert field is not None
            if section == "group" and change.name == "name":
                editor.rename(item, str(value))
                return
            values = list(value) if isinstance(value, list) else [_ini_text(value)]
            if isinstance(value, list) and field.parameter.kind is Kind.STATUSES:
                values = [", ".join(value)]
            editor.set(section, item, field, values or [""])
