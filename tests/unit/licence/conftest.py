"""A directory of licence keys, and the keys in it."""

from pathlib import Path

import pytest
from tests.support.licences import TRUSTED

from gatepost.licence.store import Licences


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "licence"


@pytest.fixture
def licences(place: Path) -> Licences:
    return Licences(place, TRUSTED)
