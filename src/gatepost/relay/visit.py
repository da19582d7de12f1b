"""A visit: what is known of one client while its session lasts.

Made by `relay.reception` for each connection and kept up to date by it; `relay.access` reads it for every decision and
notes here what it has found out. Facts only, no rules.
"""

import asyncio
from collections.abc import Iterable

from gatepost.config.schema import Listener
from gatepost.model.record import TEXT_TOLD, Refused
from gatepost.model.reply import Reply
from gatepost.relay.rules import Fact

Asked = dict[Fact, "asyncio.Task[bool | None]"]
"""Facts that were asked for; a task's result is None when the fact is not to be had."""


class Visit:
    """The mutable facts of one session.

    `access.connect` must have been called before anything else is asked, and again after `replace`.
    """

    __slots__ = (
        "asked_helo",
        "connection_ip",
        "counted_sender",
        "credential",
        "facts",
        "helo",
        "hidden",
        "ip",
        "listener",
        "name",
        "place",
        "port",
        "sender",
        "settled",
        "spared",
        "tls",
        "trusted",
        "user",
    )

    def __init__(self, ip: str, port: int, listener: Listener) -> None:
        self.listener = listener
        self.connection_ip = ip
        """Who is connected: the peer of the socket, or the client that PROXY or XCLIENT named in its place. Relay
        rules and lists of addresses go by it."""
        self.ip = ip
        """What checks look at, rates count and the envelope says: `connection_ip`, or the client of a relay of ours in
        front, as XFORWARD named it."""
        self.port = port
        self.place = ip
        """What the session is counted under (`intake.place_of`)."""
        self.helo = ""
        self.asked_helo: str | None = ""
        """Name at HELO that the facts are of; "" before the first, None when it is another client's."""
        self.name = ""
        """Name of `ip` in DNS, confirmed by its address; "" when it has none or nobody asked."""
        self.tls = ""
        """Version and cipher; "" in clear."""
        self.user = ""
        """Who has signed in; "" for nobody."""
        self.credential = ""
        """The hash of the password `user` signed in with; "" when a front relay of ours has named the user."""
        self.sender = ""
        """Of the transaction under way; "" also for the null sender."""
        self.trusted = False
        """The client is in our own networks. Who has signed in counts like it: see `ours`."""
        self.spared = False
        """`access.allow_clients` holds it: no rules of connection, no rates."""
        self.hidden = False
        """A relay of ours in front hands the mail on and has not said for whom: `ip` is only that relay's, so nothing
        is asked about it; the Received fields tell at the end of data (`access.settle_client`)."""
        self.settled = False
        """The Received fields have told who the client is: of this message, not of the next."""
        self.counted_sender = False
        """The transaction counts in its sender's rate already."""
        self.facts: Asked = {}

    @property
    def ours(self) -> bool:
        """From our own network, or signed in: not a stranger."""
        return self.trusted or self.user != ""

    def refusal(
        self,
        now: float,
        stage: str,
        cause: str,
        answer: Reply,
        *,
        sender: str = "",
        recipient: str = "",
        number: int = 0,
        size: int = 0,
        addresses: tuple[str, ...] = (),
    ) -> Refused:
        """Return the record of a refusal. `number`, `size`, `addresses`: of the message, when its content had come."""
        return Refused(
            now,
            self.ip,
            stage,
            cause,
            answer.code,
            sender,
            recipient,
            self.helo,
            f"{answer.enhanced} {answer.text}".strip()[:TEXT_TOLD],
            self.tls,
            self.user,
            self.name,
            self.listener.name or self.listener.address,
            number,
            size,
            addresses,
        )

    def replace(self, ip: str, port: int = 0, name: str = "", helo: str = "", user: str = "") -> None:
        """Take another client for the connection's (PROXY, XCLIENT): nothing known of the former holds any more."""
        self.connection_ip = self.ip = ip
        self.port = port
        self.name = name
        self.helo = helo
        self.user = user
        self.credential = ""
        self.sender = ""
        self.trusted = self.spared = self.hidden = self.settled = self.counted_sender = False
        self.asked_helo = ""
        self.forget(list(self.facts))

    def forward(self, ip: str, port: int = 0, name: str = "", helo: str = "") -> None:
        """Take the client a relay of ours in front has named (XFORWARD) for what checks look at."""
        self.ip = ip
        self.port = port
        self.name = name
        self.helo = helo
        self.hidden = False
        self.asked_helo = None
        self.forget(list(self.facts))

    def forget(self, facts: Iterable[Fact]) -> None:
        """Drop facts; who still waits for one waits no longer."""
        for fact in facts:
            task = self.facts.pop(fact, None)
            if task is not None:
                task.cancel()

    def settle(self, ip: str, *, trusted: bool) -> None:
        """Take what the Received fields tell for the client of this message; `ip` "": they do not name one."""
        self.ip = ip or self.connection_ip
        self.port = 0
        self.name = ""
        self.trusted = trusted
        self.settled = True

    def unsettle(self) -> None:
        """The next message of the relay in front: nothing is known of its client."""
        self.ip = self.connection_ip
        self.trusted = self.settled = False
