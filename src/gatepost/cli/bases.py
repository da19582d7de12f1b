"""`gatepost bases`: make, sign, show and verify sets of databases. docs/manual/databases.md tells how.

Exit codes: 0 done; 1 wrong options; 2 a file cannot be read or written; 3 a set is not sound, or not to be trusted.
"""

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec

from gatepost.antivirus.sources import BadSource
from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, complain, print_json
from gatepost.config.load import load
from gatepost.feeds.bases import BasesError, list_sets
from gatepost.feeds.building import build_set
from gatepost.feeds.keys import BadKey, build_public_text, generate_key, key_id, load_private, resolve_keys
from gatepost.feeds.manifest import MANIFEST_FILE, BadSet, DatabaseSet, Kind, check_set, read_set

EXIT_BAD_OPTIONS = 1
EXIT_UNREADABLE = 2
EXIT_NOT_SOUND = 3

app = cyclopts.App(name="bases", help="Databases of anti-virus and anti-spam: make, sign, show, verify.")

Place = Annotated[Path | None, cyclopts.Parameter(help="a set, or a directory of sets; none: the configured ones")]
Trusted = Annotated[
    list[str] | None,
    cyclopts.Parameter(
        name="--trust", negative="", help="a public key to trust besides the shipped and configured ones"
    ),
]


@app.command
def keygen(file: Path) -> int:
    """Make a key pair: the private half goes to FILE, which must not exist; the public half is printed.

    Parameters
    ----------
    file
        Where the private key goes. Whoever has it can sign databases for every gateway that trusts it.

    """
    try:
        public = generate_key(file)
    except OSError as error:
        return complain(f"{file}: {error.strerror}", EXIT_UNREADABLE)
    print(f"key {key_id(public)}, private half in {file}")
    print("for gateways that are to trust it:")
    print(f'[ave]\ntrusted_keys = ["{build_public_text(public)}"]')
    return 0


@app.command
def build(
    directory: Path,
    *,
    key: Annotated[list[Path], cyclopts.Parameter(name="--key", negative="", help="private key; several: all sign")],
    name: Annotated[
        str, cyclopts.Parameter(name="--name", help="of the set; default: as before, or the directory's")
    ] = "",
    number: Annotated[int, cyclopts.Parameter(name="--number", help="of the set; default: one more than before")] = 0,
    issued: Annotated[str, cyclopts.Parameter(name="--issued", help="day, as 2026-01-31; default: today")] = "",
    kind: Annotated[
        Kind | None, cyclopts.Parameter(name="--kind", help="what it is for; default: as before, or antivirus")
    ] = None,
) -> int:
    """Compile and sign every file below DIRECTORY as a set of databases.

    Parameters
    ----------
    directory
        Where the files lie. For anti-virus: *.hash, *.pattern, *.container, *.good, *.ignore, yara/SCOPE/*.yar;
        for anti-spam: *.terms, *.samples, *.pictures and others.

    """
    try:
        day = dt.date.fromisoformat(issued) if issued else dt.datetime.now(tz=dt.UTC).date()
    except ValueError as error:
        return complain(f"--issued: {error}", EXIT_BAD_OPTIONS)
    before = _manifest_before(directory)
    name = name or (before.manifest.name if before else directory.resolve().name)
    number = number or (before.manifest.number + 1 if before else 1)
    kind = kind or (before.manifest.kind if before else Kind.ANTIVIRUS)
    try:
        made = build_set(directory, name, number, day, [load_private(each) for each in key], kind)
    except (BadSource, BadSet) as error:
        return complain(str(error), EXIT_NOT_SOUND)
    except (BadKey, OSError) as error:
        return complain(str(error), EXIT_UNREADABLE)
    print(f"{name} {number} of {day}: {made.manifest.records} records in {len(made.manifest.files)} file(s)")
    return 0


@app.command
def show(place: Place = None, *, as_json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Show sets of databases as they say of themselves: name, number, day, records, files."""
    return _report(place, conf_file, (), as_json=as_json, verified=False)


@app.command
def verify(
    place: Place = None, *, trust: Trusted = None, as_json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE
) -> int:
    """Verify signature and every file of sets of databases; ends with 3 when one is not sound or not trusted."""
    return _report(place, conf_file, trust or (), as_json=as_json, verified=True)


def _report(
    place: Path | None, conf_file: Path, trust: "list[str] | tuple[str, ...]", *, as_json: bool, verified: bool
) -> int:
    configured: tuple[str, ...] = ()
    places = [] if place is None else [place]
    if place is None or conf_file != DEFAULT_FILE or conf_file.exists():
        loaded = load(conf_file)
        if loaded.config is None:
            return complain("\n".join(str(problem) for problem in loaded.errors), EXIT_UNREADABLE)
        path = loaded.config.path
        places = places or [Path(path.bases_path), Path(path.as_bases_path)]
        configured = loaded.config.ave.trusted_keys
    try:
        keys = resolve_keys((*configured, *trust)) if verified else None
        directories = [
            each for place in places for each in ([place] if (place / MANIFEST_FILE).exists() else list_sets(place))
        ]
    except BadKey as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    except BasesError as error:
        return complain(str(error), EXIT_UNREADABLE)
    rows: list[dict[str, Any]] = []
    for directory in directories:
        try:
            database = read_set(directory, keys)
            if verified:
                check_set(database)
        except BadSet as error:
            rows.append({"directory": str(directory), "trouble": str(error)})
        else:
            rows.append(_row(database))
    rows = _in_order(rows)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print(_line(row))
    if not rows:
        return complain(f"{', '.join(map(str, places))}: no databases", EXIT_NOT_SOUND)
    return EXIT_NOT_SOUND if any("trouble" in row for row in rows) else 0


def _row(database: DatabaseSet) -> dict[str, Any]:
    return {
        "directory": str(database.directory),
        **msgspec.to_builtins(database.manifest),
        "digest": database.digest,
        "signer": database.signer,
    }


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return sets by kind and name, the newest of each first; what is not sound last. Only the newest is used."""
    sound = [row for row in rows if "trouble" not in row]
    sound.sort(key=lambda row: (row["kind"], row["name"], -row["number"]))
    newest: dict[tuple[str, str], int] = {}
    for row in sound:
        number = newest.setdefault((row["kind"], row["name"]), row["number"])
        row["newer"] = number if number > row["number"] else 0
    return [*sound, *(row for row in rows if "trouble" in row)]


def _line(row: "dict[str, Any]") -> str:
    if "trouble" in row:
        return f"BAD   {row['trouble']}"
    signed = f", signed by {row['signer']}" if row["signer"] else ""
    made = f"{row['kind']}: {row['name']} {row['number']} of {row['issued']}"
    older = f"; not used where number {row['newer']} can be" if row["newer"] else ""
    return f"{made}: {row['records']} records in {len(row['files'])} file(s){signed}{older}"


def _manifest_before(directory: Path) -> DatabaseSet | None:
    try:
        return read_set(directory, None)
    except BadSet:
        return None
