"""Verification: whether a recipient in our own domains exists, from a list or by asking the next hop.

Called by `relay.access` at RCPT, for strangers only: who is told at once that a recipient does not exist reports that
to its own sender, and no bounce of ours ever goes to a forged one.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from gatepost.config.items import PARSERS
from gatepost.config.masks import MaskSet
from gatepost.config.parameter import Item
from gatepost.config.schema import Config
from gatepost.config.transport import TlsLevel
from gatepost.model.address import domain_of, local_part_of
from gatepost.model.reply import Reply
from gatepost.relay.mailhosts import MailHost, plan_mail_hosts
from gatepost.relay.own_addresses import OwnAddresses
from gatepost.relay.probe import ProbeSession, Verdict, probe
from gatepost.relay.routing import MailDomain, NextHop, RoutingTable, Unroutable
from gatepost.relay.tls_policy import TlsDemand
from gatepost.resolver.answers import Answer, MailHosts
from gatepost.smtp.sendable import is_sendable

LOOK_S: Final = 1.0
"""Pause between two looks whether the file of recipients has changed."""
FILE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the file: a million recipients."""
REMEMBERED_LIMIT: Final = 100_000
"""Answers of next hops that are remembered; the oldest are forgotten first."""
UNDECIDED_TTL_S: Final = 60.0
"""How long a next hop that gave no verdict is not asked again about the recipient."""
PROBES_LIMIT: Final = 20
"""Probes at the same time in one relay; more wait."""
WAITING_LIMIT: Final = 1000
"""Probes that wait: beyond it recipients are accepted unasked, as when the next hop cannot be reached."""
HOSTS_LIMIT: Final = 3
"""Hosts tried for one recipient."""

Existence = bool | None
"""None: not to be had now."""

_IN_CLEAR = TlsDemand(TlsLevel.NONE)
_parse_mask = PARSERS[Item.ADDRESS_MASK]


class Verifier(Protocol):
    """A way to find out."""

    def exists(self, recipient: str) -> Existence | Awaitable[Existence]:
        """Tell whether a recipient exists; at once when that is known."""


class KnownRecipients:
    """From `known_recipients` and the file, read anew in a thread when it changes."""

    def __init__(
        self,
        masks: Sequence[str],
        path: str,
        clock: Callable[[], float] = time.monotonic,
        report: Callable[[str], None] = lambda _: None,
        former: "KnownRecipients | None" = None,
    ) -> None:
        """`report` is told, once, of a file that cannot be read. `former`: what it was before the configuration was
        read anew; of the same file it goes on from there, since to read a long one here would keep all mail waiting.
        """
        self._report = report
        self._told = ""
        self._masks = MaskSet(masks)
        self._path = Path(path) if path else None
        self._clock = clock
        self._looked = clock()
        self._read_as: tuple[int, int, int] | None = None
        self._of_file: MaskSet | None = None if path else MaskSet(())
        self._reading: asyncio.Future[str] | None = None
        if former is not None and former._path == self._path and former._of_file is not None:
            self._of_file, self._read_as = former._of_file, former._read_as
            self._looked -= LOOK_S
        else:
            self._tell(self._read())

    def exists(self, recipient: str) -> Existence:
        """Tell whether a mask matches. A file that cannot be read leaves what was read before; None when nothing
        was.
        """
        if self._path is not None and self._clock() - self._looked >= LOOK_S and self._reading is None:
            self._looked = self._clock()
            self._reading = asyncio.get_running_loop().run_in_executor(None, self._read)
            self._reading.add_done_callback(self._has_read)
        if self._masks.matches(recipient):
            return True
        return None if self._of_file is None else self._of_file.matches(recipient)

    def _has_read(self, reading: "asyncio.Future[str]") -> None:
        self._reading = None
        if not reading.cancelled():
            self._tell(reading.result())

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._told:
            self._report(f"list of recipients: {trouble}")
        self._told = trouble

    def _read(self) -> str:
        """Read the file if it has changed, in a thread; return what is wrong with it."""
        if self._path is None:
            return ""
        try:
            state = self._path.stat()
            read_as = (state.st_mtime_ns, state.st_size, state.st_ino)
            if read_as == self._read_as:
                return ""
            if state.st_size > FILE_LIMIT:
                return f"{self._path} is larger than {FILE_LIMIT} bytes"
            self._of_file = MaskSet(parse_recipients(self._path.read_text(encoding="utf-8")))
            self._read_as = read_as
        except (OSError, ValueError) as error:
            return f"{self._path} cannot be read: {error}"
        return ""


def parse_recipients(text: str) -> list[str]:
    """Return the address masks of a file: one a line, blank lines and comments skipped, and lines that are no mask."""
    masks = []
    for raw_line in text.splitlines():
        line = raw_line.strip()
        if line and not line.startswith("#"):
            try:
                masks.append(_parse_mask(line))
            except ValueError:
                continue  # no recipient can match it
    return masks


