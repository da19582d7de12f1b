"""The network checks of one relay over all its configurations, and what a filter is told of each message.

Made by `relay.process`, one for all its pipelines; `relay.inspection` calls it for every message. What is learned of
lists (which are off) outlives configurations. Without anti-spam a message costs one comparison.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gatepost.config.items import parse_person
from gatepost.config.schema import Config
from gatepost.control.channel import Taught
from gatepost.model.address import domain_of
from gatepost.model.envelope import Envelope
from gatepost.model.finding import Analysis, ScanOptions
from gatepost.model.ids import format_queue_id
from gatepost.model.spam import Fingerprint, Method
from gatepost.policy.certainty import is_certain_spam, is_certainly_wanted
from gatepost.relay.disposal import Partition
from gatepost.relay.lookups.authentication import AuthenticationLookup
from gatepost.relay.lookups.base import Lookup
from gatepost.relay.lookups.checks import NetworkChecks, Ongoing
from gatepost.relay.lookups.dnsbl import DnsblLookup
from gatepost.relay.lookups.links import LinksLookup
from gatepost.relay.lookups.reverse_dns import ReverseDnsLookup
from gatepost.relay.lookups.rules import RuleLookup
from gatepost.relay.lookups.uds import UdsLookup, build_uds
from gatepost.relay.lookups.zones import Zones
from gatepost.relay.reputation import SAVE_S, Reputation, ReputationLookup, judge, names_of
from gatepost.resolver.resolver import Resolver
from gatepost.spool import clock as wall_clock
from gatepost.spool.interface import Stored
from gatepost.wire.uds import Report

RECIPIENTS_LIMIT: Final = 100
"""Recipients a filter is told of: enough to compare them with the header, and a bounded job."""


class NetworkService:
    """Make it, `configure` it, then it may be asked."""

    def __init__(
        self,
        resolver: Resolver,
        clock: Callable[[], float],
        report: Callable[[str, str], None],
        index: int = 0,
        teach: Callable[[Taught], object] = lambda _: None,
    ) -> None:
        """`clock`: the event loop's time. `report(level, text)` writes to the log. `index`: of the relay, which has
        files of its own. `teach`: told of messages that are to be learned.
        """
        self._index = index
        self._teach = teach
        self._resolver = resolver
        self._clock = clock
        self._report = report
        self._zones = Zones(resolver, clock, report)
        self._for_all = False
        """There are checks that do not depend on what groups use: those of rules."""
        self._uds: UdsLookup | None = None
        self._reputation: Reputation | None = None

    def configure(self, config: Config) -> None:
        """Take a (new) configuration into use for messages taken up from now on."""
        self._own_domains = tuple(config.network.protected_domains)
        self._own_names = tuple(parse_person(each) for each in config.antispam.own_names)
        self._hostname = config.network.hostname
        dnsbl = DnsblLookup(config, self._zones)
        links = LinksLookup(config, self._zones)
        rules = (
            RuleLookup(config.rule_set, self._zones, self._resolver, self._clock) if config.profiles.enabled else None
        )
        self._zones.keep(dnsbl.zones | links.zones | (rules.zones if rules is not None else frozenset()))
        lookups: list[Lookup] = [
            AuthenticationLookup(config, self._resolver, self._clock),
            ReverseDnsLookup(self._resolver, self._clock),
        ]
        if dnsbl.zones:
            lookups.append(dnsbl)
        if links.zones:
            lookups.append(links)
        self._for_all = rules is not None and rules.asks
        if rules is not None and rules.asks:
            lookups.append(rules)
        self._uds = build_uds(config, self._report, self._uds)
        if self._uds is not None:
            lookups.append(self._uds)
        self._auto_learn = config.antispam.auto_learn
        self._report_certain = config.uds.report_certain_spam
        self._configure_reputation(config)
        last = [ReputationLookup(self._reputation)] if self._reputation is not None else []
        budget_s = config.antispam.filter_dns_timeout
        self._checks = NetworkChecks(lookups, budget_s, self._zones, self._clock, self._report, last)

    def _configure_reputation(self, config: Config) -> None:
        antispam = config.antispam
        if not antispam.reputation:
            self._reputation = None
        elif self._reputation is None:
            path = Path(config.relay.state_path) / f"reputation-{self._index}.bin"
            self._reputation = Reputation(path, antispam.reputation_half_life, self._report)
        else:
            self._reputation.configure(antispam.reputation_half_life)

    async def run(self) -> None:
        """Write down what was learned, now and then, for as long as the relay lives."""
        while True:
            await asyncio.sleep(SAVE_S)
            if self._reputation is not None:
                await self._reputation.save()

    async def close(self) -> None:
        """End what checks have open, and write down what was learned; nothing is asked after that."""
        if self._uds is not None:
            self._uds.close()
        if self._reputation is not None:
            await self._reputation.save()

    def tell(self, envelope: Envelope, partition: Partition, analysis: Analysis) -> None:
        """Report to UDS servers, and have learned, a message that is beyond doubt, where that is wished."""
        uds = self._uds if self._report_certain else None
        spam = analysis.spam
        if spam is None or (uds is None and not self._auto_learn):
            return
        groups = [group for group, _ in partition]
        now = wall_clock.now()
        if is_certain_spam(analysis, envelope, groups, now):
            if uds is not None:
                uds.tell_spam(spam.fingerprints)
            if self._auto_learn and spam.lesson:
                self._teach(Taught(spam.lesson, spam=True, who=envelope.client.ip))
        elif self._auto_learn and spam.lesson and is_certainly_wanted(analysis, envelope, groups, now):
            self._teach(Taught(spam.lesson, spam=False, who=domain_of(spam.authn.authors[0])))

    def learn(self, envelope: Envelope, analysis: Analysis) -> None:
        """Learn from a message whose checks have ended."""
        reputation = self._reputation
        if reputation is None or analysis.network is None:
            return
        is_spam = judge(analysis)
        if is_spam is not None:
            names = names_of(envelope, analysis.network.authn.authenticated)
            reputation.observe(names, spam=is_spam, now=wall_clock.now())

    def describe(self, options: ScanOptions, stored: Stored) -> ScanOptions:
        """Return the options with what the content checks have to know of this message."""
        settings = options.spam
        if settings is None:
            return options
        envelope = stored.envelope
        client = envelope.client
        facts = msgspec.structs.replace(
            settings,
            sender=envelope.sender,
            recipients=tuple(each.address for each in envelope.recipients[:RECIPIENTS_LIMIT]),
            client_ip=client.ip,
            client_name=client.name,
            helo=client.helo,
            direction=envelope.direction,
            now=stored.received_at,
            own_domains=self._own_domains,
            own_names=self._own_names,
            learn=self._auto_learn,
            hostname=self._hostname,
        )
        return msgspec.structs.replace(options, spam=facts)

    def begin(self, stored: Stored, partition: Partition) -> Ongoing | None:
        """Start the network checks that the groups of a message use; None when there is nothing to wait for."""
        methods = _methods_of(partition)
        if not methods and not self._for_all:
            return None
        return self._checks.begin(format_queue_id(stored.id), stored.envelope, methods)

    def counters(self) -> dict[str, int]:
        """Return the counters of all checks, as the statistics name them."""
        return {
            f"antispam_{name.lower().replace(' ', '_')}_{what}": value
            for name, shown in self._checks.status()["checks"].items()
            for what, value in shown.items()
            if type(value) is int
        }

    async def tell_uds(self, fingerprints: Sequence[Fingerprint], report: Report) -> dict[str, str]:
        """Report a message's fingerprints to every UDS server; return what is wrong by server, "" for nothing.
        ValueError: UDS is off.
        """
        if self._uds is None:
            raise ValueError("UDS is off: [antispam] filter_uds_enabled")
        return await self._uds.tell(fingerprints, report)

    def status(self) -> dict[str, Any]:
        """Return what the status shows."""
        silence = self._resolver.silence
        told = {} if silence is None else {"since": silence.since, "servers": list(silence.servers)}
        return {**self._checks.status(), "silent_name_servers": told}


def _methods_of(partition: Partition) -> frozenset[Method]:
    if len(partition) == 1:
        return partition[0][0].spam.methods
    return frozenset[Method]().union(*(group.spam.methods for group, _ in partition))
