"""Notifications as messages, who gets them, and what a hostile filter may say of places for text."""

import email
import email.policy

import msgspec
import pytest

from gatepost.config.load import load_text
from gatepost.filter.dialogue import check_analysis
from gatepost.filter.hostile import HostileAnswer
from gatepost.model.envelope import Client, Direction, Envelope, Recipient
from gatepost.model.finding import Analysis, ObjectStatus, TextSpot
from gatepost.model.verdict import Verdict
from gatepost.notices.facts import MessageFacts
from gatepost.notices.group import GroupTexts, Role
from gatepost.notices.notification import SUBJECT_LIMIT, Letter, build_notice, build_subject
from gatepost.notices.template import parse_template
from gatepost.policy.group import GroupPolicy, GroupTable
from gatepost.relay.editing import Subject
from gatepost.relay.notifying import plan_roles
from gatepost.spool.interface import ContentRef, State, Stored

CONFIG = """
[network]
hostname = "gw.example.org"
[policy]
notify_admin = "all"
notify_sender = "all"
notify_recipient = "all"
admin_notify_address = ["admin@example.org"]
"""
FACTS = MessageFacts(
    hostname="gw.example.org", now=1_767_268_800.0, subject="Prices\r\nBcc: x@y.example", action="blocked"
)


def policy(text: str = CONFIG) -> GroupPolicy:
    config = load_text(text, "x.toml").config
    assert config is not None
    return GroupTable.from_config(config.groups, config.ave, 60.0).groups[-1]


def letter(role: Role, *to: str) -> Letter:
    return Letter(role=role, to=to or ("a@example.org",), hostname="gw.example.org", message_id="<1@gw>", now=1.0)


def build(texts: GroupTexts, role: Role = Role.ADMIN, header: bytes = b"", original: bytes | None = None) -> bytes:
    return build_notice(letter(role), texts, FACTS, (), header, original)


@pytest.mark.parametrize("role", list(Role))
def test_what_strangers_wrote_cannot_add_fields(role):
    raw = build(policy().texts, role, b"Message-ID: <a@b>\r\n")
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert message["Bcc"] is None
    assert message["References"] == message["In-Reply-To"] == "<a@b>"
    assert message["X-Gatepost-Notice"] == role.value
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "original", [b"", b"Subject: x\r\n\r\nhi", b"\xff\xfe\r\n" * 3, b"--=_\r\n--=_--\r\n", b"no header end"]
)
def test_an_original_is_attached_byte_for_byte(original):
    raw = build(policy().texts, original=original)
    assert b"\r\n\r\n" + original + b"\r\n--=_" in raw
    assert raw.isascii() == original.isascii()


@pytest.mark.parametrize(
    "text", ["plain", "Отчёт " * 30, "=?utf-8?q?already?=", "a" * 3000, "line\r\nX: y", "", "\ud800"]
)
def test_subjects(text):
    field = build_subject(text)
    assert field.isascii()
    assert field.endswith("\r\n")
    message = email.message_from_string(field + "\r\n", policy=email.policy.default)
    assert list(message.keys()) == ["Subject"]
    assert len(message["Subject"].strip().encode()) <= SUBJECT_LIMIT
    assert message["Subject"].strip()[:5] == " ".join(text.replace("\ud800", " ").split())[:5]


def test_a_template_without_text_still_says_something():
    empty = policy().texts
    texts = msgspec.structs.replace(empty, templates=dict.fromkeys(Role, parse_template(b"# nothing\n")))
    raw = build(texts)
    assert b"has found something" in raw
    assert b"Subject: Notification of the mail gateway\r\n" in raw


def subject(
    sender: str = "s@example.net", direction: Direction = Direction.OUTBOUND, user: str = "", listed: bool = True
) -> Subject:
    envelope = Envelope(
        sender,
        (Recipient("a@example.org"), Recipient("b@example.org")),
        Client("192.0.2.1", user=user),
        direction=direction,
    )
    stored = Stored(1, 1, State.WAITING, 0.0, envelope, ContentRef(1, 1, False), b"")
    status = ObjectStatus.INFECTED if listed else ObjectStatus.CLEAN
    return Subject(stored, 1, policy(), ("a@example.org",), Verdict("policy", (status,)))


def roles(what: Subject, header: bytes = b"", *, everybody: bool = False) -> str:
    return "".join(role.value[0] for role in plan_roles(what, header, everybody=everybody))


@pytest.mark.parametrize(
    ("what", "header", "everybody", "told"),
    [
        (subject(), b"", False, "ars"),
        (subject(direction=Direction.INTERNAL), b"", False, "ars"),
        (subject(direction=Direction.INBOUND), b"", False, "ar"),
        (subject(direction=Direction.INBOUND, user="u"), b"", False, "ars"),
        (subject(direction=Direction.INBOUND), b"", True, "ars"),
        (subject(sender=""), b"", True, "ar"),
        (subject(), b"Auto-Submitted: auto-replied\r\n", True, "ar"),
        (subject(), b"auto-submitted: no\r\n", False, "ars"),
        (subject(), b"Precedence: bulk\r\n", False, "ar"),
        (subject(), b"Subject: x\r\nList-Id: <l>\r\n", False, "ar"),
        (subject(listed=False), b"", False, ""),
        # a notification that comes back through our own people
        (subject(sender=""), b"X-Gatepost-Notice: admin\r\n", False, ""),
        # a stranger who writes the mark into his mail keeps nobody from being warned
        (subject(direction=Direction.INBOUND), b"X-Gatepost-Notice: admin\r\n", True, "ars"),
        (subject(direction=Direction.INBOUND, sender=""), b"X-Gatepost-Notice: admin\r\n", True, "a"),
    ],
)
def test_who_hears_of_it(what, header, everybody, told):
    assert "".join(sorted(roles(what, header, everybody=everybody))) == told


@pytest.mark.parametrize(
    "bad",
    [
        {"spots": (TextSpot(0, 11),)},
        {"spots": (TextSpot(5, 4),)},
        {"spots": (TextSpot(5, 6), TextSpot(5, 6))},
        {"spots": (TextSpot(0, 0),) * 17},
        {"spots": (TextSpot(5, 5, fields=((6, 7, b""),)),)},
        {"spots": (TextSpot(5, 5, fields=((3, 4, b""), (1, 2, b""))),)},
        {"spots": (TextSpot(5, 5, fields=((0, 0, b""),) * 5),)},
        {"spots": (TextSpot(5, 5, before=b"x" * 100_000),)},
        {"spots": (TextSpot(5, 5, charset="x" * 2000),)},
        {"signatures": ("dkim", "other")},
    ],
)
def test_places_that_no_sound_filter_names(bad):
    check_analysis(Analysis((), spots=(TextSpot(5, 5, fields=((0, 2, b"x"),)),), signatures=("dkim",)), 10)
    with pytest.raises(HostileAnswer):
        check_analysis(Analysis((), **bad), 10)
