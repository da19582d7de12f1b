"""Make docs/detection.md: what the built-in engine finds in sample files and evasion mails beside other scanners, and
what it says of real mail.

    .venv/bin/python tools/detection_table.py [--ham-every N]

Needs the shared corpora (`../shared`, or GATEPOST_SHARED), clamd and rspamd (`make peers`). Everything is scanned in
place, through the whole anti-virus stage, with the shipped databases. `tests/unit/antivirus/test_detection_table.py`
holds the first table, `tests/peers/test_detection_tables.py` the evasion mails.
"""

import argparse
import contextlib
import csv
import datetime as dt
import hashlib
import io
import math
import platform
import random
import subprocess
import tarfile
import tempfile
import time
from base64 import encodebytes
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from detection_evasion import ROOT, SHARED, evasion_lines
from detection_peers import Peers, missing_programs, running_peers
from gatepost.antivirus.builtin import BuiltinEngine, packaged_sources
from gatepost.antivirus.compiling import Image, compile_knowledge
from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.sources import Source
from gatepost.antivirus.stage import inspect
from gatepost.model.finding import SEVERITY, Analysis, ObjectStatus, ScanOptions

PAGE = ROOT / "docs" / "detection.md"
FIRST_OF_OTHERS = "\n## Tricks\n"
"""Where the sections of other tools begin, which stay."""
MAIL = ("spamassassin-2002", "modern-2019-2024", "inbox-2023-2025")
CLAM = "71e7b604d18aefd839e51a39c88df8383bb4c071dc31f87f00a2b5df580d4495:544:ClamAV-Test-File"
"""The harmless program in most of `clamav-testfiles`: nothing but a signature can know it."""
ALARMS = {ObjectStatus.INFECTED, ObjectStatus.SUSPICIOUS, ObjectStatus.DISINFECTED}
SIGNATURES = 10_000
HEAD = """# What the built-in engine finds

Made by `tools/detection_table.py` on {day} from {commit}, shipped databases number {number} ({records} records); do not
edit.

Harmless samples only: test files, documents with harmless macros and links. A macro, link or embedded object is not
malware; it is *suspicious* when it starts by itself and reaches out of its document ([databases](manual/databases.md)
says what the rules look at). The harmless program `clam.exe` is known by its hash, and is to be found in its wrappings;
packers of programs are not unpacked. `protected` and `error` are no misses: such an object was not passed as clean.
clamd has signatures of the two test files only, and its usual settings.

"""


def samples() -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield each sample's row of expected.tsv and its bytes, in the order of the list."""
    with tarfile.open(SHARED / "corpora/av/av-tests.tar.gz", "r:gz") as archive:
        contents = {}
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                contents[member.name.partition("/")[2]] = file.read()
    rows = csv.DictReader(io.StringIO(contents["expected.tsv"].decode()), delimiter="\t")
    for row in rows:
        if row["file"] in contents:
            yield row, contents[row["file"]]


def as_mail(name: str, content: bytes) -> bytes:
    """Return a mail with the file attached; a mail is taken as it is."""
    if name.endswith(".eml"):
        return content
    head = (
        "From: a@example.net\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n"
        f'Content-Type: application/octet-stream; name="{name.rpartition("/")[2]}"\r\n\r\n'
    )
    return head.encode() + encodebytes(content)


def verdict(analysis: Analysis) -> tuple[str, str]:
    """Return the headline status and the threats, or the reason."""
    worst = min(analysis.objects, key=lambda each: SEVERITY.index(each.status))
    threats = sorted({each.threat for each in analysis.objects if each.threat and each.status is worst.status})
    return worst.status.value, ", ".join(threats) or worst.evidence


