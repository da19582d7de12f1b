"""`gatepost shadow [NAME]`: what settings that are tried without effect would have changed, and for which mails."""

import time

from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, AsJson, Caller, ConfigFile, complain, print_json
from gatepost.cli.trace_view import show_row
from gatepost.notices.text import clean_text

MAILS = 50
_WIDTH = 200


def shadow(
    name: str = "", /, *, limit: int = MAILS, conf_file: ConfigFile = DEFAULT_FILE, as_json: AsJson = False
) -> int:
    """Show what shadows would have changed: how often, for which mails, and the edit that makes one real.

    Parameters
    ----------
    name
        One of them: its mails and its edit, too.
    limit
        Mails listed.

    """
    caller = Caller(conf_file)
    shadows = caller("shadow.list")
    chosen = [each for each in shadows if not name or each["name"] == name]
    if name and not chosen:
        there = ", ".join(each["name"] for each in shadows) or "none"
        return complain(f"there is no shadow {name!r}; there are: {there}", EXIT_BAD_OPTIONS)
    if name:
        chosen[0]["mails"] = caller("tracking.search", finding=chosen[0]["finding"], limit=limit)["mails"]
    if as_json:
        print_json(chosen[0] if name else chosen)
        return 0
    if not chosen:
        print("no shadow is configured: a [[shadow]] section tries settings of groups on live mail, without effect")
    for each in chosen:
        _print(each)
    return 0


def _print(shadow: dict[str, object]) -> None:
    settings, groups, edits = shadow["settings"], shadow["groups"], shadow["edits"]
    assert isinstance(settings, list)
    assert isinstance(groups, list)
    assert isinstance(edits, list)
    ended = bool(shadow["ends"]) and time.time() >= float(str(shadow["ends"]))
    until = f", until {shadow['until']}" + (" (over)" if ended else "") if shadow["until"] else ""
    print(f"{shadow['name']}: {shadow['changed']} of {shadow['checked']} would have changed{until}")
    print(f"  groups: {', '.join(map(str, groups))}")
    for setting in settings:
        print(f"  {setting['name']} = {clean_text(str(setting['value']), _WIDTH)}")
    mails = shadow.get("mails")
    if isinstance(mails, list):
        print("To make it real:")
        for edit in edits:
            place = f"group {edit['group']}" if edit["section"] == "group" else "policy"
            print(f"  [{place}] {edit['name']} = {clean_text(str(edit['value']), _WIDTH)}")
        print("Mails it would have treated otherwise, newest first:" if mails else "No mail yet.")
        for row in mails:
            print("  " + "  ".join(show_row(row)))
