"""The life of a mail as its page tells it: records become steps with a moment, a sentence and facts. Pure.

Used by `console.pages.tracking`. Text out of records is foreign; the template shows it as such.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

Record = Mapping[str, Any]


class Fact(msgspec.Struct, frozen=True):
    """Something told with a step."""

    name: str
    value: str


class Weighed(msgspec.Struct, frozen=True):
    """A sign for or against spam."""

    name: str
    weight: float
    evidence: str
    method: str


class Step(msgspec.Struct, frozen=True):
    """One thing that happened."""

    at: float
    since_s: float
    """Since the step before."""
    title: str
    state: str = ""
    """good, warning, bad, info or ""."""
    detail: str = ""
    """In a sentence: the reason, or a peer's reply."""
    facts: tuple[Fact, ...] = ()
    signs: tuple[Weighed, ...] = ()
    objects: tuple[tuple[str, str, str, str], ...] = ()
    """Objects that are not clean: name, status, threat, evidence."""
    queue_id: str = ""
    """Of the copy or message it is about, where that is not the mail itself."""
    item: str = ""
    """Of a store."""


class Life(msgspec.Struct, frozen=True):
    """All of it, and what decided."""

    steps: tuple[Step, ...]
    why: tuple[Step, ...]
    """The verdicts among the steps."""


_VERDICTS: Final = frozenset({"scanned", "bypassed", "spam-checked", "blocked", "discarded", "refused", "held"})


def tell_life(records: Sequence[Record], queue_id: str) -> Life:
    """Return the life of the mail `queue_id` from its records, in their order."""
    steps: list[Step] = []
    why: list[Step] = []
    before = 0.0
    for record in records:
        tell = _TELLING.get(str(record.get("type")), _other)
        step = tell(record)
        own = str(record.get("id", ""))
        at = float(record.get("at", 0.0))
        step = msgspec.structs.replace(
            step,
            at=at,
            since_s=max(at - before, 0.0) if before else 0.0,
            queue_id=own if own and own != queue_id else "",
        )
        before = at
        steps.append(step)
        if record.get("type") in _VERDICTS:
            why.append(step)
    return Life(tuple(steps), tuple(why))


def _step(title: str, state: str = "", detail: str = "", facts: Sequence[tuple[str, Any]] = (), **more: Any) -> Step:
    told = tuple(Fact(name, _shown(value)) for name, value in facts if value)
    return Step(0.0, 0.0, title, state, detail, told, **more)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return "yes" if value is True else str(value)


def _received(r: Record) -> Step:
    return _step(
        f"Another mail system asked at {r['listener']}" if r.get("door") else f"Accepted from {r['ip']}",
        "info",
        facts=(
            ("Its id there", r.get("reference")),
            ("Asked from", r.get("asker")),
            ("Client", r.get("client", "")),
            ("Helo", r["helo"]),
            ("TLS", r.get("tls") or "none"),
            ("Signed in", r.get("user")),
            ("Sender", r["sender"] or "<>"),
            ("Recipients", r.get("addresses") or r["recipients"]),
            ("Bytes", r["size"]),
            ("Message id", r["message_id"]),
            ("Listener", r.get("listener")),
            ("Direction", r.get("direction")),
            ("Mended on the way in", r.get("mended")),
        ),
    )


def _inspected(r: Record) -> Step:
    return _step(
        "Inspected",
        facts=(
            ("Waited", _ms(r.get("waited_ms"))),
            ("Took", _ms(r.get("elapsed_ms"))),
            ("Of that", [f"{name} {_ms(ms)}" for name, ms in r.get("stages", ())]),
            ("Objects", r.get("objects")),
            ("Odd", r.get("findings")),
            ("Could not be told", r.get("troubles")),
            ("About", r.get("categories")),
        ),
        objects=tuple(
            (str(each["name"]), str(each["status"]), str(each["threat"]), str(each["evidence"]))
            for each in r.get("notable", ())
        ),
    )


def _scanned(r: Record) -> Step:
    bad = set(r["statuses"]) - {"clean", "disinfected"}
    state = "bad" if bad & {"infected", "suspicious"} else "warning" if bad else "good"
    actions = [" ".join(map(str, each)) for each in r.get("actions", ())]
    engines = [
        f"{each['name']} {each['version']}: {each['status']}, {_ms(each['elapsed_ms'])}"
        + (f" ({each['trouble']})" if each.get("trouble") else "")
        for each in r.get("engines", ())
    ]
    return _step(
        f"Anti-virus for group {r['group']}: {', '.join(r['statuses']) or 'not scanned'}",
        state,
        str(r.get("reason", "")),
        (
            ("Recipients", r["recipients"]),
            ("Found", r["names"]),
            ("Done about it", actions),
            ("Engines", engines),
            ("Blocked", r.get("blocked")),
            ("Changed", r.get("modified")),
            ("Broken signatures", r.get("breaks")),
        ),
    )


_SPAM_STATES: Final = {"spam": "bad", "probable_spam": "warning", "blacklisted": "bad", "formal": "info"}


