"""Masks and networks, compiled for speed: group membership, routes, relay rules, file name and type filters.

A mask is text with `*` (any run of characters) and `?` (one character), compared without case; `any`, `*` and `*@*`
match everything, the null sender and addresses without a domain included (F-CONF-09). Thousands of plain addresses
and `*@domain` masks cost one set lookup each; only masks with other wildcards go through regular expressions, which
are built so that no text makes them backtrack.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_EVERYTHING = frozenset(("any", "*", "*@*"))
_STARS = re.compile(r"\*+")
_KNOWN_LIMIT = 4096
"""Addresses whose answer a set remembers: every recipient asks about the client again."""
_V4_BITS = 32
_V6_BITS = 128


def normalise_mask(mask: str) -> str:
    """Return the form in which masks are compared: lower case, runs of `*` as one, `*` for everything."""
    mask = _STARS.sub("*", mask.strip().lower())
    return "*" if mask in _EVERYTHING else mask


def _translate(mask: str) -> str:
    """Return a regular expression for a normalised mask, to be used with `fullmatch`.

    Each piece between stars is taken at its earliest place in an atomic group: that decides the match just as well
    and keeps the time linear in text and mask.
    """
    pieces = ["".join("." if c == "?" else re.escape(c) for c in piece) for piece in mask.split("*")]
    if len(pieces) == 1:
        return pieces[0]
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
    # The last piece is fixed to the end: look for it there, once, instead of at every place.
    return f"{pieces[0]}{middle}.*{pieces[-1]}"


def compile_mask(mask: str) -> re.Pattern[str]:
    """Return the pattern for one mask; use `fullmatch` on lower-case text."""
    return re.compile(_translate(normalise_mask(mask)), re.DOTALL)


def _domain_of_mask(mask: str) -> str | None:
    """Return `domain` of a mask `*@domain` whose domain is literal, else None."""
    domain = mask[2:]
    plain = mask.startswith("*@") and domain and not any(c in domain for c in "*?@")
    return domain if plain else None


class MaskSet:
    """Masks of which any may match."""

    __slots__ = ("_any", "_domains", "_literals", "_pattern", "masks")

    def __init__(self, masks: Iterable[str]) -> None:
        """Compile `masks`; an empty set matches nothing."""
        self.masks = tuple(masks)
        literals: set[str] = set()
        domains: set[str] = set()
        others: list[str] = []
        normal = [normalise_mask(mask) for mask in self.masks]
        self._any = "*" in normal
        for mask in normal:
            domain = _domain_of_mask(mask)
            if domain is not None:
                domains.add(domain)
            elif "*" in mask or "?" in mask:
                others.append(mask)
            else:
                literals.add(mask)
        self._literals = frozenset(literals)
        self._domains = frozenset(domains)
        unique = dict.fromkeys(others)
        self._pattern = re.compile("|".join(f"(?:{_translate(m)})" for m in unique), re.DOTALL) if unique else None

    def matches(self, text: str) -> bool:
        """Tell whether any mask matches `text` (an address, "" for the null sender, a file name, a type)."""
        if self._any:
            return True
        text = text.lower()
        if text in self._literals:
            return True
        if self._domains:
            _, at, domain = text.rpartition("@")
            if at and domain in self._domains:
                return True
        return self._pattern is not None and self._pattern.fullmatch(text) is not None

    @property
    def matches_everything(self) -> bool:
        """True when one of the masks is `any`, `*` or `*@*`."""
        return self._any


class FirstMatch(Generic[T]):
    """An ordered table of (mask, value): the first mask that matches gives the value."""

    __slots__ = ("_any", "_domains", "_literals", "_patterns", "_values")

    def __init__(self, rows: Iterable[tuple[str, T]]) -> None:
        """Compile the rows in their order."""
        self._values: list[T] = []
        self._literals: dict[str, int] = {}
        self._domains: dict[str, int] = {}
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        self._any: int | None = None
        for index, (raw_mask, value) in enumerate(rows):
            self._values.append(value)
            mask = normalise_mask(raw_mask)
            domain = _domain_of_mask(mask)
            if mask == "*":
                self._any = index if self._any is None else self._any
            elif domain is not None:
                self._domains.setdefault(domain, index)
            elif "*" in mask or "?" in mask:
                self._patterns.append((index, compile_mask(mask)))
            else:
                self._literals.setdefault(mask, index)

    def find(self, text: str) -> T | None:
        """Return the value of the first mask matching `text`, None when none does."""
        text = text.lower()
        best = len(self._values) if self._any is None else self._any
        best = min(best, self._literals.get(text, best))
        _, at, domain = text.rpartition("@")
        if at:
            best = min(best, self._domains.get(domain, best))
        for index, pattern in self._patterns:
            if index >= best:
                break
            if pattern.fullmatch(text) is not None:
                best = index
                break
        return self._values[best] if best < len(self._values) else None


def parse_network(text: str) -> Network:
    """Return the network of `address`, `address/dotted mask` or `address/prefix` (IPv4 and IPv6).

    Host bits are ignored. ValueError says what is wrong.
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not an address, address/mask or address/prefix") from None


