"""The console in a real browser, before a gateway with real mail in it: every main page, with and without scripts, by
keyboard, in light, dark and phone width (rows F-WEB-02, F-WEB-07).
"""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, StorageState
from tests.support import licences
from tests.support.browser import DESKTOP, PASSWORD, PHONE, Tab
from tests.support.gateway import Gateway
from tests.support.mails import plain
from tests.support.sink import Sink
from tests.support.waiting import wait_for

from gatepost.cli.samples import build_samples
from gatepost.console.pages import ROUTES
from gatepost.console.render import AREAS

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def _paths() -> list[str]:
    """Return the pages of all areas that are served."""
    served = {path for route in ROUTES for path in route.paths if "GET" in route.http_methods}
    return [area.path for area in AREAS if area.path in served]


MAIN_PAGES = [*_paths(), "/account", "/rules/terms", "/rules/texts/notify-admin/en", "/licence"]


class Running:
    """A gateway with a console, mail in it, and somebody signed in."""

    def __init__(self, gateway: Gateway, state: StorageState) -> None:
        self.gateway = gateway
        self.address = f"http://127.0.0.1:{gateway.console_port}"
        self.state = state
        self.key = gateway.state / "B-7.key"
        """A licence key that is not installed."""
        self.key.write_bytes(licences.licence("B-7", users=700))

    def tab(self, browser: Browser, **look: Any) -> Tab:
        """Return a window of the one who is signed in."""
        return Tab(browser, self.address, state=self.state, **look)

    def counts(self) -> dict[str, int]:
        """Return what is counted of today's mail."""
        found: dict[str, int] = self.gateway.ask("tracking.counts")["counts"]
        return found


