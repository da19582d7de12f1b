"""Delivery reports: a final failure, a delay or a relaying becomes a message of its own (RFC 3464).

Called by `relay.delivery`; the text is built by `notices.dsn`. The new message goes into the same commit as the change
it reports (commit rule d).
"""

import asyncio
import re
from collections.abc import Callable, Sequence

from gatepost.mime.edit import apply_splices
from gatepost.model.address import domain_of
from gatepost.model.envelope import Body, Client, Envelope, Notify, Recipient
from gatepost.model.ids import QueueIds, format_queue_id
from gatepost.model.record import Generated
from gatepost.model.verdict import Splice
from gatepost.notices.dsn import Original, build_report, decide_report
from gatepost.notices.outcome import Outcome, ReportKind
from gatepost.notices.template import Template
from gatepost.relay.own_mark import OwnMark
from gatepost.relay.retry import Attempt
from gatepost.relay.saving import Saving
from gatepost.relay.work import Work
from gatepost.spool.interface import ContentCorrupt, NewMessage, Pending, Spool, State, Stored

RELEASED = "released"
"""Kind of a message that came out of a store and is not inspected again: its sender may hear of it, as of any other."""

RELEASED_WANTED = "released-wanted"
"""Kind of a message that came out of the spam quarantine and passes the other checks again: it is not spam."""

RELEASES = frozenset({RELEASED, RELEASED_WANTED})

THREAD_SIZE = 1024 * 1024
"""Bytes of content above which a report is written in a thread: it is gone through several times."""
_ADDRESS = re.compile(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def _mta_name(host: str) -> str:
    """Return a host as reports name it (RFC 3464 §2.3.5): its name, or its address in brackets."""
    return f"[{host}]" if _ADDRESS.fullmatch(host) else host


def outcomes_of(attempts: Sequence[Attempt], host: str, now: float) -> list[Outcome]:
    """Return what became of these recipients; `host` is who was tried, "" when nobody was."""
    server = _mta_name(host)
    return [Outcome(recipient=a.recipient, reply=a.reply, server=server, at=now) for a in attempts]


class Reports:
    """Maker of delivery reports for one relay."""

    def __init__(self, spool: Spool, ids: QueueIds, saving: Saving, own: OwnMark, clock_ms: Callable[[], int]) -> None:
        self._spool = spool
        self._own = own
        self._saving = saving
        self._ids = ids
        self._clock_ms = clock_ms

    def configure(self, *, hostname: str, template: Template, entire: bool, on_relaying: bool) -> None:
        """Take (new) settings into use."""
        self._hostname = hostname
        self._template = template
        self._entire = entire
        self._on_relaying = on_relaying

    def wanted(
        self, kind: ReportKind, stored: Stored, attempts: Sequence[Attempt], *, peer_reports: bool = False
    ) -> list[Attempt]:
        """Return those of the attempts that a report is due for (RFC 3461 §4.1, F-DSN-03)."""
        return [a for a in attempts if self.wants(kind, stored, a.recipient, peer_reports=peer_reports)]

    def wants(self, kind: ReportKind, stored: Stored, recipient: Recipient, *, peer_reports: bool = False) -> bool:
        """Tell whether the sender is to hear of this recipient."""
        return decide_report(
            stored.envelope,
            recipient,
            kind,
            peer_reports=peer_reports,
            dsn_on_relaying=self._on_relaying,
            generated=stored.kind not in ("", RELEASED, RELEASED_WANTED),
        )

    async def make(
        self, kind: ReportKind, work: Work, outcomes: Sequence[Outcome], now: float, until: float = 0.0
    ) -> tuple[NewMessage, Generated]:
        """Build the report about `outcomes` (not empty, `wanted`) and the record of its making; `until` is when
        delivery is given up, for delays. SpoolError, OSError: it cannot be made now.
        """
        stored = work.stored
        content = work.content
        splices = stored.splices
        if content is None:
            try:
                content = await self._spool.content(stored.content)
            except ContentCorrupt:
                content, splices = b"", ()  # the sender must hear of it, though there is nothing left to return
        number = self._ids.next(self._clock_ms())
        if len(content) > THREAD_SIZE:
            text = await asyncio.to_thread(self._write, kind, stored, content, splices, outcomes, number, now, until)
        else:
            text = self._write(kind, stored, content, splices, outcomes, number, now, until)
        staged = self._spool.stage(number)
        staged.write(text)
        sender = stored.envelope.sender
        envelope = Envelope(
            "",
            (Recipient(sender, (Notify.NEVER,)),),
            Client("127.0.0.1", helo=self._hostname, listener="internal"),
            Body.SEVEN_BIT if text.isascii() else Body.EIGHT_BIT,
            smtputf8=not sender.isascii(),
        )
        report = Stored(
            number,
            stored.source,
            State.READY,
            now,
            envelope,
            staged.ref,
            self._own.build(text, now),
            pending=(Pending(0, domain_of(sender), now),),
            kind=f"dsn-{kind.value}",
        )
        try:
            await self._saving.save(self._saving.plan_generated(report, text, now))
        except BaseException:
            staged.discard()
            raise
        return NewMessage(report, staged), Generated(
            number, now, report.kind, stored.id, sender, len(text), envelope.sender
        )

    def _write(
        self,
        kind: ReportKind,
        stored: Stored,
        content: bytes,
        splices: Sequence[Splice],
        outcomes: Sequence[Outcome],
        number: int,
        now: float,
        until: float,
    ) -> bytes:
        if splices:
            # What goes back is what was sent on: never an attachment that was taken out.
            content = b"".join(apply_splices(content, splices))
        original = Original(
            queue_id=format_queue_id(stored.id),
            envelope=stored.envelope,
            content=content,
            received_at=stored.received_at,
            prefix=stored.prefix,
            size=stored.content.size,
            group=stored.group,
        )
        return build_report(
            kind,
            original,
            outcomes,
            template=self._template,
            hostname=self._hostname,
            message_id=f"<{format_queue_id(number)}@{self._hostname}>",
            now=now,
            until=until,
            entire=self._entire,
        )
