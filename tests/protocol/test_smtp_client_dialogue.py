"""The sending role against scripted servers: each case whole and byte by byte."""

import pytest
from smtp_dialogue import EHLO_ALL, EHLO_NONE, events_of, ready_client, transaction

from gatepost.model.envelope import Body, Notify, Recipient, Ret
from gatepost.smtp import client as c
from gatepost.smtp.reply_parser import LINE_LIMIT, LINES_LIMIT

THREE = ("a@example.org", "b@example.org", "c@example.org")
SETTINGS = c.ClientSettings("gate.example.com", initial_s=1, hello_s=2, mail_s=3, rcpt_s=4, data_initiation_s=5, data_termination_s=6, quit_s=7)  # fmt: skip


def run(replies: bytes, recipients=THREE, ehlo=EHLO_ALL, content=b"text\r\n", size=0):
    """Run one transaction against replies that all come as soon as they may; return (session, events, output)."""
    client = ready_client(ehlo)
    client.start(transaction(recipients))
    events = []
    output = client.take_output()
    lines = replies.splitlines(keepends=True)
    for line in lines:
        for event in events_of(client, line, size):
            events.append(event)
            if isinstance(event, c.SendData):
                client.send_data(content)
                client.finish_data()
        output += client.take_output()
    return client, events, output


def played(*args, **kwargs):
    """`run` whole and byte by byte; both must give the same."""
    client, events, output = run(*args, **kwargs)
    _, *same = run(*args, **kwargs, size=1)
    assert [events, output] == same
    return client, events, output


def codes(event):
    return [outcome.reply.code for outcome in event.recipients]


MAIL = b"MAIL FROM:<a@example.com>\r\n"
RCPTS = b"RCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\n"
BATCH = MAIL + RCPTS + b"DATA\r\n"


def test_pipelined_transaction_is_one_write():
    client, events, output = played(b"250 m\r\n250 1\r\n250 2\r\n250 3\r\n354 go\r\n250 2.0.0 Ok: queued\r\n")
    assert output == BATCH + b"text\r\n.\r\n"
    assert [type(e) for e in events] == [c.SendData, c.Outcome]
    assert codes(events[1]) == [250] * 3
    assert events[1].recipients[0].reply.enhanced == "2.0.0"
    assert events[1].reusable
    client.start(transaction())
    assert client.take_output().startswith(b"MAIL FROM:")


def test_without_pipelining_one_command_at_a_time():
    client = ready_client(EHLO_NONE)
    client.start(transaction(THREE))
    for answer, expected in [
        (b"", MAIL),
        (b"250 m\r\n", b"RCPT TO:<a@example.org>\r\n"),
        (b"250 1\r\n", b"RCPT TO:<b@example.org>\r\n"),
        (b"550 2\r\n", b"RCPT TO:<c@example.org>\r\n"),
        (b"450 3\r\n", b"DATA\r\n"),
    ]:
        assert events_of(client, answer) == []
        assert client.take_output() == expected
    assert events_of(client, b"354 go\r\n") == [c.SendData()]
    client.finish_data()
    assert client.take_output() == b".\r\n"
    (outcome,) = events_of(client, b"250 ok\r\n")
    assert codes(outcome) == [250, 550, 450]


def test_pipelining_can_be_forbidden():
    client = ready_client(EHLO_ALL, c.ClientSettings("gate.example.com", pipelining=False))
    client.start(transaction())
    assert client.take_output() == MAIL


def test_parameters_are_passed_when_offered():
    full = c.Transaction(
        "a@example.com",
        (Recipient("b@example.org", (Notify.SUCCESS, Notify.DELAY), "rfc822;b+2Bx@example.org"),),
        999,
        Body.EIGHT_BIT,
        Ret.HEADERS,
        "QQ+2B1",
    )
    client = ready_client()
    client.start(full)
    assert client.take_output() == (
        b"MAIL FROM:<a@example.com> SIZE=999 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1\r\n"
        b"RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bx@example.org\r\nDATA\r\n"
    )
    client = ready_client(b"250-x\r\n250 8bitmime\r\n")
    client.start(full)
    assert client.take_output() == b"MAIL FROM:<a@example.com> BODY=8BITMIME\r\n"


