"""Notifications: messages to administrators, senders and recipients about what was found (rows F-NOTI-01 to F-NOTI-05).

Called by `relay.notifying`. They go out with the null sender `<>`, which is the caller's to set, and are marked
(`original.MARK`, Auto-Submitted), so that nothing answers them. Promises well-formed MIME in CRLF; without an attached
original it is 7-bit whatever was found.
"""

import email.header
from collections.abc import Sequence
from typing import Final

import msgspec

from gatepost.notices.facts import PRODUCT, MessageFacts, ObjectFacts, build_values
from gatepost.notices.group import GroupTexts, Role
from gatepost.notices.limit import Summary
from gatepost.notices.original import MARK, thread_fields
from gatepost.notices.outcome import ADDRESS_LIMIT, build_field, format_date
from gatepost.notices.parts import ContentPart, message_part, pick_boundary, text_part
from gatepost.notices.template import Item, Template, Values
from gatepost.notices.text import ascii_text, clean_text

SUBJECT: Final = "NOTICE_SUBJECT"
"""What a template defines as its subject."""
SUBJECT_LIMIT: Final = 400
"""Bytes of a subject: what was found in, and the subject of the message it was found in."""
_SUBJECTS: Final = {
    Role.ADMIN: "Notification of the mail gateway",
    Role.SENDER: "Notification about a message from you",
    Role.RECIPIENT: "Notification about a message to you",
}
LAST_RESORT: Final = "The mail gateway has found something in a message.\r\n"
"""Given when the administrator's template yields no text."""
_HIDDEN: Final = "undisclosed-recipients:;"
"""Several recipients need not learn of each other (RFC 5322 §3.4)."""
_NO_FIRST_LINE: Final = "This is a notification in MIME format.\r\n"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What every notification needs."""

    role: Role
    to: Sequence[str]
    hostname: str
    message_id: str
    """With its angle brackets."""
    now: float
    """Unix time."""


def build_notice(
    letter: Letter,
    texts: GroupTexts,
    facts: MessageFacts,
    objects: tuple[ObjectFacts, ...],
    header: bytes,
    original: bytes | None = None,
) -> bytes:
    """Write the notification about one message; `header` is that message's, `original` all of it to attach it.

    Only a notification with an original that is 8-bit is 8-bit itself.
    """
    return _write(
        letter, texts, texts.templates[letter.role], build_values(facts, objects), thread_fields(header), original
    )


def build_summary(letter: Letter, texts: GroupTexts, summary: Summary, facts: MessageFacts) -> bytes:
    """Write what sums up messages that were not told of singly; `facts` are those of the first of them."""
    assert texts.summary is not None
    values = build_values(facts)
    values["SUM_MESSAGES"] = str(summary.messages)
    values["SUM_BLOCKED"] = str(summary.blocked)
    values["SUM_FIRST"] = format_date(summary.first.at)
    values["SUM_LAST"] = format_date(summary.last.at)
    values["SUM_THREAT"] = _counted(summary.threats)
    values["SUM_SENDER"] = _counted(summary.senders)
    return _write(letter, texts, texts.summary, values, "", None)


def _counted(counts: dict[str, int]) -> tuple[Item, ...]:
    most_first = sorted(counts.items(), key=lambda each: -each[1])
    return tuple(Item(name, {"SUM_COUNT": str(count)}) for name, count in most_first)


def _write(
    letter: Letter,
    texts: GroupTexts,
    template: Template,
    values: dict[str, Values],
    thread: str,
    original: bytes | None,
) -> bytes:
    text = template.render(values)
    body = text_part(text if text.strip() else LAST_RESORT)
    subject = template.definition(SUBJECT, values) or _SUBJECTS[letter.role]
    sender = ascii_text(texts.from_address or f"postmaster@{letter.hostname}", ADDRESS_LIMIT)
    fields = [
        build_field("Date", format_date(letter.now)),
        build_field("From", f"{PRODUCT} <{sender}>"),
        build_field("To", f"<{ascii_text(letter.to[0], ADDRESS_LIMIT)}>" if len(letter.to) == 1 else _HIDDEN),
        build_subject(subject),
        build_field("Message-ID", ascii_text(letter.message_id, ADDRESS_LIMIT)),
        thread,
        build_field("Auto-Submitted", "auto-replied" if letter.role is Role.SENDER else "auto-generated"),
        build_field(MARK, letter.role.value),
        build_field("MIME-Version", "1.0"),
    ]
    head = "".join(fields).encode("ascii")
    if original is None:
        return b"".join((head, body[0], b"\r\n", body[1]))
    return head + _enclose(letter.message_id, body, message_part(original))


def _enclose(seed: str, text: ContentPart, message: ContentPart) -> bytes:
    boundary = pick_boundary(seed, (text[1], message[1]))
    fields = f'Content-Type: multipart/mixed;\r\n boundary="{boundary}"\r\n'
    if not message[1].isascii():
        fields += build_field("Content-Transfer-Encoding", "8bit")
    start = f"\r\n--{boundary}\r\n"
    name = b'Content-Disposition: attachment; filename="original.eml"\r\n'
    pieces = (fields, "\r\n", _NO_FIRST_LINE, start)
    return b"".join(
        (
            "".join(pieces).encode("ascii"),
            *(text[0], b"\r\n", text[1]),
            start.encode("ascii"),
            *(message[0], name, b"\r\n", message[1]),
            f"\r\n--{boundary}--\r\n".encode("ascii"),
        )
    )


def build_subject(text: str) -> str:
    """Return the Subject field: folded, beyond ASCII in encoded words (RFC 2047)."""
    cleaned = " ".join(clean_text(text, SUBJECT_LIMIT).split())
    if cleaned.isascii() and "=?" not in cleaned:
        return build_field("Subject", cleaned)
    encoded = email.header.Header(cleaned, "utf-8", header_name="Subject").encode(linesep="\r\n")
    return f"Subject: {encoded}\r\n"
