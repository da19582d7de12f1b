"""Commands as the documents print them: each names a sub-command that exists, with options it has."""

import re
from collections.abc import Iterator
from pathlib import Path

import cyclopts
import pytest

from gatepost.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs" / "manual").glob("*.md")])
GENERAL = {"--help", "-h", "--version"}
PROGRAMS = {("client", "pipe"): {"--stdio", "--message"}}  # words a command hands to its client program

Command = tuple[str, ...]


def commands_below(at: cyclopts.App, path: Command = ()) -> Iterator[tuple[Command, set[str]]]:
    """Yield every sub-command with the names of its options."""
    for name in at:
        if not name.startswith("-"):
            yield from commands_below(at[name], (*path, name))
    if at.default_command is not None:
        yield path, {name for argument in at.assemble_argument_collection() for name in argument.names}


COMMANDS = dict(commands_below(app))
GROUPS = {command[:length] for command in COMMANDS for length in range(1, len(command) + 1)}


def printed_in(text: str) -> Iterator[list[str]]:
    """Yield the words behind `gatepost` of every command in a page: lines of its blocks, and quoted ones.

    `gatepost unix …` is a service in Postfix's master.cf.
    """
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if said := re.match(r"\s*(?:[$#] )?(?:sudo )?(?:\S*/)?gatepost (?!unix )([a-z].*)", line):
                yield words_of(said[1])
    for said in re.findall(r"`(?:sudo )?(?:[^`\s]*/)?gatepost ([a-z][^`\n]*)`", text):
        yield words_of(said)


def words_of(command: str) -> list[str]:
    return re.split(r"\s#|[|;&>]", command)[0].split()


def faults_of(words: list[str]) -> list[str]:
    """Say what of a printed command does not exist."""
    command: Command = ()
    for word in words:
        if (*command, word) not in GROUPS:
            break
        command = (*command, word)
    behind = words[len(command) : len(command) + 1]
    if command not in COMMANDS and behind and re.fullmatch(r"[a-z][a-z-]*", behind[0]):
        return [f"no command {' '.join((*command, *behind))}"]
    known = {option for each in COMMANDS if each[: len(command)] == command for option in COMMANDS[each]}
    known |= GENERAL | PROGRAMS.get(command, set())
    options = [said[0] for word in words if (said := re.match(r"--?[a-z][a-z-]*", word.lstrip("[(")))]
    return [f"no option {option} of {' '.join(command)}" for option in options if option not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_as_printed(page: Path) -> None:
    found = {" ".join(words): faults for words in printed_in(page.read_text()) if (faults := faults_of(words))}
    assert not found


def test_commands_are_found_and_faults_told() -> None:
    assert sum(1 for page in PAGES for _ in printed_in(page.read_text())) > 200
    text = "```\n$ gatepost config lst --json | less\n/opt/bin/gatepost queue list \\\n  --jsn\n```\nor `gatepost quue list`.\n"
    assert [faults_of(words) for words in printed_in(text)] == [
        ["no command config lst"],
        ["no option --jsn of queue list"],
        ["no command quue"],
    ]
