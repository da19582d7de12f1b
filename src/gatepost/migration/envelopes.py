"""Envelopes of messages of other installations, from what lies beside them or in their header. Pure.

Read, in this order: the line that the documented queue and archive tools print for a message (specification
management.md §5.4); an envelope file beside the message; fields of the header. Whom a message is for is never guessed
from To and Cc when it is to be sent: `Told.guessed` says when it is.
"""

import ipaddress
import re
from collections.abc import Iterator
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import getaddresses
from typing import Final

import msgspec

RECIPIENTS_LIMIT: Final = 100_000
NAME_LIMIT: Final = 255
HEADER_LIMIT: Final = 256 * 1024
"""Bytes of a message in which its header is looked for."""
_ADDRESS: Final = re.compile(r"[^\s<>@\x00-\x1f\ufffd]{1,256}@[^\s<>@\x00-\x1f\ufffd]{1,255}\Z")
_STATUS: Final = re.compile(r"[A-Z]{3}\Z")
_LISTED_WORDS: Final = 4
"""Id, status, something of size, date and client, sender."""
_LINE: Final = re.compile(r"\s*([A-Za-z][A-Za-z _-]{1,30})[:=]")
_SENDER: Final = frozenset(("mail from", "from", "sender", "return-path"))
_RECIPIENT: Final = frozenset(("rcpt to", "to", "recipient", "recipients", "rcpt"))
_CLIENT: Final = frozenset(("client", "ip", "client-ip", "client ip"))
_SENDER_FIELDS: Final = ("X-Envelope-From", "Return-Path")
_RECIPIENT_FIELDS: Final = ("X-Envelope-To", "Envelope-To", "X-Original-To", "Delivered-To")


class Told(msgspec.Struct, frozen=True):
    """What is known of whom a message is from and for."""

    sender: str
    recipients: tuple[str, ...]
    client: str = ""
    helo: str = ""
    code: str = ""
    """Status that the tool's list shows, "" when there is none."""
    guessed: bool = False
    """The recipients are those of To and Cc: good to show, not to send by."""


def parse_listing(text: str) -> dict[str, Told]:
    """Return id → envelope of each line of a list that the documented tools have printed; other lines do not matter."""
    found = {}
    for line in text.splitlines():
        head, arrow, rest = line.partition("->")
        words = head.split()
        if not arrow or len(words) < _LISTED_WORDS or not _STATUS.match(words[1]):
            continue
        sender, recipients = words[-1].strip("<>"), _addresses(rest)
        if recipients and (not sender or _ADDRESS.match(sender)):
            found[words[0]] = Told(sender, recipients, _client(words[-2]), code=words[1])
    return found


def parse_envelope(raw: bytes) -> Told:
    """Read an envelope file: lines as in SMTP (`MAIL FROM:<…>`, `RCPT TO:<…>`) or `name: value`. ValueError."""
    sender: str | None = None
    recipients: list[str] = []
    client = helo = ""
    for line in raw.decode("utf-8", "replace").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        name, value = found[1].strip().lower(), line[found.end() :].strip()
        if name in _SENDER and sender is None:
            sender = _one_address(value)
        elif name in _RECIPIENT:
            recipients += _addresses(value)
        elif name in _CLIENT:
            client = _client(value)
        elif name in {"helo", "ehlo"}:
            helo = value if value.isprintable() and len(value) <= NAME_LIMIT else ""
    if sender is None or not recipients:
        raise ValueError("it names no sender or no recipient")
    return Told(sender, tuple(dict.fromkeys(recipients))[:RECIPIENTS_LIMIT], client, helo)


def read_header(content: bytes) -> Told | None:
    """Return what a message's header tells, None when that is nothing."""
    header = BytesHeaderParser(policy=compat32).parsebytes(content[:HEADER_LIMIT])

    def values(*names: str) -> Iterator[str]:
        for name in names:
            for value in header.get_all(name, ()):
                yield str(value)

    senders = [_find_sender(value) for value in values(*_SENDER_FIELDS)]
    sender = next((each for each in senders if each is not None), None)
    recipients = tuple(dict.fromkeys(each for value in values(*_RECIPIENT_FIELDS) for each in _addresses(value)))
    if recipients and sender is not None:
        return Told(sender, recipients)
    shown = [address for _, address in getaddresses(list(values("To", "Cc"))) if _ADDRESS.match(address)]
    if not recipients and not shown:
        return None
    author = next((address for _, address in getaddresses(list(values("From"))) if _ADDRESS.match(address)), "")
    chosen = recipients or tuple(dict.fromkeys(shown))
    return Told(sender if sender is not None else author, chosen, guessed=True)


def _find_sender(text: str) -> str | None:
    try:
        return _one_address(text)
    except ValueError:
        return None


def _one_address(text: str) -> str:
    """Return the address of a sender, "" for none. ValueError."""
    bare = text.strip().partition(">")[0].removeprefix("<").strip()
    if bare and not _ADDRESS.match(bare):
        raise ValueError(f"{bare[:80]!r} is no address")
    return bare


def _addresses(text: str) -> tuple[str, ...]:
    parts = re.split(r"[,;\s]+", text)
    return tuple(bare for part in parts if _ADDRESS.match(bare := part.strip("<>")))[:RECIPIENTS_LIMIT]


def _client(text: str) -> str:
    """Return an address as it is written usually, "" for what is none."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return ""
