"""Mail hosts of a domain in the order they are to be tried (RFC 5321 §5.1, RFC 7505). Pure.

`relay.planning` asks the resolver and calls `plan_mail_hosts`; the plans it makes are what `relay.hops` keeps
connections for.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from gatepost.model.reply import Reply, reply
from gatepost.relay.routing import SMTP_PORT, NextHop
from gatepost.relay.tls_policy import TlsDemand
from gatepost.resolver.answers import MailHosts, Outcome

HOSTS_LIMIT: Final = 30
"""Hosts of a plan: a domain that names more gets its best ones tried (RFC 5321 §5.1 asks for two at least)."""


class MailHost(msgspec.Struct, frozen=True, array_like=True):
    """A host that may take the mail, and what a session with it must have."""

    hop: NextHop
    tls: TlsDemand
    by_mx: bool = False
    """Found in DNS, so that it may turn out to be ourselves; False: a route names it."""
    secure: bool = True
    """The way to its name can be trusted: a route, or a validated answer (RFC 7672 §2.2.1)."""


class HostPlan(msgspec.Struct, frozen=True, cache_hash=True):
    """Where some mail may be sent: mail with equal plans shares its connections."""

    tiers: tuple[tuple[MailHost, ...], ...]
    """Best first; the hosts of one tier are as good as each other."""
    lmtp: bool = False

    @property
    def label(self) -> str:
        """Name for log lines: its best host."""
        return self.tiers[0][0].hop.label


def plan_mail_hosts(
    domain: str, answer: MailHosts, own_name: str, demand: TlsDemand
) -> tuple[tuple[MailHost, ...], ...] | Reply:
    """Return the hosts of a domain in tiers of equal preference, or why there is none.

    Only hosts with a better preference than our own name count (loop rule, RFC 5321 §5.1).
    """
    if answer.null_mx:
        return reply(556, "5.1.10", f"{domain} takes no mail: its MX record says so")
    if answer.outcome is Outcome.FAILED:
        return reply(451, "4.4.3", f"mail hosts of {domain} are not known now: {answer.reason or 'DNS failed'}")
    if answer.outcome is Outcome.NO_NAME:
        return reply(550, "5.1.2", f"domain {domain} does not exist")
    if not answer.hosts:
        return reply(550, "5.4.4", f"{domain} has neither a mail host nor an address")
    ours = min((mx.preference for mx in answer.hosts if mx.host == own_name), default=None)
    hosts = [mx for mx in answer.hosts if ours is None or mx.preference < ours]
    if not hosts:
        return loop_reply(domain)
    return tuple(
        tuple(MailHost(NextHop(mx.host, SMTP_PORT), demand, by_mx=True, secure=answer.authentic) for mx in tier)
        for _, tier in itertools.groupby(hosts[:HOSTS_LIMIT], lambda mx: mx.preference)
    )


def loop_reply(domain: str) -> Reply:
    """Return what ends mail that would come back to us."""
    return reply(554, "5.4.6", f"mail for {domain} would come back to this host: no better mail host is known")


def in_order(plan: HostPlan, shuffle: Callable[[list[MailHost]], None]) -> Iterator[tuple[int, MailHost]]:
    """Yield tier and host in the order of one attempt: equals in an order of chance."""
    for tier, hosts in enumerate(plan.tiers):
        if len(hosts) == 1:
            yield tier, hosts[0]
            continue
        mixed = list(hosts)
        shuffle(mixed)
        for host in mixed:
            yield tier, host


def join_tiers(parts: Sequence[tuple[tuple[MailHost, ...], ...]], *, lmtp: bool) -> HostPlan:
    """Return one plan of several targets, to be tried one after the other."""
    return HostPlan(tuple(itertools.chain.from_iterable(parts)), lmtp)
