"""What of a configuration file console and API do not get to see, and what they may not bring back: `mask_secrets`,
`find_new_guarded`. Called by `master.configuration`. Pure but for resolving links of paths.
"""

from collections.abc import Mapping
from typing import Any

from gatepost.config.description import HIDDEN
from gatepost.config.dump import toml_string
from gatepost.config.editing import build_model
from gatepost.config.editing_ini import IniText
from gatepost.config.editing_toml import TomlText
from gatepost.config.guarding import find_refusal
from gatepost.config.ini import read_ini
from gatepost.config.load import choose_form
from gatepost.config.problem import Document, Form
from gatepost.config.schema import FIELDS, find_field
from gatepost.config.toml import read_toml

_UNREADABLE = "(the file cannot be read as a configuration, and is not shown)"


def mask_secrets(text: str, file: str) -> str:
    """Return the text with something else in place of every secret; a text that is no configuration is not shown."""
    if choose_form(file) is Form.INI:
        return IniText(text).masked(HIDDEN)
    if not read_toml(text, file).readable:
        return _UNREADABLE
    return TomlText(text).masked(toml_string(HIDDEN))


def without_secrets(change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a change as it came over a call, with something else in place of a secret it sets."""
    field = find_field(str(change.get("section", "")), str(change.get("name", "")))
    hidden = field is not None and field.parameter.secret and bool(change.get("value"))
    return {**change, "value": HIDDEN} if hidden else dict(change)


def find_new_guarded(before: str, after: str, file: str, state_path: str) -> str:
    """Return which parameter of `after` says something that console and API may not set and that `before` does not
    say; "" when there is none.
    """
    known = _guarded(before, file, state_path)
    return ", ".join(sorted({place for place, value in _guarded(after, file, state_path) - known}))


def _guarded(text: str, file: str, state_path: str) -> set[tuple[str, str]]:
    """Return (parameter, value) of each that is refused to console and API. Which table it stands in does not count."""
    document: Document = read_toml(text, file) if choose_form(file) is Form.TOML else read_ini(text, file)
    model = build_model(document)
    found: set[tuple[str, str]] = set()
    for section, fields in FIELDS.items():
        for table in model.get(section, []):
            for field in fields:
                if field.name in table and find_refusal(field, table[field.name], state_path):
                    found.add((f"{section}.{field.name}", repr(table[field.name])))
    return found | {("!include", entry.origin.file) for entry in document.entries if entry.origin.file != file}
