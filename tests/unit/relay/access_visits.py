"""What tests of access share: rules from configuration text, visits, and a resolver that answers from a table."""

import asyncio
from collections import Counter
from pathlib import Path

from gatepost.config.load import load_text
from gatepost.config.schema import Config, Listener
from gatepost.model.envelope import Body, Recipient
from gatepost.relay.access import Access, Ruling, Services
from gatepost.relay.admission import create_table
from gatepost.relay.rates import RateTable
from gatepost.relay.visit import Visit
from gatepost.resolver.answers import Answer, Kind, MailHosts, Mx, Outcome
from gatepost.smtp.server_events import MailFrom

BASE = '[network]\nhostname = "gw.example.org"\nprotected_domains = ["example.org"]\n'
OPEN_TO_OURS = 'relay_rule = ["allow from 192.0.2.0/24 to *", "allow from any to @protected", "deny from any to *"]\n'
STRANGER = "198.51.100.7"
OURS = "192.0.2.7"

FAILED = Answer(Outcome.FAILED)
NOTHING = Answer(Outcome.NO_NAME)


class TableResolver:
    """Answers (question, subject) from `table`, NO_NAME for the rest; counts what was asked."""

    def __init__(self, table: dict[tuple[str, str], Answer] | None = None) -> None:
        self.table = table or {}
        self.asked: Counter[tuple[str, str]] = Counter()

    async def _answer(self, question: str, subject: str) -> Answer:
        self.asked[question, subject] += 1
        await asyncio.sleep(0)
        return self.table.get((question, subject), NOTHING)

    async def ask(self, name: str, kind: Kind) -> Answer:
        return await self._answer(kind.name, name)

    async def addresses(self, host: str) -> Answer:
        return await self._answer("addresses", host)

    async def name_of(self, ip: str) -> Answer:
        return await self._answer("name", ip)

    async def confirmed_name(self, ip: str) -> Answer:
        return await self._answer("confirmed", ip)

    async def listed(self, ip: str, zone: str) -> Answer:
        return await self._answer(zone, ip)

    async def mail_hosts(self, domain: str) -> MailHosts:
        answer = await self._answer("MX", domain)
        return MailHosts(answer.outcome, tuple(answer.values))


def found(*values: object) -> Answer:
    return Answer(Outcome.FOUND, values)


def mail_host(host: str) -> Answer:
    return found(Mx(10, host))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def config_of(text: str) -> Config:
    loaded = load_text(text, "x.toml")
    assert loaded.config is not None, loaded.problems
    return loaded.config


def access_of(
    text: str, resolver: TableResolver | None = None, clock: Clock | None = None, services: Services | None = None
) -> Access:
    """Compile a configuration (what follows `BASE`)."""
    services = services or services_of(resolver, clock)
    return Access(config_of(BASE + text), str(Path.cwd()), services)


def services_of(resolver: TableResolver | None = None, clock: Clock | None = None) -> Services:
    return Services(resolver or TableResolver(), RateTable(create_table()), clock or Clock())  # type: ignore[arg-type]


def mail_from(address: str, size: int = 0) -> MailFrom:
    return MailFrom(address, size, Body.SEVEN_BIT, None, "", dsn=False)


async def settled(decision: object) -> Ruling:
    return decision if isinstance(decision, Ruling) else await decision  # type: ignore[misc]


async def converse(
    access: Access,
    client: str = STRANGER,
    *,
    helo: str = "client.example.net",
    sender: str = "sender@example.net",
    recipients: tuple[str, ...] = ("user@example.org",),
    visit: Visit | None = None,
) -> list[Ruling]:
    """Hold a session up to the recipients; return the rulings, ending with the first refusal before RCPT."""
    visit = visit or Visit(client, 1024, Listener())
    rulings = [await settled(access.connect(visit))]
    if rulings[-1].reply is None:
        rulings.append(await settled(access.hello(visit, helo)))
        rulings.append(await settled(access.mail(visit, mail_from(sender), queue_full=False)))
    if rulings[-1].reply is None:
        rulings += [await settled(access.recipient(visit, Recipient(address))) for address in recipients]
    return rulings


def causes(access: Access, client: str = STRANGER, **conversation: object) -> list[str]:
    """Return the causes of refusals of such a session, "" where nothing was refused."""
    return [ruling.cause for ruling in asyncio.run(converse(access, client, **conversation))]  # type: ignore[arg-type]
