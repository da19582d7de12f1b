"""Header fields of ours that go in front of a message: Received, and what a message lacks of Date and Message-ID.

Called by `relay.incoming`. The content itself stays as it came; these fields are kept apart from it.
"""

import re
from email.utils import formatdate

from gatepost.model.envelope import Client

_TELLING = re.compile(r'[ ()<>\\";,@]')
"""In names that clients give: what would be read as more than a name (its end, a comment, an address)."""

_date_cache: tuple[int, str] = (0, "")

_TRACE = re.compile(rb"(?:(?:Received|Date|Message-ID):[^\n]*+\n(?:[ \t][^\n]*+\n)*+)*+")


def build_received(client: Client, hostname: str, queue_id: str, now: float, *, smtputf8: bool = False) -> bytes:
    """Return our Received field (RFC 5321 §4.4, layout of specification smtp.md §6); `now` is Unix time."""
    address = f"IPv6:{client.ip}" if ":" in client.ip else client.ip
    encryption = f" ({client.tls})" if client.tls else ""
    text = (
        f"Received: from {_shown(client.helo)} ({_shown(client.name)} [{address}])\r\n"
        f"\tby {hostname} with {protocol_keyword(client, smtputf8=smtputf8)}{encryption} id {queue_id};\r\n"
        f"\t{format_date(now)}\r\n"
    )
    return text.encode("ascii", "replace")


def _shown(name: str) -> str:
    return _TELLING.sub("?", name) or "unknown"


def protocol_keyword(client: Client, *, smtputf8: bool) -> str:
    """Return what follows `with`: SMTP, or ESMTP (RFC 6531 §4.3: UTF8SMTP) with S for TLS and A for a user who has
    signed in (RFC 3848).
    """
    if not client.esmtp:
        return "SMTP"
    return ("UTF8SMTP" if smtputf8 else "ESMTP") + ("S" if client.tls else "") + ("A" if client.user else "")


def build_missing(hostname: str, queue_id: str, now: float, *, date: bool, message_id: bool) -> bytes:
    """Return the fields a message lacks (RFC 5322 §3.6): `date`, `message_id` tell which."""
    text = f"Date: {format_date(now)}\r\n" if date else ""
    if message_id:
        text += f"Message-ID: <{queue_id}@{hostname}>\r\n"
    return text.encode("ascii", "replace")


def format_date(now: float) -> str:
    """Return the RFC 5322 date of this second, formatted once: it costs more than the rest of a Received field."""
    global _date_cache  # noqa: PLW0603 - a cache of one value, measured
    second = int(now)
    if _date_cache[0] != second:
        _date_cache = (second, formatdate(second, localtime=True))
    return _date_cache[1]


def trace_of(prefix: bytes) -> bytes:
    """Return those fields in front of a message that it got on its way in (`build_received`, `build_missing`): what an
    inspection has added behind them is left out.
    """
    found = _TRACE.match(prefix)
    return found.group() if found is not None else b""
