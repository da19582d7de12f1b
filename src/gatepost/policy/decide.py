"""Findings and a group's policy to a verdict (rows F-AV-14, F-AV-15, F-AV-17 to F-AV-19). Pure.

Called at disposal, once for each group of a message, and whenever a stored analysis is explained or played again.
Promises that no object with a status other than clean stays in a delivered message as it came, unless the action of
this group for that status is `pass`; whatever an action cannot do, a stricter one does:

- A member of an archive has no place of its own in the message: the action falls on what holds it and can be edited.
- A cure that cannot be written back counts as infected; `cure` for anything else than a cured object removes it.
- The header block cannot be taken out: an action on it blocks the message.
- What its recipient alone can decrypt is `protected` or passes, as the group has it; the verdict says so if it passes.
- Where nothing can be edited (the inspection failed, or read the message otherwise), the whole body is replaced.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from gatepost.model.finding import (
    SEVERITY,
    Analysis,
    Finding,
    ObjectKind,
    ObjectReport,
    ObjectStatus,
)
from gatepost.model.verdict import EncryptedMail, ObjectAction, ObjectDecision, Verdict
from gatepost.policy.group import GroupPolicy
from gatepost.policy.object_filter import stands_for_message

WHOLE_MESSAGE: Final = -1
"""Index of the decision to replace the whole body by the placeholder; `ObjectReport.parent` uses it likewise."""
WHOLE_MESSAGE_NAME: Final = "(the whole message)"

_CLEAN: Final = ObjectStatus.CLEAN
_RANK: Final = {status: rank for rank, status in enumerate(reversed(SEVERITY))}
STRENGTH: Final = {
    ObjectAction.PASS: 0,
    ObjectAction.CURE: 1,
    ObjectAction.PLACEHOLDER: 2,
    ObjectAction.REMOVE: 3,
}
"""Which of two actions on one object is carried out: the one that leaves less of it."""
_DONE: Final = {
    ObjectAction.PASS: "passed",
    ObjectAction.CURE: "cured",
    ObjectAction.PLACEHOLDER: "replaced",
    ObjectAction.REMOVE: "removed",
}
_TOLD_LIMIT: Final = 5
"""Objects named in a reason: enough to know the case, and still one line of the log."""
_WORDS_LIMIT: Final = 120
"""Characters told of a name or an evidence."""


def error_analysis(reason: str) -> Analysis:
    """Return the analysis of a message whose inspection failed twice: one object, status error, without a place."""
    report = ObjectReport(parent=WHOLE_MESSAGE, kind=ObjectKind.MEMBER, status=ObjectStatus.ERROR, evidence=reason)
    return Analysis((report,), (Finding("inspection-failed", reason),))


def decide(analysis: Analysis, group: GroupPolicy) -> Verdict:
    """Return a group's verdict on a message.

    `decisions` names every object that is not clean, in the order of the analysis, with the action that falls on the
    object or on what holds it; `resolve_edits` tells which of them are edits. An analysis without any object is an
    inspection that looked at nothing, and counts as an error.
    """
    if not group.check:
        return Verdict(group.name, (), reason="not checked: scanning is switched off for this group")
    statuses = resolve_statuses(analysis, group)
    encrypted = _find_encrypted(analysis, statuses)
    if statuses and statuses.count(_CLEAN) == len(statuses):
        reason = "nothing found" + _tell_encrypted(encrypted)
        return Verdict(group.name, (_CLEAN,), reason=reason, encrypted=encrypted)
    judge = _Judge(analysis.objects, statuses, group)
    decisions = tuple(judge.decisions())
    occurred = {decision.status for decision in decisions}
    listed = tuple(status for status in SEVERITY if status in occurred and status in group.block_message)
    return Verdict(
        group.name,
        tuple(status for status in SEVERITY if status in occurred),
        decisions,
        blocked=bool(listed) or judge.header_condemned,
        reason=_explain(analysis.objects, decisions, listed, header_condemned=judge.header_condemned)
        + _tell_encrypted(encrypted),
        encrypted=encrypted,
    )


def resolve_statuses(analysis: Analysis, group: GroupPolicy) -> list[ObjectStatus]:
    """Return the status of every object as this group sees it: with its filters, with its cure or without, and with
    what its recipient alone can decrypt `protected` or not.
    """
    objects = analysis.objects
    found = [report.status for report in objects]
    if group.encrypted_mail is EncryptedMail.PROTECTED:
        for index, report in enumerate(objects):
            if report.encrypted and _RANK[found[index]] < _RANK[ObjectStatus.PROTECTED]:
                found[index] = ObjectStatus.PROTECTED
    filters = group.filter.active
    if not filters and ObjectStatus.DISINFECTED not in found:
        return found
    for index, report in enumerate(objects):
        member = report.kind is ObjectKind.MEMBER and 0 <= report.parent < index
        if filters and group.filter.matches(report):
            found[index] = ObjectStatus.FILTERED
        elif filters and member and found[report.parent] is ObjectStatus.FILTERED:
            found[index] = ObjectStatus.FILTERED  # what is not to be scanned is not opened either
        elif found[index] is ObjectStatus.DISINFECTED and not (
            group.scan.cure
            and (
                (_is_editable(report) and report.cured is not None)
                or (member and found[report.parent] is ObjectStatus.DISINFECTED)  # rebuilt around its cured member
            )
        ):
            found[index] = report.uncured
        if filters and group.filter.matches_reading(report):
            found[index] = max((ObjectStatus.FILTERED, found[index]), key=lambda status: _harm(status, group))
    return found


def _find_encrypted(analysis: Analysis, statuses: Sequence[ObjectStatus]) -> tuple[str, ...]:
    """Return how what was not scanned for that, and has no other status, is encrypted."""
    found = {report.encrypted for report, status in zip(analysis.objects, statuses, strict=True) if status is _CLEAN}
    return tuple(sorted(filter(None, found)))


def _tell_encrypted(encrypted: Sequence[str]) -> str:
    return f"; not scanned: encrypted for its recipient ({', '.join(encrypted)})" if encrypted else ""


def _harm(status: ObjectStatus, group: GroupPolicy) -> tuple[bool, int, int]:
    """Return how little a status leaves of an object in this group, and how bad it is."""
    action = ObjectAction.PASS if status is _CLEAN else group.actions[status]
    return status in group.block_message, STRENGTH[action], _RANK[status]


def resolve_edits(analysis: Analysis, verdict: Verdict) -> tuple[ObjectDecision, ...]:
    """Return the decisions that change the message when it is delivered, in order.

    Either one with the index WHOLE_MESSAGE, or decisions on objects with a range of their own; nested ones may both be
    there, then the outer one holds.
    """
    if verdict.blocked:
        return ()
    edits = tuple(
        decision
        for decision in verdict.decisions
        if decision.action is not ObjectAction.PASS
        and (decision.index == WHOLE_MESSAGE or _is_editable(analysis.objects[decision.index]))
    )
    whole = tuple(decision for decision in edits if decision.index == WHOLE_MESSAGE)
    return whole or edits


def _is_editable(report: ObjectReport) -> bool:
    return (
        report.kind in (ObjectKind.PART, ObjectKind.BLOCK)
        and report.whole.end > report.whole.start
        and not stands_for_message(report)
    )


class _Judge:
    """One judgement: where each object's action falls, and the strongest that falls there."""

    def __init__(self, objects: Sequence[ObjectReport], statuses: Sequence[ObjectStatus], group: GroupPolicy) -> None:
        self._objects = objects
        self._statuses = statuses
        self._group = group
        self._anchors = self._find_anchors()
        self._actions: dict[int, ObjectAction] = {}
        """Strongest action on each anchor."""
        self._worst: dict[int, int] = {}
        """Index of the worst object on each anchor."""
        for index, status in enumerate(statuses):
            if status is not _CLEAN:
                self._condemn(self._anchors[index], index, self._action_on(index))
        if not objects:
            self._actions[WHOLE_MESSAGE] = group.actions[ObjectStatus.ERROR]
        self._harden_cures()
        self.header_condemned = any(
            action is not ObjectAction.PASS and anchor >= 0 and objects[anchor].kind is ObjectKind.HEADER
            for anchor, action in self._actions.items()
        )

    def _find_anchors(self) -> list[int]:
        """Return for each object the nearest one holding it (or itself) that can be edited or is the header."""
        anchors: list[int] = []
        for index, report in enumerate(self._objects):
            inside = 0 <= report.parent < index
            if _is_editable(report) or (report.kind is ObjectKind.HEADER and not inside):
                anchors.append(index)
            elif inside:
                anchors.append(anchors[report.parent])
            else:
                anchors.append(WHOLE_MESSAGE)
        return anchors

    def _action_on(self, index: int) -> ObjectAction:
        status = self._statuses[index]
        if self._objects[index].delete and status is not ObjectStatus.FILTERED:
            return ObjectAction.REMOVE
        action = self._group.actions[status]
        if action is ObjectAction.CURE and status is not ObjectStatus.DISINFECTED:
            return ObjectAction.REMOVE
        return action

    def _condemn(self, anchor: int, index: int, action: ObjectAction) -> None:
        before = self._actions.get(anchor, ObjectAction.PASS)
        self._actions[anchor] = max(before, action, key=STRENGTH.__getitem__)
        worst = self._worst.setdefault(anchor, index)
        if _RANK[self._statuses[index]] > _RANK[self._statuses[worst]]:
            self._worst[anchor] = index

    def _harden_cures(self) -> None:
        """Give up the cure of an object within which another one is to be edited: writing the cured form back would
        bring that one back too.
        """
        if ObjectAction.CURE not in self._actions.values():
            return
        below: dict[int, ObjectAction] = {}
        for anchor in range(len(self._objects) - 1, -1, -1):
            if self._anchors[anchor] != anchor:
                continue
            action = self._actions.get(anchor, ObjectAction.PASS)
            inner = below.get(anchor, ObjectAction.PASS)
            if action is ObjectAction.CURE and inner is not ObjectAction.PASS:
                action = max(inner, ObjectAction.PLACEHOLDER, key=STRENGTH.__getitem__)
                self._actions[anchor] = action
            parent = self._objects[anchor].parent
            if 0 <= parent < anchor:
                outer = self._anchors[parent]
                below[outer] = max(below.get(outer, ObjectAction.PASS), action, inner, key=STRENGTH.__getitem__)

    def decisions(self) -> Iterator[ObjectDecision]:
        """Yield the decisions: on the whole message first, then on objects in their order."""
        whole = self._actions.get(WHOLE_MESSAGE, ObjectAction.PASS)
        if whole is not ObjectAction.PASS or not self._objects:
            worst = self._worst.get(WHOLE_MESSAGE)
            status = ObjectStatus.ERROR if worst is None else self._statuses[worst]
            threat = "" if worst is None else self._objects[worst].threat
            action = ObjectAction.PASS if whole is ObjectAction.PASS else ObjectAction.PLACEHOLDER
            yield ObjectDecision(WHOLE_MESSAGE, status, action, WHOLE_MESSAGE_NAME, threat)
            self._actions[WHOLE_MESSAGE] = action
        for index, (report, own) in enumerate(zip(self._objects, self._statuses, strict=True)):
            anchor = self._anchors[index]
            if own is not _CLEAN:
                yield ObjectDecision(index, own, self._actions[anchor], report.name, report.threat)
            elif index in self._worst:  # clean in itself, but it holds something that is not
                held = self._worst[index]
                threat = self._objects[held].threat
                yield ObjectDecision(index, self._statuses[held], self._actions[index], report.name, threat)


