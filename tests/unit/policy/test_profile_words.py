"""Words of rules: the categories that are offered are those that shipped terms give."""

import re
from pathlib import Path

from gatepost.policy.profile_words import CATEGORIES

TERMS = Path(__file__).parents[3] / "src/gatepost/antispam/rules/terms"


def test_every_category_of_the_shipped_terms_is_offered() -> None:
    form = re.compile(r"^= ([a-z0-9/-]+)", re.MULTILINE)
    given = {path for file in TERMS.glob("*.terms") for path in form.findall(file.read_text())}
    assert set(CATEGORIES) == given - {"obscene"}
    assert len(CATEGORIES) == len(set(CATEGORIES))
