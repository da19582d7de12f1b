"""Records: one per change of state, written in the same spool commit as the change (docs/architecture.md §4.10).

Log lines, counters and every later view are consumers of these. Text from outside is carried as received, cut to the
limits here; the consumer that shows it cleans it. Records are arrays: fields are added at the end, with defaults, so
that what an older version wrote is still read. They hold no containers but tuples, so the collector need not know them.
"""

import msgspec

from gatepost.model.finding import EngineNote

ADDRESSES_TOLD = 50
"""Addresses in one record; how many there are is told beside them."""
OBJECTS_TOLD = 20
"""Objects that are not clean ..."""
SIGNS_TOLD = 24
"""... and signs of spam in one record, the heaviest first."""
TEXT_TOLD = 240
"""Characters of one foreign text, an evidence or a reply among them: what a person reads of it."""


class ObjectNote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An object of a message that is not clean."""

    name: str
    """Decoded file name, "" when it has none."""
    kind: str
    """By content where that is known, else as declared."""
    size: int
    """Decoded, in bytes."""
    status: str
    """An `ObjectStatus`."""
    threat: str = ""
    engine: str = ""
    evidence: str = ""


class SignNote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A sign for or against spam, as it counted for one group."""

    method: str
    """A `Method`."""
    name: str
    weight: float = 0.0
    """Log-odds: positive speaks for spam, 0 is a plain fact."""
    evidence: str = ""


class Received(msgspec.Struct, frozen=True, tag="received", array_like=True, gc=False):
    """A message was accepted: 250 follows this record's commit."""

    id: int
    at: float
    sender: str
    recipients: int
    size: int
    ip: str
    helo: str
    message_id: str
    flags: str
    mended: bool = False
    """The message was malformed and, as far as that can be, mended on the way in."""
    tls: str = ""
    """Version and cipher, "" for a connection in clear."""
    user: str = ""
    """Who had signed in, "" for nobody."""
    addresses: tuple[str, ...] = ()
    """Of the recipients, the first `ADDRESSES_TOLD`."""
    client: str = ""
    """Its name in DNS, confirmed by its address; "" when it has none or nobody asked."""
    listener: str = ""
    direction: str = ""
    """A `Direction`."""
    body: str = ""
    """A `Body`."""
    utf8: bool = False
    """SMTPUTF8 was declared."""
    door: str = ""
    """Kind of the door (`config.doors.DoorKind`) at which another mail system asks about a message of its own; "" for
    mail of ours."""
    reference: str = ""
    """Queue id that system has for it ..."""
    asker: str = ""
    """... and its address, "" on a local socket."""


class Inspected(msgspec.Struct, frozen=True, tag="inspected", array_like=True, gc=False):
    """A message was looked at, once for all its groups: what was found, and what that cost."""

    id: int
    at: float
    subject: str = ""
    """Decoded, cut at `TEXT_TOLD` characters."""
    waited_ms: float = 0.0
    """From acceptance (before the queue: from the end of the content) to the inspection that counts."""
    elapsed_ms: float = 0.0
    """That inspection, network checks included."""
    stages: tuple[tuple[str, float], ...] = ()
    """What took how many ms, in their order and partly at the same time: `filter` (all of the filter's work), `content`
    (of that, the content checks of anti-spam), `network`."""
    objects: int = 0
    """Objects in the message ..."""
    notable: tuple[ObjectNote, ...] = ()
    """... and those that are not clean, the first `OBJECTS_TOLD`."""
    findings: tuple[str, ...] = ()
    """Names of what is odd about the message as a whole."""
    troubles: tuple[str, ...] = ()
    """What network checks or content checks could not tell, and why."""
    categories: tuple[str, ...] = ()
    """Of its content."""


class Scanned(msgspec.Struct, frozen=True, tag="scanned", array_like=True, gc=False):
    """A group's verdict on a message."""

    id: int
    at: float
    group: str
    recipients: int
    statuses: tuple[str, ...]
    source: int
    names: tuple[str, ...]
    objects: tuple[str, ...] = ()
    """Status of every object scanned, for the object counters."""
    modified: bool = False
    blocked: bool = False
    cached: int = 0
    """Objects that were found clean before and so not scanned."""
    engines: tuple[EngineNote, ...] = ()
    """What each engine did, how long it took and what it said."""
    breaks: tuple[str, ...] = ()
    """Signatures that no longer hold because of our edits: `dkim`, `smime`, `pgp` (see `Analysis.signatures`)."""
    reason: str = ""
    """Why the objects' verdict is what it is, in one sentence."""
    actions: tuple[tuple[str, str, str], ...] = ()
    """(name, status, action) of objects something was done about, the first `OBJECTS_TOLD`."""


