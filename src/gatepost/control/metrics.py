"""Metrics in the text format of Prometheus, from one answer of the call `status`.

Called by `master.statistics`. Counters are those of the spools and never reset; gauges tell what is so now; histograms
tell how long inspections, waits and deliveries took. The shipped dashboard (`grafana.json`) uses exactly these names.
"""

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from gatepost.control.counters import BOUNDS_S, LATENCY


class HostFacts(msgspec.Struct, frozen=True):
    """What metrics tell beside the status."""

    disks: Mapping[str, tuple[int, int]] = {}
    """(free, all) bytes by what lies there."""
    certificates: Mapping[str, float] = {}
    """When it ends, Unix seconds, by file."""


class _Plain(msgspec.Struct, frozen=True):
    """One counter that stands for itself."""

    name: str
    help: str
    counter: str


class _Split(msgspec.Struct, frozen=True):
    """Counters that are told apart by a label."""

    name: str
    help: str
    label: str
    values: Mapping[str, str]
    """Counter by value of the label."""
    total: str = ""
    """Counter of all of them: what the others leave of it is told as `other`."""


_PLAIN: Final = (
    _Plain("gatepost_received_messages", "Messages accepted.", "mta_received_messages"),
    _Plain("gatepost_received_bytes", "Bytes of messages accepted.", "mta_received_bytes"),
    _Plain("gatepost_received_recipients", "Recipients of messages accepted.", "mta_received_recipients"),
    _Plain("gatepost_sent_messages", "Messages handed over to a next hop.", "mta_sent_messages"),
    _Plain("gatepost_sent_bytes", "Bytes of messages handed over.", "mta_sent_bytes"),
    _Plain("gatepost_sent_recipients", "Recipients that messages were handed over for.", "mta_sent_recipients"),
    _Plain("gatepost_sendings_deferred", "Recipients put off after an attempt.", "mta_sendings_deferred"),
    _Plain("gatepost_malformed_messages", "Messages that were malformed.", "mta_malformed_messages"),
    _Plain("gatepost_reports", "Delivery reports written.", "mta_dsn_generated"),
    _Plain("gatepost_messages_blocked", "Copies withheld for their content.", "mta_blocked_messages"),
    _Plain("gatepost_messages_bypassed", "Copies that passed unscanned in an emergency.", "mta_bypassed_messages"),
    _Plain("gatepost_messages_discarded", "Copies dropped as their group wants it.", "mta_discarded_messages"),
    _Plain("gatepost_messages_held", "Messages held for an operator.", "mta_held_messages"),
    _Plain("gatepost_routing_queries", "Ways looked up for deliveries.", "mta_routing_queries_total"),
    _Plain("gatepost_dns_queries", "Questions to the resolver.", "mta_dns_queries_total"),
    _Plain("gatepost_dns_queries_cached", "Of them answered from its cache.", "mta_dns_queries_through_cache"),
    _Plain("gatepost_dns_queries_failed", "Of them without an answer.", "mta_dns_queries_failed"),
    _Plain("gatepost_scanned_messages", "Copies checked for malware.", "antiviral_checked_messages_total"),
    _Plain(
        "gatepost_modified_messages", "Copies in which objects were changed.", "antiviral_checked_messages_modified"
    ),
    _Plain("gatepost_scanned_objects", "Objects checked for malware.", "antiviral_checked_objects_total"),
    _Plain("gatepost_scanned_objects_cached", "Of them known clean.", "antiviral_checked_objects_through_cache"),
    _Plain("gatepost_spam_checked_messages", "Copies checked for spam.", "antispam_checked_messages_total"),
    _Plain("gatepost_spam_withheld_messages", "Copies withheld as spam.", "antispam_checked_messages_blocked"),
)
_SPLIT: Final = (
    _Split(
        "gatepost_connections",
        "Sessions begun.",
        "direction",
        {"incoming": "mta_incoming_connections_total", "outgoing": "mta_outgoing_connections_total"},
    ),
    _Split(
        "gatepost_connection_errors",
        "Sessions that broke.",
        "direction",
        {"incoming": "mta_incoming_connection_errors", "outgoing": "mta_outgoing_connection_errors"},
    ),
    _Split(
        "gatepost_outgoing_connections_failed",
        "Hosts that could not be reached.",
        "how",
        {"known": "mta_outgoing_connections_failed_through_cache"},
        "mta_outgoing_connections_failed_total",
    ),
    _Split(
        "gatepost_connections_refused",
        "Connections and commands refused by access rules and limits.",
        "cause",
        {
            "relaying": "mta_incoming_connections_refused_for_relaying",
            "sessions": "mta_incoming_connections_refused_for_sessions_limit",
            "sessions-per-ip": "mta_incoming_connections_refused_for_sessions_per_ip_limit",
            "denied-client": "mta_incoming_connections_refused_for_denied_clients",
            "dnsbl": "mta_incoming_connections_refused_for_dnsbl",
            "access-rules": "mta_incoming_connections_refused_for_access_rules",
            "dns": "mta_incoming_connections_refused_for_dns_trouble",
            "rate": "mta_incoming_connections_refused_for_rates",
            "early-talker": "mta_incoming_connections_refused_for_early_talking",
            "proxy": "mta_incoming_connections_refused_for_proxy_headers",
            "handshake": "mta_incoming_connections_refused_for_tls_handshakes",
        },
        "mta_incoming_connections_refused_total",
    ),
    _Split(
        "gatepost_messages_refused",
        "Messages and recipients refused before acceptance.",
        "cause",
        {
            "message-size": "mta_receivings_refused_for_message_size_limit",
            "session-size": "mta_receivings_refused_for_session_size_limit",
            "hops": "mta_receivings_refused_for_hops_limit",
            "messages-per-session": "mta_receivings_refused_for_messages_per_session_limit",
            "unknown-recipient": "mta_receivings_refused_for_unknown_recipients",
            "greylisted": "mta_receivings_refused_for_greylisting",
        },
        "mta_receivings_refused_total",
    ),
    _Split(
        "gatepost_sendings_failed",
        "Recipients that failed for good.",
        "cause",
        {
            "message-size": "mta_sendings_failed_for_message_size_limit",
            "8bitmime": "mta_sendings_failed_for_8bitmime",
        },
        "mta_sendings_failed_total",
    ),
    _Split(
        "gatepost_object_findings",
        "Objects that were not clean.",
        "status",
        {
            "infected": "antiviral_infected_objects",
            "disinfected": "antiviral_checked_objects_disinfected_objects",
            "suspicious": "antiviral_checked_objects_suspicious_objects",
            "protected": "antiviral_checked_objects_protected_objects",
            "filtered": "antiviral_checked_objects_filtered_objects",
            "error": "antiviral_check_checked_objects_error",
        },
    ),
    _Split(
        "gatepost_spam_verdicts",
        "Copies by spam status.",
        "status",
        {
            status: f"antispam_checked_messages_{status}"
            for status in ("spam", "probable_spam", "formal", "blacklisted", "trusted", "not_detected")
        },
    ),
    _Split(
        "gatepost_notifications",
        "Notifications written.",
        "role",
        {
            "sender": "antiviral_notifications_generated_for_sender",
            "recipient": "antiviral_notifications_generated_for_recipients",
            "admin": "antiviral_notifications_generated_for_admin",
        },
    ),
)
_SESSIONS: Final = {
    "incoming": "mta_incoming_connections_current",
    "outgoing": "mta_outgoing_connections_current",
    "inspection": "antiviral_checking_sessions_current",
}
_HISTOGRAMS: Final = {
    "inspection": "Time of one inspection, network checks included.",
    "waiting": "Time from the acceptance of a message to its inspection.",
    "attempt": "Time of one successful transaction with a next hop.",
    "delivery": "Time from the acceptance of a message to its delivery.",
}
_FILTER_STATES: Final = ("busy", "idle", "starting")
_FILTER_EVENTS: Final = ("started", "crashed", "killed", "retried")


