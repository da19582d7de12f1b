"""What the resolver answers: values only.

Made by `message`, `mail`, `recursion` and `resolver`; read by whoever asks: access checks, routing, delivery, later the
checks of sender authentication. Names are in lower case, as A-labels, without the dot at the end.
"""

import enum
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Kind(enum.IntEnum):
    """What is asked for; the number is the type of record in DNS."""

    A = 1
    """Values are addresses, str."""
    NS = 2
    """Values are names, str."""
    CNAME = 5
    """Values are names, str: the alias itself, not followed."""
    PTR = 12
    """Values are host names, str."""
    MX = 15
    """Values are `Mx`."""
    TXT = 16
    """Values are bytes: the strings of one record put together (RFC 7208 §3.3)."""
    AAAA = 28
    """Values are addresses, str, in the shortest form (RFC 5952)."""
    TLSA = 52
    """Values are `Tlsa`."""


class Outcome(enum.Enum):
    """How a question ended."""

    FOUND = "found"
    NO_DATA = "no data"
    """The name is there, what was asked for is not."""
    NO_NAME = "no name"
    """There is no such name, or it cannot be one."""
    FAILED = "failed"
    """Nobody knows now: time-out, server trouble, refused, bad signature. Temporary, always."""


class Mx(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A mail host; `host` is "" in a null MX (RFC 7505)."""

    preference: int
    host: str


class Tlsa(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A TLSA record (RFC 6698 §2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes


class Answer(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """The answer to one question. `values` is empty unless FOUND."""

    outcome: Outcome
    values: tuple[T, ...] = ()
    authentic: bool = False
    """Validated by the name server (AD, RFC 4035 §3.2.3). Worth as much as the way to that server."""
    reason: str = ""
    """For people, when nothing was found."""
    through_cache: bool = False
    """No packet was sent for it."""

    @property
    def found(self) -> bool:
        """Whether there are values."""
        return self.outcome is Outcome.FOUND


class MailHosts(msgspec.Struct, frozen=True, gc=False):
    """Where mail for a domain goes (RFC 5321 §5.1), before any host's address is known."""

    outcome: Outcome
    hosts: tuple[Mx, ...] = ()
    """Best preference first, equal ones by name: whoever delivers puts those in random order."""
    implicit: bool = False
    """The domain has no MX but an address: it is its own mail host."""
    null_mx: bool = False
    """The domain says that it takes no mail (RFC 7505); then the outcome is NO_DATA."""
    authentic: bool = False
    reason: str = ""
    through_cache: bool = False


class Families(enum.Enum):
    """Which addresses of a host, and in what order (`resolve.prefer`)."""

    IPV6 = "ipv6"
    """Both, taking turns, IPv6 first."""
    IPV4 = "ipv4"
    """Both, taking turns, IPv4 first."""
    IPV6_ONLY = "ipv6_only"
    IPV4_ONLY = "ipv4_only"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds to ask for, in order."""
        return _KINDS[self]


_KINDS = {
    Families.IPV6: (Kind.AAAA, Kind.A),
    Families.IPV4: (Kind.A, Kind.AAAA),
    Families.IPV6_ONLY: (Kind.AAAA,),
    Families.IPV4_ONLY: (Kind.A,),
}
