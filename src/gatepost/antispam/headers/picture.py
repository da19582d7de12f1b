"""A message's header as the rules ask for it: fields by name, who wrote to whom, derived values. One for each message.

Called by `check` and `facts`. Everything is computed when it is first asked for.
"""

import functools
import ipaddress
from collections.abc import Callable
from typing import Final

from gatepost.antispam.headers.addresses import Mailbox, parse_mailboxes, read_domain
from gatepost.antispam.headers.authors import Authors, read_authors
from gatepost.antispam.headers.destinations import link_hosts
from gatepost.antispam.headers.names import organization
from gatepost.antispam.headers.received import Hop, parse_received, read_date
from gatepost.antispam.headers.reference import Reference
from gatepost.antispam.lazy import lazy
from gatepost.antispam.view import HeaderField, MailView
from gatepost.model.address import domain_of
from gatepost.model.envelope import Direction
from gatepost.model.spam import SpamOptions

SAME_LIMIT = 20
"""Fields of one name that are looked at."""
VALUE_LIMIT = 4_096
"""Bytes of a value that expressions look at."""
BLANKS: Final = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
"""What `str.strip` takes off, as far as it is ASCII."""
NOBODY: Final = Mailbox("", "")
_INBOUND: Final = Direction.INBOUND


class Picture:
    """One message, seen from its header."""

    def __init__(self, view: MailView, reference: Reference) -> None:
        self.view = view
        self.reference = reference
        self.options: SpamOptions = view.options
        self.fields: dict[str, list[HeaderField]] = view.by_name
        self._values: dict[str, tuple[str, ...]] = {}

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the values of a field, or the derived values `@name`."""
        found = self._values.get(name)
        if found is None:
            if name[0] == "@":
                found = VALUES[name[1:]](self)
            else:
                found = tuple([field.text[:VALUE_LIMIT] for field in self.fields.get(name, ())[:SAME_LIMIT]])
            self._values[name] = found
        return found

    def is_blank(self, name: str) -> bool:
        """Whether the first value of a field that is there, or the derived value `@name`, says nothing."""
        raw = self.fields[name][0].raw if name[0] != "@" else b"=?"
        if b"=?" in raw or not raw.isascii():
            return not self.text(name).strip()
        return not raw.strip(BLANKS)  # what decoding would tell, without it

    def text(self, name: str) -> str:
        """Return the first of them, "" for none."""
        texts = self.texts(name)
        return texts[0] if texts else ""

    def boxes(self, name: str) -> list[Mailbox]:
        """Return the mailboxes of an address field."""
        return [box for field in self.fields.get(name, ())[:SAME_LIMIT] for box in parse_mailboxes(field.raw)]

    @lazy
    def authors(self) -> Authors:
        return read_authors(self.view)

    @lazy
    def author(self) -> Mailbox:
        """The first author with an address, or what there is."""
        boxes = self.authors.mailboxes
        return next((box for box in boxes if box.address), boxes[0] if boxes else NOBODY)

    @lazy
    def author_domain(self) -> str:
        return self.author.domain

    @lazy
    def author_organization(self) -> str:
        return organization(self.author_domain)

    @lazy
    def recipients(self) -> list[Mailbox]:
        """Mailboxes of To and Cc."""
        return self.boxes("to") + self.boxes("cc")

    @lazy
    def answer(self) -> Mailbox:
        """First mailbox of Reply-To."""
        return next((box for box in self.boxes("reply-to") if box.address), NOBODY)

    @lazy
    def sender_domain(self) -> str:
        return read_domain(domain_of(self.options.sender))

    @lazy
    def hops(self) -> list[Hop]:
        """Received fields, newest first."""
        return [parse_received(field.raw) for field in self.fields.get("received", ())[:SAME_LIMIT]]

    @lazy
    def now(self) -> float:
        """When the message came in; 0 when nobody knows."""
        if self.options.now:
            return self.options.now
        return next((moment for hop in self.hops if (moment := read_date(hop.date)) is not None), 0.0)

    @lazy
    def is_from_outside(self) -> bool:
        """A host of the Internet handed it to us."""
        return self.options.direction is _INBOUND and is_global(self.options.client_ip)

    @lazy
    def own_domains(self) -> frozenset[str]:
        """Protected domains that are no mere masks, in lower case."""
        return _plain_domains(self.options.own_domains)

    def is_own(self, domain: str) -> bool:
        """Whether a domain is a protected one or below one."""
        own = self.own_domains
        return domain in own or domain.endswith(_below(own))


@functools.lru_cache(maxsize=16)
def _plain_domains(masks: tuple[str, ...]) -> frozenset[str]:
    plain = (mask.lower().rpartition("@")[2].removeprefix("*.") for mask in masks)
    return frozenset(domain for domain in plain if "." in domain and not set(domain) & set("*?[!"))


@functools.lru_cache(maxsize=16)
def _below(domains: frozenset[str]) -> tuple[str, ...]:
    return tuple(f".{domain}" for domain in domains)


@functools.lru_cache(maxsize=1024)
def is_global(text: str) -> bool:
    """Whether a text is an address of the Internet. Slow to tell, and the same hosts come again."""
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _one(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


VALUES: Final[dict[str, Callable[[Picture], tuple[str, ...]]]] = {
    "from-name": lambda picture: _one(picture.author.display or picture.author.comment),
    "from-address": lambda picture: _one(picture.author.address),
    "from-local": lambda picture: _one(picture.author.local),
    "from-domain": lambda picture: _one(picture.author_domain),
    "reply-address": lambda picture: _one(picture.answer.address),
    "reply-domain": lambda picture: _one(picture.answer.domain),
    "to-name": lambda picture: tuple(box.display for box in picture.recipients[:SAME_LIMIT] if box.display),
    "sender": lambda picture: _one(picture.options.sender.lower()),
    "sender-domain": lambda picture: _one(picture.sender_domain),
    "id-domain": lambda picture: _one(picture.text("message-id").strip("<> \t").rpartition("@")[2].lower()),
    "helo": lambda picture: _one(
        picture.options.helo.lower() if picture.options.helo and picture.is_from_outside else ""
    ),
    "link-host": link_hosts,
    "type": lambda picture: _one(picture.view.message.root.content_type),
    "boundary": lambda picture: _one(picture.view.message.root.parameters.get("boundary", "")),
    "charset": lambda picture: tuple({part.charset for part in picture.view.message.walk() if part.charset}),
}
"""Derived values, as rules name them behind an @."""
