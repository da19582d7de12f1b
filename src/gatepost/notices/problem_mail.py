"""Mail to the administrators about the gateway's own problems (row F-WEB-06).

Built by `relay.announcing` from a text of `master.problems`. Marked like every notification, so that nothing answers
it; the text is 7-bit whatever it quotes.
"""

from collections.abc import Sequence

import msgspec

from gatepost.notices.facts import PRODUCT
from gatepost.notices.notification import build_subject
from gatepost.notices.original import MARK
from gatepost.notices.outcome import ADDRESS_LIMIT, build_field, format_date
from gatepost.notices.parts import text_part
from gatepost.notices.text import ascii_text


class ProblemMail(msgspec.Struct, frozen=True):
    """What is to be told, and to whom."""

    to: tuple[str, ...]
    sender: str
    """Shown as From; the envelope's sender is empty."""
    subject: str
    text: str
    """Lines ended by a line feed."""


def build_problem_mail(mail: ProblemMail, message_id: str, now: float) -> bytes:
    """Write the message, in CRLF; `message_id` with its angle brackets, `now` in Unix time."""
    fields, body = text_part("\r\n".join(mail.text.splitlines()) + "\r\n")
    head = (
        build_field("Date", format_date(now)),
        build_field("From", f"{PRODUCT} <{ascii_text(mail.sender, ADDRESS_LIMIT)}>"),
        build_field("To", _join(mail.to)),
        build_subject(mail.subject),
        build_field("Message-ID", ascii_text(message_id, ADDRESS_LIMIT)),
        build_field("Auto-Submitted", "auto-generated"),
        build_field(MARK, "admin"),
        build_field("MIME-Version", "1.0"),
    )
    return b"".join(("".join(head).encode("ascii"), fields, b"\r\n", body))


def _join(addresses: Sequence[str]) -> str:
    return ", ".join(f"<{ascii_text(address, ADDRESS_LIMIT)}>" for address in addresses)
