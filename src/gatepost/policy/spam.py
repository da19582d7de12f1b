"""From signs to a spam verdict for one group (rows F-AS-01 to F-AS-04, F-AS-21 to F-AS-24, F-ASR-01 to F-ASR-03). Pure.

Called by `relay.disposal` once for each group of a message, by the inspection when it has to know early, and by
whoever explains. Precedence (specification antispam.md §1): white list, black list, sum of the DNSBL ratings, Spam,
Probable Spam, Formal, Not detected.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gatepost.antispam.rating import rate
from gatepost.model.authn import AuthnResults
from gatepost.model.envelope import Direction, Envelope
from gatepost.model.finding import Analysis
from gatepost.model.spam import Method, NetworkFacts, Sign, SpamFacts, SpamStatus
from gatepost.model.verdict import SpamActions, SpamVerdict
from gatepost.policy.group import GroupPolicy
from gatepost.policy.lists import Match
from gatepost.policy.proof import is_author_proved, is_sender_proved
from gatepost.policy.spam_settings import SpamPolicy, join_actions

DNSBL_LIMIT: Final = 100
"""A sum of DNSBL ratings above it blacklists, whatever else is found (row F-AS-04)."""
EASTERN_WEIGHT: Final = 3.5
"""Of an encoding that the group finds suspicious: alone it makes the message Probable Spam at the standard level."""
NOT_PROCESSED: Final = "Not processed"
NOT_PROTECTED: Final = "Not protected"
_TOLD_SIGNS: Final = 5
"""Signs named in a reason."""
_METHODS_TOLD: Final = 10
"""Methods and detail tokens in the fields of one message."""
_SURE: Final = 100
_SEMINARS: Final = "seminar"
"""In the name of the category that has a label of its own (specification antispam.md §5)."""

_TRUSTED, _BLACKLISTED = SpamStatus.TRUSTED, SpamStatus.BLACKLISTED
_SPAM, _PROBABLE = SpamStatus.SPAM, SpamStatus.PROBABLE_SPAM
_FORMAL, _NOT_DETECTED = SpamStatus.FORMAL, SpamStatus.NOT_DETECTED
_INBOUND = Direction.INBOUND
_NO_FACTS: Final = SpamFacts()
_NO_NETWORK: Final = NetworkFacts()
_NO_ACTIONS: Final = SpamActions()


def decide_spam(
    analysis: Analysis | None, envelope: Envelope, group: GroupPolicy, now: float = 0.0
) -> SpamVerdict | None:
    """Return a group's spam verdict on a message; None when the group has nothing to do with anti-spam.

    `analysis` None, or one without spam facts: the content was not looked at. `now` (Unix seconds) tells which entries
    of lists have come to their end.
    """
    policy = group.spam
    if not policy.check:
        return _unchecked(protected=policy.protected, processed=policy.processed, shown=policy.headers)
    facts = _NO_FACTS if analysis is None or analysis.spam is None else analysis.spam
    network = _NO_NETWORK if analysis is None or analysis.network is None else analysis.network
    info = ""
    if policy.lists:
        listed = _consult_lists(policy, facts, network, envelope, now)
        if isinstance(listed, SpamVerdict):
            return listed
        info = listed
    if facts is _NO_FACTS:
        info = info or NOT_PROCESSED
    return _weigh(policy, facts, network, info)


def withheld_from_all(analysis: Analysis, envelope: Envelope, groups: Iterable[GroupPolicy], now: float) -> bool:
    """Tell whether nobody gets a message, so that it need not be scanned (`SpamOptions.first`)."""
    verdicts = [decide_spam(analysis, envelope, group, now) for group in groups]
    return all(verdict is not None and verdict.withheld for verdict in verdicts)


@functools.cache
def _unchecked(*, protected: bool, processed: bool, shown: bool) -> SpamVerdict | None:
    """Mail of recipients elsewhere, mail that the licence does not cover, or of a group that checks nothing."""
    if not shown:
        return None
    if not processed:
        return SpamVerdict(_NOT_DETECTED, info=NOT_PROCESSED, checked=False)
    if not protected:
        return SpamVerdict(_NOT_DETECTED, info=NOT_PROTECTED, checked=False)
    return SpamVerdict(_TRUSTED, checked=False)


def _consult_lists(
    policy: SpamPolicy, facts: SpamFacts, network: NetworkFacts, envelope: Envelope, now: float
) -> SpamVerdict | str:
    """Return the verdict of the lists, or words about an entry that does not count.

    Received fields are the sender's word: they may speak against a message, never for it.
    """
    addresses = tuple(dict.fromkeys((envelope.sender, *facts.authn.authors)))
    client = envelope.client.ip
    info = ""
    white = policy.white.find(addresses, (client,), now, _prover(network.authn, facts.authn.authors, envelope))
    if white is not None and white.proved:
        method = Method.WHITE_IP if white.network else Method.WHITE_EMAIL
        return SpamVerdict(
            _TRUSTED,
            methods=(method,),
            reason=f"white list: {_describe_match(white)}",
            shown=policy.headers,
        )
    if white is not None:
        info = f"{_describe_match(white)}, but nothing proves that the sender is who he says: not trusted"
    black = policy.black.find(addresses, (client, *facts.hops), now)
    if black is None:
        return info
    method = Method.BLACK_IP if black.network else Method.BLACK_EMAIL
    reason = f"black list: {_describe_match(black)}"
    return _finish(policy, _BLACKLISTED, facts, rate=_SURE, methods=(method,), info=info, reason=reason)


def _describe_match(match: Match) -> str:
    return f"{match.value} is listed as {match.entry}"


def _prover(authn: AuthnResults, authors: Sequence[str], envelope: Envelope) -> Callable[[str], bool]:
    """Return who tells whether an address is proved to be the sender's; all are in mail of our own network, or of
    somebody who has signed in.
    """
    if envelope.direction is not _INBOUND or envelope.client.user:
        return lambda _: True

    def proved(address: str) -> bool:
        if address == envelope.sender and is_sender_proved(address, authn):
            return True
        return is_author_proved(address.lower(), authors, authn)

    return proved


def _weigh(policy: SpamPolicy, facts: SpamFacts, network: NetworkFacts, info: str) -> SpamVerdict:
    signs = _count(policy, facts, network)
    dnsbl = network.dnsbl_sum if Method.DNSBL in policy.methods else 0
    if dnsbl > DNSBL_LIMIT:
        reason = f"listed by {', '.join(network.dnsbl)}: ratings sum up to {dnsbl}"
        return _finish(
            policy, _BLACKLISTED, facts, rate=_SURE, methods=(Method.DNSBL,), signs=signs, info=info, reason=reason
        )
    rating = int(rate(signs) + 0.5)
    if rating >= policy.spam_at:
        status = _SPAM
    elif rating >= policy.probable_at:
        status = _PROBABLE
    else:
        status = _FORMAL if facts.formal else _NOT_DETECTED
    if not signs and status is _NOT_DETECTED and not facts.obscene:
        return SpamVerdict(_NOT_DETECTED, rating, info=info, categories=facts.categories, shown=policy.headers)
    reason = ""
    if status is _SPAM or status is _PROBABLE:
        reason = f"rating {rating} at level {policy.level}: {_tell(signs)}"
    elif status is _FORMAL:
        reason = f"automatic reply: {facts.formal}"
    return _finish(policy, status, facts, rate=rating, methods=_rank(signs), signs=signs, info=info, reason=reason)


def _count(policy: SpamPolicy, facts: SpamFacts, network: NetworkFacts) -> tuple[Sign, ...]:
    """Return the signs that count for this group."""
    unused = policy.unused
    signs = [sign for sign in facts.signs if sign.method not in unused]
    if network.signs:
        signs += [sign for sign in network.signs if sign.method not in unused]
    for name in facts.eastern:
        if name in policy.eastern:
            evidence = f"Encoded in {name}, which is suspicious here"
            signs.append(Sign(Method.HEADERS, f"eastern-{name}", evidence, EASTERN_WEIGHT, "Headers: Eastern Codepage"))
    return tuple(signs)


def _rank(signs: Sequence[Sign]) -> tuple[Method, ...]:
    """Return the methods that speak for spam, the heaviest first."""
    weights: dict[Method, float] = {}
    for sign in signs:
        if sign.weight > 0:
            weights[sign.method] = weights.get(sign.method, 0.0) + sign.weight
    return tuple(weights) if len(weights) < 2 else tuple(sorted(weights, key=weights.__getitem__, reverse=True))


def _tell(signs: Sequence[Sign]) -> str:
    heaviest = sorted((sign for sign in signs if sign.weight > 0), key=lambda sign: -sign.weight)[:_TOLD_SIGNS]
    return ", ".join(f"{sign.name} ({sign.weight:+.1f})" for sign in heaviest)


def _finish(
    policy: SpamPolicy,
    status: SpamStatus,
    facts: SpamFacts,
    *,
    rate: int,
    methods: tuple[Method, ...],
    signs: tuple[Sign, ...] = (),
    info: str = "",
    reason: str = "",
) -> SpamVerdict:
    """Return the verdict with what is to be done: by its status, and by obscene words."""
    actions = policy.actions.get(status, _NO_ACTIONS)
    label = policy.labels.get(status, "") if actions.mark else ""
    if label and status is _PROBABLE and any(_SEMINARS in category.lower() for category in facts.categories):
        label = policy.seminars_label or label
    labels: tuple[str, ...] = (label,) if label else ()
    if status in policy.quarantined:
        actions = join_actions(actions, _QUARANTINE)
    if facts.obscene:
        actions = join_actions(actions, policy.obscene)
        if policy.obscene.mark and policy.obscene_label:
            labels += (policy.obscene_label,)
        if policy.quarantine_obscene:
            actions = join_actions(actions, _QUARANTINE)
        reason = "; ".join(filter(None, (reason, "obscene words")))
    details = dict.fromkeys([sign.detail for sign in signs if sign.detail and sign.weight > 0])
    return SpamVerdict(
        status,
        rate,
        methods,
        tuple(details)[:_METHODS_TOLD],
        signs,
        facts.categories,
        facts.formal,
        facts.obscene,
        info,
        reason,
        actions,
        labels,
        shown=policy.headers,
    )


_QUARANTINE: Final = SpamActions(quarantine=True)
