"""`gatepost rules import | export`: rule sets from and to the documented XML.

Works on files, without a running gateway; what is imported counts after `gatepost reload`. Mounted by
`gatepost.cli.rules`. Exit codes: 0 done; 1 wrong options, or files that cannot be read or written; 66 errors in the
set.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, ConfigFile, complain
from gatepost.config.load import EXIT_ERRORS, load
from gatepost.config.problem import Problem, Severity
from gatepost.config.profiles_check import check_rule_set
from gatepost.config.profiles_files import STAGED, build_files, read_rule_set
from gatepost.config.profiles_xml import FILES_LIMIT, read_xml_set
from gatepost.config.profiles_xml_reading import CODECS, FILE_LIMIT
from gatepost.config.profiles_xml_writing import UnwritableError, build_xml_set
from gatepost.master.profiles_store import put_rule_set

KEPT_SUFFIX = ".before-import"
"""Behind the name of a copy of the set that an import replaced."""

_Place = Annotated[
    Path | None, cyclopts.Parameter(name="--directory", help="the set's; default: profiles.path of the configuration")
]
_Force = Annotated[bool, cyclopts.Parameter(negative="", help="Replace the set that is there; a copy of it is kept.")]


def import_set(
    source: Path,
    /,
    *,
    directory: _Place = None,
    check_only: Annotated[bool, cyclopts.Parameter(name="--check", negative="", help="Write nothing.")] = False,
    force: _Force = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Take a rule set in XML: the directory that holds profiles.xml. What has no place in a set of ours is named.

    Parameters
    ----------
    source
        The directory. It is not changed.
    """
    place = _place(directory, conf_file)
    if isinstance(place, int):
        return place
    try:
        files = _read_files(source)
    except OSError as error:
        return complain(f"{error.filename or source}: {error.strerror or error}", EXIT_BAD_OPTIONS)
    found = read_xml_set(files)
    _say(found.problems, f"{source}/")
    if found.rules is None:
        return EXIT_ERRORS
    problems = check_rule_set(found.rules)
    _say(problems, "")
    if any(problem.severity is Severity.ERROR for problem in problems):
        return EXIT_ERRORS
    count = f"{len(found.rules.profiles)} profiles"
    if check_only:
        print(f"{source}: {count}, sound")
        return 0
    if place.is_dir() and not force:
        return complain(f"{place} is there already: --force replaces it and keeps a copy", EXIT_BAD_OPTIONS)
    try:
        _keep_copy(place)
        put_rule_set(place, build_files(found.rules))
    except OSError as error:
        return complain(f"{error.filename or place}: {error.strerror or error}", EXIT_BAD_OPTIONS)
    print(f"{place}: {count}; in force after gatepost reload, while profiles.enabled is true")
    return 0


def export_set(
    target: Path,
    /,
    *,
    directory: _Place = None,
    encoding: Annotated[str, cyclopts.Parameter(help=f"{', '.join(CODECS)}.")] = "utf-8",
    force: Annotated[bool, cyclopts.Parameter(negative="", help="Also into a directory that is not empty.")] = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Write the rule set as XML; without a set of one's own the shipped one.

    Parameters
    ----------
    target
        Directory that the files are written to; it is made.
    """
    place = _place(directory, conf_file)
    if isinstance(place, int):
        return place
    if encoding not in CODECS:
        return complain(f"{encoding!r} is none of {', '.join(CODECS)}", EXIT_BAD_OPTIONS)
    rules, problems = read_rule_set(place)
    _say(problems, "")
    if any(problem.severity is Severity.ERROR for problem in problems):
        return EXIT_ERRORS
    try:
        files = build_xml_set(rules, encoding)
        if target.is_dir() and any(target.iterdir()) and not force:
            return complain(f"{target} is not empty", EXIT_BAD_OPTIONS)
        for name, raw in files.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
    except UnwritableError as error:
        return complain(str(error), EXIT_ERRORS)
    except OSError as error:
        return complain(f"{error.filename or target}: {error.strerror or error}", EXIT_BAD_OPTIONS)
    print(f"{target}: {len(files)} files")
    return 0


def _place(directory: Path | None, conf_file: Path) -> Path | int:
    if directory is not None:
        return directory
    loaded = load(conf_file, ["profiles.enabled=false"])  # a set with faults is no reason not to replace it
    if loaded.config is None:
        return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
    return Path(loaded.config.profiles.path)


def _read_files(source: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for directory, _, names in os.walk(source, onerror=_raise):
        for name in names:
            path = Path(directory) / name
            if len(files) > FILES_LIMIT:  # told by the reader
                return files
            with path.open("rb") as file:
                files[path.relative_to(source).as_posix()] = file.read(FILE_LIMIT + 1)
    return files


def _raise(error: OSError) -> None:
    raise error


def _keep_copy(place: Path) -> None:
    """Keep the set that is replaced, in the place of the copy before it."""
    if not place.is_dir():
        return
    copy = place.with_name(place.name + KEPT_SUFFIX)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(place, copy, ignore=shutil.ignore_patterns(STAGED), symlinks=True)


def _say(problems: tuple[Problem, ...], root: str) -> None:
    for problem in problems:
        print(f"{root}{problem}", file=sys.stderr)
