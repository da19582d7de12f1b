"""`gatepost queue` by the documented options (specification management.md §5.4), beside its sub-commands."""

import sys
from typing import Annotated

import cyclopts

from gatepost.cli.choice import NOTHING, Chosen, Yes
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_BAD_OPTIONS, EXIT_NOT_DONE, Caller, ConfigFile, complain
from gatepost.cli.queue import list_queue, row_line
from gatepost.cli.queue_acts import act
from gatepost.cli.queue_acts import app as queue_app
from gatepost.cli.queue_repair import repair_queue
from gatepost.model.ids import parse_queue_id
from gatepost.relay.verbs import Verb

_STATES = {Verb.REMOVE: ["WFC", "QUE"], Verb.SCAN_FIRST: ["WFC"], Verb.SEND_FIRST: ["QUE"]}
"""Documented states that "all" means: what an operator holds stays (WFS is never seen)."""


app = queue_app
"""All of `gatepost queue`."""
app.command(repair_queue, name="repair")


def _documented(like: str, *names: str) -> cyclopts.Parameter:
    return cyclopts.Parameter(name=names, negative="", help=f"as {like}")


@app.default
def documented(
    *,
    show_all: Annotated[bool, _documented("queue list", "-s", "--show-all")] = False,
    show_id: Annotated[str, _documented("queue list, of the message with this id", "--show-id")] = "",
    remove_all: Annotated[bool, _documented("queue remove --state WFC --state QUE", "-r", "--remove-all")] = False,
    remove_id: Annotated[str, _documented("queue remove ID --yes", "-d", "--remove-id")] = "",
    check_all: Annotated[bool, _documented("queue scan-first --state WFC", "--check-all")] = False,
    check_id: Annotated[str, _documented("queue scan-first ID", "--check-id")] = "",
    send_all: Annotated[bool, _documented("queue send-first --state QUE", "-a", "--send-all")] = False,
    send_id: Annotated[str, _documented("queue send-first ID", "-o", "--send-id")] = "",
    yes: Yes = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """List, remove, scan first or send first by the documented options. Exactly one of them is given."""
    asked = (show_all, show_id, remove_all, remove_id, check_all, check_id, send_all, send_id)
    if sum(map(bool, asked)) != 1:
        app.help_print()
        return complain("say one thing to do: a command, or --show-all, --show-id=ID, --remove-all …", EXIT_BAD_OPTIONS)
    if show_all:
        return list_queue(limit=0, conf_file=conf_file)
    if show_id:
        return _show_one(show_id, Caller(conf_file, queue_codes=True))
    verb = Verb.REMOVE
    if not (remove_all or remove_id):
        verb = Verb.SCAN_FIRST if check_all or check_id else Verb.SEND_FIRST
    queue_id = remove_id or check_id or send_id
    return act(
        verb,
        "",
        (queue_id,) if queue_id else (),
        NOTHING if queue_id else Chosen(state=_STATES[verb]),
        conf_file,
        everything=False,
        yes=yes or bool(queue_id) or not sys.stdin.isatty(),  # scripts, which have no terminal, have always gone on
        dry_run=False,
    )


def _show_one(queue_id: str, caller: Caller) -> int:
    try:
        message_id = parse_queue_id(queue_id)
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    row = caller("show", id=message_id)
    if row is None:
        return complain(f"{queue_id}: no such message in the queue", EXIT_NOT_DONE)
    print(row_line(row | {"recipients": [each["address"] for each in row.get("waiting", ())]}))
    print(f"1 queued messages, {row.get('size', 0)} bytes")
    return 0
