"""Our sending and our receiving session against each other, as a state machine: bytes arrive in any pieces, either side
decides, gives up or goes away at any moment. What one believes delivered the other has accepted, once, to the octet.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from smtp_dialogue import settings as server_settings
from smtp_dialogue import transaction

from gatepost.model.envelope import Body
from gatepost.model.reply import reply
from gatepost.smtp import client as c
from gatepost.smtp import server as s
from gatepost.smtp.lines import normalise_line_ends

CONTENT = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b"BDAT 3 LAST\r\n", b"QUIT\r\n", b"text", b"\xfe", b"\0"]), max_size=12
).map(b"".join)  # fmt: skip
REFUSALS = (reply(451, "4.7.1", "later"), reply(550, "5.7.1", "no"), reply(421, "4.3.2", "gone", closes=True))
DECISIONS = st.sampled_from([None] * 24 + list(REFUSALS))
PIECE = st.sampled_from([1, 7, 40, 5000, 5000])


class Conversation(RuleBasedStateMachine):
    """One connection and the shells at its ends."""

    @initialize(chunking=st.booleans(), pipelining=st.booleans(), tls=st.sampled_from(c.TlsUse))
    def begin(self, chunking: bool, pipelining: bool, tls: c.TlsUse) -> None:
        self.connect(chunking, pipelining, tls)

    @precondition(lambda self: self.client.closed)
    @rule(chunking=st.booleans(), pipelining=st.booleans(), tls=st.sampled_from(c.TlsUse))
    def connect_again(self, chunking: bool, pipelining: bool, tls: c.TlsUse) -> None:
        self.teardown()
        self.connect(chunking, pipelining, tls)

    def connect(self, chunking: bool, pipelining: bool, tls: c.TlsUse) -> None:
        self.client = c.ClientSession(
            c.ClientSettings("gate.example.com", pipelining=pipelining, chunking=chunking, tls=tls)
        )
        self.server = s.ServerSession(
            server_settings(chunking=chunking, binarymime=chunking, starttls=tls is not c.TlsUse.NONE, hops_limit=9),
            "192.0.2.1",
        )
        self.to_server = b""
        self.to_client = self.server.greeting()
        self.given: list[bytes] = []
        """Content of every transaction that was begun."""
        self.recipients: list[tuple[str, ...]] = []
        self.believed: list[int] = []
        """Transactions the client holds for delivered to somebody."""
        self.accepted: list[bytes] = []
        self.coming: list[bytes] = []
        self.under_way = False
        self.deciding = False

    # -- the client

    @precondition(lambda self: self.client.waiting is c.Phase.IDLE and not self.under_way)
    @rule(content=CONTENT, size=st.sampled_from([1, 100_000]), count=st.integers(1, 3))
    def send(self, content: bytes, size: int, count: int) -> None:
        number = len(self.given)
        addresses = tuple(f"r{each}-{number}@example.org" for each in range(count))
        self.given.append(content)
        self.recipients.append(addresses)
        self.under_way = True
        self.client.start(transaction(addresses, size=size, body=Body.EIGHT_BIT))
        self.work_client()

    @precondition(lambda self: self.to_client)
    @rule(size=PIECE)
    def client_reads(self, size: int) -> None:
        piece, self.to_client = self.to_client[:size], self.to_client[size:]
        self.client.feed(piece)
        self.work_client()

    @precondition(lambda self: len(self.given) > 2)
    @rule()
    def client_gives_up(self) -> None:
        self.client.timeout()
        self.work_client()

    def work_client(self) -> None:
        client = self.client
        while (event := client.next_event()) is not None:
            if isinstance(event, c.SendData) and client.sending:
                content = self.given[-1]
                client.send_data(content[: len(content) // 2])
                client.send_data(content[len(content) // 2 :])
                client.finish_data()
                self.to_server += client.take_output()
            elif isinstance(event, c.Outcome | c.Closed) and self.under_way:
                assert [each.index for each in event.recipients] == list(range(len(self.recipients[-1])))
                self.under_way = False
                if any(each.reply.positive for each in event.recipients):
                    self.believed.append(len(self.given) - 1)
        self.to_server += client.take_output()

    # -- the handshake, which both have to want

    @precondition(lambda self: self.client.waiting is c.Phase.HANDSHAKE and not self.to_client)
    @rule()
    def shake_hands(self) -> None:
        assert self.server.waiting is s.Waiting.HANDSHAKE
        assert not self.to_server
        self.server.tls_started("TLSv1.3", "AES")
        self.client.tls_started()
        self.work_client()

    # -- the server

    @precondition(lambda self: self.to_server and not self.deciding)
    @rule(size=PIECE)
    def server_reads(self, size: int) -> None:
        piece, self.to_server = self.to_server[:size], self.to_server[size:]
        self.server.feed(piece)
        self.work_server()

    @precondition(lambda self: self.deciding)
    @rule(decision=DECISIONS)
    def decide(self, decision: object) -> None:
        self.deciding = False
        event = self.event
        if isinstance(event, s.DataEnd) and decision is None:
            self.accepted.append(b"".join(self.coming))
        self.server.answer(decision)
        self.to_client += self.server.take_output()
        self.work_server()

    @precondition(lambda self: len(self.given) > 2)
    @rule()
    def server_shuts_down(self) -> None:
        self.server.shutdown()
        self.to_client += self.server.take_output()

    def work_server(self) -> None:
        while not self.deciding and (event := self.server.next_event()) is not None:
            if isinstance(event, s.DataChunk):
                self.coming.append(event.data)
            elif isinstance(event, s.DataAborted | s.DataBegin):
                self.coming = []
            if self.server.waiting is s.Waiting.DECISION:
                self.event = event
                self.deciding = True
        self.to_client += self.server.take_output()

    # -- what must hold

    @invariant()
    def accepted_is_what_was_given(self) -> None:
        if not hasattr(self, "given"):
            return
        assert len(self.accepted) <= len(self.given)
        contents = iter(self.given)
        for accepted in self.accepted:
            assert any(_as_sent(content) == accepted for content in contents), "in the order of the transactions"

    @invariant()
    def believed_is_accepted(self) -> None:
        if hasattr(self, "believed"):
            assert len(self.believed) <= len(self.accepted)

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        self.client.eof()
        self.work_client()
        assert self.client.closed
        assert not self.under_way
        assert len(self.believed) <= len(self.accepted)


def _as_sent(content: bytes) -> bytes:
    content = normalise_line_ends(content)
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=40, stateful_step_count=80, deadline=None)
