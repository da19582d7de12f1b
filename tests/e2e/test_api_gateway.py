"""The interface for programs of a running gateway: every operation by hand and by a generator of requests, events, probes,
the examples of the manual. One gateway for all.
"""

import http.client
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api import Api
from tests.support.contract import HURRY, make_token, try_contract
from tests.support.gateway import Gateway
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.console.api.table import LEFT_OUT, OPERATIONS
from gatepost.control.rights import Right

ROOT = Path(__file__).parents[2]
MAIL = b"Subject: hello\r\nFrom: a@example.net\r\nTo: user@example.org\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("api")
    changes = {"[path]\n": f'[path]\nincoming_archive_path = "{state}/arch_in"\n'}
    gateway = Gateway(state, sink.port, console=True, replace=changes)
    gateway.edit(*HURRY)
    with gateway:
        yield gateway


@pytest.fixture(scope="module")
def api(gateway: Gateway) -> Api:
    return Api(gateway.console_port, make_token(gateway))


@pytest.fixture(scope="module")
def held(gateway: Gateway, api: Api) -> str:
    """A mail that stays in the queue; its queue id."""
    assert api.ask("PUT", "/service/modules/send", {"on": False}).json == {"answer": "off"}
    gateway.send(MAIL)
    wait_for(lambda: api.get("/queue?states=QUE").json["items"], "the mail to wait for delivery")
    (row,) = api.get("/queue").json["items"]
    return str(row["queue_id"])


def test_every_call_is_an_operation_or_left_out_for_a_reason(gateway: Gateway) -> None:
    calls: dict[str, Any] = gateway.ask("calls")
    served = {operation.call for operation in OPERATIONS}
    assert served | set(LEFT_OUT) == set(calls), "enter it into console/api, or into table.LEFT_OUT with the reason"
    for operation in OPERATIONS:
        assert operation.right == calls[operation.call]["right"], operation.name
        assert operation.acts or not calls[operation.call]["audited"] or operation.right is Right.CONTENT


def test_everything_that_needs_no_name_can_be_read(api: Api, held: str) -> None:
    for operation in OPERATIONS:
        if not operation.acts and "{" not in operation.path and operation.right is not Right.SELF:
            answer = api.get(operation.path)
            assert answer.status == 200, (operation.name, answer.body)
            assert answer.headers["content-type"] == "application/json"


def test_a_mail_is_found_shown_and_handed_out(api: Api, held: str) -> None:
    (found,) = wait_for(lambda: api.get(f"/mails?text={held}").json["items"], "it in tracking")
    assert (found["id"], found["sender"], found["outcome"]) == (held, "sender@example.net", "waiting")
    life = api.get(f"/mails/{held}").json
    assert [record["type"] for record in life["records"]][:1] == ["received"]
    details = api.get(f"/queue/mails/{held}").json
    assert details["waiting"][0]["address"] == "user@example.org"
    assert api.get(f"/queue/mails/{held}/preview").json["text"] == "body\n"
    content = api.get(f"/queue/mails/{held}/content")
    assert (content.body, content.headers["content-type"]) == (MAIL, "message/rfc822")
    assert content.headers["content-disposition"] == f'attachment; filename="{held}.eml"'
    (stored,) = api.get(f"/mails/{held}/stored").json["items"]
    assert api.get(f"/stored-mails/{stored['id']}").json["queue_id"] == held
    assert api.get(f"/stored-mails/{stored['id']}/content").body == MAIL
    assert api.get("/stored-mails?kinds=incoming&totals=true").json["totals"]["items"] >= 1
    assert [row["call"] for row in api.get("/audit?limit=20&text=content").json["items"]]
    for path in ("/queue/mails/{}", "/queue/mails/{}/preview", "/queue/mails/{}/content", "/mails/{}"):
        for name in ("0000000000000", "x", "ZZZZZZZZZZZZZ", "..%2F..%2Fetc", "%00", "%C3%9F" * 13):
            assert api.get(path.format(name)).status == 404, (path, name)


def test_an_act_with_a_key_is_done_once(gateway: Gateway, api: Api, held: str) -> None:
    hold = {"verb": "hold", "ids": [held], "text": "by a program"}
    before = len(gateway.ask("audit.list", call="act"))
    answers = [api.post("/queue/actions", hold, Idempotency_Key="k1") for _ in range(3)]
    assert [answer.json["done"] for answer in answers] == [1, 1, 1]
    assert len(gateway.ask("audit.list", call="act")) == before + 1
    entry = gateway.ask("audit.list", call="act", limit=1)[0]
    assert (entry["who"], entry["via"]) == ("ada (test)", "api")
    assert api.post("/queue/actions", {**hold, "verb": "retry"}, Idempotency_Key="k1").status == 422
    assert api.get(f"/queue/mails/{held}").json["held_reason"] == "by a program"
    again = api.post("/queue/actions", hold).json
    assert (again["done"], again["refused"]) == (0, 1)
    assert list(again["why"]) == [held]


