"""Fields and labels about spam: their documented names and words, once, whole, and harmless whatever a sender wrote."""

import email
import email.policy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.antispam.spots import find_spots
from gatepost.antispam.view import build_view
from gatepost.mime.edit import apply_splices
from gatepost.mime.structure import parse
from gatepost.mime.words import decode_header
from gatepost.model.spam import FieldSpot, Method, SpamOptions, SpamStatus
from gatepost.model.verdict import SpamVerdict
from gatepost.notices.spam_fields import FieldSettings, build_keywords, build_spam_fields, find_foreign
from gatepost.notices.spam_label import build_subject, label_subject
from gatepost.notices.words import encode_words

SETTINGS = FieldSettings("X-SpamTest", "00000042")
LABELS = ("[!! SPAM]", "[?? Probable Spam]", "[--Formal Message--]", "[!! Blacklisted]", "[--Obscene--]")


def fields(
    verdict: SpamVerdict, settings: FieldSettings = SETTINGS, sender: str = "a@b.example"
) -> dict[str, list[str]]:
    raw = build_spam_fields(settings, verdict, sender)
    assert raw.endswith(b"\r\n")
    message = email.message_from_bytes(raw + b"\r\n", policy=email.policy.default)
    assert not message.defects
    found: dict[str, list[str]] = {}
    for name, value in message.items():
        found.setdefault(name.removeprefix("X-SpamTest-"), []).append(str(value))
    return found


# --- fields


@pytest.mark.feature("F-ASR-05")
@pytest.mark.parametrize(
    ("status", "word"),
    [
        (SpamStatus.SPAM, "SPAM"),
        (SpamStatus.PROBABLE_SPAM, "Probable Spam"),
        (SpamStatus.TRUSTED, "Trusted"),
        (SpamStatus.NOT_DETECTED, "Not detected"),
        (SpamStatus.FORMAL, "Not detected"),
        (SpamStatus.BLACKLISTED, "SPAM"),
    ],
)
def test_both_status_fields_have_their_documented_words(status: SpamStatus, word: str) -> None:
    found = fields(SpamVerdict(status))
    assert found["Status"] == [word]
    assert found["Status-Extended"] == [status.value]


@pytest.mark.feature("F-ASR-06")
def test_method_info_rate_categories_and_group() -> None:
    verdict = SpamVerdict(
        SpamStatus.SPAM,
        97,
        (Method.DNSBL, Method.IMAGES, Method.HEADERS_PLUS),
        ("RBL: 'premium' list",),
        categories=("ads/pills/cheap", "spam"),
        reason="rating 97",
        formal="bounce",
        obscene=True,
    )
    found = fields(verdict)
    assert found["Method"] == ["DNSBL", "GSG", "headers plus", "RBL: 'premium' list"]
    assert found["Info"] == ["rating 97"]
    assert found["Rate"] == ["97"]
    assert found["Categories"] == ["ads/pills/cheap, spam"]
    assert found["Group-ID"] == ["00000042"]
    assert found["Envelope-From"] == ["<a@b.example>"]
    assert found["Formal"] == ["bounce"]
    assert found["Obscene"] == ["yes"]
    assert found["Version"][0].startswith("Gatepost ")
    assert fields(SpamVerdict(SpamStatus.NOT_DETECTED))["Method"] == ["none"]


@pytest.mark.feature("F-ASR-07")
def test_text_of_the_administrator_and_keywords() -> None:
    text = FieldSettings("X-SpamTest", "00000042", "проверено: see the intranet")
    assert fields(SpamVerdict(SpamStatus.TRUSTED), text)["Header"] == ["проверено: see the intranet"]
    assert "Header" not in fields(SpamVerdict(SpamStatus.TRUSTED))
    verdict = SpamVerdict(SpamStatus.SPAM, categories=("a/b/c", "кат"))
    assert build_keywords(verdict) == b"Keywords: SPAM, a/b/c, ???\r\n"


def test_unchecked_mail_says_only_so() -> None:
    found = fields(SpamVerdict(SpamStatus.NOT_DETECTED, info="Not protected", checked=False))
    assert found["Info"] == ["Not protected"]
    assert "Rate" not in found


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_no_foreign_text_gets_out_of_its_field(sender: str, info: str, category: str) -> None:
    verdict = SpamVerdict(SpamStatus.SPAM, info=info, categories=(category,))
    raw = build_spam_fields(SETTINGS, verdict, sender)
    assert raw.isascii()
    for line in raw.removesuffix(b"\r\n").split(b"\r\n"):
        assert re.match(rb"X-SpamTest-[A-Z][A-Za-z-]+: | =\?utf-8\?B\?", line), line
        assert b"\r" not in line
        assert b"\n" not in line
        assert len(line) <= 998


@given(st.text(max_size=200))
def test_encoded_words_read_back(text: str) -> None:
    written = encode_words(text)
    assert all(len(word) <= 75 for word in written.split("\r\n "))
    if not (text.isascii() and text.isprintable()):
        assert decode_header(written.encode()) == text.encode("utf-8", "replace").decode().strip()