class SpamChecked(msgspec.Struct, frozen=True, tag="spam-checked", array_like=True, gc=False):
    """A group's spam verdict on a message."""

    id: int
    at: float
    group: str
    recipients: int
    status: str
    """A `SpamStatus`."""
    rate: int
    methods: tuple[str, ...]
    source: int
    withheld: bool = False
    """The recipients do not get it."""
    obscene: bool = False
    signs: tuple[str, ...] = ()
    """Names of the signs that count, the heaviest first."""
    notes: tuple[SignNote, ...] = ()
    """Signs with what they weigh and why, the heaviest first, at most `SIGNS_TOLD`."""
    action: str = ""
    """What becomes of the copy: `deliver`, `redirect`, `block`, `reject` or `delete` ..."""
    extras: tuple[str, ...] = ()
    """... and what besides: `mark`, `keywords`, `quarantine`, `copy`."""
    to: tuple[str, ...] = ()
    """Where it is redirected or copied to."""
    reason: str = ""
    """In one sentence; "" when nothing was found."""


class Split(msgspec.Struct, frozen=True, tag="split", array_like=True, gc=False):
    """A virtual copy was made for a group (specification F-GRP-05)."""

    id: int
    at: float
    domain: str
    recipients: int
    source: int
    group: str = ""
    addresses: tuple[str, ...] = ()
    """Whom the copy is for, the first `ADDRESSES_TOLD`."""


class Delivered(msgspec.Struct, frozen=True, tag="delivered", array_like=True, gc=False):
    """Final outcome for one recipient: sent, or failed for good."""

    id: int
    at: float
    recipient: str
    server: str
    size: int
    sent: bool
    reply: str = ""
    delay_s: float = 0.0
    """Since acceptance."""
    ip: str = ""
    """The peer's address, "" when none was asked."""
    host: str = ""
    """Its name, as it was chosen."""
    tls: str = ""
    """Version and what was proved, "" in clear."""
    elapsed_s: float = 0.0
    """How long the attempt took, from the first command to the last reply."""
    more: bool = False
    """It went with the recipient before it, in one transaction: the message and its bytes are counted there."""


class Deferred(msgspec.Struct, frozen=True, tag="deferred", array_like=True, gc=False):
    """An attempt failed temporarily; the recipient waits for the next."""

    id: int
    at: float
    recipient: str
    server: str
    reply: str
    due: float
    ip: str = ""
    host: str = ""
    tls: str = ""
    elapsed_s: float = 0.0
    """As in `Delivered`."""


class Blocked(msgspec.Struct, frozen=True, tag="blocked", array_like=True, gc=False):
    """A copy is not delivered because of its content."""

    id: int
    at: float
    recipients: tuple[str, ...]
    size: int
    reason: str = ""


class Discarded(msgspec.Struct, frozen=True, tag="discarded", array_like=True, gc=False):
    """A copy is dropped, as a group wants it for spam, and nobody is told."""

    id: int
    at: float
    recipients: tuple[str, ...]
    size: int
    reason: str = ""


class Held(msgspec.Struct, frozen=True, tag="held", array_like=True, gc=False):
    """A message waits for an operator."""

    id: int
    at: float
    reason: str


class Generated(msgspec.Struct, frozen=True, tag="generated", array_like=True, gc=False):
    """The gateway wrote a message itself."""

    id: int
    at: float
    kind: str
    """`dsn-failed`, `dsn-delayed`, `dsn-relayed`, later notices."""
    source: int
    recipient: str
    size: int
    sender: str = ""


class Notified(msgspec.Struct, frozen=True, tag="notified", array_like=True, gc=False):
    """A notification about a message was written (rows F-NOTI-01 to F-NOTI-03)."""

    id: int
    """Of the notification."""
    at: float
    role: str
    """`admin`, `sender` or `recipient`."""
    recipients: int
    size: int
    source: int
    """The message it is about; the first of them when it sums up several."""
    summed: int = 1
    """Messages it tells of."""
    addresses: tuple[str, ...] = ()
    """Whom it goes to, the first `ADDRESSES_TOLD`."""
    sender: str = ""


class Saved(msgspec.Struct, frozen=True, tag="saved", array_like=True, gc=False):
    """A copy of a message was put into a store (rows F-STOR-01 to F-STOR-04)."""

    id: int
    at: float
    store: str
    """`incoming`, `outgoing`, `quarantine`, `backup` or `spam-quarantine`."""
    item: str
    """Its id in the store."""
    statuses: tuple[str, ...] = ()


class Removed(msgspec.Struct, frozen=True, tag="removed", array_like=True, gc=False):
    """An operator, or the end of its life, took a message out of the queue."""

    id: int
    at: float
    reason: str


