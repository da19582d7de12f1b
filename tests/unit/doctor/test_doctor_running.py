"""A running gateway judged by its status: each condition alone, and none where all is well."""

import copy
import datetime as dt
from typing import Any

import pytest

from gatepost.doctor.finding import State, worst
from gatepost.doctor.running import (
    OFTEN,
    OLD_DAYS,
    WAITING_MANY,
    WAITING_OLD_S,
    judge_helpers,
    judge_status,
    judge_troubles,
)

NOW = dt.datetime(2026, 6, 10, 12, tzinfo=dt.UTC).timestamp()
ENGINE = {"name": "clam", "state": "up", "reason": "", "last_error": ""}
RELAY = {
    "index": 0,
    "state": "running",
    "restarts": 0,
    "shedding": {},
    "stores": {},
    "network_checks": {"lists_off": {}},
    "filter_walls_missing": [],
    "engines": [ENGINE],
    "oldest_waiting": 0.0,
}
STATUS: dict[str, Any] = {
    "supervisor": {"pid": 1, "restarts": 0, "last_end": ""},
    "relays": [RELAY],
    "filter_template": {"state": "running", "restarts": 0},
    "modules": {"receiver": True, "scanner": True, "antispam": True, "antivirus": True, "sender": True},
    "databases": [{"name": "base", "number": 3, "issued": "2026-06-08"}],
    "spam_databases": [],
    "queue": {"waiting": 0, "ready": 0, "held": 0, "bytes": 0},
    "troubled": [],
}


def judge(
    change: dict[str, Any], restarts: dict[str, int] | None = None, failures: dict[str, int] | None = None
) -> dict[str, State]:
    """Return the state of each finding, of the good status with some values changed by their paths."""
    status = copy.deepcopy(STATUS)
    for path, value in change.items():
        place: Any = status
        *way, last = path.split(".")
        for name in way:
            place = place[int(name) if name.isdigit() else name]
        place[int(last) if last.isdigit() else last] = value
    return {each.key: each.state for each in judge_status(status, restarts or {}, failures or {}, NOW)}


def test_nothing_is_wrong() -> None:
    assert set(judge({}).values()) == {State.OK}


@pytest.mark.parametrize(
    ("change", "key", "state"),
    [
        ({"relays.0.state": "failing", "relays.0.error": "disk is full"}, "process:relay 0", State.ERROR),
        ({"relays.0.state": "waiting"}, "process:relay 0", State.ERROR),
        ({"relays.0.error": "relay 0 does not answer"}, "process:relay 0", State.ERROR),
        ({"relays.0.shedding": {"sessions": 90}}, "shedding:relay 0", State.WARNING),
        ({"relays.0.stores": {"/q": "No space left"}}, "store:/q", State.ERROR),
        ({"relays.0.network_checks": {"lists_off": {"bl.example": "refused"}}}, "list:bl.example", State.WARNING),
        ({"relays.0.filter_walls_missing": ["landlock"]}, "filter-walls", State.WARNING),
        ({"relays.0.engines.0": ENGINE | {"state": "down", "reason": "gone"}}, "engine:clam", State.ERROR),
        ({"relays.0.engines.0": ENGINE | {"state": "slow", "last_error": "late"}}, "engine:clam", State.ERROR),
        ({"relays.0.oldest_waiting": NOW - WAITING_OLD_S - 1, "queue.waiting": 1}, "queue:waiting", State.ERROR),
        ({"queue.waiting": WAITING_MANY + 1}, "queue:waiting", State.WARNING),
        ({"queue.held": 1}, "queue:held", State.WARNING),
        ({"filter_template.state": "failing"}, "process:filters", State.ERROR),
        ({"supervisor.restarts": 1, "supervisor.last_end": "signal 9"}, "master", State.WARNING),
        ({"modules.receiver": False}, "switch:receiver", State.ERROR),
        ({"modules.sender": False}, "switch:sender", State.ERROR),
        ({"modules.scanner": False}, "switch:scanner", State.ERROR),
        ({"modules.antivirus": False}, "switch:antivirus", State.ERROR),
        ({"modules.antispam": False}, "switch:antispam", State.WARNING),
        ({"databases.0.issued": "2026-06-01"}, "database:base", State.WARNING),
        ({"databases.0.issued": "2026-07-01"}, "database:base", State.WARNING),
        (
            {"troubled": [{"domain": "a.example", "waiting": 1, "paused": True, "reason": "paused"}]},
            "destination:a.example",
            State.WARNING,
        ),
    ],
)
def test_each_condition(change: dict[str, Any], key: str, state: State) -> None:
    found = judge(change)
    assert found[key] is state
    assert all(each is State.OK for other, each in found.items() if other != key)


