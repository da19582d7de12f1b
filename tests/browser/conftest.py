"""One browser a module: see `tests.support.browser`."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tests.support.browser import open_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without windows."""
    with open_browser() as browser:
        yield browser
