"""What the texts can say: facts of a message and its objects as template values, and the set of macros.

Called by whoever renders a template. `KNOWN_MACROS` is the documented set; the checker warns of any other name, and
the manual's table is compared with it.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

import gatepost
from gatepost.model.finding import SEVERITY, Analysis, ObjectStatus
from gatepost.model.verdict import ObjectAction, SpamVerdict, Verdict
from gatepost.notices.template import Item, Values

PRODUCT: Final = "Gatepost"

KNOWN_MACROS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PRODUCT": "name of the product",
        "VERSION": "its version",
        "HOSTNAME": "host name of the gateway",
        "DATE": "date of the text, as DateFormat says",
        "TIME": "time of the text, as TimeFormat says",
        "BASES_DATE": "date of the databases used",
        "MSG_ID": "Message-ID field of the message",
        "QUEUE_ID": "queue id of the message or copy",
        "SRC_ID": "queue id of the message the copy was made from",
        "SUBJECT": "subject of the message",
        "SIZE": "size of the message in bytes",
        "CLIENT_IP": "address of the client that handed the message over",
        "HELO": "name that client gave",
        "SENDER": "envelope sender, empty for the null sender",
        "RECIPIENT": "envelope recipients of the group (several)",
        "GROUP": "name of the group",
        "ADMIN": "administrator's address of the group",
        "STATUS": "statuses that occurred, worst first (several)",
        "MSG_ACTION": "what happens to the message: delivered or blocked",
        "OBJECT": "objects that are not clean (several), each with the macros below",
        "OBJECT_NAME": "file name of the object",
        "OBJECT_TYPE": "declared type of the object",
        "OBJECT_STATUS": "status of the object",
        "OBJECT_ACTION": "what was done to the object",
        "VIRUS": "names of what was found in the object (several)",
        "SIGNATURE": "signatures that no longer hold after what was done: dkim, smime, pgp (several)",
        "SUM_MESSAGES": "number of messages that a summary tells of",
        "SUM_BLOCKED": "how many of them were blocked",
        "SUM_FIRST": "moment of the first of them",
        "SUM_LAST": "moment of the last",
        "SUM_THREAT": "what was found in them (several), each with SUM_COUNT",
        "SUM_SENDER": "their senders (several), each with SUM_COUNT",
        "SUM_COUNT": "number of messages with this SUM_THREAT or SUM_SENDER",
        "DIGEST_ITEM": "messages a digest tells of (several), each with the macros below",
        "DIGEST_SENDER": "its envelope sender",
        "DIGEST_SUBJECT": "its subject",
        "DIGEST_TIME": "when it came",
        "DIGEST_RATE": "its spam rate",
        "DIGEST_RELEASE": "link that releases it",
        "DIGEST_ALLOW": "link that lets its sender through from now on",
        "DIGEST_BLOCK": "link that keeps its sender away from now on",
        "DIGEST_COUNT": "number of new messages that are kept",
        "DIGEST_MORE": "how many of them the digest leaves out, nothing when none",
        "DIGEST_PAGE": "link to the page of all that is kept",
        "DIGEST_UNTIL": "until when the links count",
        "DIGEST_ASKED": "yes when the recipient asked for a link, and the digest tells of no messages",
        "AS_STATUS": "spam status",
        "AS_METHOD": "methods that decided on it (several)",
        "AS_RATE": "spam rate",
        "DSN_ACTION": "kind of the report: failed, delayed or relayed",
        "DSN_RCPT": "recipients the report is about (several), each with the macros below",
        "DSN_STATUS": "status code of the recipient, for example 5.1.1",
        "DSN_DIAG": "what the other server said, or what went wrong",
        "DSN_UNTIL": "until when delivery is tried (reports of a delay)",
    }
)

UNNAMED_OBJECT: Final = "(without a name)"


class MessageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one message. Text is as received: rendering cleans it. "" = unknown, the macro is empty."""

    hostname: str
    now: float
    """Unix time of the text."""
    date_format: str = "%d/%m/%y"
    time_format: str = "%H:%M:%S"
    queue_id: str = ""
    source_id: str = ""
    message_id: str = ""
    subject: str = ""
    size: int = 0
    client_ip: str = ""
    helo: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    group: str = ""
    admin: str = ""
    bases_date: str = ""
    statuses: tuple[ObjectStatus, ...] = ()
    spam: SpamVerdict | None = None
    action: str = ""
    broken: tuple[str, ...] = ()
    """Signatures that no longer hold after the edits."""


class ObjectFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One object that is not clean, as a text names it."""

    name: str
    content_type: str
    status: ObjectStatus
    action: ObjectAction
    threats: tuple[str, ...] = ()
    """Names of what was found in it and in what it holds, without repeats."""


THREATS_LIMIT: Final = 20
"""Threat names told of one object: an archive of 10,000 infected members need not list them all."""


def gather_object_facts(analysis: Analysis, verdict: Verdict) -> tuple[ObjectFacts, ...]:
    """Return the facts of every decision of a verdict, in its order (one to one with `verdict.decisions`)."""
    threats: list[dict[str, None]] = [{} for _ in analysis.objects]
    for index in range(len(analysis.objects) - 1, -1, -1):  # members come after what holds them
        report = analysis.objects[index]
        own = {report.threat: None} if report.threat else {}
        threats[index] = dict(list((own | threats[index]).items())[:THREATS_LIMIT])
        if 0 <= report.parent < index and len(threats[report.parent]) < THREATS_LIMIT:
            threats[report.parent] = threats[index] | threats[report.parent]
    return tuple(
        ObjectFacts(
            name=decision.name,
            content_type=analysis.objects[decision.index].content_type if decision.index >= 0 else "",
            status=decision.status,
            action=decision.action,
            threats=tuple(threats[decision.index]) if decision.index >= 0 else tuple(filter(None, (decision.threat,))),
        )
        for decision in verdict.decisions
    )


def build_values(facts: MessageFacts, objects: tuple[ObjectFacts, ...] = ()) -> dict[str, Values]:
    """Return the template values of a message; macros whose fact is unknown are left out, and so stand for nothing."""
    moment = dt.datetime.fromtimestamp(facts.now, dt.UTC).astimezone()
    single = {
        "PRODUCT": PRODUCT,
        "VERSION": gatepost.__version__,
        "HOSTNAME": facts.hostname,
        "DATE": moment.strftime(facts.date_format),
        "TIME": moment.strftime(facts.time_format),
        "BASES_DATE": facts.bases_date,
        "MSG_ID": facts.message_id,
        "QUEUE_ID": facts.queue_id,
        "SRC_ID": facts.source_id,
        "SUBJECT": facts.subject,
        "SIZE": str(facts.size),
        "CLIENT_IP": facts.client_ip,
        "HELO": facts.helo,
        "SENDER": facts.sender,
        "GROUP": facts.group,
        "ADMIN": facts.admin,
        "MSG_ACTION": facts.action,
    }
    values: dict[str, Values] = {name: text for name, text in single.items() if text}
    spam = facts.spam
    if spam is not None and spam.checked:
        values |= {"AS_STATUS": spam.status.value, "AS_RATE": str(spam.rate)}
        values["AS_METHOD"] = tuple(method.value for method in spam.methods)
    values["RECIPIENT"] = facts.recipients
    values["SIGNATURE"] = facts.broken
    values["STATUS"] = tuple(status.value for status in SEVERITY if status in facts.statuses)
    values["OBJECT"] = tuple(_object_items(objects))
    return values


_DONE: Final = {
    ObjectAction.PASS: "passed",
    ObjectAction.CURE: "cured",
    ObjectAction.REMOVE: "removed",
    ObjectAction.PLACEHOLDER: "replaced",
}


def _object_items(objects: tuple[ObjectFacts, ...]) -> Iterator[Item]:
    for facts in objects:
        name = facts.name or UNNAMED_OBJECT
        yield Item(
            name,
            {
                "OBJECT_NAME": name,
                "OBJECT_TYPE": facts.content_type,
                "OBJECT_STATUS": facts.status.value,
                "OBJECT_ACTION": _DONE[facts.action],
                "VIRUS": facts.threats,
            },
        )
