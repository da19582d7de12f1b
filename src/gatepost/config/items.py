"""Elements of lists: what an address, a mask, a rule or a route must look like. Pure; ValueError says what is wrong.

Every parser returns the canonical text, so that a file, its dump and its conversion give equal values.
"""

import re
from collections.abc import Callable

import msgspec

from gatepost.config.dns_lists import parse_link_service, parse_list_service, parse_step_list
from gatepost.config.masks import parse_network
from gatepost.config.parameter import Item
from gatepost.config.sender_entry import parse_sender_entry
from gatepost.config.spam_actions import PLAIN, WITH_ADDRESS

DEFAULT_SMTP_PORT = 25

_ADDRESS = re.compile(r"[^\s<>,;@]+@[^\s<>,;@]+\Z")
_HOSTNAME = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?\Z")
_DOMAIN_MASK = re.compile(r"[^\s<>,;@/\[\]]+\Z")
_MASK = re.compile(r"[^\s<>,;]+\Z")
_MIME_MASK = re.compile(r"[^\s/,;]+/[^\s/,;]+\Z|\*\Z|any\Z", re.IGNORECASE)
_RULE = re.compile(r"(allow|deny)\s+from\s+(\S+)\s+to\s+(\S+)\s*\Z", re.IGNORECASE)
_HEADER_PREFIX = re.compile(r"X-[A-Za-z0-9-]{1,40}(?<!-)\Z", re.IGNORECASE)
_ZONE = re.compile(r"@[A-Za-z0-9_.-]+\Z")

_PORT_LIMIT = 65_535
_NAME_LIMIT = 100
"""Characters of a person's name."""
PROTECTED = "@protected"
"""Recipient operand of relay rules: all of `network.protected_domains`."""


class RuleText(msgspec.Struct, frozen=True):
    """A rule taken apart: names such as `@local` still unresolved."""

    allow: bool
    source: str
    recipient: str


class NextHop(msgspec.Struct, frozen=True):
    """Where a route leads: a host and port, or a domain whose MX hosts are asked at sending time."""

    host: str | None
    port: int
    domain: str | None

    def __str__(self) -> str:
        """Return the form of a `ForwardRoute` target."""
        if self.domain is not None:
            return self.domain
        return f"[{format_endpoint(self.host or '', self.port)}]"


def is_everyone(mask: str) -> bool:
    """Tell whether a mask is a word for everything."""
    return mask.lower() in ("any", "*", "*@*")


def parse_port(text: str) -> int:
    """Return a TCP port."""
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text[:20]!r} is not a port (1…65535)")
    return int(text)


