"""`gatepost rescan ID|FILE`: a kept message is looked at again, and what differs is shown.

The message is a file, or lies in a store or in the queue. It is compared with what is on record of it, or, with
--config, what the present configuration makes of it with what the other one does. The inspection is that of
`policy explain` (`cli.explaining`): nothing is delivered or saved. Exit codes: 0 the same, 1 something differs, 2 the
message cannot be read, 3 it could not be inspected; 65 and 66 as for `gatepost config check`.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import cyclopts

from gatepost.cli.explaining import EXIT_NOT_INSPECTED, TROUBLES, Case, explain_told
from gatepost.cli.explanation import Explanation, render_explanation
from gatepost.cli.gateway import DEFAULT_FILE, EXIT_UNREADABLE, AsJson, ConfigFile, complain, print_json
from gatepost.cli.rescan_difference import Change, compare, facts_in, look_in, look_of
from gatepost.cli.store_choice import Failed
from gatepost.cli.told_message import ToldMessage, find_stored, read_message
from gatepost.cli.trace import ask_or_read
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.control.socket import ControlError
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.ids import parse_queue_id
from gatepost.notices.text import clean_text

EXIT_DIFFERENT: Final = 1
ID_LENGTH: Final = 13
"""Characters of a queue id; that of an item in a store begins with one."""
_WIDTH: Final = 240

Told = dict[str, Any]


def rescan(
    message: str,
    /,
    *,
    other: Annotated[
        Path | None, cyclopts.Parameter(name="--config", help="another configuration, to be compared with this one")
    ] = None,
    network: Annotated[
        bool, cyclopts.Parameter(negative="", help="ask the network checks anew; else what is on record of them counts")
    ] = False,
    conf_file: ConfigFile = DEFAULT_FILE,
    as_json: AsJson = False,
) -> int:
    """Look at a kept message again and show what differs: findings, verdicts, edits, what becomes of it.

    Parameters
    ----------
    message
        Id of a message in a store or in the queue, as lists, log and trace show it, or a file (.eml).

    """
    configs = []
    for file in (conf_file, other):
        loaded = load(file) if file is not None else None
        if loaded is not None and loaded.config is None:
            return complain("\n".join(str(problem) for problem in loaded.errors), loaded.exit_code)
        if loaded is not None and loaded.config is not None:
            configs.append(loaded.config)
    records = _records(message, conf_file)
    try:
        told = _read(message, configs[0], conf_file, records)
    except Failed as failed:
        return failed.say()
    except OSError as error:
        return complain(f"{message}: {error.strerror or error}", EXIT_UNREADABLE)
    facts = None if network else facts_in(records)
    case = Case(None, (), network=network, facts=facts)
    try:
        runs = [explain_told(config, case, told) for config in configs]
    except TROUBLES as error:
        return complain(f"the message could not be inspected: {error}", EXIT_NOT_INSPECTED)
    before = look_in(records) if other is None else look_of(runs[0])
    changes = compare(before, look_of(runs[-1])) if before is not None else None
    beside = "what is on record" if other is None else "the present configuration"
    if as_json:
        print_json({"beside": beside if changes is not None else "", "changes": changes or [], "now": runs[-1]})
    else:
        _print(runs[-1], changes, beside)
    return EXIT_DIFFERENT if changes else 0


def _records(message: str, conf_file: Path) -> Sequence[Told]:
    """Return what is on record of a message; nothing when it is a file, or tracking knows nothing of it."""
    if Path(message).exists():
        return []
    with contextlib.suppress(ControlError, ValueError):
        parse_queue_id(message[:ID_LENGTH])
        life = ask_or_read(conf_file)("tracking.mail", {"id": message[:ID_LENGTH]})
        return list(life["records"])
    return []


def _read(message: str, config: Config, conf_file: Path, records: Sequence[Told]) -> ToldMessage:
    """Return the message with its envelope. `Failed`, OSError."""
    if not Path(message).exists() and find_stored(message, conf_file) is None:
        waiting = _read_waiting(message, conf_file)
        if waiting is not None:
            return ToldMessage(waiting, _envelope(records))
    return read_message(message, config, conf_file)


def _read_waiting(message: str, conf_file: Path) -> bytes | None:
    """Return the content of a message in the queue as it came, None when there is none of that id."""
    try:
        path = ask_or_read(conf_file)("export", {"id": parse_queue_id(message), "edited": False})
    except (ControlError, ValueError):
        return None
    if path is None:
        return None
    file = Path(path)
    try:
        return file.read_bytes()
    finally:
        file.unlink(missing_ok=True)


def _envelope(records: Sequence[Told]) -> Envelope:
    received = next((record for record in records if record.get("type") == "received"), None)
    if received is None:
        raise Failed("nothing is on record of its envelope: export it, and rescan the file", EXIT_UNREADABLE)
    client = Client(received["ip"], helo=received["helo"], name=received["client"], user=received["user"])
    return Envelope(received["sender"], tuple(Recipient(address) for address in received["addresses"]), client)


def _print(now: Explanation, changes: Sequence[Change] | None, beside: str) -> None:
    print(render_explanation(now), end="")
    print()
    if changes is None:
        print("Nothing is on record to compare it with.")
    elif not changes:
        print(f"The same as {beside}.")
    else:
        print(f"Other than {beside}:")
        for change in changes:
            print(f"  {_line(change)}")


def _line(change: Change) -> str:
    where = "" if change.where == "message" else f"group {change.where}: "
    name = f"{change.what} {change.name}".rstrip() if change.what != "group" else "it"
    if not change.before:
        text = f"{name}: new, {change.after}"
    elif not change.after:
        text = f"{name}: gone, was {change.before}"
    else:
        text = f"{name}: {change.before} -> {change.after}"
    return clean_text(where + text, _WIDTH)
