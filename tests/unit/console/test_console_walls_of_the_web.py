"""What holds for every request and every answer: host names, origins, tokens of forms, fields; every route against every
role.
"""

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from tests.support.console import PASSWORD, Answer, Browser, House, in_house

from gatepost.console.app import BODY_LIMIT
from gatepost.control.rights import RIGHTS_OF, Right, Role

OPEN_ROUTES = {
    ("GET", "/healthz"),
    ("HEAD", "/healthz"),
    ("GET", "/readyz"),
    ("HEAD", "/readyz"),
    ("GET", "/metrics"),
    ("HEAD", "/metrics"),
    ("GET", "/static/{file_path:path}"),
    ("HEAD", "/static/{file_path:path}"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/sign-in/first"),
    ("POST", "/sign-in/second"),
    ("POST", "/theme"),
}
"""All there is for those who have not signed in. A route that joins them is a decision, made here."""
SIGNED_IN_ROUTES = {("POST", "/sign-out"), ("GET", "/")}
"""What needs no right but to have signed in."""


def routes_of(house: House) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    app: Litestar = house.app.app
    for route in app.routes:
        for handler in getattr(route, "route_handlers", [getattr(route, "route_handler", None)]):
            for method in sorted(getattr(handler, "http_methods", {"GET"})):
                if method != "OPTIONS":
                    yield str(method), route.path, handler


def right_of(handler: HTTPRouteHandler) -> Right | None:
    """The right a route demands; by its own guards or those of its router."""
    found = [guard.right for guard in handler.resolve_guards() if hasattr(guard, "right")]
    return found[-1] if found else None


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*:int\}", "1", re.sub(r"\{[^}]*:(str|path|uuid)\}", "x", path))


async def send(browser: Browser, method: str, path: str, csrf: str = "") -> Answer:
    """Ask as a page of the console would."""
    if method == "POST":
        return await browser.post(path, {"csrf": csrf})
    fields = {"x-csrf-token": csrf} if method not in {"GET", "HEAD"} and csrf else {}
    return await browser.request(method, path, headers={"origin": browser.origin, **fields})


