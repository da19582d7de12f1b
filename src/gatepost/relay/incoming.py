"""One message on its way in: its envelope, its content as it arrives, and what is to be made durable of both.

Made by `relay.dialogue` at each accepted MAIL. The content goes to the spool's staging piece by piece; its head is kept
at hand until the end, for what has to be read out of it.
"""

import itertools
import re
from collections.abc import Iterable, Sequence

from gatepost.model.envelope import Body, Client, Direction, Envelope, Recipient
from gatepost.model.ids import format_queue_id
from gatepost.model.record import ADDRESSES_TOLD, Received
from gatepost.relay.mending import LineMender
from gatepost.relay.received import build_missing, build_received
from gatepost.smtp.lines import has_bare_line_ends
from gatepost.smtp.server_events import DataEnd, MailFrom
from gatepost.spool.interface import NewMessage, StagedContent, State, Stored

HEAD_LIMIT = 64 * 1024
"""Bytes at the start of a message in which its header is looked for; fields beyond are not known to be missing."""

_MESSAGE_ID = re.compile(rb"message-id:[ \t]*(?:\r\n[ \t]+)?([^\r\n]{1,998})", re.IGNORECASE)
_HEADER_START = re.compile(rb"\r\n|>?From |[!-9;-~\x80-\xff]++[ \t]*+:|\Z")
"""What a message may begin with: no header at all, the first line of a mailbox (mbox), or a field."""
_RECEIVED = re.compile(rb"\nreceived:((?:[^\n]*\n[ \t])*[^\n]*)", re.IGNORECASE)


class Head:
    """What reception reads out of a header: which fields are there, and a few of their bodies."""

    __slots__ = ("_lower", "_raw", "_whole", "headless")

    def __init__(self, raw_head: bytes, *, complete: bool) -> None:
        """`raw_head`: the first bytes of a message; `complete`: the message has no more."""
        self.headless = _HEADER_START.match(raw_head) is None
        """It begins with what is no header, not even an empty one. A first line that looks like the continuation of a
        field would continue the last of ours in front of it."""
        end = raw_head.find(b"\r\n\r\n")
        if self.headless or raw_head.startswith(b"\r\n"):
            end = 0
        self._raw = b"\n" + (raw_head[:end] if end >= 0 else raw_head)
        self._lower = self._raw.lower()
        self._whole = end >= 0 or complete

    def lacks(self, name: bytes) -> bool:
        """Tell whether the header is known to have no field `name` (lower case, with its colon)."""
        return self._whole and b"\n" + name not in self._lower

    @property
    def signed(self) -> bool:
        """It carries a signature over its content, which a repair might break."""
        return b"\ndkim-signature:" in self._lower or b"\narc-message-signature:" in self._lower

    @property
    def message_id(self) -> str:
        """Body of its Message-ID field, "" without one."""
        at = self._lower.find(b"\nmessage-id:")
        found = _MESSAGE_ID.match(self._raw, at + 1) if at >= 0 else None
        return found.group(1).decode("utf-8", "backslashreplace").strip() if found else ""

    def received_fields(self) -> Sequence[bytes]:
        """Return the bodies of its Received fields, the newest first."""
        return [match.group(1) for match in _RECEIVED.finditer(self._raw)]


def mend(pieces: Iterable[bytes], after: StagedContent, *, headless: bool, lines: bool) -> None:
    """Write the content in `pieces`, mended, to `after`: one that is `headless` gets its empty line, and with `lines`
    over-long ones are broken. OSError when the disk refuses.

    Reads and writes all of it: not on the event loop.
    """
    mender = LineMender()
    for piece in itertools.chain((b"\r\n",) if headless else (), pieces):
        after.write(mender.feed(piece) if lines else piece)
    after.write(mender.flush())


class Incoming:
    """One transaction from MAIL to the end of its content."""

    __slots__ = ("_raw_head", "id", "mail", "recipients", "staged")

    def __init__(self, mail: MailFrom) -> None:
        self.mail = mail
        self.recipients: list[Recipient] = []
        self.staged: StagedContent | None = None
        """None before its content begins, and when it could not be kept."""
        self.id = 0
        self._raw_head = b""

    def begin(self, message_id: int, staged: StagedContent) -> None:
        """Take content from now on."""
        self.id = message_id
        self.staged = staged

    def write(self, data: bytes) -> None:
        """Keep content. When the disk refuses, what follows is swallowed and the end of data gets 452."""
        staged = self.staged
        if staged is None:
            return
        try:
            staged.write(data)
        except OSError:
            self.drop()
            return
        if len(self._raw_head) < HEAD_LIMIT:
            self._raw_head = self._raw_head + data[: HEAD_LIMIT - len(self._raw_head)] if self._raw_head else data
            if len(self._raw_head) > HEAD_LIMIT:
                self._raw_head = self._raw_head[:HEAD_LIMIT]

    @property
    def size(self) -> int:
        """Bytes of content that have come and were kept."""
        return self.staged.size if self.staged is not None else 0

    def drop(self) -> None:
        """Forget the content; leaves nothing behind."""
        if self.staged is not None:
            self.staged.discard()
            self.staged = None

    def take(self) -> StagedContent:
        """Return the content, which somebody else answers for from now on."""
        staged, self.staged = self.staged, None
        assert staged is not None
        return staged

    def head(self) -> Head:
        """Return what can be read of the header, once the content is complete."""
        return Head(self._raw_head, complete=len(self._raw_head) < HEAD_LIMIT)

    def build(
        self,
        end: DataEnd,
        head: Head,
        client: Client,
        direction: Direction,
        *,
        hostname: str,
        prepend_received: bool,
        malformed: bool,
        now: float,
    ) -> tuple[NewMessage, Received]:
        """Return the message to be made durable, and the record of its acceptance; the content must be complete.

        What the header lacks of Date and Message-ID is put in front of it, unless the message is signed.
        """
        staged, mail = self.staged, self.mail
        assert staged is not None
        recipients = tuple(self.recipients)
        envelope = Envelope(
            mail.address,
            recipients,
            client,
            Body.EIGHT_BIT if end.eight_bit and mail.body is Body.SEVEN_BIT else mail.body,
            mail.ret,
            mail.envid,
            mail.dsn or any(r.notify or r.orcpt for r in recipients),
            mail.smtputf8,
            direction,
        )
        number = self.id
        queue_id = format_queue_id(number)
        prefix = b""
        if prepend_received:
            prefix = build_received(client, hostname, queue_id, now, smtputf8=mail.smtputf8)
        message_id = head.message_id
        no_date, no_id = head.lacks(b"date:"), head.lacks(b"message-id:")
        if (no_date or no_id) and not head.signed:
            prefix += build_missing(hostname, queue_id, now, date=no_date, message_id=no_id)
            message_id = message_id or f"<{queue_id}@{hostname}>"
        stored = Stored(number, number, State.WAITING, now, envelope, staged.ref, prefix)
        record = Received(
            number,
            now,
            mail.address,
            len(recipients),
            staged.size,
            client.ip,
            client.helo,
            message_id,
            ("E" if client.esmtp else "") + ("D" if envelope.dsn_requested else ""),
            malformed,
            client.tls,
            client.user,
            tuple([each.address for each in recipients[:ADDRESSES_TOLD]]),
            client.name,
            client.listener,
            direction.value,
            envelope.body.value,
            mail.smtputf8,
        )
        # What stands in front holds foreign text (the client's name for itself), so it is looked at like content.
        plain = end.plain and b"\n." not in prefix and not has_bare_line_ends(prefix)
        return NewMessage(stored, staged, plain), record
