"""docs/detection.md holds: no sample is found worse than the table says, and what must be found is."""

import math
import re
import sys
from pathlib import Path

import pytest

from gatepost.antivirus.stage import inspect
from gatepost.model.finding import ScanOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
from detection_table import PAGE, SHARED, as_mail, build_engine, samples, verdict

pytestmark = pytest.mark.skipif(not (SHARED / "corpora/av").is_dir(), reason="the shared corpora are not here")
FOUND = {"infected", "suspicious"}
PASSED = {"clean"}
MALICIOUS = {"detect", "dde", "external-link", "active-content"}
"""What expected.tsv says of samples with malware (or its stand-in), a command or a fetch in them; a macro or an embedded
object by itself is none.
"""
HARMLESS = {"clean", "informational"}
"""What expected.tsv says of samples that may pass."""
KNOWN_TO_PASS = {
    *(f"clamav-testfiles/clam-{packer}.exe" for packer in (
        "aspack", "fsg", "mew", "nsis", "pespin", "petite", "upack", "upx", "wwpack", "yc",
    )),
    *(f"clamav-testfiles/clam.{each}" for each in ("ea05.exe", "ea06.exe", "exe.mbox.uu", "sis")),
}  # fmt: skip
"""Packed programs and installers of rare kinds: no unpacker of programs is here."""
ROW = re.compile(r"\| (\S+/\S+) \| (\S+) \| (\S+) \| ")


def test_the_table_holds() -> None:
    engine = build_engine()
    stated = {found[1]: found[3] for found in ROW.finditer(PAGE.read_text().partition("## Real mail")[0])}
    worse, unknown, alarms = [], [], []
    for row, content in samples():
        name = row["file"]
        status, what = verdict(inspect(as_mail(name, content), ScanOptions(), [engine], math.inf))
        if name not in stated:
            unknown.append(name)
        elif status != stated[name] and (stated[name] in FOUND or (status in PASSED and row["expected"] in MALICIOUS)):
            worse.append((name, stated[name], status, what))
        if row["expected"] in HARMLESS and status in FOUND:
            alarms.append((name, what))
    assert unknown == []
    assert worse == []
    assert alarms == []


def test_what_the_table_says_passes_is_what_may() -> None:
    """Of the samples with malware, a fetch or a command in them, those that pass are named here."""
    passed = {
        found[1]
        for found in ROW.finditer(PAGE.read_text().partition("## Real mail")[0])
        if found[3] in PASSED and found[2] in MALICIOUS
    }
    assert passed <= KNOWN_TO_PASS
