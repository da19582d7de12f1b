"""The built-in engine: rules, patterns, hashes, container rules and deceiving names, the EICAR family included.

Registered as engine `builtin`; made in the template process from compiled databases (`antivirus.compiling.Image`), used
in the filters that share them. A rule says everything in its `meta`: threat, outcome, evidence, and for the test family
`cure` (content that replaces the object) or `delete`. Dear rules are kept for the objects they are about
(`antivirus.scope`): an ordinary text costs a few microseconds.
"""

import fnmatch
import io
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec
import yara_x

from gatepost.antivirus.compiling import (
    INSIDE_VARIABLE,
    NAME_VARIABLE,
    PATTERN_NAMESPACE,
    TYPE_VARIABLE,
    Image,
    compile_knowledge,
)
from gatepost.antivirus.disguise import judge_name, judge_type
from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.hashes import HashIndex
from gatepost.antivirus.kinds import Kind
from gatepost.antivirus.scope import Scope, resolve_scopes
from gatepost.antivirus.signatures import ContainerRule, Pattern, outcome_of
from gatepost.antivirus.sources import SetFacts, Source

SHARED_CHARACTERS = 255
"""Of a name or type, shown to the rules: longer ones only serve to slow them."""
WIDE_SEARCH = 512
"""Bytes among which a script in 16-bit units has a zero: one of commands is not without a Latin letter so long."""
EVIDENCE_LIMIT = 300
"""Characters of a foreign rule's description that are repeated."""

_SCRIPT = Scope.SCRIPT
_LIKELY = Outcome.SUSPICIOUS
_RANK = {Outcome.INFECTED: 0, Outcome.SUSPICIOUS: 1, Outcome.ERROR: 2, Outcome.PROTECTED: 3, Outcome.CLEAN: 4}

Meta = Mapping[str, object]
SCANNER_RESERVE = 80 * 1024 * 1024
"""Address space that a scanner reserves and, but for some kilobytes, does not use (memory of WebAssembly, its guard).
One that cannot have it ends the process."""


class _ScopeScanner:
    """Rules and patterns of one scope; the scanner is made at its first scan in a process, never before a fork."""

    def __init__(self, rules: yara_x.Rules, patterns: Sequence[Pattern]) -> None:
        self._rules = rules
        self._patterns = patterns
        self._scanner: yara_x.Scanner | None = None
        self._named = False

    def scan(self, subject: ScanObject, deadline: float) -> Sequence[yara_x.Rule]:
        """Return the rules that match. yara_x.ScanError, yara_x.TimeoutError."""
        scanner = self._scanner
        if scanner is None:
            scanner = self._scanner = yara_x.Scanner(self._rules)
        named = bool(subject.name or subject.inside)
        if named or self._named:
            scanner.set_global(NAME_VARIABLE, subject.name[:SHARED_CHARACTERS])
            scanner.set_global(TYPE_VARIABLE, subject.content_type[:SHARED_CHARACTERS])
            scanner.set_global(INSIDE_VARIABLE, subject.inside.value if subject.inside is not None else "")
            self._named = named
        if deadline != math.inf:
            scanner.set_timeout(max(1, math.ceil(deadline - time.monotonic())))
        matching: Sequence[yara_x.Rule] = scanner.scan(subject.data).matching_rules
        # The library's own order is that in which sets of rules matched first in this process.
        return sorted(matching, key=lambda rule: (rule.identifier, rule.namespace)) if len(matching) > 1 else matching

    def reports(self, matching: Iterable[yara_x.Rule], size: int) -> list[Report]:
        """Return what matching rules say."""
        reports: list[Report] = []
        for rule in matching:
            if rule.namespace == PATTERN_NAMESPACE:
                reports += self._pattern_reports(rule, size)
            else:
                reports.append(_rule_report(rule))
        return reports

    def _pattern_reports(self, group: yara_x.Rule, size: int) -> Iterable[Report]:
        for each in group.patterns:
            pattern = self._patterns[int(each.identifier[2:])]
            for match in each.matches:
                if pattern.fits(match.offset, size):
                    yield Report(
                        outcome_of(pattern.name), pattern.name, f"bytes of {pattern.name} at offset {match.offset}"
                    )
                    break


