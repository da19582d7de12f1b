"""`gatepost account …`: who may sign in to the console. Asks the running gateway, which keeps the accounts.

Exit codes: 0 done, 1 it cannot be done or the gateway does not run, and says why.
"""

import getpass
import sys
import time
from typing import Annotated, Any

import cyclopts
from rich.console import Console
from rich.table import Table

from gatepost.cli.choice import Yes, agreed
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, AsJson, Caller, ConfigFile, complain, print_json
from gatepost.model.foreign_text import printable

app = cyclopts.App(name="account", help="Who may sign in to the console, and what they may do.")

_Stdin = Annotated[
    bool, cyclopts.Parameter(name="--stdin", negative="", help="read the password from standard input, one line")
]
_MadeUp = Annotated[bool, cyclopts.Parameter(name="--make-up", negative="", help="make a password up and print it")]
_Name = Annotated[str, cyclopts.Parameter(help="the account")]
_Role = Annotated[str, cyclopts.Parameter(name="--role", help="admin, operator, quarantine, read-only or domain")]
_Domains = Annotated[list[str] | None, cyclopts.Parameter(name="--domain", help="only mail of this domain; repeatable")]


@app.command(name="first-code")
def first_code(*, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Show the one-time code with which the first account is made."""
    code = Caller(conf_file)("session.first_code")["code"]
    if not code:
        return complain("somebody has an account already: `gatepost account list`", EXIT_BAD_OPTIONS)
    print(code)
    return 0


@app.command(name="list")
def list_(*, json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """List all accounts."""
    accounts = Caller(conf_file)("accounts.list")
    if json:
        print_json(accounts)
        return 0
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "role", "domains", "second step", "signed in", "sessions", "tokens"):
        table.add_column(heading)
    for one in accounts:
        second = ", ".join(filter(None, ("codes" if one["totp"] else "", "passkeys" if one["passkeys"] else "")))
        table.add_row(
            printable(one["name"]) + (" (disabled)" if one["disabled"] else ""),
            one["role"],
            printable(", ".join(one["domains"])) or "all",
            second or "none",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(one["signed_in"])) if one["signed_in"] else "never",
            str(one["sessions"]),
            str(len(one["tokens"])),
        )
    Console(soft_wrap=True, markup=False).print(table)
    return 0


@app.command
def add(
    name: str,
    *,
    role: _Role,
    domain: _Domains = None,
    stdin: _Stdin = False,
    make_up: _MadeUp = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Add an account.

    Parameters
    ----------
    name
        Under which somebody signs in.

    """
    try:
        password = _ask_password(stdin=stdin, make_up=make_up)
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    ask = Caller(conf_file)
    _show_made(ask("accounts.add", name=name, role=role, domains=domain or [], password=password), "added")
    return 0


@app.command
def password(
    name: str, *, stdin: _Stdin = False, make_up: _MadeUp = False, conf_file: ConfigFile = DEFAULT_FILE
) -> int:
    """Set an account's password; its sessions end.

    Parameters
    ----------
    name
        The account.

    """
    try:
        given = _ask_password(stdin=stdin, make_up=make_up)
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    _show_made(Caller(conf_file)("accounts.password", name=name, password=given), "new password set")
    return 0


@app.command
def change(
    name: str,
    *,
    role: Annotated[str, cyclopts.Parameter(name="--role", help="as for add")] = "",
    domain: _Domains = None,
    all_domains: Annotated[bool, cyclopts.Parameter(name="--all-domains", negative="", help="all mail again")] = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Change an account's role or domains.

    Parameters
    ----------
    name
        The account.

    """
    wanted: dict[str, Any] = {"role": role} if role else {}
    if domain or all_domains:
        wanted["domains"] = domain or []
    return _do(conf_file, "accounts.change", name, "changed", **wanted)


@app.command
def disable(name: _Name, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Let somebody sign in no more; their sessions end and their tokens count no longer."""
    return _do(conf_file, "accounts.change", name, "disabled", disabled=True)


@app.command
def enable(name: _Name, *, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Let somebody sign in again; their tokens count again, too."""
    row = Caller(conf_file)("accounts.change", name=name, disabled=False)
    print(f"{name}: enabled")
    if row["tokens"]:
        print(
            f"{len(row['tokens'])} token(s) count again. If others had got into the account: "
            f"`gatepost account password {name}` takes them away"
        )
    return 0


@app.command(name="forget-second")
def forget_second(name: _Name, *, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Take away the second steps of somebody who has lost their telephone, having asked."""
    if not agreed(f"take away one-time codes and passkeys of {printable(name)}? the password alone lets in", yes=yes):
        return 1
    return _do(conf_file, "accounts.forget_second", name, "one-time codes and passkeys taken away")


@app.command
def remove(name: _Name, *, yes: Yes = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Remove an account, with its second factors and its tokens, having asked."""
    if not agreed(f"remove the account {printable(name)}, its second factors and its tokens?", yes=yes):
        return 1
    return _do(conf_file, "accounts.remove", name, "removed")


@app.command
def token(
    name: str,
    label: str,
    *,
    right: Annotated[list[str], cyclopts.Parameter(name="--right", help="what it may; repeatable")],
    days: Annotated[float, cyclopts.Parameter(name="--days", help="how long it counts; 0 = for ever")] = 365,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Make a token for a program and print it, this once.

    Parameters
    ----------
    name
        The account it belongs to.
    label
        What the token is for.

    """
    print(Caller(conf_file)("accounts.add_token", name=name, label=label, rights=right, days=days)["token"])
    return 0


def _do(conf_file: ConfigFile, call: str, name: str, done: str, **arguments: object) -> int:
    Caller(conf_file)(call, name=name, **arguments)
    print(f"{name}: {done}")
    return 0


def _ask_password(*, stdin: bool, make_up: bool) -> str:
    """Return a password, "" only to have one made up. ValueError with a sentence when there is none to be had."""
    if make_up:
        return ""
    if stdin:
        given = sys.stdin.readline().rstrip("\r\n")
    else:
        given = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != given:
            raise ValueError("the two passwords differ")
    if not given:
        raise ValueError("the password is empty; --make-up has one made up and prints it")
    return given


def _show_made(made: dict[str, str], done: str) -> None:
    print(f"{made['name']}: {done}")
    if made["password"]:
        print(f"password: {made['password']}")
