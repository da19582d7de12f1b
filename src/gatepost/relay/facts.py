"""Facts of a visit: what DNS tells of the client, of the name it gives at HELO and of the sender's domain.

Begun by `relay.access` as soon as a question can matter, kept in `relay.visit.Visit`, each asked once. A fact is true,
false, or None when it is not to be had now; nothing is raised.
"""

import asyncio
import ipaddress
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol

from gatepost.model.address import domain_of
from gatepost.relay.rules import Fact
from gatepost.relay.visit import Asked, Visit
from gatepost.resolver.answers import Answer, Kind, Mx, Outcome

ANSWER_LIMIT_S: Final = 60.0
"""Longest wait for one fact, whatever the resolver is told to allow: clients give up after minutes
(RFC 5321 §4.5.3.2)."""

HELLO_FACTS: Final = frozenset((Fact.HELLO_ADDRESS, Fact.HELLO_SAME))
SENDER_FACTS: Final = frozenset((Fact.SENDER_ADDRESS, Fact.SENDER_HOSTS))


class Names(Protocol):
    """What is asked of the resolver."""

    async def ask(self, name: str, kind: Kind) -> Answer[Any]:
        """Ask for records."""

    async def addresses(self, host: str) -> Answer[str]:
        """Ask for the addresses of a host."""

    async def name_of(self, ip: str) -> Answer[str]:
        """Ask for the names of an address."""

    async def confirmed_name(self, ip: str) -> Answer[str]:
        """Ask for the name of an address that has this address."""

    async def listed(self, ip: str, zone: str) -> Answer[str]:
        """Ask a DNSBL."""


class Inquirer:
    """Asks for facts. `zones`: the DNSBL zones."""

    def __init__(self, names: Names, zones: Sequence[str]) -> None:
        self._names = names
        self._zones = tuple(zones)

    def begin(self, visit: Visit, facts: Iterable[Fact]) -> None:
        """Ask for those of `facts` that were not asked for yet, all at the same time."""
        asked = visit.facts
        for fact in facts:
            if fact not in asked:
                asked[fact] = asyncio.get_running_loop().create_task(self._find_out(fact, visit))

    async def _find_out(self, fact: Fact, visit: Visit) -> bool | None:
        """Whatever goes wrong with a question is our trouble, not the client's: the fact is not to be had."""
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return await self._question(fact, visit)
        except Exception:  # noqa: BLE001 - see above
            return None

    def _question(self, fact: Fact, visit: Visit) -> Coroutine[Any, Any, bool | None]:
        match fact:
            case Fact.LISTED:
                return self._is_listed(visit.ip)
            case Fact.NAMED:
                return self._has_name(visit)
            case Fact.HELLO_ADDRESS:
                return self._has_address(visit.helo)
            case Fact.HELLO_SAME:
                return self._has_this_address(visit.helo, visit.ip)
            case Fact.SENDER_ADDRESS:
                return self._has_address(domain_of(visit.sender))
            case Fact.SENDER_HOSTS:
                return self._has_mail_hosts(domain_of(visit.sender))

    async def _is_listed(self, ip: str) -> bool | None:
        """All zones at the same time; listed in any is listed, and then the others are not waited for."""
        questions: set[asyncio.Task[Answer[str]]] = {
            asyncio.ensure_future(self._names.listed(ip, zone)) for zone in self._zones
        }
        failed = False
        try:
            while questions:
                done, questions = await asyncio.wait(questions, return_when=asyncio.FIRST_COMPLETED)
                for question in done:
                    outcome = question.result().outcome
                    if outcome is Outcome.FOUND:
                        return True
                    failed = failed or outcome is Outcome.FAILED
        finally:
            for question in questions:
                question.cancel()
        return None if failed else False

    async def _has_name(self, visit: Visit) -> bool | None:
        """Its confirmed name, for which half of the work is done, is noted for the Received field."""
        ip = visit.ip
        answer = await self._names.name_of(ip)
        if answer.found:
            confirmed = await self._names.confirmed_name(ip)
            if confirmed.found and visit.ip == ip:
                visit.name = confirmed.values[0]
        return _truth(answer)

    async def _has_address(self, host: str) -> bool | None:
        literal = parse_literal(host)
        return True if literal is not None else _truth(await self._names.addresses(host))

    async def _has_this_address(self, host: str, ip: str) -> bool | None:
        literal = parse_literal(host)
        if literal is not None:
            return literal == _address(ip)
        answer = await self._names.addresses(host)
        return any(_address(value) == _address(ip) for value in answer.values) if answer.found else _truth(answer)

    async def _has_mail_hosts(self, domain: str) -> bool | None:
        if parse_literal(domain) is not None:
            return False
        answer: Answer[Mx] = await self._names.ask(domain, Kind.MX)
        # A null MX (RFC 7505) says that nobody there can be answered: no mail host.
        return any(mx.host for mx in answer.values) if answer.found else _truth(answer)


def known(asked: Asked) -> dict[Fact, bool | None]:
    """Return the facts that have come in."""
    return {fact: task.result() for fact, task in asked.items() if task.done()}


def pending(asked: Asked, facts: Iterable[Fact]) -> "list[asyncio.Task[bool | None]]":
    """Return what is still to come of `facts`."""
    return [asked[fact] for fact in facts if fact in asked and not asked[fact].done()]


def parse_literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address of an address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3)."""
    if not (host.startswith("[") and host.endswith("]")):
        return None
    text = host[1:-1]
    return _address(text[5:] if text[:5].lower() == "ipv6:" else text)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _truth(answer: Answer[Any]) -> bool | None:
    return None if answer.outcome is Outcome.FAILED else answer.outcome is Outcome.FOUND