class BuiltinEngine:
    """The engine with the databases of an image; without one, with those the package carries."""

    name = "builtin"

    def __init__(self, image: Image | None = None) -> None:
        if image is None:
            image = compile_knowledge(packaged_sources())
        self._version = _build_version(image)
        self.sets: tuple[SetFacts, ...] = image.sets
        """What the databases are."""
        self._scopes = {
            Scope(scope): _ScopeScanner(yara_x.Rules.deserialize_from(io.BytesIO(rules)), image.patterns.get(scope, ()))
            for scope, rules in image.rules.items()
        }
        self._any = self._scopes.pop(Scope.ANY, None)
        self._hashes = HashIndex(image.hashes) if image.hashes else None
        self._good = HashIndex(image.good) if image.good else None
        self._containers = _by_container(image.containers)
        self._ignored = re.compile("|".join(map(fnmatch.translate, image.ignored))) if image.ignored else None

    @property
    def reserved_bytes(self) -> int:
        """Return the address space that all scanners together reserve in a process."""
        return SCANNER_RESERVE * (len(self._scopes) + (self._any is not None))

    def version(self) -> str:
        """Return day, records and digest of the databases: `20260131 #12345 0123456789abcdef`."""
        return self._version

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        """Ask everything that knows something of such an object; the worst answer counts."""
        found: list[Report] = []
        if self._any is not None:
            self._match(self._any, subject, deadline, found)
        for scope in resolve_scopes(subject):
            scanner = self._scopes.get(scope)
            if scanner is not None:
                self._match(scanner, _narrow(subject) if scope is _SCRIPT else subject, deadline, found)
        if self._hashes is not None:
            threat, algorithm = self._hashes.find(subject.data)
            if threat:
                found.append(Report(outcome_of(threat), threat, f"known as a whole by its {algorithm.upper()}"))
        deceit = judge_name(subject) if subject.name else judge_type(subject)
        if deceit is not None:
            found.append(deceit)
        if subject.inside is not None:
            found += self._judge_member(subject, subject.inside)
        return self._conclude(found, subject) if found else CLEAN

    def cure(self, subject: ScanObject) -> bytes | None:
        """Return the replacement that the matching rule names."""
        if self._any is None:
            return None
        for rule in self._any.scan(subject, math.inf):
            cure = dict(rule.metadata).get("cure")
            if cure is not None:
                return str(cure).encode("ascii")
        return None

    def health(self) -> str:
        """Return "": compiled rules can scan."""
        return ""

    def _match(self, scanner: _ScopeScanner, subject: ScanObject, deadline: float, found: list[Report]) -> None:
        try:
            matching = scanner.scan(subject, deadline)
        except yara_x.TimeoutError:
            found.append(Report(Outcome.ERROR, evidence="the scan did not end in time"))
        except yara_x.ScanError as error:
            found.append(Report(Outcome.ERROR, evidence=f"the scan failed: {error}"))
        else:
            if matching:
                found += scanner.reports(matching, len(subject.data))

    def _judge_member(self, subject: ScanObject, inside: Kind) -> Iterable[Report]:
        size = len(subject.data)
        for rules in (self._containers.get(inside, ()), self._containers.get(None, ())):
            for rule in rules:
                if rule.fits(subject.name, subject.kind, size):
                    yield Report(outcome_of(rule.name), rule.name, rule.evidence)

    def _conclude(self, found: list[Report], subject: ScanObject) -> Report:
        """Return the worst report that is neither ignored nor about an object known to be good: of equal ones the name
        of something known before what only looks like it, and then what was asked first.
        """
        if self._ignored is not None:
            found = [each for each in found if not each.threat or self._ignored.match(each.threat) is None]
        if not found or (self._good is not None and self._good.find(subject.data)[0]):
            return CLEAN
        return min(found, key=lambda report: (_RANK[report.outcome], outcome_of(report.threat) is _LIKELY))


def _narrow(subject: ScanObject) -> ScanObject:
    """Return a script in 16-bit units, which Windows runs as well, in the bytes that rules are written for. A mark of
    such units in front of others deceives editors; command interpreters pass over it.
    """
    data = subject.data
    wide = data.find(b"\0", 0, WIDE_SEARCH) >= 0
    if (wide and data.startswith(b"\xff\xfe")) or data[1:16:2] == bytes(8):
        charset = "utf-16-le"
    elif (wide and data.startswith(b"\xfe\xff")) or data[:16:2] == bytes(8):
        charset = "utf-16-be"
    else:
        return subject
    return msgspec.structs.replace(subject, data=data.decode(charset, "replace").encode("utf-8", "replace"))


def _build_version(image: Image) -> str:
    if not image.sets:
        return image.digest[:16]
    issued = max(each.issued for each in image.sets).replace("-", "")
    return f"{issued} #{sum(each.records for each in image.sets)} {image.digest[:16]}"


def packaged_sources() -> list[Source]:
    """Return the database the package carries."""
    return sorted(_walk(files("gatepost.antivirus") / "rules", ""), key=lambda source: source.path)


def _walk(folder: Traversable, prefix: str) -> Iterable[Source]:
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        elif not entry.name.startswith("manifest."):
            yield Source(path, entry.read_bytes(), "base")


def _by_container(rules: Iterable[ContainerRule]) -> dict[Kind | None, tuple[ContainerRule, ...]]:
    """Return container rules by the container's kind; under None those for any."""
    table: dict[Kind | None, tuple[ContainerRule, ...]] = {}
    for rule in rules:
        for kind in rule.containers or (None,):
            table[kind] = (*table.get(kind, ()), rule)
    return table


def _rule_report(rule: yara_x.Rule) -> Report:
    """Return what a matching rule says; one that was not written for us names itself."""
    meta: Meta = dict(rule.metadata)
    threat = str(meta.get("threat", rule.identifier))
    evidence = str(meta.get("evidence", "")) or f"rule {rule.identifier}: {meta.get('description', 'no description')}"
    outcome = meta.get("outcome")
    return Report(
        Outcome(str(outcome)) if outcome in set(Outcome) else outcome_of(threat),
        threat=threat,
        evidence=evidence[:EVIDENCE_LIMIT],
        delete=bool(meta.get("delete", False)),
    )
