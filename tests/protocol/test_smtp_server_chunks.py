"""The receiving role: content by BDAT, whole and refused; binary content."""

import pytest
from smtp_dialogue import accept_all, drive, serve_every_way, settings

from gatepost.model.envelope import Body
from gatepost.model.reply import reply
from gatepost.smtp import replies, server_data
from gatepost.smtp import server as s
from gatepost.smtp.server_core import ERROR_LIMIT

EHLO = b"EHLO user\r\n"
MAIL = b"MAIL FROM:<a@example.com>\r\n"
BINARY = b"MAIL FROM:<a@example.com> BODY=BINARYMIME\r\n"
RCPT = b"RCPT TO:<b@example.org>\r\n"
GIVEN = settings(chunking=True, binarymime=True, bare_line_feed=s.LineFeedPolicy.REJECT)
FIX = settings(chunking=True, bare_line_feed=s.LineFeedPolicy.FIX)


def bdat(*chunks: bytes) -> bytes:
    """Return the chunks as commands, the last with LAST."""
    written = [b"BDAT %d\r\n" % len(chunk) + chunk for chunk in chunks[:-1]]
    return b"".join([*written, b"BDAT %d LAST\r\n" % len(chunks[-1]), chunks[-1]])


def served(stream, given=GIVEN, decide=accept_all):
    """Serve behind an EHLO; the codes are those of what follows it."""
    found = serve_every_way(EHLO + stream, given, decide)
    return found, found.codes[found.lines.index("250 DSN") + 1 :]


def test_content_in_chunks():
    found, codes = served(MAIL + RCPT + bdat(b"Subject: x\r\n", b"\r\n.\r\nMAIL FROM:<x@y>\r\n..", b"") + b"NOOP\r\n")
    assert codes == [250, 250, 250, 250, 250, 250]
    assert found.lines[10:13] == ["250 2.0.0 12 octets received", "250 2.0.0 24 octets received", "250 2.0.0 OK"]
    assert found.messages == [b"Subject: x\r\n\r\n.\r\nMAIL FROM:<x@y>\r\n.."]
    assert [type(event) for event in found.events] == [s.Hello, s.MailFrom, s.RcptTo, s.DataBegin, s.DataEnd]
    end = found.of(s.DataEnd)[0]
    assert (end.size, end.binary) == (36, False)


def test_one_chunk_and_several_messages():
    found, codes = served((MAIL + RCPT + bdat(b"x\r\n")) * 2 + MAIL + RCPT + b"DATA\r\n.x\r\n.\r\n")
    assert codes == [250] * 8 + [354, 250]
    assert found.messages == [b"x\r\n", b"x\r\n", b"x\r\n"]


@pytest.mark.parametrize("argument", [b"0 LAST", b"0  last", b"00000000000000000000 LAST"])
def test_empty_content(argument):
    found, codes = served(MAIL + RCPT + b"BDAT " + argument + b"\r\nNOOP\r\n")
    assert codes == [250] * 4
    assert found.messages == [b""]


@pytest.mark.parametrize(
    "argument",
    [b"", b"x", b"-1", b"+1", b"1 FIRST", b"1 LAST x", b"1LAST", b"1.0", b"0x10", b"1" * 21, b"5\0", b"\xb2", b"5\x0b"],
)
def test_unreadable_size_closes(argument):
    """What follows cannot be told from commands any more."""
    found, codes = served(MAIL + RCPT + b"BDAT " + argument + b"\r\n" + MAIL)
    assert codes == [250, 250, 501]
    assert found.closed
    assert found.messages == []


INNER = b"RSET\r\nMAIL FROM:<evil@example.com>\r\n.\r\n"


@pytest.mark.parametrize(
    ("before", "code"),
    [(b"", 503), (MAIL, 503), (MAIL + RCPT + b"DATA\r\n.\r\n", 503), (MAIL + RCPT + b"RSET\r\n", 503)],
)
def test_chunk_without_a_transaction_is_swallowed(before, code):
    found, codes = served(before + bdat(INNER, INNER) + b"NOOP\r\n")
    assert codes[-3:] == [code, code, 250]
    assert all(event.address == "a@example.com" for event in found.of(s.MailFrom))
    assert len(found.of(s.Refused)) == 2


def test_chunk_before_hello_is_swallowed():
    found = serve_every_way(bdat(INNER) + b"NOOP\r\n", GIVEN)
    assert found.codes == [503, 250]
    assert found.events == [s.Refused(s.Stage.DATA, s.Cause.SYNTAX, replies.BAD_SEQUENCE)]


def test_too_many_chunks_without_a_transaction_close():
    found, codes = served(b"BDAT 0\r\n" * 100)
    assert codes == [503] * ERROR_LIMIT + [421]
    assert found.closed


def test_batch_behind_a_refused_recipient_is_no_fault():
    found, codes = served(
        MAIL + RCPT + bdat(INNER) + b"QUIT\r\n",
        decide=lambda e: reply(550, "5.1.1", "no") if isinstance(e, s.RcptTo) else None,
    )
    assert codes == [250, 550, 554, 221]
    assert found.of(s.Refused) == []


