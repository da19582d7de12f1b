"""Dashboard, service, databases, log, problems and reports around a scripted gateway: what they ask, show and do."""

import csv
import io
import time
from typing import Any

import pytest
from tests.support.scripted_console import ScriptedGateway, visit

from gatepost.console.tables import build_csv
from gatepost.control.rights import RIGHTS_OF, Right, Role
from gatepost.control.socket import ControlError

NOW = time.time()
PATHS = ("/", "/service", "/databases", "/log", "/problems", "/reports")

STATUS: dict[str, Any] = {
    "version": "1.2.3",
    "pid": 10,
    "configuration": "gatepost.toml",
    "started_at": NOW - 5000,
    "listeners": ["127.0.0.1:25"],
    "modules": {"receiver": True, "scanner": True, "antivirus": True, "antispam": True, "sender": False},
    "relays": [
        {
            "index": 0,
            "pid": 11,
            "state": "running",
            "restarts": 0,
            "engines": [
                {
                    "name": "clamd",
                    "state": "down",
                    "since": NOW,
                    "connections": 0,
                    "allowed": 4,
                    "waiting": 0,
                    "reason": "connection refused",
                    "version": "",
                }
            ],
            "filters": {"busy": 1, "idle": 2},
            "in_work": {"inspection": 3, "delivery": 4},
            "commits": {"p99_ms": 2.0},
        },
        {"index": 1, "pid": 12, "state": "running", "restarts": 5, "error": "no answer within 10 s"},
    ],
    "filter_template": {"pid": 13, "state": "running", "restarts": 0},
    "databases": [{"name": "base", "number": 3, "issued": "2020-01-01", "records": 51}],
    "spam_databases": [],
    "queue": {"waiting": 1, "ready": 2, "held": 3, "bytes": 4096},
    "paused": [],
    "troubled": [
        {"domain": "slow.example", "waiting": 7, "paused": False, "rests_until": NOW + 60, "reason": "no route"}
    ],
    "counters": {},
}
CONSOLE = {
    "enabled": True,
    "state": "running",
    "pid": 14,
    "restarts": 0,
    "addresses": ["http://127.0.0.1:8025"],
    "troubles": [],
    "walls_missing": [],
}
PROBLEM = {
    "key": "engine:clamd",
    "area": "engine",
    "state": "error",
    "text": "clamd cannot be reached",
    "mend": "start it",
    "since": NOW - 36.5 * 3600,
}
FINE = {"key": "disk:/", "area": "disk", "state": "ok", "text": "disk has room", "mend": ""}
PROBLEMS: dict[str, Any] = {
    "state": "error",
    "looked_at": NOW,
    "problems": [PROBLEM],
    "over": [PROBLEM | {"key": "clock", "text": "the clock was set", "until": NOW - 10}],
    "findings": [PROBLEM, FINE],
}
COUNTS = {
    "since": NOW - 86400,
    "until": NOW,
    "counts": {
        "kind/mail": 70,
        "outcome/delivered": 50,
        "outcome/blocked": 7,
        "outcome/quarantined": 2,
        "outcome/refused": 9,
        "virus/infected": 7,
        "spam/spam": 12,
        "cause/relaying": 9,
    },
    "tops": {"senders": [["=cmd|calc@x.example", 4], ["a@x.example", 3]], "threats": [["Worm", 7]], "clients": []},
    "exact": True,
    "back_until": 0.0,
}
SERIES = {
    "step": 60,
    "at": [NOW - 180, NOW - 120, NOW - 60],
    "columns": {"received": [1, 2, 3], "delay_p50": [None, 0.5, 1.25], "waiting": [4, 5, 6]},
}
MAIL = {
    "id": "0123456789ABC",
    "at": NOW - 5,
    "sender": "a@x.example",
    "recipients": ["b@y.example"],
    "subject": "an offer",
    "outcome": "blocked",
}
DATABASES: dict[str, Any] = {
    "sets": [
        {
            "name": "base",
            "kind": "antivirus",
            "number": 3,
            "issued": "2026-01-01",
            "records": 5,
            "signer": "key",
            "in_force": True,
            "newer": 0,
            "trouble": "",
        },
        {
            "name": "base",
            "kind": "antivirus",
            "number": 2,
            "issued": "2025-01-01",
            "records": 5,
            "signer": "key",
            "in_force": False,
            "newer": 3,
            "trouble": "",
        },
    ],
    "troubles": [],
    "directories": ["/bases"],
    "licence": {"expires": "2026-12-01", "days_left": 9, "trouble": ""},
    "update": {
        "checked": 1_767_225_600.0,
        "updated": 1_767_225_600.0,
        "result": "error",
        "source": "https://feed.example/bases",
        "error": "too few of the trusted keys have signed it",
        "installed": ["base 3"],
    },
}
LOG = {
    "lines": [
        "[2026-11-22 12:00:00 A] 0123456789ABC: RECEIVED, from=<a@x.example>",
        "[2026-11-22 12:00:01 E]: engine clamd is down",
    ],
    "begin": "7:120",
    "end": "7:300",
    "complete": False,
    "rotated": False,
}


