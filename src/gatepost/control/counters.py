"""Counters: the statistics by their documented names (specification management.md §8), a view of the spool's records.

What passes through the outbox is counted from records, exactly, and never reset: restarts and kills change nothing.
What a process counts without records (connections, questions to the DNS) is folded in now and then by `Tally`, and a
kill may lose the last seconds of it. `gatepost status` adds up the relays; what was counted since the gateway started
is what has grown since `Counters.begin_run`.
"""

import bisect
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from gatepost.model.record import (
    Answered,
    Blocked,
    Bypassed,
    Deferred,
    Delivered,
    Discarded,
    Generated,
    Held,
    Inspected,
    Notified,
    Received,
    Record,
    Refused,
    Ruled,
    Scanned,
    Shadowed,
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
_SESSION_STAGES = frozenset({"connect", "starttls", "helo", "auth"})
"""Before a message is spoken of: whatever is refused there, it is the session."""
_OBJECT = {
    "infected": ("antiviral_infected_objects", "antiviral_checked_objects_infected"),
    "disinfected": ("antiviral_checked_objects_disinfected_objects", "antiviral_checked_objects_infected"),
    "suspicious": ("antiviral_checked_objects_suspicious_objects",),
    "protected": ("antiviral_checked_objects_protected_objects",),
    "filtered": ("antiviral_checked_objects_filtered_objects",),
    "error": ("antiviral_check_checked_objects_error",),
}
_NOTIFIED = {
    "sender": "antiviral_notifications_generated_for_sender",
    "recipient": "antiviral_notifications_generated_for_recipients",
    "admin": "antiviral_notifications_generated_for_admin",
}

_NOT_LOOKED_AT = {
    "Not processed": "service_not_processed_messages",
    "Not protected": "service_not_protected_messages",
    "Own message": "service_own_messages",
    "Too large": "service_too_large_messages",
}

_MESSAGE = (
    ("infected", frozenset({"infected", "disinfected"})),
    ("suspicious", frozenset({"suspicious"})),
    ("protected", frozenset({"protected"})),
    ("error", frozenset({"error"})),
)
"""Each message is counted once, for the worst of its objects."""
LATENCY = "latency_"
"""What begins so is of a histogram: `latency_<name>_<index>` counts what took at most `BOUNDS_S[name][index]`, and no
less than the bound before it; the last index counts the rest. `latency_<name>_ms` is the sum.
"""
BOUNDS_S: Final[Mapping[str, Sequence[float]]] = {
    "inspection": (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
    "waiting": (0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0),
    "attempt": (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0),
    "delivery": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0),
}
"""Upper bounds in seconds: of an inspection, of the wait for it, of one attempt of delivery, and from the acceptance of
a message to its delivery.
"""
_BUCKETS = {name: [f"{LATENCY}{name}_{index}" for index in range(len(bounds) + 1)] for name, bounds in BOUNDS_S.items()}
_SUMS = {name: f"{LATENCY}{name}_ms" for name in BOUNDS_S}

_DECODER = msgspec.msgpack.Decoder(dict[str, int])
_SAVE_EVERY = 256
"""Records between two saves of the values: what is replayed after a crash."""


class _Run(msgspec.Struct, frozen=True):
    """What the counters were when a gateway started."""

    name: str
    values: dict[str, int]


class Counters:
    """All counters of one spool."""

    NAME = "counters"
    RUN = "counters-at-start"
    """Where the spool keeps the values that a run began with."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._last, note = spool.position(self.NAME)
        self.values: dict[str, int] = _DECODER.decode(note) if note else {}
        self._unsaved = 0
        self._changed = False
        self._at_start: dict[str, int] = {}
        self.fold: Callable[[], None] = lambda: None
        """Brings in what is counted elsewhere (`Tally.fold`)."""

    def begin_run(self, name: str) -> None:
        """Call when what an earlier life left has been counted. `name`: of the gateway's run, which outlives relays; a
        new one begins with the present values.
        """
        _, note = self._spool.position(self.RUN)
        run = msgspec.msgpack.decode(note, type=_Run) if note else None
        if run is None or run.name != name:
            run = _Run(name, dict(self.values))
            self._spool.confirm(self.RUN, 0, msgspec.msgpack.encode(run))
        self._at_start = run.values

    def since_start(self) -> dict[str, int]:
        """Return by how much each has grown in this run."""
        before = self._at_start
        return {name: value - before.get(name, 0) for name, value in self.values.items()}

    def add(self, name: str, amount: int = 1) -> None:
        """Count something that has no record."""
        self.values[name] = self.values.get(name, 0) + amount
        self._changed = True

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
        self.fold()
        if self._unsaved or self._changed:
            self._unsaved = 0
            self._changed = False
            self._spool.confirm(self.NAME, self._last, msgspec.msgpack.encode(self.values))

    def _count(self, record: Record) -> None:
        add = self.add
        match record:
            case Received() if record.door:
                add("service_asked_messages")
                add("service_asked_bytes", record.size)
                add("service_asked_recipients", record.recipients)
            case Ruled():
                add("policy_ruled_messages")
            case Answered():
                add(f"service_answered_{record.deed}")
                if record.info:
                    add(_NOT_LOOKED_AT[record.info])
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
                    self._time("delivery", record.delay_s)
                    self._time("attempt", record.elapsed_s)
            case Delivered():
                add("mta_sendings_failed_total")
                if "5.3.4" in record.reply[:12]:
                    add("mta_sendings_failed_for_message_size_limit")
                elif "5.6.3" in record.reply[:12]:
                    add("mta_sendings_failed_for_8bitmime")
            case Inspected():
                self._time("inspection", record.elapsed_ms / 1000)
                self._time("waiting", record.waited_ms / 1000)
            case Scanned():
                self._count_scanned(record)
            case SpamChecked():
                add("antispam_checked_messages_total")
                add(f"antispam_checked_messages_{record.status}")
                if record.obscene:
                    add("antispam_checked_messages_obscene")
                if record.withheld:
                    add("antispam_checked_messages_blocked")
            case Refused():
                self._count_refusal(record)
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
            case Bypassed():
                add("mta_bypassed_messages")
            case Shadowed():
                add(f"shadow_{record.shadow}_checked")
                if record.changed:
                    add(f"shadow_{record.shadow}_changed")

    def _count_scanned(self, record: Scanned) -> None:
        add = self.add
        if record.objects:
            add("antiviral_checked_messages_total")
            add("antiviral_checked_objects_total", len(record.objects))
            if record.cached:
                add("antiviral_checked_objects_through_cache", record.cached)
            for status in record.objects:
                for name in _OBJECT.get(status, ()):
                    add(name)
            worst = next((word for word, statuses in _MESSAGE if not statuses.isdisjoint(record.objects)), "")
            if worst:
                add(f"antiviral_checked_messages_{worst}")
        if record.blocked:
            add("antiviral_checked_messages_blocked")
        if record.modified:
            add("antiviral_checked_messages_modified")

    def _count_refusal(self, record: Refused) -> None:
        cause = record.cause
        if cause in _CONNECTION_REFUSED or record.stage in _SESSION_STAGES:
            self.add("mta_incoming_connections_refused_total")
            if cause in _CONNECTION_REFUSED:
                self.add(_CONNECTION_REFUSED[cause])
            return
        self.add("mta_receivings_refused_total")
        if cause in _REFUSED:
            self.add(_REFUSED[cause])
        if cause == "malformed":
            self.add("mta_malformed_messages")

    def _time(self, name: str, seconds: float) -> None:
        self.add(_BUCKETS[name][bisect.bisect_left(BOUNDS_S[name], seconds)])
        self.add(_SUMS[name], round(seconds * 1000))


class Tally:
    """What a process counts by itself, brought into counters that outlive it."""

    def __init__(self, counters: Counters, *sources: Callable[[], Mapping[str, int]]) -> None:
        """Each of `sources` returns counts that only grow, but for a new beginning at 0."""
        self._counters = counters
        self._sources = sources
        self._folded: dict[str, int] = {}

    def fold(self) -> None:
        """Add what was counted since the last time."""
        for source in self._sources:
            for name, value in source().items():
                before = self._folded.get(name, 0)
                grown = value - before if value >= before else value
                self._folded[name] = value
                if grown:
                    self._counters.add(name, grown)


def join_counters(all_of_them: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums by name."""
    joined: dict[str, int] = {}
    for each in all_of_them:
        for name, value in each.items():
            joined[name] = joined.get(name, 0) + value
    return joined
