"""The receiving role: every limit at the limit, one beyond, and far over; and what content may look like."""

import pytest
from smtp_dialogue import OPENING, OPENING_CODES, cut, drive, serve_every_way, settings

from gatepost.smtp import content as content_module
from gatepost.smtp import replies, server_data
from gatepost.smtp import server as s
from gatepost.smtp.input import COMMAND_LIMIT
from gatepost.smtp.server import ServerSession
from gatepost.smtp.server_core import ERROR_LIMIT, FRUITLESS_LIMIT

MAIL = b"MAIL FROM:<a@example.com>\r\n"
RCPT = b"RCPT TO:<b@example.org>\r\n"
TRANSACTION = MAIL + RCPT + b"DATA\r\n"
FIX = s.LineFeedPolicy.FIX


def refusals(served):
    return [(event.stage.value, event.cause.value) for event in served.of(s.Refused)]


@pytest.mark.parametrize(("beyond", "code"), [(0, 250), (1, 552), (100_000, 552)])
def test_declared_size(beyond, code):
    served = serve_every_way(
        b"EHLO user\r\nMAIL FROM:<a@example.com> SIZE=%d\r\n" % (1000 + beyond), settings(size_limit=1000)
    )
    assert served.codes[-1] == code
    assert b"250-SIZE 1000\r\n" in served.output
    assert refusals(served) == ([] if code == 250 else [("mail", "message-size")])


@pytest.mark.parametrize(("size", "code"), [(1000, 250), (1001, 552), (1002, 552), (50_000, 552)])
def test_real_size(size, code):
    content = b"x" * (size - 2) + b"\r\n"
    served = serve_every_way(OPENING + content + b".\r\nNOOP\r\n", settings(size_limit=1000))
    assert served.codes == [*OPENING_CODES, code, 250]
    if code == 250:
        assert served.messages == [content]
    else:
        assert served.messages == []
        assert served.of(s.DataAborted) == [s.DataAborted(replies.MESSAGE_TOO_LARGE)]
        assert refusals(served) == [("data", "message-size")]


def test_size_counts_content_without_stuffed_dots():
    served = serve_every_way(OPENING + b"..\r\n" * 10 + b".\r\n", settings(size_limit=30))
    assert served.messages == [b".\r\n" * 10]


def test_session_bytes_by_declaration():
    given = settings(session_bytes_limit=1000)
    first = OPENING + b"x" * 598 + b"\r\n.\r\n"
    assert serve_every_way(first + b"MAIL FROM:<a@example.com> SIZE=400\r\n", given).codes[-2:] == [250, 250]
    over = serve_every_way(first + b"MAIL FROM:<a@example.com> SIZE=401\r\nNOOP\r\n", given)
    assert over.lines[-1] == "452 4.3.1 Too much data in this session"
    assert over.closed
    assert refusals(over) == [("mail", "session-size")]


def test_session_bytes_in_content():
    given = settings(session_bytes_limit=1000)
    first = OPENING + b"x" * 598 + b"\r\n.\r\n" + TRANSACTION
    at_limit = serve_every_way(first + b"y" * 398 + b"\r\n.\r\n" + MAIL, given)
    assert at_limit.codes[-3:] == [354, 250, 452]
    over = serve_every_way(first + b"y" * 399 + b"\r\n.\r\nNOOP\r\n", given)
    assert over.codes[-2:] == [354, 452]
    assert over.closed
    assert len(over.messages) == 1
    assert refusals(over) == [("data", "session-size")]


def test_messages_per_session():
    stream = b"EHLO user\r\n" + (TRANSACTION + b"x\r\n.\r\n") * 3 + MAIL + b"QUIT\r\n"
    served = serve_every_way(stream, settings(messages_limit=3))
    assert len(served.messages) == 3
    assert served.lines[-2:] == ["452 4.5.3 Too many messages in this session", "221 2.0.0 Closing connection"]
    assert refusals(served) == [("mail", "messages-per-session")]
    assert serve_every_way(stream, settings(messages_limit=4)).codes[-2:] == [250, 221]


def test_recipients_per_message():
    stream = b"EHLO user\r\n" + MAIL + RCPT * 5 + b"DATA\r\nx\r\n.\r\n"
    served = serve_every_way(stream, settings(recipients_limit=3))
    assert served.codes[7:] == [250, 250, 250, 452, 452, 354, 250]
    assert served.lines[10] == "452 4.5.3 Too many recipients"
    assert refusals(served) == [("rcpt", "recipients")] * 2
    assert len(served.of(s.RcptTo)) == 3