def _search(arguments: dict[str, Any]) -> dict[str, Any]:
    mails = [MAIL | {"outcome": arguments["status"]}] if arguments["status"] == "blocked" else []
    return {"mails": mails, "cursor": "", "back_until": 0.0}


ANSWERS: dict[str, Any] = {
    "status": STATUS,
    "console.status": CONSOLE,
    "problems": PROBLEMS,
    "tracking.counts": COUNTS,
    "tracking.series": SERIES,
    "tracking.search": _search,
    "databases.show": DATABASES,
    "log.tail": LOG,
    "reload": "reloaded",
    "reloadbases": "databases in force: base 4",
    "switch": "off",
    "stop": "stopping",
    "digests.send": {"sent": 7, "under_way": False},
    "user_quarantine.status": CONSOLE,
    "databases.update": {"text": "installed: base 5", "changed": True, "under_way": False},
    "databases.rollback": {"text": "base 4 taken back", "changed": True, "under_way": False},
}


def _gateway(**changes: Any) -> ScriptedGateway:
    return ScriptedGateway({**ANSWERS, **changes})


# --- the dashboard


def test_the_dashboard_shows_figures_states_and_what_was_stopped() -> None:
    page = visit(_gateway(), "/").text
    for text in ("clamd cannot be reached", "1 of 2", "0 of 1 up", "an offer", ">70<"):
        assert text in page
    assert 'href="/tracking/0123456789ABC"' in page
    assert "switched off: sender" in page


def test_a_part_that_cannot_be_had_leaves_the_rest_of_the_dashboard() -> None:
    for missing in ("status", "problems", "tracking.counts", "tracking.series", "tracking.search"):
        answer = visit(_gateway(**{missing: ControlError(f"{missing} is away")}), "/")
        assert answer.status_code == 200
        assert f"{missing} is away" in answer.text
    alone = ScriptedGateway({})
    assert visit(alone, "/").status_code == 200


def test_pictures_are_tables_that_say_the_same() -> None:
    page = visit(_gateway(), "/").text
    delay = page[page.index('id="delay"') : page.index('id="inspection"')]
    assert delay.count("<tr>") == 4
    assert 'data-value="1.25"' in delay
    assert 'data-value=""' in delay
    assert f'data-value="{int(NOW - 60)}"' in delay


@pytest.mark.parametrize(
    ("span", "step", "length"), [("hour", 60, 3600), ("day", 900, 86400), ("month", 21600, 2592000)]
)
def test_pictures_cover_the_span_asked_for(span: str, step: int, length: int) -> None:
    gateway = _gateway()
    page = visit(gateway, f"/?span={span}").text
    [asked] = [arguments for name, arguments in gateway.asked if name == "tracking.series"]
    assert asked["step"] == step
    assert asked["until"] - asked["since"] == pytest.approx(length)
    assert length / step <= 120
    assert f'href="/?span={span}" aria-current="true"' in page


def test_parts_of_the_dashboard_come_alone_for_htmx_only() -> None:
    part = visit(_gateway(), "/dashboard/now", fragment=True)
    assert part.status_code == 200
    assert "<html" not in part.text
    assert "clamd cannot be reached" in part.text
    assert "data-picture" in visit(_gateway(), "/dashboard/pictures?span=day", fragment=True).text
    assert visit(_gateway(), "/dashboard/now").headers["location"] == "/"


def test_who_may_not_see_states_begins_elsewhere() -> None:
    domain = ScriptedGateway(ANSWERS, RIGHTS_OF[Role.DOMAIN], ("y.example",))
    answer = visit(domain, "/")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/tracking"
    assert [name for name, _ in domain.asked] == []


