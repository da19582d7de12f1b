"""The same mails by SMTP, milter, spamd, rspamd and pipe are judged the same: a short run of `make prove NAME=doors`."""

import sys
from pathlib import Path

import pytest
from tests.peers.conftest import open_directory

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import prove_doors

SHARES = {"spam/spamassassin-2002": 12, "spam/inbox-2023-2025": 18, "mime/mime-tests": 15, "av/av-tests": 15}


def test_all_doors_say_the_same_of_the_same_mail() -> None:
    if not (prove_doors.SHARED / "corpora").is_dir():
        pytest.skip(f"there is no corpus below {prove_doors.SHARED}: set GATEPOST_SHARED")
    told: list[str] = []
    with open_directory("doors") as place:
        assert prove_doors.prove(SHARES, place, told.append) == []
    assert "60 mails" in told[1], told
    for kind in ("delivered", "refused or withheld", "status spam", "status blacklisted", "with infected objects"):
        assert kind in told[1], told
