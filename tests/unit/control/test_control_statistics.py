"""Statistics and metrics: every documented name is there with its value, and what Prometheus reads agrees with it."""

import importlib.resources
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gatepost.control.counters import BOUNDS_S, LATENCY
from gatepost.control.metrics import HostFacts, render_metrics
from gatepost.control.statistics import NAMES, build_statistics, render_statistics

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).parents[4] / "shared"))
STARTED = 1_800_000_000.25
NOW = STARTED + 90


def status(**changes: Any) -> dict[str, Any]:
    counters = {"mta_received_messages": 12, "mta_sent_messages": 9, "mta_incoming_connections_current": 3}
    known: dict[str, Any] = {
        "version": "1.2.3",
        "started_at": STARTED,
        "counters": counters | {"mta_stored_messages_current": 4, "mta_incoming_connection_errors": 5},
        "since_start": {"mta_received_messages": 2, "mta_incoming_connection_errors": 1, f"{LATENCY}delivery_0": 7},
        "latency": {f"{LATENCY}inspection_0": 3, f"{LATENCY}inspection_2": 1, f"{LATENCY}inspection_ms": 12},
        "modules": {"receiver": True, "scanner": True, "antivirus": True, "antispam": False, "sender": False},
        "queue": {"waiting": 1, "ready": 2, "held": 1, "bytes": 77},
        "databases": [{"name": "core", "number": 1, "issued": "2027-01-14", "records": 10}],
        "spam_databases": [],
        "relays": [
            {
                "index": 0,
                "restarts": 2,
                "oldest_waiting": NOW - 30,
                "filters": {"busy": 1, "idle": 2, "starting": 0, "started": 3, "crashed": 0, "killed": 0, "retried": 0},
                "engines": [{"name": "builtin", "reason": ""}, {"name": 'cl"am\n', "reason": "down"}],
                "commits": {"p50_ms": 1.0, "p99_ms": 2.0, "longest_ms": 3.0},
            },
            {"index": 1, "restarts": 0, "error": "starting"},
        ],
    }
    return known | changes


def documented_names() -> set[str]:
    """Read the names out of the specification's table (management.md §8)."""
    page = SHARED / "spec" / "management.md"
    if not page.is_file():
        pytest.skip("needs the specification of the shared test material (set GATEPOST_SHARED)")
    text = page.read_text()
    table = text.partition("## 8. Statistics file")[2].partition("## 9.")[0]
    names: set[str] = set()
    for line in table.splitlines():
        if not line.startswith("| `"):
            continue
        stem = ""
        for quoted in re.findall(r"`([^`]+)`", line.split("|")[1]):
            if not quoted.startswith(("…", "_")):
                names.add(quoted)
                stem = stem_of(quoted)
            else:
                names.add(stem + quoted.removeprefix("…"))
    return names


def stem_of(name: str) -> str:
    for end in ("_total", "_current", "_for_sender"):
        if name.endswith(end):
            return name.removesuffix(end)
    return name


def test_every_documented_name_is_there():
    names = documented_names()
    assert len(names) == 67, "the table of the specification is not read as it should be"
    assert names - set(NAMES) == set()
    assert list(build_statistics(status(), NOW))[: len(NAMES)] == list(NAMES)


def test_totals_count_since_the_start_and_what_is_current_is_so_now():
    values = build_statistics(status(), NOW)
    assert values["mta_received_messages"] == 2
    assert values["mta_sent_messages"] == 0
    assert values["mta_stored_messages_current"] == 4
    assert values["mta_incoming_connections_current"] == 3
    assert values["mta_incoming_connections_errors"] == values["mta_incoming_connection_errors"] == 1
    assert values["time_initialized"] == int(STARTED)
    assert values["time_initialized_iso"] == "2027-01-15T08:00:00+00:00"
    assert values["time_processing"] == 90
    assert [values[f"task_{name}_running"] for name in ("receiver", "sender", "antivirus", "antispam")] == [1, 0, 1, 0]
    assert not any(name.startswith(LATENCY) for name in values)


def test_the_file_has_a_line_for_each():
    lines = render_statistics(build_statistics(status(), NOW)).splitlines()
    assert all(re.fullmatch(r"[a-z0-9_]+=[^=\n]+", line) for line in lines)
    assert "mta_received_messages=2" in lines


def metrics(answer: dict[str, Any] | None = None) -> str:
    host = HostFacts({"queue": (10, 100)}, {"/etc/x.pem": NOW + 60})
    return render_metrics(answer or status(), host, NOW)


def test_metrics_tell_counters_that_are_never_reset_and_gauges():
    lines = metrics().splitlines()
    for line in (
        "gatepost_received_messages_total 12.0",
        'gatepost_connection_errors_total{direction="incoming"} 5.0',
        'gatepost_module_running{module="antispam"} 0.0',
        'gatepost_queue_messages{state="ready"} 2.0',
        'gatepost_relay_up{relay="1"} 0.0',
        'gatepost_engine_up{engine="builtin",relay="0"} 1.0',
        'gatepost_engine_up{engine="cl\\"am\\n",relay="0"} 0.0',
        'gatepost_disk_free_bytes{place="queue"} 10.0',
        'gatepost_inspection_seconds_bucket{le="0.002"} 3.0',
        'gatepost_inspection_seconds_bucket{le="+Inf"} 4.0',
        "gatepost_inspection_seconds_count 4.0",
        "gatepost_inspection_seconds_sum 0.012",
    ):
        assert line in lines
    (age,) = (line for line in lines if line.startswith("gatepost_queue_oldest_seconds "))
    assert 29 <= float(age.split()[1]) <= 31


def test_causes_add_up_to_their_total():
    counters = {
        "mta_receivings_refused_total": 10,
        "mta_receivings_refused_for_hops_limit": 3,
        "mta_receivings_refused_for_greylisting": 2,
    }
    found = re.findall(
        r'gatepost_messages_refused_total\{cause="([a-z-]+)"\} ([0-9.]+)', metrics(status(counters=counters))
    )
    causes = {cause: float(value) for cause, value in found}
    assert (causes["hops"], causes["greylisted"], causes["other"]) == (3, 2, 5)
    assert sum(causes.values()) == 10


def test_an_empty_queue_and_no_relay_at_all_are_told():
    text = metrics(status(relays=[], queue={}, counters={}, latency={}))
    assert "gatepost_queue_oldest_seconds 0.0" in text
    assert f'le="{BOUNDS_S["delivery"][0]}"' in text


def test_promtool_finds_nothing_to_say():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: the names of metrics are not checked by it")
    checked = subprocess.run(
        [promtool, "check", "metrics"], check=False, input=metrics(), capture_output=True, text=True, timeout=20
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_dashboard_asks_for_metrics_that_there_are():
    raw = importlib.resources.files("gatepost.control").joinpath("grafana.json").read_text()
    queries = [target["expr"] for panel in json.loads(raw)["panels"] for target in panel.get("targets", ())]
    asked = {name for query in queries for name in re.findall(r"\bgatepost_\w+", query)}
    told = {match[1] for match in re.finditer(r"^(gatepost_\w+?)(?:\{| )", metrics(), re.MULTILINE)}
    families = {match[1] for match in re.finditer(r"^# TYPE (gatepost_\w+) ", metrics(), re.MULTILINE)}
    assert len(asked) > 30
    assert asked - told == set()
    assert "gatepost_build_info" in families
