"""GTUBE: found wherever a reader sees it. The string is joined here, so that no file holds it."""

import base64

import pytest

from gatepost.antispam.check import Notes
from gatepost.antispam.gtube import GtubeCheck
from gatepost.antispam.rating import rate
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import Sign, SpamOptions

HEAD, TAIL = "XJS*C4JDBQADN1.NSBN3*", "UBE-TEST-EMAIL*C.34X"
GTUBE = f"{HEAD}2IDNEN*GTUBE-STANDARD-ANTI-{TAIL}"
PAGE = f"<html><body><p>{GTUBE[:10]}<b>{GTUBE[10:40]}</b>{GTUBE[40:]}</p></body></html>"
ENCODED = base64.encodebytes(f"text\r\n{GTUBE}\r\n".encode()).decode()


def signs(content: str) -> list[Sign]:
    notes = Notes()
    GtubeCheck().inspect(build_view(parse(content.encode()), SpamOptions()), notes)
    return notes.signs


@pytest.mark.parametrize(
    "content",
    [
        f"Subject: x\r\n\r\nbefore\r\n{GTUBE}\r\nbehind\r\n",
        f"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain\r\n\r\n{ENCODED}",
        f"Content-Type: text/html\r\n\r\n{PAGE}",
        f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n\r\n{GTUBE}\r\n--b--\r\n",
    ],
    ids=["plain", "base64", "html", "second part"],
)
def test_the_test_string_alone_makes_spam(content):
    found = signs(content)
    assert [sign.name for sign in found] == ["gtube"]
    assert rate(found) > 99
    assert GTUBE not in found[0].evidence


@pytest.mark.parametrize("text", [GTUBE[:-1], GTUBE.lower(), "GTUBE"])
def test_what_is_not_the_whole_string_is_nothing(text):
    assert signs(f"Subject: x\r\n\r\n{text}\r\n") == []
