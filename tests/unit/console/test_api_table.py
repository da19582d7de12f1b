"""The interface for programs as a table: what it accepts, what it promises, how much may be asked, what stays unsaid."""

import asyncio
import json
import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.support.console import Browser, House, in_house
from tests.support.scripted_console import ScriptedGateway

from gatepost import __version__
from gatepost.console.api import openapi, routes
from gatepost.console.api.description import read_description
from gatepost.console.api.operation import Asked, Bytes
from gatepost.console.api.problems import STATUS_OF_KIND, Unusable
from gatepost.console.api.rates import BUCKETS, BURST_S, Rates
from gatepost.console.api.table import LEFT_OUT, OPERATIONS
from gatepost.console.events import (
    LISTENERS,
    LISTENERS_EACH,
    OVERLAP_S,
    RESUMED_S,
    Feed,
    Listeners,
    build_event,
    choose_topics,
    follow,
    resume_from,
)
from gatepost.console.gateway import Gateway
from gatepost.console.visitor import Visitor
from gatepost.control.rights import RIGHTS_OF, Caller, Right, Role
from gatepost.control.socket import Response
from gatepost.master.probes import is_among, judge_readiness
from gatepost.master.replays import KEPT, KEPT_S, Replays

ROOT = Path(__file__).parents[3]
BY_NAME = {operation.name: operation for operation in OPERATIONS}


def test_the_description_is_made_of_the_table() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "api_description.py"))
    assert read_description().decode() == tool["render"](), "run tools/api_description.py"


def test_names_and_places_are_unique() -> None:
    assert len(BY_NAME) == len(OPERATIONS)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)
    assert not {operation.call for operation in OPERATIONS} & set(LEFT_OUT)


def test_every_reference_of_the_description_leads_somewhere() -> None:
    description = json.loads(read_description())
    assert description["info"]["version"] == __version__
    for reference in re.findall(r'"#/([^"]+)"', read_description().decode()):
        place: Any = description
        for step in reference.split("/"):
            place = place[step]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert {"401", "403", "429", "500", "503"} <= set(operation["responses"]), (method, path)
            assert operation["summary"]


def test_what_a_field_is_stands_in_the_description() -> None:
    schemas = json.loads(read_description())["components"]["schemas"]
    assert schemas["QueuedMail"]["properties"]["reason"]["description"].startswith("Why it waits")
    assert schemas["QueuedMailDetails"]["properties"]["reason"]["description"].startswith("Why it waits")


def test_examples_are_accepted() -> None:
    for operation in OPERATIONS:
        if operation.example is not None:
            assert operation.body is not None
            msgspec.convert(operation.example, operation.body)


def test_acts_are_no_reading_and_reading_is_no_act() -> None:
    for operation in OPERATIONS:
        assert (operation.body is None) or operation.acts
        if operation.answer is Bytes:
            assert not operation.acts


# --- what is accepted


def parse(name: str, query: str) -> Any:
    return routes.parse_query(BY_NAME[name], query.encode())


def test_queries_are_read() -> None:
    search = parse("searchMails", "sender=%40example.org&sender=a%40b.example&limit=7&since=1.5&text=%C3%A9")
    assert (search.sender, search.limit, search.since, search.text) == (("@example.org", "a@b.example"), 7, 1.5, "é")
    assert parse("listProblems", "now=true").now is True
    assert msgspec.to_builtins(parse("searchMails", "")) == {}, "what is not asked is the gateway's to choose"


@pytest.mark.parametrize(
    "query",
    [
        "nonsense=1",
        "limit=0",
        "limit=501",
        "limit=1&limit=2",
        "limit=x",
        "limit=%F1%F1",
        "since=-1",
        "since=nan",
        "since=inf",
        "text=" + "x" * 1001,
        "&".join(["sender=x"] * 101),
        "&".join(["sender=x"] * 300),
        "sender=%FF",
    ],
)
def test_queries_that_do_not_do(query: str) -> None:
    with pytest.raises(Unusable) as caught:
        parse("searchMails", query)
    assert caught.value.status == 422


def test_the_empty_cursor_is_the_first_page() -> None:
    found = [each for each in OPERATIONS if each.query is not None and "cursor" in each.query.__struct_fields__]
    assert len(found) >= 5
    for operation in found:
        assert routes.parse_query(operation, b"cursor=").cursor == "", operation.name


