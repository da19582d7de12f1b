"""Mail tried on a rule set, by the very code of the relay: the body of `gatepost rules test`.

A filter of its own looks at each message, behind the same walls as in a running gateway; nothing is delivered.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from gatepost.cli.told_message import ToldMessage
from gatepost.cli.trial import Setting, inspect_alone
from gatepost.config.masks import MaskSet
from gatepost.config.schema import Config
from gatepost.filter.pool import FilterFailed
from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.profile import FieldEdit, RuleEnd, RuleHit, RuleOutcome
from gatepost.model.verdict import Verdict
from gatepost.notices.text import clean_text
from gatepost.policy.decide import error_analysis
from gatepost.policy.group import GroupTable, scan_options
from gatepost.policy.profile_table import RuleTable
from gatepost.policy.profiles import describe_hits
from gatepost.relay.direction import resolve_direction, trusted_networks
from gatepost.relay.disposal import Partition, judge_group
from gatepost.relay.listings import read_listings
from gatepost.relay.rule_stage import build_mail_facts, divide_by_rules
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentRef, State, Stored

TEXT_LIMIT: Final = 200
"""Characters of one text in a line."""


class TriedShare(msgspec.Struct, frozen=True):
    """What becomes of a message for some of its recipients."""

    recipients: tuple[str, ...]
    group: str
    status: str
    """Of spam, "" when nobody looked."""
    rate: int
    withheld: str
    """Why the group lets it go no further, so that no rule saw it; "" as a rule."""
    end: str
    """`deliver`, `reject` or `discard`."""
    kept: bool
    added: tuple[str, ...]
    bounce: bool
    fields: tuple[FieldEdit, ...]
    log: tuple[str, ...]
    rules: tuple[RuleHit, ...]
    words: tuple[str, ...]
    """Each rule that held, in words."""


class Tried(msgspec.Struct, frozen=True):
    """One message."""

    name: str
    sender: str
    client: str
    shares: tuple[TriedShare, ...]
    unknown: tuple[str, ...] = ()
    """Facts that rules ask for and that nobody knows."""


def try_message(config: Config, name: str, told: ToldMessage, envelope: Envelope, *, network: bool) -> Tried:
    """Return what the rules make of a message. `network`: the DNS is asked. What `cli.trial` raises."""
    table = RuleTable(config.rule_set)
    content = told.content
    groups = GroupTable.from_config(
        config.groups,
        config.ave,
        config.filter.filter_deadline,
        config.network.protected_domains,
        config.antispam,
        table.fields,
    )
    now = time.time()
    stored = Stored(1, 1, State.WAITING, now, envelope, ContentRef(1, len(content), False), b"")
    partition = groups.partition(envelope.sender, [each.address for each in envelope.recipients], envelope.direction)
    options = scan_options([group for group, _ in partition])
    analysis: Analysis | None = None
    if options is not None:
        try:
            analysis = inspect_alone(config, content, options, Setting(stored, partition, network))
        except FilterFailed as error:
            analysis = error_analysis(str(error))
    listings = read_listings(config.relay.state_path, lambda *_: None)
    work = Work(stored, content)
    shares = try_rules(config, table, work, listings.share(partition, envelope, analysis, now), analysis)
    return Tried(name, envelope.sender, envelope.client.ip, shares, tuple(_unknown(table, stored, analysis)))


def try_rules(
    config: Config, table: RuleTable, work: Work, partition: Partition, analysis: Analysis | None
) -> tuple[TriedShare, ...]:
    """Return what the rules make of a message that was inspected."""
    envelope, now = work.stored.envelope, work.stored.received_at
    plans = [(group, indices, judge_group(group, analysis, envelope, now)) for group, indices in partition]
    divided = divide_by_rules(table, work, plans, analysis, config.network.hostname)
    return tuple(_share(envelope, group.name, indices, verdict) for group, indices, verdict in divided)


def build_envelope(config: Config, told: Envelope, sender: str | None, to: Sequence[str], client: str) -> Envelope:
    """Return an envelope as the caller says it, with what the message tells in place of what he does not."""
    recipients = tuple(Recipient(address.strip("<>")) for address in to) or told.recipients
    known = Client(client) if client else told.client
    direction = resolve_direction(
        ours=bool(known.user) or trusted_networks(config).contains(known.ip),
        protected=MaskSet(f"*@{domain}" for domain in config.network.protected_domains),
        recipients=recipients,
    )
    return Envelope(told.sender if sender is None else sender.strip("<>"), recipients, known, direction=direction)


def _share(envelope: Envelope, group: str, indices: Sequence[int], verdict: Verdict) -> TriedShare:
    rules = verdict.rules or RuleOutcome()
    spam = verdict.spam
    stopped = verdict.withheld and verdict.rules is None
    return TriedShare(
        recipients=tuple(envelope.recipients[index].address for index in indices),
        group=group,
        status=spam.status.value if spam is not None and spam.checked else "",
        rate=spam.rate if spam is not None else 0,
        withheld=(verdict.explanation or "the group withholds it") if stopped else "",
        end=rules.end.value,
        kept=rules.kept,
        added=rules.added,
        bounce=rules.bounce,
        fields=rules.fields,
        log=rules.log,
        rules=rules.hits,
        words=tuple(describe_hits(rules)),
    )


def _unknown(table: RuleTable, stored: Stored, analysis: Analysis | None) -> Iterator[str]:
    facts = build_mail_facts(stored, analysis)
    missing = [zone for zone in table.zones if zone not in facts.listed]
    if missing:
        yield f"whether {', '.join(missing)} list the client"
    if table.asks_name and facts.in_dns is None:
        yield "whether the client has a name in DNS"
    if table.fields and (analysis is None or analysis.fields is None):
        yield "what the header says"


def render_tried(tried: Tried) -> Iterator[str]:
    """Yield the lines for people."""
    yield f"{tried.name}: from <{tried.sender}>, client {tried.client or 'unknown'}"
    for what in tried.unknown:
        yield f"  not known, so that no rule acts on it: {what}"
    for share in tried.shares:
        yield from render_share(share)


def render_share(share: TriedShare) -> Iterator[str]:
    """Yield the lines about some of the recipients."""
    yield "  to " + (", ".join(f"<{each}>" for each in share.recipients) or "those who are added")
    status = f", status {share.status}, rating {share.rate}" if share.status else ""
    yield f"    group {share.group}{status}"
    if share.withheld:
        yield f"    no rule is tried: {_cut(share.withheld)}"
        return
    for each in share.words:
        yield f"    {_cut(each)}"
    if not share.words:
        yield "    no rule holds"
    for line in share.log:
        yield f"    log: {_cut(line)}"
    for edit in share.fields:
        yield f"    {edit.do.value.replace('_', ' ')}: {edit.name}" + (f": {_cut(edit.value)}" if edit.value else "")
    yield f"    result: {_cut(_result(share))}"


def _result(share: TriedShare) -> str:
    if share.end == RuleEnd.REJECT:
        told = "rejected"
    elif share.end == RuleEnd.DISCARD or not (share.kept or share.added):
        told = "dropped"
    else:
        added = ", ".join(f"<{each}>" for each in share.added)
        told = "delivered" if share.kept else f"delivered to {added} instead"
        if share.kept and added:
            told += f", and to {added}"
    return told + ("; its sender is told of a rejection" if share.bounce else "")


def _cut(text: str) -> str:
    return clean_text(text, TEXT_LIMIT)
