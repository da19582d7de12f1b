"""The statistics by all their documented names (specification management.md §8), as they stand in the statistics file.

Built from an answer of the call `status`. Totals count since the gateway started; names that say `current` tell what is
so now, `maximum` the most there was at once (of several relays: the sum of each one's most). Pure.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

Value = int | str

_TOTALS: Final = (
    "mta_received_messages",
    "mta_received_bytes",
    "mta_received_recipients",
    "mta_sent_messages",
    "mta_sent_bytes",
    "mta_sent_recipients",
    "mta_incoming_connections_total",
    "mta_incoming_connection_errors",
    "mta_incoming_connections_refused_total",
    "mta_incoming_connections_refused_for_relaying",
    "mta_incoming_connections_refused_for_sessions_limit",
    "mta_incoming_connections_refused_for_sessions_per_ip_limit",
    "mta_outgoing_connections_total",
    "mta_outgoing_connection_errors",
    "mta_outgoing_connections_failed_total",
    "mta_outgoing_connections_failed_through_cache",
    "mta_routing_queries_total",
    "mta_dns_queries_total",
    "mta_dns_queries_through_cache",
    "mta_dns_queries_failed",
    "mta_receivings_refused_total",
    "mta_receivings_refused_for_message_size_limit",
    "mta_receivings_refused_for_session_size_limit",
    "mta_receivings_refused_for_hops_limit",
    "mta_receivings_refused_for_messages_per_session_limit",
    "mta_sendings_failed_total",
    "mta_sendings_failed_for_message_size_limit",
    "mta_sendings_failed_for_8bitmime",
    "mta_malformed_messages",
    "mta_dsn_generated",
    "antiviral_checked_objects_total",
    "antiviral_checked_objects_through_cache",
    "antiviral_checked_objects_infected",
    "antiviral_checked_objects_disinfected_objects",
    "antiviral_checked_objects_suspicious_objects",
    "antiviral_checked_objects_protected_objects",
    "antiviral_checked_objects_filtered_objects",
    "antiviral_check_checked_objects_error",
    "antiviral_infected_objects",
    "antiviral_checked_messages_total",
    "antiviral_checked_messages_blocked",
    "antiviral_checked_messages_modified",
    "antiviral_notifications_generated_for_sender",
    "antiviral_notifications_generated_for_recipients",
    "antiviral_notifications_generated_for_admin",
    "antispam_checked_messages_total",
    "antispam_checked_messages_spam",
    "antispam_checked_messages_probable_spam",
    "antispam_checked_messages_formal",
    "antispam_checked_messages_blacklisted",
    "antispam_checked_messages_trusted",
    "antispam_checked_messages_not_detected",
    "antispam_checked_messages_blocked",
)
_CURRENT: Final = (
    "mta_stored_messages_current",
    "mta_incoming_connections_current",
    "mta_incoming_connections_maximum",
    "mta_outgoing_connections_current",
    "mta_outgoing_connections_maximum",
    "antiviral_checking_sessions_current",
    "antiviral_checking_sessions_maximum",
)
_OTHER_SPELLINGS: Final = {"mta_incoming_connections_errors": "mta_incoming_connection_errors"}
"""Names that another generation of the product spells otherwise."""
_TASKS: Final = {
    "task_sender_running": "sender",
    "task_receiver_running": "receiver",
    "task_antivirus_running": "antivirus",
    "task_antispam_running": "antispam",
}
NAMES: Final = (
    "time_initialized",
    "time_initialized_iso",
    "time_processing",
    *_TOTALS,
    *_CURRENT,
    *_OTHER_SPELLINGS,
    *_TASKS,
)
"""All documented names: each of them is always there."""


def build_statistics(status: Mapping[str, Any], now: float) -> dict[str, Value]:
    """Return all statistics. `status`: the answer of the call; `now`: Unix seconds.

    What is counted beyond the documented names follows them in alphabetical order.
    """
    started_at = float(status["started_at"])
    counted, present, modules = status["since_start"], status["counters"], status["modules"]
    values: dict[str, Value] = {
        "time_initialized": int(started_at),
        "time_initialized_iso": dt.datetime.fromtimestamp(int(started_at), dt.UTC).isoformat(),
        "time_processing": max(0, int(now - started_at)),
    }
    values |= {name: int(counted.get(name, 0)) for name in _TOTALS}
    values |= {name: int(present.get(name, 0)) for name in _CURRENT}
    values |= {name: values[known] for name, known in _OTHER_SPELLINGS.items()}
    values |= {name: int(bool(modules.get(module))) for name, module in _TASKS.items()}
    # Of names that are not documented, only those that are shown as counters: none of a histogram.
    further = sorted(name for name in counted if name not in values and name in present)
    return values | {name: int(counted[name]) for name in further}


def render_statistics(values: Mapping[str, Value]) -> str:
    """Return them as the statistics file has them: `name=value` lines."""
    return "".join(f"{name}={value}\n" for name, value in values.items())
