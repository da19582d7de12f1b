"""Delivery jobs: some recipients of one message for one plan of hosts.

Made by `relay.delivery`, done by `relay.hops`.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from gatepost.model.reply import Reply
from gatepost.relay.mailhosts import HostPlan
from gatepost.relay.work import Work
from gatepost.smtp.client import ClientSettings, LocalCause
from gatepost.spool.interface import Pending


class Job:
    """Some recipients of one message for one plan of hosts."""

    __slots__ = ("began", "fresh_retry", "pendings", "plan", "probe", "seven_bit", "work")

    def __init__(self, work: Work, plan: HostPlan | None, pendings: Sequence[Pending], *, probe: bool = False) -> None:
        self.work = work
        self.plan = plan
        """None: there is nowhere to send it; only its outcome is to be noted."""
        self.pendings = tuple(pendings)
        self.probe = probe
        """Its destination could not be reached lately: it finds out whether that has changed."""
        self.seven_bit = False
        """It is sent in its 7-bit form (`work.seven_bit`)."""
        self.began = 0.0
        """When its transaction began, in the event loop's time; 0 = none did."""
        self.fresh_retry = False
        """It was tried on a kept connection that the peer had closed meanwhile, and gets a fresh one."""


class Server(msgspec.Struct, frozen=True):
    """The host that had a job. Made once for each session."""

    text: str
    """Address, name and encryption, for records."""
    label: str
    """`host:port`."""
    host: str
    """Its name or address."""
    reports: bool = False
    """It takes over DSN duty."""
    ip: str = ""
    tls: str = ""
    """Version and what was proved, "" in clear."""


NO_SERVER = Server("none", "none", "")
"""None was asked."""


def describe_server(ip: str, label: str, tls: str = "", *, reports: bool = False) -> Server:
    """Return what is to be said of a server at this address; `tls` is version and proof, "" in clear."""
    host = label.rpartition(":")[0].strip("[]")
    text = " ".join(part for part in ("" if ip == host else ip, label, tls) if part)
    return Server(text, label, host, reports, ip, tls)


class Despatcher(Protocol):
    """Who gives jobs and takes their outcomes (`relay.delivery`)."""

    def finished(self, job: Job, replies: Sequence[Reply], server: Server, cause: LocalCause | None) -> None:
        """A peer answered for every recipient of the job, in order of `job.pendings`; `cause`: we did, for it."""

    def unreached(self, label: str, jobs: Sequence[Job], cause: Reply) -> None:
        """No session could be had; `cause` is permanent when there never will be one."""

    def is_at_hand(self, work: Work) -> bool:
        """Tell whether all that is needed to send a message is in memory, or open to be read."""

    async def load(self, work: Work) -> bool:
        """See that it is; False: it cannot be read and the message was dealt with."""

    def prefix(self, job: Job) -> bytes:
        """Return what is sent in front of the content."""


class HopLimits(msgspec.Struct, frozen=True):
    """Settings of sessions in force."""

    client: ClientSettings
    lmtp: ClientSettings
