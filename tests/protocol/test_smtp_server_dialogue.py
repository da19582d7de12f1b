"""The receiving role: dialogue, sequence, syntax. Each case whole, byte by byte, in threes, and with bytes following."""

import pytest
from smtp_dialogue import HOST, OPENING, drive, serve, serve_every_way, settings

from gatepost.model.envelope import Body, Notify, Recipient, Ret
from gatepost.model.reply import reply
from gatepost.smtp import replies
from gatepost.smtp import server as s
from gatepost.smtp.server import ServerSession

EHLO = b"EHLO user\r\n"
MAIL = b"MAIL FROM:<a@example.com>\r\n"
RCPT = b"RCPT TO:<b@example.org>\r\n"


@pytest.mark.feature("F-SMTP-02")
def test_documented_dialogue_step_by_step():
    session = ServerSession(s.ServerSettings(HOST), "192.0.2.1")
    assert session.greeting() == b"220 mx.example.com ESMTP\r\n"
    steps = [
        (
            EHLO,
            (
                "250-mx.example.com hello user [192.0.2.1]\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n"
                "250-8BITMIME\r\n250-SIZE 10485760\r\n250 DSN\r\n"
            ),
        ),
        (MAIL, "250 2.1.0 OK\r\n"),
        (RCPT, "250 2.1.5 OK\r\n"),
        (b"DATA\r\n", "354 Start mail input; end with <CRLF>.<CRLF>\r\n"),
        (b"Subject: x\r\n\r\ntext\r\n.\r\n", "250 2.0.0 OK\r\n"),
        (b"QUIT\r\n", "221 2.0.0 Closing connection\r\n"),
    ]
    for sent, expected in steps:
        assert drive(session, [sent]).output.decode() == expected
    assert session.closed


def test_hello_over_helo_carries_no_keywords_and_no_enhanced_codes():
    served = serve_every_way(b"HELO user\r\n" + MAIL + RCPT + b"DATA\r\nx\r\n.\r\nNOOP\r\nFOO\r\nQUIT\r\n")
    assert served.lines == [
        "250 mx.example.com hello user [192.0.2.1]",
        "250 OK",
        "250 OK",
        "354 Start mail input; end with <CRLF>.<CRLF>",
        "250 OK",
        "250 OK",
        "500 Command not recognized",
        "221 Closing connection",
    ]


@pytest.mark.feature("F-SMTP-04")
def test_batch_is_answered_in_order_and_waits_for_decisions():
    session = ServerSession(settings(), "192.0.2.1")
    session.feed(OPENING)
    assert isinstance(session.next_event(), s.Hello)
    assert session.waiting is s.Waiting.DECISION
    assert session.next_event() is None, "nothing is interpreted behind a pending decision"
    assert session.take_output() == b""
    session.answer()
    assert isinstance(session.next_event(), s.MailFrom)
    session.answer(reply(450, "4.7.1", "later"))
    assert session.next_event() is None
    assert session.take_output().split(b"\r\n")[-4:] == [
        b"450 4.7.1 later",
        b"503 5.5.1 Bad sequence of commands",
        b"503 5.5.1 Bad sequence of commands",
        b"",
    ]


@pytest.mark.feature("F-SMTP-06")
def test_every_reply_after_ehlo_has_an_enhanced_code_of_its_class():
    served = serve_every_way(
        b"EHLO user\r\nFOO\r\nRCPT TO:<b@example.org>\r\nMAIL FROM:a\r\nMAIL FROM:<a@example.com> X=1\r\nEXPN x\r\nVRFY x\r\n"
        b"HELP\r\nNOOP\r\nRSET\r\n" + MAIL + RCPT + b"RCPT TO:<x\r\nDATA x\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
    )
    for line in served.lines[6:]:
        code, enhanced = line.split(" ")[:2]
        assert code == "354" or enhanced.startswith(code[0] + "."), line


