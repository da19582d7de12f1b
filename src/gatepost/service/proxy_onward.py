"""A proxy's way onward: the session with its next hop, the transaction that stands open there, a plan's copies.

Used by `service.proxy_door`, one for each connection of a client. Promises: a message that the next hop may have taken
is not sent again by itself; what can be sent again without that doubt is, once, on a new connection.
"""

import mmap
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from gatepost.mime.edit import apply_splices
from gatepost.model.envelope import Body, Recipient
from gatepost.model.reply import Reply, reply
from gatepost.service.gathered import READ_BYTES, Gathered
from gatepost.service.proxy_hop import LOST, Hop, HopLost
from gatepost.service.proxy_memory import DeliveredMemory, is_one_of_a_kind
from gatepost.service.proxy_plan import Copy, Fate, Kind, Plan, join_fates, resolve_fates
from gatepost.smtp.client_events import Forwarded, Transaction
from gatepost.smtp.server_events import ClientForwarded, MailFrom
from gatepost.spool import clock

DELIVERED_BEFORE: Final = Fate(Kind.DELIVERED, reply(250, "2.0.0", "OK, delivered before"))
_NOTHING_TOLD: Final = ClientForwarded()

Dial = Callable[[], Awaitable[Hop]]


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy works with besides its door."""

    dial: Dial
    """Opens a session with the next hop. HopLost."""
    gather: Callable[[], Gathered] = Gathered
    eof_is_gone: bool = True
    """A client that sends nothing more while its message is judged has gone: nobody would hear that it was delivered.
    False where a whole dialogue may come at once, and its end with it."""
    eight_bit_always: bool = False
    """8BITMIME is offered, and 8-bit content sent undeclared, where the next hop does not offer it (`Pipe8BitHack`)."""


class Mail(msgspec.Struct):
    """A transaction under way."""

    begun: MailFrom
    sender: str
    facts: ClientForwarded
    recipients: list[Recipient] = []
    """Those the next hop accepted."""
    open: bool = False
    """It stands open at the next hop as well."""
    gathered: Gathered | None = None


class Onward:
    """The next hop, as one connection of a client sees it."""

    def __init__(self, means: Means, memory: DeliveredMemory, report: Callable[[str, str], None]) -> None:
        self._means = means
        self._memory = memory
        self._report = report
        self._hop: Hop | None = None

    async def dial(self) -> Hop:
        """Open a session, in place of one there may be. HopLost."""
        self.close()
        try:
            self._hop = await self._means.dial()
        except HopLost as error:
            self._report("W", f"next hop: {error}")
            raise
        return self._hop

    def close(self) -> None:
        """End the session."""
        hop, self._hop = self._hop, None
        if hop is not None:
            hop.close()

    # --- the transaction that stands open

    async def begin(self, mail: Mail) -> Reply:
        """Say MAIL: on a new connection when the old one has ended meanwhile."""
        transaction = self._transaction(mail, (), mail.begun.size)
        try:
            answer = await self._begin(transaction)
        except HopLost as error:
            return error.reply
        mail.open = answer.positive
        return answer

    async def _begin(self, transaction: Transaction) -> Reply:
        hop = self._hop
        if hop is not None and hop.alive:
            try:
                return await hop.begin(transaction)
            except HopLost as error:
                self._report("D", f"next hop: {error}; connecting anew")
        return await (await self.dial()).begin(transaction)

    async def add(self, mail: Mail, recipient: Recipient) -> Reply:
        """Say RCPT."""
        if not mail.open or self._hop is None:
            return LOST
        try:
            answer = await self._hop.add(recipient)
        except HopLost as error:
            mail.open = False
            self._report("W", f"next hop: {error}")
            return error.reply
        if answer.positive:
            mail.recipients.append(recipient)
        return answer

    def abandon(self, mail: Mail) -> None:
        """Forget what stands open."""
        if mail.open and self._hop is not None and self._hop.alive:
            self._hop.abandon()
        mail.open = False

    def _transaction(
        self, mail: Mail, recipients: tuple[Recipient, ...], size: int, *, plain: bool = False
    ) -> Transaction:
        begun = mail.begun
        hop = self._hop
        undeclared = self._means.eight_bit_always and hop is not None and not hop.extensions.eight_bit
        return Transaction(
            mail.sender,
            recipients,
            size,
            Body.SEVEN_BIT if undeclared else begun.body,
            begun.ret,
            begun.envid,
            begun.smtputf8,
            begun.smtputf8,
            plain,
            _to_forward(mail.facts),
        )

    # --- copies

    async def deliver(self, mail: Mail, gathered: Gathered, plan: Plan, *, plain: bool, lmtp: bool) -> list[Fate]:
        """Carry a plan out, and return what became of each recipient. `lmtp`: the client hears of each."""
        key = ""
        have: frozenset[str] = frozenset()
        now = clock.now()
        if self._memory.holds_any(now):
            key = self._key(mail, gathered)
            have = self._memory.recall(key, [each.address for each in mail.recipients], now)
        fates = await self._carry_out(mail, gathered, plan, have, plain=plain)
        if lmtp:
            return fates
        if any(fate.kind is Kind.FAILED for fate in fates) and not join_fates(fates).permanent:
            self.remember(mail, gathered, fates)
        elif have:
            self._memory.forget(key)
        return fates

    def remember(self, mail: Mail, gathered: Gathered, fates: Sequence[Fate]) -> None:
        """Note who has the message: the client will come again for all."""
        settled = (Kind.DELIVERED, Kind.DISCARDED)
        safe = [each.address for each, fate in zip(mail.recipients, fates, strict=True) if fate.kind in settled]
        if not safe or not (mail.facts.ident or is_one_of_a_kind(next(gathered.pieces(), b""))):
            return
        try:
            self._memory.note(self._key(mail, gathered), safe, clock.now())
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self._report("W", f"who has a message cannot be remembered, he may get it twice: {where}{error.strerror}")

    def _key(self, mail: Mail, gathered: Gathered) -> str:
        return self._memory.key(f"{mail.facts.ident or ''} {mail.sender}", gathered.pieces())

    async def _carry_out(
        self, mail: Mail, gathered: Gathered, plan: Plan, have: frozenset[str], *, plain: bool
    ) -> list[Fate]:
        fates = {
            number: DELIVERED_BEFORE for number, each in enumerate(mail.recipients) if have and each.address in have
        }
        for copy in plan.copies:
            left = _without(copy, have) if have else copy
            if not left.recipients:
                continue
            try:
                said = await self._send(mail, gathered, left, plain=plain and not left.edited)
            except HopLost as error:
                self._report("W", f"next hop: {error}")
                said = (error.reply,) * len(left.recipients)
            fates = resolve_fates(left, said, mail.recipients) | fates
            self._report_besides(left, said)
        fates = {**plan.fates, **fates}
        return [fates[number] for number in range(len(mail.recipients))]

    async def _send(self, mail: Mail, gathered: Gathered, copy: Copy, *, plain: bool) -> Sequence[Reply]:
        """Send one copy: in the transaction that stands open when it is for its recipients. HopLost."""
        hop = self._hop
        if mail.open and hop is not None and hop.alive and copy.recipients == tuple(mail.recipients):
            mail.open = False
            try:
                return await hop.go_on(_pieces(gathered, copy), plain=plain)
            except HopLost as error:
                self._doubt(error)
        self.abandon(mail)
        size = gathered.size + len(copy.prefix)
        if hop is not None and hop.alive:
            try:
                return await hop.send(
                    self._transaction(mail, copy.recipients, size, plain=plain), _pieces(gathered, copy)
                )
            except HopLost as error:
                self._doubt(error)
        hop = await self.dial()
        return await hop.send(self._transaction(mail, copy.recipients, size, plain=plain), _pieces(gathered, copy))

    def _doubt(self, error: HopLost) -> None:
        """Pass an error on unless it is certain that the message was not taken. HopLost."""
        if error.may_have_it:
            raise error
        self._report("D", f"next hop: {error}; connecting anew")

    def _report_besides(self, copy: Copy, said: Sequence[Reply]) -> None:
        for recipient, answer in zip(copy.recipients[copy.deciding :], said[copy.deciding :], strict=False):
            if not answer.positive:
                self._report("W", f"copy for {recipient.address} not delivered: {answer.code} {answer.text}")


def _to_forward(facts: ClientForwarded) -> Forwarded | None:
    """Return the client's facts as they go on, None when nothing was told."""
    if facts == _NOTHING_TOLD:
        return None
    return Forwarded(
        facts.name or "",
        facts.address or "",
        facts.port or 0,
        facts.protocol or "",
        facts.helo or "",
        facts.ident or "",
        facts.source or "",
    )


def _without(copy: Copy, have: frozenset[str]) -> Copy:
    """Return a copy for those who do not have it; who stands besides has got it with the others."""
    deciding = tuple(each for each in copy.recipients[: copy.deciding] if each.address not in have)
    return msgspec.structs.replace(copy, recipients=deciding, deciding=len(deciding))


def _pieces(gathered: Gathered, copy: Copy) -> Iterable[bytes]:
    return _edited(gathered, copy) if copy.edited else gathered.pieces()


def _edited(gathered: Gathered, copy: Copy) -> Iterator[bytes]:
    """Yield the copy in pieces; of content in a file only what is being sent is in memory."""
    if copy.prefix:
        yield copy.prefix
    content = gathered.content
    if isinstance(content, bytes):
        yield from apply_splices(content, copy.splices)
        return
    with content.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        position = 0
        for splice in copy.splices:
            for at in range(position, splice.start, READ_BYTES):
                yield mapped[at : min(at + READ_BYTES, splice.start)]
            if splice.data:
                yield splice.data
            position = splice.end
        for at in range(position, len(mapped), READ_BYTES):
            yield mapped[at : at + READ_BYTES]
