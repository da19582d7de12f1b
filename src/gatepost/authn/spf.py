"""SPF (RFC 7208): may this client send mail for that domain. `check_spf` is an `Inquiry`; called by `authentication`.

Bounded by the RFC: ten terms that ask, two of them without an answer, ten hosts of an MX, ten names of a client.
"""

import ipaddress
import re

import msgspec

from gatepost.authn.macro import (
    Address,
    MacroError,
    MacroFacts,
    Pieces,
    expand,
    expand_domain,
    parse_macros,
    uses_validated_name,
)
from gatepost.authn.question import Inquiry, Question, Record, ask
from gatepost.authn.spf_record import Directive, Mechanism, RecordError, SpfRecord, is_spf, parse_record

TERMS_LIMIT = 10
"""Terms that ask the DNS (RFC 7208 §4.6.4)."""
VOIDS_LIMIT = 2
"""Terms that found nothing (RFC 7208 §4.6.4)."""
HOSTS_LIMIT = 10
"""Hosts of one MX; names of one client (RFC 7208 §4.6.4)."""
EXPLANATION_LIMIT = 500
"""Characters of an explanation that are read."""

_LABELS = re.compile(r"(?=.{1,253}\Z)(?:[^.\x00-\x1f\x7f]{1,63}\.)+[^.\x00-\x1f\x7f]{1,63}")


class SpfResult(msgspec.Struct, frozen=True):
    """What SPF says."""

    result: str
    """none, neutral, pass, fail, softfail, temperror or permerror (RFC 7208 §2.6)."""
    domain: str
    """Whose policy was asked for."""
    reason: str = ""
    """The term that matched, or what is wrong, for people."""
    explanation: str = ""
    """With fail: what the domain itself says of it (RFC 7208 §6.2); a stranger's words."""


class SpfQuery(msgspec.Struct, frozen=True):
    """Who sends what."""

    ip: Address
    sender: str
    """MAIL FROM; "" for the null sender."""
    helo: str
    receiver: str = "unknown"
    """Our own name, for explanations."""
    now: float = 0.0
    explain: bool = True
    """Ask for the explanation of a fail."""