# --- service


@pytest.mark.parametrize(
    ("act", "call", "arguments"),
    [
        ("reload", "reload", {}),
        ("reload-databases", "reloadbases", {}),
        ("digests", "digests.send", {}),
        ("stop", "stop", {}),
        ("recv-off", "switch", {"module": "recv", "on": False}),
        ("send-on", "switch", {"module": "send", "on": True}),
        ("scan-off", "switch", {"module": "scan", "on": False}),
        ("spam-off", "switch", {"module": "spam", "on": False}),
    ],
)
def test_an_act_asks_first_and_then_does_it(act: str, call: str, arguments: dict[str, Any]) -> None:
    gateway = _gateway()
    question = visit(gateway, f"/service/{act}", data={})
    assert question.status_code == 200
    assert 'name="confirmed" value="1"' in question.text
    assert call not in [name for name, _ in gateway.asked]
    done = visit(gateway, f"/service/{act}", data={"confirmed": "1"})
    assert done.status_code == 303
    assert (call, arguments) in gateway.asked


def test_what_an_act_came_to_is_told() -> None:
    told = visit(_gateway(), "/service/reload-databases", data={"confirmed": "1"})
    page = visit(_gateway(), "/service", cookies={"flash": told.cookies["flash"]}).text
    assert "databases in force: base 4" in page
    failed = visit(
        _gateway(reload=ControlError("line 3: no such parameter")), "/service/reload", data={"confirmed": "1"}
    )
    page = visit(_gateway(), "/service", cookies={"flash": failed.cookies["flash"]}).text
    assert 'data-state="bad" role="alert">line 3: no such parameter' in page


def test_an_act_without_the_right_or_of_no_name_is_refused() -> None:
    reader = ScriptedGateway(ANSWERS, RIGHTS_OF[Role.READ_ONLY])
    assert visit(reader, "/service/stop", data={"confirmed": "1"}).status_code == 403
    assert "stop" not in [name for name, _ in reader.asked]
    assert visit(_gateway(), "/service/nothing", data={"confirmed": "1"}).status_code == 404
    page = visit(reader, "/service").text
    assert "Stop the gateway" not in page
    assert "Relay 1" in page


def test_the_service_page_is_not_for_accounts_with_domains() -> None:
    bound = ScriptedGateway(ANSWERS, RIGHTS_OF[Role.OPERATOR], domains=("own.example",))
    answer = visit(bound, "/service")
    assert answer.status_code == 403
    assert "your account sees only its own domains" in answer.text
    assert "Stop the gateway" not in answer.text


def test_the_service_page_shows_the_pages_of_recipients() -> None:
    answers = ANSWERS | {
        "user_quarantine.status": CONSOLE | {"pid": 4711, "addresses": ["https://spam.example.org:8026"]},
    }
    page = visit(ScriptedGateway(answers), "/service").text
    for text in ("Pages of recipients", "4711", "https://spam.example.org:8026", "Send digests now"):
        assert text in page
    answers["user_quarantine.status"] = CONSOLE | {"enabled": False}
    assert "Pages of recipients" not in visit(ScriptedGateway(answers), "/service").text


def test_the_service_page_shows_processes_and_what_ails_them() -> None:
    page = visit(_gateway(), "/service").text
    for text in ("does not answer", "no answer within 10 s", "connection refused", "slow.example", "no route"):
        assert text in page


# --- log


def test_the_log_page_asks_for_what_is_looked_for_and_links_mails() -> None:
    gateway = _gateway()
    page = visit(gateway, "/log?letter=A&text=RECEIVED&id=0123456789abc").text
    [(name, arguments)] = gateway.asked
    assert name == "log.tail"
    assert (arguments["letters"], arguments["text"], arguments["queue_id"]) == ("A", "RECEIVED", "0123456789ABC")
    assert '<a href="/tracking/0123456789ABC">0123456789ABC</a>: RECEIVED' in page
    assert '<li data-level="E">[2026-11-22 12:00:01 E]: engine' in page
    part = visit(gateway, "/log", fragment=True).text
    assert part.count("<li") == 2
    assert "<html" not in part