def test_extensions_are_told():
    client = c.ClientSession(SETTINGS)
    assert (client.waiting, client.timeout_s) == (c.Phase.GREETING, 1)
    assert events_of(client, b"220-peer\r\n220 ESMTP\r\n") == []
    assert (client.waiting, client.timeout_s) == (c.Phase.HELLO, 2)
    (event,) = events_of(client, EHLO_ALL)
    assert event.extensions == c.Extensions(
        esmtp=True,
        pipelining=True,
        eight_bit=True,
        size=True,
        size_limit=1000,
        dsn=True,
        enhanced=True,
        keywords=("PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN"),
    )
    assert (client.waiting, client.timeout_s) == (c.Phase.IDLE, 0)


def test_timeouts_by_phase():
    client = ready_client(EHLO_NONE, SETTINGS)
    client.start(transaction())
    seen = [client.timeout_s]
    for answer in (b"250 m\r\n", b"250 r\r\n", b"354 d\r\n"):
        events_of(client, answer)
        seen.append(client.timeout_s)
    client.finish_data()
    seen.append(client.timeout_s)
    client.take_output()
    events_of(client, b"250 ok\r\n")
    client.quit()
    assert seen == [3, 4, 5, 0, 6]
    assert (client.waiting, client.timeout_s) == (c.Phase.QUIT, 7)


def test_falls_back_to_helo_once():
    client = c.ClientSession(SETTINGS)
    assert events_of(client, b"220 x\r\n502 what\r\n") == []
    assert client.take_output() == b"EHLO gate.example.com\r\nHELO gate.example.com\r\n"
    assert events_of(client, b"250 x\r\n") == [c.Ready(c.Extensions())]
    client = c.ClientSession(SETTINGS)
    (event,) = events_of(client, b"220 x\r\n502 what\r\n550 5.7.1 go away\r\n")
    assert isinstance(event, c.Refused)
    assert event.reply.code == 550
    assert client.take_output().endswith(b"QUIT\r\n")
    assert client.closed


@pytest.mark.parametrize(
    ("replies", "code", "polite"),
    [
        (b"554 no\r\n", 554, True),
        (b"450 later\r\n", 450, True),
        (b"421 4.3.2 busy\r\n", 421, False),
        (b"220 x\r\n450 later\r\n", 450, True),
        (b"220 x\r\n421 busy\r\n", 421, False),
    ],
)
def test_refused_before_there_is_a_transaction(replies, code, polite):
    client = c.ClientSession(SETTINGS)
    (event,) = events_of(client, replies)
    assert isinstance(event, c.Refused)
    assert event.reply.code == code
    assert client.take_output().endswith(b"QUIT\r\n") == polite
    assert client.closed


@pytest.mark.parametrize("data", [b"503 no\r\n", b"554 5.5.1 no\r\n"])
def test_mail_refused_swallows_the_rest_of_the_batch(data):
    client, events, output = played(b"550 5.7.1 you\r\n503 x\r\n503 x\r\n503 x\r\n" + data)
    assert output == BATCH
    assert [(type(e), codes(e), e.reusable) for e in events] == [(c.Outcome, [550] * 3, True)]
    assert events[0].recipients[2].reply.enhanced == "5.7.1"
    assert client.waiting is c.Phase.IDLE
    client.start(transaction())
    assert client.take_output().startswith(b"MAIL"), "nothing to reset"


def test_mail_refused_without_pipelining():
    _, events, output = played(b"450 later\r\n", ehlo=EHLO_NONE)
    assert output == MAIL
    assert codes(events[0]) == [450] * 3


def test_no_recipient_but_354_gets_an_empty_message():
    client, events, output = played(b"250 m\r\n550 1\r\n450 2\r\n550 3\r\n354 go\r\n554 none\r\n")
    assert output == BATCH + b".\r\n"
    assert [codes(e) for e in events] == [[550, 450, 550]]
    assert client.waiting is c.Phase.IDLE


