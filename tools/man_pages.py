"""Make the manual pages of all commands and of the configuration file, and the completion of three shells.

    python tools/man_pages.py DIRECTORY     # man/man1, man/man5, and what shells complete, as below /usr/share
    python tools/man_pages.py --check       # make them, have groff and the shells look, keep nothing

All of it is made from what the program itself goes by: its commands' definitions and the schema. Nothing is kept in the
tree, so nothing can be out of date; packages call this when they are built. `--check` is a part of `make check`.
"""

import argparse
import enum
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cyclopts
import docstring_parser
import msgspec

from gatepost import __version__
from gatepost.cli import licence, run, update
from gatepost.cli.config import describe_field
from gatepost.cli.main import app
from gatepost.config.load import DEFAULT_PATH
from gatepost.config.schema import FIELDS, SECTIONS

SHELLS = {
    "bash": "bash-completion/completions/gatepost",
    "zsh": "zsh/site-functions/_gatepost",
    "fish": "fish/vendor_completions.d/gatepost.fish",
}
"""Where each shell looks for it below /usr/share."""
MANUAL = "Gatepost"
CHECK_S = 60


class Option(msgspec.Struct, frozen=True):
    """An argument or an option of a command."""

    names: tuple[str, ...]
    """As typed; of an argument, its place holder."""
    value: str
    """Place holder of its value, "" for a switch."""
    words: str
    default: str
    required: bool
    positional: bool
    repeatable: bool


class Command(msgspec.Struct, frozen=True):
    """A command, and what stands below it."""

    path: tuple[str, ...]
    """Words that call it, `gatepost` first."""
    summary: str
    description: str
    options: tuple[Option, ...]
    commands: tuple["Command", ...] = ()


def read_command(one: cyclopts.App, path: tuple[str, ...], summary: str = "") -> Command:
    """Return a command as its definition has it."""
    below = [name for name in one if not name.startswith("-")]
    function = one.default_command
    docs = docstring_parser.parse(inspect.cleandoc(function.__doc__ or "") if function else "")
    words = " ".join((docs.short_description or one.help or summary).split())
    options = _options(one) if function else ()
    return Command(
        path,
        summary or words,
        "\n\n".join(filter(None, [words, docs.long_description or ""])),
        options,
        tuple(read_command(one[name], (*path, name)) for name in below),
    )


def _options(one: cyclopts.App) -> tuple[Option, ...]:
    found: list[Option] = []
    told: set[str] = set()
    for argument in one.assemble_argument_collection(parse_docstring=True):
        # Of two of one name the command's own counts, which comes first.
        if not argument.show or not argument.names or not told.isdisjoint(argument.names):
            continue
        told.update(argument.names)
        positional = argument.index is not None
        name = argument.names[-1].lstrip("-")
        hint = argument.hint
        switch = hint is bool
        words = _sentence(" ".join((argument.parameter.help or "").split()), _choices(hint))
        default = argument.field_info.default
        shown = "" if default in (None, "", False, (), inspect.Parameter.empty) else _default(default)
        found.append(
            Option(
                (name.upper(),) if positional else tuple(sorted(argument.names, key=len)),
                "" if switch or positional else name.upper(),
                words,
                shown,
                argument.required,
                positional,
                "list" in str(hint) or "tuple" in str(hint),
            )
        )
    return tuple(found)


def _choices(hint: Any) -> list[str]:
    """Return the words of which a value is one, [] when it is anything."""
    kinds = [kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type) and issubclass(kind, enum.Enum)]
    return [_default(each) for kind in kinds for each in kind]


def _sentence(words: str, choices: list[str]) -> str:
    words = f"{words[:1].upper()}{words[1:]}"
    if words and not words.endswith((".", "…")):
        words += "."
    return f"{words} One of {', '.join(choices)}.".strip() if choices else words


def _default(value: Any) -> str:
    """Return a value as it is typed: a command line knows members of an enumeration by their names."""
    return value.name.lower().replace("_", "-") if isinstance(value, enum.Enum) else str(value)


