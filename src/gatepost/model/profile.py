"""Profiles and rules as values: what an administrator's rule set says, and what it makes of a message.

`config.profiles` reads and writes them in their native form, the XML of older servers is translated from and to them,
`policy.profiles` decides by them, the console edits them (specification antispam.md §10, rows F-ASP-01 to F-ASP-14).
Values only: whether a set is sound is told by `config.profiles_check`.
"""

import enum
from typing import Final

import msgspec

UPDATE_MARKER: Final = "ALLOW_UPDATES=yes"
"""A hidden profile whose comment begins with this is replaced when the shipped one is newer (row F-ASP-14)."""


class ConditionKind(enum.StrEnum):
    """What a condition asks (specification antispam.md §10.2); with the members of `Condition` that say more."""

    CLIENT_IP = "client_ip"
    """The client is this address, or in this network: `value`, `a.b.c.d` or `a.b.c.d/nn`, or IPv6."""
    CLIENT_LIST = "client_list"
    """The client is in a list of networks: `value`, the list's file."""
    CLIENT_DNSBL = "client_dnsbl"
    """The client is listed by a service of a list of DNSBL services: `value`, the list's file."""
    CLIENT_NOT_IN_DNS = "client_not_in_dns"
    """The client has no name in DNS."""
    SENDER = "sender"
    """The envelope sender: `value`, `user@domain`, `@domain`, or a mask; "" is the null sender."""
    SENDER_LIST = "sender_list"
    """The sender is in a list of addresses: `value`, the list's file."""
    RECIPIENT = "recipient"
    """One of the recipients: `value` as of SENDER. Common profiles test all of the message, personal ones their own."""
    RECIPIENT_LIST = "recipient_list"
    """One of the recipients is in a list of addresses: `value`, the list's file."""
    HEADER_EXISTS = "header_exists"
    """There is a field `header`."""
    HEADER_MATCHES = "header_matches"
    """A field `header` matches the regular expression `value`, letter case aside."""
    SIZE_OVER = "size_over"
    """The message is larger than `number` KB."""
    CATEGORY = "category"
    """The content is of the category `value`, `L1/L2/L3`, or of one below it."""
    STATUS = "status"
    """The spam status that its group has given it is `value`, an extended token (`model.spam.SpamStatus`)."""
    RATE_OVER = "rate_over"
    """Its rating is `number` percent or more."""
    METHOD = "method"
    """A method or a documented detail that spoke for its status begins with `value`, for example `DNSBL`."""
    OBSCENE = "obscene"
    """Obscene words were found in it."""


class Condition(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename={"negated": "not"}
):
    """One condition of a rule."""

    test: ConditionKind
    value: str = ""
    header: str = ""
    """Name of a field."""
    number: int = 0
    negated: bool = False
    comment: str = ""


class Act(enum.StrEnum):
    """What a rule does (specification antispam.md §10.3); with the members of `Action` that say more."""

    ACCEPT = "accept"
    """Severe: delivered as it is now."""
    REJECT = "reject"
    """Severe: refused; in a personal profile a bounce, and it is dropped."""
    BLACK_HOLE = "black_hole"
    """Severe: dropped without a word; a bounce that was ordered before is sent."""
    SKIP = "skip"
    """Moderately severe: on with the next profile; in a personal one accepted."""
    BOUNCE = "bounce"
    """Tell the sender that it was rejected, with the original attached, and go on."""
    RECIPIENT_DELETE = "recipient_delete"
    """Take the `addresses` out of the envelope."""
    RECIPIENT_ADD = "recipient_add"
    """Add `addresses`; `${SMTP_FROM}` is the envelope sender."""
    RECIPIENT_REPLACE = "recipient_replace"
    """The `addresses` get it instead of all recipients."""
    HEADER_DELETE = "header_delete"
    """Take all fields `header` out."""
    HEADER_REPLACE = "header_replace"
    """Take all fields `header` out and write one with `value`."""
    HEADER_ADD = "header_add"
    """Append `value` to the field `header`; without such a field, as HEADER_NEW."""
    HEADER_NEW = "header_new"
    """A new field `header` with `value` on top, whatever is there."""
    HEADER_LABEL = "header_label"
    """Put `value` and a blank in front of what the field `header` says, unless it stands there."""
    LOG = "log"
    """Write `value` to the log."""


