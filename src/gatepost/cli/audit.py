"""`gatepost audit`: who changed what, and who looked at whose mail. `gatepost audit verify`: whether the log is whole.

Asks the running gateway. Exit codes: 0 done, 1 the gateway does not run, 4 the log has been tampered with.
"""

from typing import Annotated

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_NOT_DONE, AsJson, Caller, ConfigFile, complain, print_json
from gatepost.model.foreign_text import printable

app = cyclopts.App(name="audit", help="Who changed what, and who looked at whose mail.")


@app.default
def show(
    *,
    who: Annotated[str, cyclopts.Parameter(help="only acts of this account")] = "",
    act: Annotated[str, cyclopts.Parameter(help="only this act, or all that begin so: accounts, accounts.add")] = "",
    text: Annotated[str, cyclopts.Parameter(help="only entries with this text")] = "",
    limit: Annotated[int, cyclopts.Parameter(help="at most so many")] = 50,
    json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Show entries, the newest last."""
    entries = Caller(conf_file)("audit.list", who=who, call=act, text=text, limit=limit)[::-1]
    if json:
        print_json(entries)
        return 0
    for one in entries:
        arguments = " ".join(f"{name}={value}" for name, value in one["arguments"].items())
        origin = f"{one['via']} {one['address']}".rstrip()
        outcome = f": NOT DONE: {one['outcome']}" if one["outcome"] else ""
        who_did = one["who"] or "nobody"
        print(printable(f"{one['number']} {one['at']} {who_did} ({origin}) {one['call']} {arguments}{outcome}"))
    return 0


@app.command
def verify(*, json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Check that no entry was changed, left out or moved."""
    found = Caller(conf_file)("audit.verify")
    if json:
        print_json(found)
        return EXIT_NOT_DONE if found["trouble"] else 0
    if found["trouble"]:
        return complain(f"the audit log has been tampered with: {found['trouble']}", EXIT_NOT_DONE)
    print(f"whole: entries {found['first']} to {found['last']}")
    return 0