def test_borders() -> None:
    day = dt.date(2026, 6, 10)
    assert judge({"databases.0.issued": str(day - dt.timedelta(OLD_DAYS))})["database:base"] is State.OK
    assert judge({"databases.0.issued": str(day - dt.timedelta(OLD_DAYS + 1))})["database:base"] is State.WARNING
    assert judge({"databases.0.issued": "someday"}) == judge({"databases": []})
    assert judge({"queue.waiting": WAITING_MANY})["queue:waiting"] is State.OK
    assert "restarts:relay 0" not in judge({}, {"relay 0": OFTEN - 1})
    assert judge({}, {"relay 0": OFTEN})["restarts:relay 0"] is State.WARNING


def test_inspection_that_is_off_is_one_problem_not_two() -> None:
    found = judge({"modules.scanner": False, "modules.antivirus": False, "modules.antispam": False})
    assert [key for key, state in found.items() if state is not State.OK] == ["switch:scanner"]


def test_an_engine_is_down_when_one_relay_cannot_use_it() -> None:
    other = copy.deepcopy(RELAY) | {"index": 1, "engines": [ENGINE | {"state": "down", "reason": "gone"}]}
    assert judge({"relays": [RELAY, other]})["engine:clam"] is State.ERROR
    assert judge({"relays": [other, RELAY]})["engine:clam"] is State.ERROR


def test_helpers_and_what_keeps_the_console_away() -> None:
    class Child:
        def __init__(self, state: str, trouble: str = "", *, settled: bool = False) -> None:
            self.state = state
            self.trouble = trouble
            self.settled = settled

    found = list(
        judge_helpers({"recorder": Child("failing", "disk is full"), "console": Child("running", settled=True)})
    )
    assert [(each.key, each.state) for each in found] == [("process:recorder", State.WARNING)]
    assert (
        found[0].text
        == "the recorder is failing: what becomes of mail is written down later: relays keep it (disk is full)"
    )
    (between,) = judge_helpers({"recorder": Child("running")})
    assert between.key == "process:recorder"
    assert "again and again" in between.text
    assert not list(judge_helpers({"recorder": None}))
    (trouble,) = judge_troubles(["127.0.0.1:8025: address in use"])
    assert worst([trouble]) is State.WARNING


def test_a_full_disk_is_not_mended_by_more_sessions() -> None:
    status = copy.deepcopy(STATUS)
    for shedding, words in (
        ({"reception": "paused", "free_space": "below 500"}, "make room"),
        ({"sessions": 90}, "sessions"),
    ):
        status["relays"][0]["shedding"] = shedding
        (finding,) = [each for each in judge_status(status, {}, {}, NOW) if each.key == "shedding:relay 0"]
        assert words in finding.mend


def test_silent_name_servers_of_any_relay_are_an_error() -> None:
    told = {"since": NOW - 60, "servers": ["192.0.2.53: no answer in time"]}
    assert (
        judge({"relays.0.network_checks": {"lists_off": {}, "silent_name_servers": told}})["dns:silent"] is State.ERROR
    )
    assert "dns:silent" not in judge({"relays.0.network_checks": {"lists_off": {}, "silent_name_servers": {}}})


def test_mail_that_ended_two_filters_is_told() -> None:
    assert "inspections" not in judge({}, failures={"relay 0": 0})
    assert judge({}, failures={"relay 0": 0, "relay 1": 1})["inspections"] is State.WARNING
