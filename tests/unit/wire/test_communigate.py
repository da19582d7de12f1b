"""The helper protocol's lines, queue files, and files handed in."""

import pytest

from gatepost.wire import communigate
from gatepost.wire.communigate import (
    LINE_LIMIT,
    Answer,
    Command,
    HelperRequest,
    build_answer,
    build_interface,
    build_note,
    build_submission,
    parse_queue_file,
    parse_request,
    strip_commands,
)

QUEUED = (
    b"P I 22-10-2001_20:40:02 0000 ____ ____ <s@example.net>\n"
    b"O T\n"
    b"S <ann@example.org> SMTP [192.0.2.7]\n"
    b"R W 22-10-2001_20:40:02 0000 ____ _FY_ <a@example.org>\n"
    b"R W 22-10-2001_20:40:02 0000 ____ _FY_ <b@example.org>\n"
    b"\n"
    b"Subject: x\n\nbody\n"
)


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("00001 INTF 3", HelperRequest("00001", Command.INTERFACE, "3")),
        ("7 file Queue/12-3.msg", HelperRequest("7", Command.FILE, "Queue/12-3.msg")),
        ('8 FILE "Queue/a b\\"c.msg" MORE', HelperRequest("8", Command.FILE, 'Queue/a b"c.msg')),
        ("9 QUIT\r", HelperRequest("9", Command.QUIT)),
        ("10 DANCE now", HelperRequest("10", None, "now")),
        ("", None),
        ("QUIT", None),
    ],
)
def test_requests(line: str, request_: HelperRequest | None) -> None:
    assert parse_request(line) == request_


def test_answers() -> None:
    assert build_answer("7", Answer.OK) == "7 OK\n"
    assert build_answer("7", Answer.ERROR, 'say "no"\r\n8 OK \\ é') == '7 ERROR "say \\"no\\"??8 OK \\\\ ?"\n'
    assert len(build_answer("7", Answer.ERROR, '"' * 99_999)) < LINE_LIMIT
    assert build_note("a\nb") == "* a?b\n"


@pytest.mark.parametrize(("theirs", "ours"), [("3", 3), ("9", 3), ("2", 2), ("", 3), ("0", 1)])
def test_the_lower_version_is_spoken(theirs: str, ours: int) -> None:
    assert build_interface("1", theirs) == f"1 INTF {ours}\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_queue_files(end: bytes) -> None:
    queued = QUEUED.replace(b"\n", end)
    envelope = parse_queue_file(queued)
    assert envelope is not None
    assert (envelope.sender, envelope.recipients) == ("s@example.net", ("a@example.org", "b@example.org"))
    assert (envelope.transport, envelope.client_ip, envelope.user) == ("SMTP", "192.0.2.7", "ann@example.org")
    assert queued[envelope.size :].startswith(b"Subject")


def test_sources() -> None:
    for source, found in (
        (b"S SMTP [2001:db8::1]", ("SMTP", "2001:db8::1", "")),
        (b"S PIPE", ("PIPE", "", "")),
        (b"S <u@d> HTTPU [192.0.2.1]", ("HTTPU", "192.0.2.1", "u@d")),
        (b"X y", ("", "", "")),
    ):
        envelope = parse_queue_file(b"P x <>\n" + source + b"\nR x <a@b>\n\n")
        assert envelope is not None
        assert envelope.sender == ""
        assert (envelope.transport, envelope.client_ip, envelope.user) == found


def test_queue_files_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_queue_file(QUEUED[:60]) is None
    with pytest.raises(ValueError, match="envelope"):
        parse_queue_file(b"Subject: x\n\nbody")
    monkeypatch.setattr(communigate, "ENVELOPE_LIMIT", 99)
    assert parse_queue_file(b"R x <a@b>\n" * 9) is None
    with pytest.raises(ValueError, match="end"):
        parse_queue_file(b"R x <a@b>\n" * 10)


def test_handing_in() -> None:
    head = build_submission("", ("a@b", "c@d"), [("X-Mark", "1")])
    assert head == b"Return-Path: <>\nEnvelope-To: <a@b>\nEnvelope-To: <c@d>\nX-Mark: 1\n"
    for address in ("a>\n@b", "a>, <c@d", "<"):
        with pytest.raises(ValueError, match="cannot be written"):
            build_submission("", (address,), [])


def test_no_field_of_a_message_commands_the_server() -> None:
    header = (
        b"Subject: Bcc: x\nenvelope-to: <v@example.com>,\n <w@example.com>\nReturn-Path: <z>\nTo: a\n Envelope-To: b\n"
        b"BCC : c\nEnvelope-Ignore: d\nX-Envelope-To: e\nLast: 1"
    )
    assert strip_commands(header) == (b"Subject: Bcc: x\nTo: a\n Envelope-To: b\nX-Envelope-To: e\nLast: 1\n")
    assert strip_commands(b"A: 1") == b"A: 1"
