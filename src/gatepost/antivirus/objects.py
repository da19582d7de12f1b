"""The objects of one message in the making: their tree order, their statuses, what holds what.

Filled by `antivirus.stage`; becomes `Analysis.objects`. Promises: a list of bounded length, texts of bounded length
that can be sent, and an object without a range of its own (`MEMBER`) gives its status to what holds it, up to the first
that has one, for only that one can be edited.
"""

from gatepost.antivirus.kinds import Kind
from gatepost.mime.part import Part
from gatepost.mime.report import PartSpans
from gatepost.model.finding import SEVERITY, Finding, ObjectKind, ObjectReport, ObjectStatus, Span

UNLISTED = "objects-unlisted"
"""Finding: its weight is the number of clean objects scanned but not listed."""
ENCRYPTED = "encrypted-content"
"""Finding: there is something that only its recipient can decrypt."""
OBJECTS_LISTED = 25_000
"""Objects named one by one; further ones are scanned, and tell their status through what holds them."""
CLEAN_MEMBERS_LISTED = 200
"""Clean archive members named one by one: enough for a name filter's log, not for a bomb's million."""
NAME_LIMIT = 255
NAME_TAIL = 60
"""Characters from the end of a longer name that are kept."""
OTHER_NAMES_TOLD = 1024 * 1024
"""Characters in all the names of the objects that have several."""
EVIDENCE_LIMIT = 500
_EVIDENCE_HEAD = 80
_EVIDENCE_TAIL = 160
"""Characters kept of evidence that grew too long on its way up."""
CURED_OVERHEAD = 64 * 1024
"""Bytes by which cured content may exceed the message it came from."""

NO_SPAN = Span(0, 0)
NO_SPANS = PartSpans(NO_SPAN, NO_SPAN, (), NO_SPAN, 1)

RANK = {status: rank for rank, status in enumerate(SEVERITY)}
"""0 is the worst."""
CURABLE = frozenset((ObjectStatus.INFECTED, ObjectStatus.SUSPICIOUS))
"""Statuses that a cure can take away."""

_CLEAN, _FILTERED, _DISINFECTED = ObjectStatus.CLEAN, ObjectStatus.FILTERED, ObjectStatus.DISINFECTED
_MEMBER = ObjectKind.MEMBER


class Entry:
    """An object report in the making."""

    __slots__ = (
        "content_type", "cured", "delete", "encrypted", "engine", "evidence", "found", "in_mail", "kind", "name",
        "other_names", "other_types", "parent", "size", "spans", "status", "threat", "uncured",
    )  # fmt: skip

    def __init__(self, kind: ObjectKind, parent: int, name: str, content_type: str, spans: PartSpans) -> None:
        self.kind = kind
        self.parent = parent
        self.name = name
        self.content_type = content_type
        self.spans = spans
        self.status = _CLEAN
        self.size = 0
        self.threat = ""
        self.evidence = ""
        self.cured: bytes | None = None
        self.uncured = ObjectStatus.INFECTED
        self.delete = False
        self.found: Kind | None = None
        self.engine = ""
        self.other_names: tuple[str, ...] = ()
        self.other_types: tuple[str, ...] = ()
        self.in_mail = False
        self.encrypted = ""

    @property
    def ranged(self) -> bool:
        """Whether it has bytes of its own in the received content that could be replaced."""
        return self.kind is ObjectKind.PART or self.kind is ObjectKind.BLOCK


