"""Digests: what strangers wrote stays words in text, HTML and header fields; the length is bounded, the language the group's."""

import email
import email.policy
import re

import pytest

from gatepost.config.grouping import LANGUAGES
from gatepost.notices.digest import MAIL_LIMIT, Digest, DigestLine, build_digest
from gatepost.notices.group import Role
from gatepost.notices.problem_mail import ProblemMail, build_problem_mail
from gatepost.notices.template import shipped_template

HOSTILE = (
    "<script>alert(1)</script>",
    "a\r\nBcc: all@example.org\r\n\r\nbody",
    '"><img src=x onerror=alert(1)>',
    '%DIGEST_PAGE% <FOR DIGEST_ITEM == "*">',
    "\u202egnp.exe\x00\x1b[31m\ud800",
    "=?utf-8?B?PHNjcmlwdD4=?=",
    "x" * 5000,
    "ж" * 5000,
)


def templates(language: str = "en"):
    return shipped_template("digest", language), shipped_template("digest-html", language)


def line(number: int = 1, **given) -> DigestLine:
    values = {"sender": "from@one.example", "subject": "a subject", "time": "now", "rate": 90} | given
    links = {name: f"https://spam.example.org/l/{name}{number}" for name in ("release", "allow", "block")}
    return DigestLine(**(links | values))


def digest(*lines: DigestLine, count: int = 0, asked: bool = False) -> Digest:
    return Digest(
        hostname="gw.example.org",
        lines=lines,
        count=count or len(lines),
        page="https://spam.example.org/l/page",
        until="then",
        asked=asked,
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words(language, words):
    told = build_digest(digest(line(subject=words, sender=f"{words}@one.example")), templates(language))
    mail = ProblemMail(
        ("ann@example.org",), "postmaster@example.org", told.subject, told.text, told.html, Role.RECIPIENT
    )
    raw = build_problem_mail(mail, "<1@gw.example.org>", 1_800_000_000.0)
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert parsed["To"] == "ann@example.org"
    assert parsed["Bcc"] is None
    assert (parsed["Auto-Submitted"], parsed["X-Gatepost-Notice"]) == ("auto-generated", "recipient")
    assert [part.get_content_type() for part in parsed.iter_parts()] == ["text/plain", "text/html"]
    html = parsed.get_body(("html",)).get_content()
    assert set(re.findall(r"<(/?\w+)", html)) <= {"html", "/html", "head", "/head", "meta", "title", "/title", "body", "/body", "p", "/p", "div", "/div", "b", "/b", "bdi", "/bdi", "a", "/a"}  # fmt: skip
    assert set(re.findall(r'href="([^"]*)"', html)) == {
        f"https://spam.example.org/l/{name}" for name in ("release1", "allow1", "block1", "page")
    }
    assert "\x1b" not in html + told.text
    assert "\u202e" not in html + told.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_message_has_its_links_and_the_rest_is_counted(language):
    told = build_digest(digest(line(1), line(2, allow="", block=""), count=7), templates(language))
    for text in (told.text, told.html):
        assert [name for name in ("release1", "allow1", "block1", "release2", "page") if f"/l/{name}" in text] == [
            "release1",
            "allow1",
            "block1",
            "release2",
            "page",
        ]
        assert text.count("/l/allow") == text.count("/l/block") == 1, "who has no address cannot be listed"
        assert text.count("5") >= 1
    assert "7" in told.subject
    assert told.subject.isascii() == (language == "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_link_that_was_asked_for(language):
    told = build_digest(digest(count=3, asked=True), templates(language))
    for text in (told.text, told.html):
        assert text.count("/l/page") == 1
        assert "/l/release" not in text
        assert "gw.example.org" in text


def test_the_length_is_bounded_and_what_is_left_out_is_counted():
    lines = [
        line(number, subject="ж" * 200, sender="ж" * 300, release="https://x/l/" + "r" * 400) for number in range(50)
    ]
    told = build_digest(digest(*lines), templates())
    assert len(told.text.encode()) + len(told.html.encode()) <= MAIL_LIMIT
    shown = told.text.count("Release it:")
    assert 0 < shown < 50
    assert f"on the page: {50 - shown}" in told.text