def test_mail_refused_but_354_gets_an_empty_message():
    _, events, output = played(b"450 m\r\n503 1\r\n503 2\r\n503 3\r\n354 go\r\n250 took it\r\n")
    assert output == BATCH + b".\r\n"
    assert [codes(e) for e in events] == [[450] * 3], "what the peer says of the empty message is no delivery"


def test_no_recipient_is_reset_before_the_next_message():
    client, events, _ = played(b"250 m\r\n550 1\r\n550 2\r\n550 3\r\n503 none\r\n")
    assert codes(events[0]) == [550] * 3
    client.start(transaction())
    assert client.take_output().startswith(b"RSET\r\nMAIL FROM")
    assert events_of(client, b"250 reset\r\n250 m\r\n250 r\r\n354 go\r\n") == [c.SendData()]


def test_reset_is_sent_once():
    client, _, _ = run(b"250 m\r\n550 1\r\n550 2\r\n550 3\r\n", ehlo=EHLO_NONE)
    client.start(transaction())
    assert client.take_output() == b"RSET\r\n"
    (outcome,) = events_of(client, b"250 reset\r\n550 m\r\n")
    assert codes(outcome) == [550]
    client.take_output()
    client.start(transaction())
    assert client.take_output() == MAIL


def test_no_recipient_without_pipelining_sends_no_data():
    client, events, output = played(b"250 m\r\n550 1\r\n550 2\r\n550 3\r\n", ehlo=EHLO_NONE)
    assert output == MAIL + RCPTS
    assert codes(events[0]) == [550] * 3
    client.start(transaction())
    assert client.take_output() == b"RSET\r\n"
    assert events_of(client, b"250 reset\r\n") == []
    assert client.take_output() == MAIL


def test_data_refused_decides_for_those_accepted():
    client, events, _ = played(b"250 m\r\n250 1\r\n550 2\r\n250 3\r\n451 4.3.0 later\r\n")
    assert codes(events[0]) == [451, 550, 451]
    client.start(transaction())
    assert client.take_output().startswith(b"RSET\r\n")


@pytest.mark.parametrize("answer", ["452 4.5.3 many", "452 many", "552 too many", "552 5.5.3 many"])
def test_too_many_recipients_can_be_tried_at_once(answer):
    _, events, _ = played(b"250 m\r\n250 1\r\n250 2\r\n%s\r\n354 go\r\n250 ok\r\n" % answer.encode())
    assert [outcome.again for outcome in events[-1].recipients] == [False, False, True]


@pytest.mark.parametrize(
    "replies",
    [
        b"250 m\r\n250 1\r\n250 2\r\n552 5.2.2 full\r\n354 go\r\n250 ok\r\n",
        b"250 m\r\n250 1\r\n250 2\r\n452 many\r\n354 go\r\n451 failed\r\n",
        b"250 m\r\n452 1\r\n452 2\r\n452 3\r\n503 none\r\n",
        b"250 m\r\n452 1\r\n452 2\r\n452 3\r\n354 go\r\n250 empty\r\n",
    ],
)
def test_otherwise_not(replies):
    _, events, _ = played(replies)
    assert not any(outcome.again for outcome in events[-1].recipients)


STEPS = [b"250 m\r\n", b"250 1\r\n", b"550 2\r\n", b"250 3\r\n", b"354 go\r\n"]


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_421_at_any_step_ends_it_temporarily(done):
    client, events, _ = played(b"".join(STEPS[:done]) + b"421 4.3.2 going down\r\n")
    assert isinstance(events[-1], c.Outcome)
    assert codes(events[-1]) == [421, 550 if done >= 3 else 421, 421]
    assert not events[-1].reusable
    assert client.closed


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
@pytest.mark.parametrize("end", ["eof", "timeout", "garbage", "endless line", "endless reply", "two codes"])
def test_unexpected_end_is_temporary_for_the_undecided(done, end):
    client, _, _ = run(b"".join(STEPS[:done]))
    if end == "eof":
        client.eof()
    elif end == "timeout":
        client.timeout()
    raw = {
        "garbage": b"hello\r\n",
        "endless line": b"250 " + b"x" * LINE_LIMIT,
        "endless reply": b"250-x\r\n" * LINES_LIMIT,
        "two codes": b"250-x\r\n550 x\r\n",
    }.get(end, b"")
    (event,) = events_of(client, raw)
    assert isinstance(event, c.Closed)
    assert codes(event) == [451, 550 if done >= 3 else 451, 451]
    assert event.recipients[0].reply.enhanced == ("4.4.2" if end in {"eof", "timeout"} else "4.5.0")
    assert event.data_ended == (done == len(STEPS))
    assert client.closed