def test_acts_on_all_that_a_filter_chooses(api: Api, held: str) -> None:
    chosen = {"filter": {"senders": ["sender@example.net"]}}
    assert api.post("/queue/actions", {"verb": "release", **chosen, "dry_run": True}).json["found"] == 1
    assert api.post("/queue/actions", {"verb": "release", **chosen}).json["next"] is None
    assert api.post("/queue/actions", {"verb": "remove"}).status == 422, "all are meant only when it is said"
    assert api.post("/queue/actions", {"verb": "remove", "filter": {"sender": ["x"]}}).status == 422
    assert len(api.get("/queue").json["items"]) == 1


def test_pages_follow_each_other(gateway: Gateway, api: Api, held: str) -> None:
    for _ in range(2):
        gateway.send(MAIL)
    wait_for(lambda: len(api.get("/mails").json["items"]) >= 3, "all to be found")
    for path in ("/queue", "/mails", "/stored-mails"):
        ids, place = [], ""
        while place is not None:
            answer = api.get(f"{path}?limit=1&cursor={place}")
            assert answer.status == 200, (path, answer.body)
            page = answer.json
            ids += [row.get("id") or row["queue_id"] for row in page["items"]]
            place = page["next"]
        assert len(ids) == len(set(ids)) >= 3, path


def test_the_configuration_is_changed_by_who_has_seen_it(api: Api) -> None:
    seen = api.get("/configuration")
    change = {"changes": [{"section": "limits", "name": "incoming_sessions", "value": 77}], "comment": "by a program"}
    assert api.ask("PATCH", "/configuration", change).status == 428
    done = api.ask("PATCH", "/configuration", change, If_Match=seen.headers["etag"])
    assert done.status == 200, done.body
    assert "+incoming_sessions = 77" in done.json["diff"]
    assert api.ask("PATCH", "/configuration", change, If_Match=seen.headers["etag"]).status == 412
    assert api.get("/configuration").json["sections"]["limits"][0]["incoming_sessions"]["value"] == 77
    first, *_, found = api.get("/configuration/versions").json["items"]
    assert (first["number"], first["comment"], first["via"]) == (done.json["number"], "by a program", "api")
    assert "incoming_sessions" in api.get(f"/configuration/versions/{first['number']}").json["diff"]
    back = api.post(f"/configuration/versions/{found['number']}/rollback", {}, If_Match="*")
    assert back.status == 200, back.body
    assert api.get("/configuration/versions/999").status == 404
    wrong = {"changes": [{"section": "limits", "name": "incoming_sessions", "value": -1}]}
    assert api.post("/configuration/check", wrong).json["problems"]
    refused = api.ask("PATCH", "/configuration", wrong, If_Match="*")
    assert refused.status == 409
    assert refused.headers["content-type"] == "application/problem+json"


def test_lists_and_accounts(api: Api) -> None:
    added = api.post("/lists", {"list": "block", "entry": "@bad.example"}).json
    assert api.get("/lists?text=bad.example").json["items"][0]["by"] == "ada (test)"
    assert api.ask("DELETE", f"/lists/{added['id']}").json["removed"][0]["entry"] == "*@bad.example"
    assert api.ask("DELETE", f"/lists/{added['id']}").status == 404
    assert api.post("/lists", {"list": "block", "entry": "no such thing,"}).status == 409
    assert len(api.post("/accounts", {"name": "bob", "role": "read-only"}).json["password"]) > 10
    assert api.post("/accounts", {"name": "bob", "role": "read-only"}).status == 409
    assert api.ask("PATCH", "/accounts/bob", {"disabled": True}).json["disabled"] is True
    assert api.ask("DELETE", "/accounts/bob").status == 200
    assert api.get("/accounts/bob").status == 404


def test_stored_mail_is_deleted_once(gateway: Gateway, api: Api, held: str) -> None:
    (stored,) = api.get(f"/mails/{held}/stored").json["items"]
    assert api.ask("DELETE", f"/stored-mails/{stored['id']}").json["deleted"] is True
    assert api.ask("DELETE", f"/stored-mails/{stored['id']}").status == 404
    outcome = api.post("/stored-mails/delete", {"items": [stored["id"]]}).json["outcomes"]
    assert "no such" in outcome[stored["id"]]["refused"]


def test_a_token_does_only_what_it_is_for(gateway: Gateway) -> None:
    few = Api(gateway.console_port, make_token(gateway, "vic", Right.VIEW))
    for operation in OPERATIONS:
        path = re.sub(r"\{[^}]*\}", "1", operation.path)
        answer = few.ask(operation.method, path, {} if operation.body else None)
        stranger = Api(gateway.console_port).ask(operation.method, path, headers="x")
        assert stranger.status in {401, 403}, operation.name
        if operation.right in {Right.VIEW, Right.NONE}:
            assert answer.status != 403, operation.name
        else:
            assert (answer.status, answer.json["right"]) == (403, operation.right), operation.name


# --- probes


