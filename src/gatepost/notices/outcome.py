"""What became of a recipient, and how RFC 3464 says it: the machine-readable part of a delivery status report.

Called by `gatepost.notices.dsn`. All text of peers and senders is cleaned and bounded here: no value can end its field.
"""

import datetime as dt
import email.utils
import enum
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from gatepost.model.envelope import Recipient
from gatepost.model.reply import Reply
from gatepost.notices.text import ascii_text, clean_text
from gatepost.smtp.parameters import decode_xtext

DIAGNOSTIC_LIMIT: Final = 1000
"""Characters told of a peer's reply: a reply has at most some lines of 512 (RFC 5321 §4.5.3.1.5)."""
ADDRESS_LIMIT: Final = 900
"""Characters of an address: RFC 5321 §4.5.3.1.3 knows 256, the line it stands in may have 998."""
FOLD_AT: Final = 76
LINE_LIMIT: Final = 998
"""Characters of a line without its CRLF (RFC 5322 §2.1.1)."""


class ReportKind(enum.StrEnum):
    """What is reported; the value is the Action field (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    """Given up: a permanent error, or the lifetime is over."""
    DELAYED = "delayed"
    """Not delivered yet, tried again."""
    RELAYED = "relayed"
    """Handed to a peer that will not report."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one recipient."""

    recipient: Recipient
    reply: Reply | None = None
    """Last reply of a peer, None when none spoke."""
    trouble: str = ""
    """In our own words what went wrong, where no reply tells it."""
    status: str = ""
    """Status code (RFC 3463) that goes with `trouble`, "" = the general one of the kind."""
    server: str = ""
    """Peer that spoke or was tried: its name, or its address in brackets."""
    at: float = 0.0
    """Unix time of the last attempt, 0 when there was none."""


_REPLY = re.compile(r"([2-5]\d\d)(?:[ -](?:([245]\.\d{1,3}\.\d{1,3})(?: |\Z))?(.*))?", re.DOTALL)


def parse_outcome(recipient: Recipient, text: str, *, server: str = "", at: float = 0.0) -> Outcome:
    """Return the outcome behind the text the spool keeps (`Pending.reply`): `450 4.2.0 busy`, or words of ours."""
    found = _REPLY.fullmatch(text)
    if found is None:
        return Outcome(recipient=recipient, trouble=text, server=server, at=at)
    code, enhanced, said = found.groups()
    reply = Reply(int(code), enhanced or "", (said or "",))
    return Outcome(recipient=recipient, reply=reply, server=server, at=at)


RELAYED_STATUS: Final = "2.1.9"
"""Relayed to a system that does not speak this protocol (RFC 3463 §3.2)."""
_GENERAL: Final = {ReportKind.FAILED: "5.0.0", ReportKind.DELAYED: "4.0.0", ReportKind.RELAYED: RELAYED_STATUS}
_BY_CODE: Final = {
    421: "4.3.2",
    450: "4.2.0",
    451: "4.3.0",
    452: "4.3.1",
    500: "5.5.2",
    501: "5.5.4",
    502: "5.5.1",
    503: "5.5.1",
    551: "5.1.6",
    552: "5.2.2",
    553: "5.1.3",
}
"""Codes that mean one thing; the others (550, 554) say only that it is over, and get the general x.0.0."""


def resolve_status(kind: ReportKind, outcome: Outcome) -> str:
    """Return the Status field (RFC 3464 §2.3.4): the peer's enhanced code, or what its reply code stands for.

    A reply of another class than its enhanced code wins over it. Mail given up after temporary errors keeps the code
    of the last one, as RFC 3463 §3.5 (x.4.7) asks for.
    """
    if kind is ReportKind.RELAYED:
        return RELAYED_STATUS
    if outcome.reply is None or outcome.reply.code < 400:
        return outcome.status or _GENERAL[kind]
    reply = outcome.reply
    if reply.enhanced:
        return f"{reply.code // 100}{reply.enhanced[1:]}"
    return _BY_CODE.get(reply.code, f"{reply.code // 100}.0.0")