CASES = {
    "verbs in any case": (
        b"eHlO user\r\nmail from:<a@example.com>\r\nRcpt To:<b@example.org>\r\n",
        [250] * 6 + [250, 250],
    ),
    "blank after the colon": (EHLO + b"MAIL FROM: <a@example.com>\r\nRCPT TO: <b@example.org>\r\n", [250] * 8),
    "trailing blanks": (EHLO + b"NOOP  \r\nRSET \r\n", [250] * 8),
    "mail before hello": (MAIL + b"DATA\r\n", [503, 503]),
    "rcpt before mail": (EHLO + RCPT, [250] * 6 + [503]),
    "data before rcpt": (EHLO + MAIL + b"DATA\r\n", [250] * 7 + [503]),
    "nested mail": (EHLO + MAIL + MAIL, [250] * 7 + [503]),
    "rset ends the transaction": (EHLO + MAIL + RCPT + b"RSET\r\n" + RCPT, [250] * 9 + [503]),
    "hello ends the transaction": (EHLO + MAIL + b"HELO again\r\n" + RCPT, [250] * 8 + [503]),
    "second transaction": (OPENING + b"x\r\n.\r\n" + MAIL + RCPT, [250] * 8 + [354, 250, 250, 250]),
    "hello without name": (b"EHLO\r\nHELO \r\n", [501, 501]),
    "hello with two names": (b"EHLO a b\r\n", [501]),
    "hello too long": (b"EHLO " + b"a" * 256 + b"\r\n", [501]),
    "unknown": (b"FOO\r\n\r\n", [500, 500]),
    "not implemented": (b"EXPN a\r\nETRN a\r\nTURN\r\nSTARTTLS\r\nAUTH PLAIN\r\nBDAT 6 LAST\r\n", [502] * 6),
    "vrfy and help": (EHLO + b"VRFY b\r\nHELP\r\nHELP MAIL\r\nVRFY\r\n", [250] * 6 + [252, 214, 214, 501]),
    "arguments where none belong": (EHLO + b"RSET x\r\nDATA x\r\nQUIT x\r\n", [250] * 6 + [501] * 3),
    "quit closes": (b"QUIT\r\nNOOP\r\n", [221]),
    "bare addresses": (EHLO + b"MAIL FROM:a@example.com\r\nMAIL TO:<a@example.com>\r\nMAIL\r\n", [250] * 6 + [501] * 3),
    "null sender": (EHLO + b"MAIL FROM:<>\r\nRCPT TO:<>\r\n", [250] * 7 + [501]),
    "postmaster alone": (EHLO + MAIL + b"RCPT TO:<PostMaster>\r\nRCPT TO:<root>\r\n", [250] * 8 + [501]),
    "unknown parameter": (EHLO + MAIL[:-2] + b" FOO=1\r\n", [250] * 6 + [555]),
    "twice the same parameter": (EHLO + MAIL[:-2] + b" SIZE=1 size=1\r\n", [250] * 6 + [501]),
    "wrong values": (
        EHLO + MAIL[:-2] + b" SIZE=x\r\n" + MAIL[:-2] + b" BODY=9BIT\r\n" + MAIL[:-2] + b" RET=SOME\r\n",
        [250] * 6 + [501] * 3,
    ),
    "non-ASCII": (EHLO + "MAIL FROM:<ä@example.com>\r\n".encode(), [250] * 6 + [500]),
    "NUL in a command": (b"NOOP \0\r\n", [500]),
    "CR in a command": (b"NOOP \rMAIL\r\n", [500]),
    "HTTP": (b"POST / HTTP/1.1\r\nEHLO user\r\n", [421]),
}


@pytest.mark.parametrize(("stream", "codes"), CASES.values(), ids=CASES)
def test_dialogue(stream, codes):
    assert serve_every_way(stream).codes == codes
    followed = serve_every_way(stream + b"NOOP\r\n").codes
    assert followed == (codes if codes[-1] in {221, 421} else [*codes, 250])


