"""Charsets that Python's decoders stumble over: every message gets an answer that crosses to the relay."""

import base64

import msgspec
import pytest

from gatepost.antispam.check import Check, Notes
from gatepost.antispam.content import inspect_content
from gatepost.antispam.extract import parts
from gatepost.antispam.view import MailView
from gatepost.filter.dialogue import HEADER_SIZE, Answer, build_frame, check_analysis, parse_from_filter
from gatepost.mime.part import Message, Part
from gatepost.mime.structure import parse
from gatepost.mime.words import decode_header, decode_text
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method, SpamFacts, SpamOptions

CASES = [
    ("iso-2022-jp-2", b"\x1b.J\x1bN\x88"),
    ("utf-7", b"+2D0-"),
    ("utf7", b"+3AA-"),
    ("unicode-1-1-utf-7", b"+2AA "),
]
OPTIONS = SpamOptions(hostname="mx.example.org", authn=True, uds=True, office=True)


class Reads:
    """A check that quotes all it gets to see."""

    name = "reads"

    def inspect(self, view: MailView, notes: Notes) -> None:
        notes.categories[view.subject[:50]] = 1.0
        for text in (view.subject, view.body, view.folded, view.folded_subject, *(text.hidden for text in view.texts)):
            notes.sign(Method.CONTENT, "seen", text, 1.0)
            text.encode()


def inspect(content: bytes, checks: tuple[Check, ...] = (Reads(),)) -> SpamFacts:
    """Return what the relay gets."""
    facts = inspect_content(parse(content), OPTIONS, checks)
    frame = build_frame(Answer("id", Analysis((), spam=facts)))
    answer = parse_from_filter(frame[HEADER_SIZE:])
    assert isinstance(answer, Answer)
    check_analysis(answer.analysis, len(content))
    assert answer.analysis.spam is not None
    return answer.analysis.spam


@pytest.mark.parametrize(("charset", "raw"), CASES)
def test_a_text_can_be_written_again(charset: str, raw: bytes) -> None:
    for each in (raw, b"seen " + raw + b" too", raw * 50):
        decode_text(each, charset).encode()
    word = b"=?" + charset.encode() + b"?b?" + base64.b64encode(raw) + b"?="
    decode_header(b"buy " + word + b" now").encode()
    assert decode_header(b"buy " + word + b" now").startswith("buy ")


@pytest.mark.parametrize(("charset", "raw"), CASES)
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_text_in_it_is_read_and_told_of(charset: str, raw: bytes, kind: str) -> None:
    word = b"=?" + charset.encode() + b"?b?" + base64.b64encode(raw) + b"?="
    header = b"From: " + word + b" <a@b.example>\r\nSubject: buy " + word + b"\r\nContent-Type: text/"
    header += kind.encode() + b"; charset=" + charset.encode() + b"; name=" + word + b"\r\n\r\n"
    facts = inspect(header + b"visit http://spam.example/ " + raw + b" now")
    assert facts.trouble == ""
    assert [link.host for link in facts.links] == ["spam.example"]
    assert any("visit" in sign.evidence for sign in facts.signs)


def test_utf7_that_is_sound_stays_as_it_is() -> None:
    assert decode_text("Grüße 😀".encode("utf-7"), "utf-7") == "Grüße 😀"


def test_a_part_that_we_cannot_read_hides_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever our fault is: the other parts count, and it is told."""
    read = parts._read_text

    def fail(message: Message, part: Part) -> parts.Text | None:
        if part.content_type == "text/html":
            raise RuntimeError("a fault of ours")
        return read(message, part)

    def fail_too(_: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(parts, "_read_text", fail)
    monkeypatch.setattr(parts, "read_rtf", fail_too)
    bodies = (
        ("text/html", b"<b>x"),
        ("application/rtf", b"{\\rtf1 x}"),
        ("text/plain", b"visit http://spam.example/ now"),
    )
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    content += b"".join(
        b"--b\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + body + b"\r\n" for kind, body in bodies
    )
    facts = inspect(content + b"--b--\r\n")
    assert [link.host for link in facts.links] == ["spam.example"]
    assert any("visit" in sign.evidence for sign in facts.signs)
    assert "MemoryError" in facts.trouble


def test_a_check_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        name = "fails"

        def inspect(self, view: MailView, notes: Notes) -> None:
            raise msgspec.ValidationError("a fault of ours")

    monkeypatch.setattr(MailView, "links", property(lambda _: 1 / 0))
    facts = inspect(b"Subject: x\r\n\r\nvisit", (Fails(), Reads()))
    assert "fails" in facts.trouble
    assert "links" in facts.trouble
    assert any("visit" in sign.evidence for sign in facts.signs)
