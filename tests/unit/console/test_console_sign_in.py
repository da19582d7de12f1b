"""Signing in: the first account, passwords, second steps, sessions, tokens; what a guesser and a thief meet."""

import time
from pathlib import Path
from typing import Any

import pyotp
import pytest
from tests.support.console import PASSWORD, Browser, House, in_house

from gatepost.control.accounts import AccountError, check_account_name, check_new_password
from gatepost.control.brake import TRIES_EACH, Brake
from gatepost.control.rights import Role
from gatepost.control.sessions import SESSIONS_LIMIT, TICKET_S, TICKET_TRIES, Sessions
from gatepost.control.socket import ControlError
from gatepost.master import auditing, own_account
from gatepost.master.passwords import Passwords
from gatepost.master.second_steps import find_step, site_of
from gatepost.master.sign_in import FIRST_CODE_S, FIRST_CODE_TRIES, FirstCode
from gatepost.relay.passwords import FAILURES_FREE


def steady_clock(monkeypatch: pytest.MonkeyPatch, now: float = 1_800_000_000.0) -> list[float]:
    """A clock for codes that only moves when told to."""
    clock = [now]
    monkeypatch.setattr(own_account.time, "time", lambda: clock[0])
    return clock


def test_first_account_needs_the_code_and_is_made_once(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        stranger = house.browser()
        assert "Welcome" in (await stranger.get("/")).text
        form = {"name": "ada", "password": PASSWORD, "again": PASSWORD}
        wrong = await stranger.post("/sign-in/first", {**form, "code": "AAAAA-AAAAA"})
        assert wrong.status == 401
        assert not stranger.cookies

        code = (await house.ask("session.first_code"))["code"]
        assert (
            await stranger.post("/sign-in/first", {**form, "code": code, "password": "short", "again": "short"})
        ).status == 401
        done = await stranger.post("/sign-in/first", {**form, "code": code.lower().replace("-", " ")})
        assert done.status == 303
        assert (await stranger.get("/accounts")).status == 200

        assert (await house.ask("session.first_code"))["code"] == ""
        second = house.browser()
        again = await second.post("/sign-in/first", {**form, "name": "eve", "code": code})
        assert again.status == 401
        assert "already" in again.text
        assert "Welcome" not in (await second.get("/")).text

    in_house(tmp_path, work)


def test_the_first_code_ends_after_an_hour_and_after_wrong_tries() -> None:
    code = FirstCode()
    assert not code.fits("", 0.0)
    shown = code.show(10.0)
    assert code.show(20.0) == shown
    assert code.fits(shown, 10.0 + FIRST_CODE_S - 1)
    assert not code.fits(shown, 10.0 + FIRST_CODE_S)
    assert code.show(10.0 + FIRST_CODE_S) != shown

    guessed = FirstCode()
    shown = guessed.show(0.0)
    for _ in range(FIRST_CODE_TRIES):
        assert not guessed.fits("WRONG", 1.0)
    assert not guessed.fits(shown, 1.0)
    assert guessed.show(1.0) != shown


def test_an_unreadable_file_of_accounts_lets_nobody_become_the_first(tmp_path: Path) -> None:
    (tmp_path / "accounts.json").write_text("{broken")

    async def work(house: House) -> None:
        assert any(level == "E" and "accounts" in text for level, text in house.said)
        with pytest.raises(ControlError):
            await house.ask("session.first_code")
        browser = house.browser()
        answer = await browser.get("/")
        assert answer.status == 401
        assert "Welcome" not in answer.text
        assert (await browser.sign_in("ada")).status == 401
        assert house.front.troubles

    in_house(tmp_path, work)
    assert (tmp_path / "accounts.json").read_text() == "{broken"


def test_wrong_password_and_unknown_name_look_the_same(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("ada")
        texts = []
        for name, address in (("ada", "127.0.0.2"), ("nobody", "127.0.0.3")):
            answer = await house.browser(address=address).sign_in(name, "not the password")
            assert answer.status == 401
            texts.append(answer.text.replace(name, "NAME"))
        assert texts[0] == texts[1]

    in_house(tmp_path, work)


def test_guessing_is_braked_and_the_right_password_waits_too(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("ada")
        guesser = house.browser(address="192.0.2.9")
        for _ in range(FAILURES_FREE):
            assert "wrong name or password" in (await guesser.sign_in("ada", "wrong")).text
        braked = await guesser.sign_in("ada")
        assert braked.status == 401
        assert "wait a while" in braked.text
        assert (await house.browser(address="192.0.2.10").sign_in("ada")).status == 303
        entries = await house.ask("audit.list", call="session.begin")
        assert len(entries) == FAILURES_FREE + 1, "what the brake held up is not written down"

    in_house(tmp_path, work)


def test_the_brake_counts_networks_and_spares_the_owner_of_an_attacked_account() -> None:
    brake = Brake()
    for number in range(FAILURES_FREE):
        brake.failed(f"2001:db8:0:1::{number}", "ada", 0.0)
    assert brake.holds("2001:db8:0:1::99", "eve", 0.1)
    assert not brake.holds("2001:db8:0:2::1", "eve", 0.1)

    for number in range(FAILURES_FREE * TRIES_EACH):
        brake.failed(f"198.51.{number // 250}.{number % 250}", "root", 0.0)
    assert brake.holds("203.0.113.1", "root", 0.1)
    assert not brake.holds("203.0.113.1", "root", 0.1, known=True)
    assert not brake.holds("203.0.113.1", "ada", 0.1)
    brake.succeeded("203.0.113.1", "root")
    assert not brake.holds("203.0.113.1", "root", 0.1)


def test_a_session_is_always_a_new_one_and_the_cookie_is_the_browsers_alone(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("ada")
        victim = house.browser()
        victim.cookies["gatepost"] = "gps_planted-by-somebody-else"
        answer = await victim.sign_in("ada")
        assert victim.cookies["gatepost"] != "gps_planted-by-somebody-else"
        assert len(victim.cookies["gatepost"]) >= 43
        cookie = answer.set_cookies[0]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Max-Age" not in cookie
        former = house.browser()
        former.cookies = dict(victim.cookies)
        await victim.sign_in("ada")
        assert victim.cookies["gatepost"] != former.cookies["gatepost"]
        assert (await former.get("/account")).status == 401, "the session before it has ended"

        encrypted = house.browser(scheme="https")
        cookie = (await encrypted.sign_in("ada")).set_cookies[0]
        assert cookie.startswith("__Host-gatepost=")
        assert "Secure" in cookie
        assert (await encrypted.get("/account")).headers["strict-transport-security"]

        planted = house.browser()
        planted.cookies["gatepost"] = "gps_planted-by-somebody-else"
        assert (await planted.get("/account")).status == 401

    in_house(tmp_path, work)


def test_signing_out_ends_the_session_for_who_has_copied_it(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")
        thief = house.browser()
        thief.cookies = dict(browser.cookies)
        assert (await thief.get("/account")).status == 200
        assert (await browser.submit("/sign-out")).location == "/sign-in"
        assert "gatepost" not in browser.cookies
        assert (await thief.get("/account")).status == 401

    in_house(tmp_path, work)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("accounts.change", {"disabled": True}),
        ("accounts.password", {"password": "another password"}),
        ("accounts.end_sessions", {}),
        ("accounts.forget_second", {}),
        ("accounts.remove", {}),
    ],
)
def test_what_an_administrator_takes_away_ends_sessions_at_once(
    tmp_path: Path, call: str, arguments: dict[str, Any]
) -> None:
    async def work(house: House) -> None:
        await house.add("root")
        browser = await house.signed_in("eve", Role.OPERATOR)
        assert (await browser.get("/account")).status == 200
        await house.ask(call, name="eve", **arguments)
        assert (await browser.get("/account")).status == 401

    in_house(tmp_path, work)


def test_a_role_that_is_taken_away_counts_from_the_next_request(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("root")
        browser = await house.signed_in("eve")
        assert (await browser.get("/audit")).status == 200
        await house.ask("accounts.change", name="eve", role="read-only")
        assert (await browser.get("/audit")).status == 403

    in_house(tmp_path, work)


def test_sessions_end_by_idleness_by_age_and_by_number() -> None:
    sessions = Sessions(60.0, 300.0)
    secret = sessions.begin("ada", "::1", "", 0.0)
    assert sessions.find(secret, 59.0) is not None
    assert sessions.find(secret, 118.0) is not None, "each use counts"
    assert sessions.find(secret, 178.0) is None
    assert sessions.find(secret, 119.0) is None, "what has ended stays so"

    aged = sessions.begin("ada", "::1", "", 0.0)
    for now in range(30, 300, 30):
        assert sessions.find(aged, now) is not None
    assert sessions.find(aged, 300.0) is None

    many = [sessions.begin("ada", "::1", "", 1000.0 + number) for number in range(SESSIONS_LIMIT + 1)]
    assert sessions.find(many[0], 1051.0) is None
    assert sessions.find(many[1], 1051.0) is not None
    assert len(sessions.of("ada", 1051.0)) == SESSIONS_LIMIT


def test_tickets_of_a_second_step_end_by_time_and_by_tries() -> None:
    sessions = Sessions(60.0, 300.0)
    secret, ticket = sessions.open_ticket("ada", "::1", "", 0.0)
    assert sessions.find_ticket(secret, TICKET_S - 1) is ticket
    assert sessions.find_ticket(secret, TICKET_S) is None
    secret, _ = sessions.open_ticket("ada", "::1", "", 0.0)
    assert [sessions.find_ticket(secret, 1.0) is not None for _ in range(TICKET_TRIES + 1)] == [True] * TICKET_TRIES + [
        False
    ]
    secret, _ = sessions.open_ticket("ada", "::1", "", 0.0)
    sessions.end("ada")
    assert sessions.find_ticket(secret, 1.0) is None, "who is disabled between the steps stays out"


async def set_up_codes(browser: Browser, now: float) -> pyotp.TOTP:
    page = await browser.get("/account/codes")
    secret = page.text.partition('<code class="mono">')[2].partition("<")[0]
    assert 'src="data:image/svg+xml' in page.text
    totp = pyotp.TOTP(secret)
    answer = await browser.submit("/account/codes", {"code": totp.at(now), "password": PASSWORD})
    assert answer.location == "/account", answer.location
    return totp


def test_one_time_codes_are_asked_for_and_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock(monkeypatch)

    async def work(house: House) -> None:
        monkeypatch.setattr(house.front._sign_in, "_clock", lambda: clock[0])
        browser = await house.signed_in("ada")
        totp = await set_up_codes(browser, clock[0])

        fresh = house.browser()
        half = await fresh.sign_in("ada", next="/audit")
        assert half.status == 200
        assert "one-time-code" in half.text
        assert "gatepost account forget-second NAME" in half.text, "who has lost it is told what helps"
        assert "gatepost" not in fresh.cookies, "a password alone opens nothing"
        assert (await fresh.get("/account")).status == 401
        used = await fresh.post("/sign-in/second", {"code": totp.at(clock[0]), "totp": "1", "next": "/audit"})
        assert used.status == 401, "the code that set them up was used"
        assert "that code does not fit, or was used" in used.text

        clock[0] += 30
        done = await fresh.post("/sign-in/second", {"code": totp.at(clock[0]), "totp": "1", "next": "/audit"})
        assert (done.status, done.location) == (303, "/audit")
        assert (await fresh.get("/account")).status == 200

        other = house.browser()
        await other.sign_in("ada")
        replayed = await other.post("/sign-in/second", {"code": totp.at(clock[0]), "totp": "1"})
        assert replayed.status == 401
        late = await other.post("/sign-in/second", {"code": totp.at(clock[0] - 30), "totp": "1"})
        assert late.status == 401, "nor an older one"

        elsewhere = house.browser(address="192.0.2.77")
        elsewhere.cookies = dict(other.cookies)
        clock[0] += 30
        stolen = await elsewhere.post("/sign-in/second", {"code": totp.at(clock[0]), "totp": "1"})
        assert stolen.status == 401, "a half-done sign-in is not carried to another address"

        fresh.address = "127.0.0.8"  # where nobody has guessed wrong
        assert (await fresh.submit("/account/codes/remove", {"password": "wrong"})).status == 303
        assert (await house.ask("accounts.show", name="ada"))["totp"] is True
        await fresh.submit("/account/codes/remove", {"password": PASSWORD})
        assert (await house.browser(address="127.0.0.9").sign_in("ada")).status == 303

    in_house(tmp_path, work)


def test_codes_of_the_past_and_the_future_do_not_fit() -> None:
    secret = pyotp.random_base32()
    totp, now = pyotp.TOTP(secret), 1_800_000_015.0
    step = int(now) // 30
    assert [find_step(secret, totp.at(now + 30 * late), 0, now) for late in (-2, -1, 0, 1, 2)] == [
        None,
        step - 1,
        step,
        step + 1,
        None,
    ]
    assert find_step(secret, totp.at(now), step, now) is None
    assert find_step(secret, "", 0, now) is None
    assert find_step(secret, "".join(map(chr, range(0xFF11, 0xFF17))), 0, now) is None


def test_what_would_let_a_thief_stay_asks_for_the_password(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada")
        for path, data in (
            ("/account/password", {"new_password": "another password", "again": "another password"}),
            ("/account/tokens", {"name": "mine", "rights": ["view"]}),
            ("/account/passkeys/begin", {"name": "mine"}),
            ("/account/codes", {"code": "123456"}),
        ):
            browser.cookies.pop("flash", None)
            answer = await browser.submit(path, {**data, "password": ""})
            assert answer.status == 303, path
            shown = await browser.get(answer.location)
            assert "that is not your password" in shown.text or "wait a while" in shown.text, path
        assert (await house.ask("accounts.show", name="ada"))["tokens"] == []

    in_house(tmp_path, work)


def test_tokens_carry_no_more_than_their_rights_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(house: House) -> None:
        browser = await house.signed_in("ada", Role.OPERATOR)
        await house.add("root")
        answer = await browser.submit(
            "/account/tokens", {"name": "watcher", "rights": ["view", "track"], "days": "30", "password": PASSWORD}
        )
        secret = answer.text.partition('id="secret">')[2].partition("<")[0]
        assert secret.startswith("gpt_")
        assert secret not in (house.state / "accounts.json").read_text()
        assert secret not in "".join(path.read_text() for path in (house.state / "audit").iterdir())

        program = house.browser()
        program.headers["authorization"] = f"Bearer {secret}"
        who = await house.call("session.show", {}, credential=secret, via="api")
        assert set(who["rights"]) == {"none", "view", "track"}
        for path in ("/account", "/accounts", "/audit"):
            assert (await program.get(path)).status == 403, path
        with pytest.raises(ControlError):
            await house.call("session.list", {}, credential=secret)
        more = await browser.submit("/account/tokens", {"name": "more", "rights": ["audit"], "password": PASSWORD})
        assert more.status == 303, "nobody gives what they have not"
        with pytest.raises(ControlError, match=r"a token of ada cannot have audit: choose among .*view"):
            await house.ask("accounts.add_token", name="ada", label="more", rights=["view", "audit"])

        await house.ask("accounts.change", name="ada", role="domain", domains="example.org")
        who = await house.call("session.show", {}, credential=secret)
        assert set(who["rights"]) == {"none", "track"}
        assert who["domains"] == ["example.org"]
        await house.ask("accounts.change", name="ada", disabled=True)
        assert (await program.get("/account")).status == 401
        await house.ask("accounts.change", name="ada", disabled=False)
        assert (await house.call("session.show", {}, credential=secret))["domains"] == ["example.org"]
        await house.ask("accounts.password", name="ada", password="set by an administrator")
        assert (await program.get("/account")).status == 401, "a password that others set takes the tokens away"
        await house.ask("accounts.change", name="ada", disabled=False)
        monkeypatch.setattr(house.front._sign_in, "_clock", lambda: time.time() + 31 * 86400)
        assert (await program.get("/account")).status == 401

    in_house(tmp_path, work)


def test_there_is_always_an_administrator_left(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("ada")
        await house.add("eve", Role.OPERATOR)
        for call, arguments in (
            ("accounts.remove", {}),
            ("accounts.change", {"disabled": True}),
            ("accounts.change", {"role": "operator"}),
            ("accounts.change", {"domains": "example.org"}),
        ):
            with pytest.raises(ControlError, match="last administrator"):
                await house.ask(call, name="ada", **arguments)
        await house.ask("accounts.change", name="eve", role="admin")
        await house.ask("accounts.remove", name="ada")

    in_house(tmp_path, work)


def test_accounts_are_for_the_gateway_alone_and_outlive_it(tmp_path: Path) -> None:
    async def first(house: House) -> None:
        await house.signed_in("ada")

    async def second(house: House) -> None:
        assert (await house.browser().sign_in("ADA ")).status == 303

    in_house(tmp_path, first)
    file = tmp_path / "accounts.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text()
    in_house(tmp_path, second)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "\u00e4", "x" * 65, "../x", "<b>"])
def test_names_that_could_mislead_are_refused(name: str) -> None:
    with pytest.raises(AccountError):
        check_account_name(name)


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa", "administrator", "administrator12345", "x" * 1025])
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(AccountError):
        check_new_password(password, "administrator")
    assert check_new_password("plain words do", "administrator")


def test_passkeys_belong_to_names_with_encryption() -> None:
    assert site_of("https://gw.example.org:8025") == "gw.example.org"
    assert site_of("http://localhost:8025") == "localhost"
    assert [site_of(each) for each in ("http://gw.example.org", "https://192.0.2.1", "https://[::1]", "", "x")] == [
        ""
    ] * 5


def test_a_sign_in_under_way_undoes_nothing_an_administrator_does_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password is compared on a thread: what is kept afterwards must be of the account as it is by then."""

    async def work(house: House) -> None:
        await house.add("root")
        acts = {
            "gone": ("accounts.remove", {}),
            "off": ("accounts.change", {"disabled": True}),
            "stolen": ("accounts.password", {"password": "another long word"}),
            "promoted": ("accounts.change", {"role": "read-only"}),
        }
        check = Passwords.check
        for name, (call, arguments) in acts.items():
            await house.add(name)

            async def meanwhile(*given: Any, name: str = name, call: str = call, more: Any = arguments) -> bool:
                right = await check(*given)
                await house.ask(call, name=name, **more)
                return right

            monkeypatch.setattr(Passwords, "check", meanwhile)
            browser = house.browser()
            answer = await browser.sign_in(name)
            assert (answer.status == 303) == (name == "promoted"), (name, answer.status)
            monkeypatch.setattr(Passwords, "check", check)
        rows = {row["name"]: row for row in await house.ask("accounts.list")}
        assert "gone" not in rows
        assert rows["off"]["disabled"]
        assert rows["promoted"]["role"] == "read-only"
        assert (await house.browser().sign_in("stolen")).status == 401
        assert (await house.browser().sign_in("stolen", "another long word")).status == 303

    in_house(tmp_path, work)


def test_a_session_that_ends_while_its_password_is_compared_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(house: House) -> None:
        await house.add("root")
        thief = await house.signed_in("ada")
        csrf = await thief.csrf()
        check = Passwords.check

        async def meanwhile(*given: Any) -> bool:
            right = await check(*given)
            await house.ask("accounts.password", name="ada", password="set by an administrator")
            return right

        monkeypatch.setattr(Passwords, "check", meanwhile)
        form = {"password": PASSWORD, "new_password": "of the thief 123", "again": "of the thief 123", "csrf": csrf}
        await thief.post("/account/password", form)
        monkeypatch.setattr(Passwords, "check", check)
        assert (await house.browser().sign_in("ada", "of the thief 123")).status == 401
        assert (await house.browser().sign_in("ada", "set by an administrator")).status == 303

    in_house(tmp_path, work)


def test_keys_of_repeated_acts_give_nobody_a_session_of_another(tmp_path: Path) -> None:
    async def work(house: House) -> None:
        await house.add("ada")
        form = {"name": "ada", "password": PASSWORD}
        first, second = [await house.call("session.begin", form, key="k") for _ in range(2)]
        assert first["session"] != second["session"]

    in_house(tmp_path, work)


def test_a_flood_of_refusals_does_not_push_out_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "REFUSALS_A_MINUTE", 5)
    clock = [1000.0]
    monkeypatch.setattr(auditing.time, "monotonic", lambda: clock[0])

    async def work(house: House) -> None:
        await house.add("ada")
        for _ in range(20):
            with pytest.raises(ControlError):
                await house.call("accounts.remove", {"name": "ada"})
        await house.add("eve")
        clock[0] += 61
        await house.add("joe")
        told = await house.ask("audit.list")
        assert [one["call"] for one in told] == [
            "accounts.add", "audit.left_out", "accounts.add", *["accounts.remove"] * 5, "accounts.add",
        ]  # fmt: skip
        assert told[1]["arguments"] == {"refused": 15}
        assert (await house.ask("audit.verify"))["trouble"] == ""

    in_house(tmp_path, work)