def format_endpoint(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_endpoint(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Return (address, port) of `ip:port` or `[ipv6]:port`; the port may be missing when there is a default."""
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text[:60]!r} is not [address]:port")
        port_text = rest[1:]
    elif text.count(":") > 1:
        host, port_text = text, ""
    else:
        host, _, port_text = text.partition(":")
    if not port_text and default_port is None:
        raise ValueError(f"{text[:60]!r} lacks a port; write ip:port, IPv6 as [ip]:port")
    port = parse_port(port_text) if port_text else default_port or 0
    network = parse_network(host)
    if network.num_addresses != 1:
        raise ValueError(f"{host[:60]!r} is a network, not an address")
    return str(network.network_address), port


def parse_next_hop(text: str) -> NextHop:
    """Return the target of a route: `[host]`, `[host:port]`, `[ipv6]`, `[[ipv6]:port]`, `[host]:port` or a domain."""
    text = text.strip()
    if not text.startswith("["):
        if not _HOSTNAME.match(text):
            raise ValueError(f"{text[:60]!r} is neither a domain nor [host:port]")
        return NextHop(None, 0, text.lower())
    if (text.startswith("[[") and text.endswith("]")) or (text.endswith("]") and text.count(":") <= 1):
        text = text[1:-1]
    if text.startswith("[") or text.count(":") > 1:
        inner, bracket, rest = text[1:].partition("]") if text.startswith("[") else (text, "]", "")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text[:60]!r} is not [host:port]")
        host, port_text = inner, rest[1:]
    else:
        host, _, port_text = text.partition(":")
    port = parse_port(port_text) if port_text else DEFAULT_SMTP_PORT
    if ":" in host:
        host, _ = parse_endpoint(f"[{host}]", port)
    elif not _HOSTNAME.match(host):
        raise ValueError(f"{host[:60]!r} is neither an address nor a host name")
    return NextHop(host.lower(), port, None)


def parse_recipient_mask(text: str) -> str:
    """Return the address mask of a rule's or route's recipient operand; one without `@` is a domain mask."""
    if is_everyone(text):
        return "*"
    if not _MASK.match(text):
        raise ValueError(f"{text[:60]!r} is not an address mask")
    return text if "@" in text else f"*@{text}"


def parse_rule(text: str) -> RuleText:
    """Return the parts of `allow|deny from X to Y`."""
    found = _RULE.match(text.strip())
    if found is None:
        raise ValueError(f"{text[:80]!r} is not 'allow|deny from <who> to <recipient mask>'")
    return RuleText(found[1].lower() == "allow", found[2], found[3])


def _relay_rule(text: str) -> str:
    rule = parse_rule(text)
    source = rule.source.lower()
    if is_everyone(source):
        source = "any"
    elif not _ZONE.match(source):
        source = str(parse_network(source))
    recipient = rule.recipient.lower()
    recipient = recipient if recipient == PROTECTED else parse_recipient_mask(rule.recipient)
    return f"{'allow' if rule.allow else 'deny'} from {source} to {recipient}"


def _condition_rule(conditions: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        rule = parse_rule(text)
        if rule.source.lower() not in conditions:
            raise ValueError(f"unknown condition {rule.source[:40]!r}; one of {', '.join(conditions)}")
        recipient = parse_recipient_mask(rule.recipient)
        return f"{'allow' if rule.allow else 'deny'} from {rule.source.lower()} to {recipient}"

    return parse


def _route(text: str) -> str:
    mask, _, target = text.strip().partition(" ")
    if not target.strip():
        raise ValueError(f"{text[:80]!r} is not '<recipient mask> <domain or [host:port]>'")
    return f"{parse_recipient_mask(mask)} {parse_next_hop(target)}"


def _spam_action(text: str) -> str:
    word, colon, address = text.partition(":")
    if colon and f"{word.lower()}:" in WITH_ADDRESS:
        return f"{word.lower()}:{_address(address)}"
    if text.lower() not in PLAIN:
        known = ", ".join((*sorted(PLAIN), *(f"{each}ADDRESS" for each in sorted(WITH_ADDRESS))))
        raise ValueError(f"unknown action {text[:40]!r}; one of {known}")
    return text.lower()


def _address(text: str) -> str:
    text = text.strip().removeprefix("<").removesuffix(">")
    if not _ADDRESS.match(text):
        raise ValueError(f"{text[:60]!r} is not an address like user@domain")
    return text


def is_host_and_port(text: str) -> bool:
    """Tell whether a text is `host:port`, an IPv6 address in brackets."""
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_LIMIT


def parse_person(text: str) -> tuple[str, str]:
    """Return name and address of `Jane Doe <jane@example.org>`, the name with or without quotes; ValueError."""
    name, opened, rest = text.strip().partition("<")
    name = " ".join(name.strip().strip('"').split())
    if not name or not opened or not rest.endswith(">") or len(name) > _NAME_LIMIT:
        raise ValueError(f"{text[:60]!r} is not a name and an address like Jane Doe <jane@example.org>")
    return name, _address(rest)


def _person(text: str) -> str:
    name, address = parse_person(text)
    return f"{name} <{address}>"


def _network(text: str) -> str:
    return str(parse_network(text))


def _sender(text: str) -> str:
    return parse_sender_entry(text).text


def _endpoint(text: str) -> str:
    return format_endpoint(*parse_endpoint(text))


def _name_server(text: str) -> str:
    return format_endpoint(*parse_endpoint(text, default_port=53))


def _address_mask(text: str) -> str:
    if is_everyone(text):
        return "*@*"
    return _matching(_MASK, "an address mask")(text)


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.match(text):
            raise ValueError(f"{text[:60]!r} is not {what}")
        return text

    return parse


PARSERS: dict[Item, Callable[[str], str]] = {
    Item.TEXT: str,
    Item.ADDRESS: _address,
    Item.DOMAIN_MASK: _matching(_DOMAIN_MASK, "a domain mask like example.org or *.example.org"),
    Item.ADDRESS_MASK: _address_mask,
    Item.NAME_MASK: str,
    Item.MIME_MASK: _matching(_MIME_MASK, "a type/subtype mask"),
    Item.NETWORK: _network,
    Item.SENDER: _sender,
    Item.ENDPOINT: _endpoint,
    Item.NAME_SERVER: _name_server,
    Item.ROUTE: _route,
    Item.NEXT_HOP: lambda text: str(parse_next_hop(text)),
    Item.HOSTNAME: _matching(_HOSTNAME, "a host name"),
    Item.RELAY_RULE: _relay_rule,
    Item.CONNECT_RULE: _condition_rule(("in_dnsbl", "out_dnsbl", "has_name", "no_name", "any")),
    Item.HELO_RULE: _condition_rule(("has_ip", "no_ip", "same_ip", "diff_ip", "any")),
    Item.MAILFROM_RULE: _condition_rule(("has_ip", "no_ip", "has_mx", "no_mx", "any")),
    Item.SPAM_ACTION: _spam_action,
    Item.SERVICE: lambda text: str(parse_list_service(text)),
    Item.HEADER_PREFIX: _matching(_HEADER_PREFIX, "the start of a field name, like X-SpamTest"),
    Item.STEP_LIST: lambda text: str(parse_step_list(text)),
    Item.LINK_SERVICE: lambda text: str(parse_link_service(text)),
    Item.PERSON: _person,
}

RULE_ITEMS = frozenset((Item.RELAY_RULE, Item.CONNECT_RULE, Item.HELO_RULE, Item.MAILFROM_RULE))
COMMA_ITEMS = frozenset(
    (
        Item.ADDRESS,
        Item.DOMAIN_MASK,
        Item.ADDRESS_MASK,
        Item.NAME_MASK,
        Item.MIME_MASK,
        Item.NETWORK,
        Item.HOSTNAME,
        Item.SPAM_ACTION,
    )
)
"""Lists whose elements may also stand on one line, separated by commas."""
