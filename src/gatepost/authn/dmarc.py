"""DMARC (RFC 9989): does what is proved belong to the author's domain, and what does that domain ask for if not.

`check_dmarc` is an `Inquiry`; called by `authentication`. Organizational domains are found by the tree walk; where
nobody says `psd=`, names of one registration (public suffix list) belong together, too, as they did before (RFC 7489).
"""

import re

import msgspec

from gatepost.authn.dmarc_record import DmarcRecord, is_dmarc, parse_policy
from gatepost.authn.psl import is_public_suffix, registrable_domain
from gatepost.authn.question import Inquiry, Question, Record, Reply, Status, ask

WALK_LIMIT = 8
"""Questions of one tree walk (RFC 9989 §4.10)."""
IDENTIFIERS_LIMIT = 6
"""Proved domains whose own organizational domain is looked for; strangers to the author's tree need no question."""

_DOMAIN = re.compile(r"(?=.{3,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)+[a-z0-9-]{2,63}")


class Proved(msgspec.Struct, frozen=True):
    """Domains that are proved for one message, lower case."""

    spf: str = ""
    dkim: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Domains that could not be checked now: SPF or DKIM temperror."""


class DmarcResult(msgspec.Struct, frozen=True):
    """What DMARC says."""

    result: str
    """none, pass, fail, temperror."""
    domain: str
    """Of the author."""
    policy: str = ""
    """What applies: none, quarantine, reject; "" without a record."""
    reason: str = ""


class _Walk(msgspec.Struct, frozen=True):
    """What a tree walk found (RFC 9989 §4.10)."""

    start: str
    found: tuple[tuple[str, DmarcRecord], ...]
    """(name, record), longest name first."""
    failed: bool
    """Some name gave no answer."""

    @property
    def said(self) -> bool:
        """Somebody says where the organization begins."""
        return any(record.psd for _, record in self.found)

    @property
    def organization(self) -> str:
        """The organizational domain (RFC 9989 §4.10.2)."""
        for name, record in self.found:
            if record.psd == "n":
                return name
            if record.psd == "y" and name != self.start:
                return self.start[: -len(name) - 1].rpartition(".")[2] + "." + name
        return self.found[-1][0] if self.found else self.start

    @property
    def policy(self) -> tuple[str, DmarcRecord] | None:
        """The record that applies (RFC 9989 §4.10.1): the author's, the organization's, the public suffix's."""
        records = dict(self.found)
        for name in (self.start, self.organization):
            if name in records:
                return name, records[name]
        return next(((name, record) for name, record in self.found if record.psd == "y"), None)


def is_author_domain(domain: str) -> bool:
    """Tell whether a domain (lower case, A-labels) can have a policy."""
    return _DOMAIN.fullmatch(domain) is not None


def check_dmarc(domain: str, proved: Proved) -> Inquiry[DmarcResult]:
    """Check one author domain (lower case, A-labels)."""
    if not is_author_domain(domain):
        return DmarcResult("none", domain, reason="the author has no domain")
    reply = yield from ask(f"_dmarc.{domain}", Record.TXT)
    own = _read(reply)
    walk = _Walk(domain, () if own is None else ((domain, own),), reply.failed)
    equal = domain == proved.spf or domain in proved.dkim
    if not reply.failed and (own is None or not (equal or own.psd == "n")):
        walk = yield from _walk(domain, reply)
    chosen = walk.policy
    if chosen is None or (reply.failed and own is None):
        if walk.failed:
            return DmarcResult("temperror", domain, reason="no answer about the policy")
        return DmarcResult("none", domain, reason="no policy")
    where, record = chosen
    aligned = yield from _find_aligned(walk, record, proved)
    policy = record.policy if where == domain else (yield from _policy_below(record, domain))
    policy = record.applied(policy)
    if aligned:
        return DmarcResult("pass", domain, policy, f"{aligned} is proved")
    uncertain = [each for each in proved.unknown if _may_align(each, walk)]
    if uncertain:
        return DmarcResult("temperror", domain, policy, f"{uncertain[0]} could not be checked")
    return DmarcResult("fail", domain, policy, f"nothing proves {domain}; policy of {where}")


def _policy_below(record: DmarcRecord, domain: str) -> Inquiry[str]:
    """Return what a record above says of `domain`: another policy may be for names that do not exist."""
    if record.absent_policy == record.subdomain_policy:
        return record.subdomain_policy
    reply = yield from ask(domain, Record.A)
    return record.absent_policy if reply.status is Status.NO_NAME else record.subdomain_policy


def _find_aligned(walk: _Walk, record: DmarcRecord, proved: Proved) -> Inquiry[str]:
    """Return a proved domain that is aligned with the author's (RFC 9989 §4.4), "" when none is."""
    domain = walk.start
    identifiers = [(each, record.strict_dkim) for each in proved.dkim]
    if proved.spf:
        identifiers.append((proved.spf, record.strict_spf))
    if any(each == domain for each, _ in identifiers):
        return domain
    relaxed = dict.fromkeys(each for each, strict in identifiers if not strict and _may_align(each, walk))
    for each in list(relaxed)[:IDENTIFIERS_LIMIT]:
        other = yield from _walk(each)
        if other.organization == walk.organization:
            return each
        if not (walk.said or other.said) and registrable_domain(each) == registrable_domain(domain) != "":
            return each
    return ""


def _may_align(each: str, walk: _Walk) -> bool:
    """Whether a domain can share its organization with the walk's: cheap, and no question for strangers."""
    organization = walk.organization
    if each in (walk.start, organization) or each.endswith("." + organization):
        return True
    return not walk.said and registrable_domain(each) == registrable_domain(walk.start) != ""


def _walk(start: str, first: Reply | None = None) -> Inquiry[_Walk]:
    """Walk from `start` to the top, all questions at a time; `first`: the answer for `start`, when it is known."""
    names = _names(start)
    missing = names if first is None else names[1:]
    replies = (yield tuple(Question(f"_dmarc.{name}", Record.TXT) for name in missing)) if missing else ()
    if first is not None:
        replies = (first, *replies)
    found = []
    failed = False
    for name, reply in zip(names, replies, strict=True):
        failed = failed or reply.failed
        record = _read(reply)
        if record is not None and (record.psd or name == start or not is_public_suffix(name)):
            found.append((name, record))
    return _Walk(start, tuple(found), failed)


def _names(start: str) -> list[str]:
    """Return the names of a walk (RFC 9989 §4.10): all labels, or the first and then at most seven."""
    labels = start.split(".")
    rest = labels[-(WALK_LIMIT - 1) :] if len(labels) >= WALK_LIMIT else labels[1:]
    return [start, *(".".join(rest[index:]) for index in range(len(rest)))]


def _read(reply: Reply) -> DmarcRecord | None:
    """Return the one record of a name; several count as none (RFC 9989 §4.10)."""
    records = [raw for raw in reply.texts if is_dmarc(raw)]
    return parse_policy(records[0]) if len(records) == 1 else None