def test_a_query_where_there_is_none() -> None:
    with pytest.raises(Unusable):
        parse("getStatus", "token=gpt_secret")
    assert parse("getStatus", "") is None


@pytest.mark.parametrize(
    ("given", "status"), [(None, 428), ("abc", 422), ('W/"abc"', 422), ('""', 422), ('"a b"', 422), ('"é"', 422)]
)
def test_versions_that_do_not_do(given: str | None, status: int) -> None:
    with pytest.raises(Unusable) as caught:
        routes.parse_version(given)
    assert caught.value.status == status


def test_versions() -> None:
    assert routes.parse_version('"abc123"') == "abc123"
    assert routes.parse_version("*") == ""


def test_only_what_is_promised_leaves() -> None:
    told = routes.shape(
        BY_NAME["getMe"],
        {"name": "ada", "role": "", "rights": [], "domains": [], "csrf": "", "password": "secret"},
        Asked({}),
    )
    assert "secret" not in msgspec.json.encode(told).decode()


def test_kinds_of_errors_have_a_status_that_is_described() -> None:
    assert set(STATUS_OF_KIND.values()) <= set(openapi.ERRORS)


# --- every body, every route


async def make_program(house: House, *rights: str) -> Browser:
    """A program with a token."""
    await house.add("ada")
    told = await house.ask("accounts.add_token", name="ada", label="t", rights=rights)
    program = house.browser()
    program.headers["authorization"] = f"Bearer {told['token']}"
    return program


BODIES: list[tuple[bytes, str, int]] = [
    (b"{", "application/json", 400),
    (b"\xff\xfe", "application/json", 400),
    (b'{"changes":[{"section":"\\ud800"}]}', "application/json", 400),
    (b'{"changes":' + b"[" * 100_000, "application/json", 422),
    (b"[]", "application/json", 422),
    (b"null", "application/json", 422),
    (b"{}", "application/json", 422),
    (b'{"changes":[]}', "application/json", 422),
    (b'{"changes":[{"section":"x","value":{"a":1}}]}', "application/json", 422),
    (b'{"changes":[{"section":"x"}],"more":1}', "application/json", 422),
    (b"changes=1", "application/x-www-form-urlencoded", 415),
    (b"{}", "", 415),
    (b"x" * (1024 * 1024 + 1), "application/json", 413),
]


