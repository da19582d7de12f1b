"""What two looks at one message differ in: `Look`, from an explanation or from what is on record. Pure.

Used by `gatepost rescan`. Only what a record holds is compared: objects that are not clean, what is odd, each group's
verdicts, signs with their weights, edits and the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from gatepost.cli.explanation import Explanation
from gatepost.model.finding import ObjectStatus
from gatepost.model.record import SIGNS_TOLD, TEXT_TOLD
from gatepost.model.spam import Method, NetworkFacts, Sign
from gatepost.policy.spam import DNSBL_LIMIT

NETWORK_METHODS: Final = frozenset(
    (
        Method.DNSBL,
        Method.REVERSE_DNS,
        Method.SPF,
        Method.DKIM,
        Method.DMARC,
        Method.ARC,
        Method.SURBL,
        Method.UDS,
        Method.REPUTATION,
    )
)
_NAMELESS: Final = "an object without a name"
Told = Mapping[str, Any]


class GroupLook(msgspec.Struct):
    """One group's part of a look."""

    statuses: str = ""
    spam: str = ""
    rate: int | None = None
    signs: dict[str, float] = {}
    """Weight by method and name."""
    edits: tuple[str, ...] = ()
    end: str = "deliver"
    whole: bool = True
    """All signs are there: a record holds the heaviest only."""


class Look(msgspec.Struct):
    """What one look at a message came to."""

    objects: dict[str, str] = {}
    """Of those that are not clean: status and threat by name."""
    findings: tuple[str, ...] = ()
    groups: dict[str, GroupLook] = {}


class Change(msgspec.Struct, frozen=True):
    """One difference."""

    where: str
    """`message`, or a group's name."""
    what: str
    """`object`, `finding`, `sign`, `verdict`, `spam`, `rate`, `edit`, `end`, `group`."""
    name: str
    before: str
    """"" = was not there."""
    after: str
    """"" = is gone."""


def look_of(explanation: Explanation) -> Look:
    """Return the look that an explanation tells of."""
    look = Look(findings=tuple(sorted({each.name for each in explanation.findings})))
    for each in explanation.objects:
        if each.status != ObjectStatus.CLEAN.value:
            look.objects[_named(each.name)] = " ".join(filter(None, (each.status, each.threat[:TEXT_TOLD])))
    for group in explanation.groups:
        spam = group.spam
        edits = tuple(sorted(group.actions))
        look.groups[group.name] = GroupLook(", ".join(group.statuses), edits=edits, end=group.end)
        if spam is not None:
            part = look.groups[group.name]
            part.spam, part.rate = spam.status, spam.rate
            part.signs = {f"{each.method} {each.name}": round(each.weight, 2) for each in spam.signs}
    return look


def look_in(records: Sequence[Told]) -> Look | None:
    """Return the look that is on record, the last one if there are several; None when there is none."""
    look = Look()
    for record in records:
        match record.get("type"):
            case "inspected":
                look = Look(findings=tuple(sorted(set(record["findings"]))))
                for note in record["notable"]:
                    look.objects[_named(note["name"])] = " ".join(filter(None, (note["status"], note["threat"])))
            case "scanned":
                _take_scanned(look.groups.setdefault(str(record["group"]), GroupLook()), record)
            case "spam-checked":
                _take_spam(look.groups.setdefault(str(record["group"]), GroupLook()), record)
    return look if look.groups else None


def _take_scanned(part: GroupLook, record: Told) -> None:
    part.statuses = ", ".join(record["statuses"])
    if record["blocked"]:
        part.end, part.edits = "blocked", ()
    else:
        told = [f"{_named(name)}: {status}, {action}" for name, status, action in record["actions"]]
        part.edits = tuple(sorted(told))


def _take_spam(part: GroupLook, record: Told) -> None:
    part.spam, part.rate = str(record["status"]), int(record["rate"])
    part.signs = {f"{each['method']} {each['name']}": round(each["weight"], 2) for each in record["notes"]}
    part.whole = len(record["notes"]) < SIGNS_TOLD
    if part.end != "blocked" and record["action"]:
        part.end = str(record["action"])


def facts_in(records: Sequence[Told]) -> NetworkFacts | None:
    """Return what network checks found, as far as it is on record: the signs that counted. None: nothing is."""
    signs: dict[tuple[str, str], Sign] = {}
    listed = False
    found = False
    for record in records:
        if record.get("type") != "spam-checked":
            continue
        found = True
        listed = listed or (record["status"] == "blacklisted" and Method.DNSBL.value in record["methods"])
        for note in record["notes"]:
            if note["method"] in NETWORK_METHODS:
                key = (str(note["method"]), str(note["name"]))
                signs[key] = Sign(Method(key[0]), key[1], str(note["evidence"]), float(note["weight"]))
    if not found:
        return None
    return NetworkFacts(tuple(signs.values()), dnsbl_sum=DNSBL_LIMIT + 1 if listed else 0)


def compare(before: Look, after: Look) -> list[Change]:
    """Return what differs, the message itself first."""
    changes = list(_values("message", "object", before.objects, after.objects))
    old, new = (dict.fromkeys(look.findings, "there") for look in (before, after))
    changes += _values("message", "finding", old, new)
    for name in dict.fromkeys((*before.groups, *after.groups)):
        first, second = before.groups.get(name), after.groups.get(name)
        if first is None or second is None:
            told = (first or second or GroupLook()).end
            changes.append(Change(name, "group", name, told if first else "", told if second else ""))
        else:
            changes += _group(name, first, second)
    return changes


def _group(name: str, before: GroupLook, after: GroupLook) -> Iterator[Change]:
    for what, first, second in (
        ("verdict", before.statuses, after.statuses),
        ("spam", before.spam, after.spam),
        ("rate", _rate(before), _rate(after)),
        ("end", before.end, after.end),
    ):
        if first != second:
            yield Change(name, what, "", first, second)
    old, new = ({sign: f"{weight:+.2f}" for sign, weight in part.signs.items()} for part in (before, after))
    if not before.whole:  # a lighter one may have been there, too
        least = min(map(abs, before.signs.values()), default=0.0)
        new = {sign: text for sign, text in new.items() if sign in old or abs(after.signs[sign]) > least}
    yield from _values(name, "sign", old, new)
    first_edits, second_edits = dict.fromkeys(before.edits, "done"), dict.fromkeys(after.edits, "done")
    yield from _values(name, "edit", first_edits, second_edits)


def _values(where: str, what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        first, second = before.get(name, ""), after.get(name, "")
        if first != second:
            yield Change(where, what, name, first, second)


def _named(name: str) -> str:
    return name[:TEXT_TOLD] or _NAMELESS


def _rate(part: GroupLook) -> str:
    return "" if part.rate is None else f"{part.rate} %"
