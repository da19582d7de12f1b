"""The running gateway, judged by its status answer: pure, for `master.problems` and so for `gatepost doctor`."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from gatepost.doctor.finding import Finding, State

OLD_DAYS: Final = 5
"""Documented: databases older than this are obsolete."""
WAITING_MANY: Final = 1000
WAITING_OLD_S: Final = 1800.0
"""Mail that has waited so long for its inspection; an engine that restarts is back long before."""
OFTEN: Final = 3
"""Restarts of one process within an hour."""
DESTINATION_MANY: Final = 200
_SWITCHES: Final = {
    "receiver": ("recv-on", "reception is switched off: senders wait or go elsewhere", State.ERROR),
    "scanner": ("scan-on", "inspection is switched off: mail waits", State.ERROR),
    "antivirus": ("avir-on", "anti-virus is switched off: nothing passes unscanned, mail waits", State.ERROR),
    "antispam": ("spam-on", "anti-spam is switched off: spam passes", State.WARNING),
    "sender": ("send-on", "delivery is switched off: mail waits", State.ERROR),
}
_LOG = "see the log for the reason"
_FAILED: Final = (
    "`gatepost trace --status error --since 1h` finds them and where they are, each line of the log with "
    "`inspection failed twice` says why; report it with the message"
)

Row = Mapping[str, Any]


def judge_status(
    status: Row, restarts: Mapping[str, int], failures: Mapping[str, int], now: float
) -> Iterator[Finding]:
    """Judge a status answer (`master.calls`). Within the hour: `restarts` of processes by their names, `failures` of
    inspections by relays.
    """
    yield from _judge_relays(status["relays"])
    yield from _judge_template(status["filter_template"])
    for name, count in restarts.items():
        if count >= OFTEN:
            yield Finding(
                f"restarts:{name}", "process", State.WARNING, f"{name} restarted {count} times within an hour", _LOG
            )
    failed = sum(failures.values())
    if failed:
        text = f"{failed} message(s) could not be inspected within an hour: each ended two filters"
        yield Finding("inspections", "process", State.WARNING, text, _FAILED)
    if status["supervisor"]["restarts"]:
        text = f"the master died ({status['supervisor']['last_end']}) and was started again"
        yield Finding(
            "master", "process", State.WARNING, text, "report it with the log; the next clean start clears this"
        )
    yield from _judge_modules(status)
    yield from _judge_databases(status, now)
    yield from _judge_engines(status["relays"])
    yield from _judge_queue(status, now)


class Helper(Protocol):
    """A process of the master's that mail can do without for a while."""

    trouble: str
    """What it last complained of, "" for nothing known."""

    @property
    def state(self) -> str:
        """As `master.children` tells it."""

    @property
    def settled(self) -> bool:
        """It runs, and not only between two ends."""


_WITHOUT: Final = {
    "recorder": "what becomes of mail is written down later: relays keep it",
    "console": "the console cannot be reached",
    "user_quarantine": "recipients cannot reach their quarantine",
}


def judge_helpers(helpers: Mapping[str, Helper | None]) -> Iterator[Finding]:
    """Judge processes by name; None for one that is not wanted."""
    for name, helper in helpers.items():
        if helper is not None and not helper.settled:
            how = "ends again and again" if helper.state == "running" else f"is {helper.state}"
            why = f" ({helper.trouble})" if helper.trouble else ""
            text = f"the {name} {how}: {_WITHOUT[name]}{why}"
            yield Finding(f"process:{name}", "process", State.WARNING, text, _LOG)


def judge_troubles(troubles: Iterable[str]) -> Iterator[Finding]:
    """Judge what keeps the console, its accounts or the audit log from working, in words; mail goes on."""
    for text in troubles:
        key = f"console:{text.partition(':')[0]}"
        yield Finding(key, "console", State.WARNING, text, "see the log; it is tried again by itself")


_WAVE: Final = "a wave of mail passes; if it stays, raise limits.incoming_sessions or add filters"
_ROOM: Final = "make room where the queue lies (old files in stores, logs): mail is taken again by itself"


def _judge_relays(relays: list[Row]) -> Iterator[Finding]:
    for relay in relays:
        name = f"relay {relay['index']}"
        if relay["state"] != "running":
            why = f": {relay['error']}" if relay.get("error") else ""
            yield Finding(f"process:{name}", "process", State.ERROR, f"{name} cannot start{why}", _LOG)
        elif relay.get("error"):
            yield Finding(f"process:{name}", "process", State.ERROR, f"{name}: {relay['error']}", _LOG)
        else:
            yield Finding(f"process:{name}", "process", State.OK, f"{name} works")
        if relay.get("shedding"):
            facts = ", ".join(f"{what} {value}" for what, value in relay["shedding"].items())
            mend = _ROOM if "free_space" in facts else _WAVE
            yield Finding(f"shedding:{name}", "queue", State.WARNING, f"{name} refuses for load: {facts}", mend)
        for place, why in relay.get("stores", {}).items():
            mend = "make room and give the gateway's user the directory: mail goes on by itself"
            yield Finding(f"store:{place}", "disk", State.ERROR, f"store {place} cannot be written: {why}", mend)
        for zone, why in relay.get("network_checks", {}).get("lists_off", {}).items():
            mend = "ask through a resolver of your own; lists refuse public ones"
            yield Finding(f"list:{zone}", "dns", State.WARNING, f"DNS list {zone} is not asked: {why}", mend)
    yield from _judge_name_servers(relays)
    missing = sorted({wall for relay in relays for wall in relay.get("filter_walls_missing", ())})
    if missing:
        mend = "boot a kernel that has them, or allow it in the service's unit"
        yield Finding("filter-walls", "process", State.WARNING, f"filters run without: {', '.join(missing)}", mend)


