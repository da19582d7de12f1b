"""The sending role speaking LMTP (RFC 2033): LHLO, and a reply for each accepted recipient behind the content."""

import pytest
from smtp_dialogue import events_of, transaction

from gatepost.smtp import client as c

THREE = ("a@example.org", "b@example.org", "c@example.org")
DATA = b"250-peer\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING\r\n"
BDAT = b"250-peer\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
BY_DATA = c.ClientSettings("gate.example.com", lmtp=True)
BY_BDAT = c.ClientSettings("gate.example.com", lmtp=True, chunking=True)
WAYS = pytest.mark.parametrize(("settings", "lhlo"), [(BY_DATA, DATA), (BY_BDAT, BDAT)])


def ready(settings, lhlo):
    client = c.ClientSession(settings)
    (event,) = events_of(client, b"220 peer LMTP\r\n" + lhlo)
    assert isinstance(event, c.Ready)
    assert client.take_output() == b"LHLO gate.example.com\r\n"
    return client


def sent(settings, lhlo, rcpt=(250, 250, 250), size=6):
    """Return a session that has given its content away, after these replies to RCPT."""
    client = ready(settings, lhlo)
    client.start(transaction(THREE, size=size))
    assert client.next_event() is None, "the peer must first have accepted somebody"
    commands = client.take_output()
    replies = b"250 m\r\n" + b"".join(b"%d r\r\n" % code for code in rcpt)
    if b"DATA" in commands:
        replies += b"354 go\r\n"
    assert events_of(client, replies) == [c.SendData()]
    client.send_data(b"text\r\n")
    client.finish_data()
    assert client.take_output() == (b"BDAT 6 LAST\r\ntext\r\n" if settings.chunking else b"text\r\n.\r\n")
    return client


def codes(event):
    return [outcome.reply.code for outcome in event.recipients]


@WAYS
@pytest.mark.parametrize("size", [0, 1])
def test_one_reply_for_each_accepted_recipient(settings, lhlo, size):
    client = sent(settings, lhlo, (250, 550, 250))
    (event,) = events_of(client, b"250 2.0.0 stored\r\n452 4.2.2 full\r\n", size)
    assert codes(event) == [250, 550, 452]
    assert event.reusable
    assert not any(outcome.again for outcome in event.recipients), "over quota is not too many recipients"
    client.start(transaction())
    assert client.take_output().startswith(b"MAIL"), "nothing to reset"


@WAYS
def test_too_many_recipients_may_be_sent_again_at_once(settings, lhlo):
    client = sent(settings, lhlo, (250, 452, 250))
    (event,) = events_of(client, b"250 ok\r\n554 no\r\n")
    assert codes(event) == [250, 452, 554]
    assert [outcome.again for outcome in event.recipients] == [False, True, False]


@WAYS
@pytest.mark.parametrize("end", ["eof", "timeout", "garbage", "354"])
def test_half_replies_are_final_for_those_who_have_one(settings, lhlo, end):
    client = sent(settings, lhlo)
    client.feed(b"250 first\r\n550 second\r\n" + {"garbage": b"what\r\n", "354": b"354 go\r\n"}.get(end, b""))
    if end == "eof":
        client.eof()
    elif end == "timeout":
        assert client.next_event() is None
        client.timeout()
    (event,) = events_of(client)
    assert isinstance(event, c.Closed)
    assert codes(event) == [250, 550, 451]
    assert event.data_ended
    assert client.closed


@WAYS
def test_too_many_recipients_wait_with_the_others_when_the_connection_is_lost(settings, lhlo):
    client = sent(settings, lhlo, (250, 452, 250))
    client.feed(b"250 first\r\n")
    client.eof()
    (event,) = events_of(client)
    assert codes(event) == [250, 452, 451]
    assert not any(outcome.again for outcome in event.recipients)


@WAYS
def test_421_in_the_middle_of_the_replies(settings, lhlo):
    client = sent(settings, lhlo)
    (event,) = events_of(client, b"250 first\r\n421 4.3.2 down\r\n")
    assert isinstance(event, c.Outcome)
    assert codes(event) == [250, 421, 421]
    assert not event.reusable
    assert client.closed


def test_nobody_accepted_by_bdat_sends_no_content():
    client = ready(BY_BDAT, BDAT)
    client.start(transaction(THREE, size=6))
    (event,) = events_of(client, b"250 m\r\n550 1\r\n450 2\r\n550 3\r\n")
    assert codes(event) == [550, 450, 550]
    assert b"BDAT" not in client.take_output()


def test_nobody_accepted_by_data():
    client = ready(BY_DATA, DATA)
    client.start(transaction(THREE))
    (event,) = events_of(client, b"250 m\r\n550 1\r\n450 2\r\n550 3\r\n503 5.5.1 nobody\r\n")
    assert codes(event) == [550, 450, 550]
    assert event.reusable
    client = ready(BY_DATA, DATA)
    client.start(transaction(THREE))
    (event,) = events_of(client, b"250 m\r\n550 1\r\n450 2\r\n550 3\r\n354 go\r\n")
    assert isinstance(event, c.Closed)
    assert codes(event) == [550, 450, 550]


@pytest.mark.parametrize("answer", [b"502 what\r\n", b"550 no\r\n", b"450 later\r\n"])
def test_lhlo_never_falls_back(answer):
    client = c.ClientSession(BY_DATA)
    (event,) = events_of(client, b"220 peer\r\n" + answer)
    assert isinstance(event, c.Refused)
    assert event.reply.code == int(answer[:3])
    assert client.take_output() == b"LHLO gate.example.com\r\nQUIT\r\n"


@WAYS
def test_success_before_the_end_was_taken_is_a_protocol_error(settings, lhlo):
    client = ready(settings, lhlo)
    client.start(transaction(THREE, size=6))
    replies = b"250 m\r\n250 r\r\n250 r\r\n250 r\r\n"
    events_of(client, replies if settings.chunking else replies + b"354 go\r\n")
    client.send_data(b"text\r\n")
    client.finish_data()
    (event,) = events_of(client, b"250 early\r\n250 early\r\n250 early\r\n")
    assert isinstance(event, c.Closed)
    assert codes(event) == [451] * 3


def test_refused_piece_is_the_answer_for_all():
    client = ready(BY_BDAT, BDAT)
    client.start(transaction(THREE, size=600_000))
    assert events_of(client, b"250 m\r\n250 r\r\n250 r\r\n550 r\r\n") == [c.SendData()]
    client.send_data(b"x" * 300_000)
    client.send_data(b"x" * 300_000)
    client.finish_data()
    client.take_output()
    (event,) = events_of(client, b"552 5.3.4 large\r\n503 x\r\n503 x\r\n503 x\r\n")
    assert codes(event) == [552, 552, 550]
    assert event.reusable
    client.start(transaction())
    assert client.take_output().startswith(b"RSET\r\nMAIL")
