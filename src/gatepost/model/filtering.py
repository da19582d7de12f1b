"""A question of another mail system and its answer: what a door of the filtering server takes, and what a judge says.

Doors (`gatepost.service`) and clients (`gatepost.client`) make a `Request` of what their protocol tells them and carry
out the `Ruling` as far as that protocol can. Values only; the internal protocol carries exactly these (specification
antispam.md §12, row F-ASD-08).
"""

import enum

import msgspec

from gatepost.model.envelope import Client
from gatepost.model.finding import BareObject
from gatepost.model.reply import Reply
from gatepost.model.verdict import Splice


class Purpose(enum.StrEnum):
    """What becomes of the answer."""

    HANDLE = "handle"
    """Whoever asks carries it out, so stores are filled and notifications sent as for mail of our own."""
    ASK = "ask"
    """Only the status is asked for: it is recorded, and nothing else is done."""


class Checks(enum.StrEnum):
    """Which checks are asked for; the group's settings hold all the same."""

    ALL = "all"
    VIRUS = "virus"
    SPAM = "spam"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Envelope and client of one message, as another mail system tells them."""

    client: Client
    """`client.ip` "" when the asker does not know it; `client.listener` names the door."""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    """Empty: the door knows none; the door's group, else the policy itself, decides."""
    queue_id: str = ""
    """The asker's own, "" when it has none: it finds the message in both logs."""
    purpose: Purpose = Purpose.HANDLE
    checks: Checks = Checks.ALL
    divided: bool = False
    """The asker can make a copy for each part. Else `Ruling.whole` is what it carries out."""
    bare: BareObject | None = None
    """The content is this one object, not a mail: `ScanOptions.bare`; anti-spam does not look at it."""
    accepted: bool = False
    """The asker has taken the message from its sender already: a rejection becomes a bounce. Then REJECT is said only
    where the sender may be told (own network, signed in, proved); else it is DISCARD, and the message is kept."""


class Deed(enum.StrEnum):
    """What is to be done with a message for the recipients of a part."""

    DELIVER = "deliver"
    REJECT = "reject"
    """Refuse, with `Part.reply`."""
    DISCARD = "discard"
    """Take it, and deliver it to nobody: without a word, or because it is kept in a store."""


class FieldOp(enum.StrEnum):
    """One change of a header."""

    INSERT = "insert"
    """A field in front of all others."""
    APPEND = "append"
    """A field behind all others."""
    CHANGE = "change"
    """Field `name`, the `index`-th of that name from 1, gets this value."""
    DELETE = "delete"


class FieldEdit(msgspec.Struct, frozen=True):
    """A change of one header field."""

    op: FieldOp
    name: str
    value: bytes = b""
    """Raw, folded with CRLF, without the blank behind the colon."""
    index: int = 1


class Mark(msgspec.Struct, frozen=True):
    """A sign that counted, as spam filters list them."""

    name: str
    weight: float
    text: str = ""


class Threat(msgspec.Struct, frozen=True):
    """An object that is not clean."""

    name: str
    """Of the malware or of what it was found to be."""
    status: str
    object: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided for some of the recipients, as a rule those of one group."""

    recipients: tuple[str, ...] = ()
    group: str = ""
    deed: Deed = Deed.DELIVER
    reply: Reply | None = None
    """REJECT: what the sender hears."""
    status: str = ""
    """Spam status (`model.spam.SpamStatus`), "" when anti-spam did not look."""
    extended: str = ""
    """Documented words of the info field."""
    rate: int = 0
    """Rating in whole percent; 100 and more is spam."""
    methods: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    objects: tuple[str, ...] = ()
    """Object statuses that occurred, the worst first; () when anti-virus did not look."""
    threats: tuple[Threat, ...] = ()
    reason: str = ""
    prefix: bytes = b""
    """Fields to go in front of the content as it came ..."""
    splices: tuple[Splice, ...] = ()
    """... and what is replaced in it: together the copy, byte for byte."""
    field_edits: tuple[FieldEdit, ...] = ()
    """The same, of the header, for those who can only change fields."""
    body_changed: bool = False
    """More than the header is changed: `splices` reach into the body."""
    subject_label: str = ""
    copies: tuple[str, ...] = ()
    """Addresses that get a copy besides."""
    redirect: tuple[str, ...] = ()
    """Addresses that get it instead of the recipients."""


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """The answer about one message."""

    parts: tuple[Part, ...]
    """Together they hold every recipient once; one part without recipients when the request had none."""
    whole: Part
    """All of them on one copy, for askers who cannot divide: every group's edits, delivered to those who are not
    refused; REJECT or DISCARD only when nobody is left."""
    queue_id: str = ""
    """Ours: under it the message is found in tracking and stores."""
    info: str = ""
    """`Not processed`, `Not protected`, `Too large` or `Own message` when it was not looked at, else ""."""