def test_older_lines_of_the_log_stand_still() -> None:
    gateway = _gateway()
    page = visit(gateway, "/log?letter=E").text
    assert 'href="/log?letter=E&amp;text=&amp;id=&amp;before=7%3A120"' in page
    assert "data-live" in page
    older = visit(gateway, "/log?letter=E&before=7:120").text
    assert gateway.asked[-1][1]["before"] == "7:120"
    assert "data-live" not in older
    assert 'href="/log?letter=E&amp;text=&amp;id="' in older


def test_the_log_page_says_when_nothing_fits_and_needs_its_right() -> None:
    assert "No such lines" in visit(_gateway(**{"log.tail": LOG | {"lines": []}}), "/log").text
    assert visit(ScriptedGateway(ANSWERS, RIGHTS_OF[Role.QUARANTINE]), "/log").status_code == 403
    assert visit(_gateway(), "/log?text=" + "x" * 201).status_code == 400


# --- problems, databases


def test_problems_show_three_states_since_when_and_how_to_mend_them() -> None:
    page = visit(_gateway(), "/problems").text
    for text in ("clamd cannot be reached", "start it", "for 1 d 12 h", "disk has room", "the clock was set"):
        assert text in page
    calm = PROBLEMS | {"state": "ok", "problems": [], "over": []}
    assert "No problems" in visit(_gateway(problems=calm), "/problems").text


def test_databases_show_what_is_in_force_and_the_licence() -> None:
    page = visit(_gateway(), "/databases").text
    for text in ("in force", "kept beside number 3", "9 days left", "/bases", "failed", "too few", "feed.example"):
        assert text in page
    never = DATABASES | {"update": DATABASES["update"] | {"checked": 0.0}}
    assert "No update so far" in visit(_gateway(**{"databases.show": never}), "/databases").text
    bad = DATABASES | {"licence": {"expires": "", "days_left": 0, "trouble": "licence.json: broken"}}
    assert "licence.json: broken" in visit(_gateway(**{"databases.show": bad}), "/databases").text


@pytest.mark.parametrize(
    ("path", "fields", "call", "arguments", "told"),
    [
        ("update", {}, "databases.update", {}, "installed: base 5"),
        ("rollback", {}, "databases.rollback", {"names": []}, "base 4 taken back"),
        (
            "rollback",
            {"name": "antivirus/base"},
            "databases.rollback",
            {"names": ["antivirus/base"]},
            "base 4 taken back",
        ),
    ],
)
def test_databases_are_updated_and_taken_back_once_confirmed(
    path: str, fields: dict[str, str], call: str, arguments: dict[str, Any], told: str
) -> None:
    gateway = _gateway()
    question = visit(gateway, f"/databases/{path}", data=fields)
    assert 'name="confirmed" value="1"' in question.text
    assert call not in [name for name, _ in gateway.asked]
    done = visit(gateway, f"/databases/{path}", data={**fields, "confirmed": "1"})
    assert (call, arguments) in gateway.asked
    assert told in visit(gateway, "/databases", cookies={"flash": done.cookies["flash"]}).text
    reader = ScriptedGateway(ANSWERS, RIGHTS_OF[Role.READ_ONLY])
    assert visit(reader, f"/databases/{path}", data={**fields, "confirmed": "1"}).status_code == 403
    assert "Update now" not in visit(reader, "/databases").text


def test_what_came_of_a_long_update_or_a_failed_one_is_told() -> None:
    long = {"text": "", "changed": False, "under_way": True}
    done = visit(_gateway(**{"databases.update": long}), "/databases/update", data={"confirmed": "1"})
    assert "takes longer" in visit(_gateway(), "/databases", cookies={"flash": done.cookies["flash"]}).text
    failed = _gateway(**{"databases.update": ControlError("no source is configured")})
    done = visit(failed, "/databases/update", data={"confirmed": "1"})
    page = visit(_gateway(), "/databases", cookies={"flash": done.cookies["flash"]}).text
    assert 'data-state="bad" role="alert">no source is configured' in page


# --- reports


def test_reports_show_counts_by_status_and_the_most_frequent() -> None:
    gateway = _gateway()
    page = visit(gateway, "/reports?since=2026-11-01&until=2026-11-03").text
    [(name, arguments)] = gateway.asked
    assert name == "tracking.counts"
    assert arguments["until"] - arguments["since"] == 3 * 86400
    for text in ("infected", "relaying", "Worm", "a@x.example"):
        assert text in page
    assert 'href="/tracking?sender=a%40x.example"' in page


