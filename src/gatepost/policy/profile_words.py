"""Conditions and actions of rules in words, as people read IF and THEN. Pure. For the console and `gatepost rules`."""

from collections.abc import Sequence
from typing import Final

from gatepost.model.profile import Act, Action, Condition, ConditionKind

CONDITION_LABELS: Final[dict[ConditionKind, str]] = {
    ConditionKind.CLIENT_IP: "client is in the network",
    ConditionKind.CLIENT_LIST: "client is in the list of networks",
    ConditionKind.CLIENT_DNSBL: "client is listed by a service of",
    ConditionKind.CLIENT_NOT_IN_DNS: "client has no name in DNS",
    ConditionKind.SENDER: "sender is",
    ConditionKind.SENDER_LIST: "sender is in the list",
    ConditionKind.RECIPIENT: "a recipient is",
    ConditionKind.RECIPIENT_LIST: "a recipient is in the list",
    ConditionKind.HEADER_EXISTS: "there is a field",
    ConditionKind.HEADER_MATCHES: "a field matches",
    ConditionKind.SIZE_OVER: "message is larger than, in KB",
    ConditionKind.CATEGORY: "content is of the category",
    ConditionKind.STATUS: "status is",
    ConditionKind.RATE_OVER: "rating in percent is at least",
    ConditionKind.METHOD: "decided by a method that begins with",
    ConditionKind.OBSCENE: "obscene words were found",
}
"""For choices in a form."""
ACTION_LABELS: Final[dict[Act, str]] = {
    Act.ACCEPT: "accept: deliver, and look at no other rule",
    Act.REJECT: "reject",
    Act.BLACK_HOLE: "drop without a word",
    Act.SKIP: "skip: on with the next profile",
    Act.BOUNCE: "tell the sender that it was rejected",
    Act.RECIPIENT_DELETE: "take recipients out",
    Act.RECIPIENT_ADD: "add recipients",
    Act.RECIPIENT_REPLACE: "send it to these instead",
    Act.HEADER_DELETE: "delete a field",
    Act.HEADER_REPLACE: "replace a field",
    Act.HEADER_ADD: "append to a field",
    Act.HEADER_NEW: "write a new field",
    Act.HEADER_LABEL: "put a label in front of a field",
    Act.LOG: "write to the log",
}

_HOLDS: Final[dict[ConditionKind, tuple[str, str]]] = {
    ConditionKind.CLIENT_IP: ("the client is in {value}", "the client is not in {value}"),
    ConditionKind.CLIENT_LIST: ("the client is in the list {value}", "the client is not in the list {value}"),
    ConditionKind.CLIENT_DNSBL: ("the client is listed by {value}", "the client is not listed by {value}"),
    ConditionKind.CLIENT_NOT_IN_DNS: ("the client has no name in DNS", "the client has a name in DNS"),
    ConditionKind.SENDER: ("the sender is {value}", "the sender is not {value}"),
    ConditionKind.SENDER_LIST: ("the sender is in the list {value}", "the sender is not in the list {value}"),
    ConditionKind.RECIPIENT: ("a recipient is {value}", "no recipient is {value}"),
    ConditionKind.RECIPIENT_LIST: ("a recipient is in the list {value}", "no recipient is in the list {value}"),
    ConditionKind.HEADER_EXISTS: ("there is a field {header}", "there is no field {header}"),
    ConditionKind.HEADER_MATCHES: ("{header} matches {value}", "{header} does not match {value}"),
    ConditionKind.SIZE_OVER: ("it is larger than {number} KB", "it is not larger than {number} KB"),
    ConditionKind.CATEGORY: ("its category is {value}", "its category is not {value}"),
    ConditionKind.STATUS: ("its status is {value}", "its status is not {value}"),
    ConditionKind.RATE_OVER: ("its rating is {number} % or more", "its rating is below {number} %"),
    ConditionKind.METHOD: ("a method {value}… decided", "no method {value}… decided"),
    ConditionKind.OBSCENE: ("obscene words were found", "no obscene words were found"),
}
CATEGORIES: Final = (
    "spam/adult/dating", "spam/adult/explicit", "spam/business/chain-letters", "spam/business/jobs",
    "spam/business/mlm", "spam/business/seo", "spam/business/services", "spam/education/diplomas",
    "spam/finance/investment", "spam/finance/loans", "spam/fraud/advance-fee", "spam/fraud/bank", "spam/fraud/boss",
    "spam/fraud/charity", "spam/fraud/extortion", "spam/fraud/lottery", "spam/fraud/parcel", "spam/fraud/phishing",
    "spam/gambling", "spam/goods/offers", "spam/goods/replica", "spam/goods/software", "spam/health/miracle",
    "spam/health/pharma", "spam/health/weight-loss", "seminars",
)  # fmt: skip
"""Categories that the shipped terms give, offered where a rule asks for one: databases and own samples may give others.
Obscene words are a condition of their own."""
_DONE: Final[dict[Act, str]] = {
    Act.ACCEPT: "accept it",
    Act.REJECT: "reject it",
    Act.BLACK_HOLE: "drop it without a word",
    Act.SKIP: "go on with the next profile",
    Act.BOUNCE: "tell the sender that it was rejected",
    Act.RECIPIENT_DELETE: "take out the recipients {addresses}",
    Act.RECIPIENT_ADD: "add the recipients {addresses}",
    Act.RECIPIENT_REPLACE: "send it to {addresses} instead",
    Act.HEADER_DELETE: "delete {header}",
    Act.HEADER_REPLACE: "replace {header} by {value}",
    Act.HEADER_ADD: "append {value} to {header}",
    Act.HEADER_NEW: "write {header}: {value}",
    Act.HEADER_LABEL: "put {value} in front of {header}",
    Act.LOG: "log {value}",
}


def describe_condition(condition: Condition) -> str:
    """Return a condition in words."""
    value = condition.value or "<>"
    text = _HOLDS[condition.test][condition.negated]
    return text.format_map({"value": value, "header": condition.header, "number": condition.number})


def describe_conditions(conditions: Sequence[Condition]) -> str:
    """Return all conditions of a rule in words."""
    return " and ".join(map(describe_condition, conditions)) or "always"


def describe_action(action: Action) -> str:
    """Return an action in words."""
    told = {"addresses": ", ".join(action.addresses), "header": action.header, "value": f"“{action.value}”"}
    return _DONE[action.do].format_map(told)
