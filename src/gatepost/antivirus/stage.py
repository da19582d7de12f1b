"""The anti-virus stage: one message in, the status of every object in it out.

Called by the filter process for each job. Walks the MIME tree; header block, leaves (decoded), texts around them,
encoded blocks, encoded nested messages, other readings and members of containers are objects, and every one goes to
every engine, unless all groups filter it (F-AV-16) or the same was found clean before. Promises: nothing the message
holds raises; what was not scanned, or not to the end, is never clean.
"""

import hashlib
import time
from collections.abc import Sequence

import msgspec

from gatepost.antivirus.budget import Budget, OverBudget
from gatepost.antivirus.charsets import read_oddly
from gatepost.antivirus.clean_keys import BodyKeys, CleanMemory, build_circumstances, find_candidates
from gatepost.antivirus.cure import BadMember, plan_cure
from gatepost.antivirus.disguise import judge_path, judge_reference
from gatepost.antivirus.engine import CLEAN, Engine, Outcome, Overrun, RemoteEngine, ScanObject
from gatepost.antivirus.keyring import Keyring
from gatepost.antivirus.kind_names import conflicts
from gatepost.antivirus.kinds import ENCODED_BLOCKS, Kind, detect_kind, extension_of, find_behind, other_kinds
from gatepost.antivirus.objects import CURABLE, CURED_OVERHEAD, EVIDENCE_LIMIT, NO_SPAN, ObjectList, bounded
from gatepost.antivirus.opening import Member, Opening
from gatepost.antivirus.panel import STATUS, Arm, MustWait, Panel
from gatepost.antivirus.recollection import Remembered, recall
from gatepost.antivirus.unpack import ARCHIVES, is_opened, open_container
from gatepost.antivirus.volumes import EVIDENCE, is_volume, is_volume_of_archive, join_volumes, volume_of
from gatepost.mime.blocks import MAX_BLOCKS, TOO_MANY, Block, decode_block, find_uu_blocks
from gatepost.mime.decode import decode_body
from gatepost.mime.line_ends import read_returns
from gatepost.mime.part import Message, Part, PartKind
from gatepost.mime.report import PartSpans, part_spans
from gatepost.mime.structure import parse
from gatepost.model.finding import Analysis, BareObject, Finding, ObjectKind, ObjectStatus, ScanOptions, Span
from gatepost.policy.object_filter import compile_filter

TYPE_CONFLICT = "type-conflict"
"""Finding: name, declared type and content of an object disagree."""
CONFLICTS_TOLD = 100
KNOWN_EVIDENCE = "found clean before"
_LOCKED = "protected by a password"

_CLEAN = ObjectStatus.CLEAN
_HOPELESS = frozenset((ObjectStatus.ERROR, ObjectStatus.PROTECTED, ObjectStatus.FILTERED))
"""Statuses that no cure takes away: where one of these is left there is no cured form."""


def inspect(
    content: bytes,
    options: ScanOptions,
    engines: Sequence[Engine],
    deadline: float,
    arm: Arm = lambda _seconds: None,
    *,
    remote: Sequence[RemoteEngine] = (),
    memory: CleanMemory | None = None,
    body_keys: BodyKeys | None = None,
    message: Message | None = None,
) -> Analysis:
    """Scan a message, parsed as `message` if somebody has done that. `deadline`: monotonic moment at which what is left
    is reported as `error`. `arm`: the alarm that interrupts an engine that does not come back; without one the engines'
    own care must do. `memory`: who remembers what was found clean, used with `ScanOptions.cache`;
    `body_keys`: to ask it about large bodies without decoding them.
    """
    started = time.monotonic()
    panel = Panel(engines, remote, options, deadline, arm)
    inspection = _Inspection(content, options, panel, deadline)
    trouble = unscanned = ""
    try:
        if options.bare is not None:
            inspection.run_bare(options.bare)
        else:
            inspection.run(parse(content) if message is None else message, memory if options.cache else None, body_keys)
    except Overrun:
        arm(0)
        trouble = f"the inspection did not end within {options.deadline_s:g} s"
    except MemoryError:
        trouble = "the inspection needs more memory than a filter may have"
    except MustWait as error:
        unscanned = bounded(str(error), EVIDENCE_LIMIT)
    panel.close()
    return inspection.result(trouble, unscanned, (time.monotonic() - started) * 1000)