@functools.lru_cache(maxsize=4096)
def _address_number(ip: str) -> tuple[bool, int]:
    """Return (is IPv6, number) of an address; an IPv4 address mapped into IPv6 counts as IPv4."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return (False, int(mapped)) if mapped is not None else (True, int(address))
    return (False, int(address))


class NetworkSet:
    """Networks of which any may contain an address; one set lookup for each prefix length in use."""

    __slots__ = ("_any", "_known", "_v4", "_v6")

    def __init__(self, operands: Iterable[str]) -> None:
        """Compile operands (`any`, `*` or what `parse_network` takes); an empty set contains nothing."""
        self._known: dict[str, bool] = {}
        v4: dict[int, set[int]] = {}
        v6: dict[int, set[int]] = {}
        self._any = False
        for operand in operands:
            if operand.lower() in _EVERYTHING:
                self._any = True
                continue
            network = parse_network(operand)
            table, bits = (v4, _V4_BITS) if network.version == 4 else (v6, _V6_BITS)
            shift = bits - network.prefixlen
            table.setdefault(shift, set()).add(int(network.network_address) >> shift)
        self._v4 = tuple(v4.items())
        self._v6 = tuple(v6.items())

    def contains(self, ip: str) -> bool:
        """Tell whether a network holds `ip`; text that is no address is in no network but `any`."""
        known = self._known.get(ip)
        if known is None:
            if len(self._known) >= _KNOWN_LIMIT:
                self._known.clear()
            known = self._known[ip] = self._look_up(ip)
        return known

    def _look_up(self, ip: str) -> bool:
        if self._any:
            return True
        try:
            is_v6, number = _address_number(ip)
        except ValueError:
            return False
        return any(number >> shift in numbers for shift, numbers in (self._v6 if is_v6 else self._v4))


PRIVATE: Final = NetworkSet(
    (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",
        "::/127",
        "fc00::/7",
        "fe80::/10",
        "ff00::/8",
    )
)
"""Addresses that nobody outside can say anything of (RFC 1918, 3927, 4193, 6598, 6890)."""


class RelayRule(msgspec.Struct, frozen=True):
    """One relay rule: names resolved, each side a set of alternatives."""

    allow: bool
    clients: tuple[str, ...]
    """`any` or networks."""
    recipients: tuple[str, ...]
    """Address masks; `*` for everyone."""


class RelayTable:
    """The relay rules, compiled. First match decides (F-ACL rows; RCPT TO)."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Sequence[RelayRule]) -> None:
        """Compile; neighbours that differ on one side only become one rule."""
        merged: list[tuple[bool, list[str], list[str]]] = []
        for rule in rules:
            if merged:
                allow, clients, recipients = merged[-1]
                if allow == rule.allow and tuple(recipients) == rule.recipients:
                    clients.extend(rule.clients)
                    continue
                if allow == rule.allow and tuple(clients) == rule.clients:
                    recipients.extend(rule.recipients)
                    continue
            merged.append((rule.allow, list(rule.clients), list(rule.recipients)))
        self._rules = tuple((allow, NetworkSet(clients), MaskSet(recipients)) for allow, clients, recipients in merged)

    def decide(self, ip: str, recipient: str) -> bool | None:
        """Return True to accept the recipient from the client, False to refuse, None when there are no rules.

        With rules but without a match the answer is False.
        """
        for allow, clients, recipients in self._rules:
            if clients.contains(ip) and recipients.matches(recipient):
                return allow
        return False if self._rules else None
