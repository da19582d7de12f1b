"""The stub server and a resolver against it."""

from collections.abc import Iterator

import pytest
from resolver_bench import Bench
from tests.support.dns import StubDns


@pytest.fixture
def dns() -> Iterator[StubDns]:
    with StubDns() as server:
        yield server


@pytest.fixture
def bench(dns: StubDns) -> Bench:
    return Bench(dns)
