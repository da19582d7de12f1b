"""DNS: does the resolver answer, and is this host known by its name, forward and back?"""

import asyncio
import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

from gatepost.config.schema import Config
from gatepost.doctor.finding import Finding, State
from gatepost.resolver.answers import Answer, Outcome
from gatepost.resolver.resolver import Resolver

AREA: Final = "dns"
DEADLINE_S: Final = 5.0
"""For each question: a resolver that needs longer makes every mail wait."""
ADDRESSES_LIMIT: Final = 4
DOMAINS_LIMIT: Final = 5


async def check_names(config: Config) -> list[Finding]:
    """Ask for this host's name, its addresses' names, and where mail for the protected domains goes: the last two only
    where mail comes in and goes out by SMTP. One that only judges mail for other servers needs a resolver and no name.
    """
    relays = bool(config.listeners)
    resolver = Resolver(config)
    hostname = config.network.hostname
    domains = [each for each in config.network.protected_domains if "*" not in each][:DOMAINS_LIMIT] if relays else []
    try:
        host = await resolver.addresses(hostname, deadline_s=DEADLINE_S)
        names = await asyncio.gather(
            *(resolver.confirmed_name(ip, deadline_s=DEADLINE_S) for ip in host.values[:ADDRESSES_LIMIT] if relays)
        )
        hosts = await asyncio.gather(*(resolver.mail_hosts(domain, deadline_s=DEADLINE_S) for domain in domains))
    finally:
        await resolver.close()
    outcomes = [host.outcome, *(each.outcome for each in hosts)]
    found = [judge_resolver(outcomes, host.reason)]
    if relays and host.outcome is not Outcome.FAILED:
        found += judge_host(hostname, host, names)
    for domain, answer in zip(domains, hosts, strict=True):
        if answer.outcome not in {Outcome.FOUND, Outcome.FAILED}:
            mend = "publish an MX record that leads here, or take it out of protected_domains"
            text = f"no mail host is published for the protected domain {domain}"
            found.append(Finding(f"mx:{domain}", AREA, State.WARNING, text, mend))
    return found


def judge_resolver(outcomes: Sequence[Outcome], reason: str) -> Finding:
    """Judge whether DNS works, by what came of several questions."""
    failed = outcomes.count(Outcome.FAILED)
    mend = "look at [resolve] name_servers and /etc/resolv.conf, and whether UDP and TCP port 53 get out"
    if failed == len(outcomes):
        return Finding("resolver", AREA, State.ERROR, f"DNS does not answer: {reason}", mend)
    if failed:
        return Finding("resolver", AREA, State.WARNING, f"DNS left {failed} of {len(outcomes)} questions open", mend)
    return Finding("resolver", AREA, State.OK, "DNS answers")


def judge_host(hostname: str, host: Answer[str], names: Sequence[Answer[str]]) -> Iterator[Finding]:
    """Judge how the world knows this host."""
    if not host.found:
        mend = "publish an address for it, or set network.hostname to the name that has one"
        text = f"{hostname} has no address: servers that check the name we give refuse our mail"
        yield Finding("hostname", AREA, State.WARNING, text, mend)
        return
    yield Finding("hostname", AREA, State.OK, f"{hostname} is {', '.join(host.values[:ADDRESSES_LIMIT])}")
    for ip, answer in zip(host.values, names, strict=False):
        if not ipaddress.ip_address(ip).is_global:
            continue
        if answer.outcome is Outcome.FAILED:
            continue
        if hostname.lower() in {each.rstrip(".").lower() for each in answer.values}:
            yield Finding(f"reverse:{ip}", AREA, State.OK, f"{ip} leads back to {hostname}")
        else:
            shown = ", ".join(answer.values[:ADDRESSES_LIMIT]) or "nothing"
            mend = "have whoever gave you the address set its PTR record: many servers refuse mail without"
            yield Finding(f"reverse:{ip}", AREA, State.WARNING, f"{ip} leads back to {shown}, not to {hostname}", mend)
