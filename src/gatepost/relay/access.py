"""Access: what to answer to a client's command. Facts come from the visit and the configuration; no I/O of its own but
a look at the free space of the spool's disk, at most once a second.

Called by `relay.reception`. Every decision is a `Ruling`, or something to await that gives one when the answer has to
be asked for; without such a question there is no await.
"""

import os
import time
from collections.abc import Awaitable, Sequence
from typing import Final

import msgspec

from gatepost.config.masks import MaskSet, NetworkSet, RelayTable
from gatepost.config.schema import Config
from gatepost.model.envelope import Direction, Recipient
from gatepost.model.reply import Reply, reply
from gatepost.relay.direction import first_untrusted_hop, resolve_direction, trusted_networks
from gatepost.relay.visit import Visit
from gatepost.smtp.replies import NO_RESOURCES
from gatepost.smtp.server_events import MailFrom

RELAYING_DENIED = reply(554, "5.7.1", "Relaying denied")
QUEUE_FULL = reply(452, "4.3.1", "Too much mail is waiting here, try again later")

_SPACE_TTL_S = 1.0


class Ruling(msgspec.Struct, frozen=True):
    """What to answer."""

    reply: Reply | None
    """None: the standard positive reply."""
    cause: str = ""
    """Token of `gatepost.model.record.Refused.cause` of a refusal."""
    recipient: Recipient | None = None
    """Of a positive answer to RCPT: what to store instead of the recipient given; None: store that."""


Decision = Ruling | Awaitable[Ruling]
"""A plain `Ruling` when nothing has to be asked for."""

ACCEPTED: Final = Ruling(None)
_QUEUE_FULL = Ruling(QUEUE_FULL, "queue-full")
_NO_SPACE = Ruling(NO_RESOURCES, "free-space")
_RELAYING = Ruling(RELAYING_DENIED, "relaying")


class Access:
    """The rules of one configuration."""

    def __init__(self, config: Config, queue_path: str) -> None:
        network = config.network
        self._table = RelayTable(config.relay_rules)
        self._protected = MaskSet(f"*@{domain}" for domain in network.protected_domains)
        self._trusted = trusted_networks(config)
        self._front = NetworkSet(network.front_relays)
        self._xclient = NetworkSet(config.access.xclient_networks)
        self._balancers = NetworkSet(config.access.proxy_networks)
        self._postmaster = network.postmaster
        self._free_wanted = config.limits.minimal_queue_free_space_size
        self._queue_path = queue_path
        self._space_checked = 0.0
        self._space_ok = True

    # --- what the session may be told by its peer; asked once, before the greeting

    def believes_proxy(self, peer_ip: str) -> bool:
        """Tell whether a PROXY header of this peer is believed."""
        return self._balancers.contains(peer_ip)

    def believes_xclient(self, peer_ip: str) -> bool:
        """Tell whether XCLIENT of this peer is believed."""
        return self._xclient.contains(peer_ip)

    def believes_xforward(self, peer_ip: str) -> bool:
        """Tell whether XFORWARD of this peer is believed."""
        return self._front.contains(peer_ip) or self._xclient.contains(peer_ip)

    # --- decisions

    def connect(self, visit: Visit) -> Decision:
        """Answer the connection, before the greeting; also after PROXY and XCLIENT. A refusal closes."""
        visit.hidden = self._front.contains(visit.connection_ip)
        visit.trusted = not visit.hidden and self._trusted.contains(visit.ip)
        return ACCEPTED

    def forwarded(self, visit: Visit) -> None:
        """Take note of `visit.forward`: XFORWARD has told who the client is."""
        visit.trusted = self._trusted.contains(visit.ip)

    def hello(self, visit: Visit, name: str) -> Decision:
        """Answer HELO or EHLO."""
        visit.helo = name
        return ACCEPTED

    def mail(self, visit: Visit, event: MailFrom, *, queue_full: bool) -> Decision:
        """Answer MAIL."""
        if queue_full:
            return _QUEUE_FULL
        if not self.has_space():
            return _NO_SPACE
        visit.sender = event.address
        return ACCEPTED

    def recipient(self, visit: Visit, recipient: Recipient) -> Decision:
        """Answer RCPT; the bare postmaster is mapped (specification F-SMTP-15)."""
        if recipient.address.lower() == "postmaster":
            return Ruling(None, recipient=Recipient(self._postmaster, recipient.notify, recipient.orcpt))
        if visit.user:
            return ACCEPTED
        allowed = self._table.decide(visit.connection_ip, recipient.address)
        if allowed is None:  # no rules at all: never an open relay, but our own domains get their mail
            allowed = self._protected.matches(recipient.address)
        return ACCEPTED if allowed else _RELAYING

    async def sign_in(self, visit: Visit, user: str, password: str) -> bool | None:
        """Check a password (RFC 4954). None: it cannot be told now (454)."""
        raise NotImplementedError

    # --- the message

    def settle_client(self, visit: Visit, received_fields: Sequence[bytes]) -> None:
        """At the end of data: see who the client of a `visit.hidden` one is.

        `received_fields`: bodies of the Received fields of the message as it came, newest first.
        """
        if visit.hidden:
            client = first_untrusted_hop(received_fields, self._front, self._trusted)
            if client:
                visit.forward(client)
            visit.trusted = client is None

    def direction(self, visit: Visit, recipients: Sequence[Recipient]) -> Direction:
        """Return the direction of the transaction; after `settle_client`."""
        return resolve_direction(ours=visit.ours, protected=self._protected, recipients=recipients)

    def message_done(self, visit: Visit, recipients: int, size: int) -> None:
        """Take note of a message that was accepted."""

    def has_space(self) -> bool:
        """Tell whether the queue's partition has the free space the configuration asks for (F-SMTP-11)."""
        if not self._free_wanted:
            return True
        now = time.monotonic()
        if now - self._space_checked >= _SPACE_TTL_S:
            self._space_checked = now
            state = os.statvfs(self._queue_path)
            self._space_ok = state.f_bavail * state.f_frsize >= self._free_wanted
        return self._space_ok
