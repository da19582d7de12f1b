"""`gatepost bypass on|off|status|list`: in an emergency mail passes unscanned, marked, for some minutes."""

import time
from typing import Annotated

import cyclopts

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, AsJson, Caller, ConfigFile, complain, print_json
from gatepost.cli.trace import parse_moment
from gatepost.cli.trace_view import show_row
from gatepost.control.bypass_order import MINUTES_LIMIT, REASON_LIMIT
from gatepost.notices.text import clean_text

app = cyclopts.App(name="bypass", help="In an emergency: mail passes unscanned, marked, for some minutes.")
Group = Annotated[list[str] | None, cyclopts.Parameter(name="--group", negative="", help="Only its mail; several.")]
Direction = Annotated[
    list[str] | None,
    cyclopts.Parameter(name="--direction", negative="", help="Only mail that goes this way; several."),
]


@app.command
def on(
    *,
    minutes: int,
    reason: str,
    group: Group = None,
    direction: Direction = None,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Let mail pass unscanned. Each is marked and recorded; administrators get a mail now and at the end.

    Parameters
    ----------
    minutes
        How long: it ends by itself, also over restarts.
    reason
        Why: it stands in the log, in the audit log and with every mail.

    """
    if not 1 <= minutes <= MINUTES_LIMIT:
        return complain(f"--minutes: 1 to {MINUTES_LIMIT}", EXIT_BAD_OPTIONS)
    told = Caller(conf_file)(
        "bypass.on", minutes=minutes, reason=reason, groups=group or [], directions=direction or []
    )
    return _show(told, as_json=as_json)


@app.command
def off(*, conf_file: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> int:
    """Have mail scanned again."""
    return _show(Caller(conf_file)("bypass.off"), as_json=as_json)


@app.command
def status(*, conf_file: ConfigFile = DEFAULT_FILE, as_json: AsJson = False) -> int:
    """Tell whether mail passes unscanned, why, and for how long yet."""
    return _show(Caller(conf_file)("bypass.status"), as_json=as_json)


@app.command(name="list")
def list_passed(
    *, since: str = "", limit: int = 200, conf_file: ConfigFile = DEFAULT_FILE, as_json: AsJson = False
) -> int:
    """List mail that has passed unscanned, newest first; `gatepost rescan ID` looks at one that is kept.

    Parameters
    ----------
    since
        From when on: 30m, 2h, 7d, 2026-01-31.
    limit
        Mails listed.

    """
    arguments: dict[str, object] = {"finding": "bypassed", "limit": limit}
    try:
        arguments |= {"since": parse_moment(since, time.time())} if since else {}
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    mails = Caller(conf_file)("tracking.search", **arguments)["mails"]
    if as_json:
        print_json(mails)
        return 0
    for mail in mails:
        print("  ".join(show_row(mail)))
    if not mails:
        print("no mail has passed unscanned")
    return 0


def _show(told: dict[str, object], *, as_json: bool) -> int:
    if as_json:
        print_json(told)
    elif not told["on"]:
        print("off: mail is scanned")
    else:
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + float(str(told["left_s"]))))
        print(f"ON: mail passes unscanned until {until}")
        for name, words in (("groups", "groups"), ("directions", "directions")):
            chosen = told[name]
            assert isinstance(chosen, list)
            print(f"  {words}: {', '.join(map(str, chosen)) or 'all'}")
        print(f"  by {clean_text(str(told['by']), REASON_LIMIT)}: {clean_text(str(told['reason']), REASON_LIMIT)}")
        if not told["every_relay"]:
            print("  not every relay has taken it yet; it is asked again")
    return 0