def test_end_of_data_counts_only_when_it_was_taken_for_writing():
    client = ready_client()
    client.start(transaction())
    events_of(client, b"250 m\r\n250 r\r\n354 go\r\n")
    client.send_data(b"text\r\n")
    client.take_output()
    client.finish_data()
    client.eof()
    (event,) = events_of(client)
    assert not event.data_ended


def test_duplicate_window_of_one_message_is_not_told_of_the_next():
    client, _, _ = run(b"250 m\r\n250 1\r\n250 2\r\n250 3\r\n354 go\r\n250 ok\r\n")
    client.start(transaction())
    client.take_output()
    client.eof()
    (event,) = events_of(client)
    assert not event.data_ended
    assert len(event.recipients) == 1


def test_refusal_in_the_middle_of_content_is_the_answer():
    client = ready_client()
    client.start(transaction())
    events_of(client, b"250 m\r\n250 r\r\n354 go\r\n")
    client.send_data(b"text\r\n")
    (event,) = events_of(client, b"552 5.3.4 enough\r\n")
    assert codes(event) == [552]
    assert not event.reusable
    client.take_output()
    client.send_data(b"more")
    client.finish_data()
    assert client.take_output() == b""


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("raw", [b"250 early\r\n", b"354 again\r\n"])
def test_success_before_the_end_is_a_protocol_error(raw, given):
    client = ready_client()
    client.start(transaction())
    events_of(client, b"250 m\r\n250 r\r\n354 go\r\n")
    client.send_data(b"text\r\n")
    if given:
        client.finish_data()  # but not taken for writing yet
    (event,) = events_of(client, raw)
    assert isinstance(event, c.Closed)
    assert codes(event) == [451]


@pytest.mark.parametrize(
    "replies", [b"354 m\r\n", b"250 m\r\n354 r\r\n", b"250 m\r\n250 1\r\n250 2\r\n250 3\r\n250 data\r\n"]
)
def test_replies_of_the_wrong_kind_are_protocol_errors(replies):
    _, events, _ = played(replies)
    assert isinstance(events[-1], c.Closed)
    assert codes(events[-1]) == [451] * 3


@pytest.mark.parametrize(
    ("ehlo", "values", "code", "enhanced", "cause"),
    [
        (EHLO_ALL, {"size": 1001}, 552, "5.3.4", c.LocalCause.SIZE),
        (EHLO_NONE, {"body": Body.EIGHT_BIT}, 554, "5.6.3", c.LocalCause.EIGHT_BIT),
        (EHLO_ALL, {"sender": "a>\r\nRCPT TO:<x@y"}, 553, "5.1.7", c.LocalCause.SENDER),
        (EHLO_ALL, {"sender": "ä@example.com"}, 553, "5.6.7", c.LocalCause.UTF8),
        (EHLO_ALL, {"sender": "ä\n@example.com"}, 553, "5.1.7", c.LocalCause.SENDER),
        (EHLO_ALL, {"smtputf8": True, "header_utf8": True}, 554, "5.6.9", c.LocalCause.UTF8),
        (EHLO_ALL, {"body": Body.BINARY}, 554, "5.6.3", c.LocalCause.BINARY),
    ],
)
def test_what_the_peer_cannot_take_fails_without_asking(ehlo, values, code, enhanced, cause):
    client = ready_client(ehlo)
    client.start(transaction(THREE, **values))
    (event,) = events_of(client)
    assert codes(event) == [code] * 3
    assert event.recipients[0].reply.enhanced == enhanced
    assert event.cause is cause
    assert event.reusable
    assert client.take_output() == b""
    client.start(transaction())
    assert client.take_output().startswith(MAIL)


