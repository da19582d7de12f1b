"""Planning: from a way to the plan of hosts for one recipient domain, with the resolver and what the domain publishes.

Called by `relay.delivery` for every attempt, so that a change in DNS counts for mail that waits already (F-ROUT-02).
Ways that name their hosts need no look-up and are planned at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.config.schema import Config
from gatepost.config.transport import TlsLevel
from gatepost.model.reply import Reply, reply
from gatepost.relay.mailhosts import HostPlan, MailHost, join_tiers, plan_mail_hosts
from gatepost.relay.mta_sts import Mode, StsPolicy
from gatepost.relay.outgoing_tls import OutgoingTls
from gatepost.relay.routing import MailDomain, NextHop, Way
from gatepost.relay.slots import Count
from gatepost.relay.sts_store import StsStore
from gatepost.relay.tls_policy import TlsDemand, TlsPolicies, is_dane
from gatepost.resolver.resolver import Resolver

ROUTING_QUERIES: Final = "mta_routing_queries_total"
_CACHE_LIMIT: Final = 10_000
"""Plans of named hosts remembered; cleared whole, making one is cheap."""

_Tiers = tuple[tuple[MailHost, ...], ...]


class Planner:
    """Maker of plans for one relay."""

    def __init__(self, *, resolver: Resolver, sts: StsStore, count: Count) -> None:
        self._resolver = resolver
        self._sts = sts
        self._count = count
        self._named: dict[tuple[Way, str], tuple[HostPlan, ...]] = {}
        self._turns: dict[Way, int] = {}

    def configure(self, config: Config, tls: OutgoingTls) -> None:
        """Take a (new) configuration into use."""
        self._own_name = config.network.hostname.lower().rstrip(".")
        self._policies = TlsPolicies(config)
        self._use_sts = config.tls.mta_sts
        self._sts.configure(tls, Path(config.relay.state_path))
        self._named.clear()
        self._turns.clear()

    def plan_named(self, way: Way, domain: str) -> HostPlan | None:
        """Return the plan of a way that names its hosts, None when DNS must be asked. `domain`: the recipients'."""
        plans = self._named.get((way, domain))
        if plans is None:
            if not all(isinstance(target, NextHop) for target in way.targets):
                return None
            plans = self._plan_all_named(way, domain)
        self._count(ROUTING_QUERIES)
        return plans[self._turn(way)] if way.in_turn else plans[0]

    async def plan(self, way: Way, domain: str) -> HostPlan | Reply:
        """Return the plan of any way, or why there is none, for now or for good."""
        self._count(ROUTING_QUERIES)
        parts: list[_Tiers] = []
        obstacle: Reply | None = None
        first = self._turn(way) if way.in_turn else 0
        for target in (*way.targets[first:], *way.targets[:first]):
            if isinstance(target, NextHop):
                parts.append(((self._named_host(target, domain),),))
                continue
            found = await self._plan_domain(target, domain)
            if isinstance(found, Reply):
                if obstacle is None or obstacle.permanent:
                    obstacle = found  # one that may pass is the better news
            else:
                parts.append(found)
        if parts:
            return join_tiers(parts, lmtp=way.lmtp)
        return obstacle or reply(451, "4.3.5", "the route leads nowhere")

    def _plan_all_named(self, way: Way, domain: str) -> tuple[HostPlan, ...]:
        """Return the plans that begin with each target in turn."""
        if len(self._named) > _CACHE_LIMIT:
            self._named.clear()
        hosts = [self._named_host(target, domain) for target in way.targets if isinstance(target, NextHop)]
        starts = range(len(hosts)) if way.in_turn else range(1)
        plans = tuple(
            HostPlan(tuple((host,) for host in (*hosts[start:], *hosts[:start])), way.lmtp) for start in starts
        )
        self._named[way, domain] = plans
        return plans

    def _turn(self, way: Way) -> int:
        turn = self._turns.get(way, 0)
        self._turns[way] = turn + 1
        return turn % len(way.targets)

    def _named_host(self, hop: NextHop, domain: str) -> MailHost:
        demand, _ = self._policies.find((domain, hop.host))
        return MailHost(hop, demand)

    async def _plan_domain(self, target: MailDomain, domain: str) -> _Tiers | Reply:
        demand, stated = self._policies.find((domain, target.domain))
        if is_dane(demand.level):
            demand = msgspec.structs.replace(demand, domain=target.domain)
        policy = None
        if self._use_sts and not stated and not target.domain.startswith("["):
            policy = await self._sts.find(target.domain)
        answer = await self._resolver.mail_hosts(target.domain, dnssec=is_dane(demand.level))
        tiers = plan_mail_hosts(target.domain, answer, self._own_name, demand)
        if isinstance(tiers, Reply) or policy is None or policy.mode is not Mode.ENFORCE:
            return tiers
        return _enforce(tiers, policy, demand, target.domain)


def _enforce(tiers: _Tiers, policy: StsPolicy, demand: TlsDemand, domain: str) -> _Tiers | Reply:
    """Return the hosts that a published policy allows, which must prove who they are (RFC 8461 §4); where DANE is
    asked for it decides, and the policy only where there are no TLSA records (§2).
    """
    if is_dane(demand.level):
        demand = msgspec.structs.replace(demand, otherwise=TlsLevel.VERIFY)
    else:
        demand = msgspec.structs.replace(demand, level=TlsLevel.VERIFY, names=())
    kept = [
        tuple(
            MailHost(host.hop, demand, by_mx=host.by_mx, secure=host.secure)
            for host in tier
            if policy.allows(host.hop.host)
        )
        for tier in tiers
    ]
    left: Sequence[tuple[MailHost, ...]] = [tier for tier in kept if tier]
    if not left:
        return reply(451, "4.7.5", f"no mail host of {domain} is one that its MTA-STS policy allows")
    return tuple(left)
