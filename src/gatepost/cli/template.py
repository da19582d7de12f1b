"""`gatepost template check FILE…`, `show NAME`, `preview FILE`: templates before they are put to use (row F-NOTI-10).

`show` prints a template of the product itself, to begin one's own with; `preview` fills one in with sample values.
Of a check every finding is one line, `FILE:LINE:COL: error|warning: text`. Exit codes: 0 correct, 1 wrong options, 2 a
file could not be read, 3 a file has a syntax error (which counts more than 2).
"""

import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from gatepost.cli.gateway import complain
from gatepost.config.grouping import LANGUAGES
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import ObjectAction
from gatepost.notices.facts import KNOWN_MACROS, MessageFacts, ObjectFacts, build_values
from gatepost.notices.grammar import TemplateError, UnreadableTemplateError
from gatepost.notices.notification import SUBJECT
from gatepost.notices.template import SHIPPED, Item, Values, load_template, shipped_path

CORRECT = 0
WRONG_OPTIONS = 1
UNREADABLE = 2
SYNTAX_ERROR = 3

SAMPLE_MOMENT = 1_767_268_800.0
"""When the sample message of a preview came: a fixed day, so that previews can be compared."""

_DIGEST_ITEM: Final = {
    "DIGEST_SENDER": "sender@example.net",
    "DIGEST_SUBJECT": "Prices",
    "DIGEST_TIME": "01/01/26 12:00:00",
    "DIGEST_RATE": "95",
    "DIGEST_RELEASE": "https://spam.example.org/l/release",
    "DIGEST_ALLOW": "https://spam.example.org/l/allow",
    "DIGEST_BLOCK": "https://spam.example.org/l/block",
}

app = App(name="template", help="Templates of notifications, placeholders and delivery reports.")

_KNOWN = frozenset(KNOWN_MACROS)


@app.command
def check(*files: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
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
    return max(_check_file(file) for file in files)


def _check_file(file: str) -> int:
    try:
        template = load_template(Path(file))
    except TemplateError as fault:
        for problem in fault.problems:
            print(f"{file}:{problem.line}:{problem.column}: error: {problem.what}")
        return UNREADABLE if isinstance(fault, UnreadableTemplateError) else SYNTAX_ERROR
    warnings = sorted(
        (*template.tree.warnings, *template.unknown_macros(_KNOWN)), key=lambda problem: (problem.line, problem.column)
    )
    for problem in warnings:
        print(f"{file}:{problem.line}:{problem.column}: warning: {problem.what}")
    return CORRECT


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
        return _check_file(str(file))
    values = _sample_values(blocked=blocked)
    subject = template.definition(SUBJECT, values)
    if subject:
        print(f"Subject: {subject}\n")
    sys.stdout.write(template.render(values).replace("\r\n", "\n"))
    return CORRECT


def _sample_values(*, blocked: bool) -> dict[str, Values]:
    """Return a value for every macro: of a message with an infected and a locked attachment."""
    facts = MessageFacts(
        hostname="gw.example.org",
        now=SAMPLE_MOMENT,
        queue_id="0123456789ABC",
        source_id="0123456789ABB",
        message_id="<sample@example.net>",
        subject="Prices",
        size=12345,
        client_ip="192.0.2.1",
        helo="mail.example.net",
        sender="sender@example.net",
        recipients=("first@example.org", "second@example.org"),
        group="policy",
        admin="postmaster@example.org",
        bases_date="2026-01-01",
        statuses=(ObjectStatus.INFECTED, ObjectStatus.PROTECTED),
        action="blocked" if blocked else "delivered",
        broken=("smime",),
    )
    objects = (
        ObjectFacts(
            name="prices.exe",
            content_type="application/octet-stream",
            status=ObjectStatus.INFECTED,
            action=ObjectAction.PLACEHOLDER,
            threats=("EICAR-Test-File",),
        ),
        ObjectFacts(
            name="locked.zip",
            content_type="application/zip",
            status=ObjectStatus.PROTECTED,
            action=ObjectAction.REMOVE,
        ),
    )
    counted = {"SUM_COUNT": "12"}
    return build_values(facts, objects) | {
        "AS_STATUS": "spam",
        "AS_METHOD": "content",
        "AS_RATE": "95",
        "DSN_ACTION": "failed",
        "DSN_UNTIL": "Fri, 02 Jan 2026 12:00:00 +0000",
        "DSN_RCPT": (Item("first@example.org", {"DSN_STATUS": "5.1.1", "DSN_DIAG": "550 5.1.1 no such user"}),),
        "DIGEST_ITEM": (Item("1", _DIGEST_ITEM),),
        "DIGEST_COUNT": "12",
        "DIGEST_MORE": "11",
        "DIGEST_PAGE": "https://spam.example.org/l/page",
        "DIGEST_UNTIL": "15/01/26 12:00:00",
        "DIGEST_ASKED": "no",
        "SUM_MESSAGES": "12",
        "SUM_BLOCKED": "12",
        "SUM_FIRST": "Thu, 01 Jan 2026 12:00:00 +0000",
        "SUM_LAST": "Thu, 01 Jan 2026 12:59:00 +0000",
        "SUM_THREAT": (Item("EICAR-Test-File", counted),),
        "SUM_SENDER": (Item("<sender@example.net>", counted),),
    }