def test_bodies_that_do_not_do(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        program = await make_program(house, "configure")
        for body, kind, status in BODIES:
            fields = {"content-type": kind}
            answer = await program.request("POST", "/api/v1/configuration/draft", body=body, headers=fields)
            assert answer.status == status, (body[:50], answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert json.loads(answer.body)["status"] == status

    in_house(tmp_path, work)


def test_errors_before_a_route_are_problems_too(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        program = await make_program(house, "view")
        for method, path, host, status in (
            ("GET", "/api/v1/nowhere", "localhost", 404),
            ("PUT", "/api/v1/status", "localhost", 405),
            ("GET", "/api/v1/status", "evil.example", 421),
        ):
            program.host = host
            answer = await program.request(method, path)
            assert answer.status == status, path
            assert answer.headers["content-type"] == "application/problem+json", path
        stranger = await house.browser().request("POST", "/api/v1/service/stop")
        assert stranger.status == 403, "it says not where it comes from"
        assert stranger.headers["content-type"] == "application/problem+json"

    in_house(tmp_path, work)


def test_a_session_acts_with_its_token_of_forms_only(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")
        body = b'{"name":"bob","role":"read-only"}'
        fields = {"content-type": "application/json", "origin": browser.origin}
        refused = await browser.request("POST", "/api/v1/accounts", body=body, headers=fields)
        assert refused.status == 403
        assert "right" not in {name for name, value in json.loads(refused.body).items() if value}
        csrf = json.loads((await browser.get("/api/v1/me")).body)["csrf"]
        done = await browser.request("POST", "/api/v1/accounts", body=body, headers={**fields, "x-csrf-token": csrf})
        assert done.status == 200
        elsewhere = {**fields, "x-csrf-token": csrf, "origin": "https://evil.example"}
        assert (await browser.request("POST", "/api/v1/accounts", body=body, headers=elsewhere)).status == 403

    in_house(tmp_path, work)


def test_a_token_may_what_it_was_given_and_its_account_may(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("rita", Role.READ_ONLY)
        token = (await house.ask("accounts.add_token", name="rita", label="t", rights=["view", "log"]))["token"]
        program = house.browser()
        program.headers["authorization"] = f"Bearer {token}"
        assert json.loads((await program.get("/api/v1/me")).body)["rights"] == ["log", "none", "view"]
        refused = await program.get("/api/v1/accounts")
        assert refused.status == 403
        assert json.loads(refused.body)["right"] == "accounts"
        assert (await program.get(f"/api/v1/me?token={token}")).status == 422
        program.headers["authorization"] = f"Bearer {token[:-1]}x"
        wrong = await program.get("/api/v1/me")
        assert (wrong.status, wrong.headers["www-authenticate"]) == (401, "Bearer")
        del program.headers["authorization"]
        assert (await program.get(f"/api/v1/me?access_token={token}")).status == 401

    in_house(tmp_path, work)


def test_too_many_requests_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "time", SimpleNamespace(monotonic=lambda: 1.0))

    async def work(house: House) -> None:
        program = house.browser()
        statuses = []
        for _ in range(int(50 * BURST_S) + 50):
            program.headers["authorization"] = "Bearer x"
            answer = await program.get("/api/v1/me")
            statuses.append(answer.status)
            if answer.status == 429:
                break
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert len(statuses) >= 50 * BURST_S
        assert (await house.browser(address="192.0.2.9").get("/api/v1/me")).status == 401

    in_house(tmp_path, work)


# --- how much may be asked


def test_a_bucket_fills_again() -> None:
    rates = Rates(2)
    assert [rates.take("a", 100.0) for _ in range(int(2 * BURST_S))] == [0.0] * int(2 * BURST_S)
    assert rates.take("a", 100.0) == pytest.approx(0.5)
    assert rates.take("b", 100.0) == 0.0
    assert rates.take("a", 100.5) == 0.0
    assert rates.take("a", 100.5) > 0.0


def test_buckets_are_bounded() -> None:
    rates = Rates(1)
    for number in range(BUCKETS + 10):
        rates.take(str(number), 0.0)
    assert len(rates._buckets) == BUCKETS


# --- acts with a key

ADA = Caller("ada", RIGHTS_OF[Role.ADMIN], via="api")


class Acts:
    def __init__(self, *responses: Response) -> None:
        self.responses = list(responses)
        self.times = 0

    async def __call__(self) -> Response:
        self.times += 1
        await asyncio.sleep(0)
        return self.responses[min(self.times, len(self.responses)) - 1]


def test_an_act_with_a_key_is_done_once() -> None:
    async def work() -> None:
        replays, act = Replays(), Acts(Response("first"), Response("second"))
        answers = await asyncio.gather(*(replays.answer(ADA, "k", "act", {"a": 1}, act) for _ in range(3)))
        answers.append(await replays.answer(ADA, "k", "act", {"a": 1}, act))
        assert [answer.result for answer in answers] == ["first"] * 4
        assert act.times == 1
        other = await replays.answer(ADA, "k", "act", {"a": 2}, act)
        assert (other.kind, act.times) == ("reused", 1)
        assert (await replays.answer(ADA, "l", "act", {"a": 1}, act)).result == "second"
        eve = Caller("eve", ADA.rights, via="api")
        assert (await replays.answer(eve, "k", "act", {"a": 2}, act)).result == "second"

    asyncio.run(work())


def test_errors_of_acts_are_kept_and_refusals_are_not() -> None:
    async def work() -> None:
        replays, failing = Replays(), Acts(Response(error="no"), Response("later"))
        for _ in range(2):
            assert (await replays.answer(ADA, "k", "act", {}, failing)).error == "no"
        for refusal in (Response(error="r", refused=True), Response(error="u", kind="unfit")):
            act = Acts(refusal, Response("done"))
            await replays.answer(ADA, refusal.error, "act", {}, act)
            assert (await replays.answer(ADA, refusal.error, "act", {}, act)).result == "done"

    asyncio.run(work())


def test_secrets_are_told_once() -> None:
    async def work() -> None:
        replays, act = Replays(), Acts(Response({"password": "secret"}))
        assert (await replays.answer(ADA, "k", "accounts.add", {}, act)).result == {"password": "secret"}
        again = await replays.answer(ADA, "k", "accounts.add", {}, act)
        assert (again.result, act.times) == (None, 1)
        assert "done before" in again.error

    asyncio.run(work())


def test_an_act_goes_on_when_who_asked_is_gone() -> None:
    async def work() -> None:
        replays, act = Replays(), Acts(Response("done"))
        asking = asyncio.create_task(replays.answer(ADA, "k", "act", {}, act))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.sleep(0)
        assert (await replays.answer(ADA, "k", "act", {}, act)).result == "done"
        assert act.times == 1

    asyncio.run(work())


def test_keys_are_kept_for_a_day_and_bounded() -> None:
    async def work() -> None:
        now = [0.0]
        replays, act = Replays(lambda: now[0]), Acts(Response("x"))
        await replays.answer(ADA, "k", "act", {}, act)
        now[0] = KEPT_S + 1
        await replays.answer(ADA, "k", "act", {}, act)
        assert act.times == 2
        for number in range(KEPT + 50):
            await replays.answer(ADA, str(number), "act", {}, act)
        assert len(replays._known) <= KEPT

    asyncio.run(work())


# --- probes


def test_readiness() -> None:
    relay = {"state": "running"}
    good = {"modules": {"receiver": True}, "relays": [relay], "listeners": ["127.0.0.1:25"], "doors": []}
    assert judge_readiness(good) == []
    assert judge_readiness({**good, "modules": {"receiver": False}}) == ["receiver"]
    assert judge_readiness({**good, "relays": []}) == ["relay"]
    assert judge_readiness({**good, "relays": [relay, {"state": "running", "error": "x"}]}) == ["relay"]
    assert judge_readiness({**good, "relays": [{"state": "waiting"}]}) == ["relay"]
    assert judge_readiness({**good, "listeners": []}) == ["listener"]
    assert judge_readiness({**good, "listeners": [], "doors": [{"name": "d"}]}) == []


def test_addresses_for_metrics() -> None:
    assert is_among("192.0.2.7", ("192.0.2.0/24",))
    assert is_among("::ffff:192.0.2.7", ("192.0.2.0/24",))
    assert not is_among("192.0.3.7", ("192.0.2.0/24", "2001:db8::/32"))
    assert not is_among("", ("0.0.0.0/0",))
    assert not is_among("192.0.2.7", ())


# --- events


def visitor(*rights: Right, name: str = "ann") -> Visitor:
    return Visitor(name=name, rights=frozenset(rights), credential="c")


def test_topics() -> None:
    assert choose_topics("", frozenset({Right.TRACK})) == ("mail",)
    assert choose_topics("mail,status, mail", frozenset({Right.TRACK, Right.VIEW})) == ("mail", "status")
    for given, status in (("mail", 403), ("nonsense", 422)):
        with pytest.raises(Unusable) as caught:
            choose_topics(given, frozenset({Right.VIEW}))
        assert caught.value.status == status


def test_where_a_listener_goes_on() -> None:
    now = 1_000_000.0
    assert resume_from("999990.5", now) == 999990.5 - OVERLAP_S
    assert resume_from("5", now) == now - RESUMED_S
    for nothing in ("", "x", "nan", "inf", "2e6"):
        assert resume_from(nothing, now) == now, nothing
    assert not math.isnan(resume_from("nan", now))


def test_listeners_are_bounded() -> None:
    listeners = Listeners()
    for _ in range(LISTENERS_EACH):
        listeners.enter("ann")
    with pytest.raises(Unusable) as caught:
        listeners.admit("ann")
    assert caught.value.status == 429
    for number in range(LISTENERS - LISTENERS_EACH):
        listeners.enter(str(number))
    with pytest.raises(Unusable) as caught:
        listeners.admit("bob")
    assert caught.value.status == 503
    listeners.leave("ann")
    listeners.admit("bob")


def test_a_listener_is_counted_while_it_is_told_and_no_longer() -> None:
    async def work() -> None:
        gateway = Gateway(ScriptedGateway({"problems": PROBLEMS}, {Right.VIEW}))
        listeners = Listeners()

        async def sleep(_: float) -> None:
            for _ in range(LISTENERS_EACH - 1):
                listeners.enter("ann")
            with pytest.raises(Unusable):
                listeners.admit("ann")
            for _ in range(LISTENERS_EACH - 1):
                listeners.leave("ann")
            raise asyncio.CancelledError  # the listener goes

        ann = visitor(Right.VIEW)
        gone = follow(listeners, gateway, ann, Feed(("problems",), 99.0), sleep)
        del gone  # before its first event
        with pytest.raises(asyncio.CancelledError):
            async for _ in follow(listeners, gateway, ann, Feed(("problems",), 99.0), sleep):
                pass
        for _ in range(LISTENERS_EACH):
            listeners.admit("ann")
            listeners.enter("ann")

    asyncio.run(work())


def test_an_event_is_one_event_whatever_strangers_write() -> None:
    raw = build_event("mail", {"subject": "a\n\nevent: status\r\ndata: {}\u2028"}, 12.5)
    assert raw.count(b"\n\n") == 1
    assert raw.endswith(b"\n\n")
    assert b"\r" not in raw
    assert raw.splitlines()[:2] == [b"event: mail", b"id: 12.500000"]


MAIL = {
    **dict.fromkeys(
        ["kind", "what", "sender", "ip", "helo", "client", "tls", "user", "listener", "direction", "message_id", "subject",
         "spam", "source", "door", "reference", "asker"], ""
    ),
    **dict.fromkeys(["recipients", "groups", "statuses", "threats", "findings", "hops", "stored"], ()),
    **dict.fromkeys(
        ["expected", "size", "rate", "sent", "failed", "blocked", "discarded", "deferrals", "code", "last", "delay_s",
         "waited_ms", "elapsed_ms"], 0
    ),
    "held": False, "removed": False, "id": "0AM21E9SR0000", "at": 100.0, "outcome": "waiting",
}  # fmt: skip
PROBLEMS = {"state": "ok", "problems": []}


def test_a_listener_hears_of_what_has_changed_until_it_may_no_longer() -> None:
    async def work() -> None:
        mails = [MAIL]
        gateway = ScriptedGateway(
            {"tracking.search": lambda _: {"mails": list(mails)}, "problems": PROBLEMS}, {Right.TRACK, Right.VIEW}
        )
        looks = 0

        async def sleep(_: float) -> None:
            nonlocal looks
            looks += 1
            if looks == 2:
                mails[:] = [{**MAIL, "id": "0AM21E9SR0001", "at": 101.0}, {**MAIL, "outcome": "delivered"}]
            if looks == 12:
                gateway.rights = frozenset({Right.VIEW})

        listeners = Listeners()
        feed = Feed(("problems", "mail"), 99.0)
        ann = visitor(Right.TRACK, Right.VIEW)
        heard = [piece async for piece in follow(listeners, Gateway(gateway), ann, feed, sleep)]
        told = [(piece.split(b"\n")[0], piece.split(b"\n")[1]) for piece in heard if piece.startswith(b"event")]
        assert told == [
            (b"event: problems", b"id: 100.000000"),
            (b"event: mail", b"id: 100.000000"),
            (b"event: mail", b"id: 101.000000"),
            (b"event: mail", b"id: 101.000000"),
        ]
        assert heard[0].startswith(b"retry: ")
        assert b": alive\n\n" in heard
        assert looks == 12

    asyncio.run(work())


@pytest.mark.parametrize(("before", "after"), [((), ("a.example",)), (("a.example",), ("b.example",))])
def test_a_listener_whose_domains_change_is_told_no_more(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    async def work() -> None:
        problems: list[str] = []
        answers = {"problems": lambda _: {"state": "ok", "problems": list(problems)}}
        gateway = ScriptedGateway(answers, {Right.VIEW}, before)
        looks = 0

        async def sleep(_: float) -> None:
            nonlocal looks
            looks += 1
            assert looks == 1, "it goes on"
            gateway.domains = after
            problems.append("somebody else's")

        ann = msgspec.structs.replace(visitor(Right.VIEW), domains=before)
        heard = [piece async for piece in follow(Listeners(), Gateway(gateway), ann, Feed(("problems",), 99.0), sleep)]
        assert looks == 1
        assert len([piece for piece in heard if piece.startswith(b"event")]) == 1

    asyncio.run(work())