def escape(text: str) -> str:
    """Return text as roff shows it unchanged."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in text.split("\n"))


def _head(name: str, section: int, summary: str) -> str:
    title = f'.TH "{name.upper()}" {section} "" "Gatepost {__version__}" "{MANUAL}"'
    return f"{title}\n.SH NAME\n{escape(name)} \\- {escape(summary.rstrip('.'))}\n"


def _paragraphs(text: str) -> str:
    blocks = [" ".join(block.split()) for block in text.split("\n\n")]
    return "\n.PP\n".join(escape(block) for block in blocks if block) + "\n"


def _synopsis(command: Command) -> str:
    parts = [f".B {escape(' '.join(command.path))}"]
    for option in command.options:
        if option.positional:
            text = f"\\fI{escape(option.names[0])}\\fR" + (" ..." if option.repeatable else "")
        else:
            text = f"\\fB{escape(option.names[0])}\\fR" + (f" \\fI{escape(option.value)}\\fR" if option.value else "")
        parts.append(text if option.required else f"[{text}]")
    return "\n".join(parts) + "\n"


def _option_list(command: Command) -> str:
    lines = []
    for option in command.options:
        names = ", ".join(f"\\fB{escape(name)}\\fR" for name in option.names)
        if option.positional:
            names = f"\\fI{escape(option.names[0])}\\fR"
        told = option.words + (f" Default: {option.default}." if option.default else "")
        told += " May be repeated." if option.repeatable and not option.positional and "repeat" not in told else ""
        value = f" \\fI{escape(option.value)}\\fR" if option.value else ""
        lines.append(f".TP\n{names}{value}\n{escape(told.strip()) or escape(option.names[-1].lstrip('-'))}\n")
    return "".join(lines)


def _walk(command: Command) -> Iterator[Command]:
    yield command
    for below in command.commands:
        yield from _walk(below)


def build_page(command: Command) -> str:
    """Return the manual page of a command with all that stands below it."""
    text = _head("-".join(command.path), 1, command.summary)
    below = [one for one in _walk(command) if one is not command and (one.options or not one.commands)]
    forms = [_synopsis(command)] if command.options or not below else []
    if below:
        forms.append(f".B {escape(' '.join(command.path))}\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n")
    text += ".SH SYNOPSIS\n" + ".br\n".join(forms)
    text += ".SH DESCRIPTION\n" + _paragraphs(command.description)
    if command.options:
        text += ".SH OPTIONS\n" + _option_list(command)
    if below:
        text += ".SH COMMANDS\n"
        for one in below:
            text += f'.SS "{escape(" ".join(one.path))}"\n' + _synopsis(one) + ".PP\n"
            text += _paragraphs(one.description) + _option_list(one)
    return text + _see_also("gatepost(1)", "gatepost.toml(5)")


def _see_also(*pages: str) -> str:
    named = (re.sub(r"(.*)\((\d)\)", r"\\fB\1\\fR(\2)", escape(page)) for page in pages)
    return ".SH SEE ALSO\n" + ", ".join(named) + "\n"


def build_overview(commands: tuple[Command, ...]) -> str:
    """Return gatepost(1)."""
    text = _head("gatepost", 1, app.help or "")
    text += ".SH SYNOPSIS\n.B gatepost\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n"
    text += _paragraphs(
        "A mail security gateway: takes mail in, filters it, passes it on. What it does stands in one file, "
        "gatepost.toml(5). gatepost setup makes it by questions; gatepost doctor tells what is wrong, and the remedy."
        "\n\n"
        "Each command has a page of its own, gatepost-COMMAND(1), and shows the same with --help."
    )
    text += ".SH COMMANDS\n"
    for command in commands:
        text += f".TP\n\\fB{escape(command.path[1])}\\fR\n{escape(command.summary)}\n"
    text += f".SH FILES\n.TP\n.I {escape(DEFAULT_PATH)}\nThe configuration, unless \\-c names another one.\n"
    text += (
        ".TP\n.I /var/lib/gatepost\nQueue, databases, stores, records, unless the configuration keeps them elsewhere.\n"
    )
    text += ".SH EXIT STATUS\n0: done. 1: wrong options. Each command's page, or the manual, tells of others.\n"
    return text + _see_also("gatepost.toml(5)", "mailgw(1)", "gw-update(1)", "gw-license(1)")


def build_configuration() -> str:
    """Return gatepost.toml(5), of the schema."""
    text = _head("gatepost.toml", 5, "configuration of the mail security gateway")
    text += f".SH SYNOPSIS\n.I {escape(DEFAULT_PATH)}\n.SH DESCRIPTION\n"
    text += _paragraphs(
        'A file in TOML. Sizes and times are written with their unit: "50 MiB", "5 min", "2 days". A file whose name '
        "does not end in .toml is read in the documented INI form, with the documented names.\n\n"
        "gatepost config check tells what is wrong with it, with line and remedy; gatepost config explain NAME shows "
        "what stands here; gatepost config show what is in force. gatepost reload takes it into use; one with errors "
        "changes nothing."
    )
    for section in SECTIONS:
        heading = f"[[{section.name}]]" if section.array else f"[{section.name}]"
        text += f'.SH "{escape(heading)}"\n{_paragraphs(section.title)}'
        policy = {field.name for field in FIELDS["policy"]} if section.name == "group" else set()
        if policy:
            text += ".PP\nEvery parameter of [policy] may be set as well; what is left out has its value.\n"
        for field in FIELDS[section.name]:
            if field.name in policy:
                continue
            rows = describe_field(field)
            meaning = rows.pop("meaning")
            rows.pop("parameter")
            facts = "; ".join(f"{name}: {value}" for name, value in rows.items())
            text += f".TP\n\\fB{escape(field.name)}\\fR\n{escape(meaning)}.\n.br\n{escape(facts)}\n"
    return text + _see_also("gatepost(1)", "gatepost-config(1)")


def build_old(name: str, summary: str, usage: str, same: str) -> str:
    """Return the page of a command that takes the options of an older one."""
    forms = usage.removeprefix("usage:").strip()
    text = _head(name, 1, summary) + f".SH SYNOPSIS\n{escape(forms)}\n.SH DESCRIPTION\n"
    words = f"Takes the options of the older command of this name, and ends with its codes. It does what {same} does."
    return text + _paragraphs(words) + _see_also(f"gatepost-{same.split()[1]}(1)", "gatepost(1)")


def build_pages() -> dict[str, str]:
    """Return all pages by their file below man."""
    commands = tuple(
        read_command(app[name], ("gatepost", name), _summary(name)) for name in app if not name.startswith("-")
    )
    pages = {f"man1/{'-'.join(command.path)}.1": build_page(command) for command in commands}
    pages["man1/gatepost.1"] = build_overview(commands)
    pages["man5/gatepost.toml.5"] = build_configuration()
    daemon = cyclopts.App(name="mailgw")
    daemon.default(run.start)
    pages["man1/mailgw.1"] = build_page(read_command(daemon, ("mailgw",)))
    pages["man1/gw-update.1"] = build_old("gw-update", "update databases", update._OLD_USAGE, "gatepost update")
    pages["man1/gw-license.1"] = build_old("gw-license", "licence keys", licence._OLD_USAGE, "gatepost licence")
    return pages


def _summary(name: str) -> str:
    return " ".join((app[name].help or "").split())


def build_completion(shell: str, of: cyclopts.App = app, name: str = "gatepost") -> str:
    """Return what a shell completes."""
    script = of.generate_completion(prog_name=name, shell=shell)  # type: ignore[arg-type]
    return re.sub(r"(?m)^# Generated by .*\n", "", script)


def write_all(directory: Path) -> None:
    """Write pages and completion below a directory."""
    files = {f"man/{place}": text for place, text in build_pages().items()}
    files |= {place: build_completion(shell) for shell, place in SHELLS.items()}
    for place, text in files.items():
        (directory / place).parent.mkdir(parents=True, exist_ok=True)
        (directory / place).write_text(text, encoding="utf-8")


def find_faults(directory: Path) -> str:
    """Return what groff and the shells, as far as they are here, have against what was made."""
    faults = ""
    pages = sorted(map(str, (directory / "man").rglob("*.?")))
    commands = [["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z", *pages]]
    commands += [
        [shell, "-n", str(directory / place)] for shell, place in SHELLS.items() if (directory / place).exists()
    ]
    for command in commands:
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)
            faults += done.stderr if done.stderr or not done.returncode else f"{command[0]}: code {done.returncode}\n"
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("directory", nargs="?", type=Path)
    what.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check:
        write_all(arguments.directory)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        write_all(Path(directory))
        faults = find_faults(Path(directory))
    print(faults, end="", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
