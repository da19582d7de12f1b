"""What tests of content checks share."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def cpu_seconds() -> Callable[[float], contextlib.AbstractContextManager[None]]:
    """A bound of CPU time that only work that grows faster than its input reaches: quadratic, these inputs take minutes."""

    @contextlib.contextmanager
    def bound(limit: float) -> Iterator[None]:
        started = time.process_time()
        yield
        assert time.process_time() - started < limit

    return bound
