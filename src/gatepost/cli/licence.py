"""`gatepost licence`: keys of this installation, and for issuers: making and checking them (docs/manual/licence.md).

`gw-license` (`run_gw_license`) takes the documented options of the older command. Exit codes of both (specification
management.md §5.2): 0 done; 30 system error; 64 licensing error; 65 configuration error; 70 a key is corrupted.
"""

import contextlib
import datetime as dt
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import cyclopts

from gatepost import __version__
from gatepost.cli.choice import Yes, confirm
from gatepost.cli.gateway import DEFAULT_FILE, AsJson, ConfigFile, complain, print_json
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.feeds.keys import BadKey, build_public_text, generate_key, load_private, parse_public
from gatepost.feeds.keys import key_id as id_of
from gatepost.licence.changes import (
    Done,
    Place,
    add_key,
    following_end,
    plan_removal,
    remove_key,
    settle,
    tell_end,
    tell_limits,
)
from gatepost.licence.current import licences_of, read_standing, today
from gatepost.licence.key import Kind, LicenceCorrupt, LicenceError, LicenceKey, Right, build_key, parse_key
from gatepost.licence.store import Licences, Standing, resolve_issuers
from gatepost.licence.usage import FILE, Usage, read_usage
from gatepost.master.licensing import describe_standing
from gatepost.master.paths import Paths
from gatepost.spool import clock

EXIT_SYSTEM: Final = 30
EXIT_LICENCE: Final = 64
EXIT_CONFIGURATION: Final = 65
EXIT_CORRUPTED: Final = 70

app = cyclopts.App(name="licence", help="Licence keys: show, add, remove; issue and verify.")

Date = Annotated[dt.date | None, cyclopts.Parameter(negative="", help="YYYY-MM-DD")]


class _NotDoneError(Exception):
    """Carries the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def _config(conf_file: Path) -> Config:
    loaded = load(conf_file)
    if loaded.config is None:
        raise _NotDoneError("\n".join(str(problem) for problem in loaded.errors), EXIT_CONFIGURATION)
    return loaded.config


def _guarded(act: Any) -> int:
    """Do something; return its exit code."""
    try:
        return int(act() or 0)
    except _NotDoneError as error:
        return complain(str(error), error.code)
    except LicenceCorrupt as error:
        return complain(str(error), EXIT_CORRUPTED)
    except LicenceError as error:
        return complain(str(error), EXIT_SYSTEM if isinstance(error.__cause__, OSError) else EXIT_LICENCE)
    except OSError as error:
        return complain(f"{error.filename or ''}: {error.strerror}".lstrip(": "), EXIT_SYSTEM)


def _read(file: Path) -> bytes:
    return file.read_bytes()


@app.command
def show(file: Path | None = None, *, json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Show the active and the additional key, or what a key file says.

    Parameters
    ----------
    file
        A key that is not installed.

    """

    def act() -> None:
        config = _config(conf_file)
        if file is not None:
            key = parse_key(_read(file), resolve_issuers(config.licence.issuers))
            told = describe_standing(Standing(key=key, expires=key.expires, today=today()), Usage())
            print_json(told["active"]) if json else print(_describe_file(key))
            return
        standing = read_standing(config)
        usage = read_usage(Paths(config.relay.state_path).tracking / FILE, clock.now())
        print_json(describe_standing(standing, usage)) if json else print(_describe(standing, config))

    return _guarded(act)