@pytest.mark.parametrize(
    ("header", "left"),
    [
        (b"X-SpamTest-Status: Trusted\r\nSubject: a\r\n", b"Subject: a\r\n"),
        (b"Subject: a\r\nx-spamtest-status : x\r\n more\r\n\tand more\r\nTo: b\r\n", b"Subject: a\r\nTo: b\r\n"),
        (b"X-SpamTest: a\r\nX-SpamTester-A: b\r\n", b"X-SpamTest: a\r\nX-SpamTester-A: b\r\n"),
        (b"X-SpamTest-A: b\n", b""),
    ],
)
def test_foreign_fields_are_found_where_no_filter_looked(header: bytes, left: bytes) -> None:
    content = header + b"\r\nX-SpamTest-Status: in the body\r\n"
    assert b"".join(apply_splices(content, find_foreign(content, "X-SpamTest"))) == (
        left + b"\r\nX-SpamTest-Status: in the body\r\n"
    )


# --- labels


def label(subject: bytes, *labels: str) -> bytes:
    """Label a subject as the filter finds it; return the field anew."""
    content = b"From: <a@b.example>\r\nSubject:" + subject + b"\r\nTo: <c@d.example>\r\n\r\nhello\r\n"
    spot = find_spots(build_view(parse(content), SpamOptions())).subject
    assert spot is not None
    splice = label_subject(content, spot, labels)
    changed = b"".join(apply_splices(content, (splice,) if splice is not None else ()))
    assert changed.startswith(b"From: <a@b.example>\r\nSubject:")
    assert changed.endswith(b"\r\nTo: <c@d.example>\r\n\r\nhello\r\n")
    return changed.partition(b"Subject:")[2].partition(b"\r\nTo:")[0]


@pytest.mark.feature("F-ASR-04")
@pytest.mark.parametrize("text", LABELS)
def test_a_label_stands_in_front_once(text: str) -> None:
    once = label(b" Cheap pills", text)
    assert once == f" {text} Cheap pills".encode()
    assert label(once, text) == once


@pytest.mark.parametrize(
    ("subject", "labelled"),
    [
        (b" =?utf-8?B?0L/RgNC40LLQtdGC?=", "[!! SPAM] привет"),
        (b" =?koi8-r?Q?=D0=D2=C9?=\r\n =?koi8-r?Q?=D7=C5=D4?=", "[!! SPAM] привет"),
        (b"nothing between", "[!! SPAM] nothing between"),
        (b"\ttab", "[!! SPAM] tab"),
        (b"", "[!! SPAM]"),
        (b" ", "[!! SPAM]"),
        (b"\r\n on the next line", "[!! SPAM] on the next line"),
        (b" Re: [!! SPAM] quoted", "[!! SPAM] Re: [!! SPAM] quoted"),
        (b" =?utf-8?Q?=5B!!_SPAM=5D_known?=", "[!! SPAM] known"),
        ("  ünencoded".encode(), "[!! SPAM]  ünencoded"),
    ],
)
def test_subjects_of_every_kind_keep_their_bytes_behind_the_label(subject: bytes, labelled: str) -> None:
    found = label(subject, "[!! SPAM]")
    assert decode_header(found) == labelled
    assert found.endswith(subject.lstrip(b" \t"))
    assert label(found, "[!! SPAM]") == found


@pytest.mark.parametrize("subject", [b" plain", b" =?utf-8?B?0L/RgNC40LLQtdGC?="])
def test_a_label_beyond_ascii_is_encoded_and_keeps_its_space(subject: bytes) -> None:
    found = label(subject, "[спам]")
    assert found.isascii()
    assert decode_header(found) == "[спам] " + decode_header(subject)
    assert label(found, "[спам]") == found


def test_only_labels_that_are_missing_are_added() -> None:
    assert label(b" [!! SPAM] x", "[!! SPAM]", "[--Obscene--]") == b" [--Obscene--] [!! SPAM] x"
    assert label(b" x", "[!! SPAM]", "[--Obscene--]") == b" [!! SPAM] [--Obscene--] x"


def test_a_line_that_would_be_too_long_is_folded() -> None:
    found = label(b" " + b"x" * 985, "[!! SPAM]")
    assert max(map(len, (b"Subject:" + found).split(b"\r\n"))) <= 998
    assert decode_header(found) == "[!! SPAM] " + "x" * 985


def test_a_message_without_a_subject_gets_one() -> None:
    assert build_subject(("[!! SPAM]",)) == b"Subject: [!! SPAM]\r\n"
    assert decode_header(build_subject(("[спам]", "x"))[9:]) == "[спам] x"


def test_a_label_with_line_ends_writes_no_field() -> None:
    splice = label_subject(b"Subject: x\r\n", FieldSpot(0, 12, 9, "x"), ("a\r\nBcc: b",))
    assert splice is not None
    assert b"\n" not in splice.data