def test_probes(gateway: Gateway, api: Api) -> None:
    stranger = Api(gateway.console_port)
    for path, text in (("//healthz", b"ok\n"), ("//readyz", b"ready\n")):
        assert (stranger.get(path).status, stranger.get(path).body) == (200, text)
        head = stranger.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
    api.ask("PUT", "/service/modules/recv", {"on": False})
    wait_for(lambda: stranger.get("//readyz").status == 503, "the gateway to be out of service")
    assert stranger.get("//readyz").body == b"not ready: receiver\n"
    assert stranger.get("//healthz").status == 200
    api.ask("PUT", "/service/modules/recv", {"on": True})
    wait_for(lambda: stranger.get("//readyz").status == 200, "the gateway to be in service")


def test_metrics_for_tokens_and_for_known_addresses(gateway: Gateway, api: Api) -> None:
    stranger = Api(gateway.console_port)
    refused = stranger.get("//metrics")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    told = api.get("//metrics")
    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"\ngatepost_received_messages_total " in told.body
    assert json.loads(api.get("/grafana.json").body)["title"] == "Gatepost"
    gateway.edit("[console]\n", '[console]\nmetrics_from = ["127.0.0.0/8"]\n')
    gateway.ask("reload")
    wait_for(lambda: stranger.get("//metrics").status == 200, "a known address to be let in")
    assert b"\ngatepost_received_messages_total " in stranger.get("//metrics").body
    assert stranger.get("/status").status == 401


# --- events


class Listener:
    """Reads server-sent events."""

    def __init__(self, api: Api, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=120)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(
            "GET", f"/api/v1/events{query}", headers={"Authorization": f"Bearer {api.token}", **fields}
        )
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()

    def next(self, topic: str) -> dict[str, Any]:
        """Return the next event about something: its data, and its id as `id`."""
        while True:
            event: dict[str, str] = {}
            while line := self._answer.readline().decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                event[name] = value
            assert event, "the stream has ended"
            if event.get("event") == topic:
                return {"place": event["id"], **json.loads(event["data"])}

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def test_events_are_followed_and_taken_up_again(gateway: Gateway, api: Api) -> None:
    listener = Listener(api)
    assert listener.next("status")["modules"]["receiver"] is True
    assert "waiting" in listener.next("queue")["queue"]
    first = gateway.send(MAIL)
    told = listener.next("mail")
    while told["id"] != first:
        told = listener.next("mail")
    listener.close()
    second = gateway.send(MAIL)
    again = Listener(api, "?topics=mail", Last_Event_ID=told["place"])
    heard = [again.next("mail")["id"]]
    while second not in heard:
        heard.append(again.next("mail")["id"])
    assert first in heard, "what stands at that moment is told again: nothing is missed"
    again.close()


def test_a_stream_ends_with_its_token(gateway: Gateway) -> None:
    mortal = Api(gateway.console_port, make_token(gateway, "tim", Right.VIEW, Right.TRACK))
    listener = Listener(mortal, "?topics=problems")
    listener.next("problems")
    gateway.ask("accounts.remove", name="tim")
    with pytest.raises(AssertionError, match="ended"):
        listener.next("problems")
    listener.close()


# --- the manual, and the description


def test_the_examples_of_the_manual_do_what_they_say(gateway: Gateway, api: Api, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the examples are not tried: apt-get install curl")
    text = (ROOT / "docs" / "manual" / "api.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    environment = {"PATH": os.environ["PATH"], "GATEPOST": f"http://127.0.0.1:{api.port}", "TOKEN": api.token}
    for block in blocks:
        script = "set -eu\n" + re.sub(r"^curl -sS", "curl --fail-with-body -sS", block, flags=re.MULTILINE)
        done = subprocess.run(
            ["bash", "-c", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-500:]}\n{done.stderr}"
    assert gateway.ask("configuration.values")["sections"]["limits"][0]["incoming_sessions"]["value"] == 200
    assert json.loads((tmp_path / "gatepost-grafana.json").read_text())["title"] == "Gatepost"


def test_nothing_is_answered_that_is_not_promised(gateway: Gateway, api: Api) -> None:
    done = try_contract(gateway, api.token, examples=1, phases="fuzzing")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "Traceback" not in gateway.log()
    assert not gateway.lines("an inner error")


def test_the_token_of_a_disabled_account_rests_and_who_enables_it_is_told(gateway: Gateway, api: Api) -> None:
    assert api.get("/queue/summary").status == 200  # there is another administrator
    lent = Api(gateway.console_port, make_token(gateway, "lent"))
    assert lent.get("/queue/summary").status == 200
    assert gateway.command("account", "disable", "lent").returncode == 0
    assert lent.get("/queue/summary").status == 401
    assert "1 token(s) count again" in gateway.command("account", "enable", "lent").stdout
    assert lent.get("/queue/summary").status == 200
    assert gateway.command("account", "password", "lent", "--make-up").returncode == 0
    assert lent.get("/queue/summary").status == 401
    assert gateway.command("account", "disable", "lent").returncode == 0
    assert gateway.command("account", "enable", "lent").stdout == "lent: enabled\n"
