"""Sample values for every macro, and the mails that a template makes of them, to look at before it is used.

Called by `gatepost template preview` and by the editor of texts (`master.own_texts`). The sample is fixed, so that
previews can be compared.
"""

import re
from typing import Final

import msgspec

from gatepost.model.envelope import Client, Envelope, Recipient
from gatepost.model.finding import ObjectStatus
from gatepost.model.verdict import ObjectAction
from gatepost.notices.dsn import Original, build_report
from gatepost.notices.facts import MessageFacts, ObjectFacts, build_values
from gatepost.notices.group import GroupTexts, Role
from gatepost.notices.notification import SUBJECT, SUBJECT_LIMIT, Letter, build_notice
from gatepost.notices.outcome import ReportKind, parse_outcome
from gatepost.notices.own_texts import DELIVERY_REPORT, TextKind
from gatepost.notices.problem_mail import ProblemMail, build_problem_mail
from gatepost.notices.template import Item, Template, Values
from gatepost.notices.text import clean_text

SAMPLE_MOMENT: Final = 1_767_268_800.0
"""When the sample message came."""
MESSAGE_ID: Final = "<notice@gw.example.org>"
_DIGEST_ITEM: Final = {
    "DIGEST_SENDER": "sender@example.net",
    "DIGEST_SUBJECT": "Prices",
    "DIGEST_TIME": "01/01/26 12:00:00",
    "DIGEST_RATE": "95",
    "DIGEST_RELEASE": "https://spam.example.org/l/release",
    "DIGEST_ALLOW": "https://spam.example.org/l/allow",
    "DIGEST_BLOCK": "https://spam.example.org/l/block",
}
FACTS: Final = MessageFacts(
    hostname="gw.example.org",
    now=SAMPLE_MOMENT,
    queue_id="0123456789ABC",
    source_id="0123456789ABB",
    message_id="<sample@example.net>",
    subject="Prices",
    size=12345,
    client_ip="192.0.2.1",
    helo="mail.example.net",
    sender="sender@example.net",
    recipients=("first@example.org", "second@example.org"),
    group="policy",
    admin="postmaster@example.org",
    bases_date="2026-01-01",
    statuses=(ObjectStatus.INFECTED, ObjectStatus.PROTECTED),
    action="delivered",
    broken=("smime",),
)
OBJECTS: Final = (
    ObjectFacts(
        name="prices.exe",
        content_type="application/octet-stream",
        status=ObjectStatus.INFECTED,
        action=ObjectAction.PLACEHOLDER,
        threats=("EICAR-Test-File",),
    ),
    ObjectFacts(
        name="locked.zip",
        content_type="application/zip",
        status=ObjectStatus.PROTECTED,
        action=ObjectAction.REMOVE,
    ),
)
_FOLD: Final = re.compile("\r\n[ \t]+")


class Sample(msgspec.Struct, frozen=True):
    """What a template makes of the sample."""

    fields: tuple[tuple[str, str], ...]
    """Header of the mail; () for what is no mail of its own."""
    text: str
    html: str = ""


def build_sample(kind: TextKind, template: Template) -> Sample:
    """Return the mail that a template makes of the sample, as who gets it sees it."""
    values = sample_values(blocked=False)
    text = template.render(values)
    raw = _write(kind, template, text)
    subject = clean_text(template.definition(SUBJECT, values), SUBJECT_LIMIT) if kind is not DELIVERY_REPORT else ""
    fields = tuple((name, subject or value if name == "Subject" else value) for name, value in _read_header(raw))
    return Sample(fields, "", text) if kind.html else Sample(fields, text)


def _write(kind: TextKind, template: Template, text: str) -> bytes:
    if kind is DELIVERY_REPORT:
        rcpt = Recipient("first@example.org")
        return build_report(
            ReportKind.FAILED,
            Original(
                queue_id=FACTS.queue_id,
                envelope=Envelope(FACTS.sender, (rcpt,), Client(FACTS.client_ip)),
                content=b"Subject: Prices\r\n\r\n",
                received_at=SAMPLE_MOMENT,
            ),
            (parse_outcome(rcpt, "550 5.1.1 no such user", server="mx.example.org", at=SAMPLE_MOMENT),),
            template=template,
            hostname=FACTS.hostname,
            message_id=MESSAGE_ID,
            now=SAMPLE_MOMENT,
        )
    word, _, role = kind.name.partition("-")
    if word == "notify":
        role = Role.ADMIN if role == "summary" else role  # whoever gets single ones gets their sum
        to = {Role.ADMIN: FACTS.admin, Role.SENDER: FACTS.sender, Role.RECIPIENT: FACTS.recipients[0]}[Role(role)]
        letter = Letter(role=Role(role), to=(to,), hostname=FACTS.hostname, message_id=MESSAGE_ID, now=SAMPLE_MOMENT)
        return build_notice(letter, GroupTexts(templates={letter.role: template}), FACTS, OBJECTS, b"")
    if word == "digest" and not kind.html:
        subject = template.definition(SUBJECT, sample_values(blocked=False))
        mail = ProblemMail(FACTS.recipients[:1], FACTS.admin, subject, text, role=Role.RECIPIENT)
        return build_problem_mail(mail, MESSAGE_ID, SAMPLE_MOMENT)
    return b""


def _read_header(raw: bytes) -> list[tuple[str, str]]:
    header = _FOLD.sub(" ", raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace"))
    pairs = [line.partition(":") for line in header.split("\r\n") if line]
    return [(name, value.strip()) for name, _, value in pairs]


def sample_values(*, blocked: bool) -> dict[str, Values]:
    """Return a value for every macro: of a message with an infected and a locked attachment."""
    facts = msgspec.structs.replace(FACTS, action="blocked") if blocked else FACTS
    counted = {"SUM_COUNT": "12"}
    return build_values(facts, OBJECTS) | {
        "AS_STATUS": "spam",
        "AS_METHOD": "content",
        "AS_RATE": "95",
        "DSN_ACTION": "failed",
        "DSN_UNTIL": "Fri, 02 Jan 2026 12:00:00 +0000",
        "DSN_RCPT": (Item("first@example.org", {"DSN_STATUS": "5.1.1", "DSN_DIAG": "550 5.1.1 no such user"}),),
        "DIGEST_ITEM": (Item("1", _DIGEST_ITEM),),
        "DIGEST_COUNT": "12",
        "DIGEST_MORE": "11",
        "DIGEST_PAGE": "https://spam.example.org/l/page",
        "DIGEST_UNTIL": "15/01/26 12:00:00",
        "DIGEST_ASKED": "no",
        "SUM_MESSAGES": "12",
        "SUM_BLOCKED": "12",
        "SUM_FIRST": "Thu, 01 Jan 2026 12:00:00 +0000",
        "SUM_LAST": "Thu, 01 Jan 2026 12:59:00 +0000",
        "SUM_THREAT": (Item("EICAR-Test-File", counted),),
        "SUM_SENDER": (Item("<sender@example.net>", counted),),
    }
