"""What several records tell of a message's envelope, kept until its verdicts have come. For views. Bounded."""

from typing import Final

import msgspec

from gatepost.model.record import Received, Record, Refused, Split

MAILS_LIMIT: Final = 8192
"""Messages whose envelope is kept until they have been checked: some MB. Of one that waited behind more the fields that
the envelope tells stay empty."""


class Kept(msgspec.Struct, frozen=True):
    """An envelope."""

    size: int = 0
    sender: str = ""
    recipients: tuple[str, ...] = ()
    ip: str = ""
    message_id: str = ""


_UNKNOWN: Final = Kept()


class Envelopes:
    """Envelopes by message, and the recipients of copies."""

    def __init__(self) -> None:
        self._mails: dict[int, Kept] = {}
        self._copies: dict[int, tuple[str, ...]] = {}

    def take(self, record: Record) -> None:
        """Take what a record tells; most tell nothing."""
        match record:
            case Received():
                self._keep(record.id, Kept(record.size, record.sender, record.addresses, record.ip, record.message_id))
            case Refused() if record.id:
                told = (record.recipient,) if record.recipient else ()
                self._keep(record.id, Kept(record.size, record.sender, told, record.ip, ""))
            case Split():
                self._copies[record.id] = record.addresses

    def find(self, copy: int, source: int) -> Kept:
        """Return the envelope of a message's copy, an empty one when it is not known any more."""
        known = self._mails.get(source) or _UNKNOWN
        recipients = self._copies.get(copy)
        return known if recipients is None else msgspec.structs.replace(known, recipients=recipients)

    def forget(self, copies: list[tuple[int, int]]) -> None:
        """Forget whose verdicts have come, as (copy, source): of one group, or of all copies so far."""
        for copy, source in copies:
            if copy == source:  # it has one group, and will not be spoken of again
                self._mails.pop(copy, None)
        self._copies.clear()

    def _keep(self, number: int, envelope: Kept) -> None:
        self._mails[number] = envelope
        if len(self._mails) > MAILS_LIMIT:
            del self._mails[next(iter(self._mails))]