def test_events_carry_what_the_commands_said():
    served = serve_every_way(
        b"EHLO [192.0.2.9]\r\n"
        b"MAIL FROM:<@relay.example:a@example.com> SIZE=1000 BODY=8bitmime RET=HDRS ENVID=QQ+2B1\r\n"
        b"RCPT TO:<b@example.org> NOTIFY=SUCCESS,delay ORCPT=rfc822;b+40example.org\r\n"
        b'RCPT TO:<"odd one"@example.org>\r\nVRFY b\r\nQUIT\r\n'
    )
    assert served.events == [
        s.Hello("[192.0.2.9]", esmtp=True),
        s.MailFrom("a@example.com", 1000, Body.EIGHT_BIT, Ret.HEADERS, "QQ+2B1", dsn=True),
        s.RcptTo(Recipient("b@example.org", (Notify.SUCCESS, Notify.DELAY), "rfc822;b+40example.org")),
        s.RcptTo(Recipient('"odd one"@example.org')),
        s.Verify("b"),
        s.Quit(),
    ]


def test_negative_decisions_are_given_and_change_no_state():
    refusals = {
        s.RcptTo: reply(554, "5.7.1", "no"),
        s.DataBegin: reply(452, "4.3.1", "later"),
    }
    served = serve_every_way(
        OPENING + b"RSET\r\n", decide=lambda e: refusals.get(type(e)) if isinstance(e, s.RcptTo) else None
    )
    assert served.lines[7:] == ["554 5.7.1 no", "554 5.5.1 No valid recipients", "250 2.0.0 OK"]
    served = serve_every_way(
        OPENING + b"RSET\r\n", decide=lambda e: refusals.get(type(e)) if isinstance(e, s.DataBegin) else None
    )
    assert served.lines[8:] == ["452 4.3.1 later", "250 2.0.0 OK"]


def test_refused_message_ends_the_transaction():
    served = serve_every_way(
        OPENING + b"x\r\n.\r\n" + RCPT,
        decide=lambda e: reply(550, "5.7.1", "not", "wanted") if isinstance(e, s.DataEnd) else None,
    )
    assert served.lines[9:] == ["550-5.7.1 not", "550 5.7.1 wanted", "503 5.5.1 Bad sequence of commands"]


def test_hello_refused_leaves_the_session_without_hello():
    served = serve_every_way(EHLO + MAIL, decide=lambda _: reply(554, "5.7.1", "no"))
    assert served.lines == ["554 no", "503 Bad sequence of commands"]


def test_decision_with_421_closes():
    served = serve_every_way(
        EHLO + MAIL + RCPT, decide=lambda e: reply(421, "4.3.2", "bye") if isinstance(e, s.MailFrom) else None
    )
    assert served.lines[6:] == ["421 4.3.2 bye"]
    assert served.closed


def test_answer_without_a_pending_event_is_our_own_fault():
    with pytest.raises(RuntimeError, match="no decision"):
        ServerSession(settings(), "192.0.2.1").answer()


def test_content_before_the_end_is_not_mistaken_for_the_event_to_decide():
    session = ServerSession(settings(), "192.0.2.1")
    drive(session, [OPENING])
    session.feed(b"x\r\n.\r\n")
    assert session.next_event() == s.DataChunk(b"x\r\n")
    assert session.waiting is not s.Waiting.DECISION
    with pytest.raises(RuntimeError):
        session.answer()
    assert isinstance(session.next_event(), s.DataEnd)
    assert session.waiting is s.Waiting.DECISION


def test_timeouts_tell_which_wait_they_belong_to():
    session = ServerSession(settings(command_s=1, data_initiation_s=2, data_termination_s=3), "192.0.2.1")
    assert (session.waiting, session.timeout_s) == (s.Waiting.COMMAND, 1)
    drive(session, [EHLO + MAIL])
    assert (session.waiting, session.timeout_s) == (s.Waiting.COMMAND, 1)
    before = session.period
    drive(session, [RCPT])
    assert (session.waiting, session.timeout_s) == (s.Waiting.DATA_INITIATION, 2)
    assert session.period != before
    initiation = session.period
    drive(session, [RCPT, b"NOOP\r\n", RCPT[:4]])
    assert session.period == initiation, "one time for everything from the first recipient to DATA"
    drive(session, [b" TO:<c@example.org>\r\nDATA\r\n"])
    assert (session.waiting, session.timeout_s) == (s.Waiting.DATA, 3)
    data = session.period
    assert data != initiation
    drive(session, [b"x\r\n", b"y\r\n"])
    assert session.period == data
    drive(session, [b".\r\n"])
    assert session.waiting is s.Waiting.COMMAND
    assert session.period != data


