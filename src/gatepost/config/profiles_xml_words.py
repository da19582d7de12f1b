"""Which element of the documented XML is which condition or action: one table for reading and writing. Pure.

Specification antispam.md §10.2 and §10.3. Used by `config.profiles_xml` and `config.profiles_xml_writing`.
"""

from typing import Final

import msgspec

from gatepost.model.profile import Act, ConditionKind


class Word(msgspec.Struct, frozen=True):
    """An element, and which of its attributes is which member of the value."""

    tag: str
    attributes: tuple[tuple[str, str], ...] = ()
    """(attribute, member of `Condition` or `Action`), all of them needed."""


CONDITIONS: Final[dict[ConditionKind, Word]] = {
    ConditionKind.CLIENT_IP: Word("IPFrom", (("mask", "value"),)),
    ConditionKind.CLIENT_LIST: Word("IPFromList", (("list", "value"),)),
    ConditionKind.CLIENT_DNSBL: Word("IPFromDNSBlack", (("list", "value"),)),
    ConditionKind.CLIENT_NOT_IN_DNS: Word("IPFromNotInDNS"),
    ConditionKind.SENDER: Word("SMTPFrom", (("email", "value"),)),
    ConditionKind.SENDER_LIST: Word("SMTPFromList", (("list", "value"),)),
    ConditionKind.RECIPIENT: Word("SMTPRcpt", (("email", "value"),)),
    ConditionKind.RECIPIENT_LIST: Word("SMTPRcptList", (("list", "value"),)),
    ConditionKind.HEADER_EXISTS: Word("HeaderExists", (("header", "header"),)),
    ConditionKind.HEADER_MATCHES: Word("HeaderMatch", (("header", "header"), ("regexp", "value"))),
    ConditionKind.SIZE_OVER: Word("SizeGreater", (("kb", "number"),)),
    ConditionKind.CATEGORY: Word("Category", (("id", "value"),)),
    ConditionKind.STATUS: Word("Status", (("value", "value"),)),
    ConditionKind.RATE_OVER: Word("RateGreater", (("percent", "number"),)),
    ConditionKind.METHOD: Word("Method", (("begins", "value"),)),
    ConditionKind.OBSCENE: Word("Obscene"),
}
LISTS: Final = {
    ConditionKind.CLIENT_LIST: "iplists",
    ConditionKind.CLIENT_DNSBL: "dnsbl",
    ConditionKind.SENDER_LIST: "emails",
    ConditionKind.RECIPIENT_LIST: "emails",
}
"""Conditions whose value is the file of a list, and the lists of `RuleSet` it is among."""

ACTIONS: Final[dict[Act, Word]] = {
    Act.ACCEPT: Word("DoAccept"),
    Act.REJECT: Word("DoReject"),
    Act.BLACK_HOLE: Word("DoBlackHole"),
    Act.SKIP: Word("DoSkip"),
    Act.BOUNCE: Word("DoBounce"),
    Act.RECIPIENT_DELETE: Word("DoRcptDelete", (("email", "addresses"),)),
    Act.RECIPIENT_ADD: Word("DoRcptAdd", (("new", "addresses"),)),
    Act.RECIPIENT_REPLACE: Word("DoRcptReplaceAll", (("new", "addresses"),)),
    Act.HEADER_DELETE: Word("DoHeaderDelete", (("header", "header"),)),
    Act.HEADER_REPLACE: Word("DoHeaderReplace", (("header", "header"), ("value", "value"))),
    Act.HEADER_ADD: Word("DoHeaderAdd", (("header", "header"), ("value", "value"))),
    Act.HEADER_NEW: Word("DoHeaderNew", (("header", "header"), ("value", "value"))),
    Act.HEADER_LABEL: Word("DoHeaderLabel", (("header", "header"), ("value", "value"))),
    Act.LOG: Word("DoSyslog", (("text", "value"),)),
}

CONDITION_BY_TAG: Final = {word.tag.lower(): kind for kind, word in CONDITIONS.items()}
ACTION_BY_TAG: Final = {word.tag.lower(): act for act, word in ACTIONS.items()}

SUFFIX: Final = ".xml"
"""Of files, in the XML form; values name them without."""


class Folder(msgspec.Struct, frozen=True):
    """A kind of lists: its index file, its directory, and how their elements are called."""

    member: str
    """Of `RuleSet`."""
    index: str
    directory: str
    root: str
    ref: str
    element: str
    item: str
    """What one line is ..."""
    attribute: str
    """... and where it stands."""
    field: str
    """Member of the list's value that holds the lines."""


FOLDERS: Final = (
    Folder(
        "emails", "emails.xml", "emails", "EMailLists", "EMailListRef", "EMailList", "EMail", "address", "addresses"
    ),
    Folder("iplists", "iplists.xml", "iplists", "IPLists", "IPListRef", "IPList", "IP", "mask", "networks"),
    Folder(
        "dnsbl",
        "dnsblacklists.xml",
        "dnsblacklists",
        "DNSBlackLists",
        "DNSBlackListRef",
        "DNSBlackList",
        "Service",
        "zone",
        "services",
    ),
)
