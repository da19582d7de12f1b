"""The sending role by BDAT (RFC 3030): one flight for small mail, pieces for large, and every refusal on the way."""

import pytest
from smtp_dialogue import EHLO_ALL, events_of, ready_client, transaction

from gatepost.model.envelope import Body
from gatepost.smtp import client as c
from gatepost.smtp.chunk_writer import CHUNK_SIZE
from gatepost.smtp.client import FLIGHT_LIMIT

SETTINGS = c.ClientSettings("gate.example.com", chunking=True, mail_s=3, data_termination_s=6)
EHLO = b"250-peer.example hello\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250 CHUNKING\r\n"
THREE = ("a@example.org", "b@example.org", "c@example.org")
TEXT = b"text\r\n.\r\nBDAT 0 LAST\r\nmore\r\n"
COMMANDS = (
    b"MAIL FROM:<a@example.com>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@example.org>\r\n"
)


def codes(event):
    return [outcome.reply.code for outcome in event.recipients]


def ready(ehlo=EHLO, settings=SETTINGS):
    return ready_client(ehlo, settings)


def flown(content=TEXT, **values):
    """Return a session whose transaction is out in one flight, and that flight."""
    client = ready()
    client.start(transaction(THREE, **{"size": len(content), **values}))
    assert events_of(client) == [c.SendData()]
    assert client.sending
    client.send_data(content)
    client.finish_data()
    assert not client.sending
    return client, client.take_output()


def test_small_mail_leaves_in_one_flight():
    client, output = flown()
    assert output == COMMANDS + b"BDAT %d LAST\r\n" % len(TEXT) + TEXT
    (event,) = events_of(client, b"250 m\r\n250 1\r\n250 2\r\n250 3\r\n250 2.0.0 queued\r\n")
    assert codes(event) == [250] * 3
    assert event.recipients[0].reply.enhanced == "2.0.0"
    client.start(transaction(size=4))
    assert events_of(client) == [c.SendData()]
    assert client.take_output().startswith(b"MAIL"), "nothing to reset"


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize(
    ("replies", "expected", "reset"),
    [
        (b"250 m\r\n250 1\r\n550 2\r\n450 3\r\n250 ok\r\n", [250, 550, 450], False),
        (b"250 m\r\n250 1\r\n550 2\r\n250 3\r\n552 5.3.4 large\r\n", [552, 550, 552], True),
        (b"250 m\r\n250 1\r\n550 2\r\n250 3\r\n451 later\r\n", [451, 550, 451], True),
        (b"250 m\r\n550 1\r\n450 2\r\n550 3\r\n503 nobody\r\n", [550, 450, 550], True),
        (b"250 m\r\n550 1\r\n450 2\r\n550 3\r\n250 taken\r\n", [550, 450, 550], False),
        (b"450 m\r\n503 1\r\n503 2\r\n503 3\r\n503 x\r\n", [450] * 3, True),
        (b"550 m\r\n503 1\r\n503 2\r\n503 3\r\n250 x\r\n", [550] * 3, False),
        (b"550 m\r\n250 1\r\n250 2\r\n250 3\r\n250 x\r\n", [550] * 3, False),
    ],
)
def test_refusals_in_the_flight(replies, expected, reset, size):
    client, _ = flown()
    (event,) = events_of(client, replies, size)
    assert isinstance(event, c.Outcome)
    assert codes(event) == expected
    assert event.reusable
    client.start(transaction())
    assert client.take_output().startswith(b"RSET\r\nMAIL" if reset else b"MAIL")


def test_flight_over_a_connection_the_peer_has_left_may_be_tried_again():
    client, _ = flown()
    events_of(client, b"250 m\r\n550 1\r\n550 2\r\n550 3\r\n503 nobody\r\n")
    client.start(transaction(size=4))
    events_of(client)
    client.finish_data()
    assert client.take_output().startswith(b"RSET")
    client.eof()
    (event,) = events_of(client)
    assert not event.data_ended


