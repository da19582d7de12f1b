"""Sets of labelled mail for `tools/accuracy.py`, each message as it came to the border of those who collected it.

Traps that the sets hold (their own page names them) are taken out here: `raw` messages lose the hops behind the border,
`cleaned` ones everything but what people wrote.
"""

import ipaddress
import itertools
import re
from collections.abc import Iterator

import msgspec

from gatepost.antispam.headers.addresses import parse_mailboxes
from gatepost.model.spam import SpamOptions
from model_sources import cleaned, read_set

OWN_HOSTS = {
    "spamassassin-2002": (
        r"jmason\.org|netnoteinc\.com|taint\.org|slashnull\.org|webnote\.net|localhost|127\.0\.0\.1|phobos"
    ),
    "inbox-2023-2025": r"juliett|hotel|23\.95\.222\.152|google\.com|2002:[0-9a-f:]+|localhost",
    "modern-2019-2024": r"outlook\.com|lfdr\.de|localhost|127\.0\.0\.1",
}
"""Hosts of those who collected a set: their Received fields are taken out."""
_FIELD = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")
_BY = re.compile(rb"\bby\s+([\w.:\[\]-]+)")
_FROM = re.compile(rb"from\s+([^\s;()]+)\s*(?:\(([^)]*)\))?")
_ADDRESS = re.compile(rb"(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9a-f]{1,4}:){2,7}[0-9a-f:]+", re.IGNORECASE)
_RETURN_PATH = re.compile(rb"^return-path:\s*<?([^>\s]*)", re.IGNORECASE | re.MULTILINE)
_SENDER = re.compile(rb"^from:[^\n]*?([\w.+=-]+@[\w.-]+)", re.IGNORECASE | re.MULTILINE)
_NAMING = re.compile(rb"(?:to|cc):", re.IGNORECASE)
_HEADER_LIMIT = 64 * 1024


class Item(msgspec.Struct, frozen=True):
    """One message to be judged."""

    spam: bool
    part: str
    name: str
    content: bytes
    client_ip: str = ""
    helo: str = ""
    sender: str = ""
    border: bytes = b""
    """The Received field that the border's host wrote: for filters that read there who the client was."""

    @property
    def recipient(self) -> str:
        """Whom it was for: the sets do not say, so the first whom it names, or somebody it does not name."""
        header = itertools.takewhile(bytes.strip, _FIELD.findall(self.content[:_HEADER_LIMIT]))
        values = (field.partition(b":")[2] for field in header if _NAMING.match(field))
        named = (box.address for value in values for box in parse_mailboxes(value) if box.address)
        return next(named, "user@example.org")

    @property
    def options(self) -> SpamOptions:
        """Return what a gateway would have known of it."""
        return SpamOptions(sender=self.sender, recipients=(self.recipient,), client_ip=self.client_ip, helo=self.helo)


def read_items(name: str, form: str, step: int = 1) -> Iterator[Item]:
    """Yield every `step`-th message of a set in the form `raw` or `cleaned`."""
    own = re.compile(OWN_HOSTS[name].encode(), re.IGNORECASE)
    for number, mail in enumerate(read_set(name)):
        if number % step:
            continue
        if form == "cleaned":
            yield Item(mail.spam, mail.source, mail.name, cleaned(mail.content))
        else:
            yield _at_border(Item(mail.spam, mail.source, mail.name, mail.content), own)


def _at_border(item: Item, own: re.Pattern[bytes]) -> Item:
    """Return a message without the hops behind the border, and the client that came there."""
    content = item.content
    gap = b"\r\n\r\n" if b"\r\n\r\n" in content[:_HEADER_LIMIT] else b"\n\n"
    found = content.find(gap)
    end = found + len(gap) // 2 if found >= 0 else len(content)  # the last field with its line end
    fields = _FIELD.findall(content[:end]) or [content[:end]]
    border = b""
    kept = []
    inside = True
    for field in fields:
        if inside and field[:9].lower() == b"received:":
            by = _BY.search(field)
            source = _FROM.search(field)
            if by is None or own.search(by[1]) or source is None or own.search(source[0]):
                border = field if source is not None else border
                continue
            inside = False
        kept.append(field)
    head = b"".join(kept)
    path = _RETURN_PATH.search(head) or _SENDER.search(head)
    sender = path[1].decode("ascii", "replace") if path is not None else ""
    return Item(
        item.spam, item.part, item.name, head + content[end:], _client(border), _helo(border), sender, border
    )  # fmt: skip


def _client(field: bytes) -> str:
    for each in _ADDRESS.findall(field.partition(b" by ")[0]):
        try:
            address = ipaddress.ip_address(each.decode())
        except ValueError:
            continue
        if address.is_global:
            return str(address)
    return ""


def _helo(field: bytes) -> str:
    found = _FROM.search(field)
    return found[1].decode("ascii", "replace") if found is not None else ""
