"""Anti-spam values: what is asked of the filter, what it and the network checks state, and the verdict's words.

`SpamFacts` crosses a trust boundary: `gatepost.filter.dialogue` checks it before anybody uses it.
"""

import enum

import msgspec

from gatepost.model.authn import AuthnMaterial, AuthnResults
from gatepost.model.envelope import Direction


class SpamStatus(enum.StrEnum):
    """Status of a message (specification antispam.md §1); the values are the extended tokens."""

    TRUSTED = "trusted"
    BLACKLISTED = "blacklisted"
    SPAM = "spam"
    PROBABLE_SPAM = "probable_spam"
    FORMAL = "formal"
    NOT_DETECTED = "not_detected"


class Method(enum.StrEnum):
    """Who states a sign; the values are the tokens of the method header (specification antispam.md §6)."""

    WHITE_IP = "white ip list"
    WHITE_EMAIL = "white email list"
    BLACK_IP = "black ip list"
    BLACK_EMAIL = "black email list"
    HEADERS = "headers"
    """Header and structure signs."""
    HEADERS_PLUS = "headers plus"
    """Header signs that count with others only."""
    CONTENT = "content"
    """Terms, samples and tricks of the text."""
    LEARNED = "learned"
    """The statistical classifier."""
    IMAGES = "GSG"
    DNSBL = "DNSBL"
    REVERSE_DNS = "reverse dns"
    SPF = "SPF"
    DKIM = "DKIM"
    DMARC = "DMARC"
    ARC = "ARC"
    SURBL = "SURBL"
    UDS = "UDS"
    REPUTATION = "reputation"
    NONE = "none"


class Sign(msgspec.Struct, frozen=True, array_like=True):
    """One sign for or against spam."""

    method: Method
    name: str
    """Token of the sign, for example `subject-noise`."""
    evidence: str
    """In words a person understands, with what was seen."""
    weight: float = 0.0
    """Log-odds it adds: positive speaks for spam, negative against it; 0 is a plain fact."""
    detail: str = ""
    """Documented detail token (specification antispam.md §2.3), for example `Headers: Suspicious From`; "" for none."""


class Link(msgspec.Struct, frozen=True, array_like=True):
    """A link of the body, for the link checks."""

    host: str
    """Host name in lower case A-label form, or an address."""
    domain: str = ""
    """Registrable domain (public suffix list); "" for an address."""
    url: str = ""
    """As a browser would normalise it, cut at 500 characters."""
    source: str = "html"
    """Where it stood: html, text, qr, picture (recognised words), attachment, header."""


class FingerprintKind(enum.StrEnum):
    """What a fingerprint is of."""

    TEXT = "text"
    LINKS = "links"
    IMAGE = "image"
    ATTACHMENT = "attachment"


class Fingerprint(msgspec.Struct, frozen=True, array_like=True):
    """Irreversible digest of a part of the message, for UDS and for samples."""

    kind: FingerprintKind
    value: bytes
    """8 to 32 bytes."""


class FieldSpot(msgspec.Struct, frozen=True, array_like=True):
    """A header field of the message in the received content."""

    start: int
    end: int
    """All of the field, last line end included."""
    value: int
    """First byte of its value, behind the colon and one space."""
    text: str = ""
    """Decoded value, cut at 1000 characters."""


SPAM_FIRST = "spam-first"
VIRUS_FIRST = "virus-first"


class SpamOptions(msgspec.Struct, frozen=True, array_like=True):
    """What the content checks have to know of a message and of the settings: the union of its groups'."""

    sender: str = ""
    recipients: tuple[str, ...] = ()
    """The first 100."""
    client_ip: str = ""
    client_name: str = ""
    helo: str = ""
    direction: Direction = Direction.INBOUND
    now: float = 0.0
    """Time of reception, Unix seconds."""
    own_domains: tuple[str, ...] = ()
    """Protected domains, as masks."""
    own_names: tuple[tuple[str, str], ...] = ()
    """Names people would imitate, each with its true address."""
    hostname: str = ""
    """Our own name: authserv-id of results that only we may write."""
    header_prefix: str = "X-SpamTest"
    """Fields with this prefix in what comes in are foreign: the filter says where they stand."""
    office: bool = False
    """Read the text of office documents (FilterParseMSOffice)."""
    headers: bool = True
    content: bool = True
    images: bool = True
    uds: bool = False
    """Make fingerprints for UDS."""
    first: bool = False
    """Anti-spam comes before anti-virus, which need not look at what will not be delivered (preset speed)."""
    order: str = SPAM_FIRST
    """Of the stages: `SPAM_FIRST` or `VIRUS_FIRST`."""
    authn: bool = False
    """Collect what DKIM, DMARC and ARC need."""
    learn: bool = False
    """Say what of the message could be learned (`SpamFacts.lesson`)."""


COSTS_TOLD = 6
"""Checks whose time is told."""


class SpamFacts(msgspec.Struct, frozen=True, array_like=True):
    """What content checks found in a message."""

    signs: tuple[Sign, ...] = ()
    categories: tuple[str, ...] = ()
    """`L1/L2/L3`, the heaviest first."""
    formal: str = ""
    """Kind of automatic reply it is (bounce, vacation, challenge, virus notice, card notice), "" for none."""
    obscene: bool = False
    eastern: tuple[str, ...] = ()
    """Eastern encodings used: chinese, korean, thai, japanese."""
    hops: tuple[str, ...] = ()
    """Addresses that its Received fields name as clients, newest first, at most 100; "" where one names none."""
    links: tuple[Link, ...] = ()
    """Distinct by host, at most 200."""
    authn: AuthnMaterial = AuthnMaterial()
    fingerprints: tuple[Fingerprint, ...] = ()
    subject: FieldSpot | None = None
    """The first Subject field."""
    foreign: tuple[FieldSpot, ...] = ()
    """Fields that only we may write and that were there already, in order: to be taken out."""
    keywords: tuple[FieldSpot, ...] = ()
    """Keywords fields."""
    elapsed_ms: float = 0.0
    trouble: str = ""
    """Why some checks did not see all of it, in words; "" when all did."""
    lesson: bytes = b""
    """With `SpamOptions.learn`: what `antispam.classifier.lesson` makes of it."""
    costs: tuple[tuple[str, float], ...] = ()
    """The `COSTS_TOLD` checks that took longest, with their ms, the longest first."""


class NetworkFacts(msgspec.Struct, frozen=True, array_like=True):
    """What the network checks of the relay found."""

    signs: tuple[Sign, ...] = ()
    dnsbl_sum: int = 0
    """Sum of the ratings of the DNSBL services that list the client or a hop."""
    dnsbl: tuple[str, ...] = ()
    """Zones that list it."""
    authn: AuthnResults = AuthnResults()
    uds: str = ""
    """What UDS knew it as, "" for nothing or not asked."""
    elapsed_ms: float = 0.0
    troubles: tuple[str, ...] = ()
    """What could not be told within the budget: facts for the log, never signs."""
    costs: tuple[tuple[str, float], ...] = ()
    """Checks that had to be waited for, with how many ms, the longest first."""
    listed: tuple[tuple[str, bool], ...] = ()
    """DNSBL services that rules ask and that have answered: whether they list the client ..."""
    in_dns: bool | None = None
    """... and whether it has a name; None: rules do not ask, or nobody could tell."""
