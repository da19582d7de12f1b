"""The schema and a file's values in a form that forms are made of: `describe_schema`, `describe_values`.

Called by the master for console, API and `gatepost config`. Pure. Secrets do not leave it: of those it says only
whether they are set.
"""

from typing import Final

import msgspec

from gatepost.config.collect import OVERRIDE
from gatepost.config.editing import build_model
from gatepost.config.ini import read_ini
from gatepost.config.load import Loaded
from gatepost.config.parameter import Field, Guard, Kind, Required
from gatepost.config.problem import Form
from gatepost.config.schema import FIELDS, SECTIONS, Config, is_built
from gatepost.config.toml import read_toml

HIDDEN: Final = "(set, not shown)"
"""What stands for a secret."""
_OWN: Final = frozenset({"name", "senders", "recipients", "directions"})
"""Parameters of a group that are not taken from the policy."""


class ParameterText(msgspec.Struct, frozen=True, omit_defaults=True):
    """A parameter of a form."""

    name: str
    kind: str
    meaning: str
    default: str
    """As people read it; where it is made of other values these stand in < >."""
    documented: str = ""
    item: str = ""
    """What one element of a list, or a text, looks like."""
    unit: str = ""
    """Of numbers without one."""
    allowed: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    built: bool = True
    guard: str = Guard.NONE
    secret: bool = False
    generations: str = ""


class SectionText(msgspec.Struct, frozen=True):
    """A section of a form."""

    name: str
    title: str
    array: bool
    """There may be several of it, in an order."""
    built: bool
    parameters: tuple[ParameterText, ...]


class ValueText(msgspec.Struct, frozen=True):
    """A parameter's value."""

    value: bool | int | float | str | list[str]
    """As the file has it, else what counts without it. Of secrets `HIDDEN` or ""."""
    text: str
    """What is in force with this file, as people read it."""
    source: str = "default"
    """`default`, `file`, `external` (an external file holds it), `override` (--set on the command line), `policy`
    (a group has it from there), `derived` (a preset or an older parameter sets it).
    """
    origin: str = ""
    """File and line."""


class Values(msgspec.Struct, frozen=True):
    """All values: by section, by table (plain sections have one), by parameter."""

    sections: dict[str, list[dict[str, ValueText]]]


def describe_schema(form: Form) -> tuple[SectionText, ...]:
    """Return all sections with their parameters, and the ranges that hold in this form of file."""
    wide = form is Form.TOML
    return tuple(
        SectionText(
            section.name,
            section.title,
            section.array,
            section.built,
            tuple(_describe(field, wide=wide) for field in FIELDS[section.name]),
        )
        for section in SECTIONS
    )


def _describe(field: Field, *, wide: bool) -> ParameterText:
    parameter = field.parameter
    low, high = parameter.bounds(wide=wide) if parameter.kind is Kind.COUNT else (None, None)
    return ParameterText(
        name=field.name,
        kind=parameter.kind.value,
        meaning=parameter.meaning,
        default=field.default_text(),
        documented=parameter.documented,
        item=parameter.item.value,
        unit=parameter.unit.word,
        allowed=parameter.describe_range(wide=wide),
        low=low,
        high=high,
        choices=tuple(str(choice) for choice in parameter.choices),
        required=parameter.required is Required.ALWAYS,
        built=is_built(field),
        guard=parameter.guard,
        secret=parameter.secret,
        generations=parameter.generations,
    )


def describe_values(loaded: Loaded, text: str) -> Values:
    """Return the values of a file that has been loaded from `text`; also when it has errors."""
    document = read_toml(text, loaded.file) if loaded.form is Form.TOML else read_ini(text, loaded.file)
    model = build_model(document)
    sections: dict[str, list[dict[str, ValueText]]] = {}
    for section in SECTIONS:
        tables = model.get(section.name, [])
        count = len(tables) if section.array else 1
        sections[section.name] = [
            {
                field.name: _value(field, item, tables[item] if item < len(tables) else {}, loaded)
                for field in FIELDS[section.name]
            }
            for item in range(count)
        ]
    return Values(sections)


def _value(field: Field, item: int, table: dict[str, object], loaded: Loaded) -> ValueText:
    array = field.section in _ARRAYS
    key = f"{field.section}[{item}].{field.name}" if array else f"{field.section}.{field.name}"
    given = loaded.origins.get(key)
    effective = _effective(field, item, loaded.config)
    written = _written(field, table)
    if given is not None:
        source = "override" if given.file == OVERRIDE else "file" if given.file == loaded.file else "external"
    elif written is not None:
        source = "file"  # and it is wrong: a problem tells
    elif field.section == "group" and field.name not in _OWN:
        source = "policy"
    elif loaded.config is None or effective == field.default or field.parameter.derived:
        source = "default"
    else:
        source = "derived"
    if field.parameter.secret:
        is_set = bool(written if written is not None else effective)
        hidden = HIDDEN if is_set else ""
        return ValueText(hidden, hidden, source, str(given or ""))
    value = written if written is not None and source != "override" else _plain(field, effective)
    return ValueText(value, field.parameter.describe_value(effective), source, str(given or ""))


_ARRAYS: Final = frozenset(section.name for section in SECTIONS if section.array)


def _written(field: Field, table: dict[str, object]) -> bool | int | float | str | list[str] | None:
    """Return what the file says, None for nothing."""
    raw = table.get(field.name)
    if raw is None:
        return None
    is_list = field.parameter.kind in (Kind.LIST, Kind.STATUSES)
    if isinstance(raw, list):  # of the INI form always
        texts = [str(each) for each in raw]
        return texts if is_list else texts[-1] if texts else ""
    if is_list:
        return [str(raw)] if str(raw) else []
    return raw if isinstance(raw, bool | int | float) else str(raw)


def _effective(field: Field, item: int, config: Config | None) -> object:
    """Return the value in force, of the schema's type; the default where the file has errors."""
    if config is None:
        return field.default
    if field.section == "group":
        return getattr(config.groups[item], field.name) if item < len(config.groups) - 1 else field.default
    if field.section in _ARRAYS:
        return field.default
    place: object = config
    for part in field.section.split("."):
        place = getattr(place, part)
    # Endpoints and routes of the older spelling have become objects.
    return getattr(place, field.name) if field.parameter.shown else field.default


def _plain(field: Field, value: object) -> bool | int | float | str | list[str]:
    if isinstance(value, tuple | list):
        return [str(each) for each in value]
    if isinstance(value, bool) or (field.parameter.kind is Kind.COUNT and isinstance(value, int)):
        return value
    if field.parameter.kind in (Kind.SIZE, Kind.TIME):
        return field.parameter.describe_value(value)
    return str(value)
