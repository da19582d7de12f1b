"""Conversion of older client programs' files to TOML, for `gatepost config convert`. Pure.

Client programs read the older files as they are (`client.settings`); this is for whoever wants one form for all.
"""

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.client.settings import PARAMETERS, ClientSettings
from gatepost.config.dump import toml_string
from gatepost.config.old_server_file import comment_text
from gatepost.config.problem import Problem
from gatepost.config.units import format_size, format_time

_SIZES: Final = frozenset(("client_filtering_size_limit", "client_message_store_mem"))
_MODES: Final = frozenset(("send_mail_socket_mode",))


def build_client_file(settings: ClientSettings, problems: Sequence[Problem], file: str) -> str:
    """Return the settings file that says what an older one said: whatever differs from the defaults."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(ClientSettings)}
    lines = [
        f"# Converted from {comment_text(file)}: settings of client programs (gatepost client … -c FILE.toml).",
        *(["#", "# Not carried over:"] if problems else []),
        *(f"#   {comment_text(str(problem))}" for problem in problems),
        "",
    ]
    for parameter in PARAMETERS:
        value = getattr(settings, parameter.field)
        if value != defaults[parameter.field]:
            lines.append(f"{parameter.field} = {_write(parameter.field, value)}")
    return "\n".join(lines) + "\n"


def _write(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_string(str(each)) for each in value) + "]"
    if isinstance(value, float):
        return toml_string(format_time(value))
    if isinstance(value, int) and name in _SIZES:
        return toml_string(format_size(value))
    if isinstance(value, int) and name in _MODES:
        return toml_string(f"{value:o}")
    if isinstance(value, int):
        return str(value)
    return toml_string(value.value if isinstance(value, enum.Enum) else str(value))