def describe_outcome(outcome: Outcome) -> str:
    """Return in one line what a peer said, or what went wrong: for people, and for the Diagnostic-Code field."""
    reply = outcome.reply
    if reply is None:
        return outcome.trouble
    return " ".join(piece for piece in (str(reply.code), reply.enhanced, reply.text) if piece)


def format_date(at: float) -> str:
    """Return a Unix time as RFC 5322 §3.3 writes it."""
    return email.utils.format_datetime(dt.datetime.fromtimestamp(at, dt.UTC))


def build_field(name: str, value: str) -> str:
    """Return a header field with its CRLF, folded at spaces; `value` is cleaned ASCII.

    A word longer than a line may be is cut to it: nothing of ours needs such a word.
    """
    line, lines = f"{name}:", []
    for word in value.split():
        if len(line) + 1 + len(word) > FOLD_AT and line.strip():
            lines.append(line)
            line = ""
        line += " " + word[: LINE_LIMIT - len(line) - 1]
    return "\r\n".join([*lines, line]) + "\r\n"


def build_message_fields(
    hostname: str, *, queue_id: str, envid: str, arrived_at: float, kind_fields: Iterable[str] = ()
) -> str:
    """Return the per-message fields (RFC 3464 §2.2) without the empty line after them."""
    fields = []
    if envid:
        fields.append(build_field("Original-Envelope-Id", ascii_text(decode_xtext(envid), ADDRESS_LIMIT)))
    fields.append(build_field("Reporting-MTA", f"dns; {hostname}"))
    fields.append(build_field("X-Gatepost-Queue-ID", queue_id))
    fields.append(build_field("Arrival-Date", format_date(arrived_at)))
    return "".join([*fields, *kind_fields])


def build_recipient_fields(kind: ReportKind, outcome: Outcome, *, until: float = 0.0, utf8: bool = False) -> str:
    """Return the fields of one recipient (RFC 3464 §2.3); `until` is the end of its life, told when delayed.

    `utf8`: addresses stand there as they are (RFC 6533 §4); the rest is ASCII all the same.
    """
    return "".join(_recipient_fields(kind, outcome, until, clean_text if utf8 else ascii_text))


def _recipient_fields(
    kind: ReportKind, outcome: Outcome, until: float, show: Callable[[str, int], str]
) -> Iterator[str]:
    recipient = outcome.recipient
    if recipient.orcpt:
        address_type, _, address = recipient.orcpt.partition(";")
        if _ATOM.fullmatch(address_type) and address:
            original = show(decode_xtext(address), ADDRESS_LIMIT)
            yield build_field("Original-Recipient", f"{address_type}; {original}")
    # RFC 6533 §3: an address beyond ASCII has type utf-8, and outside UTF-8 headers its characters as \x{HEX}.
    final_type = "rfc822" if recipient.address.isascii() else "utf-8"
    yield build_field("Final-Recipient", f"{final_type}; {show(recipient.address, ADDRESS_LIMIT)}")
    yield build_field("Action", kind.value)
    yield build_field("Status", resolve_status(kind, outcome))
    if outcome.server:
        yield build_field("Remote-MTA", f"dns; {ascii_text(outcome.server, ADDRESS_LIMIT)}")
    said = describe_outcome(outcome)
    if said:
        diagnostic_type = "X-Gatepost" if outcome.reply is None else "smtp"
        yield build_field("Diagnostic-Code", f"{diagnostic_type}; {ascii_text(said, DIAGNOSTIC_LIMIT)}")
    if outcome.at:
        yield build_field("Last-Attempt-Date", format_date(outcome.at))
    if kind is ReportKind.DELAYED and until:
        yield build_field("Will-Retry-Until", format_date(until))


_ATOM = re.compile(r"[A-Za-z0-9-]{1,40}")
