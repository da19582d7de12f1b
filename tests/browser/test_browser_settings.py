"""Settings, policy and lists in a real browser before a running gateway: what is edited there is in the file and at work."""

import smtplib
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.support.browser import PASSWORD, PHONE, Tab
from tests.support.gateway import Gateway
from tests.support.sink import Sink

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
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Sink() as sink, Gateway(tmp_path_factory.mktemp("settings") / "state", sink.port, console=True) as gateway:
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
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
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
        for path in ("/policy/group/0", "/policy", "/settings/history/2", "/lists"):
            tab.go(path)
            assert tab.overflow() <= 0, path
