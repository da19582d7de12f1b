"""What SNMP shows of a gateway: the variables of MAILGW-MIB (specification management.md §10). Pure.

Called by `master.snmp` for every question of the master agent. Values are those of the statistics file, of
`gatepost config show` and of `gatepost status`: nothing is counted here.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from gatepost.config.description import HIDDEN
from gatepost.config.dump import toml_value
from gatepost.config.schema import FIELDS, SECTIONS, Config
from gatepost.control.counters import LATENCY
from gatepost.wire.agentx import Oid, Syntax, Tree, Value

CONFIG: Final[Oid] = (1,)
STATISTICS: Final[Oid] = (2,)
UPDATE: Final[Oid] = (3,)
ADMIN: Final[Oid] = (4,)
NOTICE: Final[Oid] = (5,)
"""Objects that only notifications carry."""
LATEST_LIMIT: Final = 10
"""Rows of the tables of latest viruses and infectors."""
TEXT_LIMIT: Final = 255
_ARRAYS: Final = {
    "listener": "listeners", "door": "doors", "network.zone": "zones", "tls_policy": "tls_policies",
    "engine": "engines", "group": "groups", "shadow": "shadows", "update_server": "update_servers",
}  # fmt: skip
"""Where a `Config` keeps the tables of an array; routes are told by their own lines in `config show`."""
_MESSAGES: Final = (
    "mta_received_messages",
    "antiviral_checked_messages_infected",
    "antiviral_checked_messages_suspicious",
    "antiviral_checked_messages_total",
    "antiviral_checked_messages_protected",
    "antiviral_checked_messages_error",
)
_SPAM: Final = (
    "antispam_checked_messages_total",
    "antispam_checked_messages_spam",
    "antispam_checked_messages_probable_spam",
    "antispam_checked_messages_formal",
    "antispam_checked_messages_blacklisted",
)


class Infection(msgspec.Struct, frozen=True):
    """One infected mail, for the tables of the latest."""

    at: float
    threat: str
    client: str


class UpdateState(msgspec.Struct, frozen=True, kw_only=True):
    """Of the databases."""

    checked: float = 0.0
    """When an update was last looked for, Unix seconds; 0 = never."""
    result: str = "unknown"
    """updated, not-needed, error, rolled-back, unknown."""
    loaded: float = 0.0
    records: int = 0
    released: str = ""
    """Day of issue, ISO 8601."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that is shown."""

    config: Config
    statistics: Mapping[str, int | str]
    """As `control.statistics` builds them."""
    latency: Mapping[str, int]
    """Counters of histograms, of the status."""
    now: float
    started_at: float
    cpu: tuple[float, float] = (0.0, 0.0)
    """Seconds of all processes: (user, system)."""
    infections: Sequence[Infection] = ()
    update: UpdateState = UpdateState()


def build_tree(base: Oid, facts: Facts, services: Sequence[str]) -> Tree:
    """Return the variables below `base` of the groups in `services` (`SNMPServices`)."""
    parts = {"config": _config, "statistics": _statistics, "update": _update, "admin": _admin}
    return Tree({(*base, *name): value for group in services for name, value in parts[group](facts)})


def text(value: str) -> Value:
    """Return a text."""
    return Value(Syntax.TEXT, value.encode("ascii", "replace")[:TEXT_LIMIT])


def _gauge(value: float) -> Value:
    return Value(Syntax.GAUGE, min(0xFFFFFFFF, max(0, int(value))))


def _counter(value: int) -> Value:
    return Value(Syntax.COUNTER, max(0, value))


def iso(at: float) -> str:
    """Return a moment as ISO 8601 in UTC, "" for none."""
    return dt.datetime.fromtimestamp(int(at), dt.UTC).isoformat() if at else ""


def _index(name: str) -> Oid:
    """Return a text as a part of an OID: its length, then its octets (RFC 2578 §7.7)."""
    octets = name.encode()[:64]
    return (len(octets), *octets)


def _config(facts: Facts) -> Iterator[tuple[Oid, Value]]:
    """One row for each parameter: section, number of the table (0, or from 1 in arrays), name -> value in force."""
    for section in SECTIONS:
        for item, struct in _tables(facts.config, section.name, array=section.array):
            for field in FIELDS[section.name]:
                if not field.parameter.shown:
                    continue
                value = getattr(struct, field.name)
                told = HIDDEN if field.parameter.secret and value else toml_value(field, value)
                place = (*_index(section.name), item, *_index(field.name))
                yield (*CONFIG, 1, 1, 4, *place), text(told)


def _tables(config: Config, name: str, *, array: bool) -> Iterator[tuple[int, Any]]:
    if array:
        if name in _ARRAYS:
            yield from enumerate(getattr(config, _ARRAYS[name]), 1)
        return
    struct: Any = config
    for part in name.split("."):
        struct = getattr(struct, part)
    yield 0, struct


def _statistics(facts: Facts) -> Iterator[tuple[Oid, Value]]:
    values = facts.statistics

    def number(name: str) -> int:
        found = values.get(name, 0)
        return found if isinstance(found, int) else 0

    received = number("mta_received_messages")
    for column, name in enumerate(_MESSAGES, 1):
        yield (*STATISTICS, 1, column, 0), _counter(number(name))
    yield (*STATISTICS, 1, 7, 0), _gauge(number("mta_received_bytes") // received if received else 0)
    for column, name in enumerate(_SPAM, 8):
        yield (*STATISTICS, 1, column, 0), _counter(number(name))
    inspections = sum(
        count
        for name, count in facts.latency.items()
        if name.startswith(f"{LATENCY}inspection_") and not name.endswith("_ms")
    )
    total_ms = facts.latency.get(f"{LATENCY}inspection_ms", 0)
    yield (*STATISTICS, 2, 1, 0), text(iso(facts.now))
    yield (*STATISTICS, 2, 2, 0), _gauge(total_ms / inspections if inspections else 0)
    yield (*STATISTICS, 2, 3, 0), _counter(number("mta_received_bytes"))
    yield (*STATISTICS, 2, 4, 0), _counter(int(facts.cpu[0] * 100))
    yield (*STATISTICS, 2, 5, 0), _counter(int(facts.cpu[1] * 100))
    for row, each in enumerate(facts.infections[:LATEST_LIMIT], 1):
        for table, shown in ((1, each.threat), (2, each.client)):
            yield (*STATISTICS, 3, table, 1, 2, row), text(shown)
            yield (*STATISTICS, 3, table, 1, 3, row), text(iso(each.at))
    for name, value in values.items():
        if isinstance(value, int):
            yield (*STATISTICS, 4, 1, 2, *_index(name)), _counter(value)


def _update(facts: Facts) -> Iterator[tuple[Oid, Value]]:
    state = facts.update
    yield (*UPDATE, 1, 1, 0), text(iso(state.checked))
    yield (*UPDATE, 1, 2, 0), text(state.result)
    yield (*UPDATE, 2, 1, 0), text(iso(state.loaded))
    yield (*UPDATE, 2, 2, 0), _gauge(state.records)
    yield (*UPDATE, 2, 3, 0), text(state.released)


def _admin(facts: Facts) -> Iterator[tuple[Oid, Value]]:
    yield (*ADMIN, 1, 1, 0), text(iso(facts.started_at))
    yield (*ADMIN, 1, 2, 0), Value(Syntax.TICKS, int(max(0.0, facts.now - facts.started_at) * 100) & 0xFFFFFFFF)
