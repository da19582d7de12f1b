"""What our texts tell of a message's header: read with regular expressions that are safe on any bytes, bounded.

Called for delivery reports and notifications, which are written where untrusted content is not parsed: only the end of
the header and a few well-known fields are looked for.
"""

import re
from typing import Final

from gatepost.mime.words import decode_header
from gatepost.notices.grammar import VALUE_LIMIT
from gatepost.notices.outcome import build_field

HEADER_LIMIT: Final = 64 * 1024
"""Bytes looked at of a header: more than honest ones have, and no hostile header makes a large report."""
MARK: Final = "X-Gatepost-Notice"
"""Field that marks notifications of ours; its value is the role they are for."""

_HEADER_END = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_MESSAGE_ID = re.compile(rb"^message-id:\s{0,9}(<[!-;=?-~]{1,900}>)", re.IGNORECASE | re.MULTILINE)
_SUBJECT = re.compile(rb"^subject:([^\n]{0,4096}(?:\n[ \t][^\n]{0,998}){0,9})", re.IGNORECASE | re.MULTILINE)
_AUTOMATIC = re.compile(
    rb"^(?:auto-submitted:[ \t]*+(?!no\b)|precedence:[ \t]*+(?:bulk|list|junk)\b|list-id:)",
    re.IGNORECASE | re.MULTILINE,
)
_MARKED = re.compile(rb"^" + MARK.encode() + rb":", re.IGNORECASE | re.MULTILINE)


def header_of(content: bytes) -> bytes:
    """Return the header of a message with its last line end, cut a little above HEADER_LIMIT."""
    found = _HEADER_END.search(content, 0, HEADER_LIMIT + 4)
    if found is None:
        return content[: HEADER_LIMIT + 1]
    return content[: found.start()] + b"\r\n" if found.start() else b""


def message_id_of(header: bytes) -> str:
    """Return the Message-ID with its angle brackets, "" when there is none in proper form."""
    found = _MESSAGE_ID.search(header)
    return found.group(1).decode("ascii") if found else ""


def subject_of(header: bytes) -> str:
    """Return the subject as text, as the sender meant it; not cleaned."""
    found = _SUBJECT.search(header)
    return decode_header(found.group(1)[:VALUE_LIMIT]) if found else ""


def thread_fields(header: bytes) -> str:
    """Return the fields that put a text of ours into the original's thread (RFC 3834 §3.1.5)."""
    reference = message_id_of(header)
    return build_field("In-Reply-To", reference) + build_field("References", reference) if reference else ""


def is_automatic(header: bytes) -> bool:
    """Tell whether nobody wrote the message by hand to us: programs and lists get no answer (RFC 3834 §2)."""
    return _AUTOMATIC.search(header) is not None


def is_marked(header: bytes) -> bool:
    """Tell whether the message says that it is a notification of a gateway like this one."""
    return _MARKED.search(header) is not None