def test_recipients_are_counted_per_message():
    one = MAIL + RCPT * 3 + b"DATA\r\nx\r\n.\r\n"
    served = serve_every_way(b"EHLO user\r\n" + one + MAIL + RCPT * 2 + b"RSET\r\n" + one, settings(recipients_limit=3))
    assert 452 not in served.codes
    assert len(served.messages) == 2


@pytest.mark.parametrize(("fields", "code"), [(20, 250), (21, 554), (500, 554)])
def test_hops(fields, code):
    content = b"Received: from x\r\n" * fields + b"Subject: x\r\n\r\nReceived: in the body\r\n"
    served = serve_every_way(OPENING + content + b".\r\nNOOP\r\n")
    assert served.codes == [*OPENING_CODES, code, 250]
    if code == 250:
        assert served.of(s.DataEnd)[0].received_fields == fields
    else:
        assert served.messages == []
        assert refusals(served) == [("data", "hops")]
        assert b"554 5.4.6 " in served.output


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (b"Received: a\r\nRECEIVED: b\r\nreceived : c\r\nReceived-SPF: d\r\nX-Received: e\r\n\r\n", 3),
        (b"\r\nReceived: a\r\n", 0),
        (b"Subject: a\r\n Received: folded\r\n\r\n", 0),
        (b"Received: a", 1),
        (b"", 0),
    ],
)
def test_which_fields_are_hops(content, count):
    served = serve_every_way(OPENING + content + (b"\r\n" if content else b"") + b".\r\n")
    assert served.of(s.DataEnd)[0].received_fields == count


def test_the_body_has_no_hops_in_whatever_piece_it_comes():
    session = ServerSession(settings(), "192.0.2.1")
    body = b"Received: not a field\r\n" * 30
    served = drive(session, [OPENING, b"Received: x\r\n\r\n", body + b"half a", b" line\r\n" + body, b".\r\n"])
    assert served.of(s.DataEnd)[0].received_fields == 1


def test_flags_of_content():
    def flags(content):
        end = serve_every_way(OPENING + content + b".\r\n", settings(bare_line_feed=FIX)).of(s.DataEnd)[0]
        return end.fixed, end.nul, end.long_line, end.eight_bit

    assert flags(b"plain\r\n") == (False, False, False, False)
    assert flags(b"bare\nline\r\n") == (True, False, False, False)
    assert flags(b"nul\0\r\n") == (False, True, False, False)
    assert flags("ä\r\n".encode()) == (False, False, False, True)
    assert flags(b"a\r\n" * 400 + b"x" * 998 + b"\r\n" + b"b\r\n" * 400) == (False, False, False, False)
    assert flags(b"a\r\n" * 400 + b"x" * 999 + b"\r\n" + b"b\r\n" * 400) == (False, False, True, False)


@pytest.mark.feature("F-SMTP-05")
def test_every_byte_value_passes_unchanged():
    content = bytes(b for b in range(256) if b not in b"\r\n") * 3 + b"\r\n"
    served = serve_every_way(
        b"EHLO user\r\nMAIL FROM:<a@example.com> BODY=8BITMIME\r\n" + RCPT + b"DATA\r\n" + content + b".\r\n"
    )
    assert served.messages == [content]


@pytest.mark.parametrize("content", [b"", b"..\r\n", b"..x\r\n...\r\n", b"x\r\n..\r\n", b"\r\n\r\n"])
def test_dots_are_unstuffed(content):
    served = serve_every_way(OPENING + content + b".\r\nNOOP\r\n")
    assert served.messages == [content.replace(b"\r\n.", b"\r\n").removeprefix(b".")]
    assert served.codes[-2:] == [250, 250]


@pytest.mark.parametrize("length", [COMMAND_LIMIT - 1, COMMAND_LIMIT, COMMAND_LIMIT + 1, 100_000])
def test_command_line_length(length):
    served = serve_every_way(b"NOOP " + b"x" * (length - 7) + b"\r\nNOOP\r\n")
    assert served.codes == [250 if length <= COMMAND_LIMIT else 500, 250]


def test_endless_command_line_is_not_kept():
    session = ServerSession(settings(), "192.0.2.1")
    served = drive(session, [b"x" * 65536] * 100)
    assert served.codes == [500]
    assert len(session._input._bytes) <= 65536
    assert drive(session, [b"\r\nNOOP\r\n"]).codes == [250]


def test_too_many_errors_close():
    served = serve_every_way(b"EHLO user\r\n" + b"FOO\r\n" * (ERROR_LIMIT + 5))
    assert served.codes[6:] == [500] * ERROR_LIMIT + [421]
    assert served.lines[-1].startswith("421 4.7.0 ")
    assert served.closed


