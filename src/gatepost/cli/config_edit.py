"""`gatepost config set | unset | history | rollback | recover`: changes of the configuration file by command.

Mounted by `gatepost.cli.config`. A running gateway makes the change itself, as for the console: checked, written whole,
taken at once, undone when it cannot be, kept in the history; commands and paths outside the state directory it refuses.
Without one the file is edited where it lies, by whoever may write it. Exit codes: 0 done; 1 wrong options, or it cannot
be done; 65, 66 the file (as it would be) has errors.
"""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from gatepost.cli.choice import Yes, agreed
from gatepost.cli.gateway import AsJson, complain, print_json
from gatepost.config.editing import Change, EditError, Verb, edit
from gatepost.config.external import explain_os_error
from gatepost.config.file_text import decode_file
from gatepost.config.load import DEFAULT_PATH, EXIT_ERRORS, Loaded, load, load_text
from gatepost.config.parameter import Field, Kind
from gatepost.config.process import Relay
from gatepost.config.schema import SECTION_BY_NAME, find_field, find_fields, normalise_section
from gatepost.control.socket import ControlError, call, listens
from gatepost.master.configuration_history import History, build_diff
from gatepost.master.paths import Paths
from gatepost.master.settings import find_fault
from gatepost.storage.whole_file import replace_file, rewrite_file

EXIT_REFUSED = 1
DEFAULT_STATE = Path(Relay().state_path)

ConfFile = Annotated[str, cyclopts.Parameter(name=["--conf-file", "-c"], help="Configuration file.")]
StatePath = Annotated[Path, cyclopts.Parameter(help="State directory of the gateway.")]
Comment = Annotated[str, cyclopts.Parameter(name=["--comment", "-m"], help="Why, for the history.")]
DryRun = Annotated[bool, cyclopts.Parameter(negative="", help="Show the difference and what is wrong, change nothing.")]


class _WrongNameError(ValueError):
    """An argument names no parameter."""


def set_values(
    *assignments: str, comment: Comment = "", dry_run: DryRun = False, conf_file: ConfFile = DEFAULT_PATH
) -> int:
    """Set parameters: `gatepost config set limits.incoming_sessions=200 group:sales.check=no`.

    Parameters
    ----------
    assignments
        Name=value, the name in any spelling and with its section where it is needed; a list has one for each element.
    """
    return _change(list(assignments), Verb.SET, comment, conf_file, dry_run=dry_run)


def unset_values(
    *names: str, comment: Comment = "", dry_run: DryRun = False, conf_file: ConfFile = DEFAULT_PATH
) -> int:
    """Have the file say nothing of parameters any more: defaults count, in a group the policy's values.

    Parameters
    ----------
    names
        For example limits.incoming_sessions, group:sales.check.
    """
    return _change(list(names), Verb.UNSET, comment, conf_file, dry_run=dry_run)


def history(
    number: int | None = None, /, *, limit: int = 20, as_json: AsJson = False, conf_file: ConfFile = DEFAULT_PATH
) -> int:
    """List the versions of the file that a running gateway has applied, or show what one of them changed.

    Parameters
    ----------
    number
        Of a version.
    limit
        Versions listed, the newest first.
    """
    try:
        rows = _ask(load(conf_file), "history", limit=limit, **({} if number is None else {"number": number}))
    except ControlError as error:
        return complain(str(error), EXIT_REFUSED)
    if as_json:
        print_json(rows)
        return 0
    for row in rows:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["at"]))
        who = f"{row['who'] or 'somebody'} ({row['via']})"
        print(f"{row['number']:>6}{'*' if row['current'] else ' '} {at}  {who}  {row['comment']}".rstrip())
        if row["diff"]:
            print(row["diff"])
    return 0


def rollback(number: int, /, *, comment: Comment = "", yes: Yes = False, conf_file: ConfFile = DEFAULT_PATH) -> int:
    """Put a former version of the file in force, having asked.

    Parameters
    ----------
    number
        As `history` lists it.
    """
    if not agreed(f"put version {number} in the place of {conf_file} as it is now?", yes=yes):
        return EXIT_REFUSED
    return _say_done(load(conf_file), "rollback", number=number, comment=comment)


def recover(
    number: int | None = None,
    /,
    *,
    state: StatePath = DEFAULT_STATE,
    conf_file: ConfFile = DEFAULT_PATH,
) -> int:
    """Write a file that is lost anew, from the copies that are kept of it below the state directory.

    Written by root it stays root's, readable for the gateway's group; it is the gateway's user's when the gateway has
    written it before (changes by console, API or command).

    Parameters
    ----------
    number
        Of a version; without it the newest.
    """
    place = Path(conf_file)
    if place.exists():
        return complain(f"{place} is there: move it away, or use `gatepost config rollback`", EXIT_REFUSED)
    directory = Paths(str(state)).configuration
    try:
        versions = History(directory)
        numbers = versions.numbers() if number is None else [number]
        version = next(filter(None, map(versions.read, reversed(numbers))), None)
        if version is None:
            return complain(f"no copy can be read in {directory}: name the state directory with --state", EXIT_REFUSED)
        # Its owner may have been anybody. Whoever owns the copies must be able to read it, and no more unless they
        # could write it before: who may write it decides as whom the gateway runs, and which commands.
        theirs = versions.written_by_gateway()
        replace_file(place, version.text.encode(), mode=0o640, owner=directory.stat(), group_only=not theirs)
    except OSError as error:
        return complain(f"{error.filename or place}: {explain_os_error(error)}", EXIT_REFUSED)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.at))
    print(f"{place} is as version {version.number} of {at} was")
    print(f"look at it, then: gatepost config check -c {place}")
    return 0


