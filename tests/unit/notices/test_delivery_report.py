"""Delivery status reports: read back with the standard library and held against RFC 3464."""

import email
import email.policy
import email.utils
import itertools
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model.envelope import Client, Envelope, Notify, Recipient, Ret
from gatepost.model.reply import reply
from gatepost.notices.dsn import Original, build_report, decide_report
from gatepost.notices.original import HEADER_LIMIT
from gatepost.notices.outcome import Outcome, ReportKind, parse_outcome, resolve_status
from gatepost.notices.template import parse_template, shipped_template

HEADER = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: a@b.example\r\nMessage-ID: <m1@b.example>\r\n"
CONTENT = HEADER + b"\r\nsecret body line\r\n.\r\n"
PREFIX = b"Received: from x by gw.example\r\n"
RECIPIENT = Recipient("user@c.example", (), "rfc822;u+2Bser@c.example")
TEMPLATE = shipped_template("dsn")
NOW = 1_700_000_000.0


def envelope(sender="a@b.example", recipients=(RECIPIENT,), **more):
    return Envelope(sender, recipients, Client("192.0.2.1", helo="client.example"), **more)


def original(content=CONTENT, **more):
    more.setdefault("envelope", envelope(envid="QQ+3D314"))
    return Original(queue_id="01ABCDEFGHJKM", content=content, received_at=NOW - 3600, prefix=PREFIX, **more)


FAILED = Outcome(recipient=RECIPIENT, reply=reply(550, "5.1.1", "No such", "user"), server="mx.c.example", at=NOW - 5)


def build(kind=ReportKind.FAILED, source=None, outcomes=(FAILED,), *, template=TEMPLATE, raw=False, **more):
    report = build_report(
        kind,
        source or original(),
        outcomes,
        template=template,
        hostname="gw.example",
        message_id="<r1@gw.example>",
        now=NOW,
        **more,
    )
    assert b"\n" not in report.replace(b"\r\n", b"")
    assert b"\r" not in report.replace(b"\r\n", b"")
    return report if raw else email.message_from_bytes(report, policy=email.policy.default)


def status_blocks(message):
    part = message.get_payload(1)
    if part.get_content_type() == "message/delivery-status":
        return part.get_payload()
    # The library knows this type as a message: the first block is its header, the others are its text.
    first = part.get_payload(0)
    rest = re.split(r"\r?\n\r?\n", first.get_payload().strip())
    return [first, *(email.message_from_string(block, policy=email.policy.default) for block in rest)]


def test_a_failure_report_parses_as_rfc_3464():
    message = build()
    assert not message.defects
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@gw.example>"
    assert message["To"] == "a@b.example"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["MIME-Version"] == "1.0"
    assert message["Message-ID"] == "<r1@gw.example>"
    assert message["In-Reply-To"] == message["References"] == "<m1@b.example>"
    assert email.utils.parsedate_to_datetime(message["Date"]).timestamp() == NOW
    text, status, returned = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert returned.get_content_type() == "text/rfc822-headers"
    shown = text.get_content()
    for words in ("could not be delivered", "<user@c.example>", "550 5.1.1 No such user", "Grüße", "01ABCDEFGHJKM"):
        assert words in shown

    of_message, of_recipient = status_blocks(message)
    assert of_message["Original-Envelope-Id"] == "QQ=314"
    assert of_message["Reporting-MTA"] == "dns; gw.example"
    assert email.utils.parsedate_to_datetime(of_message["Arrival-Date"]).timestamp() == NOW - 3600
    assert of_recipient["Original-Recipient"] == "rfc822; u+ser@c.example"
    assert of_recipient["Final-Recipient"] == "rfc822; user@c.example"
    assert of_recipient["Action"] == "failed"
    assert of_recipient["Status"] == "5.1.1"
    assert of_recipient["Remote-MTA"] == "dns; mx.c.example"
    assert of_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 No such user"
    assert email.utils.parsedate_to_datetime(of_recipient["Last-Attempt-Date"]).timestamp() == NOW - 5
    assert "Will-Retry-Until" not in of_recipient