@app.command
def add(file: Path, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Install a key: the active one, or the additional one that follows it.

    Parameters
    ----------
    file
        The key as its issuer sent it.

    """

    def act() -> None:
        _tell(add_key(licences_of(_config(conf_file)), _read(file), today()))

    return _guarded(act)


@app.command
def remove(which: str, *, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Remove a key, having told what that changes and asked.

    Parameters
    ----------
    which
        `active` or `additional`.

    """

    def act() -> None:
        if which not in set(Place):
            raise _NotDoneError(f"{which!r}: say active or additional", EXIT_CONFIGURATION)
        licences, place = licences_of(_config(conf_file)), Place(which)
        if not yes:
            _ask(licences, place)
        _tell(remove_key(licences, place, today()))

    return _guarded(act)


def _ask(licences: Licences, place: Place) -> None:
    """Tell what the removal of a key changes, and ask. _NotDoneError: nobody has agreed."""
    with contextlib.suppress(LicenceError):  # what is broken can be removed, too
        for line in settle(licences, today()):
            print(line)
    print(*plan_removal(licences, place, today()), sep="\n")
    if not confirm(f"remove the {place} key?"):
        raise _NotDoneError("nothing is removed", EXIT_LICENCE)


def _tell(done: Done) -> None:
    print(*done.told, sep="\n")
    if done.in_use and done.may_start:
        print("a running gateway takes the change into use by `gatepost reload`")


@app.command
def keygen(file: Path) -> int:
    """Make a key pair for an issuer: the private half goes to FILE, the public half is printed.

    Parameters
    ----------
    file
        A new file. Whoever has it can issue licences that are believed.

    """

    def act() -> None:
        public = generate_key(file)
        print(f"issuer {id_of(public)}, private half in {file}")
        print(f'[licence]\nissuers = ["{build_public_text(public)}"]')

    return _guarded(act)


@app.command
def issue(
    file: Path,
    *,
    signer: Annotated[Path, cyclopts.Parameter(name="--key", help="private key of the issuer")],
    serial: str,
    issuer: str,
    holder: str = "",
    kind: Annotated[Kind, cyclopts.Parameter(name="--type", help="what it is")] = Kind.COMMERCIAL,
    expires: Date = None,
    days: int = 0,
    users: int = 0,
    megabytes: int = 0,
    rights: Annotated[str, cyclopts.Parameter(help="av or av,as")] = "av,as",
) -> int:
    """Issue a licence: write a signed key to FILE.

    Parameters
    ----------
    file
        A new file.
    serial
        Its number; no two keys of one issuer have the same.
    issuer
        Name of the issuer.
    holder
        Whom it is for.
    days
        Life span when it follows another key; without --expires also of a first key, from today. 0: without end.
    users
        Protected addresses; 0: any number.
    megabytes
        Received in a day; 0: any amount.

    """

    def act() -> None:
        try:
            private = load_private(signer)
            wanted = _parse_rights(rights)
            end = expires or (today() + dt.timedelta(days - 1) if days else None)
            key = LicenceKey(
                serial=serial, kind=kind, issuer=issuer, holder=holder, created=today(), expires=end, days=days,
                users=users, megabytes=megabytes, rights=wanted,
            )  # fmt: skip
            raw = build_key(key, private)
            parse_key(raw, {id_of(private.public_key()): private.public_key()})
        except (BadKey, LicenceError, ValueError) as error:
            raise _NotDoneError(str(error), EXIT_CONFIGURATION) from None
        with file.open("xb") as made:
            made.write(raw)
        print(f"key {serial} is in {file}")

    return _guarded(act)


def _parse_rights(text: str) -> tuple[Right, ...]:
    named = tuple(each.strip() for each in text.split(","))
    if not {"av"} <= set(named) <= set(Right):
        raise ValueError(f"--rights {text[:40]!r}: av or av,as")
    return tuple(Right(each) for each in named)


@app.command
def verify(
    file: Path,
    *,
    trust: Annotated[list[str] | None, cyclopts.Parameter(negative="", help="public key of an issuer")] = None,
    json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Tell whether a key is sound and whose it is.

    Parameters
    ----------
    file
        The key.

    """

    def act() -> None:
        if trust:
            try:
                issuers = {id_of(each): each for each in map(parse_public, trust)}
            except BadKey as error:
                raise _NotDoneError(str(error), EXIT_CONFIGURATION) from None
        else:
            issuers = dict(resolve_issuers(_config(conf_file).licence.issuers))
        key = parse_key(_read(file), issuers)
        if json:
            print_json(describe_standing(Standing(key=key, expires=key.expires, today=today()), Usage())["active"])
            return
        end = "" if key.expires is None else f", until {key.expires}"
        print(f"sound: key {key.serial} of {key.issuer}, issued to {key.holder or 'nobody named'}{end}")

    return _guarded(act)


def _describe(standing: Standing, config: Config) -> str:
    directory = Path(config.path.license_path)
    lines = [f"Gatepost licences, version {__version__}", "", "Active key info"]
    if standing.key is None:
        lines.append("  there is no key: `gatepost licence add FILE` installs one")
    else:
        place = "comes with the program" if standing.open else str(directory / "active.key")
        lines += _block(standing.key, place, standing.expires, standing.days_left)
    lines += ["", "Additional key info"]
    if standing.additional is None:
        lines.append("  there is none")
    else:
        lines += _block(standing.additional, str(directory / "additional.key"), None, None)[:3]
        lines.append(f"  Expiration date:  {_following_end(standing)}")
        lines.append(f"  Serial number:    {standing.additional.serial}")
    return "\n".join(lines)


def _block(key: LicenceKey, file: str, expires: dt.date | None, left: int | None) -> list[str]:
    end = tell_end(expires)
    if left is not None:
        end += f" (expires in {left} days)" if left >= 0 else " (expired)"
    rights = " and ".join({Right.ANTIVIRUS: "anti-virus", Right.ANTISPAM: "anti-spam"}[right] for right in key.rights)
    return [
        f"  Product name:     {key.product}: {rights}",
        f"  Key file:         {file}",
        f"  Type:             {key.kind.value}",
        f"  Expiration date:  {end}",
        f"  Serial number:    {key.serial}",
        f"  Limits:           {tell_limits(key)}",
    ]


def _following_end(standing: Standing) -> str:
    """Return when the additional key will expire: its term counts from the day after the active one's last."""
    assert standing.additional is not None
    days = standing.additional.days
    if not days:
        return "never"
    return f"{following_end(standing, standing.additional) or 'open'} ({days} days from its activation)"


def _describe_file(key: LicenceKey) -> str:
    rows = (
        ("Product name", key.product),
        ("Creation date", str(key.created)),
        ("Expiration date", str(key.expires or "never")),
        ("Serial number", key.serial),
        ("Type", key.kind.value),
        ("Life span in days", str(key.days or "without end")),
        ("Limits", tell_limits(key)),
        ("Rights", ", ".join(right.value for right in key.rights)),
        ("Issuer", key.issuer),
        ("Issued to", key.holder or "-"),
    )
    return "\n".join(f"{name + ':':<19}{value}" for name, value in rows)


_OLD_USAGE: Final = "usage: gw-license [-c FILE] -h | -s | -k FILE | -a FILE | -d a|r | -da | -dr"


def run_gw_license(arguments: list[str] | None = None) -> None:
    """Entry point of the command `gw-license`."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(_old_command(list(given)))


def _old_command(given: list[str]) -> int:
    conf_file = DEFAULT_FILE
    if "-c" in given[:-1]:
        at = given.index("-c")
        conf_file = Path(given[at + 1])
        del given[at : at + 2]
    match given:
        case ["-h"]:
            print(_OLD_USAGE)
            return 0
        case ["-s"]:
            return show(conf_file=conf_file)
        case ["-k", file]:
            return show(Path(file), conf_file=conf_file)
        case ["-a", file]:
            return add(Path(file), conf_file=conf_file)
        case ["-da"] | ["-d", "a"]:
            return remove("active", yes=True, conf_file=conf_file)
        case ["-dr"] | ["-d", "r"]:
            return remove("additional", yes=True, conf_file=conf_file)
    return complain(_OLD_USAGE, EXIT_CONFIGURATION)
