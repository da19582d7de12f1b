"""The sending role with every extension: nothing in content can end it, no server confuses it, however bytes arrive."""

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from smtp_dialogue import drive, events_of, ready_client, transaction
from smtp_dialogue import settings as server_settings

from gatepost.model.envelope import Body
from gatepost.smtp import client as c
from gatepost.smtp import server as s
from gatepost.smtp.chunk_writer import CHUNK_SIZE
from gatepost.smtp.client import FLIGHT_LIMIT
from gatepost.smtp.lines import has_bare_line_ends, normalise_line_ends

EHLO = b"250-peer.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-STARTTLS\r\n250 CHUNKING\r\n"
BY_BDAT = c.ClientSettings("gate.example.com", chunking=True)
CONTENT = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"\r\n.\r\n", b"\n.\n", b"BDAT 0 LAST\r\n", b"MAIL FROM:<x@y>\r\n", b"QUIT\r\n", b"\0", b"\xff", b"text"])
    | st.binary(max_size=9),
    max_size=30,
).map(b"".join)  # fmt: skip
CUTS = st.lists(st.integers(0, 400), max_size=12)


def pieces(stream, cuts):
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


def understood(stream):
    """Return (commands, content) as a peer reads them that counts octets and nothing else."""
    commands, content = [], b""
    while stream:
        line, _, stream = stream.partition(b"\r\n")
        commands.append(line)
        match = re.fullmatch(rb"BDAT ([0-9]+)( LAST)?", line)
        if match:
            size = int(match[1])
            assert len(stream) >= size
            content += stream[:size]
            stream = stream[size:]
    return commands, content


@settings(max_examples=150, deadline=None)
@given(content=CONTENT, cuts=CUTS, size=st.sampled_from([1, 70_000]), binary=st.booleans(), big=st.booleans())
def test_no_content_can_end_itself_or_be_read_as_commands(content, cuts, size, binary, big):
    given_pieces = pieces(content, cuts)
    if big:
        given_pieces = [*given_pieces, b"x" * CHUNK_SIZE, *given_pieces]
    client = ready_client(EHLO, BY_BDAT)
    client.start(transaction(size=size, body=Body.BINARY if binary else Body.EIGHT_BIT))
    assert events_of(client, b"" if size == 1 else b"250 m\r\n250 r\r\n") == [c.SendData()]
    for piece in given_pieces:
        client.send_data(piece)
    client.finish_data()
    commands, received = understood(client.take_output())
    assert commands[:2] == [f"MAIL FROM:<a@example.com> BODY={'BINARYMIME' if binary else '8BITMIME'}".encode(), b"RCPT TO:<b@example.org>"]  # fmt: skip
    assert all(command.startswith(b"BDAT ") for command in commands[2:])
    assert [command.endswith(b" LAST") for command in commands[2:]] == [False] * (len(commands) - 3) + [True]
    expected = b"".join(given_pieces)
    if not binary:
        expected = normalise_line_ends(expected)
        if expected and not expected.endswith(b"\r\n"):
            expected += b"\r\n"
    assert received == expected


@settings(max_examples=100, deadline=None)
@given(content=CONTENT, cuts=CUTS, size=st.sampled_from([1, 70_000]), binary=st.booleans())
def test_our_own_server_reads_what_was_sent(content, cuts, size, binary):
    server = s.ServerSession(server_settings(chunking=True, binarymime=True, size_limit=10**6), "192.0.2.1")
    client = c.ClientSession(BY_BDAT)
    messages, ended = [], []

    def talk(output):
        served = drive(server, pieces(output, cuts))
        messages.extend(served.messages)
        for piece in pieces(served.output, cuts):
            ended.extend(event for event in events_of(client, piece) if isinstance(event, c.Outcome))

    events_of(client, b"220 mx.example.com ESMTP\r\n")
    talk(client.take_output())
    for number in range(2):
        client.start(transaction(size=size, body=Body.BINARY if binary else Body.EIGHT_BIT))
        if size > FLIGHT_LIMIT:
            talk(client.take_output())
        events_of(client)
        assert client.sending
        client.send_data(content)
        client.finish_data()
        talk(client.take_output())
        assert [outcome.reply.code for event in ended for outcome in event.recipients] == [250] * (number + 1)
    expected = content if binary else normalise_line_ends(content)
    if not binary and expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert messages == [expected] * 2


