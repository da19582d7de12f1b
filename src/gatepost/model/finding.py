"""Findings: what the filter states about a message. Facts only; policy decides (docs/architecture.md, idea 5).

`Analysis` is the filter's whole answer. It crosses a trust boundary: `gatepost.filter.dialogue` checks every number
in it against the content before anybody uses it.
"""

import enum

import msgspec

from gatepost.model.preview import Preview
from gatepost.model.spam import FieldSpot, NetworkFacts, SpamFacts, SpamOptions


class ObjectStatus(enum.StrEnum):
    """Status of one object (specification antivirus.md §1), in no order; see `SEVERITY`."""

    CLEAN = "clean"
    """Scanned, nothing found."""
    INFECTED = "infected"
    """Malicious, not disinfected."""
    DISINFECTED = "disinfected"
    """Malicious code removed; a cured form exists."""
    SUSPICIOUS = "suspicious"
    """Looks like unknown or modified malware."""
    PROTECTED = "protected"
    """Could not be scanned because of a password."""
    ERROR = "error"
    """Corrupt, over a limit, timed out or otherwise not scanned. Never the same as clean."""
    FILTERED = "filtered"
    """Matched the group's name or type filter."""


SEVERITY: tuple[ObjectStatus, ...] = (
    ObjectStatus.INFECTED,
    ObjectStatus.SUSPICIOUS,
    ObjectStatus.ERROR,
    ObjectStatus.PROTECTED,
    ObjectStatus.FILTERED,
    ObjectStatus.DISINFECTED,
    ObjectStatus.CLEAN,
)
"""Worst first: the headline status of a message is the first of these that occurs."""


class ObjectKind(enum.StrEnum):
    """What an object is, and so how it can be edited."""

    HEADER = "header"
    """The header block of the message."""
    PART = "part"
    """A MIME leaf with a byte range of its own in the content."""
    BLOCK = "block"
    """An encoded block (uuencode) inside a text body: a range, but no header of its own."""
    MEMBER = "member"
    """Something inside another object (archive member, part of an encoded nested message): no range."""


OTHERS_LIMIT = 16
"""Names, and types, of one object beside its first: a header has four places for a name, and each may be read in a few
ways."""


SUBJECT_LIMIT = 240
"""Characters of a subject that is kept."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Half-open byte range [start, end) of the received content."""

    start: int
    end: int


SMIME_ENCRYPTION = "S/MIME"
OPENPGP_ENCRYPTION = "OpenPGP"
ENCRYPTIONS = frozenset({SMIME_ENCRYPTION, OPENPGP_ENCRYPTION})
"""How mail is encrypted for its recipient, as people are told."""


