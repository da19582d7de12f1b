"""Mail of the master's making: about the gateway's own problems to the administrators (row F-WEB-06), and digests of
what is kept for a recipient (`notices.digest`).

Built by `relay.announcing` from a text of `master.problems` or `master.digests`. Marked like every notification, so
that nothing answers it; the text is 7-bit whatever it quotes.
"""

from collections.abc import Sequence

import msgspec

from gatepost.notices.facts import PRODUCT
from gatepost.notices.group import Role
from gatepost.notices.notification import build_subject
from gatepost.notices.original import MARK
from gatepost.notices.outcome import ADDRESS_LIMIT, build_field, format_date
from gatepost.notices.parts import ContentPart, encode_lines, pick_boundary, text_part
from gatepost.notices.text import ascii_text


class ProblemMail(msgspec.Struct, frozen=True):
    """What is to be told, and to whom."""

    to: tuple[str, ...]
    sender: str
    """Shown as From; the envelope's sender is empty."""
    subject: str
    text: str
    """Lines ended by a line feed."""
    html: str = ""
    """The same for readers that show HTML; "" = text only."""
    role: Role = Role.ADMIN
    """Whom it is for."""


def build_problem_mail(mail: ProblemMail, message_id: str, now: float) -> bytes:
    """Write the message, in CRLF; `message_id` with its angle brackets, `now` in Unix time."""
    fields, body = _content(mail, message_id)
    head = (
        build_field("Date", format_date(now)),
        build_field("From", f"{PRODUCT} <{ascii_text(mail.sender, ADDRESS_LIMIT)}>"),
        build_field("To", _join(mail.to)),
        build_subject(mail.subject),
        build_field("Message-ID", ascii_text(message_id, ADDRESS_LIMIT)),
        build_field("Auto-Submitted", "auto-generated"),
        build_field(MARK, mail.role.value),
        build_field("MIME-Version", "1.0"),
    )
    return b"".join(("".join(head).encode("ascii"), fields, b"\r\n", body))


def _content(mail: ProblemMail, seed: str) -> ContentPart:
    text = text_part("\r\n".join(mail.text.splitlines()) + "\r\n")
    if not mail.html:
        return text
    html_fields, html = encode_lines(("\r\n".join(mail.html.splitlines()) + "\r\n").encode())
    html_fields = build_field("Content-Type", "text/html; charset=utf-8").encode() + html_fields
    boundary = pick_boundary(seed, (text[1], html))
    start = f"\r\n--{boundary}\r\n".encode()
    parts = (start, text[0], b"\r\n", text[1], start, html_fields, b"\r\n", html, f"\r\n--{boundary}--\r\n".encode())
    return f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n'.encode(), b"".join(parts)


def _join(addresses: Sequence[str]) -> str:
    return ", ".join(f"<{ascii_text(address, ADDRESS_LIMIT)}>" for address in addresses)