@pytest.mark.parametrize(
    "query",
    [
        "since=2026-11-05&until=2026-11-01",
        "days=0",
        "days=x",
        "since=yesterday",
        "days=99999",
        "until=9999-12-31&since=9999-12-31",
        "since=0001-01-01&until=0001-01-02",
    ],
)
def test_a_period_that_cannot_be_is_told_and_the_last_week_shown(query: str) -> None:
    gateway = _gateway()
    page = visit(gateway, f"/reports?{query}").text
    assert "Give two days" in page
    [(_, arguments)] = gateway.asked
    assert arguments["until"] - arguments["since"] == pytest.approx(7 * 86400, abs=7200)


def test_a_report_is_a_file_whose_cells_run_nothing() -> None:
    answer = visit(_gateway(), "/reports/file/senders?days=1")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="gatepost-senders-')
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert rows == [["Sender", "Mails"], ["'=cmd|calc@x.example", "4"], ["a@x.example", "3"]]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_signs_that_begin_a_formula_somewhere_are_disarmed(sign: str) -> None:
    (row,) = list(csv.reader(io.StringIO(build_csv((), [(f"{sign}1+1", 7)]))))[1:]
    assert row == [f"'{sign}1+1", "7"]


def test_control_characters_of_strangers_are_shown_in_files_and_steer_nothing() -> None:
    (line,) = build_csv((), [("\x1b[31mred\x07\x9b", "one\r\n=two", "\t=1+1")]).splitlines()[1:]
    assert line == "⟨1B⟩[31mred⟨07⟩⟨9B⟩,one⟨0D⟩⟨0A⟩=two,⟨09⟩=1+1"


# --- all of them


def _poisoned(value: Any, name: str = "") -> Any:
    """Return an answer in which every text that is not one of a closed set is hostile."""
    closed = {"state", "outcome", "id", "issued", "expires", "kind"}
    if isinstance(value, dict):
        return {key: _poisoned(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_poisoned(each, name) for each in value]
    return HOSTILE if isinstance(value, str) and name not in closed else value


HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>\u202e\x1b[2J{{ 7*7 }}\r\n"


@pytest.mark.parametrize("path", PATHS)
def test_nothing_hostile_in_an_answer_becomes_part_of_a_page(path: str) -> None:
    answers = {name: _poisoned(value) for name, value in ANSWERS.items() if not callable(value)}
    answers["tracking.search"] = lambda _: {"mails": [_poisoned(MAIL)]}
    answers["log.tail"] = LOG | {"lines": [HOSTILE, f"[x A] 0123456789ABC: {HOSTILE}"]}
    page = visit(ScriptedGateway(answers), path).text
    assert "&lt;script&gt;alert(2)" in page
    assert "<img" not in page
    assert "<script>" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "{{ 7*7 }}" in page
    assert page.count("<h1>") == 1


@pytest.mark.parametrize("path", PATHS)
def test_no_page_without_sign_in(path: str) -> None:
    gateway = _gateway()
    assert visit(gateway, path, signed_in=False).status_code == 401
    assert {name for name, _ in gateway.asked} <= {"session.state"}


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/service", Right.VIEW),
        ("/databases", Right.VIEW),
        ("/problems", Right.VIEW),
        ("/log", Right.LOG),
        ("/reports", Right.TRACK),
        ("/reports/file/senders", Right.TRACK),
        ("/dashboard/now", Right.VIEW),
    ],
)
def test_a_page_needs_its_right(path: str, right: Right) -> None:
    assert visit(ScriptedGateway(ANSWERS, frozenset(Right) - {right}), path).status_code == 403


def test_the_look_is_kept_in_a_cookie_and_only_one_of_three() -> None:
    answer = visit(_gateway(), "/theme", data={"theme": "dark", "back": "/log"})
    assert answer.headers["location"] == "/log"
    assert answer.cookies["theme"] == "dark"
    assert 'data-theme="dark"' in visit(_gateway(), "/log", cookies={"theme": "dark"}).text
    strange = visit(_gateway(), "/theme", data={"theme": "neon", "back": "//evil.example"})
    assert strange.headers["location"] == "/"
    assert "theme" not in strange.cookies
