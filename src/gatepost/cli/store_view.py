"""How stored messages look on a terminal and to machines: list lines, summaries, the message itself."""

import sys
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from gatepost.model.foreign_text import printable
from gatepost.storage.container import Container
from gatepost.storage.index import Row
from gatepost.storage.item import StoreKind

_SHOWN_OBJECTS = 20
_SHOWN_SUBJECT = 60
_HARMLESS = frozenset("\n\t")


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def list_line(row: Row) -> str:
    """Return an item as lists show it: id, status, size, date, client, sender, recipients, and what it is about."""
    recipients = " ".join(f"<{printable(address)}>" for address in row.recipients)
    more = row.recipient_count - len(row.recipients)
    subject = f"“{row.subject[:_SHOWN_SUBJECT]}”" if row.store == StoreKind.SPAM_QUARANTINE and row.subject else ""
    notes = [subject, row.threats, row.state if row.state != "stored" else ""]
    told = "; ".join(printable(note) for note in notes if note)
    return (
        f"{row.id} {row.code} {row.size} {_moment(row.received_at)} {row.client} "
        f"<{printable(row.sender)}> -> {recipients}"
        + (f" and {more} more" if more > 0 else "")
        + (f"  ({told})" if told else "")
    )


def row_json(row: Row) -> str:
    """Return an item as one line for machines."""
    return msgspec.json.encode(row).decode()


def summary_json(container: Container) -> Any:
    """Return everything known of an item, for machines."""
    return {**msgspec.to_builtins(container.item), "events": msgspec.to_builtins(container.events)}


def summary(container: Container) -> Iterable[str]:
    """Yield the lines that tell a person about an item."""
    item = container.item
    client = item.envelope.client
    spam = item.store is StoreKind.SPAM_QUARANTINE
    facts = {
        "status": f"{item.code}" + (f" ({', '.join(item.statuses)})" if item.statuses else ""),
        "store": item.store.value,
        "received": _moment(item.received_at),
        "stored": _moment(item.saved_at),
        "message": item.queue_id + (f", copy of {item.source}" if item.source != item.queue_id else ""),
        "kind": item.kind,
        "from client": f"[{client.ip}] helo {client.helo}" + (f", signed in as {client.user}" if client.user else ""),
        "direction": item.envelope.direction.value,
        "sender": f"<{item.envelope.sender}>",
        "recipients": " ".join(f"<{recipient.address}>" for recipient in item.envelope.recipients),
        "group": item.group,
        "author": item.author,
        "subject": item.subject,
        "message id": item.message_id,
        "size": str(item.size),
        "delivered": "no, it was blocked" if item.blocked else "",
        "why": item.reason,
        "rating": f"{item.rate}, by {', '.join(item.methods) or 'no method'}" if spam else "",
        "more": f"`gatepost spam explain {item.id}` tells every sign" if spam else "",
    }
    yield item.id
    for name, value in facts.items():
        if value:
            yield f"  {name + ':':<13}{printable(value)}"
    for each in item.objects[:_SHOWN_OBJECTS]:
        threat = f", {each.threat}" if each.threat else ""
        yield f"    {printable(each.name) or '(no name)'}: {each.status}{printable(threat)}, {each.action}"
    if len(item.objects) > _SHOWN_OBJECTS:
        yield f"    and {len(item.objects) - _SHOWN_OBJECTS} more"
    for event in container.releases:
        whom = " ".join(f"<{each}>" for each in event.recipients) or "its recipients"
        how = "" if event.checked else ", without checks"
        yield f"  released {_moment(event.at)} by {printable(event.who)} to {printable(whom)} as {event.queue_id}{how}"
    if container.claim is not None:
        yield f"  a release was begun {_moment(container.claim.at)} by {printable(container.claim.who)}"


def print_raw(content: Iterable[bytes]) -> None:
    """Print a message: as it is into a file or pipe, harmlessly on a terminal."""
    if not sys.stdout.isatty():
        for chunk in content:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    for line in b"".join(content).splitlines():
        text = line.decode("utf-8", "replace")
        print("".join(c if c.isprintable() or c in _HARMLESS else "?" for c in text))
