"""Rejecting as spam what was accepted already: by a report to senders who are known to be who they say (row F-ASR-09).

Used by `relay.disposal`. Nobody else hears of it: most senders of spam are forged, and a report would hit a stranger
(no backscatter); then the message is kept in the spam quarantine instead.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gatepost.model.authn import AuthnResults
from gatepost.model.envelope import Direction, Envelope, Recipient, Ret
from gatepost.model.finding import Analysis
from gatepost.model.ids import format_queue_id
from gatepost.model.profile import RuleEnd
from gatepost.model.record import Delivered, Generated, Record
from gatepost.model.reply import Reply, reply
from gatepost.model.verdict import SpamEnd, Verdict
from gatepost.notices.outcome import Outcome, ReportKind
from gatepost.notices.text import ascii_text
from gatepost.policy.group import GroupPolicy
from gatepost.policy.proof import is_sender_proved
from gatepost.relay.reports import Reports
from gatepost.relay.retry import describe
from gatepost.relay.work import Work
from gatepost.spool.interface import NewMessage, Stored

TEXT_LIMIT = 400
"""Characters of a group's text: with code and reference it fits one reply line (RFC 5321 §4.5.3.1.5)."""
REFUSED_FOR_CONTENT = "Message refused because of its content"
_NOTHING_PROVED = AuthnResults()


def may_report(envelope: Envelope, analysis: Analysis | None) -> bool:
    """Tell whether the sender is known: of our own network, signed in, or proved by SPF. A signature proves who wrote a
    message, not who sends it now, and to whom.
    """
    if not envelope.sender:
        return False
    if envelope.direction is not Direction.INBOUND or envelope.client.user:
        return True
    network = analysis.network if analysis is not None else None
    authn = network.authn if network is not None else _NOTHING_PROVED
    return is_sender_proved(envelope.sender, authn)


def rejection(text: str, more: str = "") -> Reply:
    """Return the reply that rejects a message; `text` is the group's, `more` follows it whatever its length."""
    return reply(550, "5.7.1", ascii_text(text, TEXT_LIMIT) + more)


def failure_records(copy: Stored, text: str, now: float) -> list[Record]:
    """Return the final outcome of a rejection for each recipient of a group's copy."""
    said = describe(rejection(text))
    size, delay_s = copy.content.size, now - copy.received_at
    return [Delivered(copy.id, now, each.address, "none", size, False, said, delay_s) for each in _recipients(copy)]


async def report_rejection(
    reports: Reports, work: Work, copy: Stored, text: str, now: float, *, whole: bool = False
) -> tuple[NewMessage, Generated] | None:
    """Return the report to the sender, with the `whole` message or what DSNs return; None when he does not want to
    hear. SpoolError, OSError: not now.
    """
    outcomes = [
        Outcome(recipient=each, reply=rejection(text), at=now)
        for each in _recipients(copy)
        if reports.wants(ReportKind.FAILED, copy, each)
    ]
    if not outcomes:
        return None
    if whole and copy.envelope.ret is None:
        copy = msgspec.structs.replace(copy, envelope=msgspec.structs.replace(copy.envelope, ret=Ret.FULL))
    share = Work(copy, work.content, work.path)
    return await reports.make(ReportKind.FAILED, share, outcomes, now)


async def in_memory(work: Work) -> Work:
    """Return an asker's message with its content, which is in no spool. OSError."""
    if work.content is not None or work.path is None:
        return work
    return Work(work.stored, await asyncio.to_thread(Path(work.path).read_bytes))


def _recipients(copy: Stored) -> Sequence[Recipient]:
    return copy.envelope.recipients


def find_refusal(message_id: int, verdicts: Sequence[tuple[GroupPolicy, Verdict]]) -> Reply | None:
    """Return what the client hears when nobody is to get the message and every group wants its sender to know."""
    if not verdicts or not all(is_refused(verdict) and _is_told_at_once(verdict) for _, verdict in verdicts):
        return None
    return build_refusal(*verdicts[0], message_id)


def is_refused(verdict: Verdict) -> bool:
    """Tell whether a group does not take a message, and its sender is to know where he can be told in time."""
    return verdict.blocked or (verdict.spam is not None and verdict.spam.actions.end is SpamEnd.REJECT)


def _is_told_at_once(verdict: Verdict) -> bool:
    """Tell whether a rejection may be the reply of the session; that of a personal profile is a bounce (F-ASP-08)."""
    rules = verdict.rules
    return verdict.blocked or rules is None or rules.end is not RuleEnd.REJECT or rules.in_session


def build_refusal(group: GroupPolicy, verdict: Verdict, message_id: int) -> Reply:
    """Return what the sender of a refused message hears."""
    text = (verdict.rules.reply_text if verdict.rules is not None else "") or group.spam.reject_text
    if verdict.blocked:
        text = REFUSED_FOR_CONTENT
    return rejection(text, f"; our reference: {format_queue_id(message_id)}")


def bounce_text(group: GroupPolicy, verdict: Verdict) -> str:
    """Return what the report of a rejection says."""
    return (verdict.rules.bounce_text if verdict.rules is not None else "") or group.spam.bounce_text