def test_a_command_begins_a_new_period_but_half_a_command_does_not():
    session = ServerSession(settings(), "192.0.2.1")
    drive(session, [EHLO])
    before = session.period
    drive(session, [b"NO", b"OP"])
    assert session.period == before
    drive(session, [b"\r\n"])
    assert session.period != before


@pytest.mark.parametrize("stream", [b"", b"EHLO user\r\nMA", OPENING, OPENING + b"half a line"])
def test_timeout_says_421_and_closes(stream):
    session = ServerSession(settings(), "192.0.2.1")
    drive(session, [stream] if stream else [])
    session.timeout()
    served = drive(session, [b"QUIT\r\n"])
    assert served.codes == [421]
    assert session.closed
    assert served.of(s.DataAborted) == ([s.DataAborted(replies.TIMED_OUT)] if stream.startswith(OPENING) else [])


def test_timeout_during_a_decision_makes_its_answer_void():
    session = ServerSession(settings(), "192.0.2.1")
    session.feed(EHLO)
    session.next_event()
    session.timeout()
    assert session.waiting is not s.Waiting.DECISION
    session.answer()
    assert session.next_event() is None
    assert session.take_output().startswith(b"421 ")
    assert session.take_output() == b""


def test_shutdown_when_idle_is_immediate():
    session = ServerSession(settings(), "192.0.2.1")
    drive(session, [EHLO])
    session.shutdown()
    assert session.take_output().startswith(b"421 4.3.2 ")
    assert session.closed


def test_shutdown_in_content_waits_for_its_end_and_the_decision():
    session = ServerSession(settings(), "192.0.2.1")
    drive(session, [OPENING])
    session.shutdown()
    served = drive(session, [b"x\r\n", b".\r\nNOOP\r\n"])
    assert served.codes == [250, 421]
    assert served.messages == [b"x\r\n"]
    assert served.closed


def test_shutdown_while_a_decision_is_pending_lets_it_be_answered():
    session = ServerSession(settings(), "192.0.2.1")
    session.feed(EHLO + MAIL)
    session.next_event()
    session.shutdown()
    assert not session.closed
    session.answer()
    assert session.next_event() is None
    assert session.take_output().split(b"\r\n")[-2].startswith(b"421 4.3.2")


def test_eof_lets_what_came_before_be_worked_off():
    served = serve(OPENING + b"x\r\n.\r\n", eof=True)
    assert served.messages == [b"x\r\n"]
    assert served.closed


@pytest.mark.parametrize(
    ("behind", "quits"),
    [
        (b"QUIT\r\n", True),
        (b"quit\r\nx", True),
        (b"QUIT\n", False),
        (b"QUI", False),
        (b"", False),
        (b"RSET\r\nQUIT\r\n", False),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_quit_behind_content_is_seen_before_the_content_is_decided(behind, quits, whole):
    session = ServerSession(s.ServerSettings(HOST), "192.0.2.1")
    session.greeting()
    content = OPENING + b"x\r\n.\r\n"
    session.feed(content + behind if whole else content)
    while not isinstance(event := session.next_event(), s.DataEnd):
        if not isinstance(event, s.DataChunk):
            session.answer()
    if not whole:
        assert not session.quits
        session.feed(behind)
    assert session.quits == quits
    session.eof()
    session.answer()
    session.next_event()
    assert not session.quits
    assert session.take_output().count(b"\r\n221 ") == (b"QUIT\r\n" in behind.upper())


def test_eof_in_content_aborts_it():
    served = serve(OPENING + b"x\r\n.\r", eof=True)
    assert served.messages == []
    assert served.of(s.DataAborted) == [s.DataAborted(None)]
    assert served.closed


def test_order_of_commands_is_judged_before_their_arguments() -> None:
    session = ServerSession(s.ServerSettings("gw.example"), "192.0.2.1")
    session.feed(b"MAIL FROM:<a\r\n")
    while session.next_event() is not None:
        pass
    assert session.take_output().startswith(b"503 ")
