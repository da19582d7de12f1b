"""The anti-virus stage: one message in, the status of every object in it out.

Called by the filter process for each job. Walks the MIME tree; header block, leaves (decoded), texts around them,
uuencoded blocks, encoded nested messages, other readings and archive members are objects, and every one goes to every
engine. Promises: nothing the message holds raises; what was not scanned, or not to the end, is never clean; an object
without a range of its own (`MEMBER`) also gives its status to what holds it, up to the first that has one, for only
that one can be edited.
"""

import math
import time
from collections.abc import Callable, Sequence

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.engine import CLEAN, Engine, Outcome, Overrun, Report, ScanObject
from gatepost.antivirus.kinds import Kind, detect_kind
from gatepost.antivirus.opening import Opening
from gatepost.antivirus.unpack import is_opened, open_container
from gatepost.mime.blocks import decode_block, find_uu_blocks
from gatepost.mime.decode import decode_body
from gatepost.mime.part import Message, Part, PartKind
from gatepost.mime.report import PartSpans, part_spans
from gatepost.mime.structure import parse
from gatepost.model.finding import (
    SEVERITY,
    Analysis,
    Finding,
    ObjectKind,
    ObjectReport,
    ObjectStatus,
    ScanOptions,
    Span,
)

OBJECTS_LISTED = 25_000
"""Objects named one by one; further ones are scanned, and tell their status through what holds them."""
CLEAN_MEMBERS_LISTED = 200
"""Clean archive members named one by one: enough for a name filter's log, not for a bomb's million."""
NAME_LIMIT = 255
EVIDENCE_LIMIT = 500
UNLISTED = "objects-unlisted"
"""Finding: its weight is the number of clean objects scanned but not listed."""

Arm = Callable[[float], None]
"""Sets the alarm that raises `Overrun` in so many seconds; 0 turns it off."""

_RANK = {status: rank for rank, status in enumerate(SEVERITY)}
_STATUS = {outcome: ObjectStatus(outcome.value) for outcome in Outcome}
_OUTCOME_RANK = {outcome: _RANK[status] for outcome, status in _STATUS.items()}
_NO_SPAN = Span(0, 0)
_NO_SPANS = PartSpans(_NO_SPAN, _NO_SPAN, (), _NO_SPAN, 1)


class _Entry:
    """An object report in the making."""

    __slots__ = (
        "content_type", "cured", "delete", "evidence", "kind", "name", "parent", "size", "spans", "status", "threat",
    )  # fmt: skip

    def __init__(self, kind: ObjectKind, parent: int, name: str, content_type: str, spans: PartSpans) -> None:
        self.kind = kind
        self.parent = parent
        self.name = name
        self.content_type = content_type
        self.spans = spans
        self.status = ObjectStatus.CLEAN
        self.size = 0
        self.threat = ""
        self.evidence = ""
        self.cured: bytes | None = None
        self.delete = False


def inspect(
    content: bytes,
    options: ScanOptions,
    engines: Sequence[Engine],
    deadline: float,
    arm: Arm = lambda _seconds: None,
) -> Analysis:
    """Scan a message. `deadline`: monotonic moment at which what is left is reported as `error`. `arm`: the alarm that
    interrupts an engine that does not come back; without one the engines' own care must do.
    """
    started = time.monotonic()
    inspection = _Inspection(content, options, engines, deadline, arm)
    trouble = ""
    try:
        inspection.run()
    except Overrun:
        arm(0)
        trouble = f"the inspection did not end within {options.deadline_s:g} s"
    except MemoryError:
        trouble = "the inspection needs more memory than a filter may have"
    return inspection.result(trouble, (time.monotonic() - started) * 1000)


