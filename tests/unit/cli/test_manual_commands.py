"""Commands as the documents print them: each names a sub-command that exists, with options it has, and what is
printed with its words is taken as it stands. What `--help` says of each, and of a word that is misspelt."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import cyclopts
import pytest
from tests.support.gateway import run_here

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

    `gatepost unix …` is a service in Postfix's master.cf, `gatepost gatepost/…` an answer of debconf.
    """
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if said := re.match(r"\s*(?:[$#] )?(?:sudo )?(?:\S*/)?gatepost (?!unix |gatepost/)([a-z].*)", line):
                yield words_of(said[1])
    for said in re.findall(r"`(?:sudo )?(?:[^`\s]*/)?gatepost ([a-z][^`\n]*)`", text):
        yield words_of(said)


def words_of(command: str) -> list[str]:
    """Return what the shell hands over; up to a comment, a pipe or another command, unless in quotes."""
    said = re.match(r"""(?:"[^"]*"|'[^']*'|<>|(?<!\s)\#|[^"'\#|;&>])*""", command)
    assert said
    return shlex.split(said[0])


def refusal_of(words: list[str]) -> str:
    """Say why a printed command would not be taken; "" of what is no more than a command's name, or a synopsis."""
    command = next((tuple(words[:length]) for length in range(4, 0, -1) if tuple(words[:length]) in COMMANDS), ())
    if not command or words == list(command) or any(word[0] in "[(" or "…" in word for word in words if word):
        return ""
    number = [re.sub("^N$", "1", word) for word in words]
    try:
        app.parse_args(number, print_error=False, exit_on_error=False)
    except cyclopts.CycloptsError as error:
        return str(error)
    return ""


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
    refused = {" ".join(words): why for words in printed_in(page.read_text()) if (why := refusal_of(words))}
    assert not refused


def test_commands_are_found_and_faults_told() -> None:
    assert sum(1 for page in PAGES for _ in printed_in(page.read_text())) > 200
    text = "```\n$ gatepost config lst --json | less\n/opt/bin/gatepost queue list \\\n  --jsn\n```\nor `gatepost quue list`.\n"
    assert [faults_of(words) for words in printed_in(text)] == [
        ["no command config lst"],
        ["no option --jsn of queue list"],
        ["no command quue"],
    ]
    assert [bool(refusal_of(words_of(said))) for said in ("queue list", "queue show [ID]", "queue show ID  # why")] == [
        False,
        False,
        False,
    ]
    assert "unable to convert" in refusal_of(words_of("queue list --limit many | less"))
    assert words_of("config set a='x; y' b=\"c # d\" && gatepost reload") == ["config", "set", "a=x; y", "b=c # d"]


def test_every_word_and_option_is_told() -> None:
    def untold(at: cyclopts.App, path: Command = ()) -> Iterator[str]:
        for name in at:
            if not name.startswith("-"):
                yield from untold(at[name], (*path, name))
        if at.default_command is not None:
            for argument in at.assemble_argument_collection(parse_docstring=True):
                if argument.show and not argument.parameter.help:
                    yield f"{' '.join(path)}: {argument.names}"

    assert not list(untold(app))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("queue lst", 'Unknown command "lst". Did you mean "list"?'),
        ("archive shw", 'Unknown command "shw". Did you mean "show"?'),
        ("audit verfy", 'Did you mean "verify"?'),
        ("quue", 'Did you mean "queue"?'),
        ("status now", "Nothing is known to do with: now"),
        ("queue list --jsn", "Did you mean --json?"),
        ("run --empty-set", "Unknown option: --empty-set"),
    ],
)
def test_misspelt_words_are_told(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(cyclopts.CycloptsError):
        app(words.split(), exit_on_error=False)
    told = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().err).split())
    assert said in told
    assert "Error" not in told.removeprefix("Error")


@pytest.mark.parametrize("words", ["backup verify", "config convert"])
def test_a_file_that_is_not_there_is_told_plainly(words: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = run_here(*words.split(), str(missing))
    assert done.returncode
    assert f"{missing}: " in done.stderr
    assert "no such file or directory" in done.stderr
    assert "Errno" not in done.stderr
    assert "-c" not in done.stderr.split("missing", 1)[1]
