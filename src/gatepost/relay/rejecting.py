"""Rejecting as spam what was accepted already: by a report to senders who are known to be who they say (row F-ASR-09).

Used by `relay.disposal`. Nobody else hears of it: most senders of spam are forged, and a report would hit a stranger
(no backscatter); then the message is kept in the spam quarantine instead.
"""

from collections.abc import Sequence

from gatepost.model.authn import AuthnResults
from gatepost.model.envelope import Direction, Envelope, Recipient
from gatepost.model.finding import Analysis
from gatepost.model.record import Delivered, Generated, Record
from gatepost.model.reply import Reply, reply
from gatepost.notices.outcome import Outcome, ReportKind
from gatepost.notices.text import ascii_text
from gatepost.policy.proof import is_sender_proved
from gatepost.relay.reports import Reports
from gatepost.relay.retry import describe
from gatepost.relay.work import Work
from gatepost.spool.interface import NewMessage, Stored

TEXT_LIMIT = 400
"""Characters of a group's text: with code and reference it fits one reply line (RFC 5321 §4.5.3.1.5)."""
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
    reports: Reports, work: Work, copy: Stored, text: str, now: float
) -> tuple[NewMessage, Generated] | None:
    """Return the report to the sender; None when he does not want to hear. SpoolError, OSError: not now."""
    outcomes = [
        Outcome(recipient=each, reply=rejection(text), at=now)
        for each in _recipients(copy)
        if reports.wants(ReportKind.FAILED, copy, each)
    ]
    if not outcomes:
        return None
    share = Work(copy, work.content, work.path)
    return await reports.make(ReportKind.FAILED, share, outcomes, now)


def _recipients(copy: Stored) -> Sequence[Recipient]:
    return copy.envelope.recipients
