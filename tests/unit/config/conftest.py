"""Loaders for configuration text."""

from collections.abc import Callable
from pathlib import Path

import pytest
from documented_ini import ini_text

from gatepost.config.load import Loaded, load_text
from gatepost.config.problem import Form


@pytest.fixture
def load_ini() -> Callable[..., Loaded]:
    def load(changes: dict[str, str | None] | None = None, extra: str = "") -> Loaded:
        return load_text(ini_text(changes, extra), "mailgw.conf", Form.INI)

    return load


@pytest.fixture
def write_ini(tmp_path: Path) -> Callable[..., Path]:
    def write(changes: dict[str, str | None] | None = None, extra: str = "") -> Path:
        path = tmp_path / "mailgw.conf"
        path.write_text(ini_text(changes, extra))
        return path

    return write


TOML = '[network]\nhostname = "mx.corp.example"\nprotected_domains = ["corp.example"]\n[access]\nrelay_rule = "deny from any to *"\n'


@pytest.fixture
def load_toml() -> Callable[[str], Loaded]:
    def load(text: str) -> Loaded:
        return load_text(TOML + text, "gatepost.toml")

    return load
