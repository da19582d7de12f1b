"""Automatic replies: recognised in their many dialects, and no honest mail taken for one."""

import os
import tarfile
from pathlib import Path

import pytest

from gatepost.antispam.check import Notes
from gatepost.antispam.formal import FormalCheck, recognise
from gatepost.antispam.view import build_view
from gatepost.mime.structure import parse
from gatepost.model.spam import SpamOptions

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).parents[4] / "shared"))
BOUNCES = SHARED / "corpora/proto/proto-tests.tar.gz"
RECALL = 0.97
"""Share of the collected bounces, complaints and vacation notes that must be recognised."""


def kind(header: str, body: str = "Hello.", options: SpamOptions | None = None) -> str:
    content = f"{header}\n\n{body}\n".encode()
    return recognise(build_view(parse(content), options or SpamOptions(sender="a@b.example")))[0]


NULL = SpamOptions(sender="", recipients=("a@b.example",))

FORMAL = [
    ("bounce", "From: Mail Delivery Subsystem <MAILER-DAEMON@b.example>\nSubject: Returned mail: User unknown", "x"),
    ("bounce", "From: postmaster@b.example\nSubject: Undeliverable: Minutes", "x"),
    ("bounce", "From: MAILER-DAEMON@b.example\nSubject: Hello", "I was unable to deliver your message."),
    ("bounce", "From: x <mailer-daemon@b.example>\nSubject: =?utf-8?b?0J3QtSDQtNC+0YHRgtCw0LLQu9C10L3Qvg==?=", "x"),
    (
        "bounce",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\nSubject: x",
        "--b\n\nx\n--b--",
    ),
    ("receipt", "Content-Type: multipart/report; report-type=disposition-notification; boundary=b", "--b\n\nx\n--b--"),
    ("complaint", "Content-Type: multipart/report; report-type=feedback-report; boundary=b", "--b\n\nx\n--b--"),
    ("vacation", "From: anna@b.example\nSubject: Away\nAuto-Submitted: auto-replied", "I am away."),
    ("vacation", "From: anna@b.example\nSubject: Automatic reply: Minutes\nX-Auto-Response-Suppress: All", "x"),
    ("vacation", "From: anna@b.example\nSubject: Out of Office: Minutes\nIn-Reply-To: <1@b.example>", "x"),
    ("vacation", "From: a@b.example\nSubject: Abwesenheitsnotiz\nPrecedence: auto_reply", "x"),
    ("challenge", "From: a@b.example\nSubject: Please confirm your message\nX-Autoreply: yes", "x"),
    ("virus notice", "From: postmaster@b.example\nSubject: VIRUS FOUND in your mail", "x"),
    ("virus notice", "From: AntiVirus <antivirus@b.example>\nSubject: Banned file: x.pif in mail from you", "x"),
    ("card notice", "From: <service@cards.example>\nSubject: You have received a greeting card", "x"),
]


@pytest.mark.parametrize(("expected", "header", "body"), FORMAL)
def test_kinds_of_automatic_replies(expected, header, body):
    assert kind(header, body) == expected


def test_a_null_sender_with_the_words_of_a_bounce_is_one():
    header = "From: support@b.example\nSubject: Your message could not be delivered"
    assert kind(header, options=NULL) == "bounce"
    assert kind(header) == ""


ORDINARY = [
    "From: anna@b.example\nSubject: Re: Undelivered Mail Returned to Sender",
    "From: postmaster@b.example\nSubject: Fwd: failure notice",
    "From: postmaster@b.example\nSubject: Maintenance on Sunday",
    "From: shop@b.example\nSubject: Delivery failed: nobody was at home",
    "From: anna@b.example\nSubject: Out of office next week",
    "From: news@b.example\nSubject: Virus alert: what to do this winter",
    "From: bot@forge.example\nSubject: [build] failed\nAuto-Submitted: auto-generated",
    "From: list@b.example\nSubject: confirm your subscription\nPrecedence: bulk",
    "From: anna@b.example\nSubject: A greeting card for you",
    "From: a@b.example\nSubject: Re: Sorting\nX-TMDA-Fingerprint: x",
    "From: a@b.example\nSubject: Re: Carl is out of the office\nIn-Reply-To: <1@b.example>",
    "From: a@b.example\nSubject: [l] Carl is out of the office\nIn-Reply-To: <1@b.example>\nList-Id: <l.b.example>",
    "Subject: nothing",
]


@pytest.mark.parametrize("header", ORDINARY)
def test_ordinary_mail_is_not_formal(header):
    assert kind(header) == ""


@pytest.mark.feature("F-AS-23")
def test_a_bounce_is_noted_with_its_kind_and_without_weight():
    notes = Notes()
    content = b"From: MAILER-DAEMON@b.example\r\nSubject: failure notice\r\n\r\nsorry\r\n"
    FormalCheck().inspect(build_view(parse(content), SpamOptions()), notes)
    assert notes.formal == "bounce"
    assert [(sign.name, sign.weight) for sign in notes.signs] == [("formal", 0.0)]


@pytest.mark.skipif(not BOUNCES.exists(), reason=f"no test material at {BOUNCES}")
def test_bounces_of_eighty_mail_systems_are_recognised():
    found = []
    with tarfile.open(BOUNCES) as archive:
        for member in archive:
            if "/sisimai/" in member.name and member.name.endswith(".eml") and "/not/" not in member.name:
                content = archive.extractfile(member).read()
                content = content.partition(b"\n")[2] if content.startswith(b"From ") else content
                found.append(bool(recognise(build_view(parse(content), SpamOptions()))[0]))
    assert len(found) > 300
    assert sum(found) >= RECALL * len(found)


@pytest.mark.parametrize("unit", ["undeliver", "virus ", "confirm ", "sent ", "message x", "re: "])
def test_long_subjects_and_bodies_are_read_in_bounded_steps(unit, cpu_seconds):
    with cpu_seconds(2):
        kind(f"From: mailer-daemon@b.example\nSubject: {unit * 20_000}", unit * 100_000)
