"""`gatepost config check | show | explain | convert | init`: what the administrator asks about the configuration;
`set`, `unset`, `history`, `rollback`, `recover` are `cli.config_edit`.

Mounted by `gatepost.cli.main`. Exit codes are the documented ones: 0, 65 (not loadable), 66 (errors in it).
"""

import difflib
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

import cyclopts
import msgspec

from gatepost.cli import config_edit
from gatepost.config.default import build_default_config
from gatepost.config.dump import build_conversion, build_effective
from gatepost.config.external import read_text
from gatepost.config.load import DEFAULT_PATH, EXIT_ERRORS, Loaded, load, load_text
from gatepost.config.old_server import build_from_old_server
from gatepost.config.old_server_file import OldFile, OldForm, read_old_file
from gatepost.config.parameter import Field, Kind, Required
from gatepost.config.problem import Form, Problem, Severity
from gatepost.config.schema import FIELDS, SECTION_BY_NAME, find_fields, is_built
from gatepost.master.settings import find_fault

EXIT_BAD_OPTIONS = 1

app = cyclopts.App(name="config", help="Check, show, explain, change, convert and create the configuration.")
app.command(config_edit.set_values, name="set")
app.command(config_edit.unset_values, name="unset")
app.command(config_edit.history)
app.command(config_edit.rollback)
app.command(config_edit.recover)

ConfFile = Annotated[str, cyclopts.Parameter(name=["--conf-file", "-c"], help="Configuration file.")]
Overrides = Annotated[
    list[str] | None,
    cyclopts.Parameter(name="--set", help="Section.Name=value that wins over the file; may be repeated."),
]
Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="Answer in JSON.")]


@app.command
def check(*, conf_file: ConfFile = DEFAULT_PATH, overrides: Overrides = None, as_json: Json = False) -> int:
    """Check the configuration and the files it names: every error and warning, with file, line and how to mend it."""
    loaded = _try_files(load(conf_file, overrides or ()))
    if as_json:
        answer = {"ok": not loaded.exit_code, "exit_code": loaded.exit_code, "problems": loaded.problems}
        print(_json(answer))
        return loaded.exit_code
    _print_problems(loaded, sys.stdout)
    if not loaded.exit_code:
        print("Config OK !")
    return loaded.exit_code


def _try_files(loaded: Loaded) -> Loaded:
    """Return it with what a start or a reload would find wrong with templates, certificates and keys."""
    if loaded.config is None:
        return loaded
    fault = find_fault(loaded.config)
    if not fault:
        return loaded
    problem = Problem(Severity.ERROR, loaded.file, 0, "", "", fault)
    return msgspec.structs.replace(loaded, config=None, problems=(*loaded.problems, problem))


@app.command
def show(
    *,
    conf_file: ConfFile = DEFAULT_PATH,
    overrides: Overrides = None,
    origin: Annotated[bool, cyclopts.Parameter(negative="", help="Say where each value comes from.")] = False,
    as_json: Json = False,
) -> int:
    """Print the effective configuration: every parameter with the value in force, as TOML."""
    loaded = load(conf_file, overrides or ())
    if loaded.config is None:
        _print_problems(loaded, sys.stderr)
        return loaded.exit_code
    if as_json:
        answer: dict[str, object] = {"config": loaded.config}
        if origin:
            answer["origins"] = {key: str(place) for key, place in loaded.origins.items()}
        print(_json(answer))
    else:
        print(build_effective(loaded, loaded.config, origins=origin), end="")
    return 0


@app.command
def explain(name: str, /, *, as_json: Json = False) -> int:
    """Explain a parameter, under any of its names: meaning, type, unit, ranges, default.

    Parameters
    ----------
    name
        For example maximal_backoff_time, MaximalBackoffTime, timeouts.read_timeout.
    """
    fields = find_fields(name)
    if not fields:
        near = difflib.get_close_matches(name, [field.name for fields in FIELDS.values() for field in fields])
        hint = f" Did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
        print(f"There is no parameter {name!r}.{hint}", file=sys.stderr)
        return EXIT_BAD_OPTIONS
    described = [describe_field(field) for field in fields]
    if as_json:
        print(_json(described))
    else:
        print("\n\n".join(_explanation(rows) for rows in described))
    return 0


@app.command
def convert(
    old: str,
    /,
    *,
    output: Annotated[str, cyclopts.Parameter(name=["--output", "-o"], help="Write to this file.")] = "",
    hostname: str = "",
) -> int:
    """Convert a documented file to TOML: a gateway's INI form, or the `keyword value` form of filtering servers
    and their clients.

    What cannot be carried over is named in comments.

    Parameters
    ----------
    old
        The file to convert. It is not changed.
    hostname
        Name of this host in DNS, for files of filtering servers, which have none; without it the system's.
    """
    found = _read_old(old)
    if found is not None and found.form is OldForm.CLIENT_20:
        return _convert_old_client(old, output)
    if found is not None:
        return _convert_old_server(found, hostname or socket.gethostname(), output)
    loaded = load(old)
    if loaded.config is None:
        if not loaded.readable:  # what is said of a gateway's own file does not help here
            loaded = msgspec.structs.replace(
                loaded, problems=tuple(msgspec.structs.replace(each, mend="") for each in loaded.problems)
            )
        _print_problems(loaded, sys.stderr)
        return loaded.exit_code
    return _write(build_conversion(loaded, loaded.config), output, force=False)