class _Inspection:
    def __init__(self, content: bytes, options: ScanOptions, panel: Panel, deadline: float) -> None:
        self.content = content
        self.options = options
        self.panel = panel
        self.deadline = deadline
        self.budget = Budget(options, deadline)
        self.opening = Opening(self.budget, options)
        self.filters = tuple(map(compile_filter, options.filters))
        self.objects = ObjectList()
        self.defects: set[str] = set()
        self.conflicts: list[Finding] = []
        self.secrets = 0
        """Members that were opened with a password."""
        self.cured_bytes = 0
        self.memory: CleanMemory | None = None
        self.remembered: dict[int, Remembered] = {}
        """By `id` of the part."""
        self.cached = 0
        self.volumes: list[tuple[str, bytes, int]] = []
        self.work: list[tuple[Message, Part, int, bool]] = []

    def run(self, message: Message, memory: CleanMemory | None, body_keys: BodyKeys | None) -> None:
        root = message.root
        self.opening.passwords = Keyring(message, self.options.passwords)
        if memory is not None:
            self.ask_memory(message, memory, body_keys)
        self.examine(self.objects.add(ObjectKind.HEADER, -1), self.content[root.start : root.body], "", header=True)
        self.work.append((message, root, -1, False))
        while self.work:
            self.visit(*self.work.pop())
        self.visit_returns(message)
        self.visit_volumes()
        if message.truncated:
            limits = ", ".join(sorted(defect for defect in self.defects if defect.startswith("limit-")))
            self.mark_whole(f"the message was not read to its end: {limits}")

    def run_bare(self, subject: BareObject) -> None:
        """Scan content that is one object and no message."""
        self.opening.passwords = self.options.passwords
        index = self.objects.add_whole(len(self.content), subject.name, subject.content_type)
        if not self.drop_filtered(index, 0):
            self.examine(index, self.content, subject.name)

    def mark_whole(self, evidence: str) -> None:
        self.objects.mark(self.objects.add_whole(len(self.content)), ObjectStatus.ERROR, evidence=evidence)

    def result(self, trouble: str, unscanned: str, elapsed_ms: float) -> Analysis:
        if trouble:
            self.mark_whole(trouble)
        findings = [Finding(f"mime-{defect}", "defect of the MIME structure") for defect in sorted(self.defects)]
        findings += self.conflicts
        findings += self.objects.findings()
        return Analysis(
            self.objects.reports(),
            tuple(findings),
            elapsed_ms,
            engines=self.panel.notes(),
            cached=self.cached,
            unscanned=unscanned,
        )

    # -- what was found clean before -----------------------------------------------------------------------------------

    def ask_memory(self, message: Message, memory: CleanMemory, body_keys: BodyKeys | None) -> None:
        """Ask about everything in the message that is likely to have been seen before."""
        candidates = [
            (owner, part)
            for owner, part in find_candidates(message)
            if not is_volume(part.name)
            and not self.is_filtered(ObjectKind.PART, part.names or ("",), (part.content_type, *part.other_types))
        ]
        versions = self.panel.versions() if candidates else ()
        if not versions:  # nothing to ask about, or an engine whose answers nobody could vouch for
            return
        self.memory = memory
        self.remembered = recall(candidates, build_circumstances(versions, self.options), memory, body_keys)

    # -- the tree --------------------------------------------------------------------------------------------------

    def add_part(self, message: Message, part: Part, parent: int, *, virtual: bool) -> int:
        """List a part: with its ranges, or as a member when it has none in the received content."""
        before = len(self.objects)
        if virtual:
            index = self.objects.add(ObjectKind.MEMBER, parent, part.name, part.content_type)
            if index >= before:
                self.objects.describe_part(index, part, in_mail=True)
            return index
        spans = part_spans(message.content, part)
        if part.kind is PartKind.PART:
            index = self.objects.add(ObjectKind.PART, parent, part.name, part.content_type, spans)
            if index >= before and (len(part.names) > 1 or part.other_types):
                self.objects.describe_part(index, part, in_mail=False)
            return index
        spans = PartSpans(spans.whole, NO_SPAN, (), NO_SPAN, 1)
        return self.objects.add(ObjectKind.BLOCK, parent, "", "text/plain", spans)

    def is_filtered(self, kind: ObjectKind, names: Sequence[str], types: Sequence[str]) -> bool:
        """Tell whether every group filters an object by each of its names and types."""
        filters = self.filters
        return bool(filters) and all(
            each.matches_object(kind, name, declared) for each in filters for name in names for declared in types
        )

    def drop_filtered(self, index: int, before: int) -> bool:
        """Note it if the object is filtered: then nothing looks at it. `before`: length of the list without it."""
        if not self.filters:
            return False
        entry = self.objects[index]
        kind = ObjectKind.PART if entry.in_mail else entry.kind
        names, types = (entry.name, *entry.other_names), (entry.content_type, *entry.other_types)
        if not self.is_filtered(kind, names, types):
            return False
        self.objects.mark_filtered(index, last=index >= before)
        return True

    def visit(self, message: Message, part: Part, parent: int, virtual: bool) -> None:
        """Scan one part; what it contains goes on the work list, in tree order behind it."""
        if part.defects:
            self.defects.update(part.defects)
        index = parent
        before = len(self.objects)
        following: list[tuple[Message, Part, int, bool]] = []
        if part.nested is not None:
            index = self.add_part(message, part, parent, virtual=virtual)
            if self.drop_filtered(index, before):
                return
            root = part.nested.root
            self.examine(index, part.nested.content[root.start : root.body], "", header=True)
            following.append((part.nested, root, index, True))
        elif part.children and part.content_type.startswith("multipart/"):
            around = (part.preamble, *part.children, part.epilogue)
            following += [(message, each, parent, virtual) for each in around if each is not None]
            if part.alternatives:
                index = self.add_part(message, part, parent, virtual=virtual)
        elif part.children:
            index = self.add_part(message, part, parent, virtual=virtual)
            filtered = self.drop_filtered(index, before)
            for root in part.children:  # parts in a filtered message are judged on their own
                if not filtered:
                    self.examine(index, message.content[root.start : root.body], "", header=True)
                following.append((message, root, index, virtual))
        else:
            index = self.add_part(message, part, parent, virtual=virtual)
            self.visit_leaf(message, part, index, before, virtual=virtual)
        following += [(message, other, index, True) for other in part.alternatives]
        self.work += reversed(following)

    def visit_leaf(self, message: Message, part: Part, index: int, before: int, *, virtual: bool) -> None:
        remembered = self.remembered.pop(id(part), None) if self.remembered else None
        if remembered is None:
            data = decode_body(message.content, part).data
        elif remembered.data is not None:
            data = remembered.data
        else:
            self.cached += 1
            if index >= before:
                entry = self.objects[index]
                entry.size, entry.evidence = remembered.size, KNOWN_EVIDENCE
            return
        vouched = (len(self.defects), len(self.conflicts), self.secrets)
        filtered = self.drop_filtered(index, before)
        if filtered:
            self.objects[index].size = len(data)
        else:
            self.examine(index, data, part.name, walked=True)
            for name in _find_other_kinds_of_names(part):
                self.examine(index, data, name, walked=True)
            self.read_otherwise(index, data, part)
            if part.content_type == "message/partial":
                evidence = "a fragment of a message: the rest is not here"
                self.objects.mark(index, ObjectStatus.PROTECTED, evidence=evidence)
            elif part.content_type == "message/external-body":
                self.judge_elsewhere(index, part)
        blocks = find_uu_blocks(data, 0, len(data))
        if blocks:
            # In an unencoded body a block's lines are a range of the received content, else they are in the object.
            ranged = not virtual and data == message.content[part.body : part.end]
            if ranged or not filtered:
                for block in blocks:
                    self.visit_block(data, block, index, part.body if ranged else None)
                if len(blocks) >= MAX_BLOCKS:
                    self.objects.mark(index, ObjectStatus.ERROR, evidence=TOO_MANY)
        if remembered is not None and self.memory is not None:
            new = self.objects.entries[index:]
            sound = vouched == (len(self.defects), len(self.conflicts), self.secrets) and not self.objects.full
            if sound and all(entry.status is _CLEAN and not entry.encrypted for entry in new):
                for place in remembered.places:
                    self.memory.learn(place)

    def read_otherwise(self, index: int, data: bytes, part: Part) -> None:
        """Scan a text as its charset has it, and keep a volume for its other volumes."""
        charset = part.parameters.get("charset", "")
        if charset and part.content_type.startswith("text/"):
            text = read_oddly(data, charset.strip().lower())
            if text is not None:
                member = self.objects.add(ObjectKind.MEMBER, index, "", part.content_type)
                self.examine(member, text, part.name, content_type=part.content_type)
        if part.name and volume_of(part.name) is not None:
            self.volumes.append((part.name, data, index))

    def visit_returns(self, message: Message) -> None:
        """Scan a message also as readers have it for whom a carriage return alone ends a line."""
        content = read_returns(message)
        if content is None:
            return
        other = parse(content)
        holder = self.objects.add_whole(len(content))
        self.work.append((other, other.root, holder, True))
        while self.work:
            self.visit(*self.work.pop())
        if other.truncated:
            self.objects.mark(holder, ObjectStatus.ERROR, evidence="with other line ends it was not read to its end")

    def judge_elsewhere(self, index: int, part: Part) -> None:
        """Note it if the content of a part is a program, or an archive, that its reader is to fetch."""
        report = judge_reference(part.parameters)
        if report is not None:
            self.objects.mark(index, ObjectStatus.SUSPICIOUS, report.threat, report.evidence)

    def visit_volumes(self) -> None:
        """Scan the files whose volumes are attached one by one."""
        for name, data, holder in join_volumes(self.volumes):
            self.examine(self.objects.add(ObjectKind.MEMBER, holder, name), data, name)

    def visit_block(self, data: bytes, block: Block, holder: int, shift: int | None) -> None:
        """Scan an encoded block of a text. `shift`: where the text begins in the received content, None: not there."""
        before = len(self.objects)
        if shift is None:
            index = self.objects.add(ObjectKind.MEMBER, holder, block.name)
        else:
            spans = PartSpans(Span(shift + block.start, shift + block.end), NO_SPAN, (), NO_SPAN, 1)
            index = self.objects.add(ObjectKind.BLOCK, holder, block.name, "", spans)
        if self.drop_filtered(index, before):
            return
        content, damaged = decode_block(data, block)
        self.examine(index, content, block.name)
        if damaged:
            self.defects.add("block-damaged")

    # -- one object ------------------------------------------------------------------------------------------------

    def examine(
        self,
        index: int,
        data: bytes,
        name: str,
        depth: int = 0,
        content_type: str = "",
        inside: Kind | None = None,
        *,
        secret: bool = False,
        header: bool = False,
        walked: bool = False,
    ) -> bytes | None:
        """Scan one decoded object and open it if it is a container. Return its cured form if it needs one and there is
        one; an element of the mail that can be edited has it in its report then. `header`: it is only the object's
        header block, which has no kind and is neither opened nor cured. `walked`: the caller visits the encoded blocks
        in it.
        """
        entry = self.objects[index]
        entry.size = entry.size or len(data)
        content_type = content_type or entry.content_type
        kind = None if header else detect_kind(data, name, content_type)
        if kind is not None:
            entry.found = entry.found or kind
            self.note_conflict(kind, name, content_type)
        first = len(self.objects)
        subject = ScanObject(data, name, content_type, kind, inside, secret, header)
        report, whose, engine = self.panel.ask(subject)
        if report is not CLEAN:
            status = STATUS[report.outcome]
            self.objects.mark(index, status, report.threat, report.evidence, engine=whose, delete=report.delete)
        elif name and kind is None and not header and is_volume_of_archive(name):
            self.objects.mark(index, ObjectStatus.PROTECTED, evidence=EVIDENCE)
        bad: list[BadMember] = []
        if kind is not None:
            for each in self.readings(subject, kind, walked=walked):
                bad += self.open(index, subject, each, depth)
        if entry.status not in CURABLE or not self.options.cure or header:
            return None
        curer = engine if report.outcome is Outcome.INFECTED else None
        cured = self.cure(index, first, subject, bad, curer, itself=report is not CLEAN)
        if cured is None or depth > 0:
            return None if cured is None else cured[0]
        if not entry.ranged:
            entry.evidence = bounded(f"{entry.evidence}; it cannot be cured where it is", EVIDENCE_LIMIT)
        elif self.is_sound(subject, cured[0]):
            self.cured_bytes += len(cured[0])
            self.objects.mark_cured(index, *cured)
        return None

    def readings(self, subject: ScanObject, kind: Kind, *, walked: bool) -> list[Kind]:
        """Return as what an object is opened: as what it is, as what else programs take it for; as the archive behind
        its beginning where that alone would not have it opened.
        """
        kinds = (kind, *other_kinds(subject.data, kind, subject.name, subject.content_type))
        chosen = [each for each in kinds if is_opened(each, self.opening) and not (walked and each in ENCODED_BLOCKS)]
        if not chosen and self.options.archives:
            behind = find_behind(subject.data, kind)
            if behind is not None:
                chosen.append(behind)
        return chosen

    def note_conflict(self, kind: Kind, name: str, content_type: str) -> None:
        words = conflicts(kind, name, content_type)
        if words and len(self.conflicts) < CONFLICTS_TOLD:
            what = f"{name or content_type or 'an object without a name'}: {words}"
            self.conflicts.append(Finding(TYPE_CONFLICT, bounded(what, EVIDENCE_LIMIT)))

    def open(self, index: int, container: ScanObject, kind: Kind, depth: int) -> list[BadMember]:
        """Examine the members of a container; return those that are bad."""
        objects = self.objects
        bad: list[BadMember] = []
        if depth >= self.budget.depth:
            evidence = f"archives nested deeper than {self.budget.depth} levels"
            objects.mark(index, ObjectStatus.ERROR, evidence=evidence)
            return bad
        try:
            for member in open_container(container.data, kind, container.name, self.opening):
                if member.encrypted and not member.protected:
                    objects.mark_encrypted(index, member.encrypted)
                elif not member.name and member.data is None:  # about the container itself
                    status = ObjectStatus.PROTECTED if member.protected and not member.trouble else ObjectStatus.ERROR
                    locked = f"{member.encrypted}, locked by a password" if member.encrypted else _LOCKED
                    objects.mark(index, status, evidence=member.trouble or locked)
                elif (found := self.open_member(index, container, kind, member, depth)) is not None:
                    bad.append(found)
        except OverBudget as error:
            objects.mark(index, ObjectStatus.ERROR, evidence=str(error))
        except MemoryError:
            objects.mark(index, ObjectStatus.ERROR, evidence="unpacking needs more memory than a filter may have")
        return bad

    def open_member(
        self, index: int, container: ScanObject, kind: Kind, member: Member, depth: int
    ) -> BadMember | None:
        """Examine one member; return it when it is bad and may be cured."""
        objects, before = self.objects, len(self.objects)
        inner = objects.add(ObjectKind.MEMBER, index, member.name)
        self.secrets += member.secret
        if self.drop_filtered(inner, before):
            return None
        bad = None
        if member.data is not None:
            name, secret = member.name.rpartition("/")[2], member.secret or container.secret
            cured = self.examine(inner, member.data, name, depth + 1, member.content_type, kind, secret=secret)
            if objects[inner].status in CURABLE and self.options.cure:
                bad = BadMember(member.name, hashlib.sha256(member.data).digest(), cured)
        if member.protected:
            objects.mark(inner, ObjectStatus.PROTECTED, evidence=_LOCKED)
        if member.trouble:
            objects.mark(inner, ObjectStatus.ERROR, evidence=member.trouble)
        if kind in ARCHIVES and (way := judge_path(member.name)) is not None:
            objects.mark(inner, ObjectStatus.SUSPICIOUS, way.threat, way.evidence)
        objects.settle_member(inner)
        return bad

    # -- cure ------------------------------------------------------------------------------------------------------

    def cure(
        self,
        index: int,
        first: int,
        subject: ScanObject,
        bad: Sequence[BadMember],
        engine: Engine | None,
        *,
        itself: bool,
    ) -> tuple[bytes, str] | None:
        """Return the cured form of an object and in words what was taken out, None when there is none.

        `first`: index of its first member. `engine`: which found it infected and may cure it. `itself`: something was
        found in its own bytes. An archive loses what is infected; what is only suspicious stays suspicious, but for a
        document's active content, which can be taken out without loss.
        """
        entry, members = self.objects[index], self.objects.entries[first:]
        if entry.delete or self.objects.full or any(each.status in _HOPELESS for each in members):
            return None
        data = None if engine is None else _ask_for_cure(engine, subject)
        if data is not None:
            return data, ""
        if entry.status is ObjectStatus.SUSPICIOUS and subject.kind in ARCHIVES:
            return None
        planned = plan_cure(subject, bad, Budget(self.options, self.deadline), itself=itself)
        return None if planned is None else (planned.data, ", ".join(planned.removed))

    def is_sound(self, subject: ScanObject, cured: bytes) -> bool:
        """Tell whether a cured form may take an object's place: scanned as it was, nothing is found in it."""
        if self.cured_bytes + len(cured) > len(self.content) + CURED_OVERHEAD:
            return False
        options = msgspec.structs.replace(self.options, cure=False, cache=False, filters=())
        probe = _Inspection(self.content, options, self.panel, self.deadline)
        probe.opening.passwords = self.opening.passwords
        index = probe.objects.add(ObjectKind.PART, -1, subject.name, subject.content_type)
        probe.examine(index, cured, subject.name)
        return all(entry.status is _CLEAN for entry in probe.objects.entries)


def _find_other_kinds_of_names(part: Part) -> list[str]:
    """Return the names of a part that make another kind of file of it than its first does, one for each kind."""
    if len(part.names) < 2:
        return []
    by_extension = {extension_of(name): name for name in reversed(part.names)}
    del by_extension[extension_of(part.name)]
    return list(by_extension.values())


def _ask_for_cure(engine: Engine, subject: ScanObject) -> bytes | None:
    try:
        return engine.cure(subject)
    except Exception:  # noqa: BLE001 - a cure that fails is no cure: the object stays infected
        return None
