"""`gatepost lists show | add | remove | import | export`: allow and block lists, common ones and those of groups,
domains and single recipients. Asks the running gateway, which keeps them and writes down who changed what.

Files are CSV with a line of headings: `list,entry,scope,expires,note`; what `export` writes `import` reads. Exit codes:
0 done; 1 it cannot be done, or the gateway does not run; 2 a file cannot be read or written.
"""

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import cyclopts

from gatepost.cli.gateway import (
    DEFAULT_FILE,
    EXIT_BAD_OPTIONS,
    EXIT_UNREADABLE,
    AsJson,
    Caller,
    ConfigFile,
    complain,
    print_json,
)
from gatepost.config.sender_entry import parse_sender_entry
from gatepost.model.foreign_text import printable

COLUMNS: Final = ("list", "entry", "scope", "expires", "note")
STEP: Final = 100
"""Entries of one request of an import: a request is bounded, an entry with its note has up to 700 bytes."""
SIZE_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a file that is imported: more than all entries there can be."""

app = cyclopts.App(name="lists", help="Allow and block lists: show, add, remove, import, export.")

Side = Literal["allow", "block"]
Scope = Annotated[
    str, cyclopts.Parameter(name="--for", help="for whom: group:NAME, a domain, one address; nothing = everybody")
]


@app.command
def show(
    text: str = "",
    /,
    *,
    side: Annotated[Side | None, cyclopts.Parameter(name="--list", help="only this list")] = None,
    scope: Annotated[
        str | None, cyclopts.Parameter(name="--for", help="only for: group:NAME, a domain, one address; '' = everybody")
    ] = None,
    as_json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Show the entries, newest first, and those of the configuration behind them.

    Parameters
    ----------
    text
        Only entries in which this stands: in entry, scope, note, or who made it.

    """
    rows = list(_rows(Caller(conf_file), text, side, scope))
    if as_json:
        print_json(rows)
        return 0
    for row in rows:
        print(_line(row))
    return 0


