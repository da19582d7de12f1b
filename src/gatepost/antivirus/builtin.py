"""The built-in engine: a small rule set of our own on yara-x, the EICAR family included.

Registered as engine `builtin`; made in the template process (compiles the rules once, 10 ms), used in the filters that
share it. A rule says everything in its `meta`: threat, outcome, evidence, and for the test family `cure` (content that
replaces the object) or `delete`. No rule needs code here.
"""

import hashlib
import math
import time
from collections.abc import Mapping
from importlib.resources import files

import yara_x

from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject

RULE_FILES = ("eicar.yar", "structure.yar")
NAME_VARIABLE = "object_name"
"""What rules call the file name of the object under scan."""
SHARED_CHARACTERS = 255
"""Of a name, shown to the rules: longer ones only serve to slow them."""

_RANK = {Outcome.INFECTED: 0, Outcome.SUSPICIOUS: 1, Outcome.PROTECTED: 2, Outcome.ERROR: 3, Outcome.CLEAN: 4}

Meta = Mapping[str, object]


class BuiltinEngine:
    """Rules of the package, compiled; the scanner is made at the first scan of a process, never before a fork."""

    name = "builtin"

    def __init__(self) -> None:
        compiler = yara_x.Compiler()
        compiler.define_global(NAME_VARIABLE, "")
        folder = files("gatepost.antivirus") / "rules"
        digest = hashlib.sha256()
        for name in RULE_FILES:
            source = (folder / name).read_text("ascii")
            digest.update(source.encode("ascii"))
            compiler.add_source(source, origin=name)
        self._version = digest.hexdigest()[:16]
        self._rules = compiler.build()
        self._scanner: yara_x.Scanner | None = None
        self._named = False

    def version(self) -> str:
        """Return a digest of the rules."""
        return self._version

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        """Match the rules; the worst outcome of those that match is the answer."""
        found = self._match(subject.data, subject.name, deadline)
        if not found:
            return CLEAN
        if isinstance(found, Report):
            return found
        reports = [_report(meta) for meta in found]
        return min(reports, key=lambda report: _RANK[report.outcome])

    def cure(self, subject: ScanObject) -> bytes | None:
        """Return the replacement that the matching rule names."""
        found = self._match(subject.data, "", math.inf)
        if isinstance(found, list):
            for meta in found:
                if "cure" in meta:
                    return str(meta["cure"]).encode("ascii")
        return None

    def health(self) -> str:
        """Return "": compiled rules can scan."""
        return ""

    def _match(self, data: bytes, name: str, deadline: float) -> list[Meta] | Report:
        scanner = self._scanner
        if scanner is None:
            scanner = self._scanner = yara_x.Scanner(self._rules)
        if name or self._named:
            scanner.set_global(NAME_VARIABLE, name[:SHARED_CHARACTERS])
            self._named = bool(name)
        if deadline != math.inf:
            scanner.set_timeout(max(1, math.ceil(deadline - time.monotonic())))
        try:
            matching = scanner.scan(data).matching_rules
        except yara_x.TimeoutError:
            return Report(Outcome.ERROR, evidence="the scan did not end in time")
        except yara_x.ScanError as error:
            return Report(Outcome.ERROR, evidence=f"the scan failed: {error}")
        return [dict(rule.metadata) for rule in matching] if matching else []


def _report(meta: Meta) -> Report:
    return Report(
        Outcome(str(meta["outcome"])),
        threat=str(meta["threat"]),
        evidence=str(meta["evidence"]),
        delete=bool(meta.get("delete", False)),
    )
