"""How rspamd answers: the JSON of its HTTP form, new and old, and the text form. Pure; `wire.rspamd` frames it.

Called by `service.rspamd_door`. Forms as rspamd 3.4 gives them; fields that nobody could fill here are left out.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec


class Action(enum.StrEnum):
    """What rspamd tells its clients to do."""

    NONE = "no action"
    GREYLIST = "greylist"
    ADD_HEADER = "add header"
    REWRITE_SUBJECT = "rewrite subject"
    SOFT_REJECT = "soft reject"
    REJECT = "reject"


class Symbol(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sign that counted."""

    name: str
    score: float
    metric_score: float
    description: str = ""
    options: tuple[str, ...] = ()


class NewField(msgspec.Struct, frozen=True, omit_defaults=True):
    """A header field to be added."""

    value: str
    order: int | msgspec.UnsetType = msgspec.UNSET
    """Where it stands then, from 0; unset: behind all others."""


class Changes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be done with header and envelope."""

    add_headers: Mapping[str, NewField | list[NewField]] = {}
    remove_headers: Mapping[str, int | list[int]] = {}
    """Which fields of that name, from 1; 0: all."""
    add_rcpt: tuple[str, ...] = ()
    del_rcpt: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True, kw_only=True, rename={"message_id": "message-id"}):
    """What is said of a mail."""

    is_skipped: bool = False
    score: float = 0.0
    required_score: float = 15.0
    action: Action = Action.NONE
    symbols: Mapping[str, Symbol] = {}
    messages: Mapping[str, str] = {}
    subject: str | msgspec.UnsetType = msgspec.UNSET
    milter: Changes | msgspec.UnsetType = msgspec.UNSET
    urls: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    message_id: str = "undef"
    time_real: float = 0.0


class Counted(msgspec.Struct):
    """What a door has done, for `/stat`."""

    version: str
    uptime: int = 0
    read_only: bool = False
    scanned: int = 0
    learned: int = 0
    actions: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(Action, 0))
    spam_count: int = 0
    ham_count: int = 0
    connections: int = 0
    control_connections: int = 0


TEXT: Final = "text/plain"
JSON: Final = "application/json"
PONG: Final = b"pong\r\n"
SUCCESS: Final = b'{"success":true}'

_encoder: Final = msgspec.json.Encoder()


def build_result(result: Result) -> bytes:
    """Return the body of an answer to `/checkv2`."""
    return _encoder.encode(result)


def build_old_result(result: Result) -> bytes:
    """Return the body of an answer to `/check` and `/symbols`."""
    metric = {
        "is_spam": result.score >= result.required_score,
        "is_skipped": result.is_skipped,
        "score": result.score,
        "required_score": result.required_score,
        "action": result.action,
        **result.symbols,
    }
    other = {"messages": result.messages, "message-id": result.message_id, "time_real": result.time_real}
    return _encoder.encode({"default": metric, **other})


def build_statistics(counted: Counted) -> bytes:
    """Return the body of an answer to `/stat`."""
    return _encoder.encode(counted)


def build_error(text: str) -> bytes:
    """Return the body of an answer that says why not."""
    return _encoder.encode({"error": text, "error_domain": "protocol-error"})


def build_text_result(result: Result) -> bytes:
    """Return the answer in text form, as Exim's variant `rspamd` reads it."""
    spam = "True" if result.score >= result.required_score else "False"
    lines = [
        "RSPAMD/1.3 0 EX_OK",
        f"Metric: default; {spam}; {result.score:.2f} / {result.required_score:.2f} / 0.0",
        f"Action: {result.action.value}",
        *(f"Symbol: {symbol.name}({symbol.score:.2f})" for symbol in result.symbols.values()),
        f"Message-ID: {result.message_id}",
    ]
    return _lines(lines)


def build_spamc_result(result: Result) -> bytes:
    """Return the answer to a client that speaks as spamc does."""
    spam = "True" if result.score >= result.required_score else "False"
    names = ",".join(symbol.name for symbol in result.symbols.values()).encode("ascii", "replace")
    head = (
        "SPAMD/1.1 0 EX_OK",
        f"Content-length: {len(names) + 2}",
        f"Spam: {spam} ; {result.score:.2f} / {result.required_score:.2f}",
        "",
    )
    return _lines(head) + names + b"\r\n"


def _lines(lines: Sequence[str]) -> bytes:
    return "\r\n".join((*lines, "")).encode("utf-8", "replace")
