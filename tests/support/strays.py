"""Threads that outlive the module of tests that started them: they hold sockets, files and event loops open, which fails
a test of somebody else as soon as the collector meets them.
"""

import threading
import time
from collections.abc import Iterator

import pytest

WAIT_S = 120.0
"""What has been told to end may take its time on a busy machine."""
STEP_S = 0.01


@pytest.fixture(scope="module", autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Fail the module that leaves a thread behind. What was there before it, such as what modules share, is nobody's."""
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + WAIT_S
    while left := set(threading.enumerate()) - before:
        if time.monotonic() > until:
            pytest.fail(f"threads are left behind: {', '.join(sorted(each.name for each in left))}", pytrace=False)
        time.sleep(STEP_S)
