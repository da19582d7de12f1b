"""Signatures in ClamAV's text forms as files of databases of ours: `*.hdb`, `*.hsb`, `*.ndb`.

Called by `gatepost feed build`. What has no equal here is left out and named, never approximated: offsets from entry
points and sections, negations, and what looks into text that ClamAV has normalised first. The licence of signatures is
their author's.
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gatepost.antivirus.scope import Scope
from gatepost.antivirus.signatures import BadSignature, parse_hash, parse_pattern
from gatepost.feeds.manifest import TRIAL
from gatepost.feeds.trial_samples import SUFFIX, wrap_sample

HASHES: Final = (".hdb", ".hsb")
PATTERNS: Final = ".ndb"
LINE_LIMIT: Final = 64 * 1024
_TARGETS: Final = {"0": Scope.ANY, "1": Scope.EXECUTABLE, "2": Scope.OFFICE, "6": Scope.EXECUTABLE,
                   "9": Scope.EXECUTABLE, "10": Scope.PDF}  # fmt: skip
"""Target types of ClamAV whose scope is one of ours. Types 3 and 7 look at normalised text, 4 at whole mails."""
_NAME: Final = re.compile(r"[^A-Za-z0-9._/@!+~-]+")


class BadSignatures(Exception):  # noqa: N818 - what the files are
    """The sources cannot be made into a set. The text says why."""


def convert_folder(sources: Path, target: Path) -> list[str]:
    """Copy sources into a new directory, ClamAV's files converted, trial samples wrapped; return what was left out, and
    why, in lines for people. BadSignatures, OSError.
    """
    if not sources.is_dir():
        raise BadSignatures(f"{sources}: no directory of sources")
    if target.exists() and any(target.iterdir()):
        raise BadSignatures(f"{target}: is not empty; a set is built into a new directory")
    target.mkdir(parents=True, exist_ok=True)
    notes = []
    for path in sorted(sources.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(sources)
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name.as_posix().startswith(TRIAL):
            wrapped = path.suffix == SUFFIX
            data = path.read_bytes()
            place.with_name(name.name + SUFFIX * (not wrapped)).write_bytes(data if wrapped else wrap_sample(data))
        elif path.suffix in (*HASHES, PATTERNS):
            suffix = ".hash" if path.suffix in HASHES else ".pattern"
            kept, left = convert_lines(path.read_text("utf-8", "replace").splitlines(), hashes=suffix == ".hash")
            if kept:
                place.with_suffix(f"{path.suffix}{suffix}").write_text("".join(f"{line}\n" for line in kept), "utf-8")
            notes.append(f"{path.name}: {len(kept)} signatures taken, {sum(left.values())} left out")
            notes += [f"  {count} x {why}" for why, count in left.most_common()]
        else:
            shutil.copyfile(path, place)
    return notes


def convert_lines(lines: Iterable[str], *, hashes: bool) -> tuple[list[str], Counter[str]]:
    """Return the lines in our form, and how many were left out for which reason."""
    kept: list[str] = []
    left: Counter[str] = Counter()
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            kept.append(_convert_hash(text) if hashes else _convert_pattern(text))
        except BadSignature as error:
            left[str(error)] += 1
    return kept, left


def _convert_hash(text: str) -> str:
    """`DIGEST:SIZE:NAME[:FLEVEL]`."""
    fields = text.split(":")
    if len(text) > LINE_LIMIT or len(fields) not in (3, 4, 5):
        raise BadSignature("not DIGEST:SIZE:NAME")
    line = f"{fields[0].lower()}:{fields[1]}:{_NAME.sub('_', fields[2])}"
    parse_hash(line)
    return line


def _convert_pattern(text: str) -> str:
    """`NAME:TARGET:OFFSET:HEX[:MINFL[:MAXFL]]`."""
    fields = text.split(":")
    if len(text) > LINE_LIMIT or not 4 <= len(fields) <= 6:
        raise BadSignature("not NAME:TARGET:OFFSET:HEX")
    name, target, offset, hexadecimal = fields[:4]
    scope = _TARGETS.get(target)
    if scope is None:
        raise BadSignature(f"target type {target[:4]}: what it looks at is not there as such")
    if offset[:2] in {"EP", "SL", "SE", "VI"} or re.match(r"S\d", offset):
        raise BadSignature("offset from an entry point, a section or a version block")
    if "!" in hexadecimal or "[" in hexadecimal or "(B)" in hexadecimal or "(L)" in hexadecimal or "(W)" in hexadecimal:
        raise BadSignature("negation, anchored bytes or word boundaries")
    line = f"{_NAME.sub('_', name)}:{'*' if scope is Scope.ANY else scope}:{offset}:{hexadecimal.lower()}"
    parse_pattern(line)
    return line