class ObjectReport(msgspec.Struct, frozen=True, array_like=True):
    """One object and what the engines said of it."""

    parent: int
    """Index of the enclosing object in `Analysis.objects`, -1 when it hangs at the message itself."""
    kind: ObjectKind
    status: ObjectStatus
    name: str = ""
    """Decoded file name, without path; "" when it has none."""
    content_type: str = ""
    """Declared type/subtype in lower case."""
    size: int = 0
    """Decoded size in bytes."""
    threat: str = ""
    """Name of what was found; "" when clean."""
    evidence: str = ""
    """Why the status is what it is, in words for an administrator."""
    whole: Span = Span(0, 0)
    """PART: from its first header byte to the end of its body. BLOCK: the lines of the block. Else empty."""
    body: Span = Span(0, 0)
    """PART: the encoded body. Else empty."""
    fields: tuple[Span, ...] = ()
    """PART: ranges of its Content-* header fields, line ends included: what a replacement must strip."""
    delimiter: Span = Span(0, 0)
    """PART inside a multipart: from its delimiter line to the next delimiter line of the same multipart, so that
    cutting this range removes the part and leaves a well-formed multipart. Empty for the root."""
    siblings: int = 1
    """Number of children of the enclosing multipart (an only child is emptied instead of cut)."""
    cured: bytes | None = None
    """Decoded content after disinfection, for status `disinfected` only; a member has none of its own: its place is
    in the cured form of what holds it."""
    delete: bool = False
    """The engine demands removal whatever the action says (specification antivirus.md §8, `DELE-`)."""
    found: str = ""
    """Kind by content (`antivirus.kinds.Kind`), "" when it is none of them."""
    engine: str = ""
    """Who gave the status: an engine's name, "" when it was the unpacking or nobody had anything to say."""
    uncured: ObjectStatus = ObjectStatus.INFECTED
    """With status `disinfected`: what it is for a group that does not cure."""
    other_names: tuple[str, ...] = ()
    """File names that some readers of mail give it instead of `name`, at most `OTHERS_LIMIT`."""
    other_types: tuple[str, ...] = ()
    """Types that further declarations give it, at most `OTHERS_LIMIT`."""
    in_mail: bool = False
    """MEMBER: a part of a message, though without a range of its own (another reading of a part, or inside an encoded
    message). Filters take it for the part that some reader shows."""
    encrypted: str = ""
    """One of `ENCRYPTIONS`: it holds what its recipient alone can decrypt, so `status` is of the envelope only, and
    the group says what becomes of it (`policy.decide`). "" when it does not."""


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """What a check states about the message as a whole."""

    name: str
    """Token of the check's vocabulary, for example `mime-boundary-missing`."""
    evidence: str
    """In words a person understands."""
    weight: float = 0.0
    """For spam checks; 0 for plain facts."""


class EngineNote(msgspec.Struct, frozen=True, array_like=True):
    """What one engine did in one inspection."""

    name: str
    version: str = ""
    """Of the engine and its signatures, as it states it."""
    objects: int = 0
    """Objects it looked at."""
    elapsed_ms: float = 0.0
    status: ObjectStatus = ObjectStatus.CLEAN
    """The worst it said."""
    trouble: str = ""
    """Why it could not look at everything it was given: down, slow, over a limit of its own. "" when it did."""


class TextSpot(msgspec.Struct, frozen=True, array_like=True):
    """A place where text of ours can be added to the end of what people read: replace [start, end) by `before`, the
    text in the form the fields say, and `after`.
    """

    start: int
    end: int
    html: bool = False
    charset: str = "us-ascii"
    """Of the part; text it cannot express is written in character references (HTML) or `?`."""
    encoding: str = "7bit"
    """Content-Transfer-Encoding of the part: 7bit, 8bit, quoted-printable or base64."""
    before: bytes = b""
    """Decoded bytes that stood in [start, end) in front of the text (base64: the last, incomplete line)."""
    after: bytes = b""
    """Decoded bytes that follow the text (HTML: from `</body>` on)."""
    fields: tuple[tuple[int, int, bytes], ...] = ()
    """Changes of the part's header that go with it, as (start, end, data), where its charset or its encoding cannot
    hold `ScanOptions.text_characters`: then `before` is the whole text so far, in the new charset."""


FIELDS_LIMIT = 1_000
"""Fields of the header that are told for rules."""


class NamedField(msgspec.Struct, frozen=True, array_like=True):
    """A field of the header that rules ask for."""

    name: str
    """In lower case."""
    spot: FieldSpot


