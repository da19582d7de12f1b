"""Counters: the statistics by their documented names (specification management.md §8), a view of the spool's records.

What passes through the outbox is counted from records and survives restarts exactly; session counts are the process's
own. `gatepost status` adds up the relays.
"""

from collections.abc import Sequence

import msgspec

from gatepost.model.record import (
    Blocked,
    Deferred,
    Delivered,
    Discarded,
    Generated,
    Held,
    Notified,
    Received,
    Record,
    Refused,
    Scanned,
    SpamChecked,
)
from gatepost.spool.interface import Spool

_REFUSED = {
    "message-size": "mta_receivings_refused_for_message_size_limit",
    "session-size": "mta_receivings_refused_for_session_size_limit",
    "hops": "mta_receivings_refused_for_hops_limit",
    "messages-per-session": "mta_receivings_refused_for_messages_per_session_limit",
    "unknown-recipient": "mta_receivings_refused_for_unknown_recipients",
    "greylisted": "mta_receivings_refused_for_greylisting",
}
_CONNECTION_REFUSED = {
    "relaying": "mta_incoming_connections_refused_for_relaying",
    "denied-client": "mta_incoming_connections_refused_for_denied_clients",
    "dnsbl": "mta_incoming_connections_refused_for_dnsbl",
    "no-name": "mta_incoming_connections_refused_for_access_rules",
    "connect": "mta_incoming_connections_refused_for_access_rules",
    "helo": "mta_incoming_connections_refused_for_access_rules",
    "mailfrom": "mta_incoming_connections_refused_for_access_rules",
    "dns": "mta_incoming_connections_refused_for_dns_trouble",
    "rate": "mta_incoming_connections_refused_for_rates",
    "early-talker": "mta_incoming_connections_refused_for_early_talking",
    "proxy": "mta_incoming_connections_refused_for_proxy_headers",
    "handshake": "mta_incoming_connections_refused_for_tls_handshakes",
    "sessions": "mta_incoming_connections_refused_for_sessions_limit",
    "sessions-per-ip": "mta_incoming_connections_refused_for_sessions_per_ip_limit",
}
_OBJECT = {
    "infected": "antiviral_infected_objects",
    "disinfected": "antiviral_checked_objects_disinfected_objects",
    "suspicious": "antiviral_checked_objects_suspicious_objects",
    "protected": "antiviral_checked_objects_protected_objects",
    "filtered": "antiviral_checked_objects_filtered_objects",
    "error": "antiviral_check_checked_objects_error",
}
_NOTIFIED = {
    "sender": "antiviral_notifications_generated_for_sender",
    "recipient": "antiviral_notifications_generated_for_recipients",
    "admin": "antiviral_notifications_generated_for_admin",
}
_DECODER = msgspec.msgpack.Decoder(dict[str, int])
_SAVE_EVERY = 256
"""Records between two saves of the values: what is replayed after a crash."""


class Counters:
    """All counters of one relay."""

    NAME = "counters"

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        _, note = spool.position(self.NAME)
        self.values: dict[str, int] = _DECODER.decode(note) if note else {}
        self._unsaved = 0

    def add(self, name: str, amount: int = 1) -> None:
        """Count something that has no record."""
        self.values[name] = self.values.get(name, 0) + amount

    def consume(self, first: int, records: Sequence[Record]) -> None:
        """Count one commit's records."""
        for record in records:
            self._count(record)
        self._unsaved += len(records)
        self._last = first + len(records) - 1
        if self._unsaved >= _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Confirm what was counted, with the values."""
        if self._unsaved:
            self._unsaved = 0
            self._spool.confirm(self.NAME, self._last, msgspec.msgpack.encode(self.values))

    def _count(self, record: Record) -> None:
        add = self.add
        match record:
            case Received():
                add("mta_received_messages")
                add("mta_received_bytes", record.size)
                add("mta_received_recipients", record.recipients)
                if record.mended:
                    add("mta_malformed_messages")
            case Delivered(sent=True):
                add("mta_sent_recipients")
                if not record.more:
                    add("mta_sent_messages")
                    add("mta_sent_bytes", record.size)
            case Delivered():
                add("mta_sendings_failed_total")
                if "5.3.4" in record.reply[:12]:
                    add("mta_sendings_failed_for_message_size_limit")
                elif "5.6.3" in record.reply[:12]:
                    add("mta_sendings_failed_for_8bitmime")
            case Scanned():
                if record.objects:
                    add("antiviral_checked_messages_total")
                    add("antiviral_checked_objects_total", len(record.objects))
                    if record.cached:
                        add("antiviral_checked_objects_through_cache", record.cached)
                    for status in record.objects:
                        if status in _OBJECT:
                            add(_OBJECT[status])
                if record.blocked:
                    add("antiviral_checked_messages_blocked")
                if record.modified:
                    add("antiviral_checked_messages_modified")
            case SpamChecked():
                add("antispam_checked_messages_total")
                add(f"antispam_checked_messages_{record.status}")
                if record.obscene:
                    add("antispam_checked_messages_obscene")
                if record.withheld:
                    add("antispam_checked_messages_blocked")
            case Refused():
                self._count_refusal(record.cause)
            case Generated():
                if record.kind.startswith("dsn"):
                    add("mta_dsn_generated")
            case Notified():
                add(_NOTIFIED[record.role], record.summed)
            case Deferred():
                add("mta_sendings_deferred")
            case Blocked():
                add("mta_blocked_messages")
            case Discarded():
                add("mta_discarded_messages")
            case Held():
                add("mta_held_messages")

    def _count_refusal(self, cause: str) -> None:
        if cause in _CONNECTION_REFUSED:
            self.add("mta_incoming_connections_refused_total")
            self.add(_CONNECTION_REFUSED[cause])
            return
        self.add("mta_receivings_refused_total")
        if cause in _REFUSED:
            self.add(_REFUSED[cause])
        if cause == "malformed":
            self.add("mta_malformed_messages")
