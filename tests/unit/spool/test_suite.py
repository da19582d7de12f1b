"""Both spools pass the suite."""

import pytest

from gatepost.spool.writer import SqliteSpool
from gatepost.testing.memory_spool import MemorySpool
from gatepost.testing.release_suite import ReleaseSuite


class TestSqliteSpool(ReleaseSuite):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path):
        self.directory = str(tmp_path / "relay-0")

    def open_spool(self, loop):
        return SqliteSpool.open(self.directory, loop)


class TestMemorySpool(ReleaseSuite):
    @pytest.fixture(autouse=True)
    def _nothing_yet(self):
        self.spool = None

    def open_spool(self, loop):
        self.spool = MemorySpool(loop) if self.spool is None else self.spool.reopened(loop)
        return self.spool
