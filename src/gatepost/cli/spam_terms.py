"""`gatepost spam terms check FILE`: whether a file of terms can be read, and what is in it.

The console's editor asks the same of what is to be saved. Exit codes: 0 correct; 2 the file cannot be read; 3 it has a
fault, which is told with its line.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from gatepost.antispam.terms.term import parse_terms
from gatepost.cli.gateway import AsJson, complain, print_json

EXIT_UNREADABLE = 2
EXIT_FAULT = 3

app = cyclopts.App(name="terms", help="Weighted terms of your own: check a file of them.")


@app.command
def check(file: Annotated[Path, cyclopts.Parameter(allow_leading_hyphen=True)], /, *, as_json: AsJson = False) -> int:
    """Read a file of terms as filters do, and say what is wrong with it, or how many terms are in it.

    Parameters
    ----------
    file
        The file, UTF-8; - = standard input.

    """
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        return complain(f"{file}: {error.strerror}", EXIT_UNREADABLE)
    found = describe_terms(raw)
    if as_json:
        print_json(found)
        return 0
    if found["problem"]:
        where = f"{file}:{found['line']}" if found["line"] else str(file)
        return complain(f"{where}: {found['problem']}", EXIT_FAULT)
    for category, number in found["categories"].items():
        print(f"{number:>7} {category}")
    print(f"{found['terms']:>7} in all")
    return 0


def describe_terms(raw: bytes) -> dict[str, Any]:
    """Return {"problem": "" when it can be read, "line": where it cannot, "terms", "categories": their numbers}."""
    try:
        base = parse_terms([("", raw)])
    except ValueError as error:
        where, _, what = str(error).removeprefix(":").partition(": ")
        known = where.isascii() and where.isdigit()
        return {
            "problem": what if known else str(error),
            "line": int(where) if known else 0,
            "terms": 0,
            "categories": {},
        }
    categories = dict.fromkeys(base.categories, 0)
    for term in base.terms:
        categories[term.category] += 1
    return {"problem": "", "line": 0, "terms": len(base.terms), "categories": categories}
