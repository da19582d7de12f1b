"""How `gatepost trace` shows what it was told: a table of mails, and the life of one as a time line. Pure, but for time
zones: moments are shown as the machine's clock does. All text from mail is foreign and made printable here.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from gatepost.model.foreign_text import printable

Told = dict[str, Any]
"""A record or a summary as `recorder.telling` makes it."""

HEADINGS: Final = ("time", "queue id", "outcome", "from", "to", "subject")
SUBJECT_WIDTH: Final = 40
COLUMN_WIDTH: Final = 40
"""Of a table: a longer text makes its own line longer, not all of them."""
QUEUE_STATES: Final = {
    "WFC": "waits for inspection",
    "CHK": "in inspection",
    "QUE": "waits for delivery",
    "SND": "being delivered",
    "HLD": "held",
}
_NOT_INSPECTED: Final = ("WFC", "CHK")
TEXT_WIDTH: Final = 300
ADDRESSES_SHOWN: Final = 5

_WHAT: Final = {
    "dsn-failed": "report: not delivered",
    "dsn-delayed": "report: delayed",
    "notice-admin": "notice to administrators",
    "notice-sender": "notice to the sender",
    "notice-recipient": "notice to recipients",
}
"""What mails of our own are, which have no subject in the records."""


def show_time(moment: float) -> str:
    """Return a moment with its date."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def show_span(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 100 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def show_row(mail: Told) -> tuple[str, ...]:
    """Return a mail as a row of the table: time, queue id, outcome, sender, recipients, subject."""
    cells = (
        show_time(mail["at"]),
        mail["id"],
        _outcome(mail),
        _address(mail["sender"]),
        _addresses(mail["recipients"], mail["expected"]),
        _text(mail["subject"] or str(_WHAT.get(mail["what"], mail["what"])), SUBJECT_WIDTH),
    )
    return tuple(map(printable, cells))


