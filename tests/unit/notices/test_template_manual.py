"""The manual's table of macros is the product's."""

import re
from pathlib import Path

from gatepost.notices.facts import KNOWN_MACROS

MANUAL = Path(__file__).parents[3] / "docs" / "manual" / "templates.md"


def test_the_manual_names_every_macro_as_it_is():
    table = MANUAL.read_text().partition("## Macros")[2]
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE) == list(KNOWN_MACROS.items())
