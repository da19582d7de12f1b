"""A real browser (Chromium without windows, driven by Playwright) for tests of the console, and for its pictures.

    with open_browser() as browser, Tab(browser, address) as tab:
        tab.sign_in("ann", PASSWORD)
        tab.go("/queue")
        tab.audit()

A `Tab` takes down whatever the browser complains of: words on its console, errors of scripts, violations of the
policy, requests that fail or go elsewhere. Its end fails when there was anything.

Playwright keeps an event loop running in its thread: between `open_browser` and its end no test may use asyncio.run.
So a module opens its own browser and closes it (fixture of module scope).
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, StorageState, sync_playwright

CHROMIUM = Path("/usr/lib/chromium/chromium-headless-shell")
"""The browser without what draws windows: it costs half the CPU of the whole one."""
PASSWORD = "correct-horse-battery-9"
DESKTOP = (1280, 900)
PHONE = (390, 844)
WAIT_MS = 90_000
"""Longest wait of the browser: another worker may have the core for seconds."""
_AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_IMPACTS = ("serious", "critical")


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Start the browser; where there is none the test is skipped, and says so, or fails when everything must be there."""
    if not CHROMIUM.exists():
        text = f"{CHROMIUM} is missing: tools/peers.sh installs it (package chromium-headless-shell)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One window, with cookies of its own unless `state` brings those of another."""

    def __init__(
        self,
        browser: Browser,
        address: str,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        scripts: bool = True,
        state: StorageState | None = None,
    ) -> None:
        self.address = address
        self.complaints: list[str] = []
        self.expected: list[str] = []
        """Parts of complaints that belong to what a test does."""
        self.context: BrowserContext = browser.new_context(
            base_url=address,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",
            locale="en-GB",
            ignore_https_errors=True,
            storage_state=state,
        )
        self.context.set_default_timeout(WAIT_MS)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error of a script: {error}"))
        self.page.on("request", self._watch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.context.close()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Fail when the browser has complained of anything that was not expected."""
        unexpected = [each for each in self.complaints if not any(part in each for part in self.expected)]
        assert not unexpected, "\n".join(unexpected)

    def _hear(self, message: ConsoleMessage) -> None:
        if str(message.type) != "verbose":  # hints about forms
            self.complaints.append(f"{message.type} on {self.page.url}: {message.text}")

    def _watch(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.complaints.append(f"{self.page.url} asks elsewhere: {request.url}")

    # --- acts

    def go(self, path: str, status: int = 200) -> None:
        """Open a page; it must answer with `status`."""
        if status != 200:
            self.expected.append(f"status of {status}")
        response = self.page.goto(path)
        assert response is not None
        assert response.status == status, f"{path}: {response.status}: {self.page.inner_text('main')[:300]}"

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        """Sign in with name and password."""
        self.go("/sign-in")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "/sign-in" not in url)

    def state(self) -> StorageState:
        """Return the cookies, for other windows of the same person."""
        return self.context.storage_state()

    def flash(self) -> str:
        """Return what the page says of the last act."""
        return self.page.locator(".flash").inner_text()

    # --- looks

    def audit(self, *, only: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> None:
        """Fail when axe-core finds a serious or critical error; `only` and `without` name rules."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(_axe_source())
        # It cannot look into frames, which are sandboxed, and the browser complains when it tries to ask them. A selector
        # for each element it looks at would be a fifth of its work, and what we tell is the element itself.
        options: dict[str, Any] = {"resultTypes": ["violations"], "iframes": False, "selectors": False}
        if only:
            options["runOnly"] = {"type": "rule", "values": list(only)}
        options["rules"] = {name: {"enabled": False} for name in without}
        violations = self.page.evaluate(
            "async (options) => (await axe.run(document, options)).violations.map("
            "(v) => [v.impact, v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + ': ' + n.failureSummary)])",
            options,
        )
        grave = [violation for violation in violations if violation[0] in _IMPACTS]
        assert not grave, f"{self.page.url}: {grave}"

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def tab_to(self, name: str, limit: int = 80) -> None:
        """Press Tab until the element of this name (its text or label) has the focus, and is seen to have it."""
        for _ in range(limit):
            self.page.keyboard.press("Tab")
            found = self.page.evaluate(
                "() => { const e = document.activeElement; const l = e.labels && e.labels[0];"
                " return (e.getAttribute('aria-label') || (l && l.innerText) || e.innerText || '').trim(); }"
            )
            if found == name:
                outline = self.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"the focus on {name!r} cannot be seen"
                return
        raise AssertionError(f"{self.page.url}: {name!r} cannot be reached with Tab")


@functools.cache
def _axe_source() -> str:
    return _AXE.read_text()
