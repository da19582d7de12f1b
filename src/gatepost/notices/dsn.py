"""Delivery status reports: RFC 3464 messages to the sender (rows F-DSN-02 to F-DSN-05). Called by delivery.

`decide_report` says whether one is due, `build_report` writes it. It goes out with the null sender `<>`, which is the
caller's to set. Promises well-formed MIME with CRLF whatever the original holds; only a report that returns a whole
8-bit message is itself 8-bit (`not report.isascii()`), all others pass any peer.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.model.address import NULL_SENDER, bracketed
from gatepost.model.envelope import Envelope, Notify, Recipient, Ret
from gatepost.notices.facts import MessageFacts, build_values
from gatepost.notices.original import HEADER_LIMIT, header_of, message_id_of, subject_of, thread_fields
from gatepost.notices.outcome import (
    ADDRESS_LIMIT,
    Outcome,
    ReportKind,
    build_field,
    build_message_fields,
    build_recipient_fields,
    describe_outcome,
    format_date,
    resolve_status,
)
from gatepost.notices.parts import ContentPart, encode_lines, message_part, pick_boundary, text_part
from gatepost.notices.template import Item, Template
from gatepost.notices.text import ascii_text, clean_text

SENDER_NAME: Final = "Mail Delivery System"
_SUBJECTS: Final = {
    ReportKind.FAILED: "Mail delivery failed",
    ReportKind.DELAYED: "Mail delivery delayed",
    ReportKind.RELAYED: "Mail handed to a system that does not report delivery",
}
_DESCRIPTIONS: Final = ("Report", "Delivery status", "Original message")


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """The message that is reported on."""

    queue_id: str
    envelope: Envelope
    content: bytes
    """As received; its header alone is enough when it is not returned whole (see `returns_content`)."""
    received_at: float
    prefix: bytes = b""
    """Our own fields that go in front of it."""
    size: int = 0
    group: str = ""


def decide_report(
    envelope: Envelope,
    recipient: Recipient,
    kind: ReportKind,
    *,
    peer_reports: bool = False,
    dsn_on_relaying: bool = False,
    generated: bool = False,
) -> bool:
    """Tell whether the sender gets a report about this recipient (RFC 3461 §4.1, §5.2; F-DSN-03, F-DSN-04).

    `peer_reports`: the peer that took the mail speaks DSN and got the recipient's parameters. `generated`: the message
    is one of ours (a report, a notice). Without NOTIFY failures and delays are reported (RFC 3461 §4.1).
    """
    if generated or envelope.sender == NULL_SENDER or Notify.NEVER in recipient.notify:
        return False
    if kind is ReportKind.FAILED:
        return not recipient.notify or Notify.FAILURE in recipient.notify
    if kind is ReportKind.DELAYED:
        return not recipient.notify or Notify.DELAY in recipient.notify
    return dsn_on_relaying or (Notify.SUCCESS in recipient.notify and not peer_reports)


def returns_content(kind: ReportKind, envelope: Envelope, *, entire: bool) -> bool:
    """Tell whether a report returns the whole message: asked for by `DSNEntireMessage` or RET, and a failure.

    RFC 3461 §4.3: the sender's RET=HDRS is kept to, and reports without a failure return the header only.
    """
    return kind is ReportKind.FAILED and (envelope.ret is Ret.FULL or (entire and envelope.ret is not Ret.HEADERS))


def build_report(
    kind: ReportKind,
    original: Original,
    outcomes: Sequence[Outcome],
    *,
    template: Template,
    hostname: str,
    message_id: str,
    now: float,
    entire: bool = False,
    until: float = 0.0,
) -> bytes:
    """Write a report about one or more recipients of a message (RFC 3464, RFC 6522).

    To a sender whose address is beyond ASCII it is in the form of RFC 6533, and needs SMTPUTF8 on its way: its header
    and its status part are UTF-8. All others are ASCII there.

    `message_id` is the Message-ID of the report with its angle brackets, `now` the Unix time, `until` when delivery is
    given up (for delays), `entire` the parameter `DSNEntireMessage`.
    """
    hostname = ascii_text(hostname, ADDRESS_LIMIT)
    header = header_of(original.content)
    utf8 = not original.envelope.sender.isascii()
    if returns_content(kind, original.envelope, entire=entire):
        returned = message_part(original.prefix + original.content, utf8=utf8)
    else:
        returned = _header_part(original.prefix, header)
    text = template.render(_build_values(kind, original, header, outcomes, hostname=hostname, now=now, until=until))
    status = [
        build_message_fields(
            hostname,
            queue_id=original.queue_id,
            envid=original.envelope.envid,
            arrived_at=original.received_at,
        ),
        *(build_recipient_fields(kind, outcome, until=until, utf8=utf8) for outcome in outcomes),
    ]
    parts = (text_part(text), _status_part("\r\n".join(status), utf8=utf8), returned)
    eight_bit = not all(body.isascii() for _, body in parts)
    boundary = pick_boundary(f"{original.queue_id}/{now}", [body for _, body in parts])
    to = bracketed((clean_text if utf8 else ascii_text)(original.envelope.sender, ADDRESS_LIMIT))
    fields = [
        build_field("Date", format_date(now)),
        build_field("From", f"{SENDER_NAME} <MAILER-DAEMON@{hostname}>"),
        build_field("To", to),
        build_field("Subject", _SUBJECTS[kind]),
        build_field("Message-ID", ascii_text(message_id, ADDRESS_LIMIT)),
        thread_fields(header),
        build_field("Auto-Submitted", "auto-replied"),
        build_field("MIME-Version", "1.0"),
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"\r\n',
        build_field("Content-Transfer-Encoding", "8bit") if eight_bit else "",
        "\r\nThis is a delivery status report in MIME format.\r\n",
    ]
    pieces = ["".join(fields).encode("utf-8" if utf8 else "ascii")]
    for description, (part_fields, body) in zip(_DESCRIPTIONS, parts, strict=True):
        part_start = f"\r\n--{boundary}\r\nContent-Description: {description}\r\n"
        pieces += [part_start.encode("ascii"), part_fields, b"\r\n", body]
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return b"".join(pieces)


def _build_values(
    kind: ReportKind,
    original: Original,
    header: bytes,
    outcomes: Sequence[Outcome],
    *,
    hostname: str,
    now: float,
    until: float,
) -> dict[str, str | Sequence[str | Item]]:
    envelope = original.envelope
    values = build_values(
        MessageFacts(
            hostname=hostname,
            now=now,
            queue_id=original.queue_id,
            message_id=message_id_of(header),
            subject=subject_of(header),
            size=original.size or len(original.content),
            client_ip=envelope.client.ip,
            helo=envelope.client.helo,
            sender=envelope.sender,
            recipients=tuple(outcome.recipient.address for outcome in outcomes),
            group=original.group,
        )
    )
    values["DSN_ACTION"] = kind.value
    values["DSN_UNTIL"] = format_date(until) if until else ()
    values["DSN_RCPT"] = tuple(
        Item(
            outcome.recipient.address,
            {"DSN_STATUS": resolve_status(kind, outcome), "DSN_DIAG": describe_outcome(outcome) or ()},
        )
        for outcome in outcomes
    )
    return values


_LINE_END = re.compile(rb"\r\n|\n|\r")


def _header_part(prefix: bytes, header: bytes) -> ContentPart:
    """Return the header as text/rfc822-headers (RFC 6522 §4), cut on a line where it is too long."""
    text = prefix + header
    if len(text) > HEADER_LIMIT:
        kept = text[:HEADER_LIMIT]
        kept = kept[: kept.rfind(b"\n") + 1] or kept + b"\r\n"
        text = kept + b"X-Gatepost-Note: the rest of this header was left out because of its length\r\n"
    fields, body = encode_lines(_LINE_END.sub(b"\r\n", text))
    return build_field("Content-Type", "text/rfc822-headers; charset=utf-8").encode() + fields, body


def _status_part(text: str, *, utf8: bool) -> ContentPart:
    """Return the machine-readable part (RFC 3464 §2.1), for UTF-8 as RFC 6533 §4 has it."""
    fields = build_field("Content-Type", "message/global-delivery-status" if utf8 else "message/delivery-status")
    body = text.encode("utf-8" if utf8 else "ascii")
    if not body.isascii():
        fields += build_field("Content-Transfer-Encoding", "8bit")
    return fields.encode(), body
