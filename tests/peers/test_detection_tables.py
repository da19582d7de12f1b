"""The evasion mails: what docs/detection.md says is found is found, and what a real clamd finds in them, we find."""

import re
import sys
from pathlib import Path

import pytest
from tests.peers.conftest import open_directory, program

from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.model.finding import ObjectStatus

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from detection_evasion import ARCHIVE, STOPPED, UNNAMED, WHY_NOT, Evasion, evasions, find_status, is_filtered
from detection_peers import running_peers
from detection_table import CLAM, PAGE, build_engine

pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason="the shared corpora are not here")
EVERY = 4
"""One mail in so many is asked of clamd."""


@pytest.fixture(scope="module")
def engine() -> BuiltinEngine:
    return build_engine()


@pytest.fixture(scope="module")
def mails() -> list[Evasion]:
    return list(evasions())


@pytest.fixture(scope="module")
def ours(engine: BuiltinEngine, mails: list[Evasion]) -> dict[str, ObjectStatus]:
    return {mail.name: find_status(engine, mail.content) for mail in mails if mail.hides_content}


def test_what_is_not_found_is_explained(ours: dict[str, ObjectStatus]) -> None:
    missed = [name for name, status in ours.items() if status not in STOPPED]
    assert [name for name in missed if not any(part in name for part in WHY_NOT)] == []
    page = PAGE.read_text()
    assert all(f"| `{name}` |" in page for name in missed)
    assert "unexplained" not in page


def test_the_page_tells_the_number(ours: dict[str, ObjectStatus]) -> None:
    found = re.search(r"^\| all \| (\d+) \| (\d+) \| \d+ \| \d+ \|$", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    assert (int(found[1]), int(found[2])) == (len(ours), sum(status in STOPPED for status in ours.values()))


def test_hidden_names_are_filtered(engine: BuiltinEngine, mails: list[Evasion]) -> None:
    """By `*.zip`, but for the two mails whose file every reader calls .png."""
    passed = [mail.name for mail in mails if not mail.hides_content and not is_filtered(engine, mail.content)]
    assert passed == [mail.name for mail in mails if UNNAMED.search(mail.name)]
    assert len(passed) == 2


def test_what_clamd_finds_is_found(ours: dict[str, ObjectStatus], mails: list[Evasion]) -> None:
    program("clamd")
    with open_directory("detection") as place, running_peers(place, CLAM, with_rspamd=False) as peers:
        found = [mail.name for mail in mails if mail.name in ours][::EVERY]
        asked = {mail.name: peers.ask_clamd(mail.content) for mail in mails if mail.name in set(found)}
    assert any(asked.values())
    assert [name for name, threat in asked.items() if threat and ours[name] not in STOPPED] == []


def test_real_ham_is_clean() -> None:
    """As the page tells it of all the corpora: no alarm, and nothing that could not be read."""
    rows = re.findall(r"^\| ham \| (\w+) \| ([\d,]+) \|$", PAGE.read_text(), re.MULTILINE)
    assert [status for status, _ in rows] == ["clean"]
    assert int(rows[0][1].replace(",", "")) > 8000