def test_every_recipient_has_its_block():
    others = [
        Outcome(recipient=Recipient(f"u{i}@c.example"), trouble="host not found", status="5.1.2") for i in range(9)
    ]
    message = build(outcomes=[FAILED, *others])
    blocks = status_blocks(message)[1:]
    assert [b["Final-Recipient"] for b in blocks] == [
        "rfc822; user@c.example",
        *(f"rfc822; u{i}@c.example" for i in range(9)),
    ]
    assert blocks[1]["Status"] == "5.1.2"
    assert blocks[1]["Diagnostic-Code"] == "X-Gatepost; host not found"
    assert "Original-Recipient" not in blocks[1]
    assert "Remote-MTA" not in blocks[1]
    assert "u8@c.example" in message.get_payload(0).get_content()


def test_a_delay_says_until_when():
    waiting = parse_outcome(RECIPIENT, "450 4.2.0 busy", server="mx.c.example", at=NOW)
    message = build(ReportKind.DELAYED, outcomes=(waiting,), until=NOW + 86400, entire=True)
    block = status_blocks(message)[1]
    assert (block["Action"], block["Status"]) == ("delayed", "4.2.0")
    assert email.utils.parsedate_to_datetime(block["Will-Retry-Until"]).timestamp() == NOW + 86400
    assert "do not need" in message.get_payload(0).get_content()
    assert message.get_payload(2).get_content_type() == "text/rfc822-headers"


def test_a_relayed_report():
    done = Outcome(recipient=RECIPIENT, reply=reply(250, "2.0.0", "OK"), server="mx.c.example")
    message = build(ReportKind.RELAYED, outcomes=(done,))
    block = status_blocks(message)[1]
    assert (block["Action"], block["Status"]) == ("relayed", "2.1.9")


@pytest.mark.feature("F-DSN-05")
@pytest.mark.parametrize(
    ("ret", "entire", "whole"),
    [
        (None, False, False),
        (None, True, True),
        (Ret.FULL, False, True),
        (Ret.FULL, True, True),
        (Ret.HEADERS, False, False),
        (Ret.HEADERS, True, False),
    ],
)
def test_the_third_part_is_the_header_or_the_whole_message(ret, entire, whole):
    report = build(source=original(envelope=envelope(ret=ret)), entire=entire, raw=True)
    returned = email.message_from_bytes(report, policy=email.policy.default).get_payload(2)
    assert (b"secret body line" in report) is whole
    if whole:
        assert returned.get_content_type() == "message/rfc822"
        assert PREFIX + CONTENT in report
    else:
        assert returned.get_content_type() == "text/rfc822-headers"
        assert returned.get_payload(decode=True).startswith(PREFIX + HEADER)


@pytest.mark.parametrize("octets", [b"a\0b\r\n", b"bare\nline\r\n", b"bare\rreturn\r\n", bytes(range(256)) * 300])
def test_an_original_that_is_no_lines_is_returned_as_data(octets):
    """BINARYMIME: a report that is binary itself would go to few servers."""
    content = b"Subject: binary\r\n\r\n" + octets
    report = build(source=original(content), entire=True, raw=True)
    assert report.isascii()
    assert b"\0" not in report
    assert not any(b"\r" in line or b"\n" in line or len(line) > 998 for line in report.split(b"\r\n"))
    returned = email.message_from_bytes(report, policy=email.policy.default).get_payload(2)
    assert returned.get_content_type() == "application/octet-stream"
    assert returned.get_payload(decode=True) == PREFIX + content


