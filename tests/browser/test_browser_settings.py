"""Settings, policy, lists and rules in a real browser before a running gateway: what is edited there is in the files and at
work. The gateway begins with the shipped rule set.
"""

import re
import smtplib
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.support.browser import PASSWORD, PHONE, Tab
from tests.support.gateway import Gateway
from tests.support.sink import Mail, Sink
from tests.support.waiting import wait_for

from gatepost.config.profiles_files import read_rule_set
from gatepost.model.profile import Act, Action, Condition, ConditionKind, Rule

PAGES = (
    "/settings/section/limits",
    "/settings/section/listener",
    "/settings/section/listener?item=0",
    "/policy/everybody?topic=actions",
    "/policy/everybody?topic=notices",
    "/policy/group/0",
    "/policy/actions",
    "/policy/dnsbl",
    "/settings/changes",
    "/settings/history",
    "/settings/history/2",
    "/rules/profiles",
    "/rules/profiles/profile?file=detect-standard",
    "/rules/profiles/rule?file=detect-standard&number=7",
)
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL" + "*C.34X"
RULES = "[profiles]\nenabled = true\n"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("settings") / "state"
    # The policy does nothing about spam: what becomes of it is the rules' work.
    alone = {"[policy]\n": '[policy]\naction_spam = ["pass"]\n'}
    with Gateway(state, sink.port, settings=RULES, replace=alone, antispam=True, console=True) as gateway:
        gateway.ask("accounts.add", name="ann", role="admin", password=PASSWORD)
        yield gateway


@pytest.fixture(scope="module")
def state(browser: Browser, gateway: Gateway) -> Any:
    with Tab(browser, f"http://127.0.0.1:{gateway.console_port}") as tab:
        tab.sign_in("ann")
        return tab.context.storage_state()


def open_tab(browser: Browser, gateway: Gateway, state: Any, **look: Any) -> Tab:
    return Tab(browser, f"http://127.0.0.1:{gateway.console_port}", state=state, **look)


def take_recipients(gateway: Gateway, count: int) -> list[int]:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=120) as client:
        client.ehlo("client.example.net")
        client.mail("sender@example.net")
        return [client.rcpt(f"user{number}@example.org")[0] for number in range(count)]


@pytest.mark.feature("F-WEB-01", "F-WEB-05")
@pytest.mark.parametrize("scripts", [True, False])
def test_an_edit_is_applied_and_at_work(browser: Browser, gateway: Gateway, state: Any, scripts: bool) -> None:
    limit = 2 if scripts else 3
    before = gateway.config.read_text()
    with open_tab(browser, gateway, state, scripts=scripts) as tab:
        tab.go("/settings/section/limits")
        tab.page.get_by_label("maximal incoming rcpts per message", exact=True).fill(str(limit))
        tab.page.get_by_role("button", name="Keep as draft").click()
        tab.page.get_by_role("link", name="See and apply").click()
        assert f"+maximal_incoming_rcpts_per_message = {limit}" in tab.page.inner_text(".diff")
        assert gateway.config.read_text() == before
        tab.page.get_by_label("Why (for the history)").fill("fewer at once")
        tab.page.get_by_role("button", name="Apply").click()
        assert "is in force" in tab.page.inner_text(".flash")
    assert f"maximal_incoming_rcpts_per_message = {limit}\n" in gateway.config.read_text()
    assert take_recipients(gateway, 4) == [250] * limit + [452] * (4 - limit)


@pytest.mark.feature("F-WEB-04")
def test_a_group_and_a_list_entry_are_made(browser: Browser, gateway: Gateway, state: Any) -> None:
    with open_tab(browser, gateway, state) as tab:
        tab.go("/policy")
        tab.page.get_by_label("Name", exact=True).fill("sales")
        tab.page.get_by_label("Recipients").fill("*@sales.example.org")
        tab.page.get_by_role("button", name="Add to the draft").click()
        tab.page.get_by_role("link", name="sales").click()
        tab.page.get_by_role("link", name="Viruses").click()
        tab.page.get_by_label("action infected", exact=True).select_option("remove")
        tab.page.get_by_role("button", name="Keep as draft").click()
        tab.page.get_by_role("link", name="See and apply").click()
        tab.page.get_by_role("button", name="Apply").click()
        assert "is in force" in tab.page.inner_text(".flash")
        tab.go("/policy/actions")
        assert "inherited" in tab.page.inner_text("main")
        tab.go("/lists")
        tab.page.get_by_label("Sender or client").fill("@pest.example")
        tab.page.get_by_role("button", name="Add").click()
        assert "*@pest.example" in tab.page.inner_text("main")
    (group,) = tomllib.loads(gateway.config.read_text())["group"]
    assert group == {"name": "sales", "recipients": ["*@sales.example.org"], "action_infected": "remove"}


def send(gateway: Gateway, sink: Sink, subject: str, body: str = "Good day") -> Mail:
    """Return the mail as it arrived."""
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=120) as client:
        client.sendmail(
            "me@example.net", ["user@example.org"], f"From: me@example.net\r\nSubject: {subject}\r\n\r\n{body}\r\n"
        )

    def arrived() -> list[Mail]:
        return [mail for mail in list(sink.mails) if subject.encode() in mail.header]

    return wait_for(arrived, subject)[0]


@pytest.mark.feature("F-ASP-12")
def test_a_fresh_server_with_the_shipped_rules_labels_a_sample(gateway: Gateway, sink: Sink) -> None:
    spam = send(gateway, sink, "buy", GTUBE).header.splitlines()
    assert b"X-SpamTest-Profile: spam" in spam
    assert b"Subject: [!! SPAM] buy" in spam
    assert b"Subject: hello" in send(gateway, sink, "hello").header.splitlines()


