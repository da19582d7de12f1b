"""The judge in a relay: what other mail systems ask goes the way of the relay's own mail, as far as the verdict.

Made by `service.doors`: a `Desk` for all doors of a relay, a `DeskJudge` for each. A message gets a queue id of this
relay, its groups, one examination by filter and network, and each group's disposition; stores and notifications follow
when the asker carries the answer out (`Purpose.HANDLE`), and records tell of all of it as of accepted mail. Nothing is
delivered or bounced from here.

Promises: what could not be examined is `Unjudged`, whatever the reason, and on record as such; a fault of ours met on
one message is the same to its asker, and to nobody else.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatepost.config.doors import Door
from gatepost.config.masks import MaskSet, NetworkSet
from gatepost.config.schema import Config
from gatepost.control.faults import describe_fault
from gatepost.mime.edit import HEADER_LIMIT
from gatepost.model.envelope import Direction, Envelope, Recipient
from gatepost.model.filtering import Checks, Purpose, Request, Ruling
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.model.record import ADDRESSES_TOLD, Received, Record
from gatepost.notices.outcome import ReportKind
from gatepost.notices.scan_field import header_end
from gatepost.policy.group import GroupPolicy, scan_options
from gatepost.policy.spam_settings import SpamPolicy
from gatepost.relay.direction import first_untrusted_hop, resolve_direction, trusted_networks
from gatepost.relay.disposal import Disposition, Partition
from gatepost.relay.examination import NotInspected
from gatepost.relay.incoming import HEAD_LIMIT, Head
from gatepost.relay.inspection import Inspection
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.work import Work
from gatepost.service.channel import ASKER
from gatepost.service.judge import Unjudged
from gatepost.service.licensing import LicenceClient
from gatepost.service.ruling import build_answered, build_passing, build_ruling, build_unjudged
from gatepost.service.told_senders import TOLD, ToldSenders, drop_reports
from gatepost.spool import clock
from gatepost.spool.interface import ContentRef, State, Stored

OWN: Final = "Own message"
TOO_LARGE: Final = "Too large"
REFERENCE_LIMIT: Final = 100
"""Characters kept of an asker's queue id: longer than any mail system's."""
BOUNCE: Final = f"dsn-{ReportKind.FAILED.value}"
"""Kind of the message that tells a sender of a rejection."""
_NO_SPAM: Final = SpamPolicy()


class Desk:
    """What all doors of a relay share."""

    def __init__(
        self,
        *,
        ids: QueueIds,
        clock_ms: Callable[[], int],
        inspection: Inspection,
        own_mark: OwnMark,
        enter: Callable[[Sequence[Record]], None],
        conclude: "Callable[[Disposition], asyncio.Future[None] | None]",
        report: Callable[[str, str], None],
    ) -> None:
        """`enter` puts records on record; `conclude` does it with those of a disposition, and lets its notifications
        go: it returns what is done when these are durable, all or none. `report(level, text)` logs.
        """
        self._ids = ids
        self._clock_ms = clock_ms
        self.inspection = inspection
        self.own_mark = own_mark
        self.enter = enter
        self.conclude = conclude
        self.report = report
        self.licence: LicenceClient | None = None
        """Whom to ask whether mail may be checked for spam; None: nobody, it may."""

    def configure(self, config: Config) -> None:
        """Take a (new) configuration into use."""
        self._trusted = trusted_networks(config)
        self._front = NetworkSet(config.network.front_relays)
        self._protected = MaskSet(f"*@{domain}" for domain in config.network.protected_domains)
        self.told = ToldSenders(Path(config.relay.state_path) / TOLD, self.report)
        if self.licence is not None:
            self.licence.close()
        daemon = config.licence_daemon
        self.licence = LicenceClient(daemon) if daemon.filter_license_connect_to else None

    def next_id(self) -> int:
        """Return a fresh queue id."""
        return self._ids.next(self._clock_ms())

    def envelope(self, request: Request, recipients: Sequence[Recipient], raw_head: bytes) -> Envelope:
        """Return the envelope of a message, with its direction, and with its true client where one of our relays in
        front has handed it on.
        """
        client = request.client
        ours = bool(client.user) or (client.ip != "" and self._trusted.contains(client.ip))
        if client.ip and not client.user and self._front.contains(client.ip):
            fields = Head(raw_head, complete=len(raw_head) < HEAD_LIMIT).received_fields()
            hop = first_untrusted_hop(fields, self._front, self._trusted)
            ours = hop is None
            client = msgspec.structs.replace(client, ip=hop or "", name="", port=0)
        direction = resolve_direction(ours=ours, protected=self._protected, recipients=recipients)
        return Envelope(request.sender, tuple(recipients), client, direction=direction)


class DeskJudge:
    """The judge behind one door (`service.judge.Judge`)."""

    def __init__(self, desk: Desk, door: Door) -> None:
        self._desk = desk
        self._door = door

    async def judge(self, request: Request, content: bytes | Path, deadline_s: float) -> Ruling:
        """As `Judge.judge`."""
        desk, began = self._desk, asyncio.get_running_loop().time()
        try:
            size, head = await _look_at(content)
        except OSError as error:
            raise Unjudged(f"its content cannot be read: {error.strerror}") from error
        number, now = desk.next_id(), clock.now()
        names = {self._address(each): each for each in request.recipients}
        envelope = desk.envelope(request, [Recipient(address) for address in names], head)
        stored = Stored(number, number, State.WAITING, now, envelope, ContentRef(number, size, in_file=False), b"")
        received = self._received(stored, request, head)
        try:
            ruling, disposition = await self._rule(stored, request, content, head, names, deadline_s)
        except Exception as error:  # a fault of ours is no judgement either, and must not end the door's other talks
            why = str(error)
            if not isinstance(error, NotInspected | OSError):
                why = "internal error"
                desk.report("E", f"{format_queue_id(number)}: not judged: {describe_fault(error)}")
            elif not isinstance(error, NotInspected) or error.level != "W":
                desk.report("E", f"{format_queue_id(number)}: not judged: {why}")
            took_s = asyncio.get_running_loop().time() - began
            desk.enter((received, build_unjudged(number, request, why, size, clock.now(), took_s)))
            raise Unjudged(why) from error
        took_s = asyncio.get_running_loop().time() - began
        answered = build_answered(number, request, ruling, size, clock.now(), took_s)
        if disposition is None:
            desk.enter((received, answered))
        else:
            disposition.records = [received, *disposition.records, answered]
            await self._conclude(request, ruling, content, disposition)
        return ruling

    async def _conclude(
        self, request: Request, ruling: Ruling, content: bytes | Path, disposition: Disposition
    ) -> None:
        """Put it on record, and let reports and notifications go. Unjudged: reports to the sender are not durable."""
        desk = self._desk
        if not _has_report(disposition):
            desk.conclude(disposition)
            return
        try:
            key = await desk.told.key(request, ruling, content)
        except OSError as error:
            disposition.discard()
            raise Unjudged(f"its content cannot be read: {error.strerror}") from error
        if key and desk.told.knows(key, request.sender, clock.now()):
            desk.report("I", f"{ruling.queue_id}: asked about again: its sender has the report already")
            drop_reports(disposition, BOUNCE)
        # Who asked may be gone before it is durable: the report goes out all the same, and is noted.
        await asyncio.shield(self._tell(request.sender, key, disposition))

    async def _tell(self, sender: str, key: str, disposition: Disposition) -> None:
        commit = self._desk.conclude(disposition)
        if commit is not None and _has_report(disposition):
            await _promised(commit)
        if key:
            self._desk.told.note(key, sender, clock.now())

    async def _rule(
        self,
        stored: Stored,
        request: Request,
        content: bytes | Path,
        head: bytes,
        names: dict[str, str],
        deadline_s: float,
    ) -> tuple[Ruling, Disposition | None]:
        desk, door, queue_id = self._desk, self._door, format_queue_id(stored.id)
        if 0 < door.size_limit < stored.content.size:
            return build_passing(request, b"", TOO_LARGE, f"larger than {door.size_limit} bytes", queue_id), None
        if await self._is_own(stored, head, content):
            return build_passing(request, b"", OWN, "the gateway itself has written or released it", queue_id), None
        partition = await self._partition(stored, request)
        work = Work(stored, content, None) if isinstance(content, bytes) else Work(stored, None, str(content))
        options = scan_options([group for group, _ in partition])
        if options is not None and request.bare is not None:
            options = msgspec.structs.replace(options, bare=request.bare, spam=None)
        disposition = await desk.inspection.answer(
            work,
            partition,
            options,
            deadline_s,
            handle=request.purpose is Purpose.HANDLE,
            divided=request.divided,
            accepted=request.accepted,
        )
        return build_ruling(names, disposition, head, queue_id), disposition

    async def _is_own(self, stored: Stored, head: bytes, content: bytes | Path) -> bool:
        """Tell whether a message that the gateway has written, or released, comes back, from our own network.

        Whoever gets such a message elsewhere cannot hand it in as ours, though its mark fits.
        """
        envelope = stored.envelope
        if envelope.direction is Direction.INBOUND:
            return False
        recipients = [each.address for each in envelope.recipients]
        return await self._desk.own_mark.holds(head, content, envelope.sender, recipients, stored.received_at)

    async def _partition(self, stored: Stored, request: Request) -> Partition:
        desk = self._desk
        partition = desk.inspection.partition(stored, self._door.group)
        if desk.licence is not None and (why := await desk.licence.ask()):
            desk.report("W", f"{format_queue_id(stored.id)}: not checked for spam: {why}")
            partition = [(_unlicensed(group), indices) for group, indices in partition]
        if request.checks is Checks.ALL and request.bare is None:
            return partition
        virus = request.checks is not Checks.SPAM
        return [(_without_spam(group) if virus else _without_scan(group), indices) for group, indices in partition]

    def _address(self, recipient: str) -> str:
        """Return a recipient with the domain that the asker leaves out."""
        domain = self._door.default_domain
        return f"{recipient}@{domain}" if domain and "@" not in recipient else recipient

    def _received(self, stored: Stored, request: Request, raw_head: bytes) -> Received:
        envelope, client = stored.envelope, stored.envelope.client
        return Received(
            stored.id,
            stored.received_at,
            envelope.sender,
            len(envelope.recipients),
            stored.content.size,
            client.ip,
            client.helo,
            Head(raw_head, complete=len(raw_head) < HEAD_LIMIT).message_id,
            "E" if client.esmtp else "",
            tls=client.tls,
            user=client.user,
            addresses=tuple([each.address for each in envelope.recipients[:ADDRESSES_TOLD]]),
            client=client.name,
            listener=self._door.name,
            direction=envelope.direction.value,
            body=envelope.body.value,
            door=self._door.kind.value,
            reference=request.queue_id[:REFERENCE_LIMIT],
            asker=ASKER.get(),
        )


def _has_report(disposition: Disposition) -> bool:
    """Tell whether the sender is to hear of it from us."""
    return any(new.stored.kind == BOUNCE for new in disposition.generated)


async def _promised(commit: "asyncio.Future[None]") -> None:
    """Wait until reports to the sender are durable: after the answer nobody else tells him. Unjudged: they are not."""
    await asyncio.wait((commit,))
    if commit.cancelled() or commit.exception() is not None:
        raise Unjudged("the report to its sender cannot be kept")


def _unlicensed(group: GroupPolicy) -> GroupPolicy:
    scan = msgspec.structs.replace(group.scan, spam=None)
    return msgspec.structs.replace(group, spam=group.spam.unprocessed(), scan=scan)


def _without_spam(group: GroupPolicy) -> GroupPolicy:
    scan = msgspec.structs.replace(group.scan, spam=None)
    return msgspec.structs.replace(group, spam=_NO_SPAM, scan=scan)


def _without_scan(group: GroupPolicy) -> GroupPolicy:
    scan = msgspec.structs.replace(group.scan, scan=False)
    return msgspec.structs.replace(group, check=False, scan=scan)


async def _look_at(content: bytes | Path) -> tuple[int, bytes]:
    """Return the size of a content, and as much of it as its header may take. OSError."""
    if isinstance(content, bytes):
        return len(content), content
    return await asyncio.to_thread(_read_head, content)


def _read_head(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        head = file.read(HEAD_LIMIT)
        if len(head) == HEAD_LIMIT and header_end(head) == HEAD_LIMIT:
            head += file.read(HEADER_LIMIT - HEAD_LIMIT)
        return file.seek(0, 2), head