SEVERE: Final = frozenset((Act.ACCEPT, Act.REJECT, Act.BLACK_HOLE))
"""These end all processing ..."""
ENDS_PROFILE: Final = SEVERE | {Act.SKIP}
"""... these at least that of the profile: nothing behind one of them is done."""


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One action of a rule."""

    do: Act
    addresses: tuple[str, ...] = ()
    header: str = ""
    """Name of a field."""
    value: str = ""
    """Text; `${CATEGORY}` is the list of categories."""
    comment: str = ""


class Rule(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"conditions": "if", "actions": "then"},
):
    """IF all conditions hold THEN the actions, in their order."""

    comment: str = ""
    conditions: tuple[Condition, ...] = ()
    """None: it always holds."""
    actions: tuple[Action, ...] = ()


class Profile(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename={"rules": "rule"}
):
    """A profile: rules in order, for the whole message (common) or for some recipients (personal)."""

    name: str = ""
    description: str = ""
    comment: str = ""
    recipients: tuple[str, ...] = ()
    """Personal: whose it is, written as for SENDER; with `recipient_list` empty as well, everybody's."""
    recipient_list: str = ""
    """Or a list of addresses, by its file."""
    rules: tuple[Rule, ...] = ()


class ProfileRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A profile's place in the order."""

    file: str
    """Name of its file below the directory of profiles, without the suffix: letters, digits, `-`, `_`, `.`."""
    active: bool = True
    comment: str = ""


class AddressList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A list of mail addresses."""

    name: str = ""
    description: str = ""
    comment: str = ""
    addresses: tuple[str, ...] = ()
    """As `ConditionKind.SENDER` writes them."""


class NetworkList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A list of addresses and networks."""

    name: str = ""
    description: str = ""
    comment: str = ""
    networks: tuple[str, ...] = ()
    """`a.b.c.d`, `a.b.c.d/nn`, or IPv6."""


class DnsService(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A DNSBL service."""

    zone: str
    description: str = ""


class DnsList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A list of DNSBL services."""

    name: str = ""
    description: str = ""
    comment: str = ""
    services: tuple[DnsService, ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An administrator's sample message. Rules do not name samples, but the categories they give."""

    category: str
    description: str = ""
    text: str = ""


class RuleSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Texts of all profiles."""

    reject_text: str = "Message rejected by the rules of this site"
    """Behind `550 5.7.1`."""
    bounce_text: str = "Message rejected by the rules of this site"
    """In the report to the sender."""


class RuleSet(msgspec.Struct, frozen=True, kw_only=True):
    """A whole set. Profiles and lists are found by their file, without suffix; the order of lists is how they are
    shown.
    """

    hidden: Profile | None = None
    """Runs before all others, as a common one."""
    common: tuple[ProfileRef, ...] = ()
    """In order of execution."""
    personal: tuple[ProfileRef, ...] = ()
    profiles: dict[str, Profile] = msgspec.field(default_factory=dict)
    """Of both kinds, and those in no order, which never run."""
    emails: dict[str, AddressList] = msgspec.field(default_factory=dict)
    iplists: dict[str, NetworkList] = msgspec.field(default_factory=dict)
    dnsbl: dict[str, DnsList] = msgspec.field(default_factory=dict)
    samples: dict[str, Sample] = msgspec.field(default_factory=dict)
    settings: RuleSettings = RuleSettings()


class RuleEnd(enum.StrEnum):
    """What becomes of a copy by the rules."""

    DELIVER = "deliver"
    REJECT = "reject"
    DISCARD = "discard"


class FieldEdit(msgspec.Struct, frozen=True):
    """A change of the header that a rule has ordered, in order of execution."""

    do: Act
    """HEADER_DELETE to HEADER_LABEL."""
    name: str
    value: str = ""
    """With its macros filled in."""


class RuleHit(msgspec.Struct, frozen=True):
    """A rule that held, for logs and tracking."""

    profile: str
    rule: int
    """Number in its profile, from 1."""
    did: tuple[Act, ...]
    """Actions that were carried out."""


class RuleOutcome(msgspec.Struct, frozen=True):
    """What the rules decide for some recipients."""

    end: RuleEnd = RuleEnd.DELIVER
    in_session: bool = False
    """REJECT: by a common profile, so the client may hear of it; else it is a bounce, and the message is dropped."""
    bounce: bool = False
    """The sender is to be told that it was rejected, whatever else becomes of it."""
    kept: bool = True
    """False: the recipients that it was sent to do not get it ..."""
    added: tuple[str, ...] = ()
    """... and these do, besides or instead."""
    fields: tuple[FieldEdit, ...] = ()
    log: tuple[str, ...] = ()
    hits: tuple[RuleHit, ...] = ()
    reply_text: str = ""
    """Of the set's settings, when it ends in REJECT ..."""
    bounce_text: str = ""
    """... or in a report to the sender."""
