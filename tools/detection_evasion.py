"""The evasion mails of the collection "mime-is-broken": what is found in them, and whose names are seen.

Used by `tools/detection_table.py` and `tests/peers/test_detection_tables.py`.
"""

import csv
import io
import math
import os
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from detection_peers import Peers
from gatepost.antivirus.engine import Engine
from gatepost.antivirus.stage import inspect
from gatepost.model.finding import SEVERITY, ObjectFilterSpec, ObjectStatus, ScanOptions
from gatepost.policy.object_filter import compile_filter

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("GATEPOST_SHARED", ROOT.parent / "shared"))
ARCHIVE = SHARED / "corpora/mime/mime-tests.tar.gz"
FOLDER = "mime-tests/noxxi-mime-is-broken/"
STOPPED = frozenset((ObjectStatus.INFECTED, ObjectStatus.SUSPICIOUS, ObjectStatus.ERROR, ObjectStatus.PROTECTED))
"""Statuses that are no pass as clean."""
PAYLOAD_NAMES = ObjectFilterSpec(names=True, include_names=("*.zip",))
UNNAMED = re.compile(r"\.png$")
"""Mails of the second kind that are for comparison: their file is called .png by every reader."""
WHY_NOT = {
    "mac-binhex": "there is no file in it: the generator wrote `ARRAY(0x…)`, the address of a list, in its place",
}
"""Why nothing is found, by what the mail's name contains."""
_BODIES = (
    (r"mac-binhex|uu|x-y|gzip|noenc", "files in older encodings, or none"),
    (r"qph-", "quoted-printable body"),
    (r"b64h-basic-base64-", "base64 body"),
    (r"multipart|ct:|x\.", "type of the part"),
    (r"b64_HB|hdrstart", "between header and body"),
    (r"", "name of the encoding"),
)
_CONTAINERS = (
    (r"message-", "message inside the message"),
    (r"multipart-comment", "comments in the Content-Type"),
    (r"multipart-(?:hidekey|quot|esc)", "quotes and backslashes in the Content-Type"),
    (r"multipart-rfc2", "encoded or continued boundary"),
    (r"multipart-(?:space_boundary|semicolon)", "blanks and semicolons in the boundary"),
    (r"", "other ways to write a multipart"),
)
_NAMES = (
    (r"rfc2047|utf16", "encoded words and charsets"),
    (r"rfc2231", "continuations"),
    (r"fname-(?:c[dDtT]+)$", "different names in several fields"),
    (r"\.k", "comments"),
    (r"", "quotes, folds, semicolons"),
)


class Evasion(msgspec.Struct, frozen=True):
    """One mail of the collection."""

    name: str
    hides_content: bool
    """Its content is hidden; else only the name of a harmless file."""
    family: str
    content: bytes


class Row(msgspec.Struct, frozen=True):
    """One mail that hides content, and who found it."""

    mail: Evasion
    ours: ObjectStatus
    clamd: str
    rspamd: str


def evasions() -> Iterator[Evasion]:
    """Yield the mails in the order of the collection's index."""
    with tarfile.open(ARCHIVE, "r:gz") as archive:
        files = {}
        for member in archive:
            file = archive.extractfile(member) if member.name.startswith(FOLDER) and member.isfile() else None
            if file is not None:
                files[member.name.removeprefix(FOLDER)] = file.read()
    for row in csv.DictReader(io.StringIO(files["index.tsv"].decode()), delimiter="\t"):
        hides_content = row["kind"] == "hide-content"
        yield Evasion(row["id"], hides_content, _family(row["id"], hides_content), files[row["file"]])


def _family(name: str, hides_content: bool) -> str:
    if not hides_content:
        return next(family for pattern, family in _NAMES if re.search(pattern, name))
    container, _, body = name.partition("-singlepart-")
    if container == "multipart-basic":
        return next(family for pattern, family in _BODIES if re.match(pattern, body))
    return next(family for pattern, family in _CONTAINERS if re.match(pattern, container))


def find_status(engine: Engine, content: bytes) -> ObjectStatus:
    """Return the worst status of an object in a mail."""
    analysis = inspect(content, ScanOptions(), [engine], math.inf)
    return min((each.status for each in analysis.objects), key=SEVERITY.index)


def is_filtered(engine: Engine, content: bytes) -> bool:
    """Tell whether a filter by the payload's extension stops something in a mail."""
    analysis = inspect(content, ScanOptions(), [engine], math.inf)
    names = compile_filter(PAYLOAD_NAMES)
    return any(names.matches(each) or names.matches_reading(each) for each in analysis.objects)


def evasion_rows(engine: Engine, peers: Peers, mails: Iterable[Evasion]) -> list[Row]:
    """Return who finds what in the mails that hide content."""
    return [
        Row(
            mail,
            find_status(engine, mail.content),
            peers.ask_clamd(mail.content),
            peers.ask_rspamd(mail.content),
        )
        for mail in mails
        if mail.hides_content
    ]


def evasion_lines(engine: Engine, peers: Peers | None) -> list[str]:
    """Return the tables; without peers there are none of them to compare with, and so no tables."""
    if peers is None:
        return ["", "## Evasion mails", "", "Not made: clamd or rspamd is not installed."]
    mails = list(evasions())
    rows = evasion_rows(engine, peers, mails)
    lines = [
        "",
        "## Evasion mails",
        "",
        'The mails of "mime-is-broken" carry the test file in a zip archive behind inconsistent MIME, readable to some',
        "reader of mail. Gatepost scans with the shipped databases; clamd gets the whole mail as it is, rspamd",
        "gives clamd the parts it makes of it.",
        "",
        f"| what hides the content | mails | Gatepost | {peers.versions[0]} | {peers.versions[1]} + clamd |",
        "|---|---|---|---|---|",
    ]
    families: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        families[row.mail.family].append(row)
    for family, members in [*sorted(families.items()), ("all", rows)]:
        found = (sum(row.ours in STOPPED for row in members), sum(bool(row.clamd) for row in members))
        lines.append(
            f"| {family} | {len(members)} | {found[0]} | {found[1]} | {sum(bool(r.rspamd) for r in members)} |"
        )
    lines += ["", "Not found by Gatepost:", "", "| mail | found by others | why |", "|---|---|---|"]
    for row in rows:
        if row.ours not in STOPPED:
            finders = ", ".join(name for name, found in (("clamd", row.clamd), ("rspamd", row.rspamd)) if found)
            why = next((why for part, why in WHY_NOT.items() if part in row.mail.name), "unexplained")
            lines.append(f"| `{row.mail.name}` | {finders or 'nobody'} | {why} |")
    return lines + _name_lines(engine, mails)


def _name_lines(engine: Engine, mails: Iterable[Evasion]) -> list[str]:
    lines = [
        "",
        "The others call a file `file.zip` in a way that only some readers see; stopped by the filter `*.zip` are:",
        "",
        "| what hides the name | mails | stopped |",
        "|---|---|---|",
    ]
    families: defaultdict[str, list[bool]] = defaultdict(list)
    for mail in mails:
        if not mail.hides_content and not UNNAMED.search(mail.name):
            families[mail.family].append(is_filtered(engine, mail.content))
    lines += [f"| {family} | {len(each)} | {sum(each)} |" for family, each in sorted(families.items())]
    every = [each for members in families.values() for each in members]
    return [*lines, f"| all | {len(every)} | {sum(every)} |"]
