"""Cured files in the programs people open them with: LibreOffice and poppler take them without a complaint."""

import hashlib
import io
import math
import os
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pikepdf
import pytest
from tests.peers.conftest import program
from tests.unit.antivirus import cure_samples as samples
from tests.unit.antivirus import test_cure_pdf as pdfs

from gatepost.antivirus.budget import Budget
from gatepost.antivirus.cure import BadMember, plan_cure
from gatepost.antivirus.cure.compound import Node
from gatepost.antivirus.cure.odf import cure_odf
from gatepost.antivirus.cure.office import cure_office
from gatepost.antivirus.cure.ooxml import cure_ooxml
from gatepost.antivirus.cure.pdf import cure_pdf
from gatepost.antivirus.engine import ScanObject
from gatepost.antivirus.kinds import Kind
from gatepost.model.finding import ScanOptions

CORPUS = (
    "autostart-encrypt-standardpassword.xls",
    "autostart-encrypt-standardpassword.xlsb",
    "sample_with_vba.ppt",
    "sample_with_calc_embedded.doc",
    "sample_with_lnk_to_calc.doc",
    "excel4_sample_macro.xltm",
    "dde-test.docm",
    "dde-test.xlsm",
    "dde-test.xlsx",
    "sample_with_external_link_to_doc.docm",
    "sample_with_external_link_to_doc.pptx",
    "sample_with_external_link_to_doc.xlsx",
)


def cured_office(name: str, data: bytes) -> bytes:
    budget = Budget(ScanOptions(), math.inf)
    cured = cure_ooxml(data, name, [], budget) if data.startswith(b"PK") else cure_office(data)
    assert cured is not None, name
    return cured.data


def cured_files() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    if (samples.SHARED / "corpora/av").is_dir():
        for number, name in enumerate(CORPUS):
            files[f"{number}-{name}"] = cured_office(name, samples.corpus(name))
    files["docx-made.docx"] = cured_office("made.docx", samples.docm(samples.field(" DDEAUTO cmd x ")))
    files["docm-made.docm"] = cured_office("made.docm", samples.docm())
    project = samples.storage("_VBA_PROJECT_CUR", *samples.project())
    sheets = samples.compound(Node("Workbook", 2, samples.macro_workbook()), project)
    files["xls-made.xls"] = cured_office("made.xls", sheets)
    odt = cure_odf(samples.odt(), [], Budget(ScanOptions(), math.inf))
    assert odt is not None
    files["odt-made.odt"] = odt.data
    return files


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """All cured files, turned into PDF by one LibreOffice: file name -> PDF."""
    office = program("soffice")
    place = tmp_path_factory.mktemp("office")
    for name, data in cured_files().items():
        (place / name).write_bytes(data)
    out = place / "out"
    out.mkdir()
    names = sorted(path.name for path in place.iterdir() if path.is_file())
    environment = {**os.environ, "HOME": str(place), "LC_ALL": "C.UTF-8"}
    command = [office, f"-env:UserInstallation=file://{place}/profile", "--headless", "--norestore", "--nolockcheck"]
    command += ["--convert-to", "pdf", "--outdir", str(out), *(str(place / name) for name in names)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False, env=environment, cwd=place)
    words = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, words
    assert "rror" not in words.replace("stderr", ""), words
    return {name: out / f"{Path(name).stem}.pdf" for name in names}


def text_of(path: Path) -> str:
    done = subprocess.run([program("pdftotext"), str(path), "-"], capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


def test_libreoffice_opens_every_cured_file(converted: Mapping[str, Path]) -> None:
    missing = [name for name, path in converted.items() if not path.is_file() or path.stat().st_size < 500]
    assert not missing
    words = {"docx-made.docx": "Dear Anna", "docm-made.docm": "Dear Anna", "odt-made.odt": "Dear Anna"}
    words["xls-made.xls"] = "42"
    for name, expected in words.items():
        assert expected in text_of(converted[name])
    assert "shown" in text_of(converted["docx-made.docx"])


@pytest.mark.parametrize("add", pdfs.ADDERS, ids=[each.__name__[4:] for each in pdfs.ADDERS])
def test_poppler_reads_every_cured_pdf_without_a_warning(add: object, tmp_path: Path) -> None:
    cured = cure_pdf(pdfs.pdf_of(add))  # type: ignore[arg-type]
    assert cured is not None
    path = tmp_path / "cured.pdf"
    path.write_bytes(cured.data)
    for tool in ("pdfinfo", "pdftotext"):
        done = subprocess.run(
            [program(tool), str(path), *(["-"] if tool == "pdftotext" else [])],
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
    assert "Dear Anna" in text_of(path)
    script = subprocess.run([program("pdfinfo"), "-js", str(path)], capture_output=True, timeout=120, check=True)
    assert b"worm" not in script.stdout
    attached = subprocess.run([program("pdfdetach"), "-list", str(path)], capture_output=True, timeout=120, check=True)
    assert attached.stdout.startswith(b"0 embedded files")
    with pikepdf.open(io.BytesIO(cured.data)) as document:
        assert document.check_pdf_syntax() == []


def test_others_open_a_cured_archive(tmp_path: Path) -> None:
    data = samples.package(("a.txt", "hello"), ("b/x.txt", b"the worm"))
    bad = [BadMember("b/x.txt", hashlib.sha256(b"the worm").digest())]
    cured = plan_cure(ScanObject(data, kind=Kind.ZIP), bad, Budget(ScanOptions(), math.inf), note="gone")
    assert cured is not None
    path = tmp_path / "x.zip"
    path.write_bytes(cured.data)
    done = subprocess.run([program("unzip"), "-t", str(path)], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0
    assert b"No errors detected" in done.stdout
    with zipfile.ZipFile(path) as archive:
        assert archive.read("REMOVED.txt") == b"gone"