def _rows(
    caller: Caller, text: str = "", side: str | None = None, scope: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the entries; damage of the file is told."""
    chosen: dict[str, Any] = {"text": text, "list": side or ""}
    if scope is not None:
        chosen["scope"] = scope
    after: int | None = 0
    while after is not None:
        page = caller("lists.show", **chosen, after=after)
        if page["damage"] and not after:
            complain(page["damage"], EXIT_UNREADABLE)
        yield from page["rows"]
        after = page["next"]


def _line(row: "dict[str, Any]") -> str:
    number = str(row["id"]) if row["id"] else "-"
    whom = row["scope"] or "everybody"
    more = [
        f"{'ended' if row['ended'] else 'until'} {row['until']}" if row["until"] else "",
        f"in the configuration ({row['origin']})" if not row["id"] else f"by {row['by']}" if row["by"] else "",
        row["note"],
    ]
    told = "; ".join(filter(None, more))
    return printable(f"{number:>6} {row['side']:5} {_written(row)} for {whom}{f' ({told})' if told else ''}")


def _written(row: "dict[str, Any]") -> str:
    """Return an entry as `add` takes it: behind `!` nothing has to prove the sender."""
    return f"{'!' * row['free']}{row['entry']}"


@app.command
def add(
    side: Side,
    entry: str,
    /,
    *,
    scope: Scope = "",
    expires: Annotated[str, cyclopts.Parameter(name="--until", help="last day, as 2026-12-31")] = "",
    note: Annotated[str, cyclopts.Parameter(name="--note", help="why")] = "",
    as_json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Put an entry on a list; it counts at once.

    Parameters
    ----------
    side
        `allow` or `block`.
    entry
        An address or a mask of addresses, @domain, an IP address or a network.

    """
    done = Caller(conf_file)("lists.add", list=side, entry=entry, scope=scope, expires=expires, note=note)
    if as_json:
        print_json(done)
    else:
        print(f"{'added' if done['added'] else 'is there already'}: {_line(done['row']).strip()}")
    return 0


@app.command
def remove(
    *entries: str,
    side: Annotated[Side | None, cyclopts.Parameter(name="--list", help="only from this list")] = None,
    scope: Scope = "",
    as_json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Take entries off; entries of the configuration are removed there.

    Parameters
    ----------
    entries
        Numbers, as `show` has them, or entries as they stand there (those for --for, nothing = for everybody).

    """
    if not entries:
        return complain("which? `gatepost lists show` has numbers", EXIT_BAD_OPTIONS)
    caller = Caller(conf_file)
    numbers = {int(each) for each in entries if each.isascii() and each.isdigit()}
    try:
        named = {parse_sender_entry(each).mask.lower() for each in entries if not (each.isascii() and each.isdigit())}
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    found: set[str] = set()
    if named:
        for row in _rows(caller, side=side, scope=scope):
            if row["entry"].lower() in named:
                if not row["id"]:
                    text = f"{row['entry']} stands in the configuration ({row['origin']}): remove it there"
                    return complain(printable(text), EXIT_BAD_OPTIONS)
                numbers.add(row["id"])
                found.add(row["entry"].lower())
    if named - found:
        return complain(printable(f"no such entry: {', '.join(sorted(named - found))}"), EXIT_BAD_OPTIONS)
    removed = caller("lists.remove", ids=sorted(numbers))["removed"]
    if as_json:
        print_json(removed)
    else:
        for row in removed:
            print(f"removed: {_line(row).strip()}")
    missing = numbers - {row["id"] for row in removed}
    if missing:
        return complain(f"no such entry: {', '.join(map(str, sorted(missing)))}", EXIT_BAD_OPTIONS)
    return 0


@app.command(name="export")
def export_entries(
    file: Path | None = None, /, *, as_json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE
) -> int:
    """Write the entries as a file for `import`; not those of the configuration, nor those that have ended.

    Parameters
    ----------
    file
        Where to; nothing = standard output.

    """
    rows = [
        {
            "list": row["side"],
            "entry": _written(row),
            "scope": row["scope"],
            "expires": row["until"],
            "note": row["note"],
        }
        for row in _rows(Caller(conf_file))
        if row["id"] and not row["ended"]
    ]
    rows.reverse()  # as they were made
    if as_json:
        print_json(rows)
        return 0
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if file is None:
        sys.stdout.write(text.getvalue())
        return 0
    try:
        file.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        return complain(f"{file}: {error.strerror}", EXIT_UNREADABLE)
    print(f"{len(rows)} entries in {file}")
    return 0


@app.command(name="import")
def import_entries(
    file: Annotated[Path, cyclopts.Parameter(allow_leading_hyphen=True)],
    /,
    *,
    dry_run: Annotated[
        bool, cyclopts.Parameter(name="--dry-run", negative="", help="only say whether all of it can be")
    ] = False,
    as_json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Add the entries of a file; those that are there already are let alone. Nothing is added when one is wrong.

    Parameters
    ----------
    file
        CSV with the headings list,entry,scope,expires,note (the last three may be missing); - = standard input.

    """
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
            raw = source.read(SIZE_LIMIT + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        return complain(f"{file}: {error.strerror}", EXIT_UNREADABLE)
    except UnicodeDecodeError:
        return complain(f"{file} is no text in UTF-8", EXIT_UNREADABLE)
    if len(raw) > SIZE_LIMIT:
        return complain(f"{file} is longer than {SIZE_LIMIT} bytes", EXIT_BAD_OPTIONS)
    try:
        entries = _read(text)
    except (ValueError, csv.Error) as error:
        return complain(f"{file}: {error}", EXIT_BAD_OPTIONS)
    caller = Caller(conf_file)
    steps = range(0, len(entries), STEP)
    for at in steps:  # all of it is looked at before any of it counts
        caller("lists.add_many", entries=entries[at : at + STEP], first=at + 1, dry_run=True)
    added = 0
    for at in () if dry_run else steps:
        added += caller("lists.add_many", entries=entries[at : at + STEP])["added"]
    if as_json:
        print_json({"entries": len(entries), "added": added})
    elif dry_run:
        print(f"{len(entries)} entries: all of them can be")
    else:
        print(f"{added} added, {len(entries) - added} were there")
    return 0


def _read(text: str) -> list[dict[str, str]]:
    """Return the entries of a file. ValueError, csv.Error."""
    reader = csv.DictReader(io.StringIO(text), strict=True)
    headings = [heading.strip().lower() for heading in reader.fieldnames or ()]
    unknown = [heading for heading in headings if heading not in COLUMNS]
    if unknown or not {"list", "entry"} <= set(headings):
        raise ValueError(f"the first line is to be {','.join(COLUMNS)}")
    reader.fieldnames = headings
    entries = []
    for row in reader:
        if None in row:
            raise ValueError(f"line {reader.line_num} has more fields than the first one")
        entries.append({name: (value or "").strip() for name, value in row.items()})
    return entries