class ObjectList:
    """All objects of one message, each known by its index."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.unlisted = 0
        """Objects that were scanned and are not on the list."""
        self.encryptions: set[str] = set()
        self._clean_members = 0
        self._names_left = OTHER_NAMES_TOLD

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Entry:
        return self.entries[index]

    @property
    def full(self) -> bool:
        """Whether further objects only tell their status through what holds them."""
        return len(self.entries) >= OBJECTS_LISTED

    def add(
        self, kind: ObjectKind, parent: int, name: str = "", content_type: str = "", spans: PartSpans = NO_SPANS
    ) -> int:
        """Put an object on the list and return its index; with a full list, the index of what holds it."""
        if len(self.entries) >= OBJECTS_LISTED:
            self.unlisted += 1
            return max(parent, 0)
        self.entries.append(Entry(kind, parent, bounded_name(name), content_type[:NAME_LIMIT], spans))
        return len(self.entries) - 1

    def describe_part(self, index: int, part: Part, *, in_mail: bool) -> None:
        """Note what an object just listed is called besides. `in_mail`: it is a part though it has no range."""
        entry = self.entries[index]
        entry.in_mail = in_mail
        entry.other_types = tuple(each[:NAME_LIMIT] for each in part.other_types)
        if len(part.names) > 1:
            self._names_left -= sum(map(len, part.names))
            if self._names_left < 0:
                self.mark(index, ObjectStatus.ERROR, evidence="more file names in this message than can be told")
                return
            entry.other_names = tuple(map(bounded_name, part.names[1:]))
            entry.evidence = bounded(f"some readers call it {', '.join(entry.other_names)}", EVIDENCE_LIMIT)

    def add_whole(self, size: int, name: str = "", content_type: str = "") -> int:
        """List the content of so many bytes itself: as the object of what concerns all of it, or as the only one."""
        whole = Span(0, size)
        spans = PartSpans(whole, whole, (), NO_SPAN, 1)
        self.entries.append(Entry(ObjectKind.PART, -1, bounded_name(name), bounded(content_type, NAME_LIMIT), spans))
        return len(self.entries) - 1

    def mark(
        self,
        index: int,
        status: ObjectStatus,
        threat: str = "",
        evidence: str = "",
        *,
        engine: str = "",
        delete: bool = False,
    ) -> None:
        """Give an object a status if it is worse than what it has, and pass it on to what holds a member."""
        threat, evidence = bounded(threat, NAME_LIMIT), bounded(evidence, EVIDENCE_LIMIT)
        while True:
            entry = self.entries[index]
            if RANK[status] < RANK[entry.status]:
                if entry.status is _DISINFECTED:
                    self._undo_cure(index)
                entry.status, entry.threat, entry.engine = status, threat, engine
                entry.evidence, entry.cured = evidence[:EVIDENCE_LIMIT], None
            entry.delete = entry.delete or delete
            if entry.kind is not _MEMBER or entry.parent < 0:
                return
            evidence = f"in {entry.name or entry.content_type or 'an unnamed object'}: {evidence}"
            if len(evidence) > EVIDENCE_LIMIT:  # what it is in, at first, and what it is
                evidence = f"{evidence[:_EVIDENCE_HEAD]} … {evidence[-_EVIDENCE_TAIL:]}"
            index = entry.parent

    def mark_filtered(self, index: int, *, last: bool = True) -> None:
        """Note that an object is filtered; `last`: it was just listed. What holds it is not filtered for that."""
        if last:
            self.entries[index].status = _FILTERED
            self.entries[index].evidence = "filtered by name or type, not scanned"
        else:
            self.mark(index, _FILTERED, evidence="it holds what is filtered by name, not scanned")

    def mark_cured(self, index: int, cured: bytes, removed: str) -> None:
        """Note that an object, the last on the list but for its members, has a cured form, and so they have."""
        for entry in self.entries[index:]:
            if entry.status in CURABLE:
                entry.uncured, entry.status = entry.status, _DISINFECTED
        entry = self.entries[index]
        entry.cured = cured
        if removed:
            entry.evidence = bounded(f"{entry.evidence}; removed: {removed}", EVIDENCE_LIMIT)

    def mark_encrypted(self, index: int, encryption: str) -> None:
        """Note that what an object holds was not scanned, since its recipient alone can decrypt it: no status of its
        own, for groups differ about that.
        """
        entry = self.entries[index]
        entry.encrypted = encryption
        if entry.status is _CLEAN:
            told = f"encrypted for its recipient ({encryption}): what it holds was not scanned"
            entry.evidence = bounded(f"{told}; {entry.evidence}" if entry.evidence else told, EVIDENCE_LIMIT)
        self.encryptions.add(encryption)

    def _undo_cure(self, index: int) -> None:
        """Note that an object's cured form does not help: what else it holds, another reading of it, is bad."""
        within = {index}
        for place, entry in enumerate(self.entries[index + 1 :], index + 1):
            if entry.kind is _MEMBER and entry.parent in within:
                within.add(place)
                if entry.status is _DISINFECTED:
                    entry.status = entry.uncured

    def settle_member(self, index: int) -> None:
        """Keep the member just listed unless it is one clean one too many."""
        entry = self.entries[index]
        if index != len(self.entries) - 1 or entry.status is not _CLEAN or entry.encrypted:
            return
        self._clean_members += 1
        if self._clean_members > CLEAN_MEMBERS_LISTED:
            self.entries.pop()
            self.unlisted += 1

    def findings(self) -> list[Finding]:
        """Return what is to be said of the list as a whole."""
        found = []
        if self.encryptions:
            what = f"encrypted for its recipient ({', '.join(sorted(self.encryptions))}): not scanned"
            found.append(Finding(ENCRYPTED, what))
        if self.unlisted:
            what = f"{self.unlisted} clean objects inside others are not listed"
            found.append(Finding(UNLISTED, what, float(self.unlisted)))
        return found

    def reports(self) -> tuple[ObjectReport, ...]:
        """Return the finished reports."""
        return tuple(map(_build_report, self.entries))


def bounded(text: str, limit: int) -> str:
    """Return the text as it can be sent and stored: of bounded length, without lone surrogates."""
    text = text[:limit]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def bounded_name(name: str) -> str:
    """Return a file name of bounded length that still ends as it did: filters and people go by its ending."""
    if len(name) > NAME_LIMIT:
        name = f"{name[: NAME_LIMIT - NAME_TAIL - 1]}…{name[-NAME_TAIL:]}"
    return bounded(name, NAME_LIMIT)


def _build_report(entry: Entry) -> ObjectReport:
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
        cured=entry.cured if entry.status is _DISINFECTED else None,
        delete=entry.delete and entry.status is ObjectStatus.INFECTED,
        found=entry.found.value if entry.found is not None else "",
        engine=entry.engine,
        uncured=entry.uncured,
        other_names=entry.other_names,
        other_types=entry.other_types,
        in_mail=entry.in_mail,
        encrypted=entry.encrypted,
    )
