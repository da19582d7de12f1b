"""Answers made of answers: the addresses of a host, the mail hosts of a domain, what a DNS list says. Pure.

Called by `resolver` with the single answers it has.
"""

import ipaddress
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final

import msgspec

from gatepost.resolver.answers import Answer, MailHosts, Mx, Outcome
from gatepost.resolver.message import UNUSABLE_HOST

_LISTED: Final = ipaddress.ip_network("127.0.0.0/8")
"""What an entry of a DNS list looks like (RFC 5782 §2.1); anything else is a parked domain or a liar."""
_REFUSED: Final = ipaddress.ip_network("127.255.255.0/24")
"""How the large lists say that they do not answer us: no statement about the client."""


def combine_addresses(answers: Sequence[Answer[str]]) -> Answer[str]:
    """Return the addresses of both families, taking turns; without any, FAILED before NO_DATA before NO_NAME.

    Authentic: those of one family are. Then the host's zone is signed, and neither silence about the other family,
    which anybody on the way can bring about, nor an address made up for it (DNS64) undoes that.
    """
    if len(answers) == 1:
        return answers[0]
    through_cache = all(answer.through_cache for answer in answers)
    found = [answer for answer in answers if answer.outcome is Outcome.FOUND]
    if found:
        values = found[0].values if len(found) == 1 else _take_turns(found)
        authentic = any(answer.authentic for answer in found)
        return Answer(Outcome.FOUND, values, authentic, through_cache=through_cache)
    for outcome in (Outcome.FAILED, Outcome.NO_DATA, Outcome.NO_NAME):
        for answer in answers:
            if answer.outcome is outcome:
                return msgspec.structs.replace(answer, through_cache=through_cache)
    raise AssertionError("no answers to combine")


def _take_turns(answers: Sequence[Answer[str]]) -> tuple[str, ...]:
    turns = chain.from_iterable(zip_longest(*(answer.values for answer in answers)))
    return tuple(ip for ip in turns if ip is not None)


def read_mail_hosts(answer: Answer[Mx]) -> MailHosts | None:
    """Return what the answer to an MX question decides; None: the domain has no MX, its address is what counts."""
    outcome, reason = answer.outcome, answer.reason
    if outcome is Outcome.NO_DATA:
        return None
    if outcome is not Outcome.FOUND:
        return MailHosts(outcome, authentic=answer.authentic, reason=reason, through_cache=answer.through_cache)
    usable = tuple(mx for mx in answer.values if mx.host and mx.host != UNUSABLE_HOST)
    null_mx = len(answer.values) == 1 and not answer.values[0].host
    if not usable:
        # Never the address of the domain instead (RFC 5321 §5.1). A mistake in a zone gets mended, so it is temporary.
        outcome = Outcome.NO_DATA if null_mx else Outcome.FAILED
        reason = "the domain takes no mail (null MX)" if null_mx else "no MX record names a host"
    return MailHosts(
        outcome, usable, null_mx=null_mx, authentic=answer.authentic, reason=reason, through_cache=answer.through_cache
    )


def build_implicit_host(domain: str, mx: Answer[Mx], addresses: Answer[str]) -> MailHosts:
    """Return the mail hosts of a domain without MX: itself, when it has an address (RFC 5321 §5.1)."""
    through_cache = mx.through_cache and addresses.through_cache
    authentic = mx.authentic and addresses.authentic
    if addresses.outcome is Outcome.FOUND:
        hosts = (Mx(0, domain),)
        return MailHosts(Outcome.FOUND, hosts, implicit=True, authentic=authentic, through_cache=through_cache)
    reason = addresses.reason if addresses.outcome is Outcome.FAILED else "neither MX nor address"
    return MailHosts(addresses.outcome, authentic=authentic, reason=reason, through_cache=through_cache)


def read_listing(answer: Answer[str]) -> Answer[str]:
    """Return what a DNS list's answer says about the client: FOUND with the 127.0.0.0/8 codes, or not listed."""
    if answer.outcome is not Outcome.FOUND:
        return answer
    codes = tuple(ip for ip in answer.values if ipaddress.ip_address(ip) in _LISTED)
    if any(ipaddress.ip_address(code) in _REFUSED for code in codes):
        reason = f"the list refuses to answer ({', '.join(codes)})"
        return Answer(Outcome.FAILED, reason=reason, through_cache=answer.through_cache)
    if not codes:
        reason = "the list answers outside 127.0.0.0/8"
        return Answer(Outcome.NO_DATA, reason=reason, through_cache=answer.through_cache)
    return msgspec.structs.replace(answer, values=codes)