@pytest.mark.parametrize(
    "command",
    [
        MAIL,
        RCPT,
        b"DATA\r\n",
        b"STARTTLS\r\n",
        b"AUTH PLAIN\r\n",
        b"XCLIENT NAME=x\r\n",
    ],
)
def test_between_chunks_there_are_only_chunks(command):
    given = settings(chunking=True, starttls=True, auth=("PLAIN",), xclient=True)
    found = serve_every_way(EHLO + MAIL + RCPT + b"BDAT 3\r\nx\r\n" + command + b"NOOP\r\nBDAT 3 LAST\r\ny\r\n", given)
    assert found.codes[-4:] == [250, 503, 250, 250]
    assert found.messages == [b"x\r\ny\r\n"]


@pytest.mark.parametrize("command", [b"RSET\r\n", EHLO, b"HELO x\r\n"])
def test_content_may_be_given_up_between_chunks(command):
    found, codes = served(MAIL + RCPT + b"BDAT 3\r\nx\r\n" + command + bdat(b"y") + MAIL + RCPT + bdat(b"z"))
    assert codes[-4:] == [503, 250, 250, 250]
    assert found.of(s.DataAborted) == [s.DataAborted(None)]
    assert found.messages == [b"z"]


def test_given_up_content_counts_for_the_session():
    given = settings(chunking=True, session_bytes_limit=100)
    found = serve_every_way(EHLO + (MAIL + RCPT + b"BDAT 40\r\n" + b"x" * 40 + b"RSET\r\n") * 3, given)
    assert found.codes[-1] == 452
    assert found.closed


def test_content_refused_at_its_beginning_is_swallowed():
    found, codes = served(
        MAIL + RCPT + bdat(INNER, INNER) + b"NOOP\r\n",
        decide=lambda e: replies.NO_RESOURCES if isinstance(e, s.DataBegin) else None,
    )
    assert codes == [250, 250, 452, 503, 250]
    assert found.of(s.Refused) == []
    closing, codes = served(
        MAIL + RCPT + bdat(INNER),
        decide=lambda e: replies.SHUTTING_DOWN if isinstance(e, s.DataBegin) else None,
    )
    assert codes == [250, 250, 421]
    assert closing.closed


def test_message_refused_at_its_end():
    _, codes = served(
        MAIL + RCPT + bdat(b"x\r\n", b"y\r\n") + RCPT,
        decide=lambda e: reply(550, "5.7.1", "no") if isinstance(e, s.DataEnd) else None,
    )
    assert codes == [250, 250, 250, 550, 503]


LIMITED = settings(chunking=True, size_limit=100, session_bytes_limit=250, hops_limit=2)


@pytest.mark.parametrize(
    ("chunks", "codes", "cause"),
    [
        ((b"x" * 100,), [250], None),
        ((b"x" * 101,), [552], "message-size"),
        ((b"x" * 60, b"x" * 40), [250, 250], None),
        ((b"x" * 60, b"x" * 41), [250, 552], "message-size"),
        ((b"x" * 101, b"y" * 10, b""), [552, 503, 503], "message-size"),
        ((b"Received: a\r\n" * 2, b"Received: b\r\n"), [250, 554], "hops"),
        ((b"Received: a\r\n" * 2 + b"Recei", b"ved: b\r\n\r\n"), [250, 554], "hops"),
        ((b"Received: a\r\n" * 2 + b"\r\n", b"Received: b\r\n"), [250, 250], None),
    ],
)
def test_limits(chunks, codes, cause):
    found = serve_every_way(EHLO + MAIL + RCPT + bdat(*chunks) + b"NOOP\r\n", LIMITED)
    assert found.codes[9:] == [*codes, 250]
    assert [event.cause for event in found.of(s.Refused)] == ([cause] if cause else [])
    assert len(found.of(s.DataAborted)) == (1 if cause else 0)
    assert found.messages == ([] if cause else [b"".join(chunks)])


def test_session_limit():
    stream = EHLO + (MAIL + RCPT + bdat(b"x" * 90)) * 3
    found = serve_every_way(stream, LIMITED)
    assert found.codes[-2:] == [250, 452]
    assert found.closed
    assert len(found.messages) == 2


@pytest.mark.parametrize(
    ("chunks", "fixed"),
    [
        ((b"a\nb\r\n",), b"a\r\nb\r\n"),
        ((b"a\rb\r\n",), b"a\r\nb\r\n"),
        ((b"a\r", b"b\r\n"), b"a\r\nb\r\n"),
        ((b"a\r\n", b"b\r"), b"a\r\nb\r\n"),
        ((b"a\r", b"", b""), b"a\r\n"),
        ((b"a\r", b"\n\nb"), b"a\r\n\r\nb"),
    ],
)
def test_line_ends_are_those_of_mail(chunks, fixed):
    refused, codes = served(MAIL + RCPT + bdat(*chunks) + b"NOOP\r\n")
    assert 550 in codes
    assert refused.messages == []
    assert [event.cause for event in refused.of(s.Refused)] == [s.Cause.MALFORMED]
    mended = serve_every_way(EHLO + MAIL + RCPT + bdat(*chunks), FIX)
    assert mended.messages == [fixed]
    assert mended.of(s.DataEnd)[0].fixed