def mails(corpus: str, every: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield (label, name, content) of each mail, or of one in so many."""
    with tarfile.open(SHARED / f"corpora/spam/{corpus}.tar.gz", "r:gz") as archive:
        labels: dict[str, str] = {}
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            if member.name.endswith("index.tsv"):
                rows = [line.split("\t") for line in file.read().decode("utf-8", "replace").splitlines()[1:]]
                labels = {f"{corpus}/{row[0]}": row[1] for row in rows[::every]}
            elif member.name in labels:
                yield labels[member.name], member.name, file.read()


def build_engine() -> BuiltinEngine:
    """Return the engine with the shipped databases and the hash of the test program."""
    return BuiltinEngine(compile_knowledge([*packaged_sources(), Source("clam.hash", CLAM.encode())]))


def samples_table(engine: BuiltinEngine, peers: Peers | None) -> list[str]:
    lines = ["## Sample files", "", "| file | is | found | what | clamd |", "|---|---|---|---|---|"]
    tally: Counter[str] = Counter()
    for row, content in samples():
        mail = as_mail(row["file"], content)
        status, what = verdict(inspect(mail, ScanOptions(), [engine], math.inf))
        other = "" if peers is None else peers.ask_clamd(mail)
        if row["expected"].startswith("detect"):
            tally.update({"all": 1, "ours": status in ALARMS, "clamd": bool(other)})
        cut = what[:90].replace("|", "/")
        lines.append(f"| {row['file']} | {row['expected']} | {status} | {cut} | {other.removesuffix('.UNOFFICIAL')} |")
    lines += ["", f"Of the {tally['all']} to be detected, {tally['ours']} are; by clamd {tally['clamd']}."]
    return lines


def mail_table(engine: BuiltinEngine, every: int) -> list[str]:
    counts: Counter[tuple[str, str]] = Counter()
    alarms = []
    started = time.process_time()
    for corpus in MAIL:
        for label, name, content in mails(corpus, every):
            analysis = inspect(content, ScanOptions(), [engine], math.inf)
            status, what = verdict(analysis)
            counts[label, status] += 1
            if status in ALARMS:
                alarms.append(f"| {label} | {name} | {status} | {what} |")
    total = sum(counts.values())
    spent = time.process_time() - started
    lines = [
        "",
        "## Real mail",
        "",
        f"{total:,} mails of the corpora of ham and spam, {spent:.0f} s CPU, {spent / total * 1e3:.2f} ms a mail.",
        "",
    ]
    lines += ["| mail | status | mails |", "|---|---|---|"]
    lines += [f"| {label} | {status} | {count:,} |" for (label, status), count in sorted(counts.items())]
    lines += [
        "",
        "Every alarm:",
        "",
        "| mail | file | status | what |",
        "|---|---|---|---|",
        *(alarms or ["| none | | | |"]),
    ]
    return lines


def speed_table() -> list[str]:
    chance = random.Random(7)
    patterns = "\n".join(
        f"Test.P{number}:*:*:{chance.randbytes(chance.randint(12, 60)).hex()}" for number in range(SIGNATURES)
    )
    hashes = "\n".join(
        f"{hashlib.sha256(b'%d' % number).hexdigest()}:{chance.randint(500, 2_000_000)}:Test.H{number}"
        for number in range(SIGNATURES)
    )
    sources = [*packaged_sources(), Source("a.pattern", patterns.encode()), Source("a.hash", hashes.encode())]
    what = (
        f"Shipped databases, {SIGNATURES:,} patterns for every object and {SIGNATURES:,} hashes; {platform.machine()}."
    )
    lines = ["", "## Speed", "", what, "", "| what | CPU time |", "|---|---|"]
    started = time.process_time()
    raw = msgspec.msgpack.encode(compile_knowledge(sources))
    lines.append(f"| compile | {time.process_time() - started:.1f} s |")
    started = time.process_time()
    engine = BuiltinEngine(msgspec.msgpack.decode(raw, type=Image))
    lines.append(
        f"| load the compiled form ({len(raw) / 1e6:.1f} MB) | {(time.process_time() - started) * 1e3:.0f} ms |"
    )
    text = b"An ordinary line of a mail that nobody needs to be afraid of.\r\n" * 5000
    for size in (2_000, 28_000, 300_000):
        subject = ScanObject(text[:size], "", "text/plain")
        engine.scan(subject, math.inf)
        best = math.inf
        for _ in range(20):
            started = time.process_time()
            for _ in range(50):
                engine.scan(subject, math.inf)
            best = min(best, (time.process_time() - started) / 50)
        lines.append(f"| scan a text of {size:,} bytes | {best * 1e6:.0f} µs |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Make docs/detection.md.")
    parser.add_argument("--ham-every", type=int, default=1, help="scan one mail in so many")
    every: int = parser.parse_args().ham_every
    engine = build_engine()
    manifest = msgspec.json.decode((ROOT / "src/gatepost/antivirus/rules/manifest.json").read_bytes())
    day = dt.datetime.now(tz=dt.UTC).date()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with contextlib.ExitStack() as stack:
        peers = None
        if not missing_programs():
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatepost-detection-")))
            peers = stack.enter_context(running_peers(place, CLAM))
        lines = [*samples_table(engine, peers), *evasion_lines(engine, peers)]
    lines += [*mail_table(engine, every), *speed_table()]
    head = HEAD.format(day=day, commit=commit.stdout.strip(), number=manifest["number"], records=manifest["records"])
    written_by_others = PAGE.read_text().partition(FIRST_OF_OTHERS)
    PAGE.write_text(head + "\n".join(lines) + "\n" + "".join(written_by_others[1:]))


if __name__ == "__main__":
    main()