class AnswersOfHops:
    """What next hops have said, by recipient, with the time until which it holds. Outlives configurations."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    def find(self, recipient: str, now: float) -> bool | None:
        """Return what is remembered."""
        found = self._known.get(recipient)
        return found[0] if found is not None and now < found[1] else None

    def keep(self, recipient: str, exists: bool, until: float) -> None:
        """Remember an answer."""
        self._known.pop(recipient, None)
        self._known[recipient] = (exists, until)
        if len(self._known) > REMEMBERED_LIMIT:
            self._known.popitem(last=False)


class HopNames(Protocol):
    """What is asked of the resolver."""

    async def addresses(self, host: str) -> Answer[str]:
        """Ask for the addresses of a host."""

    async def mail_hosts(self, domain: str) -> MailHosts:
        """Ask for the mail hosts of a domain."""


class _Target(msgspec.Struct, frozen=True):
    address: str
    port: int
    lmtp: bool


class CallAhead:
    """By asking the next hop. Without a verdict of it the recipient is accepted: to keep mail until the next hop is
    back is what a relay is for.
    """

    def __init__(
        self, config: Config, names: HopNames, answers: AnswersOfHops, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hostname = config.network.hostname.lower().rstrip(".")
        self._routes = RoutingTable(config)
        self._own = OwnAddresses(config)
        self._names = names
        self._answers = answers
        self._clock = clock
        self._ttl = {
            Verdict.EXISTS: config.access.verification_ttl,
            Verdict.ABSENT: config.access.verification_refused_ttl,
            Verdict.UNDECIDED: UNDECIDED_TTL_S,
        }
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._free = asyncio.Semaphore(PROBES_LIMIT)

    def exists(self, recipient: str) -> bool | Awaitable[bool]:
        """Tell from memory, else ask; equal questions at the same time are asked once."""
        key = f"{local_part_of(recipient)}@{domain_of(recipient)}"
        known = self._answers.find(key, self._clock())
        if known is not None:
            return known
        asking = self._asking.get(key)
        if asking is None:
            if len(self._asking) >= WAITING_LIMIT:
                return True
            asking = self._asking[key] = asyncio.get_running_loop().create_task(self._ask(key))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return asyncio.shield(asking)  # one client that goes away must not take the answer from the others

    async def _ask(self, recipient: str) -> bool:
        async with self._free:
            verdict = await self._probe(recipient) if is_sendable(recipient) else Verdict.UNDECIDED
        exists = verdict is not Verdict.ABSENT
        self._answers.keep(recipient, exists, self._clock() + self._ttl[verdict])
        return exists

    async def _probe(self, recipient: str) -> Verdict:
        try:
            for target in (await self._targets(recipient))[:HOSTS_LIMIT]:
                session = ProbeSession(self._hostname, recipient, lmtp=target.lmtp)
                verdict = await probe(target.address, target.port, session)
                if verdict is not None:
                    return verdict
        except Exception:  # noqa: BLE001 - whatever it is, it is no verdict on the recipient
            return Verdict.UNDECIDED
        return Verdict.UNDECIDED

    async def _targets(self, recipient: str) -> list[_Target]:
        """Return where delivery would try first: nobody from the host on that turns out to be ourselves."""
        way = self._routes.resolve(recipient)
        if isinstance(way, Unroutable):
            return []
        hosts: list[MailHost] = []
        for target in way.targets:
            hosts += [MailHost(target, _IN_CLEAR)] if isinstance(target, NextHop) else await self._mail_hosts(target)
        targets: list[_Target] = []
        for host in hosts[:HOSTS_LIMIT]:
            hop = host.hop
            addresses = (await self._names.addresses(hop.host)).values
            if host.by_mx and any(self._own.holds(address, hop.port) for address in addresses):
                break
            targets += [_Target(address, hop.port, way.lmtp) for address in addresses]
        return targets

    async def _mail_hosts(self, target: MailDomain) -> list[MailHost]:
        """Return the mail hosts of a domain, best first; none that lead back to us by name."""
        answer = await self._names.mail_hosts(target.domain)
        tiers = plan_mail_hosts(target.domain, answer, self._hostname, _IN_CLEAR)
        return [] if isinstance(tiers, Reply) else [host for tier in tiers for host in tier]


def build_verifier(
    config: Config,
    names: HopNames,
    answers: AnswersOfHops,
    clock: Callable[[], float],
    report: Callable[[str], None],
    former: Verifier | None = None,
) -> Verifier | None:
    """Return what `access.recipient_verification` asks for, None for `off`. `former`: of the configuration before."""
    access = config.access
    match access.recipient_verification:
        case "list":
            before = former if isinstance(former, KnownRecipients) else None
            return KnownRecipients(access.known_recipients, access.known_recipients_file, clock, report, before)
        case "call_ahead":
            return CallAhead(config, names, answers, clock)
        case _:
            return None
