"""Properties of both roles that hold for any bytes in any segmentation."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smtp_dialogue import OPENING, Served, drive, events_of, ready_client, serve, transaction
from smtp_dialogue import settings as server_settings

from gatepost.model.reply import Reply
from gatepost.smtp import client as c
from gatepost.smtp import replies
from gatepost.smtp import server as s
from gatepost.smtp.lines import has_bare_line_ends, normalise_line_ends

WORDS = [
    b"EHLO user", b"HELO x", b"MAIL FROM:<a@example.com>", b"MAIL FROM:<>", b" SIZE=50", b"RCPT TO:<b@example.org>",
    b"DATA", b"RSET", b"NOOP", b"QUIT", b"VRFY x", b"Received: x", b"received:", b"\r\n", b"\r\n", b"\r\n", b"\r", b"\n",
    b".", b"\r\n.\r\n", b"\r\n.\r\n", b"\r\n..", b"\n.\n", b"\0", b"x" * 40, b"\xff", b" ", b"\r\n\r\n", b"y" * 2100,
]  # fmt: skip
EXTENDED = [
    *WORDS, b"BDAT 4", b"BDAT 9", b"BDAT 0 LAST", b"BDAT 30 LAST", b"BDAT 999", b"\r\nBDAT 5\r\n", b"BODY=BINARYMIME", b" SMTPUTF8",
    "MAIL FROM:<ü@example.com> SMTPUTF8\r\n".encode(), "RCPT TO:<ü@example.org>\r\n".encode(), b"AUTH PLAIN ", b"AUTH LOGIN",
    b"AHUAcA==", b"dQ==", b"*\r\n", b"XCLIENT NAME=x ADDR=192.0.2.9 LOGIN=u\r\n", b"XFORWARD HELO=x SOURCE=LOCAL\r\n", b"STARTTLS",
    b"EHLO user\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n", b"BDAT 6 LAST\r\na\rb\nc.", b"HELP",
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=40).map(b"".join)
TRANSACTIONS = STREAMS.map(lambda stream: OPENING + stream)
CUTS = st.lists(st.integers(1, 60), min_size=1, max_size=30)
POLICIES = st.sampled_from(s.LineFeedPolicy)
REPLY_LINE = re.compile(rb"[2-5][0-9][0-9][ -][ -~]*")
CONTENT = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"\r\n.", b"\r\n.\r\n", b"text", b"\0", b"\xfe"])
    | st.binary(max_size=5),
    max_size=40,
).map(b"".join)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    found = []
    position = 0
    while position < len(stream):
        size = cuts[len(found) % len(cuts)]
        found.append(stream[position : position + size])
        position += size
    return found


def small(policy: s.LineFeedPolicy) -> s.ServerSettings:
    """Limits so small that random streams reach them."""
    return server_settings(
        bare_line_feed=policy,
        size_limit=90,
        session_bytes_limit=200,
        messages_limit=4,
        recipients_limit=2,
        hops_limit=2,
    )


@pytest.mark.parametrize("streams", [STREAMS, TRANSACTIONS], ids=["anything", "in-content"])
def test_server_gives_the_same_for_every_segmentation(streams):
    @settings(max_examples=300, deadline=None)
    @given(stream=streams, cuts=CUTS, policy=POLICIES)
    def holds(stream: bytes, cuts: list[int], policy: s.LineFeedPolicy) -> None:
        whole = serve(stream, small(policy), eof=True)
        cut: Served = drive(s.ServerSession(small(policy), "192.0.2.1"), pieces(stream, cuts), eof=True)
        cut.largest_chunk = whole.largest_chunk
        assert cut == whole
        assert whole.closed
        if whole.output:
            lines = whole.output.split(b"\r\n")
            assert lines.pop() == b""
            assert all(REPLY_LINE.fullmatch(line) and len(line) <= 510 for line in lines)
        for message in whole.messages:
            assert message == b"" or message.endswith(b"\r\n")
            assert not has_bare_line_ends(message)
            assert len(message) <= 90

    holds()


OFFERED = {
    "chunking": True,
    "binarymime": True,
    "smtputf8": True,
    "auth": ("PLAIN", "LOGIN"),
    "xclient": True,
    "xforward": True,
}
CHUNKED = st.lists(st.sampled_from(EXTENDED) | st.binary(max_size=6), max_size=40).map(b"".join)
REFUSALS = {
    s.Hello: replies.SHUTTING_DOWN,
    s.MailFrom: replies.NO_RESOURCES,
    s.RcptTo: replies.NO_RESOURCES,
    s.DataBegin: replies.NO_RESOURCES,
    s.DataEnd: replies.NO_RESOURCES,
    s.SignIn: replies.SIGN_IN_FAILED,
    s.ClientOverride: replies.NOT_TRUSTED,
}
REFUSED = st.frozensets(st.sampled_from([kind for kind in REFUSALS if kind is not s.Hello]), max_size=2)


def check_order(events: list[s.Event], messages: list[bytes]) -> None:
    """Content has a transaction, an end and no commands of a transaction in it; what is aborted does not end."""
    open_content = False
    for event in events:
        match event:
            case s.DataBegin():
                assert not open_content
                open_content = True
            case s.DataEnd() | s.DataAborted():
                assert open_content
                open_content = False
            case s.MailFrom() | s.RcptTo() | s.SignIn() | s.ClientOverride() | s.ClientForwarded():
                assert not open_content
    assert len(messages) == sum(isinstance(event, s.DataEnd) for event in events)


@pytest.mark.parametrize(
    "streams", [CHUNKED, CHUNKED.map(OPENING.removesuffix(b"DATA\r\n").__add__)], ids=["any", "mail"]
)
@pytest.mark.parametrize("tls", [None, ("TLSv1.3", "AES")], ids=["clear", "tls"])
def test_whole_session_is_the_same_for_every_segmentation(streams, tls):
    @settings(max_examples=250, deadline=None)
    @given(stream=streams, cuts=CUTS, policy=POLICIES, refused=REFUSED)
    def holds(stream, cuts, policy, refused):
        given_settings = msgspec.structs.replace(small(policy), **OFFERED)

        def decide(event):
            return REFUSALS[type(event)] if type(event) in refused else None

        def run(parts):
            return drive(s.ServerSession(given_settings, "192.0.2.1", tls), parts, decide, eof=True)

        whole = run([stream])
        split = run(pieces(stream, cuts))
        split.largest_chunk = whole.largest_chunk
        assert split == whole
        assert whole.closed
        assert all(REPLY_LINE.fullmatch(line) for line in whole.output.split(b"\r\n")[:-1])
        if s.DataBegin not in refused:
            check_order(whole.events, whole.messages)
        for message, end in zip(whole.messages, whole.of(s.DataEnd), strict=True):
            assert len(message) == end.size <= 90
            assert end.binary or not has_bare_line_ends(message)
        if tls is None:
            assert whole.of(s.SignIn) == []

    holds()


@settings(max_examples=150, deadline=None)
@given(before=STREAMS, behind=CHUNKED, cuts=CUTS)
def test_nothing_from_before_tls_is_known_after_it(before, behind, cuts):
    """Once STARTTLS is accepted, the session is the one that began with a handshake, but for its limits."""
    given_settings = server_settings(starttls=True, **{**OFFERED, "xclient": False})
    session = s.ServerSession(given_settings, "192.0.2.1")
    drive(session, pieces(before, cuts))
    drive(session, pieces(b"\r\n.\r\nRSET\r\nSTARTTLS\r\n" + behind, cuts))
    if session.waiting is not s.Waiting.HANDSHAKE:
        return
    session.tls_started("TLSv1.3", "AES")
    fresh = s.ServerSession(given_settings, "192.0.2.1", ("TLSv1.3", "AES"))
    stream = OPENING + b"x\r\n.\r\nAUTH PLAIN AHUAcA==\r\nQUIT\r\n"
    assert drive(session, [stream]) == drive(fresh, [stream])


@settings(max_examples=300, deadline=None)
@given(content=CONTENT, cuts=CUTS)
def test_what_is_sent_is_what_a_strict_server_reads(content, cuts):
    client = ready_client()
    client.start(transaction())
    events_of(client, b"250 ok\r\n250 ok\r\n354 go\r\n")
    client.take_output()
    for piece in pieces(content, cuts):
        client.send_data(piece)
    client.finish_data()
    sent = client.take_output()
    served = drive(s.ServerSession(server_settings(), "192.0.2.1"), [OPENING, *pieces(sent, cuts), b"NOOP\r\n"])
    expected = normalise_line_ends(content)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert served.messages == [expected]
    assert served.codes[-2:] == [250, 250]
    assert len(served.of(s.MailFrom)) == 1
    if expected == content:
        assert sent == re.sub(rb"(?m)^(?=\.)", b".", content) + b".\r\n"


REPLIES = st.lists(
    st.sampled_from(
        [b"250 ok\r\n", b"250 2.1.0 ok\r\n", b"250-more\r\n", b"354 go\r\n", b"452 4.5.3 many\r\n", b"550 no\r\n", b"421 bye\r\n",
         b"220 hi\r\n", b"250", b"\r\n", b"25\r\n", b"999 x\r\n", b"503 bad\r\n", b"\n"]
    )
    | st.binary(max_size=4),
    max_size=25,
).map(b"".join)  # fmt: skip


def play(parts: list[bytes], *, pipelining: bool) -> tuple[list[c.Event], bytes, bool]:
    """Run two transactions of two recipients against the replies."""
    client = c.ClientSession(c.ClientSettings("gate.example.com", pipelining=pipelining))
    events: list[c.Event] = []
    output = b""
    started = 0

    def work() -> None:
        nonlocal output, started
        while (event := client.next_event()) is not None:
            events.append(event)
            if isinstance(event, c.SendData):
                client.send_data(b"text\r\n.\r\n")
                client.finish_data()
                output += client.take_output()
            if client.waiting is c.Phase.IDLE:
                if started < 2:
                    started += 1
                    client.start(transaction(["b@example.org", "c@example.org"]))
                else:
                    client.quit()
        output += client.take_output()

    for part in parts:
        client.feed(part)
        work()
    client.eof()
    work()
    assert started == sum(isinstance(e, c.Outcome) or (isinstance(e, c.Closed) and bool(e.recipients)) for e in events)
    return events, output, client.closed


@settings(max_examples=400, deadline=None)
@given(stream=REPLIES, cuts=CUTS, pipelining=st.booleans(), ready=st.booleans())
def test_client_survives_any_server_and_accounts_for_every_recipient(stream, cuts, pipelining, ready):
    if ready:
        stream = b"220 hi\r\n250-hi\r\n250 PIPELINING\r\n" + stream
    events, output, closed = play([stream], pipelining=pipelining)
    assert closed
    assert (events, output) == play(pieces(stream, cuts), pipelining=pipelining)[:2]
    for event in events:
        if isinstance(event, c.Outcome | c.Closed) and event.recipients:
            assert [outcome.index for outcome in event.recipients] == [0, 1]
            assert all(isinstance(outcome.reply, Reply) for outcome in event.recipients)
        if isinstance(event, c.Closed):
            assert not any(outcome.reply.positive for outcome in event.recipients)
    assert output == b"" or output.endswith(b"\r\n")
    assert not has_bare_line_ends(output)
