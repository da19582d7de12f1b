"""The sending role and TLS: STARTTLS before the first transaction, wanted or required, and what may go wrong there."""

import pytest
from smtp_dialogue import events_of, transaction

from gatepost.smtp import client as c

OFFERED = b"250-peer.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS\r\n"
PLAIN = b"250-peer.example\r\n250 PIPELINING\r\n"
MAY = c.ClientSettings("gate.example.com", tls=c.TlsUse.MAY, hello_s=7)
ENCRYPT = c.ClientSettings("gate.example.com", tls=c.TlsUse.ENCRYPT)
HELLO = b"EHLO gate.example.com\r\n"


def opened(settings, replies, size=0):
    """Return (session, events) after the greeting and these replies."""
    client = c.ClientSession(settings)
    events = events_of(client, b"220 peer.example ESMTP\r\n" + replies, size)
    return client, events


def handshaking(settings=MAY):
    client, events = opened(settings, OFFERED + b"220 go ahead\r\n")
    assert events == [c.StartTls()]
    client.take_output()
    return client


@pytest.mark.parametrize("settings", [MAY, ENCRYPT])
@pytest.mark.parametrize("size", [0, 1, 3])
def test_tls_is_started_and_everything_said_before_forgotten(settings, size):
    client, events = opened(settings, OFFERED + b"220 2.0.0 go ahead\r\n", size)
    assert events == [c.StartTls()]
    assert client.take_output() == HELLO + b"STARTTLS\r\n"
    assert client.waiting is c.Phase.HANDSHAKE
    client.tls_started()
    assert client.extensions == c.Extensions()
    assert client.take_output() == HELLO
    (ready,) = events_of(client, b"250-peer.example\r\n250 DSN\r\n", size)
    assert ready == c.Ready(c.Extensions(esmtp=True, dsn=True, keywords=("DSN",)), c.TlsState.ACTIVE)
    client.start(transaction())
    assert client.take_output() == b"MAIL FROM:<a@example.com>\r\n", "PIPELINING was offered in clear only"


def test_tls_is_not_begun_twice():
    client = handshaking()
    client.tls_started()
    (ready,) = events_of(client, OFFERED)
    assert isinstance(ready, c.Ready)
    assert client.take_output() == HELLO


def test_session_that_begins_under_tls_says_no_starttls():
    client = c.ClientSession(ENCRYPT, tls_active=True)
    (ready,) = events_of(client, b"220 x\r\n" + OFFERED)
    assert ready.tls is c.TlsState.ACTIVE
    assert client.take_output() == HELLO


@pytest.mark.parametrize("settings", [c.ClientSettings("gate.example.com"), MAY])
def test_unwanted_or_not_offered(settings):
    client, (ready,) = opened(settings, OFFERED if settings.tls is c.TlsUse.NONE else PLAIN)
    assert client.take_output() == HELLO
    assert ready.tls is client.tls
    assert ready.tls is (c.TlsState.UNWANTED if settings.tls is c.TlsUse.NONE else c.TlsState.ABSENT)
    assert ready.extensions.pipelining


@pytest.mark.parametrize("answer", [b"454 4.7.0 later\r\n", b"502 5.5.1 what\r\n", b"554 no\r\n"])
def test_wanted_but_refused_goes_on_in_clear(answer):
    client, (ready,) = opened(MAY, OFFERED + answer)
    assert ready.tls is c.TlsState.REFUSED
    assert ready.extensions.pipelining
    client.start(transaction())
    assert client.take_output().endswith(b"DATA\r\n")


@pytest.mark.parametrize(
    ("replies", "state"),
    [
        (PLAIN, c.TlsState.ABSENT),
        (b"502 EHLO\r\n250 peer\r\n", c.TlsState.ABSENT),
        (OFFERED + b"454 later\r\n", c.TlsState.REFUSED),
        (OFFERED + b"554 never\r\n", c.TlsState.REFUSED),
    ],
)
def test_required_and_not_to_be_had_is_a_temporary_refusal(replies, state):
    client, (event,) = opened(ENCRYPT, replies)
    assert isinstance(event, c.Refused)
    assert (event.reply.code, event.reply.enhanced) == (451, "4.7.4")
    assert client.tls is state
    assert client.take_output().endswith(b"QUIT\r\n")
    assert client.closed


def test_421_to_starttls_is_the_peers_refusal():
    client, (event,) = opened(MAY, OFFERED + b"421 4.3.2 down\r\n")
    assert isinstance(event, c.Refused)
    assert event.reply.code == 421
    assert client.closed


@pytest.mark.parametrize("answer", [b"250 ok\r\n", b"354 go\r\n", b"garbage\r\n"])
def test_other_answers_to_starttls_are_protocol_errors(answer):
    client, (event,) = opened(ENCRYPT, OFFERED + answer)
    assert isinstance(event, c.Closed)
    assert client.closed


INJECTED = b"250-evil\r\n250 AUTH PLAIN\r\n"


def test_bytes_behind_the_reply_to_starttls_end_the_session():
    client, (event,) = opened(ENCRYPT, OFFERED + b"220 go\r\n" + INJECTED)
    assert event == c.Closed("protocol error: peer sent data behind STARTTLS")
    assert client.closed
    assert client.take_output() == HELLO + b"STARTTLS\r\n"


@pytest.mark.parametrize("injected", [INJECTED, b"2", b"\n"])
def test_bytes_in_clear_during_the_handshake_end_the_session(injected):
    client = handshaking(ENCRYPT)
    client.feed(b"")
    assert client.next_event() is None
    (event,) = events_of(client, injected)
    assert event == c.Closed("protocol error: peer sent data behind STARTTLS")
    client.tls_started()
    assert client.take_output() == b""
    assert client.closed


def test_handshake_that_stalls_or_breaks():
    client = handshaking()
    assert client.timeout_s == 7
    client.timeout()
    assert events_of(client) == [c.Closed("timeout while handshake")]
    client = handshaking()
    client.eof()
    assert events_of(client) == [c.Closed("connection lost while handshake")]
    client = handshaking()
    client.quit()
    assert client.closed
    assert client.take_output() == b""


def test_handshake_is_told_of_only_when_it_was_asked_for():
    client, _ = opened(MAY, PLAIN)
    with pytest.raises(RuntimeError, match="idle"):
        client.tls_started()


@pytest.mark.parametrize("end", ["eof", "timeout", "garbage", "refusal", "421"])
def test_trouble_after_the_handshake(end):
    client = handshaking(ENCRYPT)
    client.tls_started()
    if end == "eof":
        client.eof()
    elif end == "timeout":
        client.timeout()
    raw = {"garbage": b"\x16\x03\x01\r\n", "refusal": b"450 x\r\n", "421": b"421 x\r\n"}.get(end, b"")
    (event,) = events_of(client, raw)
    assert isinstance(event, c.Refused if end in {"refusal", "421"} else c.Closed)
    assert client.closed