STEPS = [b"250 m\r\n", b"250 1\r\n", b"550 2\r\n", b"250 3\r\n"]


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
@pytest.mark.parametrize("end", ["eof", "timeout", "garbage", "354"])
def test_unexpected_end_at_any_step_is_temporary_for_the_undecided(done, end):
    client, _ = flown()
    assert events_of(client, b"".join(STEPS[:done])) == []
    if end == "eof":
        client.eof()
    elif end == "timeout":
        client.timeout()
    (event,) = events_of(client, {"garbage": b"hello\r\n", "354": b"354 go\r\n"}.get(end, b""))
    assert isinstance(event, c.Closed)
    assert codes(event) == [451, 550 if done >= 3 else 451, 451]
    assert event.data_ended == (done > 0 or end != "eof"), "who closes without a word has not taken it"
    assert client.closed


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_421_at_any_step(done):
    client, _ = flown()
    (event,) = events_of(client, b"".join(STEPS[:done]) + b"421 4.3.2 down\r\n")
    assert codes(event) == [421, 550 if done >= 3 else 421, 421]
    assert not event.reusable


def test_all_refused_before_the_content_is_given_saves_it():
    client = ready()
    client.start(transaction(THREE, size=100))
    assert events_of(client) == [c.SendData()]
    client.take_output()
    client.send_data(b"half")
    (event,) = events_of(client, b"250 m\r\n550 1\r\n550 2\r\n550 3\r\n")
    assert codes(event) == [550] * 3
    client.send_data(b"rest")
    client.finish_data()
    assert client.take_output() == b""
    assert client.waiting is c.Phase.IDLE


def test_content_may_come_later_than_the_replies():
    client = ready()
    client.start(transaction(THREE, size=100))
    assert events_of(client, b"250 m\r\n250 1\r\n550 2\r\n550 3\r\n") == [c.SendData()]
    assert client.waiting is c.Phase.SENDING
    client.take_output()
    client.send_data(b"te")
    client.send_data(b"xt\r\n")
    assert client.take_output() == b""
    client.finish_data()
    assert client.take_output() == b"BDAT 6 LAST\r\ntext\r\n"
    (event,) = events_of(client, b"250 ok\r\n")
    assert codes(event) == [250, 550, 550]


def test_success_before_the_content_was_taken_is_a_protocol_error():
    client = ready()
    client.start(transaction(size=6))
    events_of(client)
    client.send_data(b"text\r\n")
    client.finish_data()
    (event,) = events_of(client, b"250 m\r\n250 r\r\n250 early\r\n")
    assert isinstance(event, c.Closed)
    assert codes(event) == [451]


@pytest.mark.parametrize("size", [0, FLIGHT_LIMIT + 1])
def test_large_mail_waits_for_a_recipient(size):
    client = ready()
    client.start(transaction(THREE, size=size))
    assert events_of(client) == []
    assert not client.sending
    assert client.take_output().endswith(b"RCPT TO:<c@example.org>\r\n")
    (event,) = events_of(client, b"250 m\r\n550 1\r\n550 2\r\n550 3\r\n")
    assert codes(event) == [550] * 3
    assert client.take_output() == b""
    client.start(transaction(THREE, size=size))
    assert client.take_output().startswith(b"RSET\r\n")
    assert events_of(client, b"250 reset\r\n250 m\r\n550 1\r\n250 2\r\n550 3\r\n") == [c.SendData()]


def test_mail_at_the_limit_still_flies():
    client = ready()
    client.start(transaction(size=FLIGHT_LIMIT))
    assert events_of(client) == [c.SendData()]


def sending_large():
    client = ready()
    client.start(transaction(("a@example.org", "b@example.org"), size=3 * CHUNK_SIZE))
    assert events_of(client, b"250 m\r\n250 1\r\n550 2\r\n") == [c.SendData()]
    client.take_output()
    return client


def test_large_mail_goes_in_pieces():
    client = sending_large()
    client.send_data(b"x" * (CHUNK_SIZE - 1))
    assert client.take_output() == b""
    assert client.waiting is c.Phase.SENDING
    client.send_data(b"\r")
    assert client.take_output() == b"BDAT %d\r\n" % (CHUNK_SIZE - 1) + b"x" * (CHUNK_SIZE - 1), "an LF may follow"
    assert (client.waiting, client.timeout_s) == (c.Phase.CHUNK, 6)
    assert events_of(client, b"250 1 octets\r\n") == []
    assert client.waiting is c.Phase.SENDING
    client.send_data(b"\nend")
    client.finish_data()
    assert client.take_output() == b"BDAT 7 LAST\r\n\r\nend\r\n"
    (event,) = events_of(client, b"250 ok\r\n")
    assert codes(event) == [250, 550]