class _Inspection:
    def __init__(
        self, content: bytes, options: ScanOptions, engines: Sequence[Engine], deadline: float, arm: Arm
    ) -> None:
        self.content = content
        self.options = options
        self.engines = engines
        self.deadline = deadline
        self.arm = arm
        self.budget = Budget(options, deadline)
        self.opening = Opening(self.budget, options)
        self.entries: list[_Entry] = []
        self.defects: set[str] = set()
        self.clean_members = 0
        self.unlisted = 0
        self.work: list[tuple[Message, Part, int, bool]] = []

    def run(self) -> None:
        message = parse(self.content)
        root = message.root
        self.examine(self.add(ObjectKind.HEADER, -1), self.content[root.start : root.body], "")
        self.work.append((message, root, -1, False))
        while self.work:
            self.visit(*self.work.pop())
        if message.truncated:
            limits = ", ".join(sorted(defect for defect in self.defects if defect.startswith("limit-")))
            self.mark(self.add_whole(), ObjectStatus.ERROR, evidence=f"the message was not read to its end: {limits}")

    def result(self, trouble: str, elapsed_ms: float) -> Analysis:
        if trouble:
            self.mark(self.add_whole(), ObjectStatus.ERROR, evidence=trouble)
        findings = [Finding(f"mime-{defect}", "defect of the MIME structure") for defect in sorted(self.defects)]
        if self.unlisted:
            evidence = f"{self.unlisted} clean objects inside others are not listed"
            findings.append(Finding(UNLISTED, evidence, float(self.unlisted)))
        return Analysis(tuple(_build_report(entry) for entry in self.entries), tuple(findings), elapsed_ms)

    # -- the list of objects ---------------------------------------------------------------------------------------

    def add(
        self, kind: ObjectKind, parent: int, name: str = "", content_type: str = "", spans: PartSpans = _NO_SPANS
    ) -> int:
        """Put an object on the list and return its index; with a full list, the index of what holds it."""
        if len(self.entries) >= OBJECTS_LISTED:
            self.unlisted += 1
            return max(parent, 0)
        self.entries.append(_Entry(kind, parent, name[:NAME_LIMIT], content_type[:NAME_LIMIT], spans))
        return len(self.entries) - 1

    def add_part(self, message: Message, part: Part, parent: int, *, virtual: bool) -> int:
        """List a part: with its ranges, or as a member when it has none in the received content."""
        if virtual:
            return self.add(ObjectKind.MEMBER, parent, part.name, part.content_type)
        spans = part_spans(message.content, part)
        if part.kind is PartKind.PART:
            return self.add(ObjectKind.PART, parent, part.name, part.content_type, spans)
        return self.add(ObjectKind.BLOCK, parent, "", "text/plain", PartSpans(spans.whole, _NO_SPAN, (), _NO_SPAN, 1))

    def add_whole(self) -> int:
        """List the message itself, as the object of what concerns all of it."""
        whole = Span(0, len(self.content))
        self.entries.append(_Entry(ObjectKind.PART, -1, "", "", PartSpans(whole, whole, (), _NO_SPAN, 1)))
        return len(self.entries) - 1

    def mark(
        self, index: int, status: ObjectStatus, threat: str = "", evidence: str = "", *, delete: bool = False
    ) -> None:
        """Give an object a status if it is worse than what it has, and pass it on to what holds a member."""
        while True:
            entry = self.entries[index]
            if _RANK[status] < _RANK[entry.status]:
                entry.status, entry.threat, entry.evidence, entry.cured = (
                    status,
                    threat,
                    evidence[:EVIDENCE_LIMIT],
                    None,
                )
            entry.delete = entry.delete or delete
            if entry.kind is not ObjectKind.MEMBER or entry.parent < 0:
                return
            evidence = f"in {entry.name or entry.content_type or 'an unnamed object'}: {evidence}"
            index = entry.parent

    # -- the tree --------------------------------------------------------------------------------------------------

    def visit(self, message: Message, part: Part, parent: int, virtual: bool) -> None:
        """Scan one part; what it contains goes on the work list, in tree order behind it."""
        if part.defects:
            self.defects.update(part.defects)
        index = parent
        following: list[tuple[Message, Part, int, bool]] = []
        if part.nested is not None:
            index = self.add_part(message, part, parent, virtual=virtual)
            root = part.nested.root
            self.examine(index, part.nested.content[root.start : root.body], "")
            following.append((part.nested, root, index, True))
        elif part.children and part.content_type.startswith("multipart/"):
            around = (part.preamble, *part.children, part.epilogue)
            following += [(message, each, parent, virtual) for each in around if each is not None]
            if part.alternatives:
                index = self.add_part(message, part, parent, virtual=virtual)
        elif part.children:
            index = self.add_part(message, part, parent, virtual=virtual)
            for root in part.children:
                self.examine(index, message.content[root.start : root.body], "")
                following.append((message, root, index, virtual))
        else:
            index = self.add_part(message, part, parent, virtual=virtual)
            self.visit_leaf(message, part, index, virtual=virtual)
        following += [(message, other, index, True) for other in part.alternatives]
        self.work += reversed(following)

    def visit_leaf(self, message: Message, part: Part, index: int, *, virtual: bool) -> None:
        data = decode_body(message.content, part).data
        self.examine(index, data, part.name)
        if part.content_type == "message/partial":
            self.mark(index, ObjectStatus.PROTECTED, evidence="a fragment of a message: the rest is not here")
        blocks = find_uu_blocks(data, 0, len(data))
        if not blocks:
            return
        # In an unencoded body a block's lines are a range of the received content, else they are inside the object.
        shift = part.body
        ranged = not virtual and data == message.content[shift : part.end]
        for block in blocks:
            if ranged:
                span = Span(shift + block.start, shift + block.end)
                spans = PartSpans(span, _NO_SPAN, (), _NO_SPAN, 1)
                inner = self.add(ObjectKind.BLOCK, index, block.name, "", spans)
            else:
                inner = self.add(ObjectKind.MEMBER, index, block.name)
            content, damaged = decode_block(data, block)
            self.examine(inner, content, block.name)
            if damaged:
                self.defects.add("block-damaged")

    # -- one object ------------------------------------------------------------------------------------------------

    def examine(
        self, index: int, data: bytes, name: str, depth: int = 0, content_type: str = "", inside: Kind | None = None
    ) -> None:
        """Scan one decoded object, cure it where that is possible, and open it if it is a container."""
        entry = self.entries[index]
        entry.size = entry.size or len(data)
        kind = detect_kind(data)
        subject = ScanObject(data, name, content_type or entry.content_type, kind, inside)
        report, engine = self.scan(subject)
        if report is not CLEAN:
            cured = None
            if report.outcome is Outcome.INFECTED and self.options.cure and not report.delete and engine is not None:
                cured = _cure(engine, subject)
            ranged = entry.kind is ObjectKind.BLOCK or (entry.kind is ObjectKind.PART and depth == 0)
            if cured is not None and ranged and entry.status is ObjectStatus.CLEAN:
                entry.status, entry.threat, entry.evidence = ObjectStatus.DISINFECTED, report.threat, report.evidence
                entry.cured = cured
            else:
                evidence = report.evidence
                if cured is not None:
                    evidence = f"{evidence}; it cannot be cured where it is"
                self.mark(index, _STATUS[report.outcome], report.threat, evidence, delete=report.delete)
        if kind is not None and is_opened(kind, self.opening):
            self.open(index, data, kind, name, depth)

    def open(self, index: int, data: bytes, kind: Kind, name: str, depth: int) -> None:
        """Examine the members of a container."""
        if depth >= self.budget.depth:
            self.mark(index, ObjectStatus.ERROR, evidence=f"archives nested deeper than {self.budget.depth} levels")
            return
        try:
            for member in open_container(data, kind, name, self.opening):
                if not member.name and member.data is None:  # about the container itself
                    self.mark(index, ObjectStatus.ERROR, evidence=member.trouble)
                    continue
                inner = self.add(ObjectKind.MEMBER, index, member.name)
                if member.data is not None:
                    own_name = member.name.rpartition("/")[2]
                    self.examine(inner, member.data, own_name, depth + 1, member.content_type, kind)
                if member.protected:
                    self.mark(inner, ObjectStatus.PROTECTED, evidence="protected by a password")
                if member.trouble:
                    self.mark(inner, ObjectStatus.ERROR, evidence=member.trouble)
                self.settle_member(inner)
        except OverBudget as error:
            self.mark(index, ObjectStatus.ERROR, evidence=str(error))
        except MemoryError:
            self.mark(index, ObjectStatus.ERROR, evidence="unpacking needs more memory than a filter may have")

    def settle_member(self, index: int) -> None:
        """Keep a member on the list unless it is one clean one too many."""
        if index != len(self.entries) - 1 or self.entries[index].status is not ObjectStatus.CLEAN:
            return
        self.clean_members += 1
        if self.clean_members > CLEAN_MEMBERS_LISTED:
            self.entries.pop()
            self.unlisted += 1

    def scan(self, subject: ScanObject) -> tuple[Report, Engine | None]:
        """Return the worst report of all engines, and whose it is."""
        worst, whose = (CLEAN, None) if self.engines else (Report(Outcome.ERROR, evidence="no engine"), None)
        for engine in self.engines:
            report = self.ask(engine, subject)
            if report is not CLEAN and _OUTCOME_RANK[report.outcome] < _OUTCOME_RANK[worst.outcome]:
                worst, whose = report, engine
        return worst, whose

    def ask(self, engine: Engine, subject: ScanObject) -> Report:
        """Have one engine scan one object, within the time for one object if there is one."""
        timeout_s = self.options.timeout_s
        until = self.deadline
        if timeout_s > 0:
            until = min(until, time.monotonic() + timeout_s)
            self.arm(max(until - time.monotonic(), 0.001))
        try:
            return engine.scan(subject, until)
        except Overrun:
            if time.monotonic() >= self.deadline:
                raise
            return Report(Outcome.ERROR, evidence=f"the scan did not end within {timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - an engine's bug must not make the object look scanned
            return Report(Outcome.ERROR, evidence=f"the engine failed: {type(error).__name__}: {error}")
        finally:
            if timeout_s > 0:
                rest = self.deadline - time.monotonic()
                self.arm(0 if rest == math.inf else max(rest, 0.001))


def _cure(engine: Engine, subject: ScanObject) -> bytes | None:
    try:
        return engine.cure(subject)
    except Exception:  # noqa: BLE001 - a cure that fails is no cure: the object stays infected
        return None


def _build_report(entry: _Entry) -> ObjectReport:
    spans = entry.spans
    return ObjectReport(
        parent=entry.parent,
        kind=entry.kind,
        status=entry.status,
        name=entry.name,
        content_type=entry.content_type,
        size=entry.size,
        threat=entry.threat,
        evidence=entry.evidence,
        whole=spans.whole,
        body=spans.body,
        fields=spans.fields,
        delimiter=spans.delimiter,
        siblings=spans.siblings,
        cured=entry.cured,
        delete=entry.delete,
    )
