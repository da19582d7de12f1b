"""What tests of stores open is closed behind them: their threads and files would be somebody else's trouble."""

from collections.abc import Iterator

import pytest
from tests.unit.storage.store_items import opened


@pytest.fixture(autouse=True)
def _stores_end() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()
