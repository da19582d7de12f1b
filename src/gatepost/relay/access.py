"""Access: what to answer to a client's command. Facts come from the session and the configuration; no I/O but a look
at the free space of the spool's disk, at most once a second.

An answer of None means the standard positive reply.
"""

import os
import time

from gatepost.config.masks import MaskSet, RelayTable
from gatepost.config.schema import Config
from gatepost.model.envelope import Recipient
from gatepost.model.reply import Reply, reply
from gatepost.smtp.replies import NO_RESOURCES

RELAYING_DENIED = reply(554, "5.7.1", "Relaying denied")
QUEUE_FULL = reply(452, "4.3.1", "Too much mail is waiting here, try again later")

_SPACE_TTL_S = 1.0


class Access:
    """The rules of one configuration."""

    def __init__(self, config: Config, queue_path: str) -> None:
        self._table = RelayTable(config.relay_rules)
        self._protected = MaskSet(f"*@{domain}" for domain in config.network.protected_domains)
        self._postmaster = config.network.postmaster
        self._free_wanted = config.limits.minimal_queue_free_space_size
        self._queue_path = queue_path
        self._space_checked = 0.0
        self._space_ok = True

    def mail(self, *, queue_full: bool) -> tuple[Reply, str] | None:
        """Answer MAIL: (reply, cause) when the message cannot be taken now."""
        if queue_full:
            return QUEUE_FULL, "queue-full"
        if not self.has_space():
            return NO_RESOURCES, "free-space"
        return None

    def recipient(self, client_ip: str, recipient: Recipient) -> tuple[Recipient, Reply | None]:
        """Answer RCPT: the recipient to store (postmaster mapped, specification F-SMTP-15) and a refusal, if any."""
        if recipient.address.lower() == "postmaster":
            return Recipient(self._postmaster, recipient.notify, recipient.orcpt), None
        allowed = self._table.decide(client_ip, recipient.address)
        if allowed is None:  # no rules at all: never an open relay, but our own domains get their mail
            allowed = self._protected.matches(recipient.address)
        return recipient, None if allowed else RELAYING_DENIED

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