def show_rows(mails: Sequence[Told]) -> Iterator[str]:
    """Yield a table of mails, one line each; nothing is cut but subjects: addresses are what is looked for."""
    rows = [HEADINGS, *map(show_row, mails)] if mails else []
    widths = [min(max(map(len, column)), COLUMN_WIDTH) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def show_waiting(waiting: Sequence[Told], now: float) -> Iterator[str]:
    """Yield where a mail is now: each recipient that waits in the queue, why, and until when."""
    return map(printable, _waits(waiting, now))


def _waits(waiting: Sequence[Told], now: float) -> Iterator[str]:
    for message in waiting:
        if message["state"] == "corrupt":
            yield f"now: {message['queue_id']} cannot be read: {_text(message['reason'])}"
            continue
        is_tried = message["state"] not in _NOT_INSPECTED and message["next_attempt"] is not None
        reason = message["held_reason"] or ("" if is_tried else message["reason"])
        yield f"now: in the queue as {message['queue_id']}, {QUEUE_STATES.get(message['state'], message['state'])}" + (
            f": {_text(reason)}" if reason else ""
        )
        for each in message["waiting"]:
            hop = f" by {_text(each['next_hop'])}" if each["next_hop"] else ""
            yield f"  {_address(each['address'])}{hop}, {each['attempts']} tries so far{_next_try(each, message, now)}"
            why = each["last_reply"] or each["destination_reason"]
            if why:
                yield f"    {_text(why)}"
        yield f"  what to do about it: gatepost queue retry|hold|release|reroute|remove {message['queue_id']}"


def _next_try(recipient: Told, message: Told, now: float) -> str:
    if recipient["paused"]:
        return f", paused; gatepost queue resume {printable(recipient['queue'])} ends that"
    due = recipient["next_attempt"] or message["next_attempt"]
    if due is None:  # held, or not inspected yet
        return ""
    return f", next try {show_time(due)}" if due > now else ", due now"


def _outcome(mail: Told) -> str:
    words = [mail["outcome"]]
    if mail["spam"] not in {"", "not_detected", "trusted"}:
        words.append(mail["spam"])
    words += [status for status in mail["statuses"] if status not in {"clean", "not_checked"}]
    return ", ".join(words)


def show_life(told: Told) -> Iterator[str]:
    """Yield the lines of a mail's life: what it is, what became of it, and each step with the time since it came."""
    return map(printable, _life(told))


def _life(told: Told) -> Iterator[str]:
    mail = told["mail"]
    yield f"{mail['id']}  {_outcome(mail)}"
    yield f"  from    {_address(mail['sender'])}"
    yield f"  to      {_addresses(mail['recipients'], mail['expected'])}"
    if mail["subject"]:
        yield f"  subject {_text(mail['subject'])}"
    client = " ".join(filter(None, (mail["ip"], mail["client"], f"helo {mail['helo']}" if mail["helo"] else "")))
    if client:
        yield f"  client  {_text(client)}"
    if mail["door"]:
        yield f"  asked   {_asked(mail)}"
    if mail["message_id"]:
        yield f"  id      {_text(mail['message_id'])}"
    yield ""
    begin = mail["at"]
    for record in told["records"]:
        since = record["at"] - begin
        stamp = f"{show_time(record['at'])}  {'+' if since >= 0 else '-'}{show_span(abs(since))}"
        first, *more = _STEPS.get(record["type"], _unknown)(record)
        copy = f" [{record['id']}]" if record.get("id", mail["id"]) != mail["id"] else ""
        yield f"{stamp:<32}{first}{copy}"
        yield from (f"{'':<34}{line}" for line in more)
    if told["cut"]:
        yield "… and more: --json shows how much there is"
    for other in told["related"]:
        yield f"related: {other['id']}  {_outcome(other)}  {other['what'] or other['kind'] or 'mail'}"


def _asked(mail: Told) -> str:
    """Return where a mail of another mail system was asked about, by whom, and what it is called there."""
    who = f"by {mail['asker']}" if mail["asker"] else "on this host"
    there = f", its queue id {_text(mail['reference'])}" if mail["reference"] else ""
    return f"at door {_text(mail['listener'])} ({mail['door']}) {who}{there}"


def _text(text: str, width: int = TEXT_WIDTH) -> str:
    shown = printable(text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def _address(address: str) -> str:
    return f"<{_text(address)}>"


def _addresses(addresses: list[str], count: int) -> str:
    shown = ", ".join(_address(address) for address in addresses[:ADDRESSES_SHOWN])
    rest = max(count, len(addresses)) - min(ADDRESSES_SHOWN, len(addresses))
    return f"{shown} and {rest} more" if rest > 0 else shown


def _received(r: Told) -> Iterator[str]:
    how = f"over {r['tls']}" if r["tls"] else "in clear"
    user = f", signed in as {_text(r['user'])}" if r["user"] else ""
    yield f"{'asked about' if r['door'] else 'received'}, {r['size']} bytes, {r['direction'] or 'mail'}, {how}{user}"
    if r["mended"]:
        yield "it was malformed, and mended on the way in"


def _inspected(r: Told) -> Iterator[str]:
    stages = ", ".join(f"{name} {ms:.0f} ms" for name, ms in r["stages"])
    yield f"inspected in {r['elapsed_ms']:.0f} ms after waiting {r['waited_ms']:.0f} ms" + (
        f" ({stages})" if stages else ""
    )
    for note in r["notable"]:
        named = _text(note["name"] or note["kind"]) or "an object"
        why = "; ".join(filter(None, (note["threat"], note["engine"], note["evidence"])))
        yield f"{named}: {note['status']}" + (f" ({_text(why)})" if why else "")
    if r["findings"]:
        yield f"odd: {_text(', '.join(r['findings']))}"
    for trouble in r["troubles"]:
        yield f"could not be told: {_text(trouble)}"


def _scanned(r: Told) -> Iterator[str]:
    names = f": {_text(', '.join(r['names']))}" if r["names"] else ""
    yield f"anti-virus for group {_text(r['group'])}: {', '.join(r['statuses'])}{names}"
    for engine in r["engines"]:
        trouble = f", {_text(engine['trouble'])}" if engine["trouble"] else ""
        yield f"engine {engine['name']}: {engine['status']} in {engine['elapsed_ms']:.1f} ms{trouble}"
    for name, status, action in r["actions"]:
        yield f"{_text(name) or 'an object'} ({status}): {action}"
    if r["breaks"]:
        yield f"no longer holds: {', '.join(r['breaks'])} signature"


def _spam_checked(r: Told) -> Iterator[str]:
    yield f"anti-spam for group {_text(r['group'])}: {r['status']}, rate {r['rate']}" + (
        f", {r['action']}" if r["action"] else ""
    )
    if r["reason"]:
        yield f"because {_text(r['reason'])}"
    for note in r["notes"]:
        evidence = f"  {_text(note['evidence'])}" if note["evidence"] else ""
        yield f"{note['weight']:+5.1f}  {note['method']}: {note['name']}{evidence}"


def _split(r: Told) -> Iterator[str]:
    yield f"copy for {_text(r['group'] or r['domain'])}, {r['recipients']} recipient(s)"


def _peer(r: Told) -> str:
    tls = f", {r['tls']}" if r["tls"] else ""
    return f"{_text(r['server'])}{tls}"


def _delivered(r: Told) -> Iterator[str]:
    outcome = "delivered to" if r["sent"] else "FAILED for good:"
    yield f"{outcome} {_address(r['recipient'])} by {_peer(r)}, {show_span(r['elapsed_s'])}"
    if r["reply"]:
        yield _text(r["reply"])


def _deferred(r: Told) -> Iterator[str]:
    yield f"deferred for {_address(r['recipient'])} by {_peer(r)}, next try {show_time(r['due'])}"
    if r["reply"]:
        yield _text(r["reply"])


def _ended(word: str) -> Callable[[Told], Iterator[str]]:
    def show(r: Told) -> Iterator[str]:
        yield f"{word} for {_addresses(list(r['recipients']), 0)}"
        if r["reason"]:
            yield f"because {_text(r['reason'])}"

    return show


def _held(r: Told) -> Iterator[str]:
    yield f"held: {_text(r['reason'])}"


def _generated(r: Told) -> Iterator[str]:
    yield f"report written ({r['kind']}) to {_address(r['recipient'])}"


def _notified(r: Told) -> Iterator[str]:
    yield f"notification written to {r['role']}, {r['recipients']} recipient(s)"


def _saved(r: Told) -> Iterator[str]:
    yield f"kept in {r['store']} as {_text(r['item'])}"
    command = _STORE_COMMANDS.get(r["store"])
    if command:
        yield f"gatepost {command} show|release|delete {_text(r['item'])}"


def _removed(r: Told) -> Iterator[str]:
    yield f"removed: {_text(r['reason'])}"


def _operated(r: Told) -> Iterator[str]:
    yield f"operator: {r['act']} {_text(r['detail'])}".rstrip()


def _refused(r: Told) -> Iterator[str]:
    yield f"refused at {r['stage']}: {r['cause']} ({r['code']})"
    if r["reply"]:
        yield _text(r["reply"])


def _bypassed(r: Told) -> Iterator[str]:
    yield f"NOT SCANNED for group {_text(r['group'])}: emergency bypass"
    yield _text(r["reason"])


def _ruled(r: Told) -> Iterator[str]:
    yield f"rules for group {_text(r['group'])}, {r['recipients']} recipient(s)"
    for each in r["rules"]:
        yield f"  {_text(each)}"
    for address in r["to"]:
        yield f"  to {_address(address)} besides" if r["gained"] > 0 else f"  to {_address(address)}"
    for each in r["log"]:
        yield f"  for the log: {_text(each)}"


def _answered(r: Told) -> Iterator[str]:
    if r["deed"] == "unjudged":
        what = "could not be told anything"
    elif r["purpose"] == "ask":
        what = "was told what it is"
    else:
        what = f"was told: {_text(r['deed'])}"
    yield f"who asked {what}, after {r['elapsed_ms']:.0f} ms"
    if r["rejected"] or r["discarded"]:
        yield f"  {r['recipients']} recipient(s) get it, {r['rejected']} refused, {r['discarded']} withheld"
    for address in r["without"]:
        yield f"  not to {_address(address)}"
    for name in ("info", "reply", "reason"):
        if r[name]:
            yield f"  {name}: {_text(r[name])}"


def _shadowed(r: Told) -> Iterator[str]:
    differs = f"{_text(r['would'])}, and not {_text(r['was'])}" if r["changed"] else "the same"
    yield f"shadow {_text(r['shadow'])} of group {_text(r['group'])} would have done: {differs}"


def _unknown(r: Told) -> Iterator[str]:
    yield _text(str(r["type"]))


_STORE_COMMANDS: Final = {"quarantine": "quarantine", "spam-quarantine": "quarantine", "backup": "backup"}

_STEPS: dict[str, Callable[[Told], Iterator[str]]] = {
    "received": _received,
    "inspected": _inspected,
    "scanned": _scanned,
    "spam-checked": _spam_checked,
    "split": _split,
    "delivered": _delivered,
    "deferred": _deferred,
    "blocked": _ended("blocked"),
    "discarded": _ended("discarded"),
    "held": _held,
    "generated": _generated,
    "notified": _notified,
    "saved": _saved,
    "removed": _removed,
    "operated": _operated,
    "refused": _refused,
    "bypassed": _bypassed,
    "shadowed": _shadowed,
    "ruled": _ruled,
    "answered": _answered,
}