def test_a_line_end_may_be_cut_by_chunks():
    found, codes = served(MAIL + RCPT + bdat(b"a\r", b"", b"\nb\r", b"\n"))
    assert codes == [250] * 6
    assert found.messages == [b"a\r\nb\r\n"]
    assert not found.of(s.DataEnd)[0].fixed


@pytest.mark.parametrize("policy", s.LineFeedPolicy)
def test_binary_content_is_the_very_octets(policy):
    given = settings(chunking=True, binarymime=True, bare_line_feed=policy)
    content = bytes(range(256)) * 3 + b"\n.\n\r.\r\r\n.\r\n\r"
    found, codes = served(BINARY + RCPT + bdat(content[:300], content[300:]), given)
    assert codes == [250] * 4
    assert found.messages == [content]
    end = found.of(s.DataEnd)[0]
    assert (end.binary, end.fixed, end.nul, end.eight_bit) == (True, False, True, True)
    assert found.of(s.MailFrom)[0].body is Body.BINARY


def test_binary_is_of_one_transaction():
    found, codes = served(BINARY + RCPT + bdat(b"\n") + MAIL + RCPT + bdat(b"\n"))
    assert codes == [250, 250, 250, 250, 250, 550]
    assert found.messages == [b"\n"]


def test_binary_content_cannot_come_by_data():
    _, codes = served(BINARY + RCPT + b"DATA\r\nRSET\r\n")
    assert codes == [250, 250, 503, 250]


def test_binary_needs_chunking():
    found = serve_every_way(EHLO + BINARY, settings(binarymime=True))
    assert found.codes[-1] == 555


def test_refused_octets_are_swallowed_only_so_far(monkeypatch):
    monkeypatch.setattr(server_data, "SWALLOW_LIMIT", 10_000)
    for stream in (b"BDAT 99999999999999999999 LAST\r\n", MAIL + RCPT + b"BDAT 99999999999999999999 LAST\r\n"):
        session = s.ServerSession(settings(chunking=True), "192.0.2.1")
        found = drive(session, [EHLO + stream, *[b"x" * 1000] * 20])
        assert found.codes[-1] in {503, 552}
        assert found.closed
    session = s.ServerSession(settings(chunking=True), "192.0.2.1")
    assert drive(session, [EHLO, *[b"BDAT 4000\r\n" + b"x" * 4000] * 5]).codes[-3:] == [503] * 3
    assert session.closed


def test_time_runs_for_the_whole_content():
    session = s.ServerSession(settings(chunking=True, data_termination_s=3), "192.0.2.1")
    drive(session, [EHLO + MAIL + RCPT])
    before = session.period
    drive(session, [b"BDAT 3\r\nx"])
    assert (session.waiting, session.timeout_s) == (s.Waiting.DATA, 3)
    during = session.period
    assert during != before
    drive(session, [b"\r\n", b"NOOP\r\n", b"BDAT 3\r\n"])
    assert (session.waiting, session.period) == (s.Waiting.DATA, during)
    session.timeout()
    assert session.take_output().startswith(b"421 ")
    assert session.next_event() == s.DataAborted(replies.TIMED_OUT)


@pytest.mark.parametrize("where", [b"BDAT 9 LAST\r\nx", b"BDAT 1\r\nx", b"BDAT 1\r\nxBDA"])
def test_end_of_the_connection_in_content(where):
    session = s.ServerSession(settings(chunking=True), "192.0.2.1")
    found = drive(session, [EHLO + MAIL + RCPT + where], eof=True)
    assert found.messages == []
    assert found.of(s.DataAborted) == [s.DataAborted(None)]
    assert found.closed


def test_shutdown_waits_for_the_end_of_content():
    session = s.ServerSession(settings(chunking=True), "192.0.2.1")
    drive(session, [EHLO + MAIL + RCPT + b"BDAT 3\r\nx\r\n"])
    session.shutdown()
    found = drive(session, [b"BDAT 3 LAST\r\ny\r\nNOOP\r\n"])
    assert found.codes == [250, 421]
    assert found.of(s.DataEnd)[0].size == 6


def test_large_chunk_passes_through_without_being_kept():
    session = s.ServerSession(settings(chunking=True, size_limit=1 << 30, session_bytes_limit=1 << 30), "192.0.2.1")
    pieces = [b"x" * 65534 + b"\r\n"] * 100
    found = drive(session, [EHLO + MAIL + RCPT + b"BDAT %d LAST\r\n" % (65536 * 100), *pieces])
    assert found.codes[-1] == 250
    assert found.largest_chunk <= 65536 + 1