def test_every_route_asks_who_is_there(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("ada")
        seen = set()
        for method, path, _ in routes_of(house):
            stranger = house.browser()
            answer = await send(stranger, method, filled(path))
            if (method, path) in OPEN_ROUTES:
                seen.add((method, path))
                assert answer.status in {200, 303, 400, 401, 404, 503}, (method, path, answer.status)
            else:
                assert answer.status == 401, (method, path, answer.status)
                assert answer.headers["www-authenticate"], path
        assert seen == OPEN_ROUTES & {(method, path) for method, path, _ in routes_of(house)}

    in_house(tmp_path, work)


async def check_routes(house: House, role: Role, address: str) -> None:
    domains = "example.org" if role is Role.DOMAIN else ""
    browser = await house.signed_in(f"a-{role}", role, domains, address=address)
    csrf = await browser.csrf()
    for method, path, handler in routes_of(house):
        if (method, path) in OPEN_ROUTES | SIGNED_IN_ROUTES:
            continue
        right = right_of(handler)
        assert right is not None, f"{method} {path} demands no right: give it guards=[needs(Right.…)]"
        answer = await send(browser, method, filled(path), csrf)
        if right in RIGHTS_OF[role]:
            assert answer.status not in {401, 500}, (method, path, role, answer.status)
            refused = answer.status == 403 and "lacks the right" in answer.text
            assert not refused, f"{method} {path} is shown to {role}, and then refused: {answer.text[-200:]}"
        else:
            assert answer.status == 403, (method, path, role, right, answer.status)


def test_every_route_against_every_role(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        for number, role in enumerate(Role):
            await check_routes(house, role, f"192.0.2.{number}")

    in_house(tmp_path, work)


def test_a_form_that_was_not_taken_comes_back_as_it_was_filled_in(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")
        sent = {"name": "new", "role": "domain", "domains": "", "csrf": await browser.csrf()}
        answer = await browser.post("/accounts", sent)
        assert answer.status == 422
        assert "needs at least one domain" in answer.text
        assert 'value="new"' in answer.text
        assert '<option value="domain" selected>' in answer.text

    in_house(tmp_path, work)


def test_the_rights_of_a_token_are_told_in_words(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        page = (await (await house.signed_in("ada")).get("/account")).text
        for right in RIGHTS_OF[Role.ADMIN] - {Right.NONE, Right.SELF}:
            assert f"{right}: <span" in page
        assert "change the configuration" in page

    in_house(tmp_path, work)


def test_forms_of_others_are_refused(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")
        other = await house.signed_in("eve")
        token = await browser.csrf()
        form = {"name": "new", "role": "read-only"}
        for sent in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": await other.csrf()}):
            answer = await browser.post("/accounts", {**form, **sent})
            assert answer.status == 403, sent
        assert (await browser.post("/accounts", form, x_csrf_token="wrong")).status == 403
        json_body = await browser.request(
            "POST",
            "/accounts",
            body=b'{"name":"new"}',
            headers={"content-type": "application/json", "origin": browser.origin},
        )
        assert json_body.status == 403
        assert "new" not in [one["name"] for one in await house.ask("accounts.list")]
        assert (await browser.post("/accounts", {**form, "csrf": token})).status == 200
        assert (await browser.post("/accounts", {**form, "name": "newer"}, x_csrf_token=token)).status == 200

    in_house(tmp_path, work)


FOREIGN = [
    {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    {"origin": "http://localhost", "sec-fetch-site": "same-site"},
    {"origin": "https://localhost", "sec-fetch-site": "same-origin"},
    {"origin": "http://localhost:81", "sec-fetch-site": "same-origin"},
    {"origin": "null", "sec-fetch-site": "same-origin"},
]


def test_requests_from_other_sites_change_nothing(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")
        token = await browser.csrf()
        for fields in FOREIGN:
            answer = await browser.post("/accounts", {"name": "new", "role": "admin", "csrf": token}, **fields)
            assert answer.status == 403, fields
            assert (await browser.post("/sign-in", {"name": "ada", "password": PASSWORD}, **fields)).status == 403, (
                fields
            )

    in_house(tmp_path, work)


def test_a_request_that_names_no_origin_is_no_browsers(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")
        body = urllib.parse.urlencode({"csrf": await browser.csrf()}).encode()
        fields = {"content-type": "application/x-www-form-urlencoded"}
        assert (await browser.request("POST", "/sign-out", body=body, headers=fields)).status == 403
        assert (
            await browser.request("POST", "/sign-out", body=body, headers={**fields, "origin": browser.origin})
        ).status == 303

    in_house(tmp_path, work)


HOSTS = [
    ("localhost", True),
    ("localhost:8025", True),
    ("127.0.0.1:8025", True),
    ("[::1]:8025", True),
    ("192.0.2.7", True),
    ("GW.example.org:8025", True),
    ("gw.example.org.", True),
    ("evil.example", False),
    ("evil.example:8025", False),
    ("localhost.evil.example", False),
    ("gw.example.org.evil.example", False),
    ("evil.example#localhost", False),
    ("", False),
    ("[", False),
    ("localhost@evil.example", False),
]


def test_only_our_names_are_answered(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        for host, ours in HOSTS:
            answer = await house.browser(host=host).get("/sign-in")
            assert answer.status == (200 if ours else 421), host

    in_house(tmp_path, work)


def test_a_second_host_field_is_not_believed(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = house.browser()
        browser.headers["Host"] = "localhost"
        assert (await browser.get("/sign-in")).status == 421

    in_house(tmp_path, work)


PATHS = ("/sign-in", "/", "/account", "/nowhere", "/static/console.css", "/healthz", "/api/nowhere")


def test_every_answer_tells_browsers_what_it_may_do(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        signed_in = await house.signed_in("ada")
        for path in PATHS:
            browser = signed_in if path == "/account" else house.browser()
            fields = (await browser.get(path)).headers
            policy = dict(each.strip().partition(" ")[::2] for each in fields["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == "'self'"
            assert policy["style-src"] == "'self'"
            assert policy["frame-ancestors"] == "'none'"
            assert policy["form-action"] == "'self'"
            assert policy["base-uri"] == "'none'"
            assert "unsafe" not in fields["content-security-policy"]
            assert fields["x-content-type-options"] == "nosniff"
            assert fields["x-frame-options"] == "DENY"
            assert fields["referrer-policy"] == "same-origin"
            assert fields["cross-origin-opener-policy"] == "same-origin"
            assert "server" not in fields
            if not path.startswith("/static"):
                assert "no-store" in fields["cache-control"]

    in_house(tmp_path, work)


def test_who_has_not_signed_in_gets_the_form_and_comes_back(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("ada")
        browser = house.browser()
        asked = await browser.get("/audit?who=ada")
        assert asked.status == 401
        assert 'name="next" value="/audit?who=ada"' in asked.text
        assert (await browser.sign_in("ada", next="/audit?who=ada")).location == "/audit?who=ada"
        for trap in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nX: y"):
            assert (await house.browser().sign_in("ada", next=trap)).location == "/", trap

        fragment = await house.browser().get(
            "/audit", hx_request="true", hx_current_url="http://localhost/audit?text=x"
        )
        assert fragment.status == 401
        assert fragment.headers["hx-redirect"] == "/sign-in?next=%2Faudit%3Ftext%3Dx"
        assert fragment.body == b""
        outside = await house.browser().get("/audit", hx_request="true", hx_current_url="http://evil.example/audit")
        assert outside.headers["hx-redirect"].startswith("/sign-in?")
        senseless = await house.browser().get("/audit", hx_request="true", hx_current_url="http://[")
        assert (senseless.status, senseless.headers["hx-redirect"]) == (401, "/sign-in?next=%2F")

        program = house.browser()
        program.headers["authorization"] = "Bearer gpt_wrong"
        told = await program.get("/audit")
        assert told.status == 401
        assert told.headers["content-type"] == "application/problem+json"

    in_house(tmp_path, work)


def test_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")
        assert (await browser.submit("/account/tokens", {"name": "x" * BODY_LIMIT})).status == 413
        for path in ("/sign-in", "/sign-in/second", "/sign-in/first", "/theme"):  # a stranger's forms are shorter yet
            assert (await house.browser().post(path, {"name": "x" * 65_536})).status == 413, path

    in_house(tmp_path, work)


def test_what_breaks_down_tells_no_inner_detail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")

        async def broken(_: Any, __: Any) -> Any:
            raise RuntimeError("secret inner detail")

        calls = dict(house.desk.calls)
        monkeypatch.setattr(
            house.desk, "_calls", {**calls, "accounts.list": type(calls["accounts.list"])(Right.ACCOUNTS, broken)}
        )
        answer = await browser.get("/accounts")
        assert answer.status == 409
        assert "secret inner detail" not in answer.text
        assert any("secret inner detail" in text for _, text in house.said)

        monkeypatch.setattr(house.app.app.state.gateway, "call", broken)
        answer = await browser.get("/accounts")
        assert answer.status == 500
        assert "Traceback" not in answer.text
        assert "broken" not in answer.text

    in_house(tmp_path, work)


def test_names_of_accounts_stay_text(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser: Browser = await house.signed_in("ada")
        await browser.submit(
            "/account/tokens", {"name": "<img src=x onerror=alert(1)>", "rights": ["view"], "password": PASSWORD}
        )
        evil = house.browser()
        evil.headers["user-agent"] = "<script>alert(1)</script>"
        await evil.sign_in("ada")
        await evil.post("/sign-in", {"name": "<script>alert(2)</script>", "password": "x"})
        for path in ("/account", "/accounts/ada", "/audit"):
            text = (await browser.get(path)).text
            assert "<img src=x" not in text
            assert "<script>alert" not in text

    in_house(tmp_path, work)