def _spam_checked(r: Record) -> Step:
    notes = sorted(r.get("notes", ()), key=lambda each: -abs(float(each["weight"])))
    return _step(
        f"Anti-spam for group {r['group']}: {str(r['status']).replace('_', ' ')}, rating {r['rate']} %",
        _SPAM_STATES.get(str(r["status"]), "good"),
        str(r.get("reason", "")),
        (
            ("Recipients", r["recipients"]),
            ("Methods", r["methods"]),
            ("Becomes of it", r.get("action")),
            ("Besides", r.get("extras")),
            ("To", r.get("to")),
            ("Kept from its recipients", r.get("withheld")),
        ),
        signs=tuple(
            Weighed(str(each["name"]), float(each["weight"]), str(each["evidence"]), str(each["method"]))
            for each in notes
        ),
    )


def _attempt(r: Record) -> list[tuple[str, Any]]:
    return [
        ("Server", r["server"]),
        ("Host", r.get("host")),
        ("Address", r.get("ip")),
        ("TLS", r.get("tls")),
        ("Attempt took", _seconds(r.get("elapsed_s"))),
    ]


def _delivered(r: Record) -> Step:
    sent = bool(r["sent"])
    facts = [*_attempt(r), ("Since acceptance", _seconds(r.get("delay_s")))]
    title = f"Delivered to {r['recipient']}" if sent else f"Failed for good for {r['recipient']}"
    return _step(title, "good" if sent else "bad", str(r.get("reply", "")), facts)


def _deferred(r: Record) -> Step:
    facts = _attempt(r)
    return _step(f"Deferred for {r['recipient']}", "warning", str(r["reply"]), facts)


def _refused(r: Record) -> Step:
    return _step(
        f"Refused at {r['stage']}: {r['cause']}",
        "bad",
        str(r.get("reply", "")),
        (
            ("Code", r["code"]),
            ("Client", r["ip"]),
            ("Name", r.get("client")),
            ("Helo", r.get("helo")),
            ("Sender", r.get("sender")),
            ("Recipient", r.get("recipient")),
            ("TLS", r.get("tls")),
            ("Signed in", r.get("user")),
        ),
    )


def _saved(r: Record) -> Step:
    return _step(f"Kept in {r['store']}", "info", facts=(("Statuses", r.get("statuses")),), item=str(r["item"]))


def _notified(r: Record) -> Step:
    facts = (("To", r.get("addresses")), ("Mails told of", r.get("summed")))
    return _step(f"Notification to {r['role']} written", "info", facts=facts)


def _other(r: Record) -> Step:
    facts = [
        (name.replace("_", " ").capitalize(), value)
        for name, value in r.items()
        if name not in {"type", "id", "at", "source"} and isinstance(value, str | int | float | list)
    ]
    return _step(str(r.get("type", "?")).replace("-", " ").capitalize(), facts=facts)


_DEEDS: Final = {
    "deliver": ("deliver it", "good"),
    "reject": ("reject it", "bad"),
    "discard": ("deliver it to nobody", "warning"),
    "unjudged": ("do without a judgement", "warning"),
}


def _answered(r: Record) -> Step:
    words, state = _DEEDS.get(str(r["deed"]), (str(r["deed"]), "info"))
    if r.get("purpose") == "ask" and r["deed"] != "unjudged":
        words, state = "do with it what it is set to do: it only asked what it is", "info"
    return _step(
        f"Its mail system was told to {words}",
        state,
        str(r.get("reason", "")),
        (
            ("Get it", r.get("recipients")),
            ("Rejected for", r.get("rejected")),
            ("Withheld from", r.get("discarded")),
            ("Who do not get it", r.get("without")),
            ("Reply", r.get("reply")),
            ("Note", r.get("info")),
            ("Took", _ms(r.get("elapsed_ms"))),
        ),
    )


_TELLING: Final[dict[str, Callable[[Record], Step]]] = {
    "received": _received,
    "inspected": _inspected,
    "scanned": _scanned,
    "spam-checked": _spam_checked,
    "split": lambda r: _step(
        f"A copy for {r.get('group') or r['domain']} was made", facts=(("Recipients", r.get("addresses")),)
    ),
    "delivered": _delivered,
    "deferred": _deferred,
    "blocked": lambda r: _step(f"Blocked for {_shown(r['recipients'])}", "bad", str(r.get("reason", ""))),
    "discarded": lambda r: _step(f"Discarded for {_shown(r['recipients'])}", "warning", str(r.get("reason", ""))),
    "held": lambda r: _step("Held for an operator", "warning", str(r["reason"])),
    "generated": lambda r: _step(f"The gateway wrote {r['kind']} to {r['recipient']}", "info"),
    "notified": _notified,
    "saved": _saved,
    "removed": lambda r: _step("Taken out of the queue", "warning", str(r["reason"])),
    "operated": lambda r: _step(f"An operator: {r['act']}", "info", str(r.get("detail", ""))),
    "refused": _refused,
    "answered": _answered,
    "ruled": lambda r: _step(
        f"Rules held for group {r['group']}",
        "info",
        "; ".join(r.get("rules", ())),
        (("Added recipients", r.get("to")), ("For the log", r.get("log"))),
    ),
    "bypassed": lambda r: _step(
        f"Not scanned for group {r['group']}: emergency bypass", "warning", str(r.get("reason", ""))
    ),
    "shadowed": lambda r: _step(
        f"Shadow {r['shadow']} of group {r['group']} would have done "
        + ("something else" if r["changed"] else "the same"),
        "info",
        f"{r['would']}, and not {r['was']}" if r["changed"] else "",
    ),
}


def _ms(value: Any) -> str:
    return f"{float(value):.3g} ms" if value else ""


def _seconds(value: Any) -> str:
    return f"{float(value):.3g} s" if value else ""
