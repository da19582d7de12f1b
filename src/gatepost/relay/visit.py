"""A visit: what is known of one client while its session lasts.

Made by `relay.reception` for each connection and kept up to date by it; `relay.access` reads it for every decision and
notes here what it has found out. Facts only, no rules.
"""

from typing import TYPE_CHECKING

from gatepost.config.schema import Listener

if TYPE_CHECKING:
    from gatepost.relay.facts import ClientFacts, HelloFacts, SenderFacts


class Visit:
    """The mutable facts of one session.

    `access.connect` must have been called before anything else is asked, and again after `replace`.
    """

    __slots__ = (
        "client_facts",
        "connection_ip",
        "counted_sender",
        "hello_facts",
        "helo",
        "hidden",
        "ip",
        "listener",
        "name",
        "port",
        "sender",
        "sender_facts",
        "spared",
        "tls",
        "trusted",
        "user",
    )

    def __init__(self, ip: str, port: int, listener: Listener) -> None:
        self.listener = listener
        self.connection_ip = ip
        """Who is connected: the peer of the socket, or the client that PROXY or XCLIENT named in its place. Relay
        rules, lists of addresses and rates go by it."""
        self.ip = ip
        """What checks look at, and what goes into the envelope: `connection_ip`, or the client of a relay of ours in
        front, as XFORWARD named it."""
        self.port = port
        self.helo = ""
        self.name = ""
        """Name of `ip` in DNS, confirmed by its address; "" when it has none or nobody asked."""
        self.tls = ""
        """Version and cipher; "" in clear."""
        self.user = ""
        """Who has signed in; "" for nobody."""
        self.sender = ""
        """Of the transaction under way; "" also for the null sender."""
        self.trusted = False
        """The client is in our own networks. Who has signed in counts like it: see `ours`."""
        self.spared = False
        """`access.allow_clients` holds it: no rules of connection, no rates."""
        self.hidden = False
        """A relay of ours in front hands the mail on and has not said for whom: `ip` is only that relay's, so nothing
        is asked about it; the Received fields tell at the end of data (`access.settle_client`)."""
        self.counted_sender = False
        """The transaction counts in its sender's rate already."""
        self.client_facts: ClientFacts | None = None
        self.hello_facts: HelloFacts | None = None
        self.sender_facts: SenderFacts | None = None

    @property
    def ours(self) -> bool:
        """From our own network, or signed in: not a stranger."""
        return self.trusted or self.user != ""

    def replace(self, ip: str, port: int = 0, name: str = "", helo: str = "", user: str = "") -> None:
        """Take another client for the connection's (PROXY, XCLIENT): nothing known of the former holds any more."""
        self.connection_ip = self.ip = ip
        self.port = port
        self.name = name
        self.helo = helo
        self.user = user
        self.sender = ""
        self.trusted = self.spared = self.hidden = self.counted_sender = False
        self.client_facts = self.hello_facts = self.sender_facts = None

    def forward(self, ip: str, port: int = 0, name: str = "", helo: str = "") -> None:
        """Take the client a relay of ours in front has named (XFORWARD) for what checks look at."""
        self.ip = ip
        self.port = port
        self.name = name
        self.helo = helo
        self.hidden = False
        self.client_facts = self.hello_facts = self.sender_facts = None
