"""Real documents and mail through the stage: what is made visible in each sample, and what is found."""

import hashlib
import math
import os
import subprocess
import sys
import tarfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from tests.unit.antivirus import av_samples, document_samples

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.engine import CLEAN, Outcome, Report, ScanObject
from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.opening import Opening
from gatepost.antivirus.stage import inspect
from gatepost.antivirus.unpack import is_opened, open_container
from gatepost.model.finding import SEVERITY, Analysis, ObjectStatus, ScanOptions

SHARED = Path(os.environ.get("GATEPOST_SHARED", Path(__file__).resolve().parents[4] / "shared"))
ARCHIVE = SHARED / "corpora/av/av-tests.tar.gz"
CLAM = "71e7b604d18aefd839e51a39c88df8383bb4c071dc31f87f00a2b5df580d4495"
"""SHA-256 of the harmless program that the carriers of the corpus hold."""


@cache
def corpus() -> dict[str, bytes]:
    if not ARCHIVE.exists():
        pytest.skip(f"no corpus at {ARCHIVE}")
    files = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if member.isfile():
                stream = archive.extractfile(member)
                assert stream is not None
                files[member.name.partition("/")[2]] = stream.read()
    return files


def shown(data: bytes, name: str, *passwords: str) -> Counter[str]:
    """What becomes visible anywhere inside: declared types of what a document does, kinds of files, protection."""
    options = ScanOptions()
    inside = Opening(Budget(options, math.inf), options, passwords)
    found: Counter[str] = Counter()
    work = [(data, name, 0, "")]
    while work:
        content, label, depth, declared = work.pop()
        kind = detect_kind(content, label, declared)
        if kind is None or not is_opened(kind, inside) or depth > 8:
            continue
        for member in open_container(content, kind, label, inside):
            if member.protected:
                found["protected"] += 1
            if member.trouble:
                found[member.trouble] += 1
            if member.content_type.startswith("text/x-") or member.content_type in (
                "text/javascript",
                "application/xfa+xml",
            ):
                found[member.content_type] += 1
            if member.data:
                if detect_kind(member.data) == "executable":
                    found["program"] += 1
                if member.data.startswith(b"This is the contents of a simple"):
                    found["embedded text"] += 1
                if av_samples.BASE in member.data[:68]:
                    found["test file"] += 1
                work.append((member.data, member.name, depth + 1, member.content_type))
    return found


VBA, FIELD, LINK, XLM = "text/x-vba", "text/x-office-field", "text/x-office-relationship", "text/x-xlm-macro"
TABLE = {
    "clamav-testfiles/clam.exe.html": {"program": 1},
    "clamav-testfiles/clam.exe.binhex": {"program": 1},
    "clamav-testfiles/clam.exe.mbox.base64": {"program": 1},
    "clamav-testfiles/clam.exe.mbox.uu": {"program": 1},
    "clamav-testfiles/clam.exe.rtf": {"program": 1, "text/x-rtf-object": 1},
    "clamav-testfiles/clam.mail": {"program": 1},
    "clamav-testfiles/clam.ole.doc": {"program": 1, FIELD: 1},
    "clamav-testfiles/clam.pdf": {"program": 1},
    "clamav-testfiles/clam.ppt": {"program": 1},
    "clamav-testfiles/clam.tnef": {"program": 1},
    "eicar-variants/doc/eicar-attached-flate.pdf": {"test file": 1},
    "eicar-variants/doc/eicar-embedded.docx": {"test file": 1},
    "eicar-variants/doc/html-smuggling.html": {"text/javascript": 1, "test file": 1},
    "eicar-variants/doc/javascript-openaction.pdf": {"text/javascript": 1, "text/x-pdf-action": 1},
    "oletools/encrypted/autostart-encrypt-standardpassword.xls": {VBA: 6},
    "oletools/encrypted/autostart-encrypt-standardpassword.xlsb": {VBA: 3},
    "oletools/encrypted/dde-test-encrypt-standardpassword.xls": {FIELD: 1},
    "oletools/encrypted/dde-test-encrypt-standardpassword.xlsb": {FIELD: 1},
    "oletools/encrypted/dde-test-encrypt-standardpassword.xlsx": {FIELD: 1},
    "oletools/encrypted/encrypted.pptm": {"protected": 1},
    "oletools/encrypted/encrypted.pptx": {"protected": 1},
    "oletools/encrypted/encrypted.xlsx": {"protected": 1},
    "oletools/excel4-macros/excel4_sample_macro.xltm": {XLM: 2},
    "oletools/msodde/dde-in-excel2003.xml": {FIELD: 1},
    "oletools/msodde/dde-test.docm": {FIELD: 2},
    "oletools/msodde/dde-test.xlsm": {FIELD: 1},
    "oletools/msodde/dde-test.xlsx": {FIELD: 1},
    "oletools/msodde/harmless-clean.docm": {},
    "oletools/oleobj/embedded-simple-2007.doc": {FIELD: 1, "embedded text": 1},
    "oletools/oleobj/embedded-simple-2007.xlsb": {},
    "oletools/oleobj/external_link/sample_with_external_link_to_doc.docx": {LINK: 1},
    "oletools/oleobj/external_link/sample_with_external_link_to_doc.xlsb": {LINK: 1},
    "oletools/oleobj/external_link/sample_with_external_link_to_doc.pptm": {LINK: 1},
    "oletools/oleobj/sample_with_calc_embedded.doc": {"program": 1, FIELD: 1},
    "oletools/olevba/sample_with_vba.ppt": {VBA: 1},
    "oletools/ooxml/dde-in-excel2003.xml": {FIELD: 1},
    "oletools/ooxml/harmless-clean.xml": {},
    "oletools/other/presentation.xps": {},
}