def test_only_a_whole_8_bit_original_makes_the_report_8_bit():
    content = "Subject: Grüße\r\n\r\ndéjà\r\n".encode()
    header_only = build(source=original(content), raw=True)
    assert header_only.isascii()
    returned = email.message_from_bytes(header_only).get_payload(2)
    assert "Subject: Grüße\r\n".encode() in returned.get_payload(decode=True)
    whole = build(source=original(content), entire=True, raw=True)
    parsed = email.message_from_bytes(whole)
    assert content in whole
    assert parsed["Content-Transfer-Encoding"] == "8bit"
    assert parsed.get_payload(2)["Content-Transfer-Encoding"] == "8bit"


@pytest.mark.parametrize(
    "content",
    [
        b"X-Long: " + b"x" * 10_000_000 + b"\r\n\r\nbody",
        b"X-Many: y\r\n" * 900_000 + b"\r\nbody",
        b"\xff" * 1_000_000,
    ],
    ids=["one line", "many lines", "no header at all"],
)
def test_a_hostile_header_is_cut_with_a_note(content):
    report = build(source=original(content), raw=True)
    assert len(report) < 5 * HEADER_LIMIT
    assert max(map(len, report.split(b"\r\n"))) <= 998
    returned = email.message_from_bytes(report).get_payload(2).get_payload(decode=True)
    assert b"the rest of this header was left out" in returned[-200:]


def test_a_hostile_first_line_is_cut_too():
    source = msgspec.structs.replace(original(b"X: " + b"x" * 1_000_000), prefix=b"")
    returned = build(source=source).get_payload(2).get_payload(decode=True)
    assert returned.startswith(b"X: xxx")
    assert returned.count(b"\r\n") == 2


def test_odd_headers_stay_harmless():
    for content in (b"", b"\r\n", b"\r\nbody only\r\n", b"Subject: x", b"A: b\r\rC: d\n\n\nbody", b"A:\x00\r\n\r\n"):
        report = build(source=original(content), raw=True)
        assert b"body" not in report
        assert b"\x00" not in report


def test_nothing_a_stranger_wrote_can_end_its_field():
    evil = "x\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; v@x.example\u2028é"
    recipient = Recipient("é" + evil, (), "rfc822;a+0D+0AAction:+20delivered+0D+0A+E9@x")
    outcome = Outcome(recipient=recipient, reply=reply(550, "5.0.0", evil), server=evil, at=NOW)
    ascii_evil = evil.encode("ascii", "ignore").decode()
    source = original(envelope=envelope(ascii_evil, (recipient,), envid="e+0D+0AAction:+20delivered"))
    message = build(source=source, outcomes=(outcome,))
    blocks = status_blocks(message)
    assert len(blocks) == 2
    assert blocks[1].get_all("Action") == ["failed"]
    assert "Action" not in blocks[0]
    assert "Action" not in message
    assert blocks[1]["Final-Recipient"].startswith("utf-8; \\x{E9}x")
    assert len(message.get_payload()) == 3


@pytest.mark.parametrize("lines", [["word " * 100] * 100, ["z" * 5000]], ids=["words", "one word"])
def test_long_replies_are_bounded_and_folded(lines):
    outcome = Outcome(recipient=RECIPIENT, reply=reply(550, "", *lines))
    report = build(outcomes=(outcome,), raw=True)
    assert max(map(len, report.split(b"\r\n"))) <= 998
    assert len(report) < 20_000


def test_the_boundary_occurs_nowhere_else():
    first = build(entire=True, raw=True)
    boundary = re.search(rb'boundary="([^"]+)"', first)[1]
    second = build(source=original(CONTENT + b"--" + boundary + b"--\r\n"), entire=True, raw=True)
    other = re.search(rb'boundary="([^"]+)"', second)[1]
    assert other != boundary
    assert second.count(b"--" + other) == 4


def test_the_text_comes_from_the_template():
    template = parse_template('ä <FOR DSN_RCPT == "*">%DSN_RCPT%=%DSN_STATUS%/%DSN_ACTION% </FOR>'.encode())
    message = build(template=template)
    assert message.get_payload(0).get_content() == "ä user@c.example=5.1.1/failed "