class _Stop(Exception):  # noqa: N818 - the end of a check, not a fault
    """The check ends with this result."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


def check_spf(query: SpfQuery) -> Inquiry[SpfResult]:
    """Check MAIL FROM, or HELO for the null sender (RFC 7208 §2.4)."""
    helo = query.helo.removesuffix(".")
    local, _, domain = query.sender.rpartition("@")
    if not query.sender:
        domain = helo
    domain = domain.removesuffix(".").lower()
    ip = query.ip
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    facts = MacroFacts(
        f"{local or 'postmaster'}@{domain}", domain, ip, query.helo, receiver=query.receiver, now=query.now
    )
    if not _is_domain(domain):
        return SpfResult("none", domain, "not a domain name")
    check = _Check(query, facts)
    try:
        return (yield from check.evaluate(domain))
    except _Stop as stop:
        return SpfResult(stop.result, domain, stop.reason)


def _is_domain(domain: str) -> bool:
    return _LABELS.fullmatch(domain) is not None and not domain.startswith("[")


class _Check:
    """One check: the counts of RFC 7208 §4.6.4 go over all records that it reads."""

    def __init__(self, query: SpfQuery, facts: MacroFacts) -> None:
        self._query = query
        self._facts = facts
        self._address = Record.A if facts.ip.version == 4 else Record.AAAA
        self._terms = 0
        self._voids = 0

    def evaluate(self, domain: str) -> Inquiry[SpfResult]:
        """Evaluate the policy of the sender's domain, with explanation."""
        first = domain
        while True:
            record = yield from self._fetch(domain)
            if record is None:
                if domain == first and not self._terms:
                    return SpfResult("none", first, "no policy")
                raise _Stop("permerror", f"redirect to {domain}, which has no policy")
            directive = yield from self._match(record, domain)
            if directive is not None:
                explanation = ""
                if directive.result == "fail" and record.explanation and self._query.explain:
                    explanation = yield from self._explain(record.explanation, domain)
                return SpfResult(directive.result, first, f"{directive.text} of {domain}", explanation)
            if not record.redirect:
                return SpfResult("neutral", first, f"no term of {domain} matches")
            self._count_term()
            domain = yield from self._target(record.redirect, domain)

    def _include(self, domain: str) -> Inquiry[bool]:
        """Whether the policy of another domain says pass (RFC 7208 §5.2)."""
        origin = domain
        while True:
            record = yield from self._fetch(domain)
            if record is None:
                raise _Stop("permerror", f"{origin} is included and has no policy")
            directive = yield from self._match(record, domain)
            if directive is not None or not record.redirect:
                return directive is not None and directive.result == "pass"
            self._count_term()
            domain = yield from self._target(record.redirect, domain)

    def _fetch(self, domain: str) -> Inquiry[SpfRecord | None]:
        """Return the domain's one record, None when it has none."""
        if not _is_domain(domain):
            return None
        reply = yield from ask(domain, Record.TXT)
        if reply.failed:
            raise _Stop("temperror", f"no answer about the policy of {domain}")
        records = [raw for raw in reply.texts if is_spf(raw)]
        if len(records) > 1:
            raise _Stop("permerror", f"{domain} has {len(records)} policies")
        if not records:
            return None
        try:
            return parse_record(records[0])
        except RecordError as error:
            raise _Stop("permerror", f"policy of {domain}: {error}") from error

    def _match(self, record: SpfRecord, domain: str) -> Inquiry[Directive | None]:
        """Return the first directive that matches."""
        for directive in record.directives:
            match directive.mechanism:
                case Mechanism.ALL:
                    return directive
                case Mechanism.IP4 | Mechanism.IP6:
                    network = directive.network
                    matches = network is not None and self._facts.ip in network
                case _:
                    self._count_term()
                    matches = yield from self._look(directive, domain)
            if matches:
                return directive
        return None

    def _look(self, directive: Directive, domain: str) -> Inquiry[bool]:
        """Look at a mechanism that asks the DNS."""
        target = domain
        if directive.domain:
            target = yield from self._target(directive.domain, domain)
        match directive.mechanism:
            case Mechanism.INCLUDE:
                return (yield from self._include(target))
            case Mechanism.PTR:
                names = yield from self._confirmed_names(target, count=True)
                return bool(names)
            case Mechanism.MX:
                hosts = yield from self._addresses_asked(target, Record.MX)
                if len(hosts) > HOSTS_LIMIT:
                    raise _Stop("permerror", f"{target} has more than {HOSTS_LIMIT} mail hosts")
                return (yield from self._any_host(hosts, directive))
            case Mechanism.A:
                addresses = yield from self._addresses_asked(target, self._address)
                return self._is_among(addresses, directive)
        return bool((yield from self._addresses_asked(target, Record.A)))

    def _addresses_asked(self, name: str, record: Record) -> Inquiry[tuple[str, ...]]:
        """Ask for a mechanism; what finds nothing counts as void."""
        if not _is_domain(name):
            self._count_void(name)
            return ()
        reply = yield from ask(name, record)
        if reply.failed:
            raise _Stop("temperror", f"no answer about {record.value} of {name}")
        if reply.void:
            self._count_void(name)
        return reply.values

    def _any_host(self, hosts: tuple[str, ...], directive: Directive) -> Inquiry[bool]:
        usable = [host for host in hosts if host]
        if not usable:
            return False
        replies = yield tuple(Question(host, self._address) for host in usable)
        if any(self._is_among(reply.values, directive) for reply in replies):
            return True
        if any(reply.failed for reply in replies):
            raise _Stop("temperror", "no answer about the addresses of a mail host")
        return False

    def _is_among(self, addresses: tuple[str, ...], directive: Directive) -> bool:
        ip = self._facts.ip
        bits, prefix = (32, directive.prefix4) if ip.version == 4 else (128, directive.prefix6)
        shift = bits - prefix
        return any(int(ipaddress.ip_address(each)) >> shift == int(ip) >> shift for each in addresses)

    def _confirmed_names(self, target: str, *, count: bool) -> Inquiry[tuple[str, ...]]:
        """Return the client's names in `target` ("" = anywhere) that lead back to it (RFC 7208 §5.5)."""
        reply = yield from ask(self._facts.ip.reverse_pointer, Record.PTR)
        if reply.void and count:
            self._count_void("the client's name")
        names = [
            name
            for name in reply.values[:HOSTS_LIMIT]
            if name and (not target or name == target or name.endswith("." + target))
        ]
        if not names:
            return ()
        replies = yield tuple(Question(name, self._address) for name in names)
        ip = str(self._facts.ip)
        return tuple(name for name, each in zip(names, replies, strict=True) if ip in each.values)

    def _target(self, pieces: Pieces, domain: str) -> Inquiry[str]:
        return expand_domain(pieces, (yield from self._facts_for(pieces, domain)))

    def _facts_for(self, pieces: Pieces, domain: str) -> Inquiry[MacroFacts]:
        """Return what macros stand for while the policy of `domain` is looked at (RFC 7208 §7.2, §7.3)."""
        validated = "unknown"
        if uses_validated_name(pieces):
            names = yield from self._confirmed_names("", count=False)
            below = [name for name in names if name.endswith("." + domain)]
            validated = domain if domain in names else (*below, *names, "unknown")[0]
        return msgspec.structs.replace(self._facts, domain=domain, validated=validated)

    def _explain(self, pieces: Pieces, domain: str) -> Inquiry[str]:
        """Return what the domain says of its fail, "" when it says nothing that can be shown (RFC 7208 §6.2)."""
        name = yield from self._target(pieces, domain)
        if not _is_domain(name):
            return ""
        reply = yield from ask(name, Record.TXT)
        if len(reply.texts) != 1:
            return ""
        try:
            text = parse_macros(reply.texts[0].decode("ascii")[:EXPLANATION_LIMIT], explanation=True)
        except (MacroError, UnicodeDecodeError):
            return ""
        return expand(text, (yield from self._facts_for(text, domain)))[:EXPLANATION_LIMIT]

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > TERMS_LIMIT:
            raise _Stop("permerror", f"more than {TERMS_LIMIT} terms that ask the DNS")

    def _count_void(self, what: str) -> None:
        self._voids += 1
        if self._voids > VOIDS_LIMIT:
            raise _Stop("permerror", f"more than {VOIDS_LIMIT} terms without an answer, the last {what}")