def test_accepted_message_forgives_errors_and_refused_batch_is_none():
    noise = b"FOO\r\n" * (ERROR_LIMIT - 1)
    served = serve_every_way(OPENING.replace(b"MAIL", noise + b"MAIL") + b"x\r\n.\r\n" + noise + b"QUIT\r\n")
    assert served.codes[-1] == 221
    batch = b"EHLO user\r\n" + MAIL + RCPT * 100 + b"DATA\r\n" + b"QUIT\r\n"
    refused = serve_every_way(batch, decide=lambda e: replies.NO_RESOURCES if isinstance(e, s.MailFrom) else None)
    assert refused.codes[6:] == [452] + [503] * 101 + [221]


@pytest.mark.parametrize("line", [b"NOOP", b"HELP", b"VRFY a", b"RSET", b"EHLO again", b"HELO again"])
def test_a_session_does_not_live_on_commands_that_bring_no_mail(line):
    allowed = FRUITLESS_LIMIT + 5  # the first EHLO is one of them
    given = settings(recipients_limit=5)
    at_limit = drive(ServerSession(given, "192.0.2.1"), [b"EHLO user\r\n" + (line + b"\r\n") * allowed])
    assert not at_limit.closed
    served = drive(ServerSession(given, "192.0.2.1"), [b"EHLO user\r\n" + (line + b"\r\n") * 10_000])
    assert served.lines[-1].endswith("Too many commands without mail, closing connection")
    assert served.codes[-1] == 421
    assert served.closed
    assert len([code for code in served.codes if code == 421]) == 1
    assert refusals(served) == [("helo", "fruitless")]


def test_refused_recipients_and_senders_are_bounded_and_mail_forgives_them():
    given = settings(recipients_limit=50)

    def refuse(event):
        address = event.recipient.address if isinstance(event, s.RcptTo) else getattr(event, "address", "")
        return replies.NOT_TRUSTED if address.startswith("no") else None

    opening = b"EHLO user\r\n" + MAIL
    guess = b"RCPT TO:<no@example.org>\r\n"
    guesses = drive(ServerSession(given, "192.0.2.1"), [opening + guess * 10_000], refuse)
    assert guesses.codes.count(550) == FRUITLESS_LIMIT + 50  # and the EHLO
    assert guesses.codes[-1] == 421
    senders = drive(ServerSession(given, "192.0.2.1"), [b"EHLO user\r\n" + b"MAIL FROM:<no@a.b>\r\n" * 10_000], refuse)
    assert senders.codes.count(550) == FRUITLESS_LIMIT + 50
    behind = drive(ServerSession(given, "192.0.2.1"), [b"EHLO user\r\nMAIL FROM:<no@a.b>\r\n" + RCPT * 10_000], refuse)
    assert behind.codes[-1] == 421
    good = MAIL + guess * 100 + RCPT + b"DATA\r\nx\r\n.\r\n"
    many = drive(ServerSession(given, "192.0.2.1"), [b"EHLO user\r\n" + good * 20], refuse)
    assert len(many.messages) == 20
    assert not many.closed


def test_content_passes_through_without_being_kept():
    session = ServerSession(settings(size_limit=1 << 30, session_bytes_limit=1 << 30), "192.0.2.1")
    header = b"Received: x" + b"y" * (10 << 20) + b"\r\n"
    served = drive(session, [OPENING, *cut(header, 65536)])
    assert served.largest_chunk <= 65536 + 8
    assert len(session._input._bytes) == 0
    end = drive(session, [b"\r\n.\r\n"]).of(s.DataEnd)[0]
    assert (end.size, end.received_fields, end.long_line) == (len(header) + 2, 1, True)


def test_refused_content_is_swallowed_only_so_far(monkeypatch):
    monkeypatch.setattr(server_data, "SWALLOW_LIMIT", 10_000)
    session = ServerSession(settings(size_limit=100), "192.0.2.1")
    served = drive(session, [OPENING, *[b"x" * 1000] * 20])
    assert served.codes[-1] == 552
    assert served.closed


def test_what_is_wrong_first_decides():
    bad = b"x" * 50 + b"\n" + b"y" * 100 + b"\r\n.\r\n"
    assert serve_every_way(OPENING + bad, settings(size_limit=100)).codes[-1] == 550
    assert serve_every_way(OPENING + bad, settings(size_limit=40)).codes[-1] == 552
    assert serve_every_way(OPENING + b"Received: a\r\n" * 3 + bad, settings(hops_limit=2)).codes[-1] == 554


def test_line_limit_is_the_standards():
    assert content_module.LINE_LIMIT == 998 + 2