@pytest.mark.parametrize(
    ("kind", "said", "status"),
    [
        (ReportKind.FAILED, "550 5.7.1 denied", "5.7.1"),
        (ReportKind.FAILED, "550 4.7.1 odd", "5.7.1"),
        (ReportKind.FAILED, "550 no code", "5.0.0"),
        (ReportKind.FAILED, "553 no code", "5.1.3"),
        (ReportKind.FAILED, "599", "5.0.0"),
        (ReportKind.FAILED, "451 4.7.1 greylisted for five days", "4.7.1"),
        (ReportKind.FAILED, "connection refused", "5.0.0"),
        (ReportKind.FAILED, "", "5.0.0"),
        (ReportKind.DELAYED, "connection refused", "4.0.0"),
        (ReportKind.DELAYED, "452 full", "4.3.1"),
        (ReportKind.RELAYED, "250 2.1.5 ok", "2.1.9"),
    ],
)
def test_status_codes(kind, said, status):
    assert resolve_status(kind, parse_outcome(RECIPIENT, said)) == status


def expected_report(notify, kind, *, peer_reports, on_relaying):
    if Notify.NEVER in notify:
        return False
    if kind is ReportKind.FAILED:
        return notify in {(), (Notify.FAILURE,)}
    if kind is ReportKind.DELAYED:
        return notify in {(), (Notify.DELAY,)}
    return on_relaying or (notify == (Notify.SUCCESS,) and not peer_reports)


def test_who_gets_a_report():
    wishes = [(), *((wish,) for wish in Notify)]
    for notify, kind, peer, always in itertools.product(wishes, ReportKind, (False, True), (False, True)):
        recipient = Recipient("u@c.example", notify)
        settings = {"peer_reports": peer, "dsn_on_relaying": always}
        decided = decide_report(envelope(), recipient, kind, **settings)
        assert decided is expected_report(notify, kind, peer_reports=peer, on_relaying=always), (
            notify,
            kind,
            peer,
            always,
        )
        assert not decide_report(envelope(""), recipient, kind, **settings)
        assert not decide_report(envelope(), recipient, kind, **settings, generated=True)


def test_a_sender_beyond_ascii_gets_the_international_form():
    recipient = Recipient("emp\u00e4nger@c.example")
    outcome = Outcome(recipient=recipient, reply=reply(550, "5.1.1", "no"))
    source = original(envelope=envelope("j\u00fcrgen@b.example", (recipient,)))
    report = build(source=source, outcomes=(outcome,), raw=True)
    assert "To: <j\u00fcrgen@b.example>\r\n".encode() in report
    assert b"Content-Type: message/global-delivery-status" in report
    assert "Final-Recipient: utf-8; emp\u00e4nger@c.example\r\n".encode() in report
    to_ascii = build(source=original(envelope=envelope("a@b.example", (recipient,))), outcomes=(outcome,), raw=True)
    assert to_ascii.isascii()
    assert rb"Final-Recipient: utf-8; emp\x{E4}nger@c.example" in to_ascii


TEXTS = st.text(max_size=40)


@given(st.binary(max_size=300), st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), st.sampled_from(ReportKind), st.booleans())
def test_any_input_gives_a_well_formed_report(header, texts, kind, entire):
    sender, address, orcpt, said = texts
    recipient = Recipient(address, (), orcpt)
    source = original(
        b"X: y\r\n" + re.sub(rb"[\r\n]", b"", header) + b"\r\n\r\nbody\r\n", envelope=envelope(sender, (recipient,))
    )
    message = build(kind, source, (parse_outcome(recipient, said, server=said, at=NOW),), entire=entire, until=NOW)
    assert len(message.get_payload()) == 3
    blocks = status_blocks(message)
    assert len(blocks) == 2
    assert blocks[1]["Action"] == kind.value
    assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", blocks[1]["Status"])