def test_size_at_the_limit_or_without_one_goes():
    for ehlo, size in ((EHLO_ALL, 1000), (b"250-x\r\n250 SIZE 0\r\n", 10**9), (b"250-x\r\n250 SIZE\r\n", 10**9)):
        client = ready_client(ehlo)
        client.start(transaction(size=size))
        assert client.take_output().startswith(b"MAIL FROM:<a@example.com> SIZE=%d\r\n" % size)


def test_addresses_that_cannot_be_sent_fail_alone():
    client = ready_client()
    client.start(transaction(["x y@example.org", "b@example.org", "c>\r\nDATA"]))
    assert client.take_output() == MAIL + b"RCPT TO:<b@example.org>\r\nDATA\r\n"
    events_of(client, b"250 m\r\n250 r\r\n354 go\r\n")
    client.finish_data()
    client.take_output()
    (event,) = events_of(client, b"250 ok\r\n")
    assert codes(event) == [553, 250, 553]
    client.start(transaction(["ü@example.org"]))
    (event,) = events_of(client)
    assert codes(event) == [553]
    assert client.take_output() == b""


def test_idle_session_tells_when_the_peer_leaves():
    for raw in (b"421 4.4.2 idle too long\r\n", b"250 what\r\n"):
        client = ready_client()
        (event,) = events_of(client, raw)
        assert isinstance(event, c.Closed)
        assert event.recipients == ()
    client = ready_client()
    client.eof()
    (event,) = events_of(client)
    assert event == c.Closed("connection lost while idle")


def test_replies_before_the_end_of_the_connection_count():
    client, _, _ = run(b"".join(STEPS))
    client.feed(b"250 ok\r\n")
    client.eof()
    outcome, closed = events_of(client)
    assert codes(outcome) == [250, 550, 250]
    assert closed == c.Closed("connection lost while idle")


@pytest.mark.parametrize("stop", ["eof", "timeout"])
def test_no_answer_to_the_whole_content_says_that_the_mail_may_arrive_twice(stop):
    client, _, _ = run(b"".join(STEPS))
    getattr(client, stop)()
    assert events_of(client)[-1].reason.endswith(
        "while data-termination (the peer may have taken the mail, which then arrives twice)"
    )
    client, _, _ = run(b"".join(STEPS[:-1]))
    getattr(client, stop)()
    assert "twice" not in events_of(client)[-1].reason


def test_reset_probes_an_idle_session():
    client = ready_client()
    client.reset()
    assert client.take_output() == b"RSET\r\n"
    assert events_of(client, b"250 ok\r\n") == [c.Ready(client.extensions)]
    client.reset()
    (event,) = events_of(client, b"500 what\r\n")
    assert isinstance(event, c.Closed)


@pytest.mark.parametrize("end", [b"221 bye\r\n", b"421 bye\r\n", b"500 what\r\n", b"garbage\r\n", b""])
def test_quit_ends_quietly_whatever_comes(end):
    client = ready_client()
    client.quit()
    assert client.take_output() == b"QUIT\r\n"
    assert not client.closed
    if not end:
        client.eof()
    assert events_of(client, end) == []
    assert client.closed


def test_calls_at_the_wrong_time_are_our_own_fault():
    client = c.ClientSession(SETTINGS)
    with pytest.raises(RuntimeError, match="greeting"):
        client.start(transaction())
    with pytest.raises(RuntimeError, match="greeting"):
        client.reset()
    client.quit()
    assert client.closed


def test_enhanced_codes_and_texts_of_long_replies():
    _, events, _ = played(b"250 m\r\n250 1\r\n250 2\r\n550-5.1.1 no such\r\n550 5.1.1 user\r\n354 go\r\n250 ok\r\n")
    final = events[-1].recipients[2].reply
    assert (final.code, final.enhanced, final.lines) == (550, "5.1.1", ("no such", "user"))
