"""Write docs/manual/parameters.md from the schema, or check that it is current (`--check`).

The schema is the only place where a parameter is described; this makes the chapter that people read.
"""

import sys
from pathlib import Path

from gatepost.config.parameter import Field, Kind, Required
from gatepost.config.schema import FIELDS, SECTIONS, Section, is_built

TARGET = Path(__file__).resolve().parent.parent / "docs" / "manual" / "parameters.md"

HEAD = """# Parameters

This chapter is made from the schema by `tools/parameter_manual.py`; do not edit it by hand.
How the files are written is told in [Configuration](configuration.md).

`gatepost config explain NAME` shows the same for one parameter, under any of its names.

- **Range** is the documented one; it binds the INI form. The **TOML range** is given where it is wider: values between
  the two are used, with a warning.
- **Default** holds when nothing is set. `<state>` is `state_path` of `[relay]`. The file that `gatepost config init`
  writes sets some parameters to other values, which suit today's mail.
- **Required**: *yes* in both forms; *INI* in the INI form only, where the documentation demands it.
- **In** names the gateway generations whose documentation has the parameter: G50, G55 (SMTP gateway 5.0, 5.5), M55, M56
  (mail gateway 5.5, 5.6), A30 (filtering server 3.0), F56 (content filter 5.6); *Gatepost* marks our own.
- *not built yet*: the parameter is read, checked and shown, but nothing acts on it so far; a warning says so.
"""

ROW = "| {} | {} | {} | {} | {} | {} | {} | {} |\n"


def cell(text: str) -> str:
    """Return text that cannot break a table."""
    return text.replace("|", "\\|") or "-"


def code(text: str) -> str:
    """Return text as code, nothing for nothing."""
    return f"`{text}`" if text else ""


def kind_text(field: Field) -> str:
    """Return type and unit of bare numbers."""
    parameter = field.parameter
    if parameter.kind is Kind.LIST:
        return f"list of {parameter.item.value}"
    if parameter.kind is Kind.STATUSES:
        return "status list"
    if parameter.kind is Kind.CHOICE:
        return "word"
    unit = parameter.unit.word
    return f"{parameter.kind.value}, {unit}" if unit else parameter.kind.value


def range_text(field: Field) -> str:
    """Return the documented range, and the TOML range where it is wider."""
    parameter = field.parameter
    if parameter.kind in (Kind.FLAG, Kind.LIST):
        return ""
    documented, wide = parameter.describe_range(wide=False), parameter.describe_range(wide=True)
    return documented if documented == wide else f"{documented}; TOML {wide}"


def row(field: Field) -> str:
    """Return the table row of a parameter."""
    parameter = field.parameter
    meaning = parameter.meaning if is_built(field) else f"{parameter.meaning}. *Not built yet.*"
    aliases = "".join(f", `{alias}`" for alias in parameter.aliases)
    required = {Required.NO: "", Required.INI: "INI", Required.ALWAYS: "yes"}[parameter.required]
    return ROW.format(
        code(field.name),
        cell(code(parameter.documented) + aliases),
        cell(kind_text(field)),
        cell(range_text(field)),
        cell(code(field.default_text())),
        cell(required),
        cell(parameter.generations),
        cell(meaning),
    )


def section_text(section: Section) -> str:
    """Return the part of the manual about one section."""
    heading = f"[[{section.name}]]" if section.array else f"[{section.name}]"
    text = f"\n## `{heading}`\n\n{section.title}\n"
    if not section.external:
        text += "\nValues may not come from external files.\n"
    fields = FIELDS[section.name]
    if section.name == "group":
        policy = {field.name for field in FIELDS["policy"]}
        fields = tuple(field for field in fields if field.name not in policy)
        text += "\nEvery parameter of `[policy]` may be set as well; what is left out has the policy's value.\n"
    head = ("Parameter", "INI name", "Type", "Range", "Default", "Required", "In", "Meaning")
    return text + "\n" + ROW.format(*head) + ROW.format(*["---"] * len(head)) + "".join(row(field) for field in fields)


def build_manual() -> str:
    """Return the whole chapter."""
    return HEAD + "".join(section_text(section) for section in SECTIONS)


def main(arguments: list[str]) -> int:
    """Write the chapter; with --check say whether the one on disk is current."""
    manual = build_manual()
    if "--check" not in arguments:
        TARGET.write_text(manual, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == manual:
        return 0
    print("docs/manual/parameters.md is not current; run: python tools/parameter_manual.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
