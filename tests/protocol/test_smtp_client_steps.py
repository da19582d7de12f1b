"""The sending side by steps, and XFORWARD: what a proxy says to its next hop."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smtp_dialogue import events_of, transaction

from gatepost.model.envelope import Body, Recipient
from gatepost.smtp import client as c
from gatepost.smtp.client_events import Stepped
from gatepost.smtp.client_steps import SteppedSession

FULL = (
    b"250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n"
)
BARE = b"250 peer\r\n"
WHO = c.Forwarded(name="mail.example", address="2001:db8::1", port=25, protocol="ESMTP", helo="a+b=c", source="REMOTE")


def ready(ehlo=FULL, *, lmtp=False):
    session = SteppedSession(c.ClientSettings("proxy.example.com", lmtp=lmtp))
    (event,) = events_of(session, b"220 peer\r\n" + ehlo)
    assert isinstance(event, c.Ready)
    session.take_output()
    return session


def step(session, answer):
    (event,) = events_of(session, answer)
    assert isinstance(event, Stepped)
    return event.reply.code


def test_each_step_is_said_and_answered_by_itself():
    session = ready()
    session.begin(transaction(()))
    assert session.take_output() == b"MAIL FROM:<a@example.com>\r\n"
    assert step(session, b"250 fine\r\n") == 250
    for address, answer in (
        ("b", b"550-5.1.1 no\r\n550 5.1.1 such user\r\n"),
        ("c", b"250 yes\r\n"),
        ("d", b"451 wait\r\n"),
    ):
        session.add(Recipient(f"{address}@example.org", orcpt="rfc822;x@y"))
        assert session.take_output() == b"RCPT TO:<%s@example.org> ORCPT=rfc822;x@y\r\n" % address.encode()
        assert step(session, answer) == int(answer[:3])
    session.go_on(plain=True)
    assert session.take_output() == b"DATA\r\n"
    assert events_of(session, b"354 go\r\n") == [c.SendData()]
    session.send_data(b"text\r\n")
    session.finish_data()
    assert session.take_output() == b"text\r\n.\r\n"
    (outcome,) = events_of(session, b"250 2.0.0 queued as 1\r\n")
    assert [each.reply.code for each in outcome.recipients] == [550, 250, 451]
    assert outcome.reusable
    session.begin(transaction(()))
    assert session.take_output() == b"MAIL FROM:<a@example.com>\r\n", "nothing to reset"


def test_by_lmtp_each_accepted_recipient_has_an_end_of_its_own():
    session = ready(lmtp=True)
    session.begin(transaction(()))
    step(session, b"250 ok\r\n")
    for answer in (b"250 ok\r\n", b"550 no\r\n", b"250 ok\r\n"):
        session.add(Recipient("b@example.org"))
        step(session, answer)
    session.go_on(plain=False)
    events_of(session, b"354 go\r\n")
    session.send_data(b".dot\r\n")
    session.finish_data()
    assert session.take_output().endswith(b"..dot\r\n.\r\n")
    (outcome,) = events_of(session, b"250 ok\r\n452 full\r\n")
    assert [each.reply.code for each in outcome.recipients] == [250, 550, 452]


def test_an_abandoned_transaction_is_reset_by_the_next():
    session = ready()
    session.begin(transaction(()))
    step(session, b"250 ok\r\n")
    session.add(Recipient("b@example.org"))
    step(session, b"250 ok\r\n")
    session.abandon()
    session.take_output()
    session.start(transaction(("c@example.org",)))
    assert session.take_output().split(b"\r\n")[:2] == [b"RSET", b"MAIL FROM:<a@example.com>"]


def test_a_refused_sender_ends_the_transaction():
    session = ready()
    session.begin(transaction(()))
    assert step(session, b"550 no\r\n") == 550
    with pytest.raises(RuntimeError):
        session.add(Recipient("b@example.org"))
    session.begin(transaction(()))
    assert session.take_output().startswith(b"MAIL ")


def test_what_the_peer_cannot_take_is_answered_in_its_place():
    session = ready(BARE)
    session.begin(transaction((), body=Body.EIGHT_BIT))
    (event,) = events_of(session)
    assert event.reply.enhanced == "5.6.3"
    session.begin(transaction(()))
    assert session.take_output() == b"MAIL FROM:<a@example.com>\r\n"
    step(session, b"250 ok\r\n")
    session.add(Recipient("b\r\nQUIT@example.org"))
    (event,) = events_of(session)
    assert event.reply.enhanced == "5.1.3"
    assert session.take_output() == b""


@pytest.mark.parametrize("said", [b"421 closing\r\n", b"354 what\r\n", b"nonsense\r\n", b""])
def test_a_session_that_breaks_off_says_so_once(said):
    session = ready()
    session.begin(transaction(()))
    step(session, b"250 ok\r\n")
    session.add(Recipient("b@example.org"))
    session.feed(said)
    if not said:
        session.eof()
    events = events_of(session)
    assert len(events) == 1
    assert isinstance(events[0], c.Outcome | c.Closed)
    assert session.closed


def test_client_facts_go_to_a_peer_that_takes_them():
    session = ready()
    session.begin(msgspec.structs.replace(transaction(()), forwarded=WHO))
    assert session.take_output() == (
        b"XFORWARD NAME=mail.example ADDR=IPV6:2001:db8::1 PORT=25 PROTO=ESMTP\r\n"
        b"XFORWARD HELO=a+2Bb+3Dc IDENT=[UNAVAILABLE] SOURCE=REMOTE\r\n"
        b"MAIL FROM:<a@example.com>\r\n"
    )
    assert step(session, b"250 ok\r\n550 never heard of it\r\n250 mail\r\n") == 250
    some = ready(b"250-peer\r\n250 XFORWARD ADDR\r\n")
    some.begin(msgspec.structs.replace(transaction(()), forwarded=WHO))
    assert some.take_output() == b"XFORWARD ADDR=IPV6:2001:db8::1\r\n"
    none = ready(BARE)
    none.begin(msgspec.structs.replace(transaction(()), forwarded=WHO))
    assert none.take_output() == b"MAIL FROM:<a@example.com>\r\n"


_SAID = st.sampled_from(
    [
        b"250 ok\r\n",
        b"250-a\r\n250 b\r\n",
        b"354 go\r\n",
        b"421 bye\r\n",
        b"451 no\r\n",
        b"550 no\r\n",
        b"\x00\r\n",
        b"2",
        b"5",
    ]
)


@given(st.lists(_SAID, max_size=12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_reply_raises_and_the_session_comes_to_an_end(said, lmtp):
    """The shell's own way through a transaction, with any replies in any order."""
    session = ready(lmtp=lmtp)
    session.begin(transaction(()))
    added = 0
    for piece in [*said, None]:
        if piece is None:
            session.eof()
        else:
            session.feed(piece)
        while (event := session.next_event()) is not None:
            match event:
                case Stepped(reply) if reply.positive and added < 2:
                    added += 1
                    session.add(Recipient("b@example.org"))
                case Stepped(reply) if reply.positive:
                    session.go_on(plain=False)
                case Stepped() if added:
                    session.abandon()
                case c.SendData():
                    session.send_data(b"x\r\n")
                    session.finish_data()
            session.take_output()
    assert session.closed
    assert session.next_event() is None
