"""`gatepost template check FILE…`, `show NAME`, `preview FILE`: templates before they are put to use (row F-NOTI-10).

`show` prints a template of the product itself, to begin one's own with; `preview` fills one in with sample values.
Of a check every finding is one line, `FILE:LINE:COL: error|warning: text`. Exit codes: 0 correct, 1 wrong options, 2 a
file could not be read, 3 a file has a syntax error (which counts more than 2).
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from gatepost.cli.gateway import AsJson, complain, print_json
from gatepost.config.grouping import LANGUAGES
from gatepost.notices.facts import KNOWN_MACROS
from gatepost.notices.grammar import TemplateError, UnreadableTemplateError
from gatepost.notices.notification import SUBJECT
from gatepost.notices.sample import sample_values
from gatepost.notices.template import SHIPPED, load_template, shipped_path

CORRECT = 0
WRONG_OPTIONS = 1
UNREADABLE = 2
SYNTAX_ERROR = 3

app = App(name="template", help="Templates of notifications, placeholders and delivery reports.")

_KNOWN = frozenset(KNOWN_MACROS)


@app.command
def check(*files: Annotated[str, Parameter(allow_leading_hyphen=True)], json: AsJson = False) -> int:
    """Check template files and report every finding as FILE:LINE:COL: error|warning: text.

    Exit codes: 0 correct (warnings allowed), 1 wrong options, 2 unreadable file, 3 syntax error.

    Parameters
    ----------
    files
        The templates to check.
    """
    options = [file for file in files if file.startswith("-")]
    if options or not files:
        what = f"unknown option {options[0]}" if options else "no file named"
        print(f"gatepost template check: {what}; usage: gatepost template check FILE...", file=sys.stderr)
        return WRONG_OPTIONS
    checked = [_check_file(file) for file in files]
    findings = [each for _, found in checked for each in found]
    if json:
        print_json([msgspec.structs.asdict(each) for each in findings])
    else:
        _print(findings)
    return max(code for code, _ in checked)


class _Finding(msgspec.Struct, frozen=True):
    """What is wrong with a file; line and column count from 1."""

    file: str
    line: int
    column: int
    level: str
    text: str


def _check_file(file: str) -> tuple[int, list[_Finding]]:
    """Return the exit code and what was found, in order."""
    try:
        template = load_template(Path(file))
    except TemplateError as fault:
        found = [_Finding(file, problem.line, problem.column, "error", problem.what) for problem in fault.problems]
        return UNREADABLE if isinstance(fault, UnreadableTemplateError) else SYNTAX_ERROR, found
    warnings = sorted(
        (*template.tree.warnings, *template.unknown_macros(_KNOWN)), key=lambda problem: (problem.line, problem.column)
    )
    return CORRECT, [_Finding(file, problem.line, problem.column, "warning", problem.what) for problem in warnings]


def _print(findings: Iterable[_Finding]) -> None:
    for each in findings:
        print(f"{each.file}:{each.line}:{each.column}: {each.level}: {each.text}")


@app.command
def show(name: str, /, *, language: str = LANGUAGES[0]) -> int:
    """Print a template of the product itself, to be the beginning of one's own.

    Parameters
    ----------
    name
        For example placeholder, dsn, notify-admin.
    language
        `en` or `ru`.

    """
    names = sorted(path.stem for path in SHIPPED.glob("*.tmpl"))
    if name not in names or language not in LANGUAGES:
        known = f"there are: {', '.join(names)}; languages {', '.join(LANGUAGES)}"
        return complain(f"there is no template {name!r} in {language!r}; {known}", WRONG_OPTIONS)
    sys.stdout.write(shipped_path(name, language).read_text(encoding="utf-8"))
    return CORRECT


@app.command
def preview(file: Path, /, *, blocked: bool = False) -> int:
    """Print the text a template gives for a sample message, and the subject it defines for itself.

    Parameters
    ----------
    file
        The template.
    blocked
        The sample message was blocked, not delivered.

    """
    try:
        template = load_template(file)
    except TemplateError:
        code, findings = _check_file(str(file))
        _print(findings)
        return code
    values = sample_values(blocked=blocked)
    subject = template.definition(SUBJECT, values)
    if subject:
        print(f"Subject: {subject}\n")
    sys.stdout.write(template.render(values).replace("\r\n", "\n"))
    return CORRECT