REPLIES = st.lists(
    st.sampled_from(
        [b"250 ok\r\n", b"250 2.1.0 ok\r\n", b"250-more\r\n", b"354 go\r\n", b"452 4.5.3 many\r\n", b"550 no\r\n", b"421 bye\r\n", EHLO,
         b"220 hi\r\n", b"454 no tls\r\n", b"250", b"\r\n", b"999 x\r\n", b"503 bad\r\n", b"\n"]
    )
    | st.binary(max_size=4),
    max_size=25,
).map(b"".join)  # fmt: skip
SETTINGS = st.builds(
    c.ClientSettings,
    hostname=st.just("gate.example.com"),
    pipelining=st.booleans(),
    chunking=st.booleans(),
    lmtp=st.booleans(),
    tls=st.sampled_from(c.TlsUse),
)


class Played:
    """A session run against the replies, as the shell does: those in clear, and those under TLS if it comes to that."""

    def __init__(self, given_settings, sizes):
        self.client = c.ClientSession(given_settings)
        self.sizes = list(sizes)
        self.content = (b"text\r\n.\r\n", b"end") if sizes[0] == 100 else (b"text", b"x" * CHUNK_SIZE, b"end")
        self.events = []
        self.output = b""
        self.started = 0

    def run(self, clear, under_tls):
        for part in clear:
            self.client.feed(part)
            self.work()
        if self.client.waiting is c.Phase.HANDSHAKE:
            self.client.tls_started()
            for part in under_tls:
                self.client.feed(part)
                self.work()
        self.client.eof()
        self.work()
        # The handshake begins or not by how the bytes behind the reply to STARTTLS arrive; the end is the same.
        lost = self.events[-1:] == [c.Closed("protocol error: peer sent data behind STARTTLS")]
        return [event for event in self.events if not (lost and isinstance(event, c.StartTls))]

    def work(self):
        client = self.client
        while (event := client.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, c.SendData):
                for piece in self.content:
                    client.send_data(piece)
                client.finish_data()
                self.output += client.take_output()
            if client.waiting is c.Phase.IDLE:
                if self.sizes:
                    self.started += 1
                    client.start(transaction(["b@example.org", "c@example.org"], size=self.sizes.pop()))
                else:
                    client.quit()
        self.output += client.take_output()


@settings(max_examples=250, deadline=None)
@given(stream=REPLIES, behind=REPLIES, cuts=CUTS, given_settings=SETTINGS, ready=st.booleans(), small=st.booleans())
def test_any_server_is_survived_and_every_recipient_accounted_for(stream, behind, cuts, given_settings, ready, small):
    if ready:
        stream = b"220 hi\r\n" + EHLO + (b"220 go\r\n" if given_settings.tls is not c.TlsUse.NONE else b"") + stream
        behind = EHLO + behind
    sizes = (100, 100) if small else (10**6, 10**6)
    whole = Played(given_settings, sizes)
    events = whole.run([stream], [behind])
    cut_up = Played(given_settings, sizes)
    assert events == cut_up.run(pieces(stream, cuts), pieces(behind, cuts))
    assert whole.output == cut_up.output
    assert whole.client.closed
    ended = [event for event in events if isinstance(event, c.Outcome | c.Closed) and event.recipients]
    assert len(ended) == whole.started
    for event in ended:
        assert [outcome.index for outcome in event.recipients] == [0, 1]
        if isinstance(event, c.Closed) and not given_settings.lmtp:
            assert not any(outcome.reply.positive for outcome in event.recipients)
    assert whole.output == b"" or whole.output.endswith(b"\r\n")
    assert not has_bare_line_ends(whole.output)
    if given_settings.tls is c.TlsUse.ENCRYPT:
        assert b"MAIL" not in whole.output.partition(b"STARTTLS\r\n")[0]
        assert whole.client.tls is c.TlsState.ACTIVE or not whole.started