def _judge_name_servers(relays: list[Row]) -> Iterator[Finding]:
    """Each relay asks for itself: what one finds silent, is in trouble."""
    silent = [told for relay in relays if (told := relay.get("network_checks", {}).get("silent_name_servers"))]
    if silent:
        first = min(silent, key=lambda told: float(told["since"]))
        since = dt.datetime.fromtimestamp(first["since"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        what = "mail that goes by MX waits, network checks tell nothing"
        text = f"no name server answers since {since} ({'; '.join(first['servers'])}): {what}"
        mend = (
            "start or reach a name server, or name others in [resolve] name_servers; the gateway goes on by itself "
            "within minimal_backoff_time, at once with `gatepost queue flush`"
        )
        yield Finding("dns:silent", "dns", State.ERROR, text, mend)


def _judge_template(template: Row) -> Iterator[Finding]:
    if template["state"] == "running":
        yield Finding("process:filters", "process", State.OK, "filter template works")
    else:
        text = f"the filter template is {template['state']}: mail waits for its inspection"
        yield Finding("process:filters", "process", State.ERROR, text, _LOG)


def _judge_modules(status: Row) -> Iterator[Finding]:
    modules = status["modules"]
    inspects = modules["scanner"] and status["filter_template"]["state"] == "running"
    untold = set() if inspects else {"antivirus", "antispam"}  # nothing is inspected: that is told, and says it all
    for module, (action, text, state) in _SWITCHES.items():
        if modules.get(module, True) or module in untold:
            continue
        yield Finding(f"switch:{module}", "service", state, text, f"gatepost {action}")


def _judge_databases(status: Row, now: float) -> Iterator[Finding]:
    today = dt.datetime.fromtimestamp(now, dt.UTC).date()
    for kind in ("databases", "spam_databases"):
        for each in status[kind]:
            try:
                age = (today - dt.date.fromisoformat(each["issued"])).days
            except ValueError:
                continue
            text = f"database {each['name']} {each['number']} is of {each['issued']}"
            if age > OLD_DAYS:
                mend = "see what keeps the update away (`gatepost update status`, `gatepost bases show`)"
                yield Finding(f"database:{each['name']}", "databases", State.WARNING, f"{text}: {age} days old", mend)
            elif age < -1:
                mend = "look at the clock"
                yield Finding(f"database:{each['name']}", "databases", State.WARNING, f"{text}, in the future", mend)
            else:
                yield Finding(f"database:{each['name']}", "databases", State.OK, text)


def _judge_engines(relays: list[Row]) -> Iterator[Finding]:
    """An engine that one relay cannot use is in trouble; each relay sees it with its own eyes."""
    seen: dict[str, Finding] = {}
    for relay in relays:
        for engine in relay.get("engines", ()):
            name, key = engine["name"], f"engine:{engine['name']}"
            if engine["state"] in {"up", "unknown"}:
                seen.setdefault(key, Finding(key, "engine", State.OK, f"engine {name} works"))
            else:
                text = f"engine {name} is {engine['state']}: {engine['reason'] or engine['last_error']}"
                mend = "start it, or take it out of the configuration: mail waits or passes by its on_failure"
                seen[key] = Finding(key, "engine", State.ERROR, text, mend)
    yield from seen.values()


def _judge_queue(status: Row, now: float) -> Iterator[Finding]:
    queue = status["queue"]
    if queue["held"]:
        mend = "`gatepost queue list --state HLD` tells why; `queue release` or `queue remove`"
        yield Finding("queue:held", "queue", State.WARNING, f"{queue['held']} message(s) held for an operator", mend)
    oldest = min((relay["oldest_waiting"] for relay in status["relays"] if relay.get("oldest_waiting")), default=0.0)
    age = now - oldest if oldest else 0.0
    text = f"{queue['waiting']} message(s) wait for inspection, the oldest for {age / 60:.0f} minutes"
    if age > WAITING_OLD_S:
        mend = "look at engines, filters and `gatepost queue list --summary`"
        yield Finding("queue:waiting", "queue", State.ERROR, text, mend)
    elif queue["waiting"] > WAITING_MANY:
        mend = "it goes down by itself when a wave is over; else add filters"
        yield Finding("queue:waiting", "queue", State.WARNING, text, mend)
    else:
        yield Finding("queue:waiting", "queue", State.OK, f"{queue['waiting']} message(s) wait for inspection")
    for row in status["troubled"]:
        if row["waiting"] >= DESTINATION_MANY or row["paused"]:
            mend = f"gatepost queue resume {row['domain']}" if row["paused"] else "`gatepost queue list --summary`"
            text = f"{row['waiting']} message(s) wait for {row['domain']}: {row['reason']}"
            yield Finding(f"destination:{row['domain']}", "queue", State.WARNING, text, mend)