def make_profile(tab: Tab, name: str) -> None:
    """Have the draft say, in a profile that is switched on: who writes of this name gets it as a field."""
    page = tab.page
    tab.go("/rules")
    page.get_by_role("link", name="Profiles").click()
    page.locator("form", has=page.get_by_role("button", name="Add to the draft")).get_by_label("File").fill(name)
    page.get_by_label("Name", exact=True).first.fill(f"Of {name}")
    page.get_by_label("Kind").select_option("common")
    page.get_by_role("button", name="Add to the draft").click()
    page.get_by_role("link", name="New rule").click()
    one = page.get_by_role("group", name="Condition 1")
    one.get_by_label("What").select_option("header_matches")
    one.get_by_label("Field").fill("Subject")
    one.get_by_label("Value").fill(f"^{name}")
    act = page.get_by_role("group", name="Action 1")
    act.get_by_label("What").select_option("header_new")
    act.get_by_label("Field").fill("X-Ruled")
    act.get_by_label("Value").fill(name)
    page.get_by_role("button", name="Keep as draft").click()
    assert f"Subject matches ^{name}" in page.inner_text("main")
    tab.go("/rules/profiles")
    row = page.get_by_role("row", name=f"Of {name}")
    row.get_by_role("button", name="Switch on").click()


@pytest.mark.feature("F-WEB-03")
def test_a_rule_is_made_without_scripts_and_at_work_once_it_is_saved(
    browser: Browser, gateway: Gateway, sink: Sink, state: Any
) -> None:
    name = "plainly"
    with open_tab(browser, gateway, state, scripts=False) as tab:
        page = tab.page
        make_profile(tab, name)
        assert b"X-Ruled" not in send(gateway, sink, f"{name}-before").header
        page.get_by_role("link", name="See and save").click()
        page.get_by_label("Why (for the history)").fill("by browser")
        page.get_by_role("button", name="Save and compile").click()
        assert "is in force" in page.inner_text(".flash")
    assert f"\nX-Ruled: {name}\r\n".encode() in send(gateway, sink, f"{name}-after").header
    rules, problems = read_rule_set(gateway.state / "rules")
    assert not problems
    assert rules.profiles[name].rules == (
        Rule(
            conditions=(Condition(test=ConditionKind.HEADER_MATCHES, header="Subject", value=f"^{name}"),),
            actions=(Action(do=Act.HEADER_NEW, header="X-Ruled", value=name),),
        ),
    )


def test_forms_can_be_used_by_everybody(browser: Browser, gateway: Gateway, state: Any) -> None:
    with open_tab(browser, gateway, state) as tab:
        for path in PAGES:
            tab.go(path)
            tab.audit()
    with open_tab(browser, gateway, state, dark=True) as tab:
        for path in ("/policy/group/0", "/settings/history/2"):
            tab.go(path)
            tab.audit(only=("color-contrast",))
    with open_tab(browser, gateway, state, size=PHONE) as tab:
        for path in ("/policy/group/0", "/policy", "/settings/history/2", "/lists", *PAGES[-3:]):
            tab.go(path)
            assert tab.overflow() <= 0, path


def set_value(tab: Tab, name: str, value: str) -> None:
    """Have the one rule of a profile set its field to this value, and save."""
    tab.go(f"/rules/profiles/rule?file={name}&number=1")
    page = tab.page
    page.get_by_role("group", name="Action 1").get_by_label("Value").fill(value)
    page.get_by_role("button", name="Keep as draft").click()
    tab.go("/rules/profiles")
    page.get_by_role("link", name="See and save").click()
    page.get_by_label("Why (for the history)").fill(f"{name} {value}")
    page.get_by_role("button", name="Save and compile").click()
    assert "is in force" in page.inner_text(".flash")


def rule_files(gateway: Gateway) -> dict[str, bytes]:
    rules = gateway.state / "rules"
    return {str(path.relative_to(rules)): path.read_bytes() for path in rules.rglob("*") if path.is_file()}


@pytest.mark.feature("F-WEB-03")
@pytest.mark.parametrize("scripts", [True, False])
def test_rules_go_back_to_a_former_version_and_forth_again(
    browser: Browser, gateway: Gateway, sink: Sink, state: Any, scripts: bool
) -> None:
    name = f"again-{scripts}".lower()

    def ruled(moment: str) -> bytes:
        header = send(gateway, sink, f"{name}-{moment}").header + b"\r\n"
        found = re.search(rb"\nX-Ruled: (\S+)\r\n", header)
        return found[1] if found else b""

    def go_back(tab: Tab, to: str) -> None:
        page = tab.page
        tab.go("/rules/profiles")
        page.get_by_role("link", name="History").click()
        page.get_by_role("row", name=to).last.get_by_role("link").click()
        page.get_by_role("button", name="Back to this version").click()
        if scripts:
            page.get_by_role("dialog").get_by_role("button", name="Back to this version").click()
        else:
            page.get_by_role("button", name="Yes, do it").click()
        assert "is in force" in page.inner_text(".flash")

    with open_tab(browser, gateway, state, scripts=scripts) as tab:
        make_profile(tab, name)
        saved = {}
        for value in ("first", "second"):
            set_value(tab, name, value)
            saved[value] = rule_files(gateway)
            assert ruled(value) == value.encode()
        go_back(tab, f"{name} first")
        assert rule_files(gateway) == saved["first"]
        assert ruled("back") == b"first"
        newest = tab.page.get_by_role("row").nth(1).inner_text()
        assert "saved now" in newest
        assert "ann" in newest
        go_back(tab, f"{name} second")
        assert rule_files(gateway) == saved["second"]
        assert ruled("forth") == b"second"
        go_back(tab, "as it was found")
        assert f"profiles/{name}.toml" not in rule_files(gateway)
        assert ruled("none") == b""