@pytest.fixture(scope="module")
def running(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = tmp_path_factory.mktemp("browser") / "state"
    with Sink() as sink, Gateway(state, sink.port, console=True, settings=licences.SETTINGS) as gateway:
        gateway.ask("accounts.add", name="ann", role="admin", password=PASSWORD)
        for sample in build_samples():
            if sample.spam == "not_detected" and len(sample.content) < 100_000:
                gateway.send(sample.content)
        gateway.send(plain(subject=HOSTILE), sender="evil+script@attacker.example")
        address = f"http://127.0.0.1:{gateway.console_port}"
        wait_for(lambda: _answers(address), "the console")
        with Tab(browser, address) as tab:
            tab.sign_in("ann")
            kept = tab.state()
        running = Running(gateway, kept)
        wait_for(lambda: running.counts().get("outcome/delivered", 0) >= 3, "mail in the tracking store")
        yield running


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def window(browser: Browser, running: Running) -> Iterator[Tab]:
    """A window that goes from page to page; a new one is a new process of the browser, which has to learn all scripts."""
    with running.tab(browser) as tab:
        tab.page.on("dialog", lambda _: tab.complaints.append("a mail ran a script"))
        yield tab


@pytest.mark.parametrize("path", MAIN_PAGES)
def test_a_page_has_no_serious_accessibility_error_in_light_dark_and_phone_width(window: Tab, path: str) -> None:
    window.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    window.page.emulate_media(color_scheme="light")
    window.go(path)
    window.audit()
    assert window.overflow() <= 0
    assert window.page.locator("h1").count() == 1
    assert window.page.locator("img").count() == 0, "a stranger's text is no text"
    window.page.emulate_media(color_scheme="dark")
    window.audit(only=("color-contrast",))
    window.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    window.audit(without=("color-contrast",))  # colours are those of the wide page
    assert window.overflow() <= 0, f"{path} is wider than a phone"
    window.check()


def test_sign_in_to_tracking_by_keyboard_alone(browser: Browser, running: Running) -> None:
    with Tab(browser, running.address) as tab:
        tab.expected.append("status of 401")  # the page asked for comes with the form to sign in
        tab.go("/", 401)
        tab.audit()
        tab.tab_to("Name")
        tab.page.keyboard.type("ann")
        tab.tab_to("Password")
        tab.page.keyboard.type(PASSWORD)
        tab.page.keyboard.press("Enter")
        tab.page.get_by_role("heading", name="Dashboard").wait_for()
        tab.page.keyboard.press("Tab")
        assert tab.page.evaluate("document.activeElement.innerText") == "Skip to content"
        tab.tab_to("Mail")
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url("**/tracking")
        tab.tab_to("Sign out")
        tab.page.keyboard.press("Enter")
        tab.page.get_by_label("Password", exact=True).wait_for()


def test_the_dashboard_draws_pictures_and_keeps_itself_up_to_date(browser: Browser, running: Running) -> None:
    with running.tab(browser) as tab:
        tab.go("/?span=hour")
        tab.page.locator("#flow canvas").wait_for()
        assert tab.page.locator("[data-picture] canvas").count() == 5
        received = tab.page.locator("#now .tile", has_text="Received").locator(".value")
        before = int(received.inner_text())
        rows = tab.page.locator("#flow tbody tr").count()
        assert 59 <= rows <= 61
        running.gateway.send(plain(subject="one more"))
        wait_for(lambda: running.counts()["kind/mail"] == before + 1, "the mail to be counted")
        tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # sooner than the next look
        tab.page.wait_for_function(
            "(n) => [...document.querySelectorAll('#now .tile')].some("
            "(t) => t.innerText.startsWith('Received') && t.querySelector('.value').innerText === String(n))",
            arg=before + 1,
        )
        assert tab.page.locator("#flow canvas").count() == 1
        tab.page.evaluate(
            "() => { window.heard = 0;"
            " document.getElementById('now').addEventListener('refresh', () => { window.heard += 1; }); }"
        )
        running.gateway.send(plain(subject="heard of by the stream of events"))
        tab.page.wait_for_function("() => window.heard > 0")  # a look by the clock is no such event
        tab.page.get_by_role("link", name="Day", exact=True).click()
        tab.page.locator("#flow canvas").wait_for()
        assert 95 <= tab.page.locator("#flow tbody tr").count() <= 97
        tab.page.locator("#flow summary").click()
        assert tab.page.locator("#flow tbody").is_visible()


def test_the_look_is_switched_and_kept(browser: Browser, running: Running) -> None:
    with running.tab(browser) as tab:
        tab.go("/service")
        light = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        tab.page.get_by_role("button", name="Look is auto, change to dark").click()
        tab.page.wait_for_selector("html[data-theme=dark]")
        assert tab.page.url.endswith("/service")
        assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") != light
        tab.go("/log")
        assert tab.page.locator("html[data-theme=dark]").count() == 1


def test_the_menu_opens_on_a_phone(browser: Browser, running: Running) -> None:
    with running.tab(browser, size=PHONE) as tab:
        tab.go("/")
        menu = tab.page.get_by_role("link", name="Problems", exact=True)
        assert not menu.is_visible()
        tab.page.get_by_role("button", name="Menu").click()
        assert menu.is_visible()
        menu.click()
        tab.page.wait_for_url("**/problems")


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.feature("F-WEB-02")
def test_acts_of_the_service_page_take_effect(browser: Browser, running: Running) -> None:
    gateway = running.gateway
    with running.tab(browser) as tab:
        tab.go("/service")
        row = tab.page.get_by_role("row", name=re.compile("^Receiving"))
        row.get_by_role("button", name="Switch off").click()
        dialog = tab.page.get_by_role("dialog")
        assert "The ports close" in dialog.inner_text()
        tab.page.keyboard.press("Escape")
        assert _accepts(gateway.port), "it was not confirmed"
        row.get_by_role("button", name="Switch off").click()
        dialog.get_by_role("button", name="Switch off").click()
        tab.page.locator(".flash").wait_for()
        assert tab.flash() == "Receiving is off."
        wait_for(lambda: not _accepts(gateway.port), "the port to close")
        row.get_by_role("button", name="Switch on").click()
        dialog.get_by_role("button", name="Switch on").click()
        tab.page.get_by_text("Receiving is on.").wait_for()
        assert _accepts(gateway.port)

        tab.page.get_by_role("button", name="Reload databases").click()
        dialog.get_by_role("button", name="Reload databases").click()
        tab.page.get_by_text("databases in force: base").wait_for()
        assert "databases reloaded" in gateway.log()

        gateway.edit("check_spam = false", 'check_spam = "perhaps"')
        tab.page.get_by_role("button", name="Reload configuration").click()
        dialog.get_by_role("button", name="Reload configuration").click()
        tab.page.locator(".flash[data-state=bad]").wait_for()
        assert "check_spam" in tab.flash()
        gateway.edit('check_spam = "perhaps"', "check_spam = false")
        tab.page.get_by_role("button", name="Reload configuration").click()
        dialog.get_by_role("button", name="Reload configuration").click()
        tab.page.get_by_text("The configuration is in force.").wait_for()

        tab.go("/databases")
        assert tab.page.get_by_text("in force").count() >= 1
        assert "no end" in tab.page.inner_text("main")
        tab.page.get_by_role("link", name="Keys").click()
        tab.page.get_by_role("heading", name="Licence", exact=True).wait_for()
        tab.page.get_by_label("File").set_input_files(running.key)
        tab.page.get_by_role("button", name="Look at it").click()
        tab.page.get_by_role("button", name="Add the key").click()
        tab.page.get_by_text("Key B-7 is installed as the active key.").wait_for()
        assert gateway.ask("licence.show")["active"]["users"] == 700
        tab.page.get_by_role("button", name="Remove").click()
        dialog = tab.page.locator("form", has_text="Remove the key")
        dialog.get_by_role("button", name="Remove the key").click()
        tab.page.get_by_text("Key B-7 is removed.").wait_for()
        assert gateway.ask("licence.show")["open"]
        tab.go("/log")
        assert "configuration reloaded" in tab.page.inner_text("#log-lines")
        tab.go("/reports")
        assert tab.page.get_by_role("heading", name="What became of mail").is_visible()


def test_everything_works_without_scripts(browser: Browser, running: Running) -> None:
    with Tab(browser, running.address, scripts=False) as tab:
        tab.sign_in("ann")
        tab.go("/service")
        tab.page.get_by_role("row", name=re.compile("^Delivery")).get_by_role("button", name="Switch off").click()
        assert tab.page.get_by_role("heading", name="Switch delivery off?").is_visible()
        assert running.gateway.status()["modules"]["sender"] is True
        tab.page.get_by_role("button", name="Switch off").click()
        assert tab.flash() == "Delivery is off."
        assert running.gateway.status()["modules"]["sender"] is False
        tab.page.get_by_role("row", name=re.compile("^Delivery")).get_by_role("button", name="Switch on").click()
        tab.page.get_by_role("button", name="Switch on").click()
        assert running.gateway.status()["modules"]["sender"] is True
        tab.go("/log")
        tab.page.get_by_label("Contains").fill("sender")
        tab.page.get_by_role("button", name="Show").click()
        assert "text=sender" in tab.page.url
        tab.go("/?span=day")
        tab.page.locator("#flow summary").click()
        assert tab.page.locator("#flow tbody tr").count() >= 95


def test_a_text_is_looked_at_before_it_is_saved(window: Tab, running: Running) -> None:
    window.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    window.go("/rules/texts/digest-html/en")
    sample = window.page.frame_locator("iframe[name=sample]")
    sample.get_by_text("has kept these messages").wait_for()
    window.page.get_by_role("textbox", name="Text").fill(
        "\\<b\\>kept: %DIGEST_COUNT%\\</b\\>\\<script\\>alert(1)\\</script\\>"
    )
    window.page.get_by_role("button", name="Preview").click()
    sample.locator("b", has_text="kept: 12").wait_for()
    shown = running.gateway.ask("texts.show", name="digest-html", language="en")
    assert shown["own"] is False
    window.page.get_by_role("button", name="Save and use").click()
    assert window.flash() == "Saved: reloaded"
    shown = running.gateway.ask("texts.show", name="digest-html", language="en")
    assert (shown["own"], shown["used_by"]) == (True, ["policy"])
    window.page.get_by_role("button", name="Back to the shipped text").click()
    window.page.get_by_role("dialog").get_by_role("button", name="Back to the shipped text").click()
    window.page.locator(".flash", has_text="the product's own text: reloaded").wait_for()
    assert not running.gateway.ask("texts.show", name="digest-html", language="en")["own"]
    window.check()


@pytest.mark.feature("F-WEB-07")
def test_reports_count_by_status_what_came_and_need_a_sign_in(browser: Browser, running: Running) -> None:
    answer = httpx.get(f"{running.address}/reports")
    assert answer.status_code == 401
    assert "What became of mail" not in answer.text
    with running.tab(browser) as tab:
        tab.go("/reports?days=1")
        table = tab.page.locator("section", has=tab.page.get_by_role("heading", name="What became of mail"))
        shown = {
            row.locator("th").inner_text(): int(row.locator("td").first.inner_text().replace("\u202f", ""))
            for row in table.locator("tbody tr").all()
        }
        counted = {
            name.removeprefix("outcome/"): mails
            for name, mails in running.counts().items()
            if name.startswith("outcome/")
        }
        assert shown == counted
        assert shown["delivered"] >= 3
        assert shown["blocked"] >= 2
        assert "user@example.org" in tab.page.inner_text("main")
        with tab.page.expect_download() as download:
            tab.page.get_by_role("link", name="Top senders as CSV").click()
        assert download.value.suggested_filename.startswith("gatepost-senders-")
        assert "evil+script@attacker.example" in Path(download.value.path()).read_text()


def test_long_words_leave_room_for_the_outcome(running: Running, browser: Browser) -> None:
    with running.tab(browser) as tab:
        tab.go("/tracking")
        row = tab.page.locator("main tbody tr").first
        for cell, text in (("th a", "Supercalifragilistic" * 10), ("td.address >> nth=0", "a" * 60)):
            row.locator(cell).evaluate("(cell, text) => { cell.textContent = text }", text)
        box = tab.page.locator("main .table-box").first
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0


def test_a_gateway_is_stopped_from_the_console(browser: Browser, running: Running) -> None:
    with running.tab(browser) as tab:
        tab.go("/service")
        tab.page.get_by_role("button", name="Stop the gateway").click()
        tab.expected.append("ERR_")
        with_dialog = tab.page.get_by_role("dialog").get_by_role("button", name="Stop the gateway")
        with_dialog.click()
        process = running.gateway.process
        assert process is not None
        wait_for(lambda: process.poll() is not None, "the gateway to end")
        assert process.returncode == 0