def _read_old(file: str) -> OldFile | None:
    try:
        return read_old_file(read_text(file), file)
    except (OSError, ValueError):
        return None  # `load` says why


def _convert_old_client(file: str, output: str) -> int:
    from gatepost.cli.client_conversion import build_client_file  # noqa: PLC0415 - clients are seldom wanted here
    from gatepost.client.settings import read_settings  # noqa: PLC0415

    read = read_settings(Path(file))
    if read.settings is None:
        print(*read.problems, sep="\n", file=sys.stderr)
        return EXIT_ERRORS
    return _write(build_client_file(read.settings, read.problems, file), output, force=False)


def _convert_old_server(old: OldFile, hostname: str, output: str) -> int:
    text = build_from_old_server(old, hostname)
    # What is wrong with it was wrong before: it is written all the same, to be mended there.
    for problem in load_text(text, output or "converted.toml", Form.TOML).problems:
        print(problem, file=sys.stderr)
    return _write(text, output, force=False)


@app.command
def init(
    *,
    output: Annotated[str, cyclopts.Parameter(name=["--output", "-o"], help="Write to this file.")] = "",
    force: Annotated[bool, cyclopts.Parameter(negative="", help="Overwrite the file.")] = False,
    state_path: str = "/var/lib/gatepost",
    hostname: str = "localhost.localdomain",
    listen: str = "0.0.0.0:25",
    next_hop: str = "[127.0.0.1:1025]",
    protected_domain: list[str] | None = None,
    postmaster: str = "",
) -> int:
    """Write the commented default configuration with the answers given.

    Parameters
    ----------
    state_path
        Directory of queue and logs.
    hostname
        Name of this gateway in DNS.
    listen
        Endpoint that receives mail, ip:port.
    next_hop
        Where all mail goes on to: [host:port], a domain, or "" for the MX of each recipient. Unless said, the mail
        system of this host, moved to port 1025.
    protected_domain
        Own domain; may be repeated.
    postmaster
        Address that gets mail for postmaster.
    """
    text = build_default_config(
        state_path=state_path,
        hostname=hostname,
        listen=listen,
        next_hop=next_hop,
        protected_domains=protected_domain or (),
        postmaster=postmaster,
    )
    return _write(text, output, force=force)


def describe_field(field: Field) -> dict[str, str]:
    """Return all there is to say about a parameter, heading by heading; what does not apply is left out."""
    parameter = field.parameter
    documented, wide = parameter.describe_range(wide=False), parameter.describe_range(wide=True)
    kind = parameter.kind.value
    if parameter.kind is Kind.LIST:
        kind = f"list of {parameter.item.value}"
    rows = {
        "parameter": f"[{field.section}] {field.name}",
        "documented name": parameter.documented,
        "also read as": ", ".join(parameter.aliases),
        "meaning": parameter.meaning,
        "type": kind,
        "unit of bare numbers": parameter.unit.word,
        "allowed": documented,
        "allowed in TOML": wide if wide != documented else "",
        "default": field.default_text() or ("none" if parameter.required is not Required.ALWAYS else ""),
        "required": "" if parameter.required is Required.NO else parameter.required.value,
        "generations": parameter.generations,
        "state": "" if is_built(field) else "accepted; not built yet",
        "external files": "" if SECTION_BY_NAME[field.section].external else "not allowed",
    }
    return {heading: text for heading, text in rows.items() if text}


def _explanation(rows: dict[str, str]) -> str:
    width = max(len(heading) for heading in rows) + 2
    return "\n".join(f"{heading + ':':<{width}}{text}" for heading, text in rows.items())


def _print_problems(loaded: Loaded, stream: TextIO) -> None:
    for problem in loaded.problems:
        print(problem, file=stream)


def _json(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)


def _write(text: str, output: str, *, force: bool) -> int:
    if not output:
        print(text, end="")
        return 0
    try:
        with Path(output).open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        print(f"{output}: {error.strerror}", file=sys.stderr)
        return EXIT_BAD_OPTIONS
    return 0


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the commands by themselves (`python -m gatepost.cli.config`) and return the exit code."""
    answer: object = app(arguments, result_action="return_value")
    return answer if isinstance(answer, int) else 0


if __name__ == "__main__":
    sys.exit(run())