@pytest.mark.parametrize("name", TABLE)
def test_what_is_made_visible(name: str) -> None:
    assert shown(corpus()[name], name.rpartition("/")[2]) == TABLE[name]


class KnowsTheProgram:
    """An engine that knows one file."""

    name = "one-file"

    def version(self) -> str:
        return "1"

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        known = hashlib.sha256(subject.data).hexdigest() == CLAM
        return Report(Outcome.INFECTED, "Clam", "known") if known else CLEAN

    def cure(self, subject: ScanObject) -> bytes | None:
        return None

    def health(self) -> str:
        return ""


def worst(analysis: Analysis) -> ObjectStatus:
    return min((report.status for report in analysis.objects), key=SEVERITY.index)


CARRIERS = [name for name in TABLE if name.startswith("clamav-testfiles/")]


@pytest.mark.parametrize("name", CARRIERS)
def test_the_program_is_found_in_every_carrier(name: str) -> None:
    content = av_samples.attached(corpus()[name], name=name.rpartition("/")[2])
    assert worst(inspect(content, ScanOptions(), [KnowsTheProgram()], math.inf)) is ObjectStatus.INFECTED


@pytest.mark.feature("F-AV-02")
def test_the_test_file_in_winmail_dat_is_found() -> None:
    content = av_samples.attached(
        document_samples.tnef(av_samples.eicar(), b"x.com"), "application/ms-tnef", name="winmail.dat"
    )
    analysis = inspect(content, ScanOptions(), [BuiltinEngine()], math.inf)
    assert worst(analysis) is ObjectStatus.INFECTED
    assert "EICAR-Test-File" in {report.threat for report in analysis.objects if report.name == "x.com"}


@pytest.mark.feature("F-AV-04")
@pytest.mark.parametrize("form", ["mbox", "eml"])
def test_mail_bases_are_looked_into_by_option(form: str) -> None:
    mail = av_samples.attached(av_samples.eicar(), name="x.com")
    data = b"From a@example.org Thu Jan  1 00:00:00 1970\r\n" + mail if form == "mbox" else mail
    content = av_samples.attached(data, name=f"old.{form}")
    status = [
        worst(inspect(content, ScanOptions(mail_bases=wanted), [BuiltinEngine()], math.inf)) for wanted in (True, False)
    ]
    assert status == [ObjectStatus.INFECTED, ObjectStatus.CLEAN]


@pytest.mark.parametrize("name", ["bare", "text"])
def test_binhex_in_a_text_is_a_block(name: str) -> None:
    data = corpus()["clamav-testfiles/clam.exe.binhex"].replace(b"\n", b"\r\n")
    content = av_samples.message((b"Here:\r\n" if name == "text" else b"") + data + b"\r\nbye\r\n")
    analysis = inspect(content, ScanOptions(), [KnowsTheProgram()], math.inf)
    found = [report for report in analysis.objects if report.threat]
    assert [(report.kind, report.name) for report in found] == [("block", "clam.exe")]


_BEHIND_THE_WALLS = """
import math, os, pickle, sys
from gatepost.antivirus.budget import Budget
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.kinds import detect_kind
from gatepost.antivirus.loading import warm_up
from gatepost.antivirus.opening import Opening
from gatepost.antivirus.unpack import open_container
from gatepost.filter.sandbox import Sandbox, Walls, enter
from gatepost.model.finding import ScanOptions

files = pickle.loads(sys.stdin.buffer.read())
warm_up([BuiltinEngine()])
child = os.fork()
if not child:
    enter(Sandbox(Walls(512 * 1024 * 1024, 65534, 65534)), frozenset({1, 2}), os.getppid())
    wrong = []
    for name, data in files:
        options = ScanOptions()
        opening = Opening(Budget(options, math.inf), options, ("u",))
        for member in open_container(data, detect_kind(data, name), name, opening):
            if member.trouble or member.protected:
                wrong.append((name, member.trouble))
    os.write(1, repr(wrong).encode())
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_documents_open_behind_the_walls() -> None:
    import pickle

    names = [
        name for name in TABLE if "protected" not in TABLE[name] and detect_kind(corpus()[name]) not in (None, "zip")
    ]
    data = pickle.dumps([(name, corpus()[name]) for name in names])
    done = subprocess.run(
        [sys.executable, "-c", _BEHIND_THE_WALLS], input=data, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-1000:]
    assert done.stdout == b"[]"
