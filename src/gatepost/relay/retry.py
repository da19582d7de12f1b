"""When to try again, and what an attempt's outcome means for the queue. Pure: state and now in, plan out."""

from collections.abc import Sequence

import msgspec

from gatepost.config.schema import Config
from gatepost.model.envelope import Recipient
from gatepost.model.reply import Reply, reply
from gatepost.spool.interface import Pending


class RetryRules(msgspec.Struct, frozen=True):
    """Bounds of the back-off and the life of a message, in seconds (specification F-ROUT-06, 07)."""

    minimal_backoff_s: float
    maximal_backoff_s: float
    lifetime_s: float
    delay_report_s: float = 0.0
    """Age at which the sender is told that a message waits; 0 = never."""
    jitter: float = 0.0
    """Share of a pause by which chance makes it longer or shorter: what failed together must not return together."""


def retry_rules(config: Config) -> RetryRules:
    """Take them out of a configuration."""
    times = config.timeouts
    return RetryRules(
        times.minimal_backoff_time,
        times.maximal_backoff_time,
        times.maximal_queue_lifetime,
        times.delay_report_after,
        times.backoff_jitter / 100,
    )


def plan_backoff(failures: int, rules: RetryRules, chance: float = 0.0) -> float:
    """Return the pause after the `failures`-th failure in a row (1 = first): doubling, spread by `chance` (0 to 1), and
    always between the bounds.
    """
    doubled = min(max(rules.minimal_backoff_s, _doubled(failures, rules)), rules.maximal_backoff_s)
    shortest = max(doubled * (1 - rules.jitter), min(rules.minimal_backoff_s, rules.maximal_backoff_s))
    longest = min(doubled * (1 + rules.jitter), rules.maximal_backoff_s)
    return min(shortest + chance * (longest - shortest), longest)


def _doubled(failures: int, rules: RetryRules) -> float:
    return rules.minimal_backoff_s * 2.0 ** min(max(failures, 1) - 1, 30)


def expiry_reply(why: str) -> Reply:
    """Return what ends a message that was given up: `why` is the last trouble, "" when there was none."""
    return reply(554, "5.4.7", f"delivery time expired{': ' if why else ''}{why}")


class Attempt(msgspec.Struct, frozen=True):
    """What the peer said of one recipient."""

    pending: Pending
    recipient: Recipient
    reply: Reply


class Aftermath(msgspec.Struct, frozen=True):
    """What an attempt leaves: recipients done, failed for good, and those that wait again."""

    sent: tuple[Attempt, ...]
    failed: tuple[Attempt, ...]
    deferred: tuple[Attempt, ...]
    pending: tuple[Pending, ...]
    """The deferred ones as they are to be queued: due moved, attempts counted, reply noted."""


def plan_aftermath(
    attempts: Sequence[Attempt], now: float, rules: RetryRules, chance: float = 0.0, *, too_old: bool = False
) -> Aftermath:
    """Sort the outcomes of one attempt that reached a peer. Those that wait again wait equally long.

    A temporary refusal of a message that is `too_old` is final.
    """
    sent, failed, deferred, waiting = [], [], [], []
    for attempt in attempts:
        if attempt.reply.positive:
            sent.append(attempt)
        elif attempt.reply.permanent:
            failed.append(attempt)
        elif too_old:
            failed.append(msgspec.structs.replace(attempt, reply=expiry_reply(describe(attempt.reply))))
        else:
            tried = attempt.pending.attempts + 1
            deferred.append(attempt)
            waiting.append(
                msgspec.structs.replace(
                    attempt.pending,
                    attempts=tried,
                    due=now + plan_backoff(tried, rules, chance),
                    reply=describe(attempt.reply),
                )
            )
    return Aftermath(tuple(sent), tuple(failed), tuple(deferred), tuple(waiting))


def keep_failed(after: Aftermath, attempts: Sequence[Attempt], now: float, rules: RetryRules) -> Aftermath:
    """Return the aftermath with these of its failures waiting again, for the least pause."""
    due = now + rules.minimal_backoff_s
    kept = {attempt.pending.recipient for attempt in attempts}
    return Aftermath(
        after.sent,
        tuple(attempt for attempt in after.failed if attempt.pending.recipient not in kept),
        (*after.deferred, *attempts),
        (
            *after.pending,
            *(msgspec.structs.replace(a.pending, due=due, reply=describe(a.reply)) for a in attempts),
        ),
    )


REPLY_LIMIT = 500  # characters of a peer's reply that are kept: enough for any real one, too little to fill a disk


def describe(answer: Reply) -> str:
    """Return a reply as one line of bounded length: `code enhanced text`."""
    parts = (str(answer.code), answer.enhanced, answer.text)
    return " ".join(part for part in parts if part)[:REPLY_LIMIT]
