"""Stored mail as one caller sees it: whose an item is, who may let it go, what is told of it. Pure.

Used by `master.stores` and `master.kept_content`. Whoever administers some domains only sees mail to people of these,
and mail that these sent out of our own network; the addresses of others on the same mail are left out.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gatepost.control.desk import Refused
from gatepost.control.rights import Caller, Right
from gatepost.control.socket import ControlError
from gatepost.model.address import domain_of
from gatepost.model.envelope import Direction
from gatepost.storage.collection import Found
from gatepost.storage.container import Container
from gatepost.storage.item import Item, StoreKind

UNSAFE: Final = frozenset({"infected", "suspicious"})
"""Statuses of mail that may do harm."""
SHOWN_RECIPIENTS: Final = 200
SHOWN_OBJECTS: Final = 100
SHOWN_EVENTS: Final = 50


class NotSure(ControlError):  # noqa: N818 - an answer
    """It is to be confirmed: the mail may do harm."""


def sees(caller: Caller, item: Item) -> bool:
    """Tell whether a caller may know of an item."""
    if not caller.domains:
        return True
    sender_is_ours = item.envelope.direction is not Direction.INBOUND
    return bool(own_recipients(caller, item)) or (sender_is_ours and _is_own(caller, item.envelope.sender))


def own_recipients(caller: Caller, item: Item) -> list[str]:
    """Return the recipients of an item that are the caller's."""
    return _own(caller, (recipient.address for recipient in item.envelope.recipients))


def own_domains(caller: Caller, item: Item) -> list[str]:
    """Return the domains for which a caller decides about an item: those of its recipients that are the caller's; "",
    which is all, for a caller without domains.
    """
    if not caller.domains:
        return [""]
    return sorted({domain_of(address).lower() for address in own_recipients(caller, item)}) or list(caller.domains)


def _own(caller: Caller, addresses: Iterable[str]) -> list[str]:
    return [address for address in addresses if not caller.domains or _is_own(caller, address)]


def _is_own(caller: Caller, address: str) -> bool:
    return domain_of(address).lower() in {domain.lower() for domain in caller.domains}


def is_unsafe(item: Item) -> bool:
    """Tell whether an item may do harm to who opens it."""
    return bool(UNSAFE.intersection(item.statuses))


def check_release(caller: Caller, item: Item, *, sure: bool, malware_allowed: bool) -> None:
    """Check that a caller may let an item go. Refused; NotSure when it has to be confirmed.

    Spam may be released by everybody who may release at all. What anti-virus kept needs the right to act on the queue
    (operators), unless the configuration lets those of the quarantine do it (`malware_allowed`).
    """
    is_spam = item.store is StoreKind.SPAM_QUARANTINE and not is_unsafe(item)
    if not is_spam and Right.QUEUE not in caller.rights and not malware_allowed:
        raise Refused(f"{item.id}: only spam may be released by {caller.name}; this was kept by anti-virus")
    if is_unsafe(item) and not sure:
        raise NotSure(f"{item.id} may do harm ({', '.join(item.statuses)}): confirm that it is to be released")


def release_recipients(caller: Caller, item: Item, wanted: Iterable[str]) -> list[str]:
    """Return whom a release is for, [] = all recipients of the item. Refused: for others than the caller's people."""
    chosen = list(wanted)
    own = own_recipients(caller, item)
    if not caller.domains:
        return chosen
    if not _own(caller, chosen) == chosen:
        raise Refused(f"{item.id}: {caller.name} may release mail to people of {', '.join(caller.domains)} only")
    if chosen or len(own) == len(item.envelope.recipients):
        return chosen
    if not own:
        raise Refused(f"{item.id}: it is for nobody of {', '.join(caller.domains)}")
    return own


def check_delete(caller: Caller, item: Item) -> None:
    """Check that a caller may delete an item. Refused: it is other people's, too."""
    if caller.domains and len(own_recipients(caller, item)) < len(item.envelope.recipients):
        raise Refused(f"{item.id}: it is also for people of other domains")


def build_row(found: Found, caller: Caller) -> dict[str, Any]:
    """Return an item as a list tells it."""
    row = msgspec.to_builtins(found.row)
    if caller.domains:
        own = _own(caller, found.row.recipients)
        row |= {"recipients": own, "recipient_count": len(own)}
    return dict(row)


def build_item(container: Container, caller: Caller) -> dict[str, Any]:
    """Return everything known of an item, the content aside, for one caller."""
    item = container.item
    envelope = item.envelope
    recipients = own_recipients(caller, item)
    events = [
        {**msgspec.to_builtins(event), "recipients": _own(caller, event.recipients)} for event in container.events
    ]
    return {
        "id": item.id,
        "store": item.store.value,
        "queue_id": item.queue_id,
        "source": item.source,
        "saved_at": item.saved_at,
        "received_at": item.received_at,
        "size": item.size,
        "code": item.code,
        "group": item.group,
        "statuses": list(item.statuses),
        "objects": [msgspec.structs.asdict(each) for each in item.objects[:SHOWN_OBJECTS]],
        "object_count": len(item.objects),
        "reason": item.reason,
        "rate": item.rate,
        "methods": list(item.methods),
        "blocked": item.blocked,
        "kind": item.kind,
        "subject": item.subject,
        "author": item.author,
        "message_id": item.message_id,
        "sender": envelope.sender,
        "recipients": recipients[:SHOWN_RECIPIENTS],
        "recipient_count": len(recipients),
        "direction": envelope.direction.value,
        "client": msgspec.structs.asdict(envelope.client),
        "unsafe": is_unsafe(item),
        "releasing": container.claim is not None,
        "released": bool(container.releases),
        "events": events[-SHOWN_EVENTS:],
    }
