"""One fact is one sign: what two checks could see is told, and weighed, by one of them."""

import pytest
from tests.support.spam_knowledge import shipped_knowledge

from gatepost.antispam.check import Check, Notes
from gatepost.antispam.headers.check import build_header_check
from gatepost.antispam.tricks import TricksCheck
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

WEATHER = " ".join(f"weather{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(70))
PLAIN = "Content-Type: text/plain; charset=utf-8\r\n\r\nDear Bob,\r\nhere they are."
BOTH = (
    'Content-Type: multipart/alternative; boundary="b1"\r\n\r\n--b1\r\n\r\n{}\r\n'
    "--b1\r\nContent-Type: text/html\r\n\r\n<p>{}</p>\r\n--b1--\r\n"
)


@pytest.fixture(scope="module")
def checks() -> tuple[Check, ...]:
    knowledge = shipped_knowledge()
    return build_header_check(knowledge), TricksCheck(knowledge)


@pytest.mark.parametrize(
    ("subject", "rest", "name"),
    [
        ("=?utf-8?b?0YDQsNGDcGFs?= account", PLAIN, "look-alike-letters"),
        ("=?utf-8?q?Inv=E2=80=8Boice_of_May?=", PLAIN, "invisible-in-words"),
        ("Cheap V I A G R A here", PLAIN, "subject-gappy"),
        ("Weather of May", BOTH.format(WEATHER, WEATHER.replace("weather", "offer")), "forms-differ"),
        ("Weather of May", BOTH.format(WEATHER, WEATHER), ""),
    ],
)
def test_one_fact_is_one_sign(checks: tuple[Check, ...], subject: str, rest: str, name: str) -> None:
    content = (
        "From: Anna Berg <anna.berg@firm.example>\r\nTo: Bob <bob@own.example>\r\nMIME-Version: 1.0\r\n"
        "Date: Tue, 14 Nov 2023 22:10:00 +0000\r\nMessage-ID: <20231114.221000.77@firm.example>\r\n"
        f"Subject: {subject}\r\n{rest}"
    )
    notes = Notes()
    for check in checks:
        check.inspect(build_view(parse(content.encode()), SpamOptions()), notes)
    assert [sign.name for sign in notes.signs if sign.weight >= 0.5] == ([name] if name else [])
