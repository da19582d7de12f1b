"""Forms made of the configuration's schema: controls for parameters, and what a sent form changes. Pure but for reading
the form. Used by `console.pages.settings` and `console.pages.policy`.

Beside every control stands a box "by default" (in a group: "as the policy"). A form changes what differs from what it
showed, so that two people on two pages do not undo each other, and it says nothing of the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from litestar.connection import Request

FIELD: Final = "p:"
"""In front of a parameter's name in a form."""
DEFAULT: Final = "default:"
"""The box beside it."""
HIDDEN: Final = "(set, not shown)"
"""What calls give in place of a secret."""
ROWS_SHOWN: Final = 12
"""Lines of the box of a long list."""

_ON, _OFF = "true", "false"
_NUMBERS: Final = frozenset(("integer", "size", "duration"))


class Control(msgspec.Struct, kw_only=True):
    """One parameter as a form shows it."""

    name: str
    label: str
    kind: str
    """`text`, `select`, `textarea`, `checks`, `password`; `fixed`: shown only."""
    value: str = ""
    values: tuple[str, ...] = ()
    """Of `checks`: what is chosen."""
    choices: tuple[tuple[str, str], ...] = ()
    help: str = ""
    origin: str = ""
    is_default: bool = True
    default_word: str = "By default"
    error: str = ""
    required: bool = False
    rows: int = 3
    built: bool = True

    @property
    def id(self) -> str:
        return f"f-{self.name.replace('_', '-')}"


def plan_controls(
    section: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    can_edit: bool,
    problems: Sequence[Mapping[str, Any]] = (),
    item: int = 0,
    sent: Mapping[str, Sequence[str]] | None = None,
    only: frozenset[str] | None = None,
) -> list[Control]:
    """Return the controls of a section, or of the parameters `only`. `problems` are those of `configuration.values`;
    `sent` is a form that could not be taken: its values are shown again.
    """
    errors: dict[str, str] = {}
    for problem in problems:
        if problem["section"] == section["name"] and problem["item"] == item:
            words = ". ".join(filter(None, (problem["what"], problem["mend"])))
            errors.setdefault(problem["name"], words if problem["severity"] == "error" else f"Note: {words}")
    return [
        _control(
            parameter, values[parameter["name"]], errors, sent, in_group=section["name"] == "group", can_edit=can_edit
        )
        for parameter in section["parameters"]
        if only is None or parameter["name"] in only
    ]


def _control(
    parameter: Mapping[str, Any],
    value: Mapping[str, Any],
    errors: Mapping[str, str],
    sent: Mapping[str, Sequence[str]] | None,
    *,
    in_group: bool,
    can_edit: bool,
) -> Control:
    name, source = parameter["name"], value["source"]
    shown = show_value(value["value"])
    kind, choices = _kind(parameter)
    help_text = _help(parameter)
    if parameter.get("guard") == "file" or source == "external" or not can_edit:
        kind = "fixed"
        if source == "external":
            help_text = f"Held in an external file ({value['origin']}): edit it there. {help_text}"
        elif parameter.get("guard") == "file":
            help_text = f"Only the configuration file itself can set this. {help_text}"
    control = Control(
        name=name,
        label=name.replace("_", " "),
        kind=kind,
        value=shown,
        values=tuple(value["value"]) if kind == "checks" else (),
        choices=choices,
        help=help_text,
        origin=_origin(value),
        is_default=source not in {"file", "external"},
        default_word="As the policy" if in_group and name not in _OWN_OF_GROUP else "By default",
        error=errors.get(name, ""),
        required=parameter.get("required", False),
        rows=min(ROWS_SHOWN, max(3, shown.count("\n") + 2)),
        built=parameter.get("built", True),
    )
    if sent is not None and kind != "fixed" and FIELD + name in sent.get("names", ()):
        given = sent.get(FIELD + name, ())
        control.value = given[0] if given else ""
        control.values = tuple(given)
        control.is_default = DEFAULT + name in sent
    if kind == "password":
        control.value = ""
    return control


_OWN_OF_GROUP: Final = frozenset({"name", "senders", "recipients", "directions"})