class _StatusCollector(Collector):
    """Metrics of one status."""

    def __init__(self, status: Mapping[str, Any], host: HostFacts, now: float) -> None:
        self._status = status
        self._host = host
        self._now = now

    def collect(self) -> Iterable[Metric]:
        return itertools.chain(
            self._counters(), self._histograms(), self._gateway(), self._queue(), self._relays(), self._supplies()
        )

    def _counters(self) -> Iterator[Metric]:
        counters: Mapping[str, int] = self._status["counters"]
        for plain in _PLAIN:
            yield CounterMetricFamily(plain.name, plain.help, value=counters.get(plain.counter, 0))
        for split in _SPLIT:
            family = CounterMetricFamily(split.name, split.help, labels=(split.label,))
            for value, counter in split.values.items():
                family.add_metric((value,), counters.get(counter, 0))
            if split.total:
                known = sum(counters.get(counter, 0) for counter in split.values.values())
                family.add_metric(("other",), counters.get(split.total, 0) - known)
            yield family

    def _histograms(self) -> Iterator[Metric]:
        times: Mapping[str, int] = self._status["latency"]
        for name, text in _HISTOGRAMS.items():
            bounds = [*(str(bound) for bound in BOUNDS_S[name]), "+Inf"]
            counts = itertools.accumulate(times.get(f"{LATENCY}{name}_{index}", 0) for index in range(len(bounds)))
            buckets = list(zip(bounds, map(float, counts), strict=True))
            sum_s = times.get(f"{LATENCY}{name}_ms", 0) / 1000
            yield HistogramMetricFamily(f"gatepost_{name}_seconds", text, buckets=buckets, sum_value=sum_s)

    def _gateway(self) -> Iterator[Metric]:
        status = self._status
        info = GaugeMetricFamily("gatepost_build_info", "Version that runs.", labels=("version",))
        info.add_metric((status["version"],), 1)
        yield info
        yield GaugeMetricFamily("gatepost_start_time_seconds", "When it was started.", value=status["started_at"])
        modules = GaugeMetricFamily("gatepost_module_running", "Whether a module works.", labels=("module",))
        for name, on in status["modules"].items():
            modules.add_metric((name,), int(bool(on)))
        yield modules
        sessions = GaugeMetricFamily("gatepost_sessions", "Sessions open now.", labels=("kind",))
        for kind, counter in _SESSIONS.items():
            sessions.add_metric((kind,), status["counters"].get(counter, 0))
        yield sessions

    def _queue(self) -> Iterator[Metric]:
        queue = self._status["queue"]
        states = GaugeMetricFamily("gatepost_queue_messages", "Messages in the queue.", labels=("state",))
        for state in ("waiting", "ready", "held"):
            states.add_metric((state,), queue.get(state, 0))
        yield states
        yield GaugeMetricFamily("gatepost_queue_bytes", "Bytes of content in the queue.", value=queue.get("bytes", 0))
        oldest = [row["oldest_waiting"] for row in self._status["relays"] if row.get("oldest_waiting")]
        age_s = max(0.0, self._now - min(oldest)) if oldest else 0.0
        text = "Age of the oldest message that awaits inspection."
        yield GaugeMetricFamily("gatepost_queue_oldest_seconds", text, value=age_s)

    def _relays(self) -> Iterator[Metric]:
        rows: Sequence[Mapping[str, Any]] = self._status["relays"]
        up = GaugeMetricFamily("gatepost_relay_up", "Whether a relay works.", labels=("relay",))
        restarts = CounterMetricFamily("gatepost_relay_restarts", "Restarts of a relay.", labels=("relay",))
        filters = GaugeMetricFamily("gatepost_filters", "Filters by what they do.", labels=("relay", "state"))
        events = CounterMetricFamily("gatepost_filter_events", "What befell filters.", labels=("relay", "event"))
        engines = GaugeMetricFamily("gatepost_engine_up", "Whether an engine can be used.", labels=("relay", "engine"))
        commits = GaugeMetricFamily(
            "gatepost_commit_seconds", "Time that this share of spool commits took at most.", labels=("relay", "share")
        )
        for row in rows:
            relay = str(row["index"])
            up.add_metric((relay,), int("error" not in row))
            restarts.add_metric((relay,), row["restarts"])
            if "error" in row:
                continue
            for state in _FILTER_STATES:
                filters.add_metric((relay, state), row["filters"][state])
            for event in _FILTER_EVENTS:
                events.add_metric((relay, event), row["filters"][event])
            for engine in row["engines"]:
                engines.add_metric((relay, engine["name"]), int(not engine["reason"]))
            for share, key in (("0.5", "p50_ms"), ("0.99", "p99_ms"), ("1", "longest_ms")):
                commits.add_metric((relay, share), row["commits"][key] / 1000)
        yield from (up, restarts, filters, events, engines, commits)

    def _supplies(self) -> Iterator[Metric]:
        ages = GaugeMetricFamily("gatepost_database_age_seconds", "Age of a set of databases.", labels=("kind", "name"))
        for kind, key in (("antivirus", "databases"), ("antispam", "spam_databases")):
            for each in self._status[key]:
                issued = dt.datetime.combine(dt.date.fromisoformat(str(each["issued"])[:10]), dt.time(), dt.UTC)
                ages.add_metric((kind, each["name"]), max(0.0, self._now - issued.timestamp()))
        yield ages
        free = GaugeMetricFamily("gatepost_disk_free_bytes", "Room left where something lies.", labels=("place",))
        size = GaugeMetricFamily(
            "gatepost_disk_size_bytes", "Size of the disk where something lies.", labels=("place",)
        )
        for place, (left, whole) in self._host.disks.items():
            free.add_metric((place,), left)
            size.add_metric((place,), whole)
        yield from (free, size)
        text = "When a certificate of ours ends, Unix time."
        ends = GaugeMetricFamily("gatepost_certificate_end_time_seconds", text, labels=("file",))
        for file, end in self._host.certificates.items():
            ends.add_metric((file,), end)
        yield ends


def render_metrics(status: Mapping[str, Any], host: HostFacts, now: float) -> str:
    """Return all metrics as text (exposition format 0.0.4). `now`: Unix seconds."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatusCollector(status, host, now))
    return generate_latest(registry).decode()
