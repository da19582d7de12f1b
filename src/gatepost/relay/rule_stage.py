"""Rules at work on a message: verdicts of its groups go in, each divided by what the rules decide. Pure.

Called by `relay.disposal` when every group has given its verdict: groups come first, rules after them. What policy
blocks or withholds no rule sees, so that none can undo it; mail that an operator has released, and mail that passes
by the emergency bypass, is left alone. How a message ends its way (rejected, dropped) is said in the spam verdict,
which all stages behind understand; everything else in `Verdict.rules`.
"""

import functools
from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.model.finding import Analysis
from gatepost.model.profile import RuleEnd, RuleOutcome
from gatepost.model.record import ADDRESSES_TOLD, TEXT_TOLD, Record, Ruled
from gatepost.model.spam import SpamStatus
from gatepost.model.verdict import SpamActions, SpamEnd, SpamVerdict, Verdict
from gatepost.policy.group import GroupPolicy
from gatepost.policy.profile_table import MailFacts, RuleTable, ShareFacts
from gatepost.policy.profiles import decide_rules, describe_hits
from gatepost.relay.rule_header import build_header
from gatepost.relay.work import Work
from gatepost.spool.interface import Stored

Plan = tuple[GroupPolicy, Sequence[int], Verdict]
"""One group's share."""
NOBODY_LEFT: Final = "rules have left no recipient"
_UNCHECKED: Final = SpamVerdict(SpamStatus.NOT_DETECTED, checked=False, shown=False)
_UNKNOWN: Final = RuleOutcome()


def build_mail_facts(stored: Stored, analysis: Analysis | None) -> MailFacts:
    """Return what rules can ask of a message."""
    envelope = stored.envelope
    spam = analysis.spam if analysis is not None else None
    network = analysis.network if analysis is not None else None
    in_dns = True if envelope.client.name else network.in_dns if network is not None else None
    return MailFacts(
        client_ip=envelope.client.ip,
        sender=envelope.sender,
        recipients=tuple([each.address for each in envelope.recipients]),
        size=stored.content.size,
        listed=dict(network.listed) if network is not None else {},
        in_dns=in_dns,
        categories=spam.categories if spam is not None else None,
        obscene=spam.obscene if spam is not None else None,
    )


def divide_by_rules(
    table: RuleTable, work: Work, plans: Sequence[Plan], analysis: Analysis | None, hostname: str
) -> list[Plan]:
    """Return the plans, each divided into those of its recipients for whom the rules decide the same."""
    if work.stored.kind:
        return list(plans)
    asked = [plan for plan in plans if not plan[0].bypass and not plan[2].withheld]
    if not asked:
        return list(plans)
    shares = [
        ShareFacts(
            indices=indices,
            spam=verdict.spam,
            header=functools.partial(build_header, work, group, verdict, analysis, hostname),
        )
        for group, indices, verdict in asked
    ]
    found = iter(decide_rules(table, build_mail_facts(work.stored, analysis), shares))
    divided: list[Plan] = []
    for group, indices, verdict in plans:
        if group.bypass or verdict.withheld:
            divided.append((group, indices, verdict))
            continue
        parts = next(found)
        for number, (own, outcome) in enumerate(parts):
            apart = group
            if len(parts) > 1:  # ids of what is put away follow from the share
                apart = msgspec.structs.replace(group, share=f"{group.share}/r{number}")
            divided.append((apart, own, with_rules(verdict, outcome)))
    return divided


def with_rules(verdict: Verdict, outcome: RuleOutcome) -> Verdict:
    """Return a verdict with what the rules have decided."""
    if outcome == _UNKNOWN:
        return verdict
    spam = verdict.spam
    end, why = None, ""
    if outcome.end is RuleEnd.REJECT:
        end = SpamEnd.REJECT
    elif outcome.end is RuleEnd.DISCARD:
        end = SpamEnd.DELETE
    elif not outcome.kept and not outcome.added:
        end, why = SpamEnd.DELETE, NOBODY_LEFT
    if end is not None or outcome.bounce:
        spam = spam if spam is not None else _UNCHECKED
    if end is not None and spam is not None:
        actions = msgspec.structs.replace(spam.actions, end=end)
        told = [*describe_hits(outcome)][-1:]
        reason = "; ".join(filter(None, (spam.reason, why, *told)))
        spam = msgspec.structs.replace(spam, actions=actions, reason=reason)
    return msgspec.structs.replace(verdict, spam=spam, rules=outcome)


def keep_untold(verdict: Verdict, why: str = "nothing proves its sender, who is not told of the rejection") -> Verdict:
    """Return a verdict with a copy in quarantine in place of a report that its sender cannot be sent."""
    spam = verdict.spam
    if spam is None or (spam.actions.end is not SpamEnd.REJECT and not is_bounced(verdict)):
        return verdict
    end = SpamEnd.BLOCK if spam.withheld else spam.actions.end
    actions = msgspec.structs.replace(spam.actions, end=end, quarantine=True)
    spam = msgspec.structs.replace(spam, actions=actions, reason="; ".join(filter(None, (spam.reason, why))))
    rules = msgspec.structs.replace(verdict.rules, bounce=False) if verdict.rules is not None else None
    return msgspec.structs.replace(verdict, spam=spam, rules=rules)


def is_bounced(verdict: Verdict) -> bool:
    """Tell whether a rule wants the sender to get a report of its own, whatever else becomes of the message."""
    return verdict.rules is not None and verdict.rules.bounce


def is_returned(verdict: Verdict) -> bool:
    """Tell whether a rule's report brings the message back (specification antispam.md §10.3): with the edits that its
    recipients would have seen, for an attachment that was taken out goes to nobody.
    """
    return is_bounced(verdict) or (verdict.rules is not None and verdict.rules.end is RuleEnd.REJECT)


def bounce_instead(verdict: Verdict) -> Verdict:
    """Return a verdict with a report and no delivery in place of a rejection by a personal profile (F-ASP-08)."""
    rules, spam = verdict.rules, verdict.spam
    if rules is None or spam is None or rules.end is not RuleEnd.REJECT or rules.in_session:
        return verdict
    spam = msgspec.structs.replace(spam, actions=msgspec.structs.replace(spam.actions, end=SpamEnd.DELETE))
    return msgspec.structs.replace(verdict, spam=spam, rules=msgspec.structs.replace(rules, bounce=True))


def build_ruled(copy: Stored, group: GroupPolicy, recipients: int, verdict: Verdict, now: float) -> list[Record]:
    """Return what is put on record of the rules that held for a copy."""
    rules = verdict.rules
    if rules is None or not (rules.hits or rules.log):
        return []
    actions = verdict.spam.actions if verdict.spam is not None else SpamActions()
    gained = 0
    if actions.end is SpamEnd.DELIVER and not verdict.blocked:
        gained = len(rules.added) - (0 if rules.kept else recipients)
    return [
        Ruled(
            copy.id,
            now,
            group.name,
            recipients,
            copy.source,
            tuple([each[:TEXT_TOLD] for each in describe_hits(rules)]),
            rules.added[:ADDRESSES_TOLD],
            gained,
            rules.log,
        )
    ]