def _explain(
    objects: Sequence[ObjectReport],
    decisions: Sequence[ObjectDecision],
    listed: Sequence[ObjectStatus],
    *,
    header_condemned: bool,
) -> str:
    """Return the verdict in one sentence."""
    blocked = bool(listed) or header_condemned
    told = [_describe(objects, decision, blocked=blocked) for decision in decisions[:_TOLD_LIMIT]]
    if len(decisions) > _TOLD_LIMIT:
        told.append(f"{len(decisions) - _TOLD_LIMIT} more")
    if listed:
        told.append("blocked for " + ", ".join(listed))
    if header_condemned:
        told.append("blocked because a header cannot be taken out")
    return "; ".join(told)


def _describe(objects: Sequence[ObjectReport], decision: ObjectDecision, *, blocked: bool) -> str:
    name, why = decision.name, decision.threat
    if decision.index != WHOLE_MESSAGE:
        report = objects[decision.index]
        name = name or f"{report.kind} {report.content_type}".rstrip()
        why = why or report.evidence
    elif not objects:
        why = "the inspection reported no object"
    because = f" ({why[:_WORDS_LIMIT]})" if why else ""
    done = "" if blocked else f", {_DONE[decision.action]}"
    return f"{name[:_WORDS_LIMIT]}: {decision.status}{because}{done}"
