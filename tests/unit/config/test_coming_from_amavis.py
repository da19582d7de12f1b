"""The page for who comes from Postfix and Amavis: every parameter it names exists, its beginning is a configuration."""

import re
from pathlib import Path

import pytest

from gatepost.config.load import load_text
from gatepost.config.problem import Form
from gatepost.config.schema import SECTION_BY_NAME, find_field

PAGE = Path(__file__).resolve().parents[3] / "docs" / "manual" / "from-amavis.md"
TEXT = PAGE.read_text()


def unknown_in(text: str) -> list[str]:
    """Return the parameters and tables of a page that the schema does not know."""
    named = [(section, name) for section, name in re.findall(r"`([a-z_]+)\.([a-z_]+)`", text)]
    missing = [f"{section}.{name}" for section, name in named if find_field(section, name) is None]
    return missing + [table for table in re.findall(r"`\[\[([a-z_]+)\]\]", text) if table not in SECTION_BY_NAME]


def test_parameters_exist() -> None:
    assert len(re.findall(r"`[a-z_]+\.[a-z_]+`", TEXT)) > 60
    assert not unknown_in(TEXT)
    assert unknown_in("`policy.nonsense`, `limits.incoming_sessions`, `[[nonsense]]`") == [
        "policy.nonsense",
        "nonsense",
    ]


@pytest.mark.parametrize("block", re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
def test_the_beginning_is_a_configuration(block: str) -> None:
    loaded = load_text(block, "gatepost.toml", Form.TOML)
    assert loaded.config is not None
    assert [str(problem) for problem in loaded.problems] == []
