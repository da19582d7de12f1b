"""`gatepost queue list|show|export`: what waits here, and why."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec
from rich.console import Console
from rich.table import Table

from gatepost.cli.choice import ALL, NOTHING, Chosen, Progress, QueueId, filter_argument
from gatepost.cli.gateway import (
    DEFAULT_FILE,
    EXIT_BAD_OPTIONS,
    EXIT_NOT_DONE,
    EXIT_SYSTEM,
    AsJson,
    Caller,
    ConfigFile,
    complain,
    print_json,
)
from gatepost.model.foreign_text import printable
from gatepost.model.ids import format_queue_id, parse_queue_id
from gatepost.relay.queue_filter import QueueFilter

app = cyclopts.App(name="queue", help="What waits here, why, and what to do about it.")

LIMIT = 1000
"""Messages listed when not told otherwise: a screenful for a search, not a million lines by accident."""
_PAGE = 400


@app.command(name="list")
def list_queue(
    *,
    chosen: Chosen = NOTHING,
    limit: Annotated[int, cyclopts.Parameter(help="messages shown at most; 0 = all")] = LIMIT,
    summary: Annotated[bool, cyclopts.Parameter(negative="", help="count by state, destination and reason")] = False,
    json: AsJson = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """List waiting messages, oldest first: id, state, size, date, client, sender, recipients; total at the end.

    States: WFC waits for scan, CHK being scanned, QUE waits for delivery, SND being sent, HLD held for an operator.
    """
    try:
        chosen_filter = chosen.build()
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    caller = Caller(conf_file, queue_codes=True)
    if summary:
        answer = caller("summary")
        (print_json if json else _show_summary)(answer)
        return 0
    with contextlib.suppress(BrokenPipeError):
        (_print_rows_json if json else _print_rows)(caller, chosen_filter, limit)
    return 0


def _rows(caller: Caller, chosen: QueueFilter, limit: int) -> Iterator[dict[str, Any]]:
    """Yield rows page by page, so that a long list begins at once."""
    progress = Progress()
    after, seen, found = 0, 0, 0
    while not limit or found < limit:
        page = _PAGE if not limit else min(_PAGE, limit - found)
        answer = caller("queue", filter=filter_argument(chosen), after=after, limit=page)
        progress.clear()
        yield from answer["items"]
        found += len(answer["items"])
        after, seen = answer["upto"], seen + answer["seen"]
        if answer["ended"]:
            return
        if chosen != ALL:
            progress.show(f"{found} found, {seen} looked at …")
    progress.clear()


def _print_rows_json(caller: Caller, chosen: QueueFilter, limit: int) -> None:
    separator = "["
    for row in _rows(caller, chosen, limit):
        print(separator, msgspec.json.encode(row).decode(), sep="\n", end="")
        separator = ","
    print("[]" if separator == "[" else "\n]")


def row_line(row: dict[str, Any]) -> str:
    """Return the documented line of a message (specification management.md §5.4), and why it waits."""
    received = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.get("received_at", 0)))
    addresses = [f"<{printable(address)}>" for address in row.get("recipients", ())]
    more = row.get("recipient_count", 0) - len(addresses)
    recipients = " ".join(addresses) + (f" and {more} more" if more > 0 else "")
    reason = printable(row["reason"])
    return (
        f"{row['queue_id']} {row['state']} {row.get('size', 0)} {received} {row.get('client', '')} "
        f"<{printable(row.get('sender', ''))}> -> {recipients}" + (f"  ({reason})" if reason else "")
    )


def _print_rows(caller: Caller, chosen: QueueFilter, limit: int) -> None:
    number = size = 0
    for row in _rows(caller, chosen, limit):
        number += 1
        size += row.get("size", 0)
        print(row_line(row))
    if chosen != ALL:
        print(f"{number} queued messages match, {size} bytes" + (" (the limit)" if limit and number == limit else ""))
        return
    queue = caller("status")["queue"] if limit and number == limit else {}
    total = sum(queue.get(state, 0) for state in ("waiting", "ready", "held"))
    if total > number:
        print(f"{total} queued messages, {queue['bytes']} bytes; the oldest {number} are shown, --limit 0 shows all")
    else:
        print(f"{number} queued messages, {size} bytes")


def _moment(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else ""


def _show_summary(answer: dict[str, Any]) -> None:
    console = Console()
    states = answer["states"]
    total = sum(states.values())
    console.print(f"{total} queued messages, {answer['bytes']} bytes", highlight=False)
    console.print(", ".join(f"{state} {states.get(state, 0)}" for state in ("WFC", "CHK", "QUE", "SND", "HLD")))
    rows = answer["destinations"]
    if rows:
        table = Table(f"destination ({answer['destination_count']} in all)", "waiting", "rests until", "reason")
        for row in rows:
            state = "paused" if row["paused"] else _moment(row["rests_until"])
            table.add_row(printable(row["domain"]), str(row["waiting"]), state, printable(row["reason"]))
        console.print(table, markup=False)
    for title, counts in (("why mail waits", answer["reasons"]), ("why mail is held", answer["held"])):
        if counts:
            table = Table(title, "messages")
            for reason, count in counts.items():
                table.add_row(printable(reason), str(count))
            console.print(table, markup=False)


@app.command
def show(queue_id: QueueId, *, json: AsJson = False, conf_file: ConfigFile = DEFAULT_FILE) -> int:
    """Show everything known of one message: where it is and why, what was tried, what comes next."""
    try:
        message_id = parse_queue_id(queue_id)
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    answer = Caller(conf_file, queue_codes=True)("show", id=message_id)
    if answer is None:
        return complain(f"{queue_id}: no such message in the queue; the log tells what became of it", EXIT_NOT_DONE)
    (print_json if json else _show_message)(answer)
    return 0


def _show_message(row: dict[str, Any]) -> None:
    if row["state"] == "corrupt":
        print(f"{row['queue_id']} cannot be read: {row['reason']}")
        return
    client = row["client_facts"]
    facts = {
        "state": f"{row['state']}" + (f", {printable(row['reason'])}" if row["reason"] else ""),
        "received": _moment(row["received_at"]),
        "from client": f"[{client['ip']}]:{client['port']} helo {printable(client['helo'])} by {client['listener']}",
        "signed in as": printable(client["user"]),
        "TLS": client["tls"],
        "direction": row["direction"],
        "sender": f"<{printable(row['sender'])}>",
        "size": f"{row['size']} received, {row['size_to_send']} to send, {row['edits']} edit(s)",
        "kind": "" if row["kind"] == "received" else row["kind"],
        "copy of": row["copy_of"],
        "group": row["group"] or "not inspected yet",
        "next hop set": row["route"],
        "unclean stops": str(row["strikes"]) if row["strikes"] else "",
        "envelope": f"{row['body']}"
        + (f", RET={row['ret']}" if row["ret"] else "")
        + (f", ENVID={printable(row['envid'])}" if row["envid"] else ""),
        "lies in": row["shard"],
    }
    print(row["queue_id"])
    for name, value in facts.items():
        if value:
            print(f"  {name + ':':<15}{value}")
    settled = row["settled_recipients"]
    print(f"  {row['recipient_count']} recipient(s) wait" + (f", {settled} are done" if settled else ""))
    for waiting in row["waiting"]:
        _show_recipient(waiting)
    more = row["recipient_count"] - len(row["waiting"])
    if more > 0:
        print(f"  and {more} more")


def _show_recipient(waiting: dict[str, Any]) -> None:
    print(f"    <{printable(waiting['address'])}>")
    facts = {
        "attempts": str(waiting["attempts"]),
        "last answer": printable(waiting["last_reply"]),
        "next attempt": "when resumed" if waiting["paused"] else _moment(waiting["next_attempt"]),
        "next hop": printable(waiting["next_hop"]),
        "destination": _destination(waiting),
        "reports": ", ".join(waiting["notify"]),
    }
    for name, value in facts.items():
        if value:
            print(f"      {name + ':':<15}{value}")


def _destination(waiting: dict[str, Any]) -> str:
    if waiting["paused"]:
        return f"{waiting['queue']} is paused by an operator"
    if waiting["destination_rests_until"]:
        return (
            f"{waiting['queue']} rests until {_moment(waiting['destination_rests_until'])} after "
            f"{waiting['destination_failures']} failure(s): {printable(waiting['destination_reason'])}"
        )
    return ""


@app.command
def export(
    queue_id: QueueId,
    *,
    output: Annotated[Path | None, cyclopts.Parameter(name=["-o", "--output"], help="file; - for output")] = None,
    edited: Annotated[bool, cyclopts.Parameter(negative="", help="as it would be sent, not as received")] = False,
    conf_file: ConfigFile = DEFAULT_FILE,
) -> int:
    """Write a message into a file that only you can read (ID.eml when none is named). It stays in the queue."""
    try:
        message_id = parse_queue_id(queue_id)
    except ValueError as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    written = Caller(conf_file, queue_codes=True)("export", id=message_id, edited=edited)
    if written is None:
        return complain(f"{queue_id}: no such message in the queue", EXIT_NOT_DONE)
    target = output or Path(f"{format_queue_id(message_id)}.eml")
    source = Path(written)
    try:
        if str(target) == "-":
            with source.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            return 0
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with source.open("rb") as file, os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(file, copy)
    except FileExistsError:
        return complain(f"{target} exists: name another file with --output", EXIT_NOT_DONE)
    except OSError as error:
        return complain(f"{target}: {error.strerror or error}", EXIT_SYSTEM)
    finally:
        source.unlink(missing_ok=True)
    print(f"{target}: {target.stat().st_size} bytes")
    return 0
