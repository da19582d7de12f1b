"""Writing a configuration down as TOML: the effective one (`config show`) and only what was set (`config convert`).

What this writes loads again to an equal `Config`.
"""

import itertools
from collections.abc import Callable, Iterator

import msgspec

from gatepost.config.grouping import FILTER_MASKS
from gatepost.config.load import Loaded
from gatepost.config.parameter import Field, Kind
from gatepost.config.schema import FIELDS, SECTIONS, Config, Hop, Route, Section
from gatepost.config.units import format_size, format_time

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
_FIRST_PRINTABLE = 0x20
_DELETE = 0x7F
_ROW_LENGTH = 100
"""Longer arrays are written with one element a line."""

Note = Callable[[str], str]
"""Gives the comment for a key such as `limits.log_level`, "" for none."""


def toml_string(text: str) -> str:
    """Return a TOML basic string."""
    return '"' + "".join(_escape(c) for c in text) + '"'


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    return f"\\u{code:04X}" if code < _FIRST_PRINTABLE or code == _DELETE else character


def toml_value(field: Field, value: object) -> str:
    """Return a parameter's value as TOML that reads back to the same value."""
    if isinstance(value, tuple):
        parts = [toml_string(str(element)) for element in value]
        row = ", ".join(parts)
        return f"[{row}]" if len(row) <= _ROW_LENGTH else "[\n" + "".join(f"  {part},\n" for part in parts) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if field.parameter.kind is Kind.SIZE and isinstance(value, int):
        return toml_string(format_size(value))
    if field.parameter.kind is Kind.TIME and isinstance(value, float | int):
        return toml_string(format_time(value))
    if isinstance(value, int):
        return str(value)
    return toml_string(str(value))


def build_effective(loaded: Loaded, config: Config, *, origins: bool) -> str:
    """Return the whole effective configuration; with `origins` each value says where it comes from."""

    def note(key: str) -> str:
        return str(loaded.origin_of(key)) if origins else ""

    return "\n".join(_lines(loaded, config, note, everything=True))


def build_conversion(loaded: Loaded, config: Config) -> str:
    """Return TOML with the values that were set, and comments about what could not be carried over."""
    head = [f"# Converted from {loaded.file}. Check it with: gatepost config check -c FILE.toml"]
    if loaded.problems:
        head += ["#", "# Please look at these:", *(f"#   {problem}".replace("\n", " ") for problem in loaded.problems)]
    external = sorted({origin.file for origin in loaded.origins.values()} - {loaded.file})
    if external:
        head += ["#", "# Values from these files are written out below; the files themselves are no longer read:"]
        head += [f"#   {file}" for file in external]
    return "\n".join([*head, "", *_lines(loaded, config, lambda _: "", everything=False)])


def _lines(loaded: Loaded, config: Config, note: Note, *, everything: bool) -> Iterator[str]:
    for section in SECTIONS:
        if section.array:
            yield from _array(section, loaded, config, note)
            continue
        struct: object = config
        for part in section.name.split("."):
            struct = getattr(struct, part)
        rows = [
            (field, getattr(struct, field.name))
            for field in FIELDS[section.name]
            if field.parameter.shown
            and (everything or f"{section.name}.{field.name}" in loaded.origins or _migrated(field, loaded))
        ]
        if rows:
            yield f"[{section.name}]"
            for field, value in rows:
                key = f"{section.name}.{field.name}"
                row = _row(field, value, note(key))
                # Setting a filter's mask, even to its default, is what switches the filter on.
                yield f"# {row}" if field.name in FILTER_MASKS and key not in loaded.origins else row
            yield ""


def _migrated(field: Field, loaded: Loaded) -> bool:
    """Tell whether an older switch was read as this list of rules."""
    switch = {"connect_rule": "deny_unresolved_connect", "mailfrom_rule": "deny_unresolved_mailfrom"}.get(field.name)
    return switch is not None and f"access.{switch}" in loaded.origins


def _row(field: Field, value: object, comment: str) -> str:
    text = f"{field.name} = {toml_value(field, value)}"
    return f"{text}  # {comment}" if comment else text


def _array(section: Section, loaded: Loaded, config: Config, note: Note) -> Iterator[str]:
    tables: dict[str, Callable[[], Iterator[tuple[str, dict[str, object]]]]] = {
        "listener": lambda: _plain("listener", config.listeners),
        "update_server": lambda: _plain("update_server", config.update_servers),
        "door": lambda: _plain("door", config.doors),
        "route": lambda: _routes(config.routes),
        "network.zone": lambda: _plain("network.zone", config.zones),
        "tls_policy": lambda: _plain("tls_policy", config.tls_policies),
        "engine": lambda: _plain("engine", config.engines),
        "shadow": lambda: _plain("shadow", config.shadows),
        "group": lambda: _groups(loaded, config),
    }
    fields = {field.name: field for field in FIELDS[section.name]}
    for key, values in tables[section.name]():
        yield f"[[{section.name}]]"
        for name, value in values.items():
            yield _row(fields[name], value, note(f"{key}.{name}") if f"{key}.{name}" in loaded.origins else "")
        yield ""


def next_hop_text(hop: Hop) -> str:
    """Return one target of a route as `next_hop` is written."""
    if hop.domain is not None:
        return hop.domain
    host = hop.host or ""
    return f"[[{host}]:{hop.port}]" if ":" in host else f"[{host}:{hop.port}]"


def _routes(routes: tuple[Route, ...]) -> Iterator[tuple[str, dict[str, object]]]:
    for target, group in itertools.groupby(routes, key=lambda route: (route.hops, route.order, route.transport)):
        hops, order, transport = target
        yield (
            "route",
            {
                "recipients": tuple(route.mask for route in group),
                "next_hop": tuple(next_hop_text(hop) for hop in hops),
                "order": order,
                "transport": transport,
            },
        )


def _plain(name: str, rows: tuple[msgspec.Struct, ...]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield objects whose fields are all parameters."""
    for index, row in enumerate(rows):
        yield f"{name}[{index}]", {field.name: getattr(row, field.name) for field in FIELDS[name]}


def _groups(loaded: Loaded, config: Config) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each group's own values; what it inherits stands in the policy."""
    for index, group in enumerate(config.groups[:-1]):
        key = f"group[{index}]"
        values: dict[str, object] = {"name": group.name, "senders": group.senders, "recipients": group.recipients}
        for field in FIELDS["group"]:
            if f"{key}.{field.name}" in loaded.origins and field.name not in values:
                values[field.name] = getattr(group, field.name)
        yield key, values