class Operated(msgspec.Struct, frozen=True, tag="operated", array_like=True, gc=False):
    """An operator did something about a waiting message that no other record tells."""

    id: int
    at: float
    act: str
    """`release`, `retry`, `reroute`, `rescan`, `scan-first`, `send-first`."""
    detail: str = ""
    sender: str = ""
    addresses: tuple[str, ...] = ()
    """With `release` out of a store: whom the message that begins here goes to, the first `ADDRESSES_TOLD` ..."""
    size: int = 0
    """... and its size."""


class Answered(msgspec.Struct, frozen=True, tag="answered", array_like=True, gc=False):
    """Another mail system was told what to do with a message it had asked about; with that it is no business of ours
    any more.
    """

    id: int
    at: float
    deed: str
    """A `model.filtering.Deed`, of all recipients on one copy; or `unjudged`: it could not be judged, and the asker
    does what it is set to do then."""
    recipients: int = 0
    """Who get it, by our answer ..."""
    rejected: int = 0
    """... for whom it is refused ..."""
    discarded: int = 0
    """... and from whom it is withheld without a word. All three are 0 when the asker named nobody."""
    without: tuple[str, ...] = ()
    """Recipients who do not get it, the first `ADDRESSES_TOLD`."""
    size: int = 0
    info: str = ""
    """`Not processed`, `Not protected`, `Too large` or `Own message` when it was not looked at; "" as a rule."""
    reply: str = ""
    """What its sender is to hear."""
    reason: str = ""
    """Why it is so, in one sentence."""
    purpose: str = ""
    """A `model.filtering.Purpose`: with `ask` it was only told what it is."""
    elapsed_ms: float = 0.0
    """From the question to the answer."""


class Ruled(msgspec.Struct, frozen=True, tag="ruled", array_like=True, gc=False):
    """Rules of the administrator's profiles held for a copy."""

    id: int
    at: float
    group: str
    recipients: int
    """Whom it was for before the rules."""
    source: int = 0
    rules: tuple[str, ...] = ()
    """Each rule that held and what it did, in words."""
    to: tuple[str, ...] = ()
    """Recipients whom rules have added, the first `ADDRESSES_TOLD`."""
    gained: int = 0
    """How many more recipients it goes to; below 0, how many fewer."""
    log: tuple[str, ...] = ()
    """What rules wanted in the log."""


class Refused(msgspec.Struct, frozen=True, tag="refused", array_like=True, gc=False):
    """A connection, command or message was refused before acceptance."""

    at: float
    ip: str
    stage: str
    """`connect`, `starttls`, `helo`, `auth`, `mail`, `rcpt`, `data`."""
    cause: str
    """Token: `message-size`, `session-size`, `hops`, `messages-per-session`, `sessions`, `sessions-per-ip`, `relaying`,
    `recipients`, `free-space`, `malformed`, `queue-full`, `syntax`; of access also `denied-client`, `dnsbl`, `no-name`,
    `connect`, `helo`, `mailfrom`, `dns` (rules that could not be decided), `rate`, `unknown-recipient`,
    `verification`; of reception `proxy`, `early-talker`, `handshake`, `sign-in`, `content` and `not-inspected` (before
    the queue), `undecided` (a fault of ours); those of `smtp.server_events.Cause`."""
    code: int
    sender: str = ""
    recipient: str = ""
    helo: str = ""
    reply: str = ""
    """What the client heard."""
    tls: str = ""
    user: str = ""
    client: str = ""
    """Its name in DNS, as in `Received`."""
    listener: str = ""
    id: int = 0
    """Of a message that was refused when its content had come: what was found in it bears the same; else 0."""
    size: int = 0
    """Bytes of content that had come."""
    addresses: tuple[str, ...] = ()
    """Whose RCPT had been taken when the message was refused, the first `ADDRESSES_TOLD`."""


class Bypassed(msgspec.Struct, frozen=True, tag="bypassed", array_like=True, gc=False):
    """A copy goes on without having been looked at: the emergency bypass is on. Not scanned is never clean."""

    id: int
    at: float
    group: str
    recipients: int
    source: int
    reason: str = ""
    """Who has switched it on, and why."""


class Shadowed(msgspec.Struct, frozen=True, tag="shadowed", array_like=True, gc=False):
    """What would have become of a copy under a shadow of its group; nothing came of it."""

    id: int
    at: float
    shadow: str
    """Its name."""
    group: str
    recipients: int
    source: int
    was: str
    """What is done with it, in words ..."""
    would: str
    """... and what the shadow would have done."""
    changed: bool
    """The two differ."""


Record = (
    Received
    | Inspected
    | Scanned
    | SpamChecked
    | Split
    | Delivered
    | Deferred
    | Blocked
    | Discarded
    | Held
    | Generated
    | Notified
    | Saved
    | Removed
    | Operated
    | Answered
    | Ruled
    | Refused
    | Bypassed
    | Shadowed
)

ENCODER = msgspec.msgpack.Encoder()
DECODER: msgspec.msgpack.Decoder[list[Record]] = msgspec.msgpack.Decoder(list[Record])