def _change(words: list[str], verb: Verb, comment: str, conf_file: str, *, dry_run: bool) -> int:
    loaded = load(conf_file)
    if not words or not loaded.state_path:
        what = "\n".join(map(str, loaded.errors)) or "nothing to change: name parameters"
        return complain(what, loaded.exit_code or EXIT_REFUSED)
    try:
        changes = read_changes(words, verb, loaded)
    except _WrongNameError as error:
        return complain(str(error), EXIT_REFUSED)
    if not listens(Paths(loaded.state_path).control):
        return _edit_file(conf_file, changes, dry_run=dry_run)
    raw = msgspec.to_builtins(changes)
    if not dry_run:
        return _say_done(loaded, "apply", changes=raw, comment=comment)
    try:
        answer = _ask(loaded, "check", changes=raw)
    except ControlError as error:
        return complain(str(error), EXIT_REFUSED)
    print(answer["diff"] or "the file says that already")
    errors = [problem for problem in answer["problems"] if problem["severity"] == "error"]
    for problem in errors:
        print(problem["what"], file=sys.stderr)
    return EXIT_ERRORS if errors else 0


def read_changes(words: list[str], verb: Verb, loaded: Loaded) -> list[Change]:
    """Return changes of `Section.Name=value` words; several of one list name its elements. ValueError."""
    changes: dict[tuple[str, int, str], Change] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if bool(equals) != (verb is Verb.SET):
            raise _WrongNameError(f"{word[:80]!r}: {'write Name=value' if verb is Verb.SET else 'a name stands alone'}")
        item, field = _find(name.strip(), loaded)
        place = (field.section, item, field.name)
        given: str | list[str] | None = value.strip() if verb is Verb.SET else None
        if verb is Verb.SET and field.parameter.kind in (Kind.LIST, Kind.STATUSES):
            known = changes.get(place)
            former = known.value if known is not None and isinstance(known.value, list) else []
            parts = value.split(",") if field.parameter.kind is Kind.STATUSES else [value]
            given = [*former, *(part.strip() for part in parts if part.strip())]
        changes[place] = Change(field.section, field.name, verb, given, item)
    return list(changes.values())


def _find(name: str, loaded: Loaded) -> tuple[int, Field]:
    section, _, last = name.rpartition(".")
    normal = normalise_section(section)
    item = 0
    if normal.startswith("group:"):
        label = section.partition(":")[2]
        groups = [group.name for group in loaded.config.groups[:-1]] if loaded.config is not None else []
        if label not in groups:
            raise _WrongNameError(f"there is no group {label[:60]!r}")
        normal, item = "group", groups.index(label)
    elif normal.endswith("]") and "[" in normal:
        normal, _, number = normal[:-1].partition("[")
        item = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0
    if section:
        field = find_field(normal, last) if normal in SECTION_BY_NAME else None
        if field is None:
            raise _WrongNameError(f"there is no parameter {name[:80]!r}: `gatepost config explain` knows their names")
        return item, field
    found = [field for field in find_fields(name) if field.section != "group"]
    if len(found) != 1:
        places = ", ".join(f"{field.section}.{field.name}" for field in found)
        raise _WrongNameError(f"{name[:80]!r} is {'one of ' + places if found else 'no parameter'}: write Section.Name")
    return item, found[0]


def _edit_file(conf_file: str, changes: list[Change], *, dry_run: bool) -> int:
    """Edit the file of a gateway that does not run."""
    file = Path(conf_file)
    try:
        before = decode_file(file.read_bytes())
        after = edit(before.text, conf_file, changes)
        loaded = load_text(after, conf_file)
        fault = find_fault(loaded.config) if loaded.config is not None else ""
        if loaded.errors or fault:
            return complain("\n".join([*map(str, loaded.errors), *filter(None, (fault,))]), EXIT_ERRORS)
        print(build_diff(before.text, after, f"{conf_file} (before)", conf_file) or "the file says that already")
        if not dry_run:
            rewrite_file(file, before.encode(after))
    except (EditError, ValueError) as error:
        return complain(str(error), EXIT_REFUSED)
    except OSError as error:
        return complain(f"{conf_file}: {explain_os_error(error)}", EXIT_REFUSED)
    return 0


def _say_done(loaded: Loaded, what: str, **arguments: Any) -> int:
    try:
        done = _ask(loaded, what, **arguments)
    except ControlError as error:
        return complain(str(error), EXIT_REFUSED)
    if done["diff"]:
        print(done["diff"])
    print(f"version {done['number']}: {done['answer']}" if done["number"] else done["answer"])
    return 0


def _ask(loaded: Loaded, what: str, **arguments: Any) -> Any:
    if not loaded.state_path:
        raise ControlError("\n".join(map(str, loaded.errors)))
    return call(Paths(loaded.state_path).control, f"configuration.{what}", **arguments)
