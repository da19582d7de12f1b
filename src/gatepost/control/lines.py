"""Log lines: the documented form of process and message events (specification management.md §7). Pure.

Line: `[<date> <time> <letter>] <envelope-id>: MESSAGE` for message events, `[<date> <time> <letter>]: MESSAGE`
otherwise. Levels are cumulative: F always, E 1, W 2, I 3, A 4 (default), D 9.

Text from outside is cleaned here, in one place: control characters and line ends become `?`, length is cut.
"""

import re
import time
from collections.abc import Callable

from gatepost.model.ids import format_queue_id
from gatepost.model.record import (
    Answered,
    Blocked,
    Bypassed,
    Deferred,
    Delivered,
    Discarded,
    Generated,
    Held,
    Inspected,
    Notified,
    Operated,
    Received,
    Record,
    Refused,
    Removed,
    Ruled,
    Saved,
    Scanned,
    Shadowed,
    SpamChecked,
    Split,
)

LEVEL_OF = {"F": 0, "E": 1, "W": 2, "I": 3, "A": 4, "D": 9}
"""Log level at which a letter appears."""

TEXT_LIMIT = 512
"""Characters of one foreign value in a line: longer than any honest address or file name."""

EVENT_LIMIT = 4096
"""Characters of a process event: longer than any of ours, some of which quote several foreign values."""

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Also what turns the direction of writing: a name could stand in a terminal as another."""
_UNPRINTABLE = re.compile(f'[{_CONTROLS}"]')
_UNPRINTABLE_EVENT = re.compile(f"[{_CONTROLS}]")


def clean(text: str) -> str:
    """Return foreign text fit for one quoted or bracketed field of a line."""
    if text.isascii() and text.isprintable() and '"' not in text and len(text) <= TEXT_LIMIT:
        return text
    cut = text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
    return _UNPRINTABLE.sub("?", cut)


class Formatter:
    """Renders lines with the configured date and time formats (specification configuration.md §3)."""

    def __init__(self, date_format: str, time_format: str) -> None:
        self._format = f"{date_format} {time_format}"
        self._second = -1
        self._stamp = ""

    def event(self, at: float, letter: str, text: str) -> str:
        """Return the line of a process event; what it says of a message, a filter or a peer may be foreign text."""
        return f"[{self._at(at)} {letter}]: {_UNPRINTABLE_EVENT.sub('?', text[:EVENT_LIMIT])}\n"

    def record(self, record: Record, shard: int) -> tuple[str, str]:
        """Return the letter and the line of a record of a relay's shard."""
        letter, render = _RENDER[type(record)]
        message = render(record)
        if isinstance(record, Refused):
            # It has no queue id: without the relay two relays' lines of a second could be the same.
            return letter, f"[{self._at(record.at)} {letter}]: {message}, relay={shard}\n"
        return letter, f"[{self._at(record.at)} {letter}] {format_queue_id(record.id)}: {message}\n"

    def _at(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second = second
            # %P (lower-case am/pm) is documented but not in every C library.
            local = time.localtime(second)
            form = self._format.replace("%P", "am" if local.tm_hour < 12 else "pm")
            self._stamp = time.strftime(form, local)
        return self._stamp


def _received(r: Received) -> str:
    return (
        f"RECEIVED, from=<{clean(r.sender)}>, nrcpt={r.recipients}, size={r.size}, client=[{r.ip}], "
        f"helo=<{clean(r.helo)}>, message_id={_angled(clean(r.message_id))}, flags={r.flags}"
        + (f", tls={r.tls.replace(' ', '/')}" if r.tls else "")
        + (f", user=<{clean(r.user)}>" if r.user else "")
        + (f", door=<{clean(r.listener)}>, reference={clean(r.reference) or '-'}, asker=[{r.asker}]" if r.door else "")
    )


def _ruled(r: Ruled) -> str:
    return (
        f'RULES, group="{clean(r.group)}", nrcpt={r.recipients}, rules="{clean("; ".join(r.rules))}"'
        + (f", to={_angled(clean(', '.join(r.to)))}" if r.to else "")
        + "".join(f', log="{clean(each)}"' for each in r.log)
    )


def _answered(r: Answered) -> str:
    asked = "purpose=ask, " if r.purpose == "ask" else ""
    return (
        f"ANSWERED, {asked}deed={r.deed}, nrcpt={r.recipients}, rejected={r.rejected}, discarded={r.discarded}, "
        f"took={r.elapsed_ms:.2f}ms"
        + (f', info="{clean(r.info)}"' if r.info else "")
        + (f', reply="{clean(r.reply)}"' if r.reply else "")
        + (f', reason="{clean(r.reason)}"' if r.reason else "")
    )


def _angled(text: str) -> str:
    return text if text.startswith("<") and text.endswith(">") else f"<{text}>"


def _inspected(r: Inspected) -> str:
    stages = ",".join(f"{name}:{ms:.2f}" for name, ms in r.stages)
    return (
        f'INSPECTED, objects={r.objects}, waited={r.waited_ms:.1f}ms, took={r.elapsed_ms:.2f}ms, stages="{stages}", '
        f'subject="{clean(r.subject)}"'
    )


def _scanned(r: Scanned) -> str:
    names = clean(", ".join(r.names))
    return (
        f'SCANNED, group=<{clean(r.group)}>, nrcpt={r.recipients}, status="{",".join(r.statuses)}", '
        f'srcid={format_queue_id(r.source)}, names="{names}"' + (f", breaks={','.join(r.breaks)}" if r.breaks else "")
    )


def _spam_checked(r: SpamChecked) -> str:
    return (
        f'SPAMCHECK, group=<{clean(r.group)}>, nrcpt={r.recipients}, status="{r.status}", '
        f'method="{",".join(r.methods) or "none"}", rate={r.rate}, srcid={format_queue_id(r.source)}'
        + (", obscene=yes" if r.obscene else "")
        + (f', signs="{clean(",".join(r.signs))}"' if r.signs else "")
    )


def _split(r: Split) -> str:
    return f"SPLITTED, domain=<{clean(r.domain)}>, nrcpt={r.recipients}, srcid={format_queue_id(r.source)}"


def _delivered(r: Delivered) -> str:
    line = (
        f"DELIVERED, rcpt=<{clean(r.recipient)}>, server={clean(r.server)}, size={r.size}, "
        f"status={'sent' if r.sent else 'failed'}"
    )
    return line if r.sent else f'{line}, reply="{clean(r.reply)}"'


def _deferred(r: Deferred) -> str:
    wait = max(0, round(r.due - r.at))
    return (
        f'DEFERRED, rcpt=<{clean(r.recipient)}>, server={clean(r.server)}, retry_in={wait}s, reply="{clean(r.reply)}"'
    )


def _blocked(r: Blocked) -> str:
    rcpt = ",".join(f"<{clean(address)}>" for address in r.recipients[:20])
    return f'BLOCKED, rcpt={rcpt}, size={r.size}, reason="{clean(r.reason)}"'


def _discarded(r: Discarded) -> str:
    rcpt = ",".join(f"<{clean(address)}>" for address in r.recipients[:20])
    return f'DISCARDED, rcpt={rcpt}, size={r.size}, reason="{clean(r.reason)}"'


def _generated(r: Generated) -> str:
    return f"GENERATED, kind={r.kind}, rcpt=<{clean(r.recipient)}>, size={r.size}, srcid={format_queue_id(r.source)}"


def _notified(r: Notified) -> str:
    line = f"NOTIFY, notify={r.role}, nrcpt={r.recipients}, size={r.size}, srcid={format_queue_id(r.source)}"
    return line if r.summed == 1 else f"{line}, messages={r.summed}"


def _saved(r: Saved) -> str:
    return f'SAVED, store={r.store}, item={clean(r.item)}, status="{",".join(r.statuses)}"'


def _held(r: Held) -> str:
    return f'HELD, reason="{clean(r.reason)}"'


def _operated(r: Operated) -> str:
    return f'OPERATED, act={r.act}, detail="{clean(r.detail)}"'


def _removed(r: Removed) -> str:
    return f'REMOVED, reason="{clean(r.reason)}"'


def _refused(r: Refused) -> str:
    return (
        f"REFUSED, stage={r.stage}, cause={r.cause}, client=[{r.ip}], code={r.code}, from=<{clean(r.sender)}>, "
        f"rcpt=<{clean(r.recipient)}>"
    )


def _bypassed(r: Bypassed) -> str:
    return (
        f"BYPASSED, group=<{clean(r.group)}>, nrcpt={r.recipients}, srcid={format_queue_id(r.source)}, "
        f'reason="{clean(r.reason)}"'
    )


def _shadowed(r: Shadowed) -> str:
    return (
        f"SHADOWED, shadow={clean(r.shadow)}, group=<{clean(r.group)}>, nrcpt={r.recipients}, "
        f'changed={"yes" if r.changed else "no"}, was="{clean(r.was)}", would="{clean(r.would)}"'
    )


_RENDER: dict[type, tuple[str, Callable[..., str]]] = {
    Received: ("A", _received),
    Inspected: ("D", _inspected),
    Scanned: ("A", _scanned),
    SpamChecked: ("A", _spam_checked),
    Split: ("A", _split),
    Delivered: ("A", _delivered),
    Deferred: ("A", _deferred),
    Blocked: ("A", _blocked),
    Discarded: ("A", _discarded),
    Generated: ("A", _generated),
    Notified: ("A", _notified),
    Saved: ("A", _saved),
    Answered: ("A", _answered),
    Ruled: ("A", _ruled),
    Refused: ("A", _refused),
    Held: ("E", _held),
    Operated: ("A", _operated),
    Removed: ("A", _removed),
    Bypassed: ("W", _bypassed),
    Shadowed: ("D", _shadowed),
}
_LEVELS = {kind: LEVEL_OF[letter] for kind, (letter, _) in _RENDER.items()}


def level_of(record: Record) -> int:
    """Return the level from which on a record has a line."""
    return _LEVELS[type(record)]