class Analysis(msgspec.Struct, frozen=True, array_like=True):
    """Everything one inspection found: objects in tree order, and findings about the message."""

    objects: tuple[ObjectReport, ...]
    findings: tuple[Finding, ...] = ()
    elapsed_ms: float = 0.0
    """Time the filter worked on it."""
    rewrite: tuple[tuple[int, int, bytes], ...] = ()
    """With `ScanOptions.seven_bit`: replace bytes [start, end) of the content by these, in rising order ..."""
    obstacle: str = ""
    """... or why it cannot be made 7-bit."""
    engines: tuple[EngineNote, ...] = ()
    """What each engine did."""
    cached: int = 0
    """Objects that were not scanned because the same had been found clean before."""
    unscanned: str = ""
    """Why the message must wait and be inspected again: an engine that has to see it cannot now. "" as a rule."""
    spots: tuple[TextSpot, ...] = ()
    """With `ScanOptions.text_spots`: where a disclaimer goes, one for each form of the text."""
    signatures: tuple[str, ...] = ()
    """Signatures and encryption over the content that an edit would break: `dkim`, `smime`, `pgp`."""
    spam: SpamFacts | None = None
    """With `ScanOptions.spam`: what the content checks found."""
    network: NetworkFacts | None = None
    """What the network checks found: the relay's, a filter never says it."""
    spared: bool = False
    """Nothing was scanned, because the relay said that nobody is to get the message (`SpamOptions.first`)."""
    preview: Preview | None = None
    """With `ScanOptions.preview`: how the message is shown."""
    subject: str = ""
    """Decoded subject of the message, cut at `SUBJECT_LIMIT` characters: for those who look for the mail later."""
    fields: tuple[NamedField, ...] | None = None
    """With `ScanOptions.fields`: where fields of these names stand in the header, in order, at most `FIELDS_LIMIT`;
    None: nobody has looked."""


class ObjectFilterSpec(msgspec.Struct, frozen=True, array_like=True):
    """One group's filter by name and type, as masks (specification configuration.md §4.10)."""

    names: bool = False
    """The half by name is active."""
    types: bool = False
    """The half by type is active."""
    include_names: tuple[str, ...] = ()
    exclude_names: tuple[str, ...] = ()
    include_types: tuple[str, ...] = ()
    exclude_types: tuple[str, ...] = ()
    inside: bool = False
    """Members of archives are filtered, too."""


class BareObject(msgspec.Struct, frozen=True, array_like=True):
    """What is known of content that is one object and no mail: a file from the web, a stream somebody has scanned."""

    name: str = ""
    content_type: str = ""
    """As whoever sends it declares it, without parameters."""


class ScanOptions(msgspec.Struct, frozen=True, array_like=True):
    """What to do in one inspection: what any group of the message asks for (specification configuration.md §4.2)."""

    cure: bool = False
    archives: bool = True
    timeout_s: float = 0.0
    """Per object; 0 = no limit of its own (the message's deadline still holds)."""
    archive_depth: int = 16
    unpacked_bytes: int = 512 * 1024 * 1024
    archive_members: int = 10_000
    deadline_s: float = 60.0
    """For the whole message, enforced inside and, by SIGKILL, outside."""
    mail_bases: bool = True
    """Look inside mail databases (mbox, eml) that are attached."""
    packed: bool = True
    """Unpack packed executables, as far as engines do."""
    filters: tuple[ObjectFilterSpec, ...] = ()
    """One for each group that scans: what all of them filter no engine sees (F-AV-16). () = nothing is filtered."""
    passwords: tuple[str, ...] = ()
    """Tried on what is protected, behind those that the message itself names."""
    cache: bool = False
    """Objects found clean before need not be scanned again."""
    text_spots: bool = False
    """Say where a disclaimer can be added, and which signatures there are."""
    seven_bit: bool = False
    """Scan nothing: say how the content is made 7-bit for a server that takes no other."""
    scan: bool = True
    """False: no engine is asked; only what `text_spots` asks for is looked at."""
    spam: SpamOptions | None = None
    """With it the content checks of anti-spam look at the message."""
    text_characters: str = ""
    """Characters beyond ASCII that disclaimers have: spots are such that they can be written there."""
    preview: bool = False
    """Scan nothing: say how the message is shown to an administrator."""
    bare: BareObject | None = None
    """The content is this object, not a message; if it is a stored mail, it is opened as an attached one is."""
    fields: tuple[str, ...] | None = None
    """Names, in lower case, of header fields that rules ask for; () when they ask for other facts only."""