@pytest.mark.parametrize("finished", [False, True])
def test_refused_piece_is_the_answer_and_saves_the_rest(finished):
    client = sending_large()
    client.send_data(b"x" * CHUNK_SIZE)
    client.send_data(b"x" * CHUNK_SIZE)
    if finished:
        client.finish_data()
    client.take_output()
    assert events_of(client, b"552 5.3.4 large\r\n") == []
    assert not client.sending
    client.send_data(b"x" * CHUNK_SIZE)
    client.finish_data()
    assert client.take_output() == b""
    assert events_of(client, b"503 x\r\n" if finished else b"") == []
    (event,) = events_of(client, b"250 what\r\n" if finished else b"503 x\r\n")
    assert codes(event) == [552, 550]
    assert event.reusable
    client.start(transaction(size=4))
    assert events_of(client) == [c.SendData()]
    client.finish_data()
    assert client.take_output().startswith(b"RSET\r\nMAIL")
    (event,) = events_of(client, b"250 reset\r\n250 m\r\n250 r\r\n250 ok\r\n")
    assert codes(event) == [250], "the refusal was of the message before"


@pytest.mark.parametrize("raw", [b"354 go\r\n", b"what\r\n"])
def test_nonsense_for_a_piece(raw):
    client = sending_large()
    client.send_data(b"x" * CHUNK_SIZE)
    client.take_output()
    (event,) = events_of(client, raw)
    assert isinstance(event, c.Closed)
    assert codes(event) == [451, 550]
    assert not event.data_ended


def test_refusal_before_the_first_piece_ends_the_session():
    client = sending_large()
    (event,) = events_of(client, b"452 4.3.1 no room\r\n")
    assert codes(event) == [452, 550]
    assert not event.reusable
    assert client.closed


def test_a_wrong_size_harms_nothing():
    content = b"RSET\r\nMAIL FROM:<x@y>\r\n" * 30_000
    client = ready()
    client.start(transaction(size=4))
    assert events_of(client) == [c.SendData()]
    client.take_output()
    client.send_data(content)
    client.finish_data()
    output = client.take_output()
    head, _, rest = output.partition(b"\r\n")
    assert head == b"BDAT %d" % len(content)
    assert rest == content + b"BDAT 0 LAST\r\n"
    (event,) = events_of(client, b"250 m\r\n250 r\r\n250 piece\r\n250 ok\r\n")
    assert codes(event) == [250]


@pytest.mark.parametrize(
    ("ehlo", "settings"),
    [
        (EHLO_ALL, SETTINGS),
        (EHLO, c.ClientSettings("gate.example.com")),
        (EHLO, c.ClientSettings("gate.example.com", chunking=True, pipelining=False)),
        (EHLO.replace(b"250-PIPELINING\r\n", b""), SETTINGS),
    ],
)
def test_by_data_unless_offered_wanted_and_pipelined(ehlo, settings):
    client = ready(ehlo, settings)
    client.start(transaction(size=6))
    assert events_of(client, b"250 m\r\n250 r\r\n354 go\r\n") == [c.SendData()]
    client.send_data(b"text\r\n")
    client.finish_data()
    assert b"BDAT" not in client.take_output()
    (event,) = events_of(client, b"250 ok\r\n")
    assert codes(event) == [250]
    client.start(transaction(size=6, body=Body.BINARY))
    (event,) = events_of(client)
    assert event.cause is c.LocalCause.BINARY


def test_binary_content_goes_as_it_is():
    content = b"\0\r\r\n\n.\r\n\xff"
    _, output = flown(content, body=Body.BINARY)
    assert output.startswith(b"MAIL FROM:<a@example.com> BODY=BINARYMIME\r\n")
    assert output.endswith(b"BDAT %d LAST\r\n" % len(content) + content)


def test_binary_content_needs_binarymime():
    client = ready(EHLO.replace(b"250-BINARYMIME\r\n", b""))
    client.start(transaction(size=6, body=Body.BINARY))
    (event,) = events_of(client)
    assert event.cause is c.LocalCause.BINARY
    assert (event.recipients[0].reply.code, event.recipients[0].reply.enhanced) == (554, "5.6.3")


@pytest.mark.parametrize(
    ("content", "leaves"),
    [
        (b"", b""),
        (b"a", b"a\r\n"),
        (b"a\nb", b"a\r\nb\r\n"),
        (b"a\r", b"a\r\n"),
        (b".\r\n", b".\r\n"),
        (b"\r\n.\r\n", b"\r\n.\r\n"),
    ],
)
def test_line_ends_are_those_of_mail(content, leaves):
    _, output = flown(content, size=5)
    assert output == COMMANDS + b"BDAT %d LAST\r\n" % len(leaves) + leaves