def _kind(parameter: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
    kind = parameter["kind"]
    if parameter.get("secret"):
        return "password", ()
    if kind == "boolean":
        return "select", ((_ON, "yes"), (_OFF, "no"))
    if kind == "one of":
        return "select", tuple((word, word) for word in parameter["choices"])
    if kind == "list of":
        return "checks", tuple((word, word.replace("_", " ")) for word in parameter["choices"])
    return ("textarea" if kind == "list" else "text"), ()


def _help(parameter: Mapping[str, Any]) -> str:
    words = [parameter["meaning"][:1].upper() + parameter["meaning"][1:]]
    kind = parameter["kind"]
    if kind == "list":
        item = parameter.get("item", "text")
        words.append("one a line" if item == "text" else f"one {item} a line")
    elif kind in _NUMBERS and parameter.get("allowed"):
        words.append(f"allowed: {parameter['allowed']}")
    if parameter.get("secret"):
        words.append("what is set is never shown; leave it empty to keep it")
    if not parameter.get("built", True):
        words.append("accepted; not built yet")
    return "; ".join(words) + "."


def _origin(value: Mapping[str, Any]) -> str:
    text = value["text"] or "nothing"
    match value["source"]:
        case "policy":
            return f"inherited: {text}"
        case "default":
            return f"by default: {text}"
        case "derived":
            return f"set by a preset or an older parameter: {text}"
        case "override":
            return f"set on the command line: {text}; what stands in the file does not count"
    return ""


def show_value(value: object) -> str:
    """Return a value as a control holds it."""
    if isinstance(value, bool):
        return _ON if value else _OFF
    if isinstance(value, list | tuple):
        return "\n".join(str(each) for each in value)
    return str(value)


async def read_sent(request: Request[Any, Any, Any]) -> dict[str, list[str]]:
    """Return all fields of a form with all their values; `names`: the parameters it shows."""
    form = await request.form()
    sent = {name: [str(value).replace("\r\n", "\n") for value in form.getall(name)] for name in form}
    sent["names"] = [FIELD + name for name in sent.get("shown", [""])[0].split()]
    return sent


def plan_changes(
    section: Mapping[str, Any], values: Mapping[str, Any], sent: Mapping[str, Sequence[str]], item: int = 0
) -> list[dict[str, Any]]:
    """Return what a sent form changes of what it showed, as calls of `configuration` take it."""
    changes: list[dict[str, Any]] = []
    for parameter in section["parameters"]:
        name = parameter["name"]
        value = values[name]
        if FIELD + name not in sent["names"] or parameter.get("guard") == "file" or value["source"] == "external":
            continue
        place = {"section": section["name"], "item": item, "name": name}
        given = list(sent.get(FIELD + name, ()))
        wish = _wish(parameter, given)
        by_default, was_default = DEFAULT + name in sent, value["source"] != "file"
        changed = (
            bool(given and given[0].strip()) if parameter.get("secret") else wish != _held(parameter, value["value"])
        )
        if by_default and not was_default:
            changes.append({**place, "verb": "unset"})
        elif changed or (was_default and not by_default and not parameter.get("secret")):
            changes.append({**place, "verb": "set", "value": wish})
    return changes


def _wish(parameter: Mapping[str, Any], given: Sequence[str]) -> Any:
    kind = parameter["kind"]
    if kind == "list of":
        return [word for word in parameter["choices"] if word in given]
    first = given[0] if given else ""
    if kind == "list":
        return [line.strip() for line in first.split("\n") if line.strip()]
    if kind == "boolean":
        return first == _ON
    return first


def _held(parameter: Mapping[str, Any], value: Any) -> Any:
    """Return what a control with this value sends when nobody touches it."""
    kind = parameter["kind"]
    if kind == "list of":
        return [word for word in parameter["choices"] if word in value]
    if kind == "list":
        return [str(each).strip() for each in value if str(each).strip()]
    if kind == "boolean":
        return show_value(value) == _ON or str(value).lower() in {"yes", "y", "1", "on"}
    return show_value(value)
